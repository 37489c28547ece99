import json
from pathlib import Path

import pytest

from db.vocabulary import Split, Verdict
from ooc_app.intake.entries import BadLine, Found, ImportFileError, LeftOut, Source
from ooc_app.intake.formats import FORMATS, found_format, preview, rehearse_file
from ooc_app.intake.mapping import ALL_FIELDS


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_an_unknown_format_or_option_is_named_with_those_there_are() -> None:
    with pytest.raises(ImportFileError, match=r"no format 'docx': choose native, newsclippings"):
        found_format("docx", Source(Path("a")))
    with pytest.raises(ImportFileError, match="--map is no option of verite; it has miscaptioned"):
        found_format("verite", Source(Path("a"), options={"map": "a:b"}))
    with pytest.raises(
        ImportFileError, match="--miscaptioned is 'drop', not one of leave_out, out_of_context"
    ):
        found_format("verite", Source(Path("a"), options={"miscaptioned": "drop"}))


def test_a_preview_of_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match="no column `image_path`"):
        preview(written(tmp_path, "a.csv", "caption\nA\n"), "verite")
    with pytest.raises(ImportFileError, match="There is no file"):
        preview(tmp_path / "b.jsonl", "native")


@pytest.mark.parametrize("name", list(FORMATS))
def test_every_format_says_where_fields_come_from_and_states_its_polarity(name: str) -> None:
    chosen = FORMATS[name]
    assert {"id", "caption", "image", "gold", "split"} <= chosen.mapping.keys()
    assert chosen.mapping.keys() <= {*ALL_FIELDS, "data set"}
    assert "Polarity: " in (__import__(chosen.read.__module__, fromlist=["read"]).__doc__ or "")


def test_a_preview_shows_the_first_rows_as_they_would_be_imported(tmp_path: Path) -> None:
    rows = ["0,A,images/true_1.jpg,true", "1,B,images/true_1.jpg,miscaptioned", "2,C,images/true_2.jpg,odd"]
    path = written(tmp_path, "VERITE.csv", "\n".join([",caption,image_path,label", *rows, *rows]))
    shown = preview(path, "verite", rows=3)
    assert [type(row) for row in shown.rows] == [Found, LeftOut, BadLine]
    assert isinstance(shown.rows[0], Found)
    assert (shown.rows[0].case.caption, shown.rows[0].case.gold) == ("A", Verdict.IN_CONTEXT)
    assert "out-of-context = out_of_context" in shown.mapping["gold"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_preview_shows_the_mapping_that_was_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, "tasks.json", json.dumps([{"data": {"text": "A", "label": 1}}]))
    shown = preview(path, "label-studio", {"map": "caption:text,gold:label,1=out_of_context"})
    assert isinstance(shown.rows[0], Found)
    assert shown.rows[0].case.gold is Verdict.OUT_OF_CONTEXT
    assert shown.mapping["caption"] == "`text`"
    assert shown.mapping["gold"] == "`label`: 1 = out_of_context"


def test_a_rehearsal_reads_all_counts_all_and_writes_nothing(tmp_path: Path) -> None:
    said = [{"teacher": "T", "verdict": "unsure"}]
    lines: list[object] = [
        {"caption": "A", "gold": "in_context", "opinions": said, "image": "none.jpg"},
        {"caption": "B", "split": "test", "dataset": "other"},
        {"caption": "C", "image": "../out.jpg"},
        {},
    ]
    path = written(tmp_path, "cases.jsonl", "\n".join(json.dumps(line) for line in lines))
    report = rehearse_file("native", Source(path, Split.VALIDATION))
    assert (report.dataset, report.cases, report.opinions, report.without_image) == ("cases", 2, 1, 2)
    assert (dict(report.by_gold), dict(report.by_split)) == (
        {"in_context": 1, "none": 1},
        {"validation": 1, "test": 1},
    )
    assert dict(report.by_dataset) == {"cases": 1, "other": 1}
    assert [bad.line for bad in report.bad] == [3, 4]
    assert list(tmp_path.iterdir()) == [path]
