"""Say what is wrong with a data folder, in whatever state it is, and repair what is safe to repair.

Looking changes nothing: no folder is made, no table brought up. Safe to repair is what can be made
anew from the facts, what nobody can be using, and what was copied whole elsewhere; cases, opinions and
rulings are never touched. Each repair is an event of the desk.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from db.engine import UnusableDatabaseError, make_sessions, write_session
from db.models import Event
from ooc_app.demo import Say
from ooc_app.desk import Desk, Settings
from ooc_app.keeping.database import current_revision, revision_of
from ooc_app.keeping.database_findings import FoundDatabase, look_at_database, look_inside
from ooc_app.keeping.findings import Finding, Visit, first_of, remove, several
from ooc_app.keeping.folder_findings import look_at_backups, look_at_folder, look_at_room
from ooc_app.keeping.picture_findings import look_at_pictures
from ooc_app.keeping.run_findings import look_at_run_folders, look_at_run_rows
from ooc_app.keeping.whole import PARTIAL
from training.state import RunFolderError


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """A finding and what became of it."""

    finding: Finding
    repaired: str | None = None  # what was done
    problem: str | None = None  # why the repair failed

    @property
    def wrong(self) -> bool:
        """Whether something is wrong still."""
        return self.finding.wrong and self.repaired is None


def examine(
    data_dir: Path,
    environment: Mapping[str, str],
    *,
    repair: bool = False,
    read_all: bool = False,
    now: datetime | None = None,
    say: Say = lambda what, figures: None,
) -> list[Diagnosed]:
    """Look at a data folder and, with `repair`, do what is safe; `environment` may name its database."""
    visit = Visit(data_dir.absolute(), now or datetime.now(UTC), read_all, say)
    if not visit.data_dir.is_dir():
        missing = Finding(
            "folder_missing", f"There is no data folder {data_dir}.", "Give the right one with --data."
        )
        return [Diagnosed(missing)]
    database = look_at_database(visit, environment.get("OOC_DATABASE_URL"))
    try:
        findings = list(_findings(visit, database, environment))
        if not repair:
            return [Diagnosed(finding) for finding in findings]
        diagnosed = [_repaired(finding) for finding in findings]
        if database.engine is not None:
            _record(database.engine, diagnosed, visit.now)
        return diagnosed
    finally:
        if database.engine is not None:
            database.engine.dispose()


def _findings(visit: Visit, database: FoundDatabase, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Look at one thing after the other; what cannot be looked at keeps nobody from looking at the next."""
    looks: list[tuple[str, Callable[[], Iterable[Finding]]]] = [
        ("folder", lambda: look_at_folder(visit, environment)),
        ("database", lambda: database.findings),
        ("runs", lambda: look_at_run_folders(visit)),
    ]
    sessions = database.sessions
    if sessions is not None and database.engine is not None:
        desk = Desk(visit.data_dir, Settings(), sessions, database.engine, "desk")
        looks += [
            ("cases and queue", lambda: look_inside(visit, sessions)),
            ("rows of runs", lambda: look_at_run_rows(visit, desk)),
            ("pictures", lambda: look_at_pictures(visit, sessions)),
        ]
    looks += [
        ("backups", lambda: look_at_backups(visit)),
        ("room on the disk", lambda: look_at_room(visit)),
        ("files", lambda: _cut_off(visit)),
    ]
    for what, look in looks:
        try:
            yield from list(look())
        except (OSError, sa.exc.DatabaseError) as error:
            said = getattr(error, "orig", None) or error
            yield Finding(
                "not_examined", f"Not examined ({what}): {said}.", "Mend that, then run doctor again."
            )


def _cut_off(visit: Visit) -> Iterator[Finding]:
    """Look for files that were to be renamed into their place when the process ended."""
    found = [path for path in sorted(visit.data_dir.glob(f"*{PARTIAL}")) if visit.is_settled(path)]
    if found:
        yield Finding(
            "files_cut_off",
            f"{several(len(found), 'file was', 'files were')} being written when the process ended "
            f"({first_of([path.name for path in found])}).",
            "Nothing: repair removes what is left.",
            wrong=False,
            repair=lambda: remove(found),
        )


def _repaired(finding: Finding) -> Diagnosed:
    if finding.repair is None:
        return Diagnosed(finding)
    try:
        return Diagnosed(finding, repaired=finding.repair())
    except (OSError, RunFolderError, UnusableDatabaseError, sa.exc.DatabaseError) as error:
        return Diagnosed(finding, problem=str(error))


def _record(engine: sa.Engine, diagnosed: Sequence[Diagnosed], now: datetime) -> None:
    """Add an event for each repair, where the tables are this version's."""
    with engine.connect() as connection:
        if revision_of(connection) != current_revision():
            return
    events = [
        Event(at=now, action="repair", detail={"kind": one.finding.kind, "done": one.repaired})
        for one in diagnosed
        if one.repaired
    ]
    if events:
        with write_session(make_sessions(engine)) as session:
            session.add_all(events)
