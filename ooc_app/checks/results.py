"""Write a batch's answers: as CSV for spreadsheets, as JSON lines for programs.

In both, `verdict` is `unsure` where the student cannot tell, so that nobody counts a coin as an answer;
`leans` and `probability` say what it would have answered. CSV is UTF-8 with a byte order mark, every cell
quoted, and one that a spreadsheet would run is written as `intake/formula.py` says.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from db.batches import RowShown, all_rows
from db.models import Batch
from ooc_app.auth import now
from ooc_app.desk import Desk
from ooc_app.intake.formula import shown_as_text

COLUMNS: Final = (
    *("number", "image", "caption", "date", "place", "url", "verdict", "leans", "probability", "warning"),
    *("rationale", "student", "report", "refused"),
)
FORMATS: Final = (".csv", ".jsonl")


def result(row: RowShown) -> dict[str, Any]:
    """Return a row as plain values; what has no answer has None for all that an answer says."""
    given = {
        "number": row.number,
        "image": row.image,
        "caption": row.caption,
        "date": row.claimed_date,
        "place": row.claimed_place,
    }
    check = row.check
    if check is None:
        missing = dict.fromkeys(COLUMNS[len(given) : -1])
        return {**given, **missing, "refused": row.refused}
    return {
        **given,
        "url": check.url,
        "verdict": str(row.said),
        "leans": str(check.verdict),
        "probability": check.probability,
        "warning": check.found.get("warning"),
        "rationale": check.rationale or None,
        "student": check.student,
        "report": report_link(check.token),
        "refused": None,
    }


def report_link(token: str) -> str:
    """The permanent link of a check's report, below the desk's address."""
    return f"/?check={token}"


def csv_lines(rows: Iterable[RowShown]) -> Iterator[bytes]:
    """Yield a table, piece by piece, below a row of column names."""
    yield "\ufeff".encode() + _csv_line(COLUMNS)
    for row in rows:
        yield _csv_line([_cell(value) for value in result(row).values()])


def json_lines(rows: Iterable[RowShown]) -> Iterator[bytes]:
    """Yield one object a row, with all else that is known of its answer under `found`."""
    for row in rows:
        found = row.check.found if row.check is not None else None
        yield orjson.dumps({**result(row), "found": found}, option=orjson.OPT_APPEND_NEWLINE)


def written(desk: Desk, batch: Batch, suffix: str) -> Iterator[bytes]:
    """Yield what came of a batch in the format of a file's suffix, as it stands now."""
    write = csv_lines if suffix == ".csv" else json_lines
    with desk.sessions() as session:
        yield from write(all_rows(session, batch.id, now()))


def write_results(desk: Desk, batch: Batch, path: Path) -> None:
    """Write what came of a batch to a file, in the format of its suffix."""
    with path.open("wb") as file:
        file.writelines(written(desk, batch, path.suffix.lower()))


def _cell(value: Any) -> str:
    return "" if value is None else shown_as_text(str(value))


def _csv_line(cells: Iterable[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL).writerow(cells)
    return line.getvalue().encode()
