"""Freeze what the desk knows now into a run folder, so that a run never changes under its own feet.

The folder then holds everything `python -m training RUN_DIR` needs: targets, preferences, held-out
cases with their gold verdicts, links to the pictures, the configuration, and `snapshot.json` with a
hash of every case, opinion and ruling used, and which teachers, asked how, the opinions are of.
`snapshot.json` is written last.
"""

import hashlib
import json
import os
import re
import shutil
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.engine import write_session
from db.kinds import Traits, all_kinds
from db.models import Ruling, Run, is_current
from db.views import Selection
from db.vocabulary import Split, TeacherKind
from ooc_app.desk import Desk
from ooc_app.intake.images import ImageRefusedError, UnknownImageError, shown_copy
from ooc_app.lessons import Lesson, image_name, pairs, preferred_rationales, read_lessons
from training.config import DistilConfig, save_config
from training.preferences import made_kinds
from training.presets import DEMO, Plan, preset_plan
from training.prompts import PROMPT_VERSION
from training.records import GoldCase, Preference, Target
from training.state import RunFolder, write_whole

WITH_IMAGE = Selection(with_image=True)
HELD_OUT = (Split.VALIDATION, Split.TEST)
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Spoken = tuple[str, TeacherKind, str | None, str]
"""Whose an opinion is, of what kind, as which model, and of which version of the question."""


class SnapshotError(ValueError):
    """Nothing can be frozen as asked; says why and what to do."""


@dataclass(frozen=True, slots=True)
class SnapshotSummary:
    """What a run frozen now would learn from.

    `share` is rulings / training cases, 0 to 1. `two_sided` are settled cases that yield a preference.
    """

    cases: int
    training_cases: int
    agreed: int
    settled: int
    left_out: int
    preferences: int
    two_sided: int
    rulings: int
    share: float
    validation_cases: int
    test_cases: int


@dataclass(slots=True)
class _Count:
    """Counts what is frozen, and takes it into the hash, while it goes by."""

    training_cases: int = 0
    agreed: int = 0
    settled: int = 0
    preferences: int = 0
    two_sided: int = 0
    held_out: Counter[Split] = field(default_factory=Counter)
    spoken: Counter[Spoken] = field(default_factory=Counter)
    digest: Any = field(default_factory=hashlib.sha256)

    def add(self, lesson: Lesson, preferences: int) -> None:
        case = lesson.case
        self.digest.update(repr((case.view, case.settled, preferred_rationales(case))).encode())
        self.training_cases += case.view.split == Split.TRAIN
        self.settled += lesson.settled is not None
        self.agreed += lesson.target is not None and lesson.settled is None
        self.preferences += preferences
        self.two_sided += preferences > 0
        self.held_out[case.view.split] += lesson.gold is not None
        for said in case.view.opinions:
            self.spoken[said.teacher, said.teacher_kind, said.model, said.prompt_version] += 1

    def add_kind(self, traits: Traits, cases: int) -> None:
        if traits.split != Split.TRAIN:
            self.held_out[Split(traits.split)] += cases if traits.gold else 0
            return
        self.training_cases += cases
        if traits.settled_as:
            self.settled += cases
            of_each = traits.preferences(traits.settled_as, traits.own_rationales)
            self.preferences += cases * of_each
            self.two_sided += cases * (of_each > 0)
        elif traits.pseudo_label:
            self.agreed += cases

    def teachers(self) -> list[dict[str, Any]]:
        """Say which teachers, of which versions, all these opinions are of, by name."""
        named = sorted(self.spoken.items(), key=lambda one: [part or "" for part in one[0]])
        keys = ("name", "kind", "model", "prompt_version", "opinions")
        return [dict(zip(keys, (*version, opinions), strict=True)) for version, opinions in named]

    def summary(self, rulings: int) -> SnapshotSummary:
        validation, test = self.held_out[Split.VALIDATION], self.held_out[Split.TEST]
        return SnapshotSummary(
            cases=self.training_cases + validation + test,
            training_cases=self.training_cases,
            agreed=self.agreed,
            settled=self.settled,
            left_out=self.training_cases - self.agreed - self.settled,
            preferences=self.preferences,
            two_sided=self.two_sided,
            rulings=rulings,
            share=round(rulings / self.training_cases, 4) if self.training_cases else 0.0,
            validation_cases=validation,
            test_cases=test,
        )


def plan(desk: Desk, preset_name: str, **changes: Any) -> Plan:
    """Return a preset with settings replaced; the demo's is for whatever student the desk starts from."""
    chosen = preset_plan(preset_name)
    if preset_name == DEMO:
        changes = {"student": desk.student_to_train(), **changes}
    return replace(chosen, config=replace(chosen.config, **changes))


def recipe(desk: Desk, preset_name: str, **changes: Any) -> DistilConfig:
    """Return the settings of `plan`."""
    return plan(desk, preset_name, **changes).config


def preview(desk: Desk) -> SnapshotSummary:
    """Say what `freeze` would put into a run now, but for what leaves because it shares with held-out cases.

    It counts kinds instead of reading cases: on a desk of a million that would take a minute.
    """
    count, rulings = _Count(), 0
    with desk.sessions() as session:
        for _, traits, cases in all_kinds(session):
            rulings += cases * traits.rulings
            if traits.has_image:
                count.add_kind(traits, cases)
    return count.summary(rulings)


def negatives_tried(summary: SnapshotSummary, config: DistilConfig) -> dict[str, int]:
    """Say for how many cases a run would try to make a negative of each kind; a share of them is kept."""
    return {
        kind.value: round(config.negatives.share(kind) * summary.two_sided) for kind in made_kinds(config)
    }


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
    partial = run_dir.with_name(f".{run_name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _write(partial, desk, config)
        partial.rename(run_dir)
    except (ImageRefusedError, UnknownImageError) as error:
        raise SnapshotError(str(error)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
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


def _write(run_dir: Path, desk: Desk, config: DistilConfig) -> None:
    (run_dir / "images").mkdir(parents=True)
    with desk.sessions() as session:
        count = _write_lessons(run_dir, session, desk.images_dir, config)
        summary = count.summary(_current_rulings(session))
    if not summary.agreed + summary.settled:
        raise SnapshotError(
            "There is nothing to learn from yet: import cases with a picture and teachers' opinions."
        )
    save_config(config, run_dir / "config.json")
    said = {
        "hash": count.digest.hexdigest(),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "prompt_version": PROMPT_VERSION,
        "counts": asdict(summary),
        "teachers": count.teachers(),
    }
    write_whole(RunFolder(run_dir).snapshot_path, json.dumps(said, indent=2) + "\n")


def _write_lessons(run_dir: Path, session: Session, images_dir: Path, config: DistilConfig) -> _Count:
    """Write records and pictures in one reading of the desk, however many cases it has."""
    count = _Count()
    with ExitStack() as files:
        lines = {
            name: files.enter_context((run_dir / f"{name}.jsonl").open("w", encoding="utf-8"))
            for name in ("sft", "preferences", *HELD_OUT)
        }
        for lesson in read_lessons(session, WITH_IMAGE, config.seed):
            made = pairs(lesson, max_per_case=config.dpo.max_preferences_per_case, seed=config.seed)
            count.add(lesson, len(made))
            lines["preferences"].writelines(map(_line, made))
            if lesson.target:
                lines["sft"].write(_line(lesson.target))
            if lesson.gold:
                lines[lesson.case.view.split].write(_line(lesson.gold))
            if (lesson.target or lesson.gold) and (sha256 := lesson.case.view.image_sha256):
                _link(sha256, images_dir, run_dir)
    return count


def _line(record: Target | Preference | GoldCase) -> str:
    return json.dumps(asdict(record), ensure_ascii=False) + "\n"


def _current_rulings(session: Session) -> int:
    return session.scalar(sa.select(sa.func.count()).select_from(Ruling).where(is_current())) or 0


def _link(sha256: str, images_dir: Path, run_dir: Path) -> None:
    """Share a shown copy's bytes with the desk where the file system can, else copy them."""
    source, target = shown_copy(sha256, images_dir), run_dir / image_name(sha256)
    if target.exists():  # the picture of an earlier case
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
