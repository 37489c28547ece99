"""Read the desk's own format: JSON lines, or CSV with the same columns and nested ones as JSON.

    {"id", "image": "relative/path or null", "caption", "gold", "split", "group", "source", "url",
     "date", "place", "note", "dataset", "evidence": [{"kind", "title", "url", "date", "text"}],
     "opinions": [{"teacher", "verdict", "rationale", "confidence", "elements": ["place", ...]}]}

Only `caption` is required. Polarity: verdicts are the desk's own words, so there is none to mistake.
An `id` left out is made of the content without the opinions, so that a changed opinion is a new
version of the same case. `dataset` is the name of the case's data set, unless the one who imports
gives one for all. Other keys are left alone. A cell of CSV that stands behind an apostrophe so that no
spreadsheet runs it is read without that.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from db.cases import NewCase
from db.vocabulary import Split, Verdict
from ooc_app.intake.entries import BadCaseError, Entry, Made, Source, entries
from ooc_app.intake.fields import evidence, opinions, required, text, word
from ooc_app.intake.formula import as_it_was
from ooc_app.intake.mapping import CASE_FIELDS, NESTED
from ooc_app.intake.rows import Row, csv_rows, json_rows, json_value

CONTENT = ("caption", "image", "source", "url", "date", "place")  # what a made-up id is made of
MAPPING = {
    **{name: f"`{name}`" for name in CASE_FIELDS},
    "id": "`id`, else made of the content",
    "gold": "`gold`, in the desk's own words",
    "split": "`split`, else the one asked for, else train",
    "data set": "`dataset`, unless one is given for all, else the file's name",
}


def read(source: Source) -> Iterator[Entry]:
    """Read the cases of a file, as CSV where its name ends so, else as JSON."""
    if source.path.suffix.lower() in (".csv", ".tsv"):
        rows: Iterable[Row] = map(nested, csv_rows(source.path, ["caption"]))
    else:
        rows = json_rows(source.path)
    split = source.split or Split.TRAIN
    if source.dataset is not None:
        return entries(rows, lambda row: [Made(native_case(row, split), text(row, "image"))])
    return entries(
        rows, lambda row: [Made(native_case(row, split), text(row, "image"), text(row, "dataset"))]
    )


def nested(row: Row) -> Row:
    """Turn a row of CSV into what a JSON line would hold."""
    line, value, share = row
    if isinstance(value, dict):
        value = {key: as_it_was(cell) for key, cell in value.items()}
        for key in NESTED:
            if key in value:
                value[key] = json_value(value[key], f"`{key}`")
                if isinstance(value[key], BadCaseError):
                    return line, value[key], share
    return line, value, share


def native_case(row: Mapping[str, Any], split: Split) -> NewCase:
    """Check one row, but for its picture; raises BadCaseError with the first thing that is wrong."""
    caption = required(row, "caption")
    return NewCase(
        external_id=text(row, "id") or content_id(row),
        caption=caption,
        gold=word(row, "gold", Verdict),
        split=word(row, "split", Split) or split,
        group=text(row, "group"),
        source=text(row, "source"),
        url=text(row, "url"),
        date=text(row, "date"),
        place=text(row, "place"),
        note=text(row, "note"),
        evidence=evidence(row),
        opinions=opinions(row),
    )


def content_id(row: Mapping[str, Any]) -> str:
    """Make an id that stays the same while the content does."""
    content = json.dumps([text(row, key) for key in CONTENT])
    return hashlib.sha256(content.encode()).hexdigest()[:32]
