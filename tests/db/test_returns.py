from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from db import people, returns
from db.derived import check, rebuild
from db.engine import write_session
from db.models import Event, Return, Ruling
from db.queue import claim, waiting
from db.returns import MayNotSettleError, NotSplitError, Returned
from db.rulings import NewRuling, ensure_annotator, recent, rule, settled_query, undo
from db.views import UnknownCaseError
from db.vocabulary import Answer, QueueReason, Role

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
IN, OUT, UNSURE = Answer.IN_CONTEXT, Answer.OUT_OF_CONTEXT, Answer.UNSURE
EVE, BEN, ADA, EDA = 1, 2, 3, 4
SPLIT = {QueueReason.SPLIT_RULINGS: 1}
AddCase = Callable[..., int]
Desk = sessionmaker[Session]


@pytest.fixture
def desk(sessions: Desk) -> Desk:
    """Give a desk with two annotators, an adjudicator and an editor."""
    with write_session(sessions) as session:
        roles = {"eve": Role.ANNOTATOR, "ben": Role.ANNOTATOR, "ada": Role.ADJUDICATOR, "eda": Role.EDITOR}
        assert [ensure_annotator(session, *who) for who in roles.items()] == [EVE, BEN, ADA, EDA]
    return sessions


@pytest.fixture
def split(desk: Desk, add_case: AddCase) -> int:
    """Give a case on which Eve says in context, in ruling 1, and Ben out of context, in ruling 2."""
    case_id = add_case("one")
    assert [_rule(desk, case_id, EVE, IN), _rule(desk, case_id, BEN, OUT)] == [1, 2]
    return case_id


def _rule(desk: Desk, case_id: int, who: int, answer: Answer, corrects: int | None = None) -> int:
    with write_session(desk) as session:
        number = session.scalar(sa.select(sa.func.count()).select_from(Ruling))
        return rule(session, who, NewRuling(str(number), case_id, answer, corrects=corrects), NOW).id


def _answer(desk: Desk, case_id: int, who: int, answer: Answer) -> int:
    """Correct the annotator's ruling, the same verdict being a correction too."""
    with desk() as session:
        (mine,) = [ruling.id for ruling in recent(session, who) if ruling.case_id == case_id]
    return _rule(desk, case_id, who, answer, mine)


def _send_back(desk: Desk, case_id: int, who: int = ADA, note: str = "Look again.") -> list[int]:
    with write_session(desk) as session:
        return returns.send_back(session, who, case_id, note, NOW)


def _returned(desk: Desk, *people: int) -> list[list[int]]:
    with desk() as session:
        return [[one.ruling_id for one in returns.returned(session, who)] for who in people or (EVE, BEN)]


def _waiting(desk: Desk) -> dict[QueueReason, int]:
    with desk() as session:
        assert check(session) == []
        return waiting(session)


def _settled(desk: Desk) -> list[str]:
    with desk() as session:
        return [row.verdict for row in session.execute(settled_query())]


def test_a_case_that_is_not_there_is_said_so(desk: Desk) -> None:
    with pytest.raises(UnknownCaseError, match="no case 99"):
        _send_back(desk, 99)


def test_an_annotator_sends_nothing_back_and_nothing_is_changed(desk: Desk, split: int) -> None:
    with pytest.raises(MayNotSettleError, match="by adjudicators and editors"):
        _send_back(desk, split, EVE)
    assert _returned(desk) == [[], []]
    assert _waiting(desk) == SPLIT


def test_where_people_agree_nothing_is_sent_back(desk: Desk, add_case: AddCase) -> None:
    agreed, unruled = add_case("agreed"), add_case("unruled")
    for who in (EVE, BEN):
        _rule(desk, agreed, who, OUT)
    for case_id in (agreed, unruled):
        with pytest.raises(NotSplitError, match=f"not split on case {case_id}"):
            _send_back(desk, case_id)
    with desk() as session:
        assert session.scalars(sa.select(Event.action).where(Event.action == "send_back")).all() == []


def test_a_case_that_was_settled_meanwhile_is_not_sent_back(desk: Desk, split: int) -> None:
    _rule(desk, split, EDA, OUT)
    with pytest.raises(NotSplitError, match="not split"):
        _send_back(desk, split)


def test_what_was_sent_back_already_is_not_sent_back_again(desk: Desk, split: int) -> None:
    _send_back(desk, split)
    for who in (ADA, EDA):
        with pytest.raises(NotSplitError, match="wait for the answers, or settle"):
            _send_back(desk, split, who)
    with desk() as session:
        assert session.scalars(sa.select(Return.ruling_id)).all() == [1, 2]


def test_each_is_handed_their_own_ruling_with_the_note_and_nobody_elses(desk: Desk, split: int) -> None:
    assert _send_back(desk, split, note="See the banner.") == [1, 2]
    with desk() as session:
        assert returns.returned(session, EVE) == [Returned(1, split, "See the banner.", NOW)]
        assert returns.returned(session, BEN) == [Returned(2, split, "See the banner.", NOW)]
        event = session.scalars(sa.select(Event).where(Event.action == "send_back")).one()
    assert _returned(desk, ADA, EDA) == [[], []]
    assert (event.annotator_id, event.case_id, event.at) == (ADA, split, NOW)
    assert event.detail == {"rulings": [1, 2], "note": "See the banner."}


def test_the_oldest_return_comes_first(desk: Desk, split: int, add_case: AddCase) -> None:
    other = add_case("other")
    _rule(desk, other, EVE, IN)
    _rule(desk, other, BEN, OUT)
    _send_back(desk, other)
    _send_back(desk, split)
    assert _returned(desk) == [[3, 1], [4, 2]]


def test_while_people_look_again_no_adjudicator_is_offered_the_case(desk: Desk, split: int) -> None:
    with write_session(desk) as session:
        assert claim(session, ADA, NOW) == [split]
    _send_back(desk, split)
    assert _waiting(desk) == {}
    for who in (ADA, EDA):
        with write_session(desk) as session:
            assert claim(session, who, NOW) == []
    with write_session(desk) as session:
        rebuild(session, NOW)
    assert _waiting(desk) == {}
    _answer(desk, split, EVE, IN)
    assert _returned(desk) == [[], [2]]
    assert _waiting(desk) == {}, "Ben has not answered"


def test_a_colleague_who_reads_the_case_may_finish_it_but_nobody_else_gets_it(desk: Desk, split: int) -> None:
    with write_session(desk) as session:
        assert claim(session, EDA, NOW) == [split]
    _send_back(desk, split)
    with write_session(desk) as session:
        assert claim(session, EDA, NOW) == [split]
        assert claim(session, ADA, NOW + timedelta(hours=1)) == []
        assert claim(session, EDA, NOW + timedelta(hours=1)) == []


def test_answers_with_one_verdict_settle_the_case(desk: Desk, split: int) -> None:
    _send_back(desk, split)
    _answer(desk, split, BEN, OUT)
    assert _settled(desk) == []
    _answer(desk, split, EVE, OUT)
    assert _settled(desk) == [OUT]
    assert (_returned(desk), _waiting(desk)) == ([[], []], {})


def test_who_was_sent_back_a_ruling_is_asked_even_when_a_colleague_came_round_first(
    desk: Desk, split: int
) -> None:
    _send_back(desk, split)
    _answer(desk, split, EVE, OUT)
    assert (_settled(desk), _returned(desk)) == ([OUT], [[], [2]])
    _answer(desk, split, BEN, IN)
    assert (_settled(desk), _waiting(desk)) == ([], SPLIT)


def test_answers_with_the_same_verdicts_bring_the_case_back_to_adjudicators(desk: Desk, split: int) -> None:
    _send_back(desk, split)
    _answer(desk, split, EVE, IN)
    _answer(desk, split, BEN, OUT)
    assert (_returned(desk), _waiting(desk)) == ([[], []], SPLIT)
    with write_session(desk) as session:
        assert claim(session, ADA, NOW) == [split]


def test_an_undo_answers_too(desk: Desk, split: int) -> None:
    _send_back(desk, split)
    with write_session(desk) as session:
        undo(session, EVE, now=NOW)
    assert _returned(desk) == [[], [2]]
    _rule(desk, split, EVE, UNSURE)
    assert _waiting(desk) == {}, "split anew, and Ben has not answered"
    with write_session(desk) as session:
        undo(session, BEN, now=NOW)
    assert _returned(desk) == [[], []]
    assert SPLIT.keys() & _waiting(desk).keys() == set(), "Eve alone is not split"
    _rule(desk, split, BEN, OUT)
    assert _waiting(desk) == SPLIT


def test_the_answers_may_be_sent_back_in_their_turn(desk: Desk, split: int) -> None:
    _send_back(desk, split)
    kept = _answer(desk, split, EVE, IN)
    assert _send_back(desk, split, EDA) == [kept], "Ben is asked already"
    again = _answer(desk, split, BEN, OUT)
    assert _returned(desk) == [[kept], []]
    assert _waiting(desk) == {}
    _answer(desk, split, EVE, UNSURE)
    assert _waiting(desk) == SPLIT
    assert again in _send_back(desk, split)


def test_an_adjudicators_own_ruling_is_not_sent_back_to_them(desk: Desk, add_case: AddCase) -> None:
    case_id = add_case("one")
    _rule(desk, case_id, ADA, IN)
    bens = _rule(desk, case_id, BEN, OUT)
    assert _send_back(desk, case_id) == [bens]


def test_an_adjudicator_may_settle_all_the_same_and_then_nobody_is_asked(desk: Desk, split: int) -> None:
    _send_back(desk, split)
    _rule(desk, split, EDA, OUT)
    assert (_settled(desk), _returned(desk), _waiting(desk)) == ([OUT], [[], []], {})
    with write_session(desk) as session:
        undo(session, EDA, now=NOW)
    assert (_settled(desk), _returned(desk), _waiting(desk)) == ([], [[1], [2]], {})


def test_nobody_waits_for_who_was_closed_until_they_are_open_again(desk: Desk, split: int) -> None:
    _send_back(desk, split)
    _answer(desk, split, BEN, OUT)
    assert _waiting(desk) == {}
    with write_session(desk) as session:
        people.close_person(session, ADA, "eve", NOW)
    assert _waiting(desk) == SPLIT
    with write_session(desk) as session:
        people.close_person(session, ADA, "ben", NOW)
    assert _waiting(desk) == SPLIT
    with pytest.raises(NotSplitError, match="settle"):
        _send_back(desk, split)
    with write_session(desk) as session:
        people.open_person(session, ADA, "eve", NOW)
    assert (_waiting(desk), _returned(desk)) == ({}, [[1], []])


def test_nothing_is_sent_back_to_the_demos_script(desk: Desk, split: int) -> None:
    with write_session(desk) as session:
        script = ensure_annotator(session, "script", Role.ANNOTATOR, scripted=True)
    _rule(desk, split, script, OUT)
    assert _send_back(desk, split) == [1, 2]
