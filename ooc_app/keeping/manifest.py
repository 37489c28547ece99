"""What a backup holds: `manifest.json`, written last, so that its existence means the backup is whole."""

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ooc_app.keeping.whole import KeepingError, digest
from training.state import write_whole

MANIFEST = "manifest.json"
FORMAT = 1
VERSION = "0.1.0"  # of OOC Desk; a test holds it to the newest heading of the changelog


class BackupError(KeepingError):
    """A backup cannot be made, or the one given is not whole; says why and what to do."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """A file as it was kept."""

    size: int  # bytes
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "Stamp":
        """Read the file."""
        return cls(path.stat().st_size, digest(path))


@dataclass(frozen=True, slots=True)
class Pictures:
    """The original pictures kept, each under its SHA-256, and those the desk did not have whole itself."""

    count: int
    size: int  # bytes
    missing: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that a backup holds. `files` are by path in the backup: the database and all but pictures."""

    database: str  # the name of the database's file, one of `files`
    revision: str  # of the tables
    rows: dict[str, int]  # by table
    pictures: Pictures
    run_pictures: int  # the copies that runs were frozen with
    files: dict[str, Stamp] = field(repr=False)
    made_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    version: str = VERSION
    format: int = FORMAT

    @property
    def size(self) -> int:
        """Bytes kept, but for the copies of pictures in runs."""
        return self.pictures.size + sum(stamp.size for stamp in self.files.values())

    def write(self, folder: Path) -> None:
        """Put it into the backup."""
        write_whole(folder / MANIFEST, json.dumps(asdict(self), indent=1) + "\n")


def is_whole(folder: Path) -> bool:
    """Whether the folder is a backup that was made to its end; its files are not looked at."""
    return (folder / MANIFEST).is_file() and not folder.name.startswith(".")


def read_manifest(folder: Path) -> Manifest:
    """Read what a backup holds. Raises BackupError for a folder that is no whole backup."""
    try:
        said: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise BackupError(
            f"{folder} is no whole backup, because it has no {MANIFEST}: give the path of another one."
        ) from None
    except ValueError as error:
        raise BackupError(f"{folder / MANIFEST} is damaged ({error}): use another backup.") from error
    if said.get("format", 0) > FORMAT:
        raise BackupError(
            f"The backup {folder} was made by a newer version of OOC Desk ({said.get('version')}): "
            "update this one."
        )
    try:
        pictures = said.pop("pictures")
        missing, damaged = tuple(pictures.pop("missing")), tuple(pictures.pop("damaged"))
        stamps = {name: Stamp(**stamp) for name, stamp in said.pop("files").items()}
        return Manifest(**said, files=stamps, pictures=Pictures(**pictures, missing=missing, damaged=damaged))
    except (KeyError, TypeError, AttributeError) as error:
        raise BackupError(f"{folder / MANIFEST} is damaged ({error}): use another backup.") from error
