"""Several programs and threads on one database file: nothing twice, nothing lost."""

import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from db.cases import NewCase, NewImage, NewOpinion, add_cases
from db.engine import write_session
from db.models import Event, Queued, Ruling
from db.queue import claim, fill
from db.rulings import NewRuling, ensure_annotator, rule
from db.vocabulary import Answer

ROOT = Path(__file__).resolve().parents[2]
PEOPLE, CASES = 4, 120

# Rules on all it is handed and prints "claimed ID" for each, then "ruled ID" once its commit returned.
ANNOTATOR = textwrap.dedent(
    """
    import sys
    from datetime import UTC, datetime
    from db.engine import make_sessions, open_engine, write_session
    from db.queue import claim
    from db.rulings import NewRuling, rule

    sessions, who = make_sessions(open_engine(sys.argv[1])), int(sys.argv[2])
    shown = set()
    while True:
        with write_session(sessions) as session:
            case_ids = claim(session, who, datetime.now(UTC))
        for case_id in set(case_ids) - shown:
            print("claimed", case_id, flush=True)
        shown.update(case_ids)
        if not case_ids:
            break
        with write_session(sessions) as session:
            new = NewRuling(f"{who}-{case_ids[0]}", case_ids[0], "in_context", seconds=3.0)
            rule(session, who, new, datetime.now(UTC))
        print("ruled", case_ids[0], flush=True)
    """
)


def _conflicts(sessions: sessionmaker[Session], number: int) -> None:
    opinions = (NewOpinion("A", Answer.IN_CONTEXT, "Yes."), NewOpinion("B", Answer.OUT_OF_CONTEXT, "No."))
    image = NewImage("a" * 64, "PNG", 8, 8, 8)
    with write_session(sessions) as session:
        add_cases(
            session,
            "test",
            [NewCase(str(name), "A caption.", image, opinions=opinions) for name in range(number)],
        )
        for name in range(PEOPLE):
            ensure_annotator(session, f"person {name}")
        assert fill(session) == number


def _start(sessions: sessionmaker[Session], who: int) -> "subprocess.Popen[str]":
    url = str(sessions.kw["bind"].url)
    return subprocess.Popen([sys.executable, "-c", ANNOTATOR, url, str(who)], cwd=ROOT, stdout=-1, text=True)


def _ruled(sessions: sessionmaker[Session]) -> list[int]:
    with sessions() as session:
        return list(session.scalars(sa.select(Ruling.case_id).order_by(Ruling.case_id)))


def test_four_processes_share_the_queue_without_a_case_twice_or_a_ruling_lost(
    sessions: sessionmaker[Session],
) -> None:
    _conflicts(sessions, CASES)
    processes = [_start(sessions, who) for who in range(1, PEOPLE + 1)]
    lines = Counter(
        line.strip() for process in processes for line in process.communicate(timeout=120)[0].splitlines()
    )
    assert [process.returncode for process in processes] == [0] * PEOPLE
    assert lines == Counter(
        [f"{what} {case_id}" for what in ("claimed", "ruled") for case_id in range(1, CASES + 1)]
    )
    assert _ruled(sessions) == list(range(1, CASES + 1))
    with sessions() as session:
        assert session.scalars(sa.select(Queued)).all() == []
        assert len(session.scalars(sa.select(Event).where(Event.action == "rule")).all()) == CASES


def test_eight_threads_of_one_engine_share_the_queue_likewise(sessions: sessionmaker[Session]) -> None:
    _conflicts(sessions, 60)
    with write_session(sessions) as session:
        people = [ensure_annotator(session, f"thread {number}") for number in range(8)]

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

    with ThreadPoolExecutor(8) as pool:
        done = [case_id for cases in pool.map(work, people) for case_id in cases]
    assert sorted(done) == _ruled(sessions) == list(range(1, 61))


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
    assert _ruled(sessions) == [case_id]


def test_a_ruling_is_there_after_its_process_was_killed_right_after_the_commit(
    sessions: sessionmaker[Session],
) -> None:
    _conflicts(sessions, 200)
    for _ in range(3):
        process = _start(sessions, 1)
        assert process.stdout is not None
        acknowledged = [
            line for _, line in zip(range(9), process.stdout, strict=False) if line.startswith("ruled")
        ]
        os.kill(process.pid, signal.SIGKILL)
        acknowledged += [line for line in process.stdout if line.startswith("ruled")]
        process.wait()
        process.stdout.close()
        assert acknowledged
        assert {int(line.split()[1]) for line in acknowledged} <= set(_ruled(sessions))
    with sessions() as session:
        assert session.connection().exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        queued = set(session.scalars(sa.select(Queued.case_id)))
    assert queued == set(range(1, 201)) - set(_ruled(sessions))
