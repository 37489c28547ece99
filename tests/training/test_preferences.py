import random

import pytest

from db.vocabulary import Answer, Verdict
from training.preferences import (
    OneSidedCaseError,
    Opinion,
    SettledCase,
    agreed_target,
    preferences,
    settled_target,
)
from training.records import CaseInput

CASE = CaseInput("1", "images/1.jpg", "A caption.")


def settled(opinions: str, verdict: Verdict, preferred: tuple[str, ...] = ()) -> SettledCase:
    answers = {"i": Answer.IN_CONTEXT, "o": Answer.OUT_OF_CONTEXT, "u": Answer.UNSURE}
    said = tuple(Opinion(str(n), answers[letter], f"{letter}{n}") for n, letter in enumerate(opinions))
    return SettledCase(CASE, verdict, said, preferred)


def test_a_case_with_nothing_on_one_side_is_an_error_and_not_dropped() -> None:
    for one_sided in (settled("iu", Verdict.IN_CONTEXT), settled("uu", Verdict.IN_CONTEXT)):
        assert one_sided.one_sided()
        with pytest.raises(OneSidedCaseError, match="Case 1"):
            preferences([one_sided])


def test_every_right_rationale_is_preferred_to_every_wrong_one() -> None:
    pairs = preferences([settled("iooi", Verdict.OUT_OF_CONTEXT)])
    assert {(pair.chosen, pair.rejected) for pair in pairs} == {
        ("o1", "i0"),
        ("o1", "i3"),
        ("o2", "i0"),
        ("o2", "i3"),
    }


def test_unsure_takes_no_side() -> None:
    (pair,) = preferences([settled("iou", Verdict.IN_CONTEXT)])
    assert (pair.chosen, pair.rejected) == ("i0", "o1")


def test_what_people_wrote_comes_first_and_survives_the_ceiling() -> None:
    item = settled("iiiooo", Verdict.OUT_OF_CONTEXT, preferred=("my own",))
    pairs = preferences([item], max_per_case=3)
    assert [pair.chosen for pair in pairs] == ["my own"] * 3
    assert settled_target(item).rationale == "my own"


def test_equal_inputs_give_equal_preferences() -> None:
    items = [settled("iiiooo", Verdict.OUT_OF_CONTEXT)] * 3
    assert preferences(items, seed=7) == preferences(items, seed=7)


def test_a_settled_case_nobody_got_right_still_has_a_target() -> None:
    target = settled_target(settled("ii", Verdict.OUT_OF_CONTEXT))
    assert (target.verdict, target.rationale, target.origin) == (Verdict.OUT_OF_CONTEXT, "", "settled")


def test_an_agreed_case_takes_the_rationale_of_one_teacher() -> None:
    said = settled("oo", Verdict.OUT_OF_CONTEXT).opinions
    target = agreed_target(CASE, said, random.Random(0))
    assert target.verdict is Verdict.OUT_OF_CONTEXT
    assert target.rationale in {"o0", "o1"}
