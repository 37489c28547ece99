"""Open a database, bring it to today's tables, and start transactions that do what they say.

Reading: `with sessions() as session:` sees one consistent state. Writing:

    with write_session(sessions) as session:
        claim(session, annotator_id, now)

takes the write lock before the first statement, commits at the end and rolls back on an exception.
On SQLite a transaction that reads first and writes later fails with "database is locked" when
another process wrote in between; BEGIN IMMEDIATE rules that out, so every function of this package
that writes wants a write session. PostgreSQL needs no such thing and gets a plain BEGIN.

A commit is on disk when it returns (`synchronous=FULL`; about 0.15 ms more than NORMAL, which may
lose the last rulings when the power goes).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.orm import Session, sessionmaker

BUSY_MS = 10_000  # how long a writer waits for another one before it gives up
_WRITES = {"writes": True}


class NewerDatabaseError(Exception):
    """Raised when a newer version of OOC Desk has migrated the database."""


def open_engine(url: str | sa.URL) -> sa.Engine:
    """Open the database at `url` without touching its tables; one engine serves all threads."""
    engine = sa.create_engine(url)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def make_sessions(engine: sa.Engine) -> sessionmaker[Session]:
    """Return the factory of sessions; what a session loaded stays readable after its commit."""
    return sessionmaker(engine, expire_on_commit=False)


@contextmanager
def write_session(sessions: sessionmaker[Session]) -> Iterator[Session]:
    """Hold the write lock for the block, then commit; on an exception, roll back."""
    with sessions.begin() as session:
        begin_immediate(session)
        yield session


def begin_immediate(session: Session) -> None:
    """Take the write lock for the session's transaction, which must not have run a statement yet."""
    session.connection(execution_options=_WRITES)


def migrate(engine: sa.Engine) -> None:
    """Bring the tables to this version's, in one transaction; do nothing where they are.

    Raises NewerDatabaseError for a revision that this version does not know.
    """
    with engine.connect().execution_options(**_WRITES) as connection, connection.begin():
        config = _alembic_config()
        scripts = ScriptDirectory.from_config(config)
        revision = MigrationContext.configure(connection).get_current_revision()
        if revision == scripts.get_current_head():
            return
        if revision is not None and revision not in {script.revision for script in scripts.walk_revisions()}:
            raise NewerDatabaseError(
                f"The database {engine.url.database} was made by a newer version of OOC Desk "
                f"(revision {revision}); install that version, or open another data folder."
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _alembic_config() -> Config:
    config = Config()
    folder = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _prepare_sqlite(connection: Any, record: object) -> None:
    connection.isolation_level = None  # the driver starts no transactions of its own: _begin_sqlite does
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
