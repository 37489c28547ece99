"""A copy of the database as it is at one moment, made while others go on writing, and proof that it is sound.

SQLite: the backup API in steps, from a connection that holds a read transaction open. In WAL mode
the copy is then of one state and nobody waits. Without that transaction every commit of another
process makes the copy start over: with 300 commits a second, 285 MB were not copied within 20 s
(2,889 starts), with it they were in 0.4 s. VACUUM INTO copies one state too, but shows no progress,
cannot be interrupted and writes the whole file anew (0.6 s). The log grows by what is written
meanwhile and shrinks again.

PostgreSQL: `pg_dump` in its custom format, of the snapshot in which the rows were counted.
"""

import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from db.models import metadata
from ooc_app.demo import Say
from ooc_app.keeping import postgres
from ooc_app.keeping.manifest import BackupError
from training.config import PROJECT_DIR

SQLITE_FILE = "desk.db"
POSTGRESQL_FILE = "desk.dump"
PAGES_AT_ONCE = 2_000  # 8 MB: often enough to show progress and to be interrupted
BUSY_SECONDS = 0.05  # until the next try where the file is being locked


@dataclass(frozen=True, slots=True)
class CopiedDatabase:
    """What the copy holds."""

    file: str  # its name in the backup
    revision: str
    rows: dict[str, int]


def copy_database(engine: sa.Engine, folder: Path, say: Say) -> CopiedDatabase:
    """Put a copy of the database into the folder, verified. Raises BackupError where it is not sound."""
    if engine.dialect.name == "sqlite":
        try:
            copied = _copy_sqlite(engine, folder / SQLITE_FILE, say)
        except (sqlite3.DatabaseError, sa.exc.DatabaseError) as error:
            raise _unsound(str(getattr(error, "orig", error))) from error
        say("verify database", {"done": 0, "of": 1})
        problems = soundness(folder / SQLITE_FILE)
        if problems:
            raise _unsound(problems[0])
        with reading(folder / SQLITE_FILE) as connection:
            counted = count_rows(connection, copied.rows)
    else:
        with postgres.exported(engine) as (connection, snapshot):
            copied = CopiedDatabase(POSTGRESQL_FILE, revision_of(connection), count_rows(connection))
            say("copy database", {"done": 0, "of": 1})
            postgres.dump(engine, snapshot, folder / POSTGRESQL_FILE)
        counted = postgres.rows_in(folder / POSTGRESQL_FILE, copied.rows)
    if counted != copied.rows:
        raise BackupError(
            f"The copy of the database is not whole: {_first_difference(copied.rows, counted)}."
        )
    say("verify database", {"done": 1, "of": 1})
    return copied


def _unsound(problem: str) -> BackupError:
    return BackupError(
        f"The database cannot be copied whole ({problem}), so no backup was made: keep those there are, and "
        "see `python -m ooc_app doctor`."
    )


def _copy_sqlite(engine: sa.Engine, target: Path, say: Say) -> CopiedDatabase:
    target.touch(mode=0o600)
    with engine.connect() as connection, closing(sqlite3.connect(target, isolation_level=None)) as copy:
        revision, rows = revision_of(connection), count_rows(connection)  # the transaction sees this state
        copy.execute("PRAGMA journal_mode=OFF")  # a copy cut off is thrown away, so it needs no journal
        copy.execute("PRAGMA synchronous=OFF")  # all of the backup is synced at its end

        def progress(status: int, remaining: int, total: int) -> None:
            say("copy database", {"done": total - remaining, "of": total})

        source: Any = connection.connection.driver_connection
        source.backup(copy, pages=PAGES_AT_ONCE, progress=progress, sleep=BUSY_SECONDS)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, readable without a log beside it
    shutil.copymode(str(engine.url.database), target)
    return CopiedDatabase(target.name, revision, rows)


def soundness(path: Path) -> list[str]:
    """Say what is wrong with an SQLite file that nobody writes to: nothing, or the first few things."""
    try:
        with reading(path) as connection:
            return unsound(connection)
    except sa.exc.DatabaseError as error:
        return [str(error.orig)]


def unsound(connection: sa.Connection) -> list[str]:
    """Say what SQLite finds wrong with the database: pages, indexes, constraints, references."""
    said = connection.exec_driver_sql("PRAGMA integrity_check(10)").scalars().all()
    lines = [line for found in said for line in str(found).splitlines()]  # a row may hold several
    problems = [line for line in lines if line != "ok" and not line.startswith("***")]
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(10)
    return problems + [f"row {row[1]} of {row[0]} refers to a row of {row[2]} that is gone" for row in broken]


@contextmanager
def reading(path: Path) -> Iterator[sa.Connection]:
    """Read an SQLite file that nobody writes to, leaving no file beside it."""
    engine = sa.create_engine(f"sqlite:///{path.absolute().as_uri()}?mode=ro&immutable=1&uri=true")
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def count_rows(connection: sa.Connection, tables: Iterable[str] | None = None) -> dict[str, int]:
    """Count the rows of `tables`, by default of all that this version knows and the database has."""
    if tables is None:
        there = set(sa.inspect(connection).get_table_names())
        tables = [name for name in sorted(metadata.tables) if name in there]
    counts = {}
    for name in tables:
        query = sa.select(sa.func.count()).select_from(sa.table(name))
        counts[name] = connection.scalar(query) or 0
    return counts


def known_revisions() -> set[str]:
    """Return every revision of the tables that this version can bring up to its own."""
    return {script.revision for script in _scripts().walk_revisions()}


def current_revision() -> str:
    """Return the revision of this version's tables."""
    return _scripts().get_current_head() or ""


def revision_of(connection: sa.Connection) -> str:
    """Return the revision of a database's tables, which is empty where it has none of ours."""
    return MigrationContext.configure(connection).get_current_revision() or ""


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(PROJECT_DIR / "db" / "migrations"))


def _first_difference(wanted: dict[str, int], found: dict[str, int]) -> str:
    name = next(name for name in wanted if wanted[name] != found.get(name))
    return f"the table {name} has {wanted[name]} rows on the desk and {found.get(name, 0)} in the copy"
