"""The shipped run's student on cases nobody trained on: its verdicts, and whether its reasons are so."""

import json
import re

import pytest
from PIL import Image

from db.vocabulary import Split, Verdict
from training import drawing, world
from training.config import PROJECT_DIR
from training.pictures import shrink
from training.records import CaseInput
from training.student import Student
from training.world import FACTS, Scene, WorldCase

CASES = 48
SHOWN = re.compile(r"(?:picture shows|we see) ([\w' ]+)")
TOLD = re.compile(r"caption (?:says|speaks of) ([\w' ]+)")


@pytest.fixture(scope="module")
def student() -> Student:
    return Student.load(str(PROJECT_DIR / "assets" / "demo-run"))


@pytest.fixture(scope="module")
def cases() -> list[WorldCase]:
    drawn = world.build_cases(0)
    wanted = (case for case in drawn if case.split is Split.TEST and case.gold is Verdict.OUT_OF_CONTEXT)
    return [case for case, _ in zip(wanted, range(CASES), strict=False)]


def picture_of(case: WorldCase, student: Student) -> Image.Image:
    drawn = drawing.draw(case.scene, case.picture_seed, height=480, supersample=1)
    return shrink(drawn, student.edge)


def ways_to_say(scene: Scene, fact: str) -> set[str]:
    value = scene.fact(fact)
    return {*world.PHRASES[fact][value], world.SEEN.get(fact, {}).get(value, "")}


def names_the_mismatch(case: WorldCase, rationale: str) -> bool:
    """Whether it says of a fact that differs what the picture shows, and what the caption says."""
    shown, told = SHOWN.search(rationale), TOLD.search(rationale)
    if shown is None or told is None:
        return False
    wrong = [fact for fact in FACTS if case.scene.fact(fact) != case.claimed.fact(fact)]
    return any(
        shown[1] in ways_to_say(case.scene, fact) and told[1] in ways_to_say(case.claimed, fact)
        for fact in wrong
    )


def test_a_rationale_that_says_the_same_of_both_sides_or_swaps_them_does_not_count(
    cases: list[WorldCase],
) -> None:
    case = next(one for one in cases if one.scene.landmark != one.claimed.landmark)
    here, there = (min(ways_to_say(scene, "landmark") - {""}) for scene in (case.scene, case.claimed))
    assert names_the_mismatch(case, f"The place does not fit: we see {here}, the caption speaks of {there}.")
    for shown, told in ((here, here), (there, here), (there, there)):
        assert not names_the_mismatch(case, f"The picture shows {shown}, the caption says {told}.")


def test_its_reasons_name_the_mismatch_in_three_cases_of_ten_at_least(
    student: Student, cases: list[WorldCase], one_thread: None
) -> None:
    right = named = 0
    for case in cases:
        asked = CaseInput("", "", case.caption)
        (begun,) = student.read(student.see([picture_of(case, student)]), [asked])
        right += student.judgement(begun.margin).verdict is Verdict.OUT_OF_CONTEXT
        said = "".join(student.write(begun, Verdict.OUT_OF_CONTEXT, max_tokens=60)).strip()
        named += names_the_mismatch(case, said)
    assert right >= 0.95 * len(cases)
    assert named >= 0.3 * len(cases)


def test_the_drawings_offered_to_visitors_are_of_cases_it_judges_rightly(student: Student) -> None:
    folder = PROJECT_DIR / "assets" / "examples"
    drawn = {case.id: case for case in world.build_cases(900, train=80, validation=2, test=2)}
    for one in json.loads((folder / "examples.json").read_text(encoding="utf-8")):
        case = drawn[one["image"].removesuffix(".jpg")]
        assert case.caption == one["caption"]
        with Image.open(folder / one["image"]) as offered:
            judged = student.judge(offered.convert("RGB"), CaseInput("", "", case.caption))
        assert judged.verdict is case.gold
