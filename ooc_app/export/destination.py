"""A file or folder that replaces what was at its path whole, or not at all.

`replacing(path)` gives a hidden path beside it to write to, and renames that to `path` at the end. An
exception removes what was written; a kill leaves it under its hidden name, where the next export to
the same path takes it over, and what was at `path` is as it was. The writer holds a lock on what it
writes that the system lets go of however the process ends, so two never write the same.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

MARK: Final = "croissant.json"  # what an exported folder has in it, and hardly any other


class ExportError(ValueError):
    """The export cannot be made as asked; says why and what to do."""


@contextmanager
def replacing(path: Path, *, folder: bool = False, overwrite: bool = False) -> Iterator[Path]:
    """Give what to write; it becomes `path`, with everything on disk, when the block ends well.

    Raises ExportError where something is there that must not be replaced, by default anything, or
    where another export is being written to the same path.
    """
    path = path.absolute()
    partial, former = (path.with_name(f".{path.name}.{part}") for part in ("partial", "former"))
    if folder and former.exists() and not path.exists():
        former.rename(path)  # a kill fell between the two renames of `_swap`
    refuse(path, folder=folder, overwrite=overwrite)
    with _locked(partial, folder=folder):
        try:
            yield partial
            refuse(path, folder=folder, overwrite=overwrite)  # an export may take hours
            for written in [partial, *partial.rglob("*")] if folder else [partial]:
                _sync(written)
            if folder and path.exists():
                _swap(partial, path, former)
            else:
                os.replace(partial, path)
        except BaseException:
            if folder:
                shutil.rmtree(partial, ignore_errors=True)
            else:
                partial.unlink(missing_ok=True)
            raise


def refuse(path: Path, *, folder: bool = False, overwrite: bool = False) -> None:
    """Raise ExportError where `path` has no folder around it, or must not be replaced."""
    if not path.parent.is_dir():
        raise ExportError(f"There is no folder {path.parent}: make it, or give another path.")
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise ExportError(f"{path} is there already: give another path, or --overwrite to replace it.")
    if path.is_dir() != folder:
        kind = ("a file", "a folder") if folder else ("a folder", "a file")
        raise ExportError(f"{path} is {kind[0]} and the export {kind[1]}: give another path.")
    if folder and any(path.iterdir()) and not (path / MARK).is_file():
        raise ExportError(f"{path} is no earlier export, so it is not replaced: give another path.")


@contextmanager
def _locked(partial: Path, *, folder: bool) -> Iterator[None]:
    """Make the partial file or folder, empty, and keep others from it."""
    try:
        if folder:
            partial.mkdir(exist_ok=True)
        flags = os.O_RDONLY if folder else os.O_RDWR | os.O_CREAT
        descriptor = os.open(partial, flags | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise ExportError(f"{partial.parent} cannot be written to ({error.strerror}).") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = os.path.samestat(os.fstat(descriptor), partial.stat())  # not renamed meanwhile
        except (BlockingIOError, FileNotFoundError):
            is_ours = False
        if not is_ours:
            raise ExportError(f"Another export is being written to {partial.parent}: wait until it is done.")
        if folder:
            for left in partial.iterdir():
                shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        else:
            os.ftruncate(descriptor, 0)
        yield
    finally:
        os.close(descriptor)


def _swap(partial: Path, path: Path, former: Path) -> None:
    shutil.rmtree(former, ignore_errors=True)
    path.rename(former)
    partial.rename(path)
    shutil.rmtree(former, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
