"""Find the pictures of a data set and take them through the image door.

A picture is a path below the images folder or, in data sets that hold their pictures themselves,
bytes. Paths come with leading `./`, with a folder named twice, or with the name of the images folder
in front; each reading of such a path stays within the folder.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from sqlalchemy import select

from db.cases import NewImage
from db.models import Image
from ooc_app.desk import Desk
from ooc_app.intake.entries import ImportFileError
from ooc_app.intake.images import ImageRefusedError, StoredImage, admit, admit_file, stored_path

Picture = str | bytes


class MissingImageError(LookupError):
    """Raised where a case's picture is not in the images folder."""


class BadImageError(ValueError):
    """Raised where a case's picture must not, or cannot, be taken."""


def taken(
    desk: Desk, pictures: Iterable[Picture], images_dir: Path
) -> Mapping[Picture, NewImage | BadImageError | None]:
    """Take the pictures through the door, each once; None for one that is not there.

    A picture the desk knows by its bytes is not decoded again.
    """
    images: dict[Picture, NewImage | BadImageError | None] = {}
    digests: dict[Picture, str] = {}
    for picture in pictures:
        try:
            digests[picture] = digest(picture, images_dir)
        except MissingImageError:
            images[picture] = None
        except BadImageError as error:
            images[picture] = error
    known = known_images(desk, set(digests.values()))
    for picture, sha256 in digests.items():
        image = known.get(sha256) or admitted(picture, images_dir, desk.images_dir)
        if isinstance(image, NewImage):
            known[sha256] = image
        images[picture] = image
    return images


def digest(picture: Picture, images_dir: Path) -> str:
    """Return the SHA-256 of a picture. Raises MissingImageError and BadImageError."""
    if isinstance(picture, bytes):
        return hashlib.sha256(picture).hexdigest()
    try:
        with picture_path(picture, images_dir).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadImageError(f"its picture {picture[:80]!r} cannot be read ({error.strerror})") from error


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


def admitted(picture: Picture, images_dir: Path, store: Path) -> NewImage | BadImageError:
    """Take one picture through the door."""
    named = "" if isinstance(picture, bytes) else f" {picture[:80]!r}"
    try:
        image = through_door(picture, images_dir, store)
    except ImageRefusedError as error:
        return BadImageError(f"its picture{named} is refused: {error}")
    except (MissingImageError, OSError):
        return BadImageError(f"its picture{named} was taken away while it was read")
    return NewImage(image.sha256, image.format, image.width, image.height, image.byte_size)


def through_door(picture: Picture, images_dir: Path, store: Path) -> StoredImage:
    """Admit one picture. Raises ImageRefusedError."""
    if isinstance(picture, bytes):
        return admit(picture, store)
    return admit_file(picture_path(picture, images_dir), store)


def picture_path(name: str, images_dir: Path) -> Path:
    """Find a picture below `images_dir`.

    Raises BadImageError for a name that leads out of the folder, by dots, root or symbolic link, or
    to what is no file, and MissingImageError where nothing is there.
    """
    root = images_dir.resolve()
    try:
        for reading in (name, *other_readings(name, root)):
            path = (root / reading).resolve()
            if not path.is_relative_to(root):
                raise BadImageError(f"its picture {name[:80]!r} lies outside the images folder")
            if path.is_file():
                return path
            if path.exists():
                raise BadImageError(f"its picture {name[:80]!r} is not a file")
    except BadImageError:
        raise
    except (OSError, ValueError) as error:  # a name too long, or one with NUL in it
        why = error.strerror if isinstance(error, OSError) else error
        raise BadImageError(f"its picture {name[:80]!r} cannot be found ({why})") from error
    raise MissingImageError(f"There is no picture {name[:80]!r}.")


def other_readings(name: str, root: Path) -> Iterator[str]:
    """Give the paths that `name` may stand for where it is none itself.

    `origin/a/b.jpg` below a folder `.../origin` may be its `a/b.jpg`, and `a/x/a/x/b.jpg` its `a/x/b.jpg`.
    """
    parts = PurePosixPath(name).parts
    for length in range(min(len(parts) - 1, len(root.parts)), 0, -1):
        if parts[:length] == root.parts[-length:]:
            yield "/".join(parts[length:])
    for length in range(len(parts) // 2, 0, -1):
        if parts[:length] == parts[length : 2 * length]:
            yield "/".join(parts[length:])


def local_path(name: str | None) -> str | None:
    """Return the path of a picture, None for one on another server: nothing is fetched."""
    return None if name is None or re.match(r"[a-z][a-z0-9+.-]*://|data:", name, re.IGNORECASE) else name


def existing_folder(path: Path) -> Path:
    """Return `path`; raises ImportFileError where it is no folder."""
    if not path.is_dir():
        raise ImportFileError(f"There is no folder {path}: give the one that the image paths start from.")
    return path
