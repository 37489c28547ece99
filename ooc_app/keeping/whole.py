"""Folders that appear whole or not at all, and the files put into them.

`appearing(path)` gives a hidden folder beside `path` to write into, and renames it to `path` at the
end. An exception removes it. A kill leaves it, under a name that nobody takes for whole, and the
next attempt at the same path clears it. One process at a time writes there: it holds a lock that the
system lets go of, however the process ends.
"""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = ".lock"
PARTIAL = ".partial"
LOCK_ATTEMPTS = 20


class KeepingError(Exception):
    """A backup or a restore cannot be made; says why and what to do."""


class PathTakenError(KeepingError):
    """Raised where something is at the path already, or is being written there."""


def partial_of(path: Path) -> Path:
    """The folder that is to become `path`."""
    return path.with_name(f".{path.name}{PARTIAL}")


def is_being_written(partial: Path) -> bool:
    """Whether a process is writing the folder right now."""
    try:
        with (partial / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Give the folder to write; it becomes `path`, with everything on disk, when the block ends well.

    Raises PathTakenError, and KeepingError where the folder around `path` is missing.
    """
    path = path.absolute()
    if not path.parent.is_dir():
        raise KeepingError(f"There is no folder {path.parent}: make it, or give another path.")
    _refuse_taken(path)
    partial = partial_of(path)
    with _held(partial):
        try:
            _refuse_taken(path)  # another process may have finished meanwhile
            clear(partial)
            yield partial
            os.sync()
            partial.rename(path)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        (path / LOCK).unlink(missing_ok=True)


def _refuse_taken(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise PathTakenError(f"{path} is there already and nothing is overwritten: give a path that is free.")


@contextmanager
def _held(partial: Path) -> Iterator[None]:
    partial.mkdir(exist_ok=True)
    with (partial / LOCK).open("ab") as lock:
        for attempt in range(LOCK_ATTEMPTS):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if attempt == LOCK_ATTEMPTS - 1:
                    raise PathTakenError(
                        f"{partial} is being written by another process: wait until it is done."
                    ) from error
                time.sleep(0.02)  # a look of `is_being_written` is over sooner
            else:
                break
        yield


def clear(folder: Path) -> None:
    """Remove what is in the folder, but for its lock."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def place(source: Path, target: Path, *, link: bool = True) -> bool:
    """Put a file at `target`, and say whether it shares its bytes with `source`.

    It does where the file system can and `link` is true, which is only right for files that are never
    written in place; otherwise it is a copy.
    """
    if link and not source.is_symlink():
        try:
            os.link(source, target)
        except FileNotFoundError:
            raise
        except OSError:  # another file system, or one without links, or too many of them
            shutil.copy2(source, target)
        else:
            return True
    else:
        shutil.copy2(source, target)
    return False


def digest(path: Path) -> str:
    """Return the SHA-256 of the file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def reads_as(path: Path, sha256: str) -> bool:
    """Whether the file is there, can be read, and has these bytes."""
    try:
        return digest(path) == sha256
    except OSError:
        return False


def size_of(path: Path) -> int | None:
    """Return the file's size in bytes; None where there is no such file."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
