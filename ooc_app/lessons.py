"""Sort the desk's cases by what a run does with them: learns from them, or is measured by them.

A snapshot and the exports that train elsewhere both read from here, one case after the other, so they
hold the same targets and preferences whatever their format. Agreed and settled training cases with a
picture have a target; of the settled ones those are preferences, too, on which rationales reach both
verdicts; held-out cases with a gold verdict measure. An unsettled conflict is neither, and neither is
a training case that shares its group or picture with one that measures: importers keep a data set's
own splits, whatever they are, and a student must not be measured on what it was trained on.
"""

import random
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy.orm import Session

from db.views import CaseView, Selection, WholeCase, whole_cases
from db.vocabulary import PREFERENCES_PER_CASE, Answer, Split
from training.preferences import Opinion, SettledCase, agreed_target, preferences, settled_target
from training.prompts import Evidence
from training.records import CaseInput, GoldCase, Preference, Target


@dataclass(frozen=True, slots=True)
class Lesson:
    """A case and what it is good for; nothing where it is left out."""

    case: WholeCase
    target: Target | None = None
    settled: SettledCase | None = None  # where the target has a human verdict
    gold: GoldCase | None = None


def read_lessons(session: Session, selection: Selection, seed: int = 0) -> Iterator[Lesson]:
    """Read and sort the cases selected that have a picture, in the order they were added.

    Which teacher's rationale becomes an agreed case's target is drawn with `seed`, case after case.
    """
    return lessons(whole_cases(session, selection, sharing=True), seed)


def lessons(cases: Iterable[WholeCase], seed: int = 0) -> Iterator[Lesson]:
    """Sort cases that were read with `sharing`; those without a picture are left out."""
    rng = random.Random(seed)
    for case in cases:
        lesson = _lesson(case, rng)
        yield Lesson(case) if case.shares_held_out and lesson.target else lesson


def pairs(lesson: Lesson, *, max_per_case: int = PREFERENCES_PER_CASE, seed: int = 0) -> list[Preference]:
    """Pair right with wrong rationales of a settled case; none where no two can be told apart.

    What is kept of more than `max_per_case` is drawn with `seed` and the case's id, so it does not
    depend on which other cases there are.
    """
    item = lesson.settled
    if item is None or item.one_sided():
        return []
    own_seed = zlib.crc32(f"{seed}/{item.case.id}".encode())
    return preferences([item], max_per_case=max_per_case, seed=own_seed)


def image_name(sha256: str) -> str:
    """Where a run folder has the shown copy of a picture."""
    return f"images/{sha256}.jpg"


def _lesson(case: WholeCase, rng: random.Random) -> Lesson:
    view = case.view
    if view.image_sha256 is None:
        return Lesson(case)
    if view.split != Split.TRAIN:
        return Lesson(case, gold=_gold_case(view))
    shown, opinions = case_input(view), _opinions(view)
    if case.settled:
        item = SettledCase(shown, case.settled, opinions, preferred_rationales(case))
        return Lesson(case, settled_target(item), item)
    if _agree(opinions):
        return Lesson(case, agreed_target(shown, opinions, rng))
    return Lesson(case)


def preferred_rationales(case: WholeCase) -> tuple[str, ...]:
    """Return what people say for the human verdict: an adjudicator first, own words before picked ones."""
    if case.settled is None:
        return ()
    verdict = Answer(case.settled.value)
    for_it = [ruling for ruling in case.rulings if ruling.verdict == verdict]
    for_it.sort(key=lambda ruling: not ruling.settles)
    own = [ruling.rationale for ruling in for_it if ruling.rationale]
    picked = [
        ruling.picked_rationale
        for ruling in for_it
        if not ruling.rationale and ruling.picked_rationale and ruling.picked_verdict == verdict
    ]
    return (*own, *picked)


def _agree(opinions: Iterable[Opinion]) -> bool:
    said = {opinion.verdict for opinion in opinions}
    return len(said) == 1 and Answer.UNSURE not in said


def case_input(view: CaseView) -> CaseInput:
    """Return what a model may see of a case: neither gold verdict nor source nor what others say."""
    evidence = tuple(
        Evidence(piece.title or "", piece.url or "", piece.date or "", piece.text or "")
        for piece in view.evidence
    )
    name = f"{view.dataset}/{view.external_id}"
    group = f"{view.dataset}/{view.group or view.external_id}"
    image = image_name(view.image_sha256) if view.image_sha256 else ""
    return CaseInput(name, image, view.caption, view.date, view.place, evidence, group)


def _opinions(view: CaseView) -> tuple[Opinion, ...]:
    return tuple(Opinion(said.teacher, said.verdict, said.rationale) for said in view.opinions)


def _gold_case(view: CaseView) -> GoldCase | None:
    if view.gold is None:
        return None
    said = {opinion.teacher: opinion.verdict for opinion in view.opinions}
    return GoldCase(case_input(view), view.gold, said, view.source or view.dataset)
