"""Bring the cases of a data set's file onto the desk: what every importer has in common.

An importer (`native.py` and its like) reads its format and yields, line by line, a Found case or a
BadLine. Here the pictures go through the image door, and the cases into the database, 500 to a
transaction: kill it anywhere and every case is there whole or not at all, and importing again adds
what is missing. A picture that is not there is counted and its case kept; a picture the door
refuses, or a path that leads out of the folder, makes its line a bad one.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from sqlalchemy import select

from db import queue
from db.cases import Added, NewCase, NewImage, add_cases
from db.engine import write_session
from db.models import Image
from ooc_app.desk import Desk
from ooc_app.intake.images import ImageRefusedError, admit_file, stored_path

BATCH = 500  # cases per transaction
BAD_LINES_KEPT = 1_000  # the rest are only counted, so that a wrong file cannot fill the memory

Progress = Callable[[int, float], None]  # lines read so far, and the share of the file they are


class ImportFileError(ValueError):
    """Raised where a whole file or folder cannot be imported; nothing was."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that was left out, and why."""

    line: int  # from 1; the last one of a case that spans several
    reason: str
    share_read: float = 0.0


@dataclass(frozen=True, slots=True)
class Found:
    """A case as the file has it: its picture is still a path relative to the images folder."""

    line: int
    case: NewCase
    image: str | None
    share_read: float = 0.0


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did."""

    dataset: str
    cases: int = 0  # new ones
    opinions: int = 0  # new ones and new versions of old ones
    completed: int = 0  # were there, and got the picture or gold verdict they lacked
    unchanged: int = 0  # were there as they are
    differing: int = 0  # are there with another caption, picture or gold verdict; left as they were
    without_image: int = 0  # of all cases read
    bad: tuple[BadLine, ...] = ()  # the first `BAD_LINES_KEPT`
    bad_count: int = 0


class MissingImageError(LookupError):
    """Raised where a case's picture is not in the images folder."""


class BadImageError(ValueError):
    """Raised where a case's picture must not, or cannot, be taken."""


def import_cases(
    desk: Desk,
    dataset: str,
    found: Iterable[Found | BadLine],
    images_dir: Path,
    progress: Progress | None = None,
) -> ImportReport:
    """Add every good case under the name `dataset`, then queue what wants a person."""
    report = ImportReport(dataset)
    lines = iter(found)
    read = 0
    while batch := list(islice(lines, BATCH)):
        report = merged(report, *add_batch(desk, dataset, batch, images_dir))
        read += len(batch)
        if progress is not None:
            progress(read, batch[-1].share_read)
    with write_session(desk.sessions) as session:
        queue.fill(session)
    return report


def add_batch(
    desk: Desk, dataset: str, batch: list[Found | BadLine], images_dir: Path
) -> tuple[Added, int, list[BadLine]]:
    """Add one batch in one transaction; return what was added, how many lack a picture, the bad lines."""
    images = taken(
        desk, {entry.image for entry in batch if isinstance(entry, Found) and entry.image}, images_dir
    )
    cases, bad, without_image = [], [], 0
    for entry in batch:
        if isinstance(entry, BadLine):
            bad.append(entry)
            continue
        image = images[entry.image] if entry.image else None
        if isinstance(image, BadImageError):
            bad.append(BadLine(entry.line, str(image)))
            continue
        without_image += image is None
        cases.append(replace(entry.case, image=image))
    with write_session(desk.sessions) as session:
        return add_cases(session, dataset, cases), without_image, bad


def merged(report: ImportReport, added: Added, without_image: int, bad: list[BadLine]) -> ImportReport:
    """Add what one batch did to the report."""
    return ImportReport(
        report.dataset,
        report.cases + added.cases,
        report.opinions + added.opinions,
        report.completed + added.completed,
        report.unchanged + added.unchanged,
        report.differing + added.differing,
        report.without_image + without_image,
        (*report.bad, *bad[: BAD_LINES_KEPT - len(report.bad)]),
        report.bad_count + len(bad),
    )


def taken(desk: Desk, names: set[str], images_dir: Path) -> dict[str, NewImage | BadImageError | None]:
    """Take the pictures through the door, each name once; None for a picture that is not there.

    A picture the desk knows by its bytes is not decoded again.
    """
    images: dict[str, NewImage | BadImageError | None] = {}
    digests: dict[str, str] = {}
    for name in sorted(names):
        try:
            with picture_path(name, images_dir).open("rb") as file:
                digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
        except MissingImageError:
            images[name] = None
        except BadImageError as error:
            images[name] = error
        except OSError as error:
            images[name] = BadImageError(f"its picture {name[:80]!r} cannot be read ({error.strerror})")
    known = known_images(desk, set(digests.values()))
    for name, digest in digests.items():
        images[name] = known.get(digest) or admitted(name, images_dir, desk.images_dir)
    return images


def known_images(desk: Desk, digests: set[str]) -> dict[str, NewImage]:
    """Find the pictures that the database has and the data folder holds whole."""
    with desk.sessions() as session:
        rows = session.scalars(select(Image).where(Image.sha256.in_(sorted(digests)))).all()
    return {
        row.sha256: NewImage(row.sha256, row.format, row.width, row.height, row.byte_size)
        for row in rows
        if (path := stored_path(row.sha256, desk.images_dir)).exists()
        and path.stat().st_size == row.byte_size
    }


def admitted(name: str, images_dir: Path, store: Path) -> NewImage | BadImageError:
    """Take one picture through the door."""
    try:
        image = admit_file(picture_path(name, images_dir), store)
    except ImageRefusedError as error:
        return BadImageError(f"its picture {name[:80]!r} is refused: {error}")
    return NewImage(image.sha256, image.format, image.width, image.height, image.byte_size)


def picture_path(name: str, images_dir: Path) -> Path:
    """Find a picture below `images_dir`.

    Raises BadImageError for a name that leads out of the folder, by dots, root or symbolic link, or
    to what is no file, and MissingImageError where nothing is there.
    """
    try:
        root = images_dir.resolve()
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            raise BadImageError(f"its picture {name[:80]!r} lies outside the images folder")
        if path.is_file():
            return path
        if path.exists():
            raise BadImageError(f"its picture {name[:80]!r} is not a file")
    except OSError as error:
        raise BadImageError(f"its picture {name[:80]!r} cannot be found ({error.strerror})") from error
    raise MissingImageError(f"There is no picture {name[:80]!r}.")


def existing_file(path: Path) -> Path:
    """Return `path`; raises ImportFileError where it is no readable file."""
    if not path.is_file():
        raise ImportFileError(f"There is no file {path}: give the path of the data set's file.")
    return path


def existing_folder(path: Path) -> Path:
    """Return `path`; raises ImportFileError where it is no folder."""
    if not path.is_dir():
        raise ImportFileError(f"There is no folder {path}: give the one that the image paths start from.")
    return path


def read_share(position: int, size: int) -> float:
    """Say which share of a file has been read, 0 to 1."""
    return position / size if size else 1.0
