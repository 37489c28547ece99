import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session, sessionmaker

from db.audits import draw
from db.cases import NewCase, NewImage, NewOpinion, add_cases
from db.derived import place_all
from db.engine import write_session
from db.models import Bucket, Queued
from db.own_work import today
from db.queue import _in_bucket, claim, queued, release, skip, waiting
from db.returns import returned, send_back
from db.rulings import NewRuling, ensure_annotator, recent, rule, undo
from db.views import UnknownCaseError
from db.vocabulary import LEASE, Answer, QueueReason, Role, Split
from db.worth import Order, change_order

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MARIA, TOM = 1, 2
AddCase = Callable[..., int]
SMALL = ("buckets", "kinds", "queue_rules")  # some hundred rows, however many cases there are
SPLIT = (NewOpinion("A", Answer.IN_CONTEXT), NewOpinion("B", Answer.OUT_OF_CONTEXT))


@pytest.fixture
def desk(sessions: sessionmaker[Session]) -> sessionmaker[Session]:
    """Give a desk with the annotators Maria and Tom, on which each case is for one of them."""
    with write_session(sessions) as session:
        people = [ensure_annotator(session, name, Role.ANNOTATOR) for name in ("maria", "tom")]
        assert people == [MARIA, TOM]
        change_order(session, Order(second_opinions=0), None, NOW)
    return sessions


def _queue(sessions: sessionmaker[Session]) -> dict[int, tuple[str, int]]:
    with sessions() as session:
        rows = session.execute(sa.select(Queued.case_id, Bucket.why, Bucket.closeness).join(Bucket))
        return {case_id: (why, closeness) for case_id, why, closeness in rows}


def _two_rulings_each(sessions: sessionmaker[Session]) -> None:
    with write_session(sessions) as session:
        change_order(session, Order(second_opinions=1), None, NOW)
        place_all(session, NOW)


def _answer(case_id: int, submission_id: str, verdict: Answer = Answer.IN_CONTEXT) -> NewRuling:
    return NewRuling(submission_id, case_id, verdict, seconds=5.0)


def test_the_queue_holds_training_conflicts_with_a_picture_by_how_evenly_they_split(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    add_case("agreed", "ii")
    add_case("no opinion", "")
    add_case("held out", "io", split=Split.TEST)
    add_case("to validate", "io", split=Split.VALIDATION)
    add_case("no picture", "io", image=False)
    wanted = {
        add_case("even", "io"): (QueueReason.CONFLICT, 10),
        add_case("two to one", "iio"): (QueueReason.CONFLICT, 7),
        add_case("two and unsure", "oou"): (QueueReason.CONFLICT, 3),
        add_case("all unsure", "uu"): (QueueReason.NO_VERDICT, 0),
    }
    assert _queue(desk) == wanted


def test_placing_everything_anew_changes_nothing_that_is_right(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    add_case("one")
    before = _queue(desk)
    with write_session(desk) as session:
        assert place_all(session, NOW) == 1
    assert _queue(desk) == before


def test_cases_whose_opinions_change_are_moved_or_leave_unless_leased(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    leaves, moves, leased = add_case("leaves", "io"), add_case("moves", "ioi"), add_case("leased", "io")
    with write_session(desk) as session:
        release(session, MARIA)
        session.execute(
            sa.update(Queued)
            .where(Queued.case_id == leased)
            .values(annotator_id=MARIA, leased_at=NOW, lease_until=NOW + LEASE)
        )
        agrees = (NewOpinion("A", Answer.OUT_OF_CONTEXT, "Now I see."),)
        records = [
            NewCase(name, f"Caption of {name}.", opinions=agrees) for name in ("leaves", "moves", "leased")
        ]
        add_cases(session, "test", records, now=NOW)
    assert _queue(desk).keys() == {moves, leased}
    assert leaves not in _queue(desk)
    assert _queue(desk)[moves] == (QueueReason.CONFLICT, 7)


def test_an_annotator_gets_the_best_cases_and_the_same_ones_again(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    low, high, tie = add_case("low", "iio"), add_case("high", "io"), add_case("tie", "oi")
    for minute in (0, 3, 8):
        with write_session(desk) as session:
            assert claim(session, MARIA, NOW + timedelta(minutes=minute)) == [high, tie]
    with write_session(desk) as session:
        assert claim(session, TOM, NOW) == [low]
        assert claim(session, MARIA, NOW, count=3) == [high, tie]


def test_a_better_case_that_comes_later_does_not_replace_the_one_on_screen(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    first, second = add_case("first", "iio"), add_case("second", "iio")
    with write_session(desk) as session:
        assert claim(session, MARIA, NOW) == [first, second]
    better = add_case("better", "io")
    with write_session(desk) as session:
        assert claim(session, MARIA, NOW + timedelta(minutes=1)) == [first, second]
        rule(session, MARIA, _answer(first, "1"), NOW)
        assert claim(session, MARIA, NOW + timedelta(minutes=2)) == [second, better]


def test_a_lease_that_has_ended_frees_the_case(desk: sessionmaker[Session], add_case: AddCase) -> None:
    case_id = add_case("one")
    with write_session(desk) as session:
        assert claim(session, MARIA, NOW) == [case_id]
        assert claim(session, TOM, NOW + LEASE - timedelta(seconds=1)) == []
        assert claim(session, TOM, NOW + LEASE) == [case_id]
        assert claim(session, MARIA, NOW + LEASE) == []


def test_who_returns_late_gets_the_same_case_if_no_colleague_took_it(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    cases = [add_case("one", "iio"), add_case("two", "iio")]
    with write_session(desk) as session:
        assert claim(session, MARIA, NOW) == cases
    add_case("better", "io")
    with write_session(desk) as session:
        assert claim(session, MARIA, NOW + timedelta(hours=1)) == cases


def test_asking_for_fewer_frees_the_rest_for_colleagues(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    one, two = add_case("one"), add_case("two")
    with write_session(desk) as session:
        assert claim(session, MARIA, NOW) == [one, two]
        assert claim(session, MARIA, NOW, count=1) == [one]
        assert claim(session, TOM, NOW) == [two]


def test_a_released_case_is_free_at_once(desk: sessionmaker[Session], add_case: AddCase) -> None:
    one, two = add_case("one"), add_case("two")
    with write_session(desk) as session:
        claim(session, MARIA, NOW)
        release(session, MARIA, [two])
        assert claim(session, TOM, NOW) == [two]
        release(session, MARIA)
        assert claim(session, TOM, NOW) == [two, one]


def test_nobody_can_release_a_colleagues_case(desk: sessionmaker[Session], add_case: AddCase) -> None:
    case_id = add_case("one")
    with write_session(desk) as session:
        claim(session, MARIA, NOW)
        release(session, TOM, [case_id])
        release(session, TOM)
        assert claim(session, TOM, NOW) == []


def test_a_skipped_case_goes_to_a_colleague_and_comes_back_tomorrow(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    case_id = add_case("one")
    with write_session(desk) as session:
        assert claim(session, MARIA, NOW) == [case_id]
        skip(session, MARIA, case_id, NOW)
        assert claim(session, MARIA, NOW + timedelta(hours=11)) == []
        assert claim(session, TOM, NOW) == [case_id]
        release(session, TOM)
        tomorrow = NOW + timedelta(hours=12)
        assert claim(session, MARIA, tomorrow) == [case_id]
        skip(session, MARIA, case_id, tomorrow)
        assert claim(session, MARIA, tomorrow) == []


def test_a_case_that_wants_two_rulings_gets_them_from_two_people(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    case_id = add_case("one")
    _two_rulings_each(desk)
    with write_session(desk) as session:
        claim(session, MARIA, NOW)
        rule(session, MARIA, _answer(case_id, "1"), NOW)
        assert waiting(session) == {QueueReason.SECOND_OPINION: 1}
        assert claim(session, MARIA, NOW) == []
        assert claim(session, TOM, NOW) == [case_id]
        rule(session, TOM, _answer(case_id, "2"), NOW)
        assert queued(session) == 0
        undo(session, MARIA, now=NOW)
        assert claim(session, TOM, NOW) == []
        assert claim(session, MARIA, NOW) == [case_id]


def test_an_audit_turn_goes_on_with_audits_where_nothing_else_is_left(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    cases = [add_case("one", "ii"), add_case("two", "oo")]
    with write_session(desk) as session:
        assert draw(session, 2, NOW) == 2
        assert claim(session, MARIA, NOW, is_audit_turn=True) == cases


@pytest.mark.parametrize("how", ["given back", "run out"])
def test_a_case_that_wants_nobody_any_more_is_read_to_the_end_by_its_holder_alone(
    desk: sessionmaker[Session], add_case: AddCase, how: str
) -> None:
    case_id = add_case("one", "io")
    with write_session(desk) as session:
        assert claim(session, MARIA, NOW) == [case_id]
        agrees = (NewOpinion("A", Answer.OUT_OF_CONTEXT, "Now I see."),)
        add_cases(session, "test", [NewCase("one", "Caption of one.", opinions=agrees)], now=NOW)
        assert claim(session, MARIA, NOW) == [case_id]
        if how == "given back":
            release(session, MARIA)
        later = NOW + LEASE
        assert claim(session, TOM, later) == []
        assert claim(session, MARIA, later) == []


def test_who_read_a_case_that_wanted_nobody_has_no_claim_to_it_when_it_comes_back(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    case_id = add_case("one", "io")
    with write_session(desk) as session:
        assert claim(session, MARIA, NOW) == [case_id]
        agrees = (NewOpinion("A", Answer.OUT_OF_CONTEXT, "Now I see."),)
        add_cases(session, "test", [NewCase("one", "Caption of one.", opinions=agrees)], now=NOW)
    later = NOW + LEASE
    with write_session(desk) as session:
        assert draw(session, 1, now=later) == 1
        row = session.get_one(Queued, case_id)
        assert (row.rulings_wanted > 0, row.annotator_id, row.lease_until) == (True, None, None)


def test_ruled_cases_do_not_come_back_when_everything_is_placed_anew(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    ruled, unsure = add_case("ruled"), add_case("cannot tell")
    with write_session(desk) as session:
        rule(session, MARIA, _answer(ruled, "1"), NOW)
        rule(session, MARIA, _answer(unsure, "2", Answer.UNSURE), NOW)
        assert place_all(session, NOW) == queued(session) == 0
    _two_rulings_each(desk)
    assert _queue(desk).keys() == {ruled, unsure}


def test_split_rulings_go_to_an_adjudicator_alone_and_before_all_else(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    case_id, other = add_case("one", "iio"), add_case("other", "io")
    with write_session(desk) as session:
        ada = ensure_annotator(session, "ada", Role.ADJUDICATOR)
        eve = ensure_annotator(session, "eve", Role.ANNOTATOR)
        rule(session, MARIA, _answer(case_id, "1"), NOW)
        rule(session, TOM, _answer(case_id, "2", Answer.OUT_OF_CONTEXT), NOW)
        assert waiting(session) == {QueueReason.SPLIT_RULINGS: 1, QueueReason.CONFLICT: 1}
        assert claim(session, ada, NOW) == [case_id, other]
        release(session, ada)
        assert claim(session, eve, NOW) == [other]


def test_an_adjudicator_is_not_asked_to_settle_what_they_ruled_on(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    case_id = add_case("one")
    with write_session(desk) as session:
        ada = ensure_annotator(session, "ada", Role.ADJUDICATOR)
        rule(session, ada, _answer(case_id, "1"), NOW)
        rule(session, TOM, _answer(case_id, "2", Answer.OUT_OF_CONTEXT), NOW)
        assert claim(session, ada, NOW) == []


def test_on_an_audit_turn_an_audit_case_comes_first_and_one_only(
    desk: sessionmaker[Session], add_case: AddCase
) -> None:
    audited = [add_case(name, "ii") for name in ("first", "second")]
    conflicts = [add_case(name) for name in ("third", "fourth")]
    with write_session(desk) as session:
        assert draw(session, 9, NOW, seed=0) == 2
        assert claim(session, MARIA, NOW, is_audit_turn=False) == conflicts
        release(session, MARIA)
        first, second = claim(session, MARIA, NOW, is_audit_turn=True)
    assert (first in audited, second) == (True, conflicts[0])


def test_skipping_a_case_that_is_not_there_is_said_so(desk: sessionmaker[Session]) -> None:
    with write_session(desk) as session, pytest.raises(UnknownCaseError, match="no case 99"):
        skip(session, MARIA, 99, NOW)


def test_an_empty_queue_gives_nothing(desk: sessionmaker[Session]) -> None:
    with write_session(desk) as session:
        assert claim(session, MARIA, NOW) == []


@pytest.mark.parametrize("analysed", [False, True])
def test_nothing_an_annotator_waits_for_reads_a_whole_table(
    desk: sessionmaker[Session], kind: str, analysed: bool
) -> None:
    with write_session(desk) as session:
        records = [
            NewCase(str(number), "A caption.", NewImage(f"{number:064}", "PNG", 8, 8, 8), opinions=SPLIT)
            for number in range(300)
        ]
        add_cases(session, "test", records)
        ada = ensure_annotator(session, "ada", Role.ADJUDICATOR)
        rule(session, MARIA, _answer(300, "maria"), NOW)
        rule(session, TOM, _answer(300, "tom", Answer.OUT_OF_CONTEXT), NOW)
        if analysed:
            session.execute(sa.text("ANALYZE"))
    with write_session(desk) as session, _plans(session) as plans:
        first, second = claim(session, MARIA, NOW)
        rule(session, MARIA, _answer(first, "1"), NOW)
        skip(session, MARIA, second, NOW)
        claim(session, MARIA, NOW)
        undo(session, MARIA, now=NOW)
        recent(session, MARIA)
        today(session, MARIA, NOW)
        release(session, MARIA)
        assert len(send_back(session, ada, 300, "", NOW)) == 2
        assert len(returned(session, MARIA)) == 1
    assert len(plans) > 25
    if kind == "postgresql":
        assert {table for step in plans for table in re.findall(r"Seq Scan on (\w+)", step)} <= set(SMALL)
        return
    scans = {step for step in plans if step.startswith("SCAN") and step.split()[1] not in SMALL}
    assert scans <= {"SCAN CONSTANT ROW"}
    sorts = {step for step in plans if "TEMP B-TREE" in step}
    assert sorts <= {
        "USE TEMP B-TREE FOR ORDER BY",  # of the buckets
        "USE TEMP B-TREE FOR RIGHT PART OF ORDER BY",  # of what one annotator holds
    }


@contextmanager
def _plans(session: Session) -> Iterator[list[str]]:
    """Collect the steps of the plan for every statement that the block runs.

    PostgreSQL reads a small table whole even where it has an index, unless it is told not to.
    """
    steps: list[str] = []
    how = "EXPLAIN QUERY PLAN"
    if session.connection().dialect.name == "postgresql":
        how = "EXPLAIN"
        session.execute(sa.text("SET LOCAL enable_seqscan = off"))

    def explain(connection: object, cursor: Any, statement: str, parameters: Any, *_: object) -> None:
        if not statement.startswith("EXPLAIN"):
            once = parameters[0] if isinstance(parameters, list) else parameters
            steps.extend(row[-1] for row in cursor.connection.execute(f"{how} {statement}", once))

    engine = session.get_bind()
    sa.event.listen(engine, "before_cursor_execute", explain)
    yield steps
    sa.event.remove(engine, "before_cursor_execute", explain)


def test_on_postgresql_a_claim_passes_over_rows_that_another_one_has_locked() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    query = str(_in_bucket().compile(dialect=dialect))
    assert query.rstrip().endswith("FOR UPDATE OF queue SKIP LOCKED")
