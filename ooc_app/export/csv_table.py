"""Write the columns of the native format as CSV, the nested ones as JSON, for spreadsheets too.

UTF-8 with a byte order mark, without which Excel takes it for the encoding of its country. Every cell
is quoted, and one that a spreadsheet would run is written as `intake/formula.py` says; the native
importer takes that back.
"""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from db.views import WholeCase
from ooc_app.export.manner import Manner
from ooc_app.export.native import native_case
from ooc_app.intake.formula import shown_as_text

COLUMNS: Final = (
    *("id", "image", "caption", "gold", "split", "group", "source", "url", "date", "place", "note"),
    *("dataset", "settled", "evidence", "opinions", "rulings"),
)


def write_csv(cases: Iterable[WholeCase], path: Path, manner: Manner) -> int:
    """Write one case a row, below a row of column names."""
    count = 0
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        rows = csv.writer(file, quoting=csv.QUOTE_ALL)
        rows.writerow(COLUMNS)
        for case in cases:
            rows.writerow(_cells(native_case(case, manner)))
            count += 1
    return count


def _cells(written: dict[str, Any]) -> Iterator[str]:
    for column in COLUMNS:
        value = written[column]
        if isinstance(value, list):
            value = orjson.dumps(value).decode() if value else ""
        yield shown_as_text(value or "")
