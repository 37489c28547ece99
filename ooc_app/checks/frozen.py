"""What batches were given as, kept as it came until they are done: `batches/TOKEN/` of the data folder.

A browser sends file by file into a folder that only its person may fill. A file lies there under its
number, its name in a text beside it, so no name is ever a path. Once the batch is begun nothing more is
taken; when it is done, or deleted, the folder goes. One that never became a batch goes after a day.
"""

import json
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from starlette.concurrency import run_in_threadpool

from db.models import Batch
from ooc_app.checks.rows import Uploaded
from ooc_app.desk import Desk
from ooc_app.intake.entries import ImportFileError

UPLOAD_MAX: Final = 2_000_000_000  # bytes of all files of a batch
FILES_MAX: Final = 2_000  # that come one by one; more go into a zip archive
NAME_MAX: Final = 200  # characters, the last ones, which say what it is
SECONDS_KEPT: Final = 24 * 3600  # of files whose batch was not begun
TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{16,40}")
OWNER: Final = "owner"
BEGUN: Final = "begun.json"


@dataclass(frozen=True, slots=True)
class Options:
    """How a batch was begun."""

    name: str
    verdicts_only: bool


def batches_dir(desk: Desk) -> Path:
    """The folder of all of them, made where it is missing."""
    folder = desk.data_dir / "batches"
    folder.mkdir(exist_ok=True)
    return folder


def new_folder(desk: Desk, annotator_id: int) -> str:
    """Make a folder for somebody's files and return its token; old folders of no batch go."""
    with desk.sessions() as session:
        batches = set(session.scalars(sa.select(Batch.token)))
    for old in batches_dir(desk).iterdir():
        is_old = old.is_dir() and time.time() - old.stat().st_mtime > SECONDS_KEPT
        if is_old and old.name not in batches:
            shutil.rmtree(old, ignore_errors=True)
    token = secrets.token_urlsafe(16)
    folder = batches_dir(desk) / token
    folder.mkdir()
    (folder / OWNER).write_text(str(annotator_id))
    return token


def own_folder(desk: Desk, token: str, annotator_id: int) -> Path:
    """Return the folder that somebody may still fill. Raises ImportFileError where they have none."""
    folder = batches_dir(desk) / token if TOKEN.fullmatch(token) else None
    if folder is None or not (folder / OWNER).is_file():
        raise ImportFileError("The files are not on the desk any more: choose them again.")
    if (folder / OWNER).read_text() != str(annotator_id) or (folder / BEGUN).exists():
        raise ImportFileError("These files are another batch's: choose yours again.")
    return folder


async def take(folder: Path, number: int, name: str, body: AsyncIterator[bytes]) -> None:
    """Write a file as it comes; one too many, or too large, raises ImportFileError and leaves nothing."""
    if not 0 < number <= FILES_MAX:
        raise ImportFileError(f"There are more than {FILES_MAX:,} files: pack them into a zip archive.")
    path = folder / f"{number:06}"
    room = UPLOAD_MAX - sum(one.stat().st_size for one in folder.iterdir())
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            async for piece in body:
                room -= len(piece)
                if room < 0:
                    raise ImportFileError(
                        f"The files have more than {UPLOAD_MAX // 10**9} GB: divide them, or check them on "
                        "the desk's machine with `python -m ooc_app check FOLDER`."
                    )
                await run_in_threadpool(file.write, piece)
        path.with_suffix(".name").write_bytes(name[-NAME_MAX:].encode("utf-8", "replace"))
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)


def begin(folder: Path, *, verdicts_only: bool) -> Options:
    """Close a folder: from here on it is a batch's. Raises ImportFileError for an empty one."""
    names = [name for name, _ in _files(folder)]
    if not names:
        raise ImportFileError("Choose files first: a zip archive, or a table with its pictures.")
    first = next((name for name in names if name.lower().endswith((".zip", ".csv", ".jsonl"))), names[0])
    options = Options(first, verdicts_only)
    (folder / BEGUN).write_text(json.dumps({"name": first, "verdicts_only": verdicts_only}))
    return options


def frozen(desk: Desk, token: str) -> tuple[Options, Uploaded] | None:
    """Open what a batch was given as; None where it is not kept here. Raises ImportFileError."""
    folder = batches_dir(desk) / token
    if not is_frozen(desk, token):
        return None
    said = json.loads((folder / BEGUN).read_text())
    return Options(said["name"], said["verdicts_only"]), Uploaded(_files(folder))


def is_frozen(desk: Desk, token: str) -> bool:
    """Whether what a batch was given as is kept here."""
    return bool(TOKEN.fullmatch(token)) and (batches_dir(desk) / token / BEGUN).is_file()


def move(desk: Desk, token: str, batch_token: str) -> None:
    """Let what was given be another batch's, the one that is asked again; it may have it already."""
    if token == batch_token:
        return
    if is_frozen(desk, batch_token):
        forget(desk, token)
    else:
        forget(desk, batch_token)
        (batches_dir(desk) / token).rename(batches_dir(desk) / batch_token)


def forget(desk: Desk, token: str) -> None:
    """Remove what a batch was given as."""
    if TOKEN.fullmatch(token):
        shutil.rmtree(batches_dir(desk) / token, ignore_errors=True)


def _files(folder: Path) -> list[tuple[str, Path]]:
    named = sorted(folder.glob("*.name"))
    return [
        (path.read_text(encoding="utf-8"), path.with_suffix(""))
        for path in named
        if path.with_suffix("").is_file()
    ]
