"""Several people on one case: second opinions, split rulings, sending back, and what each may see."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from db.engine import write_session
from db.models import Ruling, is_current
from db.rulings import ensure_annotator
from db.vocabulary import Answer, Cause, Role
from db.worth import Order, change_order
from ooc_app.adjudicate import look, reopen_ruling, rule_case, send_back
from ooc_app.auth import Person
from ooc_app.desk import Desk
from ooc_app.guidelines import save
from ooc_app.submissions import Said

AddConflict = Callable[..., int]


def joined(desk: Desk, name: str, role: Role) -> Person:
    with write_session(desk.sessions) as session:
        return Person(ensure_annotator(session, name, role), name, role)


@pytest.fixture
def people(desk: Desk) -> tuple[Person, Person, Person]:
    """Give two annotators and an adjudicator, on a desk where every case gets two rulings."""
    with write_session(desk.sessions) as session:
        change_order(session, Order(second_opinions=1.0, audit_turns=0.0), None, datetime.now(UTC))
    given = joined(desk, "maria", Role.ANNOTATOR), joined(desk, "tom", Role.ANNOTATOR)
    return *given, joined(desk, "ada", Role.ADJUDICATOR)


def rules(desk: Desk, person: Person, case_id: int, verdict: Answer, **said: Any) -> dict[str, Any]:
    plain = Said(f"{person.name}-{case_id}-{len(rulings(desk))}", case_id, verdict, seconds=9.0)
    return rule_case(desk, person, replace(plain, **said))


def rulings(desk: Desk) -> list[Ruling]:
    with desk.sessions() as session:
        return list(session.scalars(sa.select(Ruling).order_by(Ruling.id)))


def standing(desk: Desk) -> dict[int, str]:
    with desk.sessions() as session:
        rows = session.execute(sa.select(Ruling.annotator_id, Ruling.verdict).where(is_current()))
        return {annotator_id: str(verdict) for annotator_id, verdict in rows}


def split_case(desk: Desk, people: tuple[Person, Person, Person], add_conflict: AddConflict) -> int:
    """Let two people rule otherwise on one case."""
    case_id = add_conflict("Norvik")
    rules(desk, people[0], case_id, Answer.OUT_OF_CONTEXT, note="see the tower")
    rules(desk, people[1], case_id, Answer.IN_CONTEXT)
    return case_id


def test_an_annotator_sees_nothing_of_a_colleagues_ruling_before_their_own_and_all_of_it_after(
    desk: Desk, people: tuple[Person, Person, Person], add_conflict: AddConflict
) -> None:
    maria, tom, _ = people
    case_id = add_conflict("Norvik")
    rules(desk, maria, case_id, Answer.OUT_OF_CONTEXT, note="see the tower")
    before = json.dumps(look(desk, tom))
    assert "maria" not in before
    assert "see the tower" not in before
    assert look(desk, tom)["cases"][0]["split"] is None
    after = rules(desk, tom, case_id, Answer.IN_CONTEXT)
    assert after["ruled"]["colleagues"] == [{"name": "maria", "verdict": "out_of_context"}]


def test_an_adjudicator_sees_both_rulings_without_names_and_settles_with_a_cause(
    desk: Desk, people: tuple[Person, Person, Person], add_conflict: AddConflict
) -> None:
    ada = people[2]
    case_id = split_case(desk, people, add_conflict)
    [shown] = look(desk, ada)["cases"]
    assert shown["id"] == case_id
    assert {one["verdict"] for one in shown["split"]} == {"in_context", "out_of_context"}
    assert {one["note"] for one in shown["split"]} == {"", "see the tower"}
    text = json.dumps(shown)
    assert "maria" not in text
    assert "tom" not in text
    answer = rules(desk, ada, case_id, Answer.OUT_OF_CONTEXT, cause=Cause.SLIP)
    assert answer["says"]["key"] == "says.settled"
    assert {one["name"] for one in answer["ruled"]["colleagues"]} == {"maria", "tom"}
    assert (rulings(desk)[-1].settles, rulings(desk)[-1].cause) == (True, Cause.SLIP)


def test_a_ruling_reopened_comes_with_what_was_said_and_the_next_one_replaces_it(
    desk: Desk, people: tuple[Person, Person, Person], add_conflict: AddConflict
) -> None:
    maria = people[0]
    case_id = add_conflict("Norvik")
    first = rules(desk, maria, case_id, Answer.OUT_OF_CONTEXT, note="see the tower", flagged=True)[
        "ruling_id"
    ]
    opened = reopen_ruling(desk, maria, first)
    assert opened["case"]["id"] == case_id
    assert (opened["case"]["answer"]["note"], opened["case"]["answer"]["flagged"]) == ("see the tower", True)
    answer = rules(desk, maria, case_id, Answer.UNSURE, corrects=first)
    assert answer["says"] == {"key": "says.corrected", "ruling": answer["ruling_id"], "corrects": first}
    assert answer["ruled"]["former"] == "out_of_context"
    assert standing(desk) == {maria.annotator_id: "unsure"}
    assert reopen_ruling(desk, maria, first)["says"]["key"] == "says.too_old"


def test_nobody_opens_a_colleagues_ruling(
    desk: Desk, people: tuple[Person, Person, Person], add_conflict: AddConflict
) -> None:
    maria, tom, _ = people
    ruling_id = rules(desk, maria, add_conflict("Norvik"), Answer.UNSURE)["ruling_id"]
    assert not reopen_ruling(desk, tom, ruling_id)["ok"]
    assert not reopen_ruling(desk, maria, 999)["ok"]


def test_what_is_sent_back_is_looked_at_again_and_then_settled_by_agreement(
    desk: Desk, people: tuple[Person, Person, Person], add_conflict: AddConflict
) -> None:
    maria, tom, ada = people
    case_id = split_case(desk, people, add_conflict)
    look(desk, ada)
    answer = send_back(desk, ada, case_id, "  Look at the clock.  ")
    assert answer["says"] == {"key": "says.sent_back", "count": 2}
    assert answer["cases"] == []
    [mine] = look(desk, tom)["returned"]
    assert mine["note"] == "Look at the clock."
    assert "ada" not in json.dumps(look(desk, tom))
    assert reopen_ruling(desk, tom, mine["id"])["case"]["id"] == case_id
    rules(desk, tom, case_id, Answer.OUT_OF_CONTEXT, corrects=mine["id"])
    assert look(desk, tom)["returned"] == []
    [theirs] = look(desk, maria)["returned"]
    rules(desk, maria, case_id, Answer.OUT_OF_CONTEXT, corrects=theirs["id"])
    assert look(desk, ada)["cases"] == []
    assert set(standing(desk).values()) == {"out_of_context"}


def test_who_may_not_settle_sends_nothing_back(
    desk: Desk, people: tuple[Person, Person, Person], add_conflict: AddConflict
) -> None:
    case_id = split_case(desk, people, add_conflict)
    third = joined(desk, "lee", Role.ANNOTATOR)
    assert send_back(desk, third, case_id, "")["says"]["key"] == "says.may_not_settle"
    agreed = add_conflict("Halden")
    assert send_back(desk, people[2], agreed, "")["says"]["key"] == "says.not_split"
    assert send_back(desk, people[2], 999, "")["says"]["key"] == "says.unknown_case"


def test_a_ruling_stores_which_guidelines_were_in_force(
    desk: Desk, people: tuple[Person, Person, Person], add_conflict: AddConflict
) -> None:
    rules(desk, people[0], add_conflict("Norvik"), Answer.UNSURE)
    save(desk.data_dir, "Look twice.\n", after=0)
    rules(desk, people[0], add_conflict("Halden"), Answer.UNSURE)
    assert [ruling.guidelines for ruling in rulings(desk)] == [0, 1]
