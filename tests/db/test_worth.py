from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from db.cases import NewCase, NewImage, NewOpinion, add_cases
from db.derived import place_all
from db.engine import write_session
from db.models import Event, Queued
from db.queue import claim, release
from db.requests import doubted
from db.rulings import ensure_annotator
from db.vocabulary import Answer, QueueReason, Role
from db.worth import Order, Place, WrongRuleError, change_order, order_in_force

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AddCase = Callable[..., int]
CONFLICT = QueueReason.CONFLICT


@pytest.mark.parametrize(
    "wrong",
    [{"second_opinions": 1.1}, {"audit_turns": -0.1}, {"split": float("nan")}, {"doubt": 1e9}],
    ids=str,
)
def test_a_rule_that_makes_no_sense_is_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(WrongRuleError, match=next(iter(wrong))):
        Order(**wrong)


def test_by_default_one_step_of_a_feature_outweighs_all_that_come_after_it() -> None:
    order = Order()
    by_worth = [
        Place(QueueReason.SPLIT_RULINGS, 0, 0, 0, 0),
        Place(QueueReason.SENT, 0, 0, 0, 0),
        Place(CONFLICT, 10, 0, 0, 0),
        Place(CONFLICT, 9, 10, 3, 0),
        Place(CONFLICT, 9, 9, 3, 0),
        Place(CONFLICT, 9, 9, 2, 0),
        Place(CONFLICT, 9, 9, 0, 0),
        Place(QueueReason.AUDIT, 0, 0, 0, 0),
        Place(QueueReason.NO_VERDICT, 0, 10, 3, 0),
    ]
    assert sorted(by_worth, key=lambda place: -place.worth(order)) == by_worth


def test_a_tenth_of_all_cases_is_for_two_people_and_always_the_same_ones() -> None:
    wanted = [Order().rulings_wanted(case_id) for case_id in range(1, 20_001)]
    assert sum(number == 2 for number in wanted) == pytest.approx(2_000, rel=0.02)
    assert {Order(second_opinions=0).rulings_wanted(case_id) for case_id in range(1_000)} == {1}
    assert {Order(second_opinions=1).rulings_wanted(case_id) for case_id in range(1_000)} == {2}


def test_another_order_holds_at_once_without_a_change_to_the_queue_and_is_on_record(
    sessions: sessionmaker[Session], add_case: AddCase
) -> None:
    even, clear = add_case("even", "io"), add_case("clear", "iio")
    with sessions() as session:
        before = session.execute(sa.select(Queued.__table__).order_by(Queued.case_id)).all()
    with write_session(sessions) as session:
        maria = ensure_annotator(session, "maria", Role.ANNOTATOR)
        assert claim(session, maria, NOW, is_audit_turn=False) == [even, clear]
        release(session, maria)
        change_order(session, Order(split=-1.0), maria, NOW)
        after = session.execute(sa.select(Queued.__table__).order_by(Queued.case_id)).all()
        assert claim(session, maria, NOW, is_audit_turn=False) == [clear, even]
    assert after == before
    with sessions() as session:
        assert order_in_force(session) == Order(split=-1.0)
        assert session.scalars(sa.select(Event.annotator_id).where(Event.action == "change_order")).all() == [
            maria
        ]


def test_what_the_student_cannot_tell_comes_first_among_equals_and_is_asked_for_where_teachers_agree(
    sessions: sessionmaker[Session], add_case: AddCase
) -> None:
    sure, doubtful, agreed = add_case("sure"), add_case("doubtful"), add_case("agreed", "ii")
    held_out = add_case("held out", "ii", split="test")
    with write_session(sessions) as session:
        maria = ensure_annotator(session, "maria", Role.ANNOTATOR)
        assert doubted(session, {sure: 0.99, doubtful: 0.5, agreed: 0.45, held_out: 0.5}, NOW) == 1
        assert claim(session, maria, NOW, count=9, is_audit_turn=False) == [doubtful, sure, agreed]
        release(session, maria)
        place_all(session, NOW)  # the doubts stay
        assert claim(session, maria, NOW, count=9, is_audit_turn=False) == [doubtful, sure, agreed]


def test_among_equals_a_rare_source_comes_first(sessions: sessionmaker[Session]) -> None:
    opinions = (NewOpinion("A", Answer.IN_CONTEXT), NewOpinion("B", Answer.OUT_OF_CONTEXT))
    image = NewImage("a" * 64, "PNG", 8, 8, 8)
    names = ["daily"] * 30 + ["island gazette"]
    records = [
        NewCase(str(number), "A caption.", image, source=name, opinions=opinions)
        for number, name in enumerate(names)
    ]
    with write_session(sessions) as session:
        maria = ensure_annotator(session, "maria", Role.ANNOTATOR)
        add_cases(session, "test", records)
        place_all(session, NOW)
        assert claim(session, maria, NOW, count=2, is_audit_turn=False) == [31, 1]
