import csv
import json
from pathlib import Path
from typing import Any

import pytest

from ooc_app.intake.entries import BadCaseError, ImportFileError
from ooc_app.intake.rows import csv_rows, json_rows, json_value


def written(folder: Path, data: bytes | str, name: str = "rows.json") -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def shown(rows: Any) -> list[tuple[int, Any]]:
    """The rows, with the reason for those that cannot be read."""
    return [(line, str(row) if isinstance(row, BadCaseError) else row) for line, row, _ in rows]


def test_a_folder_an_empty_file_and_none_at_all_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match="is a folder"):
        list(json_rows(tmp_path))
    with pytest.raises(ImportFileError, match="is empty"):
        list(json_rows(written(tmp_path, "")))
    with pytest.raises(ImportFileError, match="There is no file"):
        list(csv_rows(tmp_path / "nothing.csv", []))


def test_utf_16_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, '[{"a": 1}]'.encode("utf-16"))
    with pytest.raises(ImportFileError, match="UTF-16"):
        list(json_rows(path))
    with pytest.raises(ImportFileError, match="UTF-16"):
        list(csv_rows(path, ["a"]))


def test_a_file_without_the_list_it_should_have_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, '{"images":\n []}')
    with pytest.raises(ImportFileError, match="no list `annotations`"):
        list(json_rows(path, "annotations"))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{", "not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 5_000, "a number that is too long"),
        (b"\x00", "not valid JSON"),
    ],
)
def test_json_that_cannot_be_read_comes_as_the_reason(data: bytes, reason: str) -> None:
    value = json_value(data, "the line")
    assert isinstance(value, BadCaseError)
    assert reason in str(value)


def test_what_only_pythons_parser_takes_is_taken_so_that_its_field_is_to_blame() -> None:
    assert json_value(b'{"a": "caf\xe9", "b": 1}', "") == {"a": "caf\udce9", "b": 1}
    assert json_value(b'{"a": "\\ud800"}', "") == {"a": "\ud800"}
    assert json_value(b'{"a": Infinity}', "") == {"a": float("inf")}


def test_objects_come_from_lines_from_a_list_and_from_a_list_under_a_key(tmp_path: Path) -> None:
    values = [{"id": 1, "text": "á\n"}, {"id": 2}, {"id": 3}]
    numbered = list(enumerate(values, 1))
    lines = "\ufeff" + "\n".join(json.dumps(value) for value in values)
    assert shown(json_rows(written(tmp_path, lines))) == numbered
    assert shown(json_rows(written(tmp_path, lines), "entries")) == numbered
    for indent in (None, 1):
        listed = json.dumps(values, indent=indent)
        assert shown(json_rows(written(tmp_path, "\ufeff\n" + listed))) == numbered
        held = json.dumps({"about": {"entries": []}, "entries": values}, indent=indent)
        assert shown(json_rows(written(tmp_path, held), "entries")) == numbered


def test_a_bad_entry_is_numbered_and_the_ones_after_it_come(tmp_path: Path) -> None:
    path = written(tmp_path, b'[{"id": 1}, {"id": }, {"id": 3}, {"id": 4')
    rows = shown(json_rows(path))
    assert [line for line, _ in rows] == [1, 2, 3, 4]
    assert rows[0][1] == {"id": 1}
    assert "the entry is not valid JSON" in rows[1][1]
    assert rows[2][1] == {"id": 3}
    assert "does not end" in rows[3][1]


def test_the_share_read_grows_to_the_whole(tmp_path: Path) -> None:
    values = [{"id": number, "text": "x" * 5_000} for number in range(1_000)]
    for data in ("\n".join(map(json.dumps, values)), json.dumps(values)):
        shares = [share for _, _, share in json_rows(written(tmp_path, data))]
        assert shares == sorted(shares)
        assert shares[0] < 0.5
        assert 0.99 < shares[-1] <= 1


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_delimiter_is_the_one_that_the_header_has(delimiter: str, mark: str, tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(mark)
        rows = csv.writer(file, delimiter=delimiter)
        rows.writerow(["id", "caption", "note; a, b"])
        rows.writerow(["1", 'Commas, semicolons; tabs\t, "quotes"\nand lines', ""])
    assert shown(csv_rows(path, ["caption"])) == [
        (3, {"id": "1", "caption": 'Commas, semicolons; tabs\t, "quotes"\nand lines'})
    ]


def test_excels_own_line_that_names_the_delimiter_is_followed(tmp_path: Path) -> None:
    path = written(tmp_path, "sep=;\r\ncaption;id\r\nA, B;1\r\n", "cases.csv")
    assert shown(csv_rows(path, ["caption"])) == [(3, {"caption": "A, B", "id": "1"})]


def test_a_header_without_the_columns_wanted_or_with_one_twice_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match="no column `label`"):
        list(csv_rows(written(tmp_path, "caption,image\n"), ["caption", "label"]))
    with pytest.raises(ImportFileError, match="no column `caption`"):
        list(csv_rows(written(tmp_path, '"caption\nA\n'), ["caption"]))
    with pytest.raises(ImportFileError, match="two columns `label`"):
        list(csv_rows(written(tmp_path, "caption,label,label\n"), ["caption"]))


def test_cells_of_megabytes_are_read_and_longer_ones_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "é" * 500_000
    path = written(tmp_path, f"caption,id\n{long},1\n", "cases.csv")
    assert shown(csv_rows(path, ["caption"])) == [(2, {"caption": long, "id": "1"})]
    monkeypatch.setattr("ooc_app.intake.rows.LINE_MAX", 1_000)
    ((line, reason),) = shown(csv_rows(path, ["caption"]))
    assert line == 2
    assert "larger than field limit" in reason


def test_broken_bytes_nul_and_blank_lines_in_csv_cost_nothing_but_their_cells(tmp_path: Path) -> None:
    path = written(tmp_path, b"caption,id\ncaf\xe9,1\n\n\xd7\xa9\xd7\x9c,2\na\x00b,3\n", "cases.csv")
    assert shown(csv_rows(path, ["caption"])) == [
        (2, {"caption": "caf\udce9", "id": "1"}),
        (4, {"caption": "של", "id": "2"}),
        (5, {"caption": "a\0b", "id": "3"}),
    ]


def test_a_quotation_mark_that_is_never_closed_is_reported(tmp_path: Path) -> None:
    path = written(tmp_path, 'caption,id\nA,1\n"B,2\nC,3\n', "cases.csv")
    first, last = shown(csv_rows(path, ["caption"]))
    assert first == (2, {"caption": "A", "id": "1"})
    assert "not valid CSV" in last[1]
