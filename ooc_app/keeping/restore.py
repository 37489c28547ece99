"""Restore a backup into a data folder that is missing or empty: `restore(path, data_dir)`.

The backup is read to its last byte before anything is written. A missing data folder appears whole
or not at all. One that is there and empty may be where a disk is mounted, so it cannot be replaced:
everything is put into a hidden folder in it and moved up at the end, the database last.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from db.engine import open_engine, write_session
from db.models import Event
from db.vocabulary import RunStatus, Stage
from ooc_app.demo import Say
from ooc_app.desk import Desk, open_desk
from ooc_app.keeping import postgres
from ooc_app.keeping.database import SQLITE_FILE, count_rows, known_revisions, reading, soundness
from ooc_app.keeping.files import run_pictures, wrong_files
from ooc_app.keeping.manifest import BackupError, Manifest, read_manifest
from ooc_app.keeping.pictures import AT_ONCE, wrong_pictures
from ooc_app.keeping.run_findings import said_state
from ooc_app.keeping.whole import PARTIAL, KeepingError, appearing, digest, place
from training.state import RunFolder

RESTORING = f".restore{PARTIAL}"
WRITTEN_ONCE = ("checkpoints", *(stage.value for stage in Stage))  # folders of a run


class RestoreError(KeepingError):
    """A backup cannot be restored there; says why and what to do."""


def restore(
    path: Path,
    data_dir: Path,
    *,
    database_url: str | None = None,
    say: Say = lambda what, figures: None,
) -> Manifest:
    """Restore the backup at `path`, open the desk once, and return what it holds.

    `database_url` is where the desk keeps its database when not in its folder. Raises BackupError for
    a backup that is not whole or from a newer version, RestoreError where it cannot go there.
    """
    path, data_dir = path.absolute(), data_dir.absolute()
    manifest = read_manifest(path)
    _refuse_newer(path, manifest)
    _refuse_elsewhere(manifest, database_url)
    _refuse_used(data_dir)
    problems = wrong_backup(path, manifest, say)
    if problems:
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise BackupError(f"The backup {path} is damaged: {problems[0]}{more}. Use another backup.")
    with _filling(data_dir) as folder:
        _copy(path, folder, manifest, say)
        if database_url:
            _load(path, manifest, database_url)
    with open_desk(data_dir) as desk:
        _begin_anew(desk, path, manifest)
    return manifest


def wrong_backup(path: Path, manifest: Manifest, say: Say) -> list[str]:
    """Read all of a backup and say what is wrong with it."""
    wrong = wrong_files(path, manifest.files, say)
    found = sum(1 for _ in run_pictures(path))
    if found != manifest.run_pictures:
        wrong.append(f"{manifest.run_pictures - found} pictures of its runs are missing")
    if wrong:
        return wrong
    if manifest.database != SQLITE_FILE:
        rows = postgres.rows_in(path / manifest.database, manifest.rows)
        return wrong + ([] if rows == manifest.rows else ["its database has other rows than it ought to"])
    wrong = soundness(path / manifest.database)
    if wrong:
        return wrong
    with reading(path / manifest.database) as connection:
        if count_rows(connection, manifest.rows) != manifest.rows:
            wrong.append("its database has other rows than it ought to")
        return wrong + wrong_pictures(connection, path / "images", manifest.pictures, say)


def _refuse_newer(path: Path, manifest: Manifest) -> None:
    if manifest.revision not in known_revisions():
        raise BackupError(
            f"The backup {path} was made by a newer version of OOC Desk (revision {manifest.revision} of the "
            "tables): update this one."
        )


def _refuse_elsewhere(manifest: Manifest, database_url: str | None) -> None:
    """Raise RestoreError where the desk would not read what is restored, or would mix it with other data."""
    in_folder = manifest.database == SQLITE_FILE
    if in_folder and database_url:
        raise RestoreError(
            "OOC_DATABASE_URL is set, so the desk would not read the restored database: restore without it, "
            "then move the desk with `python -m ooc_app copy-database`."
        )
    if in_folder:
        return
    if not database_url or not database_url.startswith("postgres"):
        raise RestoreError(
            "The backup is of a desk on PostgreSQL: name an empty database in OOC_DATABASE_URL, for it to be "
            "restored into."
        )
    engine = open_engine(database_url)
    try:
        used = bool(sa.inspect(engine).get_table_names())
    finally:
        engine.dispose()
    if used:
        raise RestoreError(
            "The database in OOC_DATABASE_URL is not empty and nothing is overwritten: name an empty one."
        )


def _refuse_used(data_dir: Path) -> None:
    if not data_dir.exists():
        return
    if not data_dir.is_dir():
        raise RestoreError(f"{data_dir} is a file: give another data folder with --data.")
    if (data_dir / RESTORING).exists():
        raise RestoreError(
            f"A restore into {data_dir} was cut off or is going on: once none is, empty the folder and try "
            "again."
        )
    if any(data_dir.iterdir()):
        raise RestoreError(
            f"{data_dir} is not empty and nothing is overwritten: give another data folder with --data."
        )


@contextmanager
def _filling(data_dir: Path) -> Iterator[Path]:
    """Give the folder to fill; what is in it is in `data_dir` when the block ends well."""
    if not data_dir.exists():
        with appearing(data_dir) as folder:
            yield folder
        return
    folder = data_dir / RESTORING
    folder.mkdir()
    try:
        yield folder
        os.sync()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    for path in sorted(folder.iterdir(), key=lambda path: path.name == SQLITE_FILE):
        path.rename(data_dir / path.name)
    folder.rmdir()


def _copy(path: Path, folder: Path, manifest: Manifest, say: Say) -> None:
    """Put every file of a verified backup into the folder; what could not be linked is read back."""
    for name, stamp in manifest.files.items():
        if name == manifest.database and name != SQLITE_FILE:
            continue
        target = _target(folder, name)
        if not place(path / name, target, link=_is_linked(name)) and digest(target) != stamp.sha256:
            raise _unsound_disk(target)
    for done, picture in enumerate(sorted((path / "images").glob("??/*"))):
        if done % AT_ONCE == 0:
            say("restore pictures", {"done": done, "of": manifest.pictures.count})
        target = _target(folder, str(picture.relative_to(path)))
        if not place(picture, target) and digest(target) != f"{picture.parent.name}{picture.name}":
            raise _unsound_disk(target)
    say("restore pictures", {"done": manifest.pictures.count, "of": manifest.pictures.count})
    for done, name_in_run in enumerate(run_pictures(path)):
        if done % AT_ONCE == 0:
            say("restore runs", {"done": done, "of": manifest.run_pictures})
        place(path / name_in_run, _target(folder, str(name_in_run)))


def _target(folder: Path, name: str) -> Path:
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _is_linked(name: str) -> bool:
    """Whether a file may share its bytes with the backup's: those of a run that are written once."""
    parts = name.split("/")
    return parts[0] == "runs" and len(parts) > 3 and parts[2] in WRITTEN_ONCE


def _unsound_disk(target: Path) -> RestoreError:
    return RestoreError(f"{target} cannot be written whole: see whether the disk it is on is sound.")


def _load(path: Path, manifest: Manifest, database_url: str) -> None:
    engine = open_engine(database_url)
    try:
        postgres.load(engine, path / manifest.database)
        with engine.connect() as connection:
            rows = count_rows(connection, manifest.rows)
    finally:
        engine.dispose()
    if rows != manifest.rows:
        raise RestoreError(
            "The restored database has other rows than the backup: see whether its disk is sound."
        )


def _begin_anew(desk: Desk, path: Path, manifest: Manifest) -> None:
    """Note the restore, and that runs going when the backup was made are not going here."""
    for run_dir in desk.runs_dir.iterdir():
        folder = RunFolder(run_dir)
        state = said_state(folder)
        if state is not None and state.status is RunStatus.RUNNING and not folder.report_path.exists():
            why = "the backup was made while it was going; resume goes on from what was kept"
            folder.say(
                status=RunStatus.STOPPED, stage=state.stage, step=state.step, steps=state.steps, why=why
            )
    detail = {"backup": path.name, "made_at": manifest.made_at}
    with write_session(desk.sessions) as session:
        session.add(Event(at=datetime.now(UTC), action="restore", detail=detail))
