"""What `doctor` looks at around the database: folders, settings, room on the disk, backups."""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from ooc_app.desk import NewerDataFolderError, SettingsError, read_settings
from ooc_app.keeping.backup import RESERVE, in_words
from ooc_app.keeping.daily import daily_backups, last_attempt
from ooc_app.keeping.database import SQLITE_FILE
from ooc_app.keeping.findings import Finding, Visit, first_of, remove, several
from ooc_app.keeping.restore import RESTORING
from ooc_app.keeping.whole import PARTIAL, is_being_written, size_of

PARTS = ("", "images", "runs", "backups", SQLITE_FILE, "settings.toml")


def look_at_folder(visit: Visit, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Look at what must be there and writable before anything else is."""
    yield from _restoring(visit.data_dir)
    yield from _settings(visit.data_dir / "settings.toml", environment)
    closed = unwritable(visit.data_dir)
    if closed:
        yield Finding(
            "not_writable",
            f"You may not write {first_of(closed)}.",
            "Run the desk as the person who owns the data folder, or change its owner.",
        )


def _restoring(data_dir: Path) -> Iterator[Finding]:
    folder = data_dir / RESTORING
    if not folder.is_dir():
        return
    if not any(folder.iterdir()) and (data_dir / SQLITE_FILE).exists():  # which comes last
        yield Finding(
            "restore_cut_off",
            "A restore into this folder was cut off when all was in place.",
            "Nothing: repair removes the empty folder it left.",
            wrong=False,
            repair=lambda: remove([folder]),
        )
        return
    yield Finding(
        "restore_cut_off",
        "A restore into this folder was cut off, or is going on.",
        "Once none is, empty the folder and restore again.",
    )


def _settings(path: Path, environment: Mapping[str, str]) -> Iterator[Finding]:
    if not path.exists():
        return  # it is made, with the defaults, when the desk is opened
    try:
        read_settings(path, environment)
    except NewerDataFolderError as error:
        yield Finding("settings_newer", str(error), "Leave the folder alone until then.")
    except SettingsError as error:
        yield Finding("settings_wrong", str(error), f"Mend {path}; until then the desk does not open.")
    except OSError as error:
        yield Finding(
            "settings_unreadable", f"{path} cannot be read ({error.strerror}).", "Make it readable."
        )


def unwritable(data_dir: Path) -> list[str]:
    """Name the parts of the data folder that are there and that whoever asks may not write."""
    parts = [data_dir / part for part in PARTS]
    return [str(path) for path in parts if path.exists() and not os.access(path, os.W_OK, effective_ids=True)]


def look_at_room(visit: Visit) -> Iterator[Finding]:
    """Look whether the next daily backup fits on the disk."""
    free = shutil.disk_usage(visit.data_dir).free
    yield from room_finding(free, size_of(visit.data_dir / SQLITE_FILE) or 0)


def room_finding(free: int, database_size: int) -> Iterator[Finding]:
    """Judge the bytes that are free against what the next daily backup takes."""
    if free < database_size + RESERVE:
        yield Finding(
            "disk_nearly_full",
            f"The disk has {in_words(free)} left: the next daily backup does not fit, and on a full disk no "
            "ruling can be stored.",
            "Make room; `backups_kept` in settings.toml says how many daily backups are kept.",
        )


def look_at_backups(visit: Visit) -> Iterator[Finding]:
    """Look for backups that were cut off, and whether the last daily one failed."""
    backups_dir = visit.data_dir / "backups"
    cut_off = [path for path in sorted(backups_dir.glob(f".*{PARTIAL}")) if not is_being_written(path)]
    if cut_off:
        yield Finding(
            "backups_cut_off",
            f"{several(len(cut_off), 'backup was', 'backups were')} cut off "
            f"({first_of([path.name.strip('.').removesuffix(PARTIAL) for path in cut_off])}).",
            "Nothing: the next daily backup removes what is left, and so does repair.",
            wrong=False,
            repair=lambda: remove(cut_off),
        )
    last = last_attempt(visit.data_dir)
    made = [path.name for path in daily_backups(visit.data_dir)]
    if last is not None and last.problem and last.day not in made:
        newest = f"the newest is of {made[0]}" if made else "there is none"
        yield Finding(
            "daily_backup_failed",
            f"The daily backup of {last.day} failed; {newest}. {last.problem}",
            "Mend that; it is tried again every hour while the page runs.",
        )
