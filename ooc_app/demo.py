"""The demo desk, and the whole loop on it without a browser.

The desk is drawn in batches, each a transaction, so a desk that was cut off goes on where it was and
people can rule while the rest is still being drawn. In the loop a scripted annotator, named so,
rules with the demo's reference answers; everything else is what a person would set going.
"""

import io
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from db import queue
from db.cases import NewCase, NewImage, NewOpinion, add_cases
from db.derived import place_all
from db.engine import write_session
from db.models import Case
from db.rulings import NewRuling, ensure_annotator, rule
from db.views import case_view
from db.vocabulary import Answer, Role, TeacherKind, Verdict
from ooc_app import demo_guidelines, promotion, runner, snapshot
from ooc_app.desk import Desk
from ooc_app.intake.images import admit
from training.config import with_negatives
from training.state import write_whole
from training.world import WorldCase, build_cases

DATASET = "demo"
SCRIPTED_ANNOTATOR = "demo annotator (scripted)"
PICTURES_PER_BATCH = 40
DRAWING_PROCESSES = 2

Say = Callable[[str, dict[str, Any]], None]
"""Told what is going on: a word for it, and its figures."""


@dataclass(frozen=True, slots=True)
class DemoSize:
    """How many cases a demo desk has in each split."""

    train: int = 1600
    validation: int = 200
    test: int = 600

    @property
    def total(self) -> int:
        """All of them."""
        return self.train + self.validation + self.test


def progress(desk: Desk) -> tuple[int, int] | None:
    """Return how many demo cases are drawn, and of how many; None where no drawing is under way."""
    plan = _plan(desk)
    if plan is None or plan["done"]:
        return None
    with desk.sessions() as session:
        query = sa.select(sa.func.count()).select_from(Case).where(Case.dataset == DATASET)
        return session.scalar(query) or 0, DemoSize(**plan["size"]).total


def begin(data_dir: Path) -> None:
    """Make a new data folder that is to become a demo desk, so that a kill from here on is made good."""
    data_dir.mkdir(parents=True)
    _write_plan(data_dir, {"seed": 0, "size": asdict(DemoSize()), "done": False})


def draw_in_background(desk: Desk) -> threading.Thread:
    """Begin, or go on with, drawing the demo desk, and return the thread that does."""
    thread = threading.Thread(target=fill, args=(desk,), daemon=True, name="draw demo desk")
    thread.start()
    return thread


def is_unfinished(desk: Desk) -> bool:
    """Whether a demo desk was begun here and is not complete."""
    plan = _plan(desk)
    return plan is not None and not plan["done"]


def fill(
    desk: Desk, *, seed: int = 0, size: DemoSize | None = None, say: Say = lambda what, figures: None
) -> int:
    """Draw the demo desk, or what is missing of it, and return how many cases were added.

    A desk begun with another seed or size is completed as it was begun.
    """
    plan = _plan(desk) or {"seed": seed, "size": asdict(size or DemoSize()), "done": False}
    if plan["done"]:
        return 0
    _write_plan(desk.data_dir, plan)
    total = DemoSize(**plan["size"])
    cases = list(build_cases(plan["seed"], **plan["size"]))
    with desk.sessions() as session:
        known = set(session.scalars(sa.select(Case.external_id).where(Case.dataset == DATASET)))
    missing = [case for case in cases if case.id not in known]
    added = len(known)
    for part in _drawn(missing):
        records = [_new_case(case, _admitted(data, desk)) for case, data in part]
        with write_session(desk.sessions) as session:
            add_cases(session, DATASET, records, teacher_kind=TeacherKind.SCRIPTED)
        added += len(records)
        say("draw", {"done": added, "of": total.total})
    with write_session(desk.sessions) as session:
        place_all(session, datetime.now(UTC))  # by now it is known which sources are rare
    demo_guidelines.write(desk, DATASET, cases)
    _write_plan(desk.data_dir, {**plan, "done": True})
    return len(missing)


def run_loop(
    desk: Desk,
    *,
    seed: int,
    say: Say,
    max_steps: int = 0,
    negatives: str | None = None,
    compare: bool = False,
) -> dict[str, Any]:
    """Fill the desk, rule, distil, promote and check once; return the run's report and the check.

    `negatives` is one of `NEGATIVE_SETS`; with `compare`, the report compares all of them.
    """
    fill(desk, seed=seed, say=say)
    rulings = rule_by_script(desk, desk.settings.budget)
    say("rule", {"rulings": rulings})
    config = snapshot.recipe(desk, "demo", seed=seed, max_steps=max_steps)
    config = with_negatives(config, negatives, compare=compare)
    run_dir = snapshot.freeze(desk, name=_free_name(desk, f"demo-{seed}"), config=config)
    runner.start(desk, run_dir)
    view = watched(run_dir, say)
    if view.report is None:
        raise runner.RunError(f"The run {view.name} ended as {view.status}: {view.why}.")
    promotion.promote(desk, view.name)
    say("promote", {"run": view.name})
    answer = _one_check(desk)
    say("check", answer)
    return {**view.report, "check": answer}


def rule_by_script(desk: Desk, budget: float) -> int:
    """Rule on conflicts, the worthiest first, until the budget is spent; return the rulings made.

    `budget` is a share of the training cases, 0 to 1.
    """
    with write_session(desk.sessions) as session:
        annotator_id = ensure_annotator(session, SCRIPTED_ANNOTATOR, Role.ANNOTATOR, scripted=True)
        training = sa.select(sa.func.count()).select_from(Case).where(Case.split == "train")
        wanted = int((session.scalar(training) or 0) * budget)
    made = 0
    while made < wanted:
        now = datetime.now(UTC)
        with write_session(desk.sessions) as session:
            claimed = queue.claim(session, annotator_id, now)
            if not claimed:
                break
            view = case_view(session, claimed[0])
            rule(session, annotator_id, _reference_ruling(view), now)
        made += 1
    return made


def _reference_ruling(view: Any) -> NewRuling:
    """Answer with the gold verdict, and pick the first teacher's rationale that reaches it."""
    best = next((opinion.id for opinion in view.opinions if opinion.verdict == view.gold), None)
    return NewRuling(
        submission_id=uuid.uuid4().hex,
        case_id=view.id,
        verdict=Answer(view.gold),
        opinion_id=best,
        seconds=5.0,
    )


def watched(run_dir: Path, say: Say) -> runner.RunView:
    """Follow a run that was started, telling every step, and return how it ended; Ctrl-C stops it."""
    try:
        return _followed(run_dir, say)
    except KeyboardInterrupt:
        runner.stop(run_dir)
        runner.wait(run_dir)
        raise


def _followed(run_dir: Path, say: Say) -> runner.RunView:
    last: tuple[str | None, int] = (None, -1)
    while True:
        view = runner.view(run_dir)
        if (view.stage, view.step) != last:
            last = (view.stage, view.step)
            loss = view.metrics[-1]["loss"] if view.metrics else None
            say("run", {"stage": view.stage, "step": view.step, "of": view.steps, "loss": loss})
        if view.status != "running":
            return runner.wait(run_dir)
        threading.Event().wait(0.3)


def _one_check(desk: Desk) -> dict[str, Any]:
    """Ask the promoted student about the first held-out case."""
    from ooc_app.intake.images import shown_copy
    from ooc_app.serving import Serving

    with desk.sessions() as session:
        first = sa.select(Case.id).where(Case.split == "test", Case.image_sha256.is_not(None)).limit(1)
        view = case_view(session, session.scalar(first) or 0)
    serving = Serving(desk)
    picture = shown_copy(str(view.image_sha256), desk.images_dir)
    answer = serving.check(picture, view.caption, view.date, view.place)
    said = list(serving.rationale(picture, view.caption, view.date, view.place, answer.verdict))
    return {"caption": view.caption, "gold": view.gold, **asdict(answer), "rationale": "".join(said[-1:])}


def _drawn(cases: list[WorldCase]) -> Iterator[list[tuple[WorldCase, bytes]]]:
    """Draw the cases' pictures in other processes, so that the page stays quick meanwhile."""
    groups: dict[str, list[WorldCase]] = {}
    for case in cases:
        groups.setdefault(case.group, []).append(case)
    firsts = [(group[0].scene, group[0].picture_seed) for group in groups.values()]
    with ProcessPoolExecutor(DRAWING_PROCESSES, mp_context=get_context("spawn")) as pool:
        pictures = pool.map(_jpeg, firsts, chunksize=8)
        waiting: list[tuple[WorldCase, bytes]] = []
        for number, (group, data) in enumerate(zip(groups.values(), pictures, strict=True), 1):
            waiting += [(case, data) for case in group]
            if number % PICTURES_PER_BATCH == 0 or number == len(groups):
                yield waiting
                waiting = []


def _jpeg(asked: tuple[Any, int]) -> bytes:
    from training.drawing import draw

    scene, picture_seed = asked
    buffer = io.BytesIO()
    draw(scene, picture_seed).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _admitted(data: bytes, desk: Desk) -> NewImage:
    image = admit(data, desk.images_dir)
    return NewImage(image.sha256, image.format, image.width, image.height, image.byte_size)


def _new_case(case: WorldCase, image: NewImage) -> NewCase:
    from training.scripted import opinions

    said = tuple(
        NewOpinion(opinion.teacher, opinion.verdict, opinion.rationale, opinion.confidence)
        for opinion in opinions(case)
    )
    return NewCase(
        external_id=case.id,
        caption=case.caption,
        image=image,
        gold=Verdict(case.gold),
        split=case.split,
        group=case.group,
        source=case.source,
        date=case.dateline.date if case.tells_dateline else None,
        place=case.dateline.town if case.tells_dateline else None,
        opinions=said,
    )


def _free_name(desk: Desk, wanted: str) -> str:
    names = (wanted if number == 1 else f"{wanted}-{number}" for number in range(1, 10_000))
    return next(name for name in names if not (desk.runs_dir / name).exists())


def _plan(desk: Desk) -> dict[str, Any] | None:
    try:
        plan: dict[str, Any] = json.loads((desk.data_dir / "demo.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return plan


def _write_plan(data_dir: Path, plan: dict[str, Any]) -> None:
    write_whole(data_dir / "demo.json", json.dumps(plan))
