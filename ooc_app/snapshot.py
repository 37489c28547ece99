"""Freeze what the desk knows now into a run folder, so that a run never changes under its own feet.

The folder then holds everything `python -m training RUN_DIR` needs: targets, preferences, held-out
cases with their gold verdicts, links to the pictures, the configuration, and `snapshot.json` with a
hash of every case, opinion and ruling used. `snapshot.json` is written last.
"""

import hashlib
import json
import os
import random
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.engine import write_session
from db.models import Case, Opinion as OpinionRow, Ruling, Run, is_current
from db.rulings import settled_query
from db.views import CaseView, OpinionView, case_views
from db.vocabulary import Answer, Split, Verdict
from ooc_app.desk import Desk
from ooc_app.intake.images import ImageRefusedError, UnknownImageError, shown_copy
from training.config import DistilConfig, preset, save_config
from training.preferences import Opinion, SettledCase, agreed_target, preferences, settled_target
from training.prompts import PROMPT_VERSION, Evidence
from training.records import CaseInput, GoldCase, Target, write_records
from training.state import RunFolder, write_whole

READ_AT_ONCE = 500
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class SnapshotError(ValueError):
    """Nothing can be frozen as asked; says why and what to do."""


@dataclass(frozen=True, slots=True)
class SnapshotSummary:
    """What a run frozen now would learn from. `share` is rulings / training cases, 0 to 1."""

    cases: int
    training_cases: int
    agreed: int
    settled: int
    left_out: int
    preferences: int
    rulings: int
    share: float
    validation_cases: int
    test_cases: int


@dataclass(frozen=True, slots=True)
class _Settled:
    """A case's human verdict, and the rationales people wrote, edited or picked for it."""

    verdict: Verdict
    preferred: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Gathered:
    targets: list[Target]
    settled: list[SettledCase]
    held_out: dict[Split, list[GoldCase]]
    training_cases: int
    left_out: int
    rulings: int
    images: dict[str, str]
    digest: str

    def summary(self, pairs: int) -> SnapshotSummary:
        share = self.rulings / self.training_cases if self.training_cases else 0.0
        validation, test = (len(self.held_out[split]) for split in (Split.VALIDATION, Split.TEST))
        return SnapshotSummary(
            cases=self.training_cases + validation + test,
            training_cases=self.training_cases,
            agreed=len(self.targets) - len(self.settled),
            settled=len(self.settled),
            left_out=self.left_out,
            preferences=pairs,
            rulings=self.rulings,
            share=round(share, 4),
            validation_cases=validation,
            test_cases=test,
        )


def recipe(desk: Desk, preset_name: str, **changes: Any) -> DistilConfig:
    """Return a preset's configuration; the demo's is for whatever student the desk starts from."""
    if preset_name == "demo":
        changes = {"student": desk.student_to_train(), **changes}
    return preset(preset_name, **changes)


def preview(desk: Desk) -> SnapshotSummary:
    """Say what `freeze` would put into a run now."""
    with desk.sessions() as session:
        gathered = _gather(session, seed=0)
    return gathered.summary(len(preferences(_two_sided(gathered.settled))))


def freeze(desk: Desk, *, name: str | None, config: DistilConfig) -> Path:
    """Write a new run folder and return it; `name` is by default made of the time.

    Raises SnapshotError where the name is taken or not a plain one, or nothing can be learnt yet.
    """
    run_name = name or datetime.now(UTC).strftime("%Y-%m-%d-%H%M%S")
    if not RUN_NAME.fullmatch(run_name):
        raise SnapshotError(f"{run_name!r} cannot name a run: use letters, digits, dots and dashes.")
    run_dir = desk.runs_dir / run_name
    if run_dir.exists():
        raise SnapshotError(f"There is a run named {run_name} already: give another name.")
    with desk.sessions() as session:
        gathered = _gather(session, config.seed)
    if not gathered.targets:
        raise SnapshotError(
            "There is nothing to learn from yet: import cases with a picture and teachers' opinions."
        )
    partial = run_dir.with_name(f".{run_name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _write(partial, gathered, config, desk.images_dir)
    except (ImageRefusedError, UnknownImageError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise SnapshotError(str(error)) from error
    partial.rename(run_dir)
    with write_session(desk.sessions) as session:
        registered(session, desk, run_name)
    return run_dir


def registered(session: Session, desk: Desk, run_name: str) -> Run | None:
    """Return the run's row, added where its folder has none; None where there is no such folder.

    A kill between folder and row leaves a folder without row, which is as good as any.
    """
    run = session.scalar(sa.select(Run).where(Run.name == run_name))
    folder = RunFolder(desk.runs_dir / run_name)
    if run is not None or not RUN_NAME.fullmatch(run_name) or not folder.snapshot_path.exists():
        return run
    said = json.loads(folder.snapshot_path.read_text(encoding="utf-8"))
    run = Run(
        name=run_name,
        path=str(folder.path.relative_to(desk.data_dir)),
        snapshot_hash=said["hash"],
        rulings=said["counts"]["rulings"],
        training_cases=said["counts"]["training_cases"],
        created_at=datetime.now(UTC),
    )
    session.add(run)
    session.flush()
    return run


def _write(run_dir: Path, gathered: _Gathered, config: DistilConfig, images_dir: Path) -> None:
    (run_dir / "images").mkdir(parents=True)
    for sha256, image in gathered.images.items():
        _link(shown_copy(sha256, images_dir), run_dir / image)
    pairs = preferences(
        _two_sided(gathered.settled), max_per_case=config.dpo.max_preferences_per_case, seed=config.seed
    )
    write_records(run_dir / "sft.jsonl", gathered.targets)
    write_records(run_dir / "preferences.jsonl", pairs)
    for split, cases in gathered.held_out.items():
        write_records(run_dir / f"{split.value}.jsonl", cases)
    save_config(config, run_dir / "config.json")
    summary = gathered.summary(len(pairs))
    said = {
        "hash": gathered.digest,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "prompt_version": PROMPT_VERSION,
        "counts": asdict(summary),
    }
    write_whole(RunFolder(run_dir).snapshot_path, json.dumps(said, indent=2) + "\n")


def _link(source: Path, target: Path) -> None:
    """Share the picture's bytes with the desk where the file system can, else copy them."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _gather(session: Session, seed: int) -> _Gathered:
    """Sort every case with an image by what it is for. A query per 500 cases, none per case."""
    rng = random.Random(seed)
    verdicts = _settled(session)
    digest = hashlib.sha256()
    targets: list[Target] = []
    settled: list[SettledCase] = []
    held_out: dict[Split, list[GoldCase]] = {Split.VALIDATION: [], Split.TEST: []}
    images: dict[str, str] = {}
    training_cases = left_out = 0
    for view in _views(session):
        images[str(view.image_sha256)] = _image_name(view)
        digest.update(repr((view, verdicts.get(view.id))).encode())
        if view.split != Split.TRAIN:
            if view.gold is not None:
                held_out[Split(view.split)].append(_gold_case(view))
            continue
        training_cases += 1
        if view.id in verdicts:
            settled.append(_settled_case(view, verdicts[view.id]))
            targets.append(settled_target(settled[-1]))
        elif _agreed(view.opinions):
            targets.append(agreed_target(_input(view), _opinions(view), rng))
        else:
            left_out += 1
    targets, settled, leaking = _without_leaks(targets, settled, held_out)
    rulings = session.scalar(sa.select(sa.func.count()).select_from(Ruling).where(is_current())) or 0
    return _Gathered(
        targets,
        settled,
        held_out,
        training_cases,
        left_out + leaking,
        rulings,
        images,
        digest.hexdigest(),
    )


def _without_leaks(
    targets: list[Target], settled: list[SettledCase], held_out: dict[Split, list[GoldCase]]
) -> tuple[list[Target], list[SettledCase], int]:
    """Leave out training cases that share a group or a picture with a held-out case, and count them.

    Importers keep a data set's own splits, whatever they are; a student must not be measured on what
    it was trained on.
    """
    measured = [gold.case for cases in held_out.values() for gold in cases]
    groups, images = {case.group for case in measured}, {case.image for case in measured}

    def leaks(case: CaseInput) -> bool:
        return case.group in groups or case.image in images

    kept = [target for target in targets if not leaks(target.case)]
    return kept, [item for item in settled if not leaks(item.case)], len(targets) - len(kept)


def _settled(session: Session) -> dict[int, _Settled]:
    """Return every settled case's verdict by case id; people's own words come before picked ones."""
    said = sa.select(
        Ruling.case_id, Ruling.verdict, Ruling.rationale, OpinionRow.verdict, OpinionRow.rationale
    )
    rows = session.execute(
        said.outerjoin(OpinionRow, OpinionRow.id == Ruling.opinion_id).where(is_current()).order_by(Ruling.id)
    )
    own: dict[int, list[str]] = {}
    picked: dict[int, list[str]] = {}
    for case_id, verdict, rationale, opinion_verdict, opinion_rationale in rows:
        if rationale:
            own.setdefault(case_id, []).append(rationale)
        elif opinion_rationale and opinion_verdict == verdict:
            picked.setdefault(case_id, []).append(opinion_rationale)
    return {
        row.case_id: _Settled(Verdict(row.verdict), (*own.get(row.case_id, ()), *picked.get(row.case_id, ())))
        for row in session.execute(settled_query())
    }


def _views(session: Session) -> Iterator[CaseView]:
    ids = list(session.scalars(sa.select(Case.id).where(Case.image_sha256.is_not(None)).order_by(Case.id)))
    for start in range(0, len(ids), READ_AT_ONCE):
        yield from case_views(session, ids[start : start + READ_AT_ONCE])


def _two_sided(settled: Iterable[SettledCase]) -> Iterator[SettledCase]:
    """Leave out settled cases on which no two rationales can be told apart; stage 1 has them."""
    return (item for item in settled if not item.one_sided())


def _agreed(opinions: Sequence[OpinionView]) -> bool:
    said = {opinion.verdict for opinion in opinions}
    return len(said) == 1 and Answer.UNSURE not in said


def _image_name(view: CaseView) -> str:
    return f"images/{view.image_sha256}.jpg"


def _input(view: CaseView) -> CaseInput:
    evidence = tuple(
        Evidence(piece.title or "", piece.url or "", piece.date or "", piece.text or "")
        for piece in view.evidence
    )
    name = f"{view.dataset}/{view.external_id}"
    group = f"{view.dataset}/{view.group or view.external_id}"
    return CaseInput(name, _image_name(view), view.caption, view.date, view.place, evidence, group)


def _opinions(view: CaseView) -> tuple[Opinion, ...]:
    return tuple(Opinion(o.teacher, Answer(o.verdict), o.rationale) for o in view.opinions)


def _settled_case(view: CaseView, ruled: _Settled) -> SettledCase:
    return SettledCase(_input(view), ruled.verdict, _opinions(view), ruled.preferred)


def _gold_case(view: CaseView) -> GoldCase:
    said = {opinion.teacher: Answer(opinion.verdict) for opinion in view.opinions}
    assert view.gold is not None
    return GoldCase(_input(view), Verdict(view.gold), said)
