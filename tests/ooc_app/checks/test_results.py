import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime

from db.batches import RowShown
from db.models import Check
from db.vocabulary import Verdict
from ooc_app.checks.results import COLUMNS, csv_lines, json_lines, result

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANSWERED = RowShown(
    1,
    "=cmd|' /C calc'!A0",
    "@SUM(1) floods\nthe square",
    None,
    "Norvik",
    None,
    NOW,
    Check(
        token="abc",
        image_sha256="a" * 64,
        verdict=Verdict.OUT_OF_CONTEXT,
        probability=0.86,
        rationale='+The "tower"',
        student="one",
        url=None,
        cannot_tell=False,
        found={"warning": None, "words": "Leans out."},
    ),
)
REFUSED = RowShown(2, "b.png", "B.", None, None, "No picture.", NOW, None)


def table(*rows: RowShown) -> list[dict[str, str]]:
    text = b"".join(csv_lines(rows)).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def test_no_cell_is_a_formula_to_a_spreadsheet() -> None:
    raw = b"".join(csv_lines([ANSWERED])).decode("utf-8-sig")
    [row] = table(ANSWERED)
    assert all(not cell.startswith(("=", "+", "-", "@")) for cell in row.values())
    assert (row["image"], row["rationale"]) == ("'=cmd|' /C calc'!A0", '\'+The "tower"')
    assert row["caption"] == "'@SUM(1) floods\nthe square"
    assert raw.startswith('"number","image"')


def test_a_row_without_an_answer_says_why_and_has_no_verdict() -> None:
    [row] = table(REFUSED)
    assert (row["refused"], row["verdict"], row["report"]) == ("No picture.", "", "")
    assert list(result(REFUSED)) == list(result(ANSWERED)) == list(COLUMNS)


def test_what_cannot_be_told_is_written_as_no_verdict() -> None:
    check = ANSWERED.check
    assert check is not None
    check.cannot_tell = True
    said = result(replace(ANSWERED, check=check))
    check.cannot_tell = False
    assert (said["verdict"], said["leans"], said["probability"]) == ("unsure", "out_of_context", 0.86)


def test_json_lines_have_one_object_a_row_with_all_that_was_found() -> None:
    first, second = (json.loads(line) for line in json_lines([ANSWERED, REFUSED]))
    assert first["image"] == "=cmd|' /C calc'!A0"
    assert (first["report"], first["found"]["words"]) == ("/?check=abc", "Leans out.")
    assert (second["refused"], second["found"]) == ("No picture.", None)
