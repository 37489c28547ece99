"""What `doctor` finds: a sentence on what is wrong, another on what to do, and a repair where one is safe."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ooc_app.demo import Say

SETTLED_AFTER = timedelta(hours=1)
"""A file older than this belongs to nothing that is still going on: imports commit far oftener."""
NAMED = 3  # how many of many are named in a sentence


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a data folder; what is not `wrong` is untidy and does no harm."""

    kind: str
    says: str
    do: str
    wrong: bool = True
    repair: Callable[[], str] | None = None  # does what is safe and says what it did


@dataclass(frozen=True, slots=True)
class Visit:
    """What every look at a data folder is told."""

    data_dir: Path
    now: datetime
    read_all: bool  # read every picture instead of looking at its size
    say: Say

    def is_settled(self, path: Path) -> bool:
        """Whether the file was last written so long ago that nobody can be at work on it."""
        try:
            written = path.lstat().st_mtime
        except FileNotFoundError:
            return False
        return written < (self.now - SETTLED_AFTER).timestamp()


def several(number: int, one: str, many: str) -> str:
    """Write a number of things with the right word."""
    return f"1 {one}" if number == 1 else f"{number:,} {many}"


def first_of(names: Sequence[str]) -> str:
    """Name the first few of many."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def remove(paths: Sequence[Path]) -> str:
    """Remove files and folders that were cut off on their way to their place."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return (
        f"Removed {several(len(paths), 'leftover', 'leftovers')}: {first_of([path.name for path in paths])}."
    )
