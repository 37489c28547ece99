"""Processes killed with SIGKILL at random moments while they rule, undo, import or migrate.

The short form belongs to every test run; the long one, 200 kills each, to `make soak`.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from sqlalchemy.orm import Session, sessionmaker

from db.cases import add_cases
from db.derived import check
from db.engine import _alembic_config, make_sessions, migrate, open_engine, write_connection, write_session
from db.models import Case, Event, Opinion, Ruling, is_current
from tests.db.test_concurrency import ROOT, conflicts

KILLS = [2, pytest.param(200, marks=pytest.mark.soak)]
BATCH, CASES = 25, 400  # of an import; it takes a second or so

# Rules on what it is handed and takes every other ruling back; prints each once its commit returned.
RULES_AND_UNDOES = """
    import os, sys
    from datetime import UTC, datetime
    from uuid import uuid4
    from db.engine import make_sessions, open_engine, write_session
    from db.queue import claim
    from db.rulings import NewRuling, ensure_annotator, rule, undo

    sessions = make_sessions(open_engine(os.environ["URL"]))
    with write_session(sessions) as session:
        who = ensure_annotator(session, "person " + sys.argv[1])
    print("begun", flush=True)
    for number in range(100_000):
        with write_session(sessions) as session:
            case_id = claim(session, who, datetime.now(UTC), count=1)[0]
            new = NewRuling(uuid4().hex, case_id, "unsure", seconds=3.0)
            ruling = rule(session, who, new, datetime.now(UTC))
        print("ruled", ruling.id, flush=True)
        if number % 2:
            with write_session(sessions) as session:
                undo(session, who, ruling.id, now=datetime.now(UTC))
            print("undone", ruling.id, flush=True)
"""

IMPORTS = f"""
    import os, sys
    from db.cases import add_cases
    from db.engine import make_sessions, open_engine, write_session
    from tests.db.test_concurrency import conflicts

    sessions = make_sessions(open_engine(os.environ["URL"]))
    print("begun", flush=True)
    for start in range(0, {CASES}, {BATCH}):
        with write_session(sessions) as session:
            add_cases(session, "test", conflicts(range(start, start + {BATCH})))
        print("imported", start, flush=True)
"""

MIGRATES = """
    import os
    from db.engine import migrate, open_engine

    engine = open_engine(os.environ["URL"])
    print("begun", flush=True)
    migrate(engine)
    print("done", flush=True)
"""


@contextmanager
def killed(engine: sa.Engine, script: str, *argv: object, after: float) -> Iterator[list[str]]:
    """Run a script, kill it so many seconds after it has begun, and give what it had said by then."""
    url = engine.url.render_as_string(hide_password=False)
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, argv)],
        cwd=ROOT,
        env={**os.environ, "URL": url, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    time.sleep(after)
    os.kill(process.pid, signal.SIGKILL)
    said = process.communicate()[0].splitlines()
    assert process.returncode in (0, -signal.SIGKILL)
    yield said


def is_sound(session: Session) -> bool:
    """Whether all that is derived fits the facts, and the file is whole."""
    if session.connection().dialect.name == "sqlite":
        assert session.connection().exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    return check(session) == []


@pytest.mark.parametrize("kills", KILLS)
def test_every_ruling_and_undo_that_was_told_is_there_after_its_process_was_killed(
    sessions: sessionmaker[Session], kills: int
) -> None:
    with write_session(sessions) as session:
        add_cases(session, "test", conflicts(range(1_000 + 50 * kills)))
    chance = random.Random(kills)
    ruled, undone = set[int](), set[int]()
    for number in range(kills):
        bound = sessions.kw["bind"]
        with killed(bound, RULES_AND_UNDOES, number % 3, after=chance.uniform(0, 0.4)) as said:
            ruled |= {int(line.split()[1]) for line in said if line.startswith("ruled")}
            undone |= {int(line.split()[1]) for line in said if line.startswith("undone")}
        with sessions() as session:
            assert ruled <= set(session.scalars(sa.select(Ruling.id).where(Ruling.verdict.is_not(None))))
            assert not undone & set(session.scalars(sa.select(Ruling.id).where(is_current())))
    assert ruled
    with sessions() as session:
        rulings = session.scalar(sa.select(sa.func.count()).select_from(Ruling))
        told = session.scalar(sa.select(sa.func.count()).where(Event.action.in_(["rule", "undo"])))
        assert rulings == told
        assert is_sound(session)


@pytest.mark.parametrize("kills", KILLS)
def test_an_import_that_was_killed_has_whole_batches_and_goes_on_where_it_was(
    sessions: sessionmaker[Session], kills: int
) -> None:
    chance = random.Random(kills)
    there = 0
    for _ in range(kills):
        with killed(sessions.kw["bind"], IMPORTS, after=chance.uniform(0, 0.1)) as said:
            told = BATCH * sum(line.startswith("imported") for line in said)
        with sessions() as session:
            cases = session.scalar(sa.select(sa.func.count()).select_from(Case)) or 0
            opinions = session.scalar(sa.select(sa.func.count()).select_from(Opinion))
            assert cases >= max(there, told)
            assert cases % BATCH == 0
            assert opinions == 2 * cases
            assert is_sound(session)
        there = cases
    with write_session(sessions) as session:
        added = add_cases(session, "test", conflicts(range(CASES)))
        assert (added.cases, added.unchanged) == (CASES - there, there)
    with sessions() as session:
        assert is_sound(session)


@pytest.fixture(scope="module")
def first_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a database of the first version with so much in it that migrating takes a while."""
    path = tmp_path_factory.mktemp("first") / "desk.db"
    engine = open_engine(f"sqlite:///{path}")
    with write_connection(engine) as connection:
        config = _alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.exec_driver_sql(
            "INSERT INTO teachers (id, name, kind) VALUES (1, 'A', 'recorded'), (2, 'B', 'recorded')"
        )
        connection.exec_driver_sql(
            "INSERT INTO cases (id, dataset, external_id, caption, split, created_at) VALUES "
            "(?, 'old', ?, 'Flood in Norvik', 'train', '2026-01-01 00:00:00.000000')",
            [(number, str(number)) for number in range(1, 2_001)],
        )
        connection.exec_driver_sql(
            "INSERT INTO opinions (case_id, teacher_id, prompt_version, verdict, rationale, current, "
            "created_at) VALUES (?, ?, 'recorded', ?, 'Because.', 1, '2026-01-01 00:00:00.000000')",
            [
                (number, teacher, verdict)
                for number in range(1, 2_001)
                for teacher, verdict in ((1, "in_context"), (2, "out_of_context"))
            ],
        )
    engine.dispose()
    return path


@pytest.mark.parametrize("kills", KILLS)
def test_a_migration_that_was_killed_has_changed_nothing_or_all(
    first_version: Path, tmp_path: Path, kills: int
) -> None:
    chance = random.Random(kills)
    for number in range(kills):
        path = tmp_path / f"{number}.db"
        shutil.copy(first_version, path)
        engine = open_engine(f"sqlite:///{path}")
        with killed(engine, MIGRATES, after=chance.uniform(0, 0.5)) as said:
            pass
        with engine.connect() as connection:
            revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            tables = set(sa.inspect(connection).get_table_names())
            assert (revision != "0001") == ("kinds" in tables)
            assert revision != "0001" or "done" not in said
        migrate(engine)
        with make_sessions(engine)() as session:
            assert session.scalar(sa.select(sa.func.count()).select_from(Opinion)) == 4_000
            assert is_sound(session)
        engine.dispose()
        path.unlink()
