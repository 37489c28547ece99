"""Dumps of a PostgreSQL database, made and read by PostgreSQL's own programs."""

import os
import re
import shutil
import subprocess
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from ooc_app.keeping.whole import KeepingError


class PostgresProgramError(KeepingError):
    """A program of PostgreSQL is missing or failed; says what it said."""


@contextmanager
def exported(engine: sa.Engine) -> Iterator[tuple[sa.Connection, str]]:
    """Give a connection that sees one state of the database, and the name by which others see it too."""
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        connection.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = 0"))  # while others read
        yield connection, str(connection.scalar(sa.text("SELECT pg_export_snapshot()")))


def dump(engine: sa.Engine, snapshot: str, target: Path) -> None:
    """Write the state named by `snapshot` to `target`. Raises PostgresProgramError."""
    _run(engine.url, "pg_dump", "--format=custom", f"--snapshot={snapshot}", f"--file={target}")


def load(engine: sa.Engine, source: Path) -> None:
    """Fill an empty database from a dump, all or nothing. Raises PostgresProgramError."""
    _run(engine.url, "pg_restore", "--exit-on-error", "--single-transaction", str(source))


def rows_in(path: Path, tables: Collection[str]) -> dict[str, int]:
    """Count the rows of `tables` in a dump, reading all of it. Raises PostgresProgramError."""
    counts = dict.fromkeys(tables, 0)
    table: str | None = None
    command = [_program("pg_restore"), "--data-only", "--file=-", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if table is None:
                begun = re.match(rb'COPY [^ .]+\."?(\w+)"? .*FROM stdin;$', line)
                table = begun[1].decode() if begun else None
            elif line == b"\\.\n":
                table = None
            elif table in counts:
                counts[table] += 1
        said = process.stderr.read().decode(errors="replace")
    if process.returncode:
        raise PostgresProgramError(f"The dump {path} cannot be read: {_last_line(said)}.")
    return counts


def _run(url: sa.URL, program: str, *options: str) -> None:
    """Run a program on a database; the password is not among what other processes see."""
    address = url._replace(drivername="postgresql", password=None).render_as_string(hide_password=False)
    environment = os.environ | ({"PGPASSWORD": str(url.password)} if url.password else {})
    owner = ("--no-owner", "--no-privileges")  # of a server's own people, who may not exist elsewhere
    command = [_program(program), *owner, f"--dbname={address}", *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise PostgresProgramError(f"{program} failed: {_last_line(done.stderr)}.")


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise PostgresProgramError(
            f"The database is on PostgreSQL and {name} is not on the PATH: install PostgreSQL's client "
            "programs (Debian: postgresql-client)."
        )
    return found


def _last_line(said: str) -> str:
    lines = said.strip().splitlines()
    return lines[-1].rstrip(".") if lines else "it said nothing"
