from collections.abc import Callable
from typing import Any

import pytest

from db.browse import Count
from db.cases import NewCase, NewOpinion, add_cases
from db.engine import write_session
from db.requests import request
from db.rulings import NewRuling, rule
from db.vocabulary import Answer, QueueReason, Role
from ooc_app.auth import Person, now
from ooc_app.case_list import QuestionError, choices, count_words, counted, listed
from ooc_app.desk import Desk

AddConflict = Callable[..., int]


def found(desk: Desk, person: Person, **wanted: Any) -> list[int]:
    return [row["id"] for row in listed(desk, person, {"wanted": wanted})["rows"]]


def rule_on(desk: Desk, person: Person, case_id: int, answer: Answer, *, flagged: bool = False) -> None:
    with write_session(desk.sessions) as session:
        said = NewRuling(f"{person.name}-{case_id}", case_id, answer, seconds=9, flagged=flagged)
        rule(session, person.annotator_id, said, now())


def add_plain(desk: Desk, name: str, *answers: Answer) -> None:
    said = tuple(NewOpinion(f"Teacher {place}", answer) for place, answer in enumerate(answers))
    with write_session(desk.sessions) as session:
        add_cases(session, "wire", [NewCase(name, f"Caption of {name}", source="wire", opinions=said)])


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"state": "open"}, "There is no state 'open': choose settled"),
        ({"verdict": "unsure"}, "no verdict"),
        ({"says": ["in_context"]}, "no says"),
        ({"gold": {"a": 1}}, "no gold"),
        ({"since": "yesterday"}, "'yesterday' is no date"),
        ({"until": "0001-01-01T00:00+14:00"}, "is no date"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused_with_a_sentence(
    desk: Desk, person: Person, wanted: dict[str, Any], says: str
) -> None:
    with pytest.raises(QuestionError, match=says):
        listed(desk, person, {"wanted": wanted})


@pytest.mark.parametrize("cursor", ["twelve", "", True, [1], float("nan")])
def test_a_cursor_that_is_no_number_is_refused(desk: Desk, person: Person, cursor: object) -> None:
    with pytest.raises(QuestionError):
        listed(desk, person, {"cursor": cursor})


@pytest.mark.parametrize("cursor", [-1, 0, 2**80, "99999999999999999999"])
def test_a_number_that_no_case_can_have_is_just_beyond_the_cases(
    desk: Desk, person: Person, add_conflict: AddConflict, cursor: object
) -> None:
    case_id = add_conflict("Norvik")
    rows = listed(desk, person, {"cursor": cursor})["rows"]
    assert [row["id"] for row in rows] == ([case_id] if float(str(cursor)) > 0 else [])


@pytest.mark.parametrize("text", ["\0", "\ud800", '"*(', "x" * 100_000, ["a"], 7, None])
def test_no_text_breaks_a_search(desk: Desk, person: Person, add_conflict: AddConflict, text: object) -> None:
    add_conflict("Norvik")
    for name in ("q", "source", "teacher", "annotator"):
        assert listed(desk, person, {"wanted": {name: text}})["ok"]
        assert counted(desk, person, {"wanted": {name: text}})["ok"]


def test_a_name_nobody_has_finds_nothing(desk: Desk, person: Person, add_conflict: AddConflict) -> None:
    add_conflict("Norvik")
    for name in ("source", "teacher", "annotator"):
        assert found(desk, person, **{name: "Nobody"}) == []


def test_each_filter_of_the_page_finds_its_cases(
    desk: Desk, person: Person, colleague: Person, add_conflict: AddConflict
) -> None:
    first, second = add_conflict("Norvik"), add_conflict("Halden")
    add_plain(desk, "plain", Answer.IN_CONTEXT)
    plain = second + 1
    rule_on(desk, colleague, first, Answer.IN_CONTEXT, flagged=True)
    assert found(desk, person) == [plain, second, first]
    assert found(desk, person, state="settled") == [first]
    assert found(desk, person, verdict="in_context") == [plain, first]
    assert found(desk, person, split="test") == found(desk, person, gold="in_context") == []
    assert found(desk, person, picture="without") == found(desk, person, source="wire") == [plain]
    assert found(desk, person, picture="with") == [second, first]
    assert found(desk, person, teacher="Teacher One", says="out_of_context") == [second, first]
    assert found(desk, person, annotator="maria") == found(desk, person, flagged="1") == [first]
    assert found(desk, person, q="caption hal") == [second]
    today = now().isoformat()
    assert found(desk, person, since="2026-03-01T00:00:00.000Z", until="2026-03-02T00:00:00.000Z") == []
    assert found(desk, person, until=today) == [plain, second, first]


def test_a_case_is_listed_with_what_its_teachers_say(
    desk: Desk, person: Person, add_conflict: AddConflict
) -> None:
    add_conflict("Norvik")
    add_plain(desk, "plain", Answer.IN_CONTEXT, Answer.IN_CONTEXT)
    plain, conflict = listed(desk, person, {})["rows"]
    assert (conflict["verdict"], conflict["state"], conflict["date"]) == (None, "conflict", "12 March")
    assert sorted(conflict["says"]) == [
        ["Teacher One", "out_of_context"],
        ["Teacher Three", "out_of_context"],
        ["Teacher Two", "in_context"],
    ]
    assert conflict["thumb"].startswith("desk/thumbs/")
    assert (plain["verdict"], plain["state"], plain["thumb"]) == ("in_context", "agreed", None)


def test_pages_follow_each_other(desk: Desk, person: Person) -> None:
    with write_session(desk.sessions) as session:
        add_cases(session, "wire", [NewCase(str(number), f"Caption {number}") for number in range(30)])
    first = listed(desk, person, {})
    second = listed(desk, person, {"cursor": first["older"], "limit": 1_000})
    assert [len(first["rows"]), len(second["rows"])] == [24, 6]
    assert (first["newer"], second["older"]) == (None, None)
    back = listed(desk, person, {"cursor": second["newer"], "newer": True})
    assert back["rows"] == first["rows"]
    assert counted(desk, person, {})["words"] == "30 cases"


# ---- blind, for whoever may yet rule ----


def test_an_annotator_sees_a_waiting_case_without_names_and_in_no_order_of_theirs(
    desk: Desk, colleague: Person, add_conflict: AddConflict
) -> None:
    add_conflict("Norvik")
    (row,) = listed(desk, colleague, {})["rows"]
    assert row["says"] == [[None, "in_context"], [None, "out_of_context"], [None, "out_of_context"]]
    assert (row["state"], row["verdict"]) == ("in the queue", None)


def test_a_filter_that_would_tell_what_is_hidden_leaves_those_cases_out_and_says_so(
    desk: Desk, person: Person, colleague: Person, add_conflict: AddConflict
) -> None:
    first, second = add_conflict("Norvik"), add_conflict("Halden")
    rule_on(desk, colleague, first, Answer.IN_CONTEXT)
    for wanted in ({"teacher": "Teacher One"}, {"says": "in_context"}, {"gold": None, "says": "in_context"}):
        answer = listed(desk, colleague, {"wanted": wanted})
        assert [row["id"] for row in answer["rows"]] == [first]
        assert answer["hidden"].startswith("1 case is left out")
        assert found(desk, person, **wanted) == [second, first]
    for wanted in ({"q": "caption"}, {"picture": "with"}, {}):
        assert found(desk, colleague, **wanted) == [second, first]


def test_what_a_colleague_ruled_stays_hidden_while_a_second_opinion_is_wanted(
    desk: Desk, person: Person, colleague: Person, add_conflict: AddConflict
) -> None:
    case_id = add_conflict("Norvik")
    with write_session(desk.sessions) as session:
        request(session, [case_id], QueueReason.SENT, now(), rulings_wanted=2)
    rule_on(desk, person, case_id, Answer.OUT_OF_CONTEXT)
    (row,) = listed(desk, colleague, {})["rows"]
    assert (row["verdict"], row["state"]) == (None, "in the queue")
    assert found(desk, colleague, state="settled") == found(desk, colleague, annotator=person.name) == []
    rule_on(desk, colleague, case_id, Answer.OUT_OF_CONTEXT)
    (row,) = listed(desk, colleague, {})["rows"]
    assert (row["verdict"], row["state"]) == ("out_of_context", "settled")


# ---- what the filters offer ----


def test_the_choices_are_those_of_this_desk(
    desk: Desk, person: Person, colleague: Person, add_conflict: AddConflict
) -> None:
    add_conflict("Norvik")
    add_plain(desk, "plain")
    offered = choices(desk, person)
    assert offered["total"] == 2
    assert ["conflict", "conflict", "1"] in offered["states"]
    assert ["settled", "settled", "0"] in offered["states"]
    assert offered["sources"] == [["wire", "1"]]
    assert set(offered["teachers"]) == {"Teacher One", "Teacher Two", "Teacher Three"}
    assert set(offered["annotators"]) == {person.name, "maria"}
    assert (offered["may_edit"], offered["may_send"]) == (True, True)
    hers = choices(desk, Person(colleague.annotator_id, "maria", Role.ANNOTATOR))
    assert (hers["may_edit"], hers["may_send"]) == (False, False)


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (Count(0), "0 cases"),
        (Count(1), "1 case"),
        (Count(1_234), "1,234 cases"),
        (Count(1_000, is_least=True), "more than 1,000 cases"),
        (Count(3, is_least=True), "at least 3 cases"),
    ],
)
def test_a_count_says_what_it_knows(count: Count, words: str) -> None:
    assert count_words(count) == words
