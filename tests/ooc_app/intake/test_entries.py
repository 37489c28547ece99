from pathlib import Path
from typing import Any

import pytest

from db.cases import NewCase
from db.vocabulary import Split
from ooc_app.intake.entries import (
    BadCaseError,
    BadLine,
    Found,
    ImportFileError,
    LeftOut,
    LeftOutError,
    Made,
    Source,
    entries,
    named_split,
    split_of,
)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.json", Split.TRAIN),
        ("MMFakeBench_val.json", Split.VALIDATION),
        ("test_data.json", Split.TEST),
        ("dev-00000-of-00001.parquet", Split.VALIDATION),
        ("VALID.jsonl", Split.VALIDATION),
        ("train_5k.json", Split.TRAIN),
        ("latest.json", None),
        ("training.json", None),
        ("train_and_test.json", None),
        ("", None),
    ],
)
def test_a_name_tells_a_split_only_as_a_word_of_its_own(name: str, split: Split | None) -> None:
    assert named_split(name) is split


def test_a_split_that_nobody_tells_is_asked_for() -> None:
    assert split_of(Source(Path("test.json"), Split.TRAIN)) is Split.TRAIN
    assert split_of(Source(Path("test.json"))) is Split.TEST
    with pytest.raises(ImportFileError, match="--split train, validation or test"):
        split_of(Source(Path("rows.json")))


def test_all_cases_of_a_row_come_or_none(tmp_path: Path) -> None:
    def make(row: dict[str, Any]) -> list[Made]:
        if "why" in row:
            raise LeftOutError(row["why"])
        if row.get("second") is None:
            raise BadCaseError("`second` is missing")
        return [Made(NewCase(f"{row['id']}-{number}", "A"), None) for number in (1, 2)]

    rows: list[tuple[int, Any, float]] = [
        (1, {"id": "a", "second": 1}, 0.1),
        (2, {"id": "b"}, 0.2),
        (3, BadCaseError("it is broken"), 0.3),
        (4, ["c"], 0.4),
        (5, {"why": "another question"}, 0.5),
    ]
    found = list(entries(rows, make))
    assert [(type(entry), entry.line) for entry in found] == [
        (Found, 1),
        (Found, 1),
        (BadLine, 2),
        (BadLine, 3),
        (BadLine, 4),
        (LeftOut, 5),
    ]
    reasons = [entry.reason for entry in found if not isinstance(entry, Found)]
    assert reasons == ["`second` is missing", "it is broken", "it is not a JSON object", "another question"]
