"""What `doctor` looks at in the database: whether it opens, is sound, and agrees with itself."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from db import derived
from db.engine import UnusableDatabaseError, make_sessions, migrate, open_engine, write_session
from db.models import Queued
from ooc_app.keeping.daily import daily_backups
from ooc_app.keeping.database import SQLITE_FILE, current_revision, known_revisions, revision_of, unsound
from ooc_app.keeping.findings import Finding, Visit, several


@dataclass(frozen=True, slots=True)
class FoundDatabase:
    """What was found; `sessions` are there only where the tables are this version's and sound."""

    engine: sa.Engine | None
    sessions: sessionmaker[Session] | None
    findings: list[Finding]


def look_at_database(visit: Visit, database_url: str | None) -> FoundDatabase:
    """Open the database without changing it and say what keeps the desk from working with it."""
    file = _file(visit, database_url)
    if file is not None and not file.is_file():  # opening it would make it
        return FoundDatabase(None, None, [_missing(visit, file)])
    visit.say("examine database", {"done": 0, "of": 2})
    engine: sa.Engine | None = None
    try:
        engine = open_engine(database_url or sa.URL.create("sqlite", database=str(file)))
        with engine.connect() as connection:
            revision = revision_of(connection)
            problems = unsound(connection) if connection.dialect.name == "sqlite" else []
    except (sa.exc.DatabaseError, sqlite3.DatabaseError, UnusableDatabaseError) as error:
        found = _unusable(visit, getattr(error, "orig", error))
    else:
        if not problems:
            return _opened(engine, revision)
        found = _damaged(visit, problems)
    if engine is not None:
        engine.dispose()
    return FoundDatabase(None, None, [found])


def _opened(engine: sa.Engine, revision: str) -> FoundDatabase:
    """Give a sound database to be looked into, where its tables are this version's."""
    if revision != current_revision():
        return FoundDatabase(engine, None, [_other_revision(engine, revision)])
    return FoundDatabase(engine, make_sessions(engine), [])


def look_inside(visit: Visit, sessions: sessionmaker[Session]) -> Iterator[Finding]:
    """Compare what the database says with what it ought to say."""
    visit.say("examine database", {"done": 1, "of": 2})
    yield from _stale_leases(visit, sessions)
    yield from _differing(sessions)
    visit.say("examine database", {"done": 2, "of": 2})


def _file(visit: Visit, database_url: str | None) -> Path | None:
    """Say which file holds the database; None where a server does."""
    if not database_url:
        return visit.data_dir / SQLITE_FILE
    try:
        url = sa.make_url(database_url)
    except sa.exc.ArgumentError:
        return None
    return Path(url.database) if url.drivername.startswith("sqlite") and url.database else None


def _missing(visit: Visit, file: Path) -> Finding:
    return Finding(
        "database_missing",
        f"There is no database {file}.",
        _restoring(visit)
        or "Give the right folder with --data; a new desk begins there when another command opens it.",
    )


def _unusable(visit: Visit, error: BaseException) -> Finding:
    """Tell a database that is damaged from one that merely cannot be opened here and now."""
    if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _damaged(visit, [str(error)])
    return Finding(
        "database_unusable",
        f"The database cannot be opened: {str(error).rstrip('.')}.",
        "See whether you may read and write it, whether its server runs, and whether a program holds it.",
    )


def _damaged(visit: Visit, problems: Sequence[str]) -> Finding:
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    do = _restoring(visit) or "There is no daily backup: restore one made with `python -m ooc_app backup`."
    keep = "Keep this folder as it is meanwhile: an expert may save more from it."
    return Finding("database_damaged", f"The database is damaged: {problems[0]}{more}.", f"{do} {keep}")


def _restoring(visit: Visit) -> str | None:
    """Say how to go back to the newest daily backup; None where there is none."""
    made = daily_backups(visit.data_dir)
    if not made:
        return None
    command = f"`python -m ooc_app restore {made[0]} --data NEW_FOLDER`"
    return f"Restore the backup of {made[0].name}: {command}."


def _other_revision(engine: sa.Engine, revision: str) -> Finding:
    if not revision:
        return Finding(
            "database_strange",
            "The database has no tables of a desk.",
            "Where the desk was just begun, open it once; otherwise restore a backup into a new folder.",
        )
    if revision not in known_revisions():
        return Finding(
            "database_newer",
            f"The database was made by a newer version of OOC Desk (revision {revision}).",
            "Update this one, and leave the folder alone until then.",
        )

    def bring_up() -> str:
        migrate(engine)
        return f"Brought the tables from revision {revision} to {current_revision()}; now run doctor again."

    return Finding(
        "database_older",
        f"The tables are an older version's (revision {revision}), so what is in them was not examined.",
        "Open the desk once, or repair, and they are brought up; then run doctor again.",
        wrong=False,
        repair=bring_up,
    )


def _stale_leases(visit: Visit, sessions: sessionmaker[Session]) -> list[Finding]:
    ended = Queued.lease_until < visit.now
    with sessions() as session:
        number = session.scalar(sa.select(sa.func.count()).select_from(Queued).where(ended)) or 0
    if not number:
        return []

    def free() -> str:
        with write_session(sessions) as session:
            done = sa.delete(Queued).where(ended, Queued.rulings_wanted == 0)
            session.execute(done, execution_options={"synchronize_session": False})
            none = {"annotator_id": None, "leased_at": None, "lease_until": None}
            session.execute(
                sa.update(Queued).where(ended).values(none), execution_options={"synchronize_session": False}
            )
        return f"Freed {several(number, 'lease', 'leases')} that had run out."

    return [
        Finding(
            "stale_leases",
            f"{several(number, 'lease has', 'leases have')} run out and were not given back.",
            "Nothing: colleagues are handed those cases already.",
            wrong=False,
            repair=free,
        )
    ]


def _differing(sessions: sessionmaker[Session]) -> list[Finding]:
    """Compare what is derived from the facts (kinds, counts, queue, full-text index) with them."""
    with sessions() as session:
        differences = derived.check(session)
    if not differences:
        return []

    def rebuild() -> str:
        with write_session(sessions) as session:
            derived.rebuild(session)
        return "Counted cases, queue and full-text index anew."

    return [
        Finding(
            "derived_differ",
            " ".join(differences),
            "Repair: they are made anew from cases, opinions and rulings, which are not touched.",
            repair=rebuild,
        )
    ]
