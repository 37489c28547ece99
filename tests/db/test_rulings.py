from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from db.cases import NewCase, NewOpinion, add_cases
from db.engine import write_session
from db.models import Annotator, Event, Ruling
from db.own_work import today
from db.queue import claim, queued
from db.rulings import (
    AlreadyRuledError,
    HeldOutCaseError,
    NewRuling,
    NothingToUndoError,
    ReusedSubmissionError,
    UnknownOpinionError,
    ensure_annotator,
    recent,
    rule,
    settled_query,
    undo,
)
from db.views import UnknownCaseError
from db.vocabulary import UNDOABLE_RULINGS, Answer, Cause, Element, Role, Split

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MARIA, TOM = 1, 2
AddCase = Callable[..., int]


@pytest.fixture
def desk(sessions: sessionmaker[Session]) -> sessionmaker[Session]:
    """Give a desk with the annotators Maria and Tom."""
    with write_session(sessions) as session:
        assert [ensure_annotator(session, name) for name in ("maria", "tom")] == [MARIA, TOM]
    return sessions


def _rule(
    sessions: sessionmaker[Session], case_id: int, verdict: Answer = Answer.IN_CONTEXT, who: int = MARIA
) -> Ruling:
    with write_session(sessions) as session:
        number = session.scalar(sa.select(sa.func.count()).select_from(Ruling))
        return rule(session, who, NewRuling(f"submission-{number}", case_id, verdict, seconds=5.0), NOW)


def _settled(sessions: sessionmaker[Session]) -> list[tuple[int, str | None]]:
    with sessions() as session:
        return [(case_id, verdict) for case_id, verdict, _ in session.execute(settled_query())]


def _events(sessions: sessionmaker[Session]) -> list[str]:
    with sessions() as session:
        return list(session.scalars(sa.select(Event.action).order_by(Event.id)))


def test_a_ruling_keeps_all_that_was_said_and_takes_the_case_off_the_queue(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    case_id = add_case("one")
    new = NewRuling(
        "abc",
        case_id,
        Answer.OUT_OF_CONTEXT,
        opinion_id=2,
        rationale="The tower stands in Halden.",
        elements=(Element.PLACE, Element.TIME),
        note="=1+1 '; DROP TABLE rulings; --",
        flagged=True,
        seconds=1.9,
    )
    with write_session(desk) as session:
        claim(session, MARIA, NOW)
        made = rule(session, MARIA, new, NOW)
        assert queued(session) == 0
    with desk() as session:
        stored = session.get_one(Ruling, made.id)
    for field in (
        "submission_id",
        "case_id",
        "verdict",
        "opinion_id",
        "rationale",
        "note",
        "flagged",
        "seconds",
    ):
        assert getattr(stored, field) == getattr(new, field), field
    assert stored.elements == ["place", "time"]
    assert (stored.annotator_id, stored.rushed, stored.supersedes_id, stored.created_at) == (
        MARIA,
        True,
        None,
        NOW,
    )
    assert _events(desk) == ["add_cases", "rule"]


def test_a_ruling_keeps_what_was_on_screen_and_a_cause_only_where_it_settles(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    new = NewRuling("a", add_case("one"), Answer.IN_CONTEXT, shown=(2, 1), guidelines=3, cause=Cause.SLIP)
    with write_session(desk) as session:
        rule(session, MARIA, new, NOW)
        other = replace(new, submission_id="b", verdict=Answer.UNSURE, shown=())
        rule(session, ensure_annotator(session, "eve", Role.ANNOTATOR), other, NOW)
        rule(session, TOM, replace(new, submission_id="c"), NOW)
        undo(session, TOM, now=NOW)
    columns = (Ruling.shown, Ruling.guidelines, Ruling.cause)
    with desk() as session:
        kept = session.execute(sa.select(*columns).order_by(Ruling.id)).all()
        nulls = session.scalars(sa.text("SELECT id FROM rulings WHERE shown IS NULL ORDER BY id")).all()
    assert kept == [([2, 1], 3, None), (None, 3, None), ([2, 1], 3, Cause.SLIP), (None, None, None)]
    assert nulls == [2, 4]


def test_two_seconds_are_not_rushed(desk: sessionmaker[Session], add_case: AddCase) -> None:
    case_id = add_case("one")
    with write_session(desk) as session:
        assert not rule(session, MARIA, NewRuling("1", case_id, Answer.UNSURE, seconds=2.0), NOW).rushed


def test_the_same_submission_twice_is_one_ruling(desk: sessionmaker[Session], add_case: AddCase) -> None:
    new = NewRuling("abc", add_case("one"), Answer.IN_CONTEXT)
    made = []
    for minute in range(2):
        with write_session(desk) as session:
            made.append(rule(session, MARIA, new, NOW + timedelta(minutes=minute)).id)
    with desk() as session:
        assert session.scalars(sa.select(Ruling.id)).all() == [made[0]]
    assert made[0] == made[1]
    assert _events(desk) == ["add_cases", "rule"]


def test_a_submission_that_was_undone_is_not_ruled_again_when_it_is_sent_again(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    new = NewRuling("abc", add_case("one"), Answer.IN_CONTEXT)
    with write_session(desk) as session:
        made = rule(session, MARIA, new, NOW)
        undo(session, MARIA, now=NOW)
        assert rule(session, MARIA, new, NOW).id == made.id
        assert recent(session, MARIA) == []


def test_a_submission_id_serves_one_case_and_one_annotator(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    one, two = add_case("one"), add_case("two")
    new = NewRuling("abc", one, Answer.IN_CONTEXT)
    with write_session(desk) as session:
        rule(session, MARIA, new, NOW)
        with pytest.raises(ReusedSubmissionError, match="'abc'"):
            rule(session, MARIA, replace(new, case_id=two), NOW)
        with pytest.raises(ReusedSubmissionError):
            rule(session, TOM, new, NOW)


def test_what_cannot_be_ruled_on_is_refused_and_leaves_nothing(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    ruled, held_out, other = add_case("ruled"), add_case("held out", split=Split.TEST), add_case("other")
    _rule(desk, ruled)
    with write_session(desk) as session:
        with pytest.raises(UnknownCaseError, match="no case 99"):
            rule(session, MARIA, NewRuling("a", 99, Answer.IN_CONTEXT), NOW)
        with pytest.raises(HeldOutCaseError, match="of the test split"):
            rule(session, MARIA, NewRuling("b", held_out, Answer.IN_CONTEXT), NOW)
        with pytest.raises(AlreadyRuledError, match="undo"):
            rule(session, MARIA, NewRuling("c", ruled, Answer.UNSURE), NOW)
        with pytest.raises(UnknownOpinionError, match="Opinion 1 "):
            rule(session, MARIA, NewRuling("d", other, Answer.IN_CONTEXT, opinion_id=1), NOW)
        assert len(session.scalars(sa.select(Ruling)).all()) == 1
    assert _events(desk)[-1] == "rule"


def test_a_ruling_that_comes_after_its_lease_is_kept_beside_the_colleagues(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    case_id, late = add_case("one"), NOW + timedelta(minutes=12)
    with write_session(desk) as session:
        claim(session, MARIA, NOW)
        assert claim(session, TOM, late) == [case_id]
        rule(session, MARIA, NewRuling("maria", case_id, Answer.IN_CONTEXT), late)
        rule(session, TOM, NewRuling("tom", case_id, Answer.OUT_OF_CONTEXT), late)
    with desk() as session:
        assert len(session.scalars(sa.select(Ruling)).all()) == 2
    assert _settled(desk) == []


def test_undo_withdraws_the_newest_ruling_and_its_case_is_next_again(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    one, two, three = add_case("one"), add_case("two"), add_case("three")
    with write_session(desk) as session:
        assert claim(session, MARIA, NOW) == [one, two]
        made = rule(session, MARIA, NewRuling("1", one, Answer.IN_CONTEXT), NOW)
        assert claim(session, MARIA, NOW) == [two, three]
        withdrawal = undo(session, MARIA, now=NOW)
        assert (withdrawal.case_id, withdrawal.verdict, withdrawal.supersedes_id) == (one, None, made.id)
        assert claim(session, TOM, NOW) == []
        assert claim(session, MARIA, NOW) == [one, two]
        assert claim(session, TOM, NOW) == [three]
        assert recent(session, MARIA) == []
    assert _events(desk)[-2:] == ["rule", "undo"]


def test_after_undo_the_annotator_rules_again_and_the_history_stays(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    case_id = add_case("one")
    _rule(desk, case_id, Answer.IN_CONTEXT)
    for _ in range(2):
        with write_session(desk) as session:
            undo(session, MARIA, now=NOW)
        _rule(desk, case_id, Answer.OUT_OF_CONTEXT)
    with desk() as session:
        rows = session.execute(sa.select(Ruling.verdict, Ruling.supersedes_id).order_by(Ruling.id)).all()
        assert [ruling.id for ruling in recent(session, MARIA)] == [5]
        assert queued(session) == 0
    out = Answer.OUT_OF_CONTEXT
    assert rows == [(Answer.IN_CONTEXT, None), (None, 1), (out, 2), (None, 3), (out, 4)]
    assert _settled(desk) == [(case_id, out)]


def test_undo_by_id_can_be_sent_twice(desk: sessionmaker[Session], add_case: AddCase) -> None:
    first = _rule(desk, add_case("one"))
    second = _rule(desk, add_case("two"))
    with write_session(desk) as session:
        assert undo(session, MARIA, first.id, now=NOW).id == undo(session, MARIA, first.id, now=NOW).id
        assert [ruling.id for ruling in recent(session, MARIA)] == [second.id]


def test_the_last_ten_rulings_can_be_undone_and_no_more(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    made = [_rule(desk, add_case(str(number))).id for number in range(UNDOABLE_RULINGS + 2)]
    with write_session(desk) as session:
        assert [ruling.id for ruling in recent(session, MARIA)] == made[:1:-1]
        undone = [undo(session, MARIA, now=NOW).supersedes_id for _ in range(UNDOABLE_RULINGS)]
        assert undone == made[:1:-1]
        for ruling_id in (None, made[1]):
            with pytest.raises(NothingToUndoError):
                undo(session, MARIA, ruling_id, now=NOW)
    assert len(_settled(desk)) == 2


def test_nobody_undoes_a_colleagues_ruling(desk: sessionmaker[Session], add_case: AddCase) -> None:
    made = _rule(desk, add_case("one"))
    with write_session(desk) as session, pytest.raises(NothingToUndoError):
        undo(session, TOM, made.id, now=NOW)


def test_undo_leaves_a_case_that_a_colleague_holds_with_the_colleague(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    case_id, late = add_case("one"), NOW + timedelta(minutes=12)
    with write_session(desk) as session:
        claim(session, MARIA, NOW)
        claim(session, TOM, late)
        session.execute(sa.text("UPDATE queue SET rulings_wanted = 2"))
        rule(session, MARIA, NewRuling("1", case_id, Answer.IN_CONTEXT), late)
        undo(session, MARIA, now=late)
        assert claim(session, MARIA, late) == []
        assert claim(session, TOM, late) == [case_id]


def test_undo_of_a_case_whose_opinions_agree_by_now_queues_nothing(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    _rule(desk, add_case("one"))
    with write_session(desk) as session:
        agrees = (NewOpinion("A", Answer.OUT_OF_CONTEXT, "Now I see."),)
        add_cases(session, "test", [NewCase("one", "Caption of one.", opinions=agrees)])
        undo(session, MARIA, now=NOW)
        assert queued(session) == 0


@pytest.mark.parametrize(
    ("verdicts", "settled_as"),
    [
        (("in_context",), "in_context"),
        (("out_of_context", "out_of_context"), "out_of_context"),
        (("in_context", "out_of_context"), None),
        (("in_context", "unsure"), None),
        (("unsure",), None),
    ],
)
def test_settled_are_cases_whose_rulings_are_unanimous(
    desk: sessionmaker[Session], add_case: AddCase, verdicts: tuple[str, ...], settled_as: str | None
) -> None:
    case_id = add_case("one")
    for who, verdict in zip((MARIA, TOM), verdicts, strict=False):
        _rule(desk, case_id, Answer(verdict), who)
    assert _settled(desk) == ([(case_id, settled_as)] if settled_as else [])


def test_a_correction_supersedes_and_the_case_stays_off_the_queue(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    case_id = add_case("one")
    first = _rule(desk, case_id, Answer.IN_CONTEXT)
    with write_session(desk) as session:
        better = NewRuling("better", case_id, Answer.OUT_OF_CONTEXT, corrects=first.id, seconds=9.0)
        made = rule(session, MARIA, better, NOW)
        assert made.supersedes_id == first.id
        assert rule(session, MARIA, better, NOW).id == made.id
        assert [ruling.id for ruling in recent(session, MARIA)] == [made.id]
        with pytest.raises(AlreadyRuledError):  # a second tab that still shows the first ruling
            rule(session, MARIA, replace(better, submission_id="late"), NOW)
        with pytest.raises(NothingToUndoError, match=f"corrected by ruling {made.id}"):
            undo(session, MARIA, first.id, now=NOW)
    assert _settled(desk) == [(case_id, Answer.OUT_OF_CONTEXT)]
    assert _events(desk)[-1] == "correct"


def test_nobody_corrects_a_colleagues_ruling(desk: sessionmaker[Session], add_case: AddCase) -> None:
    case_id = add_case("one")
    made = _rule(desk, case_id)
    with write_session(desk) as session, pytest.raises(NothingToUndoError):
        rule(session, TOM, NewRuling("b", case_id, Answer.UNSURE, corrects=made.id), NOW)


def test_an_adjudicators_answer_settles_split_rulings_and_undoing_it_splits_them_again(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    case_id = add_case("one")
    with write_session(desk) as session:
        eve, ben, ada = (
            ensure_annotator(session, name, role)
            for name, role in (("eve", Role.ANNOTATOR), ("ben", Role.ANNOTATOR), ("ada", Role.ADJUDICATOR))
        )
    _rule(desk, case_id, Answer.IN_CONTEXT, eve)
    _rule(desk, case_id, Answer.OUT_OF_CONTEXT, ben)
    assert _settled(desk) == []
    made = _rule(desk, case_id, Answer.OUT_OF_CONTEXT, ada)
    assert made.settles
    assert _settled(desk) == [(case_id, Answer.OUT_OF_CONTEXT)]
    with write_session(desk) as session:
        assert queued(session) == 0
        other = NewRuling("other", case_id, Answer.IN_CONTEXT, corrects=made.id)
        assert rule(session, ada, other, NOW).settles
    assert _settled(desk) == [(case_id, Answer.IN_CONTEXT)]
    with write_session(desk) as session:
        undo(session, ada, now=NOW)
        assert claim(session, ada, NOW, count=1) == [case_id]
    assert _settled(desk) == []
    assert "settle" in _events(desk)


def test_a_first_opinion_of_an_adjudicator_is_a_ruling_like_any_other(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    with write_session(desk) as session:
        ada = ensure_annotator(session, "ada", Role.ADJUDICATOR)
    case_id = add_case("one")
    assert not _rule(desk, case_id, Answer.IN_CONTEXT, ada).settles
    _rule(desk, case_id, Answer.UNSURE)
    assert _settled(desk) == []


def test_rulings_of_today_are_counted_from_midnight_without_the_withdrawn(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    cases = [add_case(str(number)) for number in range(4)]
    with write_session(desk) as session:
        for case_id, hours in zip(cases, (-13, -12, 0, 0), strict=True):
            at = NOW + timedelta(hours=hours)
            rule(session, MARIA, NewRuling(str(case_id), case_id, Answer.IN_CONTEXT), at)
        undo(session, MARIA, now=NOW)
        assert today(session, MARIA, NOW).rulings == 2
        assert today(session, TOM, NOW).rulings == 0


def test_an_annotator_is_added_once_and_keeps_the_first_role(desk: sessionmaker[Session]) -> None:
    with write_session(desk) as session:
        script = ensure_annotator(session, "script", Role.ANNOTATOR, scripted=True)
        assert ensure_annotator(session, "script", Role.EDITOR) == script
        stored = session.get_one(Annotator, script)
    assert (stored.role, stored.scripted) == (Role.ANNOTATOR, True)
