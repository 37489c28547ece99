"""A backup a day inside the data folder: `backups/YYYY-MM-DD`, the newest few kept.

Pictures and adapters share their bytes with the desk's, so a day costs the database's size. These
backups help against mistakes and a damaged database; against the loss of the disk, back up to
another one.
"""

import json
import logging
import os
import re
import shutil
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from ooc_app.desk import Desk
from ooc_app.keeping.backup import back_up
from ooc_app.keeping.manifest import is_whole
from ooc_app.keeping.whole import KeepingError, is_being_written, partial_of
from training.state import write_whole

DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
LAST = "last.json"  # how the last attempt went, for the page and `doctor`
FIRST_LOOK_SECONDS = 60.0  # after the start, which has better things to do
LOOK_SECONDS = 600.0
RETRY_SECONDS = 3_600.0  # after a failure: a copy of a large database is no small thing

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DailyBackup:
    """How an attempt went: the day's backup is there, or there is a problem."""

    day: str
    at: str
    problem: str | None = None
    dropped: tuple[str, ...] = ()  # older days


def backup_if_due(desk: Desk, now: datetime, *, kept: int) -> DailyBackup | None:
    """Make the backup of the day (UTC) and drop the oldest beyond `kept`; None where none is due.

    Whatever goes wrong is logged and said in what is returned, and the older backups stay; nothing is
    raised. `kept` of 0 makes none and drops none.
    """
    day = now.astimezone(UTC).strftime("%Y-%m-%d")
    backups_dir = desk.data_dir / "backups"
    if kept < 1 or is_whole(backups_dir / day):
        return None
    at = now.astimezone(UTC).isoformat(timespec="seconds")
    try:
        backups_dir.mkdir(exist_ok=True)
        _remove_cut_off(backups_dir)
        back_up(desk, backups_dir / day, read_all=False)
        done = DailyBackup(day, at, dropped=_drop(backups_dir, kept))
    except Exception as error:  # the desk goes on without
        said = str(error) if isinstance(error, KeepingError) else f"{type(error).__name__}: {error}"
        log.warning("No daily backup was made: %s", said)
        done = DailyBackup(day, at, said)
    _note(backups_dir, done)
    return done


def daily_backups(data_dir: Path) -> list[Path]:
    """Return the whole daily backups of a data folder, newest first."""
    backups_dir = data_dir / "backups"
    if not backups_dir.is_dir():
        return []
    found = [path for path in backups_dir.iterdir() if DAY.fullmatch(path.name) and is_whole(path)]
    return sorted(found, reverse=True)


def last_attempt(data_dir: Path) -> DailyBackup | None:
    """Say how the last daily backup went; None where none was ever tried."""
    try:
        said = json.loads((data_dir / "backups" / LAST).read_text(encoding="utf-8"))
        return DailyBackup(**{**said, "dropped": tuple(said["dropped"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def start_daily_backups(
    desk: Desk,
    *,
    kept: int,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    tell: Callable[[DailyBackup], None] = lambda done: None,
) -> threading.Event:
    """Begin to look, every ten minutes, whether a backup is due; setting the event ends it.

    `tell` is told how each attempt went. Where none are kept nothing begins, and the event is set.
    """
    ended = threading.Event()
    if kept < 1:
        ended.set()
        return ended

    def look() -> None:
        if sys.platform == "linux":  # there, niceness is a thread's own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        wait = FIRST_LOOK_SECONDS
        while not ended.wait(wait):
            done = backup_if_due(desk, clock(), kept=kept)
            if done is not None:
                tell(done)
            wait = RETRY_SECONDS if done is not None and done.problem else LOOK_SECONDS

    threading.Thread(target=look, daemon=True, name="daily backups").start()
    return ended


def _remove_cut_off(backups_dir: Path) -> None:
    """Remove what a kill left of earlier days, and of older backups that were being dropped."""
    for path in backups_dir.glob(".*.partial"):
        if path.is_dir() and not is_being_written(path):
            shutil.rmtree(path)


def _drop(backups_dir: Path, kept: int) -> tuple[str, ...]:
    """Remove the oldest daily backups, each under a name that is not taken for whole."""
    dropped = daily_backups(backups_dir.parent)[kept:]
    for path in dropped:
        leaving = partial_of(path)
        shutil.rmtree(leaving, ignore_errors=True)
        path.rename(leaving)
        shutil.rmtree(leaving)
    return tuple(path.name for path in dropped)


def _note(backups_dir: Path, done: DailyBackup) -> None:
    try:
        write_whole(backups_dir / LAST, json.dumps(asdict(done)))
    except OSError as error:
        log.warning("How the daily backup went could not be noted: %s", error)
