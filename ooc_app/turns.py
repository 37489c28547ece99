"""One at a time: locks on files, which a process lets go of however it ends."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

TRIES: Final = 5
BETWEEN_S: Final = 0.02  # a look of `is_held` is over sooner


@contextmanager
def held(path: Path, busy: Exception) -> Iterator[None]:
    """Hold the turn that a file stands for; raises `busy` where another process or thread has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        for attempt in range(1, TRIES + 1):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if attempt == TRIES:
                    raise busy from None
                time.sleep(BETWEEN_S)
            else:
                break
        yield


def is_held(path: Path) -> bool:
    """Whether somebody has the turn right now."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except BlockingIOError:
        return True
    return False
