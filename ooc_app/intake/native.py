"""Import the desk's own format: JSON lines, or CSV with the same columns and nested ones as JSON.

    {"id", "image": "relative/path or null", "caption", "gold", "split", "group", "source", "url",
     "date", "place", "evidence": [{"kind", "title", "url", "date", "text"}],
     "opinions": [{"teacher", "verdict", "rationale", "confidence"}]}

Only `caption` is required. Verdicts are the desk's own words, so there is no polarity to mistake.
An `id` left out is made of the content without the opinions, so that a changed opinion is a new
version of the same case. Other keys are left alone.
"""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO, TypeVar

from db.cases import NewCase, NewEvidence, NewOpinion
from db.vocabulary import Answer, EvidenceKind, Split, Verdict
from ooc_app.desk import Desk
from ooc_app.intake.importing import (
    BadLine,
    Found,
    ImportFileError,
    ImportReport,
    Progress,
    existing_file,
    existing_folder,
    import_cases,
    read_share,
)

LINE_MAX = 10_000_000  # characters of one case; a longer line is a damaged file
CONTENT = ("caption", "image", "source", "url", "date", "place")  # what a made-up id is made of

Word = TypeVar("Word", bound=StrEnum)
T = TypeVar("T")


class BadCaseError(ValueError):
    """Raised for a line that holds no case; the message says why, as half a sentence."""


def import_native(
    desk: Desk,
    path: Path,
    images_dir: Path | None = None,
    split: Split | None = None,
    name: str | None = None,
    progress: Progress | None = None,
) -> ImportReport:
    """Import a file whose image paths start from `images_dir`, by default the file's own folder.

    `split` is for cases that name none, by default `train`; `name` of the data set is by default the
    file's. Raises ImportFileError for a file that is not of this format at all.
    """
    existing_file(path)
    images_dir = existing_folder(images_dir) if images_dir is not None else path.parent
    found = read_native(path, split or Split.TRAIN)
    return import_cases(desk, name or path.stem, found, images_dir, progress)


def read_native(path: Path, split: Split = Split.TRAIN) -> Iterator[Found | BadLine]:
    """Read the cases of a file, as CSV where its name ends so, else as JSON lines."""
    rows = csv_rows if path.suffix.lower() == ".csv" else json_rows
    with path.open("rb") as file:
        if file.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise ImportFileError(f"{path} is UTF-16: save it as UTF-8.")
        # bytes that are no UTF-8 become surrogates, which `text` refuses line by line
        lines = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
        size = path.stat().st_size
        for line, row in rows(lines):
            share = read_share(file.tell(), size)
            try:
                yield found_case(line, row, split, share)
            except BadCaseError as error:
                yield BadLine(line, str(error), share)


def json_rows(file: TextIO) -> Iterator[tuple[int, object]]:
    """Read JSON lines, numbered from 1; a line that is no JSON comes as the error that says so."""
    number = 0
    while line := file.readline(LINE_MAX):
        number += 1
        if len(line) == LINE_MAX and not line.endswith("\n"):
            while (rest := file.readline(LINE_MAX)) and not rest.endswith("\n"):
                pass
            yield number, BadCaseError(f"the line has more than {LINE_MAX:,} characters")
        elif line.strip():
            yield number, json_value(line, "the line")


def csv_rows(file: TextIO) -> Iterator[tuple[int, object]]:
    """Read CSV with a header; empty cells are left out, `evidence` and `opinions` read as JSON."""
    csv.field_size_limit(LINE_MAX)  # of the whole process; the default of 131,072 is short for evidence
    reader = csv.DictReader(file, strict=True)
    try:
        columns = reader.fieldnames or []
    except csv.Error as error:
        raise ImportFileError(
            f"The header of the CSV file cannot be read ({error}): save it anew."
        ) from error
    if "caption" not in columns:
        raise ImportFileError("The CSV file has no column `caption`: its first line must name the columns.")
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.reader.line_num, BadCaseError(f"it is not valid CSV ({error})")
            continue
        yield reader.line_num, csv_case(row)


def csv_case(row: dict[str | Any, Any]) -> object:
    """Turn one CSV row into what a JSON line would hold."""
    if None in row:
        return BadCaseError("it has more cells than the header has columns")
    case: dict[str, object] = {key: value for key, value in row.items() if value}
    for key in ("evidence", "opinions"):
        if key in case:
            case[key] = json_value(row[key], f"`{key}`")
            if isinstance(case[key], BadCaseError):
                return case[key]
    return case


def json_value(text_: str, what: str) -> object:
    """Parse JSON, or return the BadCaseError that says what is wrong with it."""
    try:
        return json.loads(text_)
    except RecursionError:
        return BadCaseError(f"{what} is nested too deeply")
    except json.JSONDecodeError as error:
        return BadCaseError(f"{what} is not valid JSON ({error.msg}, at character {error.pos + 1})")
    except ValueError:
        return BadCaseError(f"{what} holds a number that is too long")


def found_case(line: int, row: object, split: Split, share_read: float = 0.0) -> Found:
    """Check one row; raises BadCaseError with the first thing that is wrong."""
    if isinstance(row, BadCaseError):
        raise row
    if not isinstance(row, dict):
        raise BadCaseError("the line is not a JSON object")
    caption = text(row, "caption")
    if caption is None:
        raise BadCaseError("`caption` is missing or empty")
    case = NewCase(
        external_id=text(row, "id") or content_id(row),
        caption=caption,
        gold=word(row, "gold", Verdict),
        split=word(row, "split", Split) or split,
        group=text(row, "group"),
        source=text(row, "source"),
        url=text(row, "url"),
        date=text(row, "date"),
        place=text(row, "place"),
        evidence=several(row, "evidence", evidence),
        opinions=several(row, "opinions", opinion),
    )
    teachers = [said.teacher for said in case.opinions]
    if len(set(teachers)) < len(teachers):
        raise BadCaseError("one teacher has two opinions on it")
    return Found(line, case, text(row, "image"), share_read)


def content_id(row: dict[str, Any]) -> str:
    """Make an id that stays the same while the content does."""
    content = json.dumps([text(row, key) for key in CONTENT])
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def evidence(row: dict[str, Any]) -> NewEvidence:
    """Check one piece of evidence."""
    kind = word(row, "kind", EvidenceKind)
    if kind is None:
        raise BadCaseError("a piece of evidence has no `kind`")
    return NewEvidence(kind, text(row, "title"), text(row, "url"), text(row, "date"), text(row, "text"))


def opinion(row: dict[str, Any]) -> NewOpinion:
    """Check one opinion."""
    teacher = text(row, "teacher")
    if teacher is None:
        raise BadCaseError("an opinion has no `teacher`")
    verdict = word(row, "verdict", Answer)
    if verdict is None:
        raise BadCaseError(f"the opinion of {teacher[:80]!r} has no `verdict`")
    confidence = row.get("confidence")
    if confidence is not None and (
        isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 <= confidence <= 1
    ):
        raise BadCaseError(f"`confidence` is {str(confidence)[:80]!r}, not a number from 0 to 1")
    return NewOpinion(teacher, verdict, text(row, "rationale") or "", confidence)


def several(row: dict[str, Any], key: str, one: Callable[[dict[str, Any]], T]) -> tuple[T, ...]:
    """Check a list of objects, which may be missing."""
    values = row.get(key)
    if values is None:
        return ()
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise BadCaseError(f"`{key}` is not a list of objects")
    return tuple(one(value) for value in values)


def text(row: dict[str, Any], key: str) -> str | None:
    """Read a text without the blanks around it, None where it is missing or empty; numbers are texts too."""
    value = row.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadCaseError(f"`{key}` is not a text")
    found = str(value).strip()
    if "\0" in found:
        raise BadCaseError(f"`{key}` has a NUL character in it")
    if not found.isascii() and any("\ud800" <= character <= "\udfff" for character in found):
        raise BadCaseError(f"`{key}` is not valid UTF-8")
    return found or None


def word(row: dict[str, Any], key: str, words: type[Word]) -> Word | None:
    """Read one of the desk's words, None where it is missing."""
    value = text(row, key)
    if value is None:
        return None
    try:
        return words(value)
    except ValueError:
        allowed = ", ".join(words)
        raise BadCaseError(f"`{key}` is {value[:80]!r}, not one of {allowed}") from None
