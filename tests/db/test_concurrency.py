"""Several programs and threads on one database: nothing twice, nothing lost, nobody turned away."""

import os
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from db.cases import Added, NewCase, NewImage, NewOpinion, add_cases
from db.derived import check
from db.engine import make_sessions, migrate, open_engine, write_session
from db.models import Annotator, Case, Event, Opinion, Queued, Ruling, Teacher
from db.queue import claim
from db.rulings import AlreadyRuledError, NewRuling, ensure_annotator, rule
from db.vocabulary import Answer
from db.worth import Order
from tests.postgres import Server

ROOT = Path(__file__).resolve().parents[2]
PEOPLE = 8
PATIENCE = 1_800  # seconds until a process counts as stuck

# Rules on all it is handed and prints "claimed ID" for each, then "ruled ID" once its commit returned.
# Ends when the queue is empty and the import, if there is one, has told that it is done.
ANNOTATOR = textwrap.dedent(
    """
    import os, sys, time
    from datetime import UTC, datetime
    import sqlalchemy as sa
    from db.engine import make_sessions, open_engine, write_session
    from db.models import Event
    from db.queue import claim, queued
    from db.rulings import NewRuling, rule

    sessions = make_sessions(open_engine(os.environ["URL"]))
    who, waits, shown = int(sys.argv[1]), sys.argv[2] == "wait", set()
    while True:
        with write_session(sessions) as session:
            case_ids = claim(session, who, datetime.now(UTC))
        for case_id in set(case_ids) - shown:
            print("claimed", case_id, flush=True)
        shown.update(case_ids)
        if not case_ids:
            with sessions() as session:
                imported = session.scalar(sa.select(Event.id).where(Event.action == "imported"))
                if queued(session) == 0 and (imported or not waits):
                    break
            time.sleep(0.1)
            continue
        with write_session(sessions) as session:
            new = NewRuling(f"{who}-{case_ids[0]}", case_ids[0], "in_context", seconds=3.0)
            rule(session, who, new, datetime.now(UTC))
        print("ruled", case_ids[0], flush=True)
    """
)

IMPORT = textwrap.dedent(
    """
    import os, sys
    from datetime import UTC, datetime
    from db.cases import add_cases
    from db.engine import make_sessions, open_engine, write_session
    from db.models import Event
    from tests.db.test_concurrency import conflicts

    sessions = make_sessions(open_engine(os.environ["URL"]))
    first, last, batch = map(int, sys.argv[1:])
    for start in range(first, last, batch):
        with write_session(sessions) as session:
            add_cases(session, "test", conflicts(range(start, min(start + batch, last))))
    with write_session(sessions) as session:
        session.add(Event(at=datetime.now(UTC), action="imported", detail={}))
    """
)


def conflicts(names: Iterable[int]) -> list[NewCase]:
    """Cases on which two teachers differ."""
    said = (NewOpinion("A", Answer.IN_CONTEXT, "Yes."), NewOpinion("B", Answer.OUT_OF_CONTEXT, "No."))
    image = NewImage("a" * 64, "PNG", 8, 8, 8)
    return [
        NewCase(str(name), "A caption.", image, source=f"paper {name % 5}", opinions=said) for name in names
    ]


def _fill(sessions: sessionmaker[Session], cases: int, people: int = PEOPLE) -> list[int]:
    """Put conflicts and people on the desk; return the people's ids."""
    with write_session(sessions) as session:
        add_cases(session, "test", conflicts(range(cases)))
        return [ensure_annotator(session, f"person {number}") for number in range(people)]


def _start(sessions: sessionmaker[Session], script: str, *argv: object) -> "subprocess.Popen[str]":
    url = sessions.kw["bind"].url.render_as_string(hide_password=False)
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, argv)],
        cwd=ROOT,
        env={**os.environ, "URL": url, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _said(processes: Sequence["subprocess.Popen[str]"]) -> list[list[str]]:
    """Wait for processes, which must end well; return the lines of each."""
    told = [process.communicate(timeout=PATIENCE) for process in processes]
    assert [(process.returncode, error) for process, (_, error) in zip(processes, told, strict=True)] == [
        (0, "")
    ] * len(processes)
    return [output.splitlines() for output, _ in told]


def _ruled(sessions: sessionmaker[Session]) -> list[tuple[int, int]]:
    """List who ruled on what."""
    with sessions() as session:
        return [(who, case) for who, case in session.execute(sa.select(Ruling.annotator_id, Ruling.case_id))]


@pytest.mark.parametrize("cases", [60, pytest.param(1_500, marks=pytest.mark.soak)])
def test_eight_processes_share_the_queue_while_an_import_runs_and_all_is_as_if_one_had_done_it(
    sessions: sessionmaker[Session], cases: int
) -> None:
    people = _fill(sessions, cases)
    importing = _start(sessions, IMPORT, cases, 2 * cases, 10)
    lines = _said([*(_start(sessions, ANNOTATOR, who, "wait") for who in people), importing])
    claimed = [
        (who, int(line.split()[1]))
        for who, said in zip(people, lines, strict=False)
        for line in said
        if line.startswith("claimed")
    ]
    acknowledged = [
        (who, int(line.split()[1]))
        for who, said in zip(people, lines, strict=False)
        for line in said
        if line.startswith("ruled")
    ]
    assert Counter(acknowledged) == Counter(_ruled(sessions))
    assert Counter(claimed) == Counter(acknowledged)
    with sessions() as session:
        case_ids = session.scalars(sa.select(Case.id)).all()
        wanted = {case_id: Order().rulings_wanted(case_id) for case_id in case_ids}
        assert len(case_ids) == 2 * cases
        assert Counter(case_id for _, case_id in claimed) == wanted
        assert session.scalars(sa.select(Queued)).all() == []
        assert len(session.scalars(sa.select(Event.id).where(Event.action == "rule")).all()) == len(claimed)
        assert check(session) == []


def test_eight_threads_of_one_engine_share_the_queue_likewise(sessions: sessionmaker[Session]) -> None:
    people = _fill(sessions, 60)

    def work(who: int) -> list[int]:
        done: list[int] = []
        while True:
            with write_session(sessions) as session:
                case_ids = claim(session, who, datetime.now(UTC), count=1)
            if not case_ids:
                return done
            with write_session(sessions) as session:
                new = NewRuling(f"{who}-{case_ids[0]}", case_ids[0], Answer.UNSURE)
                rule(session, who, new, datetime.now(UTC))
            done += case_ids

    with ThreadPoolExecutor(PEOPLE) as pool:
        done = [
            (who, case_id)
            for who, cases in zip(people, pool.map(work, people), strict=True)
            for case_id in cases
        ]
    assert sorted(done) == sorted(_ruled(sessions))
    handed_out = Counter(case_id for _, case_id in done)
    assert handed_out.keys() == set(range(1, 61))
    assert all(times <= Order().rulings_wanted(case_id) for case_id, times in handed_out.items())


def test_one_submission_from_eight_threads_at_once_is_one_ruling(
    sessions: sessionmaker[Session], add_case: Callable[..., int]
) -> None:
    case_id = add_case("one")
    with write_session(sessions) as session:
        who = ensure_annotator(session, "maria")

    def submit(_: int) -> int:
        with write_session(sessions) as session:
            return rule(session, who, NewRuling("same", case_id, Answer.IN_CONTEXT), datetime.now(UTC)).id

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(submit, range(8))) == {1}
    assert _ruled(sessions) == [(who, case_id)]


def test_of_two_tabs_that_rule_at_once_one_is_told_that_the_other_did(
    sessions: sessionmaker[Session], add_case: Callable[..., int]
) -> None:
    cases = [add_case(f"case {number}") for number in range(10)]
    with write_session(sessions) as session:
        who = ensure_annotator(session, "maria")

    def submit(tab: int) -> list[str]:
        told = []
        for case_id in cases:
            try:
                with write_session(sessions) as session:
                    rule(
                        session, who, NewRuling(f"{tab}-{case_id}", case_id, Answer.UNSURE), datetime.now(UTC)
                    )
                told.append("ruled")
            except AlreadyRuledError:
                told.append("was ruled on")
        return told

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(submit, range(2))
    assert {frozenset(both) for both in zip(one, other, strict=True)} == {
        frozenset({"ruled", "was ruled on"})
    }
    assert sorted(_ruled(sessions)) == [(who, case_id) for case_id in cases]


def test_four_imports_of_one_file_at_once_add_every_case_teacher_and_opinion_once(
    sessions: sessionmaker[Session],
) -> None:
    def work(_: int) -> Added:
        added = Added()
        for start in range(0, 60, 20):
            with write_session(sessions) as session:
                added += add_cases(session, "test", conflicts(range(start, start + 20)))
        return added

    with ThreadPoolExecutor(4) as pool:
        added = sum(pool.map(work, range(4)), Added())
    assert (added.cases, added.opinions, added.unchanged) == (60, 120, 180)
    with sessions() as session:
        counts = [
            session.scalar(sa.select(sa.func.count()).select_from(table))
            for table in (Case, Opinion, Teacher)
        ]
        assert counts == [60, 120, 2]
        assert check(session) == []


def test_one_person_who_comes_by_eight_doors_at_once_is_one_annotator(
    sessions: sessionmaker[Session],
) -> None:
    def come(_: int) -> int:
        with write_session(sessions) as session:
            return ensure_annotator(session, "maria")

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(come, range(8))) == {1}
    with sessions() as session:
        assert session.scalars(sa.select(Annotator.name)).all() == ["maria"]


def test_a_ruling_is_there_after_the_server_crashed_right_after_the_commit(server: Server) -> None:
    url = server.new_database()
    sessions = make_sessions(open_engine(url))
    migrate(sessions.kw["bind"])
    (who,) = _fill(sessions, 20, people=1)
    for case_id in range(1, 21):
        with write_session(sessions) as session:
            rule(session, who, NewRuling(str(case_id), case_id, Answer.UNSURE), datetime.now(UTC))
    server.crash()
    sessions.kw["bind"].dispose()
    url = server.url.set(database=url.database)
    sessions = make_sessions(open_engine(url))
    assert _ruled(sessions) == [(who, case_id) for case_id in range(1, 21)]
    sessions.kw["bind"].dispose()
    server.drop(url)
