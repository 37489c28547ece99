"""Read a zip archive that anybody may have made.

Nothing is written to disk by an entry's name: names are keys. Nothing is believed of an entry's size: it
is read until the limit. The directory's own size is looked at before it is read, only stored and
deflated entries are opened (others give Python's reader more than it asks for), links and folders are
passed over, and an archive within the archive is a file like any other.
"""

import stat
import struct
import unicodedata
import zipfile
import zlib
from pathlib import Path
from typing import Final

from ooc_app.intake.entries import ImportFileError
from ooc_app.intake.pictures import BadImageError, MissingImageError

ENTRIES_MAX: Final = 25_000  # 10,000 pictures, each with a text beside it, and some more
DIRECTORY_MAX: Final = 8_000_000  # bytes of the list of entries: 25,000 with names of 200 letters
TOTAL_MAX: Final = 8_000_000_000  # bytes of all entries unpacked
END: Final = struct.Struct("<4s4H2LH")  # APPNOTE 4.3.16, "end of central directory record"
END_MARK: Final = b"PK\x05\x06"
ZIP64_MARK: Final = b"PK\x06\x07"
COMMENT_MAX: Final = 0xFFFF
ENCRYPTED: Final = 0x1  # of an entry's flags; the next one: its name is UTF-8
UTF_8_NAME: Final = 0x800
OTHER_NAMES: Final = ("utf-8", "cp1252", "gb18030", "cp932")
"""How a name may be meant that was not said to be UTF-8 and came as code page 437."""


class Archive:
    """The files of a zip archive by name, `names` in their order. Raises ImportFileError for what is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        _refuse_long_directory(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
            raise ImportFileError(f"{path.name} is no whole zip archive ({error}): pack it again.") from error
        try:
            found = [entry for entry in self._zip.infolist() if _is_file(entry)]
            _refuse_unusable(found, path.name)
        except ImportFileError:
            self._zip.close()
            raise
        self._entries = {entry.filename: entry for entry in found}
        self.names = list(self._entries)

    def other_names(self, name: str) -> list[str]:
        """Say what else an entry may be called: its name as other systems would have written it."""
        entry = self._entries[name]
        if entry.flag_bits & UTF_8_NAME or name.isascii():
            return []
        return [other for code in OTHER_NAMES if (other := _read_as(name, code)) is not None]

    def read(self, name: str, most: int) -> bytes:
        """Return the bytes of an entry. Raises BadImageError for more than `most` and for damage."""
        entry = self._entries.get(name)
        if entry is None:
            raise MissingImageError(f"There is no picture {name[:80]!r} in the archive.")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BadImageError(f"{name[:80]!r} is packed in a way the desk does not read: use plain zip")
        try:
            with self._zip.open(entry) as file:
                data = file.read(most + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, struct.error) as error:
            raise BadImageError(f"{name[:80]!r} is damaged in the archive ({error})") from error
        if len(data) > most:
            raise BadImageError(f"{name[:80]!r} has more than the {most // 1_000_000} MB a file may have")
        if len(data) != entry.file_size:
            raise BadImageError(f"{name[:80]!r} is damaged in the archive (it ends early)")
        return data

    def close(self) -> None:
        """Let go of the file."""
        self._zip.close()


def key(name: str) -> str:
    """Return what a file is found by, however its name was written: `.\\A\\b.JPG` and `a/b.jpg` alike."""
    parts = unicodedata.normalize("NFC", name.strip()).replace("\\", "/").casefold().split("/")
    return "/".join(part for part in parts if part not in ("", "."))


def _is_file(entry: zipfile.ZipInfo) -> bool:
    """Whether it is a file, and none of those that macOS adds."""
    kind = stat.S_IFMT(entry.external_attr >> 16)
    last = entry.filename.replace("\\", "/").rpartition("/")[2]
    is_extra = entry.filename.startswith("__MACOSX/") or last.startswith(".")
    return not entry.is_dir() and kind in (0, stat.S_IFREG) and not is_extra


def _refuse_long_directory(path: Path) -> None:
    """Refuse a list of entries too long to be read, as the file's end states it.

    It is looked for as Python's reader does: at the very end, else before a comment. Another list may be
    named by a ZIP64 record, which no archive within our limits needs.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - COMMENT_MAX - 2 * END.size))
        tail = file.read()
    at = len(tail) - END.size
    if tail[max(at, 0) :][:4] != END_MARK or not tail.endswith(b"\0\0"):
        at = tail.rfind(END_MARK)
    if at < 0 or len(tail) - at < END.size:
        raise ImportFileError(f"{path.name} is no whole zip archive: pack it again.")
    _, _, _, _, entries, directory, _, _ = END.unpack(tail[at : at + END.size])
    if tail[max(0, at - 20) : at].startswith(ZIP64_MARK):
        entries = ENTRIES_MAX + 1
    if entries > ENTRIES_MAX or directory > DIRECTORY_MAX:
        raise ImportFileError(
            f"{path.name} has more than {ENTRIES_MAX:,} files, or 4 GB: divide it into smaller archives."
        )


def _refuse_unusable(entries: list[zipfile.ZipInfo], name: str) -> None:
    if len(entries) > ENTRIES_MAX:
        raise ImportFileError(f"{name} has more than {ENTRIES_MAX:,} files: divide it.")
    if any(entry.flag_bits & ENCRYPTED for entry in entries):
        raise ImportFileError(f"{name} is encrypted: pack it without a password.")
    if sum(entry.file_size for entry in entries) > TOTAL_MAX:
        raise ImportFileError(f"{name} unpacks to more than {TOTAL_MAX // 10**9} GB: divide it.")


def _read_as(name: str, code: str) -> str | None:
    try:
        return name.encode("cp437").decode(code)
    except UnicodeError:
        return None
