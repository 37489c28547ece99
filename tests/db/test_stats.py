import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy.orm import Session, sessionmaker

from db.agreement import NO_AUDIT_RULED, NOTHING_ANSWERED_TWICE, RUSHED_LEAST
from db.engine import write_session
from db.rulings import NewRuling, ensure_annotator, recent, rule, undo
from db.stats import stats
from db.vocabulary import Answer, Cause, Role, Split, Verdict

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
IN, OUT = Verdict.IN_CONTEXT, Verdict.OUT_OF_CONTEXT


@pytest.fixture
def desk(sessions: sessionmaker[Session], add_case: Callable[..., int]) -> sessionmaker[Session]:
    """Give ten cases of three teachers, small enough to count by hand, and three rulings that stand."""
    add_case("1", "iii", gold=IN)
    add_case("2", "ooo", gold=IN)  # agreed and wrong
    add_case("3", "iio", gold=OUT)
    add_case("4", "ioo", gold=IN)
    add_case("5", "uio")
    add_case("6", "uuu", gold=OUT, split=Split.TEST)
    add_case("7", "i", split=Split.VALIDATION, image=False)
    add_case("8", "", gold=IN)
    add_case("9", "iou", gold=OUT, split=Split.TEST)
    add_case("10", "ioi")
    with write_session(sessions) as session:
        maria, tom = (ensure_annotator(session, name) for name in ("maria", "tom"))
        rule(session, maria, NewRuling("a", 3, Answer.OUT_OF_CONTEXT), NOW)
        rule(session, maria, NewRuling("b", 4, Answer.UNSURE), NOW)
        rule(session, tom, NewRuling("c", 5, Answer.IN_CONTEXT, rationale="The banner reads 2021."), NOW)
        rule(session, tom, NewRuling("d", 10, Answer.IN_CONTEXT), NOW)
        undo(session, tom, now=NOW)
    return sessions


def test_the_stats_of_a_small_desk_are_those_counted_by_hand(desk: sessionmaker[Session]) -> None:
    with desk() as session:
        found = json.loads(json.dumps(stats(session)))
    teachers, agreement, people = (found.pop(name) for name in ("teachers", "agreement", "people"))
    assert {why: cases for why, cases in found.pop("queue").items() if cases} == {
        "conflict": 1,  # case 10, undone
        "second_opinion": 1,  # case 5
    }
    assert found == {
        "cases": 10,
        "cases_without_image": 1,
        "by_gold": {"in_context": 4, "out_of_context": 3, "unknown": 3},
        "by_split": {"train": 7, "validation": 1, "test": 2},
        "opinions": 25,
        "agreed": 3,
        "agreed_wrong": 1,
        "no_opinion": 1,
        "conflicts": {"total": 6, "open": 4, "settled": 2},
        "queued": 2,
        "audit": {
            "sampled": 0,
            "ruled": 0,
            "wrong": 0,
            "error": None,
            "interval": None,
            "why": NO_AUDIT_RULED,
            "by_source": [],
        },
        "preferences": 4,  # case 3: 1 right x 2 wrong; case 5: (1 right + 1 of tom's own) x 1 wrong
        "preferences_possible": 5,  # case 3: 1 x 2; case 4: 1 x 2; case 6: none; case 9: 1 x 1
        "rulings": 3,
        "causes": dict.fromkeys(("ambiguous_caption", "guideline_gap", "slip", "edge_case", "judgement"), 0),
        "annotators": 2,
        "called_out": [],
    }
    assert [(one["name"], one["rulings"], one["unsure"], one["rushed"]) for one in people] == [
        ("maria", 2, 1, 2),
        ("tom", 1, 0, 1),
    ]
    assert [list(teacher.values())[:5] for teacher in teachers] == [
        ["A", "recorded", 9, 2, pytest.approx(2 / 6)],
        ["B", "recorded", 8, 1, pytest.approx(2 / 6)],
        ["C", "recorded", 8, 2, pytest.approx(2 / 6)],
    ]
    assert [teacher["kappa_with_rulings"] for teacher in teachers] == pytest.approx([-0.5, 0.0, 0.0])
    assert agreement["krippendorff_alpha"] == pytest.approx(47 / 185)
    assert agreement["why"] is None
    assert [(pair["a"], pair["b"], pair["conflict_rate"]) for pair in agreement["pairs"]] == [
        ("A", "B", 5 / 8),
        ("A", "C", 5 / 8),
        ("B", "C", 5 / 8),
    ]
    assert [pair["kappa"] for pair in agreement["pairs"]] == pytest.approx([11 / 43, 7 / 23, 1 / 5])


def test_causes_are_counted_over_the_rulings_that_settle_and_still_stand(
    sessions: sessionmaker[Session], add_case: Callable[..., int]
) -> None:
    cases = [add_case(name) for name in ("one", "two", "three")]
    with write_session(sessions) as session:
        eve, ben = (ensure_annotator(session, name, Role.ANNOTATOR) for name in ("eve", "ben"))
        ada = ensure_annotator(session, "ada", Role.ADJUDICATOR)
        for case_id, cause in zip(cases, (Cause.SLIP, Cause.SLIP, Cause.JUDGEMENT), strict=True):
            rule(session, eve, NewRuling(f"eve {case_id}", case_id, Answer.IN_CONTEXT), NOW)
            rule(session, ben, NewRuling(f"ben {case_id}", case_id, Answer.OUT_OF_CONTEXT), NOW)
            rule(session, ada, NewRuling(f"ada {case_id}", case_id, Answer.UNSURE, cause=cause), NOW)
        undo(session, ada, now=NOW)
        first = recent(session, ada)[-1].id
        gap = NewRuling("gap", cases[0], Answer.UNSURE, corrects=first, cause=Cause.GUIDELINE_GAP)
        rule(session, ada, gap, NOW)
    with sessions() as session:
        counted = stats(session)["causes"]
    assert {cause: number for cause, number in counted.items() if number} == {"slip": 1, "guideline_gap": 1}
    assert len(counted) == len(Cause)


def test_an_empty_desk_has_zeros_and_says_why_alpha_is_undefined(sessions: sessionmaker[Session]) -> None:
    with sessions() as session:
        found = stats(session)
    assert (found["cases"], found["conflicts"]) == (0, {"total": 0, "open": 0, "settled": 0})
    assert found["by_gold"] == {"in_context": 0, "out_of_context": 0, "unknown": 0}
    assert found["teachers"] == []
    none: dict[str, object] = {"krippendorff_alpha": None, "why": NOTHING_ANSWERED_TWICE, "pairs": []}
    assert found["agreement"] == {**none, "annotators": none}


@pytest.mark.parametrize("scripted", [False, True])
def test_the_demos_script_is_not_called_out_for_ruling_in_no_time(
    sessions: sessionmaker[Session], add_case: Callable[..., int], scripted: bool
) -> None:
    cases = [add_case(f"case {number}") for number in range(RUSHED_LEAST)]
    with write_session(sessions) as session:
        who = ensure_annotator(session, "quick", scripted=scripted)
        for number, case_id in enumerate(cases):
            answer = Answer.IN_CONTEXT if number % 2 else Answer.OUT_OF_CONTEXT
            rule(session, who, NewRuling(str(number), case_id, answer, seconds=0.1), NOW)
    with sessions() as session:
        found = stats(session)
    assert found["annotators"] == 1
    assert [one["oddity"] for one in found["called_out"] if one["name"] == "quick"] == (
        [] if scripted else ["rushed"]
    )
