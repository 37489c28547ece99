import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import sqlalchemy as sa

from db.models import Ruling, is_current
from db.views import case_view
from db.vocabulary import Answer, Element
from ooc_app.adjudicate import look, rule_case, server_functions, skip_case, undo_ruling
from ooc_app.auth import Person
from ooc_app.blind import blind_order
from ooc_app.desk import Desk
from ooc_app.submissions import Said, SubmissionError, submission

AddConflict = Callable[..., int]
TEACHERS = ("Teacher One", "Teacher Two", "Teacher Three")


def said_of(case_id: int, submission_id: str, **fields: Any) -> Said:
    """A plain ruling, with some of it changed."""
    plain = Said(submission_id, case_id, Answer.OUT_OF_CONTEXT, seconds=9.0)
    return replace(plain, **fields)


def current_rulings(desk: Desk) -> list[Ruling]:
    with desk.sessions() as session:
        return list(session.scalars(sa.select(Ruling).where(is_current()).order_by(Ruling.id)))


def test_a_case_and_the_next_one_are_handed_out_together(
    desk: Desk, person: Person, add_conflict: AddConflict
) -> None:
    ids = [add_conflict(name) for name in ("Norvik", "Halden", "Tarn")]
    answer = look(desk, person)
    assert [case["id"] for case in answer["cases"]] == ids[:2]
    assert answer["cases"][0]["caption"] == "Caption of Norvik."
    assert answer["cases"][0]["picture"].startswith("desk/images/")
    assert answer["empty"] is None


def test_nothing_shown_before_the_ruling_tells_the_teachers_apart(
    desk: Desk, person: Person, add_conflict: AddConflict
) -> None:
    add_conflict("Norvik")
    text = json.dumps(look(desk, person))
    assert not any(teacher in text for teacher in TEACHERS)
    assert "opinion_id" not in text


def test_the_blind_order_is_drawn_per_case_and_annotator_and_stays(
    desk: Desk, add_conflict: AddConflict
) -> None:
    case_ids = [add_conflict(f"Town {number}") for number in range(12)]
    with desk.sessions() as session:
        cases = [case_view(session, case_id) for case_id in case_ids]

    def orders(annotator_id: int) -> list[tuple[str, ...]]:
        return [tuple(one.teacher for _, _, one in blind_order(case, annotator_id)) for case in cases]

    assert orders(1) == orders(1)
    assert orders(1) != orders(2)
    assert len(set(orders(1))) > 1
    assert [letter for letter, _, _ in blind_order(cases[0], 1)] == ["A", "B", "C"]


def test_a_ruling_is_stored_whole_and_reveals_who_said_what(
    desk: Desk, person: Person, add_conflict: AddConflict
) -> None:
    case_id = add_conflict("Norvik")
    cards = look(desk, person)["cases"][0]["cards"]
    best = next(card for card in cards if card["verdict"] == "out_of_context")
    said = said_of(
        case_id,
        "s1",
        best=best["token"],
        rationale="The tower stands in Halden.",
        elements=(Element.PLACE, Element.TIME),
        note="see the banner",
        flagged=True,
        seconds=1.2,
    )
    answer = rule_case(desk, person, said)
    [ruling] = current_rulings(desk)
    assert answer["ok"]
    assert answer["ruling_id"] == ruling.id
    assert answer["says"] == {"key": "says.rushed", "ruling": ruling.id, "corrects": None}
    assert (ruling.verdict, ruling.rationale, ruling.note) == (
        Answer.OUT_OF_CONTEXT,
        "The tower stands in Halden.",
        "see the banner",
    )
    assert (ruling.elements, ruling.flagged, ruling.rushed) == (["place", "time"], True, True)
    with desk.sessions() as session:
        chosen = {one.id: one for one in case_view(session, case_id).opinions}[ruling.opinion_id or 0]
    assert chosen.rationale == best["rationale"]
    told = answer["ruled"]["teachers"]
    assert [one["letter"] for one in told] == ["A", "B", "C"]
    assert {one["name"]: one["verdict"] for one in told} == {
        "Teacher One": "out_of_context",
        "Teacher Two": "in_context",
        "Teacher Three": "out_of_context",
    }
    with desk.sessions() as session:
        teachers = {one.id: one.teacher for one in case_view(session, case_id).opinions}
    assert [teachers[one] for one in ruling.shown or ()] == [one["name"] for one in told]
    assert ruling.guidelines == 0


def test_a_ruling_fetches_only_the_case_the_page_lacks(
    desk: Desk, person: Person, add_conflict: AddConflict
) -> None:
    first, second, third = (add_conflict(name) for name in ("Norvik", "Halden", "Tarn"))
    look(desk, person)
    answer = rule_case(desk, person, said_of(first, "s1"), held=[first, second])
    assert answer["cases"][0] == {"id": second}
    assert answer["cases"][1]["id"] == third
    assert answer["cases"][1]["caption"] == "Caption of Tarn."


def test_a_submission_sent_twice_is_one_ruling(desk: Desk, person: Person, add_conflict: AddConflict) -> None:
    case_id = add_conflict("Norvik")
    first = rule_case(desk, person, said_of(case_id, "s1"))
    again = rule_case(desk, person, said_of(case_id, "s1"))
    assert again["ok"]
    assert again["ruling_id"] == first["ruling_id"]
    assert len(current_rulings(desk)) == 1


def test_a_case_already_ruled_on_is_refused_with_the_next_case(
    desk: Desk, person: Person, add_conflict: AddConflict
) -> None:
    first, second = add_conflict("Norvik"), add_conflict("Halden")
    rule_case(desk, person, said_of(first, "s1"))
    answer = rule_case(desk, person, said_of(first, "s2"))
    assert not answer["ok"]
    assert answer["says"]["key"] == "says.already_ruled"
    assert [case["id"] for case in answer["cases"]] == [second]


def test_two_annotators_never_hold_the_same_case(
    desk: Desk, person: Person, colleague: Person, add_conflict: AddConflict
) -> None:
    for number in range(5):
        add_conflict(f"Town {number}")
    mine = {case["id"] for case in look(desk, person)["cases"]}
    theirs = {case["id"] for case in look(desk, colleague)["cases"]}
    assert len(mine) == len(theirs) == 2
    assert not mine & theirs


def test_undo_brings_the_case_back_with_what_was_said_of_it(
    desk: Desk, person: Person, add_conflict: AddConflict
) -> None:
    first, second, _ = (add_conflict(name) for name in ("Norvik", "Halden", "Tarn"))
    best = look(desk, person)["cases"][0]["cards"][1]
    said = said_of(first, "s1", best=best["token"], elements=(Element.EVENT,), note="hm")
    ruled = rule_case(desk, person, said, held=[first, second])
    answer = undo_ruling(desk, person, ruled["ruling_id"], held=[second])
    assert [case["id"] for case in answer["cases"]] == [first, second]
    assert answer["cases"][0]["answer"] == {
        "best": best["letter"],
        "rationale": None,
        "elements": ["event"],
        "note": "hm",
        "flagged": False,
    }
    assert current_rulings(desk) == []
    assert answer["recent"] == []


def test_undo_asked_twice_undoes_once(desk: Desk, person: Person, add_conflict: AddConflict) -> None:
    first, second = add_conflict("Norvik"), add_conflict("Halden")
    rule_case(desk, person, said_of(first, "s1"))
    ruled = rule_case(desk, person, said_of(second, "s2"))
    for _ in range(2):
        undo_ruling(desk, person, ruled["ruling_id"])
    assert [ruling.case_id for ruling in current_rulings(desk)] == [first]


def test_undo_without_a_ruling_says_so(desk: Desk, person: Person) -> None:
    assert not undo_ruling(desk, person, None)["ok"]


def test_a_skipped_case_goes_to_a_colleague_and_not_back(
    desk: Desk, person: Person, colleague: Person, add_conflict: AddConflict
) -> None:
    case_id = add_conflict("Norvik")
    look(desk, person)
    answer = skip_case(desk, person, case_id, held=[case_id])
    assert answer["cases"] == []
    assert answer["empty"] == {"why": "done", "second": 0, "split": 0, "poll": False}
    assert [case["id"] for case in look(desk, colleague)["cases"]] == [case_id]


def test_a_desk_without_cases_says_what_to_do_next(desk: Desk, person: Person) -> None:
    assert look(desk, person)["empty"] == {"why": "none", "poll": True}


@pytest.mark.parametrize(
    "broken",
    [
        {"verdict": "fake"},
        {"case_id": "x"},
        {"submission_id": 7},
        {"submission_id": "s" * 65},
        {"elements": ["weather"]},
        {"note": ["a"]},
        {"note": "n" * 2001},
        {"rationale": "r" * 4001},
        {"best": {"$ne": 1}},
        {"seconds": "soon"},
        {"corrects": "last"},
        {"cause": "weather"},
    ],
)
def test_a_ruling_that_makes_no_sense_is_refused(broken: dict[str, Any]) -> None:
    sound = {"submission_id": "s1", "case_id": 1, "verdict": "unsure", "seconds": 3.0}
    assert submission(sound).verdict == Answer.UNSURE
    with pytest.raises(SubmissionError):
        submission({**sound, **broken})


@pytest.mark.parametrize(("seconds", "kept"), [(-5, 0.0), (float("nan"), 0.0), (1e9, 86_400.0)])
def test_a_browsers_clock_is_kept_within_a_day(seconds: float, kept: float) -> None:
    said = submission({"submission_id": "s1", "case_id": 1, "verdict": "unsure", "seconds": seconds})
    assert said.seconds == kept


@dataclass
class Client:
    host: str = "203.0.113.9"


@dataclass
class Stranger:
    """A request from another machine."""

    headers: dict[str, str] = field(default_factory=lambda: {"host": "desk.example:7860"})
    client: Client = field(default_factory=Client)


def test_a_stranger_gets_no_case_and_makes_no_ruling(desk: Desk, add_conflict: AddConflict) -> None:
    case_id = add_conflict("Norvik")
    payload = {"submission_id": "s1", "case_id": case_id, "verdict": "unsure", "ruling_id": 1}
    for function in server_functions(desk):
        answer = function(payload, Stranger())
        assert not answer["ok"]
        assert answer["cases"] == []
        assert "Norvik" not in json.dumps(answer)
    assert current_rulings(desk) == []
