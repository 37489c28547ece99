"""Back up a data folder while people rule on it: `back_up(desk, path)`.

The database first, as it is at one moment, then every picture it names (they were stored before, and
are never changed or removed), then runs and settings, and `manifest.json` last. What is derived from
the pictures (`images/shown`) is left out. All of it is written into a hidden folder beside `path`
that becomes `path` when everything in it is verified and on disk. On the same file system pictures
and adapters share their bytes with the desk's (hard links): such a backup costs the database's size
and helps against mistakes; against the loss of the disk only one on another disk does.
"""

import shutil
from pathlib import Path

import sqlalchemy as sa

from db.models import Image
from ooc_app.demo import Say
from ooc_app.desk import Desk
from ooc_app.keeping.database import SQLITE_FILE, copy_database, reading
from ooc_app.keeping.files import copy_files
from ooc_app.keeping.manifest import BackupError, Manifest, Pictures, Stamp
from ooc_app.keeping.pictures import place_pictures
from ooc_app.keeping.whole import appearing

RESERVE = 200_000_000  # bytes a backup leaves free: rulings that go on must not meet a full disk


def back_up(
    desk: Desk, path: Path, *, say: Say = lambda what, figures: None, read_all: bool = True
) -> Manifest:
    """Make a verified backup at `path`, which must be free, and return what it holds.

    Without `read_all`, pictures that share their bytes with the desk's are looked at but not read.
    Raises KeepingError, and then leaves nothing behind.
    """
    path = path.absolute()
    _refuse_inside(desk.data_dir, path)
    try:
        with appearing(path) as folder:
            _refuse_full(desk, folder)
            return _fill(desk, folder, say, read_all=read_all)
    except OSError as error:
        raise BackupError(
            f"The backup {path} cannot be made ({error.strerror or error}); nothing was left of it."
        ) from error


def _fill(desk: Desk, folder: Path, say: Say, *, read_all: bool) -> Manifest:
    shutil.copymode(desk.data_dir, folder)
    copied = copy_database(desk.engine, folder, say)
    pictures = _pictures(desk, folder, say, read_all=read_all)
    files = copy_files(desk.data_dir, folder, say)
    stamps = {copied.file: Stamp.of(folder / copied.file), **files.stamps}
    manifest = Manifest(copied.file, copied.revision, copied.rows, pictures, files.run_pictures, stamps)
    manifest.write(folder)
    return manifest


def _pictures(desk: Desk, folder: Path, say: Say, *, read_all: bool) -> Pictures:
    """Place the pictures that the copied database names; a dump cannot be asked, so the live one is.

    That one names the same pictures and perhaps newer ones, for pictures are never taken out of it.
    """
    images_dir = folder / "images"
    if desk.engine.dialect.name != "sqlite":
        with desk.engine.connect() as connection:
            return place_pictures(connection, desk.images_dir, images_dir, say, read_all=read_all)
    with reading(folder / SQLITE_FILE) as connection:
        return place_pictures(connection, desk.images_dir, images_dir, say, read_all=read_all)


def _refuse_inside(data_dir: Path, path: Path) -> None:
    inside, backups = path.resolve().is_relative_to(data_dir.resolve()), (data_dir / "backups").resolve()
    if inside and path.resolve().parent != backups:
        raise BackupError(f"{path} is inside the data folder: give a path outside it, best on another disk.")


def _refuse_full(desk: Desk, folder: Path) -> None:
    """Raise BackupError where the disk would be full, or nearly so, before the backup is done."""
    with desk.engine.connect() as connection:
        needed = database_size(connection)
        if folder.stat().st_dev != desk.data_dir.stat().st_dev:
            needed += connection.scalar(sa.select(sa.func.coalesce(sa.func.sum(Image.byte_size), 0))) or 0
    free = shutil.disk_usage(folder).free
    if free < needed + RESERVE:
        raise BackupError(
            f"The disk of {folder.parent} has {in_words(free)} left, and the backup needs {in_words(needed)} "
            f"and {in_words(RESERVE)} to spare: make room, or give a path on another disk."
        )


def database_size(connection: sa.Connection) -> int:
    """Return how many bytes the database has."""
    if connection.dialect.name != "sqlite":
        return int(connection.scalar(sa.text("SELECT pg_database_size(current_database())")) or 0)
    pages = connection.exec_driver_sql("PRAGMA page_count").scalar() or 0
    return int(pages) * int(connection.exec_driver_sql("PRAGMA page_size").scalar() or 0)


def in_words(size: int) -> str:
    """Write a number of bytes for a person."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
