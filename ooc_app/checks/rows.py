"""Read the rows of a batch: pictures and the captions they are to be checked under.

They come as a folder, a zip archive, or files that were uploaded together: a table (CSV or JSON lines)
names a picture and its caption in each row, or, where there is no table, a text `name.txt` beside each
picture is its caption. A row that cannot be asked says why, and the others still are.
"""

import csv
import hashlib
import io
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any, Final, Protocol

import orjson

from db.batches import NewRow
from ooc_app.checks.archive import ENTRIES_MAX, Archive, key
from ooc_app.checks.question import CheckRefusedError, question
from ooc_app.intake.entries import BadCaseError, ImportFileError
from ooc_app.intake.fields import text
from ooc_app.intake.images import BYTES_MAX, DECLARED, too_large
from ooc_app.intake.pictures import BadImageError, MissingImageError, picture_path
from ooc_app.intake.rows import LINE_MAX, UTF_16_MARKS, csv_row, header, line_rows, numbered
from ooc_app.provenance.links import is_web_address

ROWS_MAX: Final = 10_000
TABLE_MAX: Final = 40_000_000  # bytes; 10,000 rows with captions of 2,000 letters of two bytes
CAPTION_FILE_MAX: Final = 100_000  # bytes of a text beside a picture
TABLES: Final = (".csv", ".tsv", ".jsonl", ".ndjson")
COLUMNS: Final = ("image", "caption", "date", "place", "url")
MEANT: Final = {
    "image": ("picture", "file", "filename", "file_name", "img", "path", "image_path", "photo", "images"),
    "caption": ("text", "title", "headline", "description", "claim", "captions", "legend"),
}
"""Names under which other programs write the columns that must be there."""
EXPECTED: Final = "A table has the columns image and caption, and may have date, place and url."


@dataclass(frozen=True, slots=True)
class Row:
    """One picture and the caption it was found under; `refused` is why it cannot be asked about."""

    number: int
    image: str = ""
    caption: str = ""
    date: str | None = None
    place: str | None = None
    url: str | None = None  # where the picture was found
    refused: str | None = None

    @property
    def kept(self) -> NewRow:
        """The row as the database keeps it."""
        return NewRow(self.number, self.image, self.caption, self.date, self.place, self.refused)

    @property
    def is_on_web(self) -> bool:
        """Whether its picture is to be fetched."""
        return is_web_address(self.image)


class Files(Protocol):
    """The files a batch was given as, found by name."""

    def tables(self) -> Sequence[str]:
        """Name those that may be the table."""

    def names(self) -> Sequence[str]:
        """Name all of them."""

    def read(self, name: str, most: int) -> bytes:
        """Return one's bytes. Raises MissingImageError, and BadImageError also for more than `most`."""

    def close(self) -> None:
        """Let go of them."""


class Folder:
    """The files below a folder; none outside it is read, links or not."""

    def __init__(self, root: Path, table: str | None = None) -> None:
        self.root = root
        self._table = table

    def tables(self) -> Sequence[str]:
        """Name the tables that stand in the folder itself."""
        if self._table is not None:
            return [self._table]
        return sorted(one.name for one in self.root.iterdir() if one.is_file() and _is_table(one.name))

    def names(self) -> Sequence[str]:
        """Name the files below the folder. Raises ImportFileError for very many."""
        found: list[str] = []
        for folder, _, names in os.walk(self.root):
            paths = (Path(folder, name) for name in sorted(names) if not name.startswith("."))
            found += [path.relative_to(self.root).as_posix() for path in paths if not path.is_symlink()]
            if len(found) > ENTRIES_MAX:
                raise ImportFileError(
                    f"{self.root} has more than {ENTRIES_MAX:,} files: divide it, or put a table into it."
                )
        return sorted(found)

    def read(self, name: str, most: int) -> bytes:
        """Return a file's bytes."""
        return _bytes_of(picture_path(name, self.root), most)

    def close(self) -> None:
        """Nothing is held open."""


class Uploaded:
    """Files by the names they were given, those in archives among them opened."""

    def __init__(self, files: Sequence[tuple[str, Path]]) -> None:
        self._loose = {name: path for name, path in files if not name.lower().endswith(".zip")}
        self._archives: list[Archive] = []
        try:
            for name, path in files:
                if name.lower().endswith(".zip"):
                    self._archives.append(Archive(path))
        except ImportFileError:
            self.close()
            raise
        self._places = self._all_places()

    def tables(self) -> Sequence[str]:
        """Name the tables that stand least deep."""
        found = [name for name in self.names() if _is_table(name)]
        least = min((key(name).count("/") for name in found), default=0)
        return [name for name in found if key(name).count("/") == least]

    def names(self) -> Sequence[str]:
        """Name all files."""
        return [*self._loose, *(name for archive in self._archives for name in archive.names)]

    def read(self, name: str, most: int) -> bytes:
        """Return a file's bytes; its folder may be left out where only one has that name."""
        for called in (name, key(name), PurePosixPath(key(name)).name):
            found = self._places.get(called, set())
            if len(found) > 1:
                raise BadImageError(f"there are several files called {name[:80]!r}: give the folder, too")
            for own_name, archive in found:
                return archive.read(own_name, most) if archive else _bytes_of(self._loose[own_name], most)
        raise MissingImageError(f"There is no picture {name[:80]!r} among the files.")

    def close(self) -> None:
        """Let go of the archives."""
        for archive in self._archives:
            archive.close()

    def _all_places(self) -> Mapping[str, set[tuple[str, Archive | None]]]:
        """What each file is found by: its name as given, however that is written, and without its folder."""
        found: defaultdict[str, set[tuple[str, Archive | None]]] = defaultdict(set)
        given: list[tuple[str, Archive | None]] = [(name, None) for name in self._loose]
        for held in self._archives:
            given += [(name, held) for name in held.names]
        for name, archive in given:
            others = archive.other_names(name) if archive else []
            keys = {key(one) for one in (name, *others)}
            for called in {name, *keys, *(PurePosixPath(one).name for one in keys)}:
                found[called].add((name, archive))
        return found


def opened(path: Path) -> Files:
    """Open what somebody named: a folder, a zip archive, or a table beside its pictures.

    Raises ImportFileError for what is none of them.
    """
    if path.is_dir():
        return Folder(path)
    if not path.is_file():
        raise ImportFileError(f"There is no file {path}: give a folder, a zip archive or a table.")
    if path.suffix.lower() == ".zip":
        return Uploaded([(path.name, path)])
    return Folder(path.parent, path.name)


def rows_of(files: Files, table: Path | None = None) -> list[Row]:
    """Read the rows, from a table of its own or the one among the files, else from texts beside pictures.

    Raises ImportFileError where no row can be asked about, with what to do.
    """
    if table is not None:
        rows = list(_table_rows(table.name, _whole(lambda: _bytes_of(table, TABLE_MAX), table.name)))
    elif named := files.tables():
        if len(named) > 1:
            raise ImportFileError(f"There are {len(named)} tables ({', '.join(named[:3])}): keep one.")
        rows = list(_table_rows(named[0], _whole(lambda: files.read(named[0], TABLE_MAX), named[0])))
    else:
        rows = list(_rows_beside(files))
    if not rows:
        raise ImportFileError(
            f"There is nothing to check. {EXPECTED} Without one, each picture needs its caption in a text "
            "of the same name."
        )
    if all(row.refused for row in rows):
        raise ImportFileError(f"Not one row can be asked about. Row {rows[0].number}: {rows[0].refused}")
    return rows


def digest(
    rows: Sequence[Row], files: Files, *, verdicts_only: bool, say: Callable[[int], None] | None = None
) -> str:
    """Hash all that is asked, the pictures' bytes among it, those on the web by their addresses."""
    whole = hashlib.sha256(b"verdicts" if verdicts_only else b"rationales")
    known: dict[str, bytes] = {}
    for row in rows:
        if say is not None:
            say(row.number)
        if row.image not in known and not row.refused and not row.is_on_web:
            known[row.image] = _picture_digest(row, files)
        facts = [row.number, row.image, row.caption, row.date, row.place, row.url, row.refused]
        whole.update(orjson.dumps(facts) + known.get(row.image, b""))
    return whole.hexdigest()


def _picture_digest(row: Row, files: Files) -> bytes:
    try:
        return hashlib.sha256(files.read(row.image, BYTES_MAX)).digest()
    except (BadImageError, MissingImageError) as error:
        return str(error).encode("utf-8", "replace")


def _table_rows(name: str, data: bytes) -> Iterator[Row]:
    """Read a table. Raises ImportFileError for one without the columns, or with too many rows."""
    words = _decoded(data, name)
    is_json = PurePosixPath(name.lower()).suffix in (".jsonl", ".ndjson")
    found = _json_values(words) if is_json else _csv_values(words, name)
    for number, (line, value) in enumerate(found, start=1):
        if number > ROWS_MAX:
            raise ImportFileError(f"{name} has more than {ROWS_MAX:,} rows: divide it.")
        yield _row(number, line, value)


def _csv_values(words: str, name: str) -> Iterator[tuple[int, Any]]:
    lines = io.StringIO(words, newline="")
    skipped, given, delimiter = header(lines, (), Path(name))
    columns = [column.strip().casefold() for column in given]
    _refuse_columns(columns, given, name)
    csv.field_size_limit(LINE_MAX)  # of the whole process, as the readers of data sets set it
    for line, cells in numbered(csv.reader(lines, delimiter=delimiter, strict=True), skipped):
        yield line, csv_row(cells, columns)


def _json_values(words: str) -> Iterator[tuple[int, Any]]:
    data = words.encode("utf-8", "surrogateescape")
    for line, value, _ in line_rows(io.BytesIO(data), max(len(data), 1)):
        if isinstance(value, dict):
            value = {str(name).strip().casefold(): one for name, one in value.items()}
        yield line, value


def _refuse_columns(columns: Sequence[str], given: Sequence[str], name: str) -> None:
    """Refuse a header without the columns that must be there, and name the one that may be meant."""
    for wanted, others in MEANT.items():
        if wanted in columns:
            continue
        near = [one for one in columns if one in others] or get_close_matches(wanted, columns, 1, 0.6)
        if near and near[0] not in COLUMNS:
            meant = _writable(given[columns.index(near[0])])
            raise ImportFileError(f"{name} has no column `{wanted}`: rename `{meant[:40]}` to it. {EXPECTED}")
        raise ImportFileError(f"{name} has no column `{wanted}` in its first line. {EXPECTED}")


def _row(number: int, line: int, value: Any) -> Row:
    """Make a row of what was read; one that cannot be asked about keeps what could be read of it."""
    if isinstance(value, BadCaseError):
        return Row(number, refused=f"Line {line}: {value}.")
    if not isinstance(value, dict):
        return Row(number, refused=f"Line {line} is no object: write one object with {EXPECTED[2:]}")
    try:
        image, caption, date, place, url = (text(value, column) for column in COLUMNS)
    except BadCaseError as error:
        return Row(number, refused=f"Line {line}: {error}.")
    row = Row(number, image or "", caption or "", date, place, url)
    return _asked(row, f"Line {line} names no image." if image is None else None)


def _asked(row: Row, refused: str | None = None) -> Row:
    """Hold a row against what a question may be."""
    if refused is None:
        try:
            question(row.image, row.caption, row.date or "", row.place or "", row.url or "")
        except CheckRefusedError as error:
            refused = str(error)
    if refused is None:
        return row
    return Row(row.number, row.image[:200], row.caption[:200], refused=refused)


def _rows_beside(files: Files) -> Iterator[Row]:
    """Make a row of each picture with a text of its name beside it. Raises ImportFileError for too many."""
    names = files.names()
    texts = {key(name)[: -len(".txt")]: name for name in names if key(name).endswith(".txt")}
    pictures = [name for name in names if PurePosixPath(key(name)).suffix[1:] in DECLARED]
    if not texts:
        return
    if len(pictures) > ROWS_MAX:
        raise ImportFileError(f"There are more than {ROWS_MAX:,} pictures: divide them.")
    for number, name in enumerate(pictures, start=1):
        beside = texts.get(re.sub(r"\.[^./]*$", "", key(name)))
        if beside is None or name != _writable(name):
            why = "There is no text of its name beside the picture." if beside is None else "Rename the file."
            yield Row(number, _writable(name)[:200], refused=why)
            continue
        try:
            caption = _decoded(files.read(beside, CAPTION_FILE_MAX), beside)
            yield _asked(Row(number, name, text({"caption": caption}, "caption") or ""))
        except (BadImageError, BadCaseError, MissingImageError, ImportFileError) as error:
            yield Row(number, name[:200], refused=f"The text beside the picture cannot be read: {error}")


def _decoded(data: bytes, name: str) -> str:
    """Decode a text: UTF-8, or UTF-16 with its mark; other bytes are kept, to be refused row by row."""
    if data.startswith(UTF_16_MARKS):
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError as error:
            raise ImportFileError(f"{name} is damaged UTF-16: save it as UTF-8.") from error
    return data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")


def _whole(read: Callable[[], bytes], name: str) -> bytes:
    """Read the table; what is wrong with it is wrong with the batch."""
    try:
        return read()
    except (BadImageError, MissingImageError) as error:
        raise ImportFileError(f"The table {name} cannot be read: {error}.") from error


def _bytes_of(path: Path, most: int) -> bytes:
    try:
        size = path.stat().st_size
        if size > most:
            raise BadImageError(too_large(size) if most == BYTES_MAX else f"it has {size / 1e6:,.0f} MB")
        return path.read_bytes()
    except OSError as error:
        raise BadImageError(f"{path.name[:80]!r} cannot be read ({error.strerror})") from error


def _writable(name: str) -> str:
    """Replace what no text may hold, of a name that is no UTF-8."""
    return name.encode("utf-8", "replace").decode()


def _is_table(name: str) -> bool:
    return PurePosixPath(key(name)).suffix in TABLES
