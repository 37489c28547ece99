from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy.orm import Session, sessionmaker

from db.engine import write_session
from db.queue import claim, waiting
from db.requests import request
from db.rulings import NewRuling, ensure_annotator, rule
from db.vocabulary import Answer, QueueReason, Role, Split

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AddCase = Callable[..., int]


def test_a_case_somebody_sends_is_queued_before_all_conflicts_whatever_its_teachers_say(
    sessions: sessionmaker[Session], add_case: AddCase
) -> None:
    conflict, agreed, no_opinion = add_case("conflict"), add_case("agreed", "ii"), add_case("new", "")
    with write_session(sessions) as session:
        maria = ensure_annotator(session, "maria", Role.ANNOTATOR)
        request(session, [agreed, no_opinion], QueueReason.SENT, NOW, annotator_id=maria)
        request(session, [agreed], QueueReason.SENT, NOW)
        assert waiting(session) == {QueueReason.SENT: 2, QueueReason.CONFLICT: 1}
        held = claim(session, maria, NOW, count=3, is_audit_turn=False)
    assert held == [agreed, no_opinion, conflict]


def test_held_out_cases_and_cases_without_a_picture_are_not_queued_even_on_request(
    sessions: sessionmaker[Session], add_case: AddCase
) -> None:
    cases = [add_case("held out", split=Split.TEST), add_case("no picture", image=False)]
    with write_session(sessions) as session:
        request(session, cases, QueueReason.SENT, NOW)
        assert waiting(session) == {}


def test_a_request_may_want_more_people_than_usual(
    sessions: sessionmaker[Session], add_case: AddCase
) -> None:
    case_id = add_case("one", "ii")
    with write_session(sessions) as session:
        request(session, [case_id], QueueReason.SENT, NOW, rulings_wanted=3)
        for name in ("maria", "tom", "eve"):
            who = ensure_annotator(session, name, Role.ANNOTATOR)
            assert claim(session, who, NOW) == [case_id]
            rule(session, who, NewRuling(name, case_id, Answer.IN_CONTEXT), NOW)
        assert waiting(session) == {}
