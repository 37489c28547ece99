"""Open a database, bring it to today's tables, and start transactions that do what they say.

Reading: `with sessions() as session:` sees one consistent state. Writing:

    with write_session(sessions) as session:
        claim(session, annotator_id, now)

takes the write lock before the first statement, commits at the end and rolls back on an exception.
On SQLite a transaction that reads first and writes later fails with "database is locked" when
another process wrote in between; BEGIN IMMEDIATE rules that out, so every function of this package
that writes wants a write session. PostgreSQL has a lock of its own for it (`postgresql.py`), so what
is right with one writer at a time is right on both.

A commit is on disk when it returns (on SQLite `synchronous=FULL`; about 0.15 ms more than NORMAL,
which may lose the last rulings when the power goes).
"""

import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.orm import Session, sessionmaker

from db import postgresql
from db.derived import rebuild
from db.kinds import forget_counts, write_counts

CACHE_KIB = 32_768  # of pages per connection; SQLite's own 2 MB do not hold the indexes of a million cases
CHECKPOINT_PAGES = 4_000  # 16 MB; a checkpoint waits for the disk twice, and an import fills 4 MB in no time
BUSY_MS = 10_000  # how long a writer waits for the others before it gives up
_ASK_AGAIN = (0.000_5, 0.003)  # seconds between two tries of a writer that waits, from and to


class UnusableDatabaseError(Exception):
    """Raised where a database cannot be opened; says which and why, and never its password."""


class NewerDatabaseError(UnusableDatabaseError):
    """Raised when a newer version of OOC Desk has migrated the database."""


def open_engine(url: str | sa.URL, *, busy_ms: int = BUSY_MS) -> sa.Engine:
    """Open the database at `url` without touching its tables; one engine serves all threads.

    A writer that waits longer than `busy_ms` for the others gets an OperationalError. Raises
    UnusableDatabaseError for an address that is none of SQLite's or PostgreSQL's.
    """
    address = _address(url)
    if address.get_backend_name() == "postgresql":
        return postgresql.open_postgresql(address, busy_ms)
    engine = sa.create_engine(address, execution_options={"turn": threading.Lock()})
    sa.event.listen(engine, "connect", partial(_prepare_sqlite, busy_ms))
    sa.event.listen(engine, "begin", partial(_begin_sqlite, busy_ms))
    return engine


def where(url: sa.URL) -> str:
    """Name a database for people: its file, or its name and server; never the password."""
    if url.get_backend_name() == "sqlite":
        return str(url.database or "in memory")
    server = url.host or url.query.get("host") or "this machine"
    return f"{url.database or url.username} at {server}{f':{url.port}' if url.port else ''}"


def make_sessions(engine: sa.Engine) -> sessionmaker[Session]:
    """Return the factory of sessions; what a session loaded stays readable after its commit."""
    sessions = sessionmaker(engine, expire_on_commit=False)
    sa.event.listen(sessions, "before_commit", write_counts)
    sa.event.listen(sessions, "after_rollback", forget_counts)
    return sessions


@contextmanager
def write_session(sessions: sessionmaker[Session]) -> Iterator[Session]:
    """Hold the write lock for the block, then commit; on an exception, roll back."""
    engine = sessions.kw["bind"]
    with _turn_in_this_process(engine), sessions.begin() as session:
        session.connection(execution_options=_writes(engine.dialect))
        yield session


@contextmanager
def write_connection(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Hold the write lock for the block as `write_session` does, for what works below sessions."""
    connected = engine.connect().execution_options(**_writes(engine.dialect))
    with _turn_in_this_process(engine), connected as connection, connection.begin():
        yield connection


def migrate(engine: sa.Engine) -> None:
    """Bring the tables to this version's, in one transaction; do nothing where they are.

    Raises what `is_current` raises, and UnusableDatabaseError where the tables cannot be made.
    """
    if is_current(engine):
        return
    with _explained(engine), write_connection(engine) as connection:
        bring_up(connection)


def is_current(engine: sa.Engine) -> bool:
    """Say whether the tables are this version's; waits for no lock, so a desk opens while an import runs.

    Raises UnusableDatabaseError where the database cannot be reached, and NewerDatabaseError for a
    revision that this version does not know.
    """
    with _explained(engine), engine.connect() as connection:
        return _is_current(connection)


def bring_up(connection: sa.Connection) -> None:
    """Do what `migrate` does, in the transaction of a connection that holds the write lock."""
    if _is_current(connection):
        return
    if connection.dialect.name == "postgresql" and (refusal := postgresql.refusal(connection)):
        raise UnusableDatabaseError(f"The database {where(connection.engine.url)} {refusal}")
    config = _alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    with Session(connection) as session:
        rebuild(session)


def _is_current(connection: sa.Connection) -> bool:
    scripts = ScriptDirectory.from_config(_alembic_config())
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is not None and revision not in {script.revision for script in scripts.walk_revisions()}:
        raise NewerDatabaseError(
            f"The database {where(connection.engine.url)} was made by a newer version of OOC Desk "
            f"(revision {revision}); install that version, or open another data folder."
        )
    return revision == scripts.get_current_head()


def _alembic_config() -> Config:
    config = Config()
    folder = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _address(url: str | sa.URL) -> sa.URL:
    problem = "is no address of a database: give postgresql://USER:PASSWORD@HOST/NAME or sqlite:///FILE"
    try:
        address = sa.make_url(url)
    except (ValueError, sa.exc.ArgumentError):  # their message may quote the address, password and all
        raise UnusableDatabaseError(f"What was given {problem}.") from None
    scheme, _, _ = address.drivername.partition("+")
    if scheme in ("postgres", "postgresql"):
        return address.set(drivername="postgresql+psycopg")
    if scheme != "sqlite":
        raise UnusableDatabaseError(f"{scheme!r} {problem}.")
    return address


@contextmanager
def _explained(engine: sa.Engine) -> Iterator[None]:
    """Say in a sentence why the driver cannot open the database."""
    try:
        yield
    except sa.exc.DatabaseError as error:
        if not isinstance(error, sa.exc.OperationalError) and type(error) is not sa.exc.DatabaseError:
            raise
        sentence = f"The database {where(engine.url)} cannot be opened: {postgresql.reason_of(error.orig)}."
        if engine.dialect.name == "postgresql":
            sentence += " Check the address, and that the server is running."
        raise UnusableDatabaseError(sentence) from error


@contextmanager
def _turn_in_this_process(engine: sa.Engine) -> Iterator[None]:
    """Let the threads of a process wait for each other without asking the database again and again.

    Who waits in vain asks the database, which then says what is wrong.
    """
    turn: threading.Lock | None = engine.get_execution_options().get("turn")
    if turn is None or not turn.acquire(timeout=BUSY_MS / 1000):
        yield
        return
    try:
        yield
    finally:
        turn.release()


def _writes(dialect: sa.Dialect) -> dict[str, Any]:
    return postgresql.WRITE_OPTIONS if dialect.name == "postgresql" else {"writes": True}


def _prepare_sqlite(busy_ms: int, connection: sqlite3.Connection, record: object) -> None:
    connection.isolation_level = None  # the driver starts no transactions of its own: _begin_sqlite does
    own = (f"cache_size=-{CACHE_KIB}", f"wal_autocheckpoint={CHECKPOINT_PAGES}")
    for setting in (
        f"busy_timeout={busy_ms}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        *own,
    ):
        connection.execute(f"PRAGMA {setting}").close()


def _begin_sqlite(busy_ms: int, connection: sa.Connection) -> None:
    if connection.get_execution_options().get("writes", False):
        _take_turn(busy_ms, connection)
    else:
        connection.exec_driver_sql("BEGIN")


def _take_turn(busy_ms: int, connection: sa.Connection) -> None:
    """Begin a transaction that writes, as soon as no other one does.

    Left to itself SQLite asks again after ever longer pauses, so whoever has waited longest asks least
    often, and of eight writers some come away with "database is locked". Here all ask at one rate.
    """
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA busy_timeout=0").close()
    give_up = time.monotonic() + busy_ms / 1000
    try:
        while time.monotonic() < give_up:
            try:
                driver.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    break
            time.sleep(random.uniform(*_ASK_AGAIN))
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # a last time, so that a failure is told as any other
    finally:
        driver.execute(f"PRAGMA busy_timeout={busy_ms}").close()
