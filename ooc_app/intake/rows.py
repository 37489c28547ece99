"""Read a file row by row: JSON lines, a JSON list, CSV. Memory holds a row, never the file.

A row comes as (number, value, share of the file read so far). The number is that of its line, from
1; of a CSV row that spans several, the last one; in a JSON list it is the place of the entry. A row
that cannot be read comes as the BadCaseError that says why, and the ones after it still come.
"""

import csv
import io
import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, TextIO

import orjson

from ooc_app.intake.entries import BadCaseError, ImportFileError
from ooc_app.intake.json_values import Scanner

LINE_MAX: Final = 10_000_000  # bytes of one row; a longer one is a damaged file
LINE_START: Final = 100_000  # bytes looked at to tell JSON lines from other JSON
DELIMITERS: Final = (",", ";", "\t")
UTF_8_MARK: Final = b"\xef\xbb\xbf"
UTF_16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")

Row = tuple[int, Any, float]


def existing_file(path: Path) -> Path:
    """Return `path`; raises ImportFileError where it is no file, or an empty one."""
    if path.is_dir():
        raise ImportFileError(f"{path} is a folder: give the path of the data set's file in it.")
    if not path.is_file():
        raise ImportFileError(f"There is no file {path}: give the path of the data set's file.")
    if not path.stat().st_size:
        raise ImportFileError(f"{path} is empty: give the path of the data set's file.")
    return path


def json_rows(path: Path, key: str | None = None) -> Iterator[Row]:
    """Read what a JSON file has: objects line by line, or the entries of its one list.

    With `key`, the list may also stand under that key of the file's one object.
    """
    with existing_file(path).open("rb") as file:
        size = path.stat().st_size
        first = first_byte(file, path)
        scanner = Scanner(file, LINE_MAX)
        start = file.tell()
        if (first == b"[" and scanner.enter(None)) or (first == b"{" and key and scanner.enter(key)):
            yield from list_rows(scanner, size)
            return
        file.seek(start)
        if key is not None and not isinstance(json_value(file.readline(LINE_START), "the line"), dict):
            raise ImportFileError(f"{path} has no list `{key}`: it is no file of this format.")
        file.seek(start)
        yield from line_rows(file, size)


def line_rows(file: BinaryIO, size: int) -> Iterator[Row]:
    """Read JSON lines from where the file stands; blank ones are passed over."""
    number, position = 0, 0
    while line := file.readline(LINE_MAX):
        number += 1
        position += len(line)
        if len(line) == LINE_MAX and not line.endswith(b"\n"):
            while rest := file.readline(LINE_MAX):
                position += len(rest)
                if rest.endswith(b"\n"):
                    break
            yield number, BadCaseError(f"the line has more than {LINE_MAX:,} bytes"), position / size
        elif not line.isspace():
            yield number, json_value(line, "the line"), position / size


def list_rows(scanner: Scanner, size: int) -> Iterator[Row]:
    """Read the entries of the JSON list in which the scanner stands."""
    number = 0
    while (entry := scanner.entry()) is not None:
        number += 1
        yield number, json_value(entry, "the entry"), scanner.position / size
    if scanner.damage:
        yield number + 1, BadCaseError(scanner.damage), 1.0


def csv_rows(path: Path, wanted: Collection[str]) -> Iterator[Row]:
    """Read CSV whose header has the columns `wanted`; empty cells are left out.

    The delimiter is the comma, semicolon or tab with which the header has them. Raises
    ImportFileError for a header without them.
    """
    csv.field_size_limit(LINE_MAX)  # of the whole process; the default of 131,072 is short for evidence
    with existing_file(path).open("rb") as file:
        size = path.stat().st_size
        first_byte(file, path)
        # bytes that are no UTF-8 become surrogates, which are refused line by line
        lines = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
        skipped, columns, delimiter = header(lines, wanted, path)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        for number, cells in numbered(reader, skipped):
            yield number, csv_row(cells, columns), file.tell() / size


def numbered(reader: Any, skipped: int) -> Iterator[tuple[int, list[str] | BadCaseError]]:
    """Read the cells of each row with the number of its last line."""
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num + skipped, BadCaseError(f"it is not valid CSV ({error})")
            continue
        if cells:
            yield reader.line_num + skipped, cells


def csv_row(cells: list[str] | BadCaseError, columns: list[str]) -> dict[str, str] | BadCaseError:
    """Name the cells of a row by its columns."""
    if isinstance(cells, BadCaseError):
        return cells
    if len(cells) > len(columns):
        return BadCaseError("it has more cells than the header has columns")
    return {column: cell for column, cell in zip(columns, cells, strict=False) if cell}


def header(lines: TextIO, wanted: Collection[str], path: Path) -> tuple[int, list[str], str]:
    """Read the header: how many lines it takes, the columns, and the delimiter between them."""
    first = lines.readline(LINE_MAX)
    given = re.fullmatch('"?sep=([,;\t|])"?', first.rstrip("\r\n"))  # Excel's own way of naming the delimiter
    skipped = 1 + bool(given)
    line = lines.readline(LINE_MAX) if given else first
    readings = {
        delimiter: header_columns(line, delimiter) for delimiter in ((given[1],) if given else DELIMITERS)
    }
    delimiter = max(readings, key=lambda one: (len(set(wanted) & set(readings[one])), len(readings[one])))
    columns = readings[delimiter]
    missing = [column for column in wanted if column not in columns]
    if missing:
        raise ImportFileError(
            f"{path} has no column `{missing[0]}`: the first line of a CSV file must name its columns."
        )
    repeated = [column for column in columns if column and columns.count(column) > 1]
    if repeated:
        raise ImportFileError(f"{path} has two columns `{repeated[0][:80]}`: rename one of them.")
    return skipped, columns, delimiter


def header_columns(line: str, delimiter: str) -> list[str]:
    """Cut the header line at `delimiter`; nothing where that cannot be done."""
    try:
        return [column.strip() for column in next(csv.reader([line], delimiter=delimiter, strict=True), [])]
    except csv.Error:
        return []


def json_value(data: bytes | str, what: str) -> Any:
    """Parse JSON, or return the BadCaseError that says what is wrong with it.

    What orjson refuses is looked at again by Python's own parser: it takes NaN and bytes that are no
    UTF-8, so that only the field which has them is to blame, and it says where it fails.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        text = data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else data
    try:
        return json.loads(text)
    except RecursionError:
        return BadCaseError(f"{what} is nested too deeply")
    except json.JSONDecodeError as error:
        return BadCaseError(f"{what} is not valid JSON ({error.msg}, at character {error.pos + 1})")
    except ValueError:
        return BadCaseError(f"{what} holds a number that is too long")


def first_byte(file: BinaryIO, path: Path) -> bytes:
    """Pass over a byte order mark; return the first byte that is not blank, without passing over that.

    Raises ImportFileError for UTF-16.
    """
    start = file.read(1 << 16)
    if start.startswith(UTF_16_MARKS):
        raise ImportFileError(f"{path} is UTF-16: save it as UTF-8.")
    mark = len(UTF_8_MARK) if start.startswith(UTF_8_MARK) else 0
    file.seek(mark)
    return start[mark:].lstrip()[:1]
