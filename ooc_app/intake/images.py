"""The only door for image bytes: from an upload, a folder or a data set into the data folder.

A picture is taken when it is one of eight formats by content, within the caps on bytes, pixels and
frames, and decodes in full; the decoding happens in another process (`worker.py`). Its name, or the
type a server gives it, decides nothing: where it says another format, that is noted. What is kept are
the original bytes, under their SHA-256: `ab/cdef...`. What the page shows is a copy made from them on
first use, upright, in sRGB, without metadata: `shown/ab/cdef....jpg`. Lists show a thumbnail, made once
from that copy: `thumbs/ab/cdef....jpg`.
"""

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ooc_app.intake.worker import Worker

BYTES_MAX = 40_000_000
EXAMINE = b"E"  # the commands of decode.py, which is not imported here: it loads Pillow
SHOW = b"S"
THUMB = b"T"
DECLARED = {
    "jpg": "JPEG", "jpeg": "JPEG", "jpe": "JPEG", "jfif": "JPEG", "pjpeg": "JPEG",
    "png": "PNG", "x-png": "PNG", "apng": "PNG", "webp": "WEBP", "gif": "GIF", "tif": "TIFF", "tiff": "TIFF",
    "bmp": "BMP", "dib": "BMP", "x-ms-bmp": "BMP", "avif": "AVIF", "avifs": "AVIF",
    "heic": "HEIF", "heif": "HEIF", "hif": "HEIF", "heics": "HEIF", "heifs": "HEIF",
}  # fmt: skip
"""The format that the end of a name, or a media type without `image/`, declares."""
WRITTEN = {"WEBP": "WebP", "HEIF": "HEIC"}

_worker = Worker()  # holds no process until the first picture


class ImageRefusedError(ValueError):
    """Raised for bytes the desk does not take; the message is one sentence for whoever gave them."""


class UnknownImageError(LookupError):
    """Raised for a SHA-256 under which the data folder has no picture."""


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A picture in the data folder."""

    sha256: str
    format: str
    width: int  # pixels, upright
    height: int
    byte_size: int
    frames: int = 1
    declared: str | None = None  # the format it was said to have, where something said one

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever gave the picture should know of it, one sentence each."""
        found = []
        if self.declared not in (None, self.format):
            declared, actual = (WRITTEN.get(name, name) for name in (self.declared, self.format))
            found.append(f"The picture is declared as {declared} and is {actual}: it is read as {actual}.")
        if self.frames > 1:
            which = "main" if self.format == "HEIF" else "first"
            found.append(f"The picture has {self.frames:,} frames: only the {which} one is shown and judged.")
        return tuple(found)


def admit(data: bytes, images_dir: Path, declared: str | None = None) -> StoredImage:
    """Check a picture and store its bytes; a picture already there is left as it is.

    `declared` is a file's name or a media type. Raises ImageRefusedError, with nothing stored.
    """
    if not data:
        raise ImageRefusedError("The file is empty: choose a picture file.")
    if len(data) > BYTES_MAX:
        raise ImageRefusedError(too_large(len(data)))
    answer, _ = asked(EXAMINE, data)
    sha256 = hashlib.sha256(data).hexdigest()
    path = stored_path(sha256, images_dir)
    if path.exists() and path.stat().st_size == len(data):
        path.touch()  # a picture of no case is cleared away only when nobody asked for it in an hour
    else:
        write_whole(path, data)
    size = answer["width"], answer["height"], len(data)
    return StoredImage(sha256, answer["format"], *size, answer["frames"], declared_format(declared))


def admit_file(path: Path, images_dir: Path) -> StoredImage:
    """Admit the picture in a file, whose size is looked at before it is read.

    Raises ImageRefusedError, and OSError for a file that cannot be read.
    """
    size = path.stat().st_size
    if size > BYTES_MAX:
        raise ImageRefusedError(too_large(size))
    return admit(path.read_bytes(), images_dir, path.name)


def declared_format(declared: str | None) -> str | None:
    """Return the format that a file's name or a media type stands for, None where it is none of ours."""
    if declared is None:
        return None
    word = declared.partition(";")[0].strip().lower()
    for mark in ("image/", "."):
        if mark in word:
            return DECLARED.get(word.rpartition(mark)[2])
    return None


def shown_copy(sha256: str, images_dir: Path) -> Path:
    """Return the copy that may be shown, at most 1,600 px long; it is made on first use.

    Raises UnknownImageError, and ImageRefusedError for bytes damaged since they were stored.
    """
    path = stored_path(sha256, images_dir)
    shown = images_dir / "shown" / sha256[:2] / f"{sha256[2:]}.jpg"
    if not shown.exists():
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise UnknownImageError(
                f"The picture {sha256[:12]} is not in the data folder: import it again."
            ) from None
        write_whole(shown, asked(SHOW, data)[1])
    return shown


def thumbnail(sha256: str, images_dir: Path) -> Path:
    """Return a copy at most 240 px long for lists; it is made on first use. Raises as `shown_copy` does."""
    stored_path(sha256, images_dir)
    thumb = images_dir / "thumbs" / sha256[:2] / f"{sha256[2:]}.jpg"
    if not thumb.exists():
        write_whole(thumb, asked(THUMB, shown_copy(sha256, images_dir).read_bytes())[1])
    return thumb


def stored_path(sha256: str, images_dir: Path) -> Path:
    """Where the original bytes are, or would be; raises UnknownImageError for what is no SHA-256."""
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise UnknownImageError(
            f"{sha256[:80]!r} is not the SHA-256 of a picture: give 64 hexadecimal digits."
        )
    return images_dir / sha256[:2] / sha256[2:]


def asked(command: bytes, data: bytes) -> tuple[dict[str, Any], bytes]:
    """Ask the worker; raises ImageRefusedError with its sentence."""
    answer, body = _worker.ask(command, data)
    if "refused" in answer:
        raise ImageRefusedError(answer["refused"])
    return answer, body


def too_large(size: int) -> str:
    """The sentence for a file of more than `BYTES_MAX`."""
    return (
        f"The file has {size / 1e6:,.1f} MB, more than the {BYTES_MAX // 1_000_000} MB a picture may have: "
        "save a smaller copy."
    )


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all, whenever the process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        try:
            file.write(data)
            file.close()
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
