"""Where an export's pictures are: in the data folder, or copied into a folder that goes along with it.

Files are named by the SHA-256 of the original bytes, never by anything a data set said. They are
copies and not links, because the desk's own bytes must not change with an export's.
"""

import os
import shutil
import tempfile
from pathlib import Path

from ooc_app.intake.images import ImageRefusedError, UnknownImageError, shown_copy, stored_path


class Pictures:
    """Finds pictures by their SHA-256, and puts copies into `taken_to` where that is given."""

    def __init__(self, images_dir: Path, taken_to: Path | None = None) -> None:
        self._images_dir = images_dir
        self._taken_to = taken_to
        self.missing = 0  # pictures asked for that the data folder does not have, or not whole

    @property
    def originals_dir(self) -> Path:
        """The folder that names of originals start from."""
        return self._taken_to or self._images_dir

    @property
    def shown_dir(self) -> Path:
        """The folder that names of shown copies start from."""
        return self._taken_to or self._images_dir / "shown"

    def original(self, sha256: str | None) -> str | None:
        """Name the original bytes; they are only looked for where they are to be copied."""
        if sha256 is None:
            return None
        name = f"{sha256[:2]}/{sha256[2:]}"
        if self._taken_to is not None:
            self._take(stored_path(sha256, self._images_dir), self._taken_to / name)
        return name

    def original_bytes(self, sha256: str | None) -> bytes | None:
        """Read the original bytes; None where there is no picture."""
        if sha256 is None:
            return None
        try:
            return stored_path(sha256, self._images_dir).read_bytes()
        except FileNotFoundError:
            self.missing += 1
            return None

    def shown(self, sha256: str | None) -> str | None:
        """Name the shown copy: upright, sRGB, JPEG; None where there is no picture."""
        if sha256 is None:
            return None
        try:
            path = shown_copy(sha256, self._images_dir)
        except (UnknownImageError, ImageRefusedError):
            self.missing += 1
            return None
        name = f"{sha256[:2]}/{sha256[2:]}.jpg"
        if self._taken_to is not None:
            self._take(path, self._taken_to / name)
        return name

    def _take(self, source: Path, target: Path) -> None:
        """Copy a picture that is not there yet; the copy is there whole or not at all."""
        try:
            if target.exists() and target.stat().st_size == source.stat().st_size:
                return
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".", delete=False) as file:
                copy = Path(file.name)
            try:
                shutil.copyfile(source, copy)
                os.replace(copy, target)
            finally:
                copy.unlink(missing_ok=True)
        except FileNotFoundError:
            self.missing += 1
