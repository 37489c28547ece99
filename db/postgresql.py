"""PostgreSQL: how its connections are set, and the lock that lets one transaction write at a time.

A session that only reads is REPEATABLE READ: all its statements see one state, as on SQLite. A write
session takes an advisory lock with its first statement and is READ COMMITTED, so that whatever it
reads after the lock is what the writer before it left; with a snapshot from before the lock, two
imports at once would both miss the other's teacher, and two tabs would both rule. The lock is given
back by commit and rollback, and by the server when the client is gone.
"""

from typing import Any

import sqlalchemy as sa

WRITE_LOCK = 0x4F4F43  # any number will do, as long as every process of a desk has the same
WRITE_OPTIONS = {"writes": True, "isolation_level": "READ COMMITTED"}

_KEPT_OPEN, _MORE = 10, 30  # together one for each of the 40 threads on which Gradio runs handlers

_SESSION = {
    "application_name": "ooc-desk",
    "timezone": "UTC",
    "synchronous_commit": "on",  # whatever the server's default: a commit that returned is on disk
    "statement_timeout": "60s",  # a search that runs wild gives its thread back
    "idle_in_transaction_session_timeout": "10min",  # a reader that hangs must not stop the server's vacuum
    "jit": "off",  # compiling costs a query of 20 ms another 200
}
# A writer that hangs, or whose machine went away, holds up all the others: for a minute, not for ten.
# A statement that writes may take its time, because filling the queue of a million cases does.
_BEGIN_WRITING = sa.text(
    "SELECT set_config('statement_timeout', '0', true),"
    " set_config('idle_in_transaction_session_timeout', '60s', true),"
    f" pg_advisory_xact_lock({WRITE_LOCK})"
)
_LIBPQ = {
    "connect_timeout": 10,  # seconds
    "keepalives_idle": 30,  # seconds; the system's two hours would hang a thread on a dead server
    "keepalives_interval": 10,
    "keepalives_count": 3,
}


def open_postgresql(url: sa.URL, lock_timeout_ms: int) -> sa.Engine:
    """Open the PostgreSQL database at `url`, with settings in the URL going before ours."""
    settings = {**_SESSION, "lock_timeout": f"{lock_timeout_ms}ms"}
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    given = {name: value for name, value in url.query.items() if name in (*_LIBPQ, "options")}
    connect: dict[str, Any] = {**_LIBPQ, **given, "options": f"{options} {given.get('options', '')}".strip()}
    engine = sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args=connect,
        isolation_level="REPEATABLE READ",
        pool_size=_KEPT_OPEN,
        max_overflow=_MORE,
        pool_pre_ping=True,  # a restart of the server costs no ruling
        use_native_hstore=False,  # saves every new connection a question
    )
    sa.event.listen(engine, "begin", _begin)
    return engine


def refusal(connection: sa.Connection) -> str | None:
    """Say what keeps a database from holding the desk's tables; None where nothing does."""
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar()
    if encoding != "UTF8":
        return f"stores text as {encoding}: make one with ENCODING 'UTF8', for captions in every script."
    schema = connection.exec_driver_sql("SELECT current_schema()").scalar()
    allowed = "SELECT has_schema_privilege(current_schema(), 'CREATE')"
    if schema is None or not connection.exec_driver_sql(allowed).scalar():
        return "lets this user make no tables: make the user its owner (ALTER DATABASE ... OWNER TO ...)."
    return None


def reason_of(error: BaseException | None) -> str:
    """Take the reason out of a driver's message, without addresses and hints."""
    first_line = str(error).partition("\n")[0]
    return first_line.rpartition("failed: ")[2].removeprefix("FATAL:").strip().rstrip(".")


def _begin(connection: sa.Connection) -> None:
    if connection.get_execution_options().get("writes", False):
        connection.execute(_BEGIN_WRITING)
