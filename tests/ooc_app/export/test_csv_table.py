import csv
from pathlib import Path

from datasets import load_dataset

from db.views import Selection, whole_cases
from ooc_app.desk import Desk, open_desk
from ooc_app.export.csv_table import COLUMNS
from ooc_app.export.exporting import export_cases
from ooc_app.intake.entries import Source
from ooc_app.intake.formats import import_file
from tests.ooc_app.export.test_native import known


def exported(desk: Desk, path: Path) -> list[dict[str, str]]:
    export_cases(desk, "csv", path)
    csv.field_size_limit(1_000_000)
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def test_no_cell_is_a_formula_to_any_spreadsheet(full_desk: Desk, tmp_path: Path) -> None:
    rows = exported(full_desk, tmp_path / "cases.csv")
    assert list(rows[0]) == list(COLUMNS)
    cells = [cell for row in rows for cell in row.values()]
    assert not any(cell.startswith(tuple("=+-@＝＋－＠\t\r\n")) for cell in cells)  # noqa: RUF001
    assert sum(cell.startswith("'=") for cell in cells) == 2


def test_an_empty_desk_that_imports_it_has_the_same_cases(full_desk: Desk, tmp_path: Path) -> None:
    export_cases(full_desk, "csv", tmp_path / "cases.csv", images_dir=tmp_path)
    with open_desk(tmp_path / "other") as other:
        report = import_file(other, "native", Source(tmp_path / "cases.csv"))
        assert (report.cases, report.bad) == (23, [])
        assert known(other) == known(full_desk)


def test_a_spreadsheet_sees_every_script(full_desk: Desk, tmp_path: Path) -> None:
    exported(full_desk, tmp_path / "cases.csv")
    assert (tmp_path / "cases.csv").read_bytes().startswith(b"\xef\xbb\xbf")


def test_datasets_reads_it(full_desk: Desk, tmp_path: Path, cache_dir: str) -> None:
    export_cases(full_desk, "csv", tmp_path / "cases.csv")
    rows = load_dataset("csv", data_files=str(tmp_path / "cases.csv"), split="train", cache_dir=cache_dir)
    with full_desk.sessions() as session:
        names = [case.view.external_id for case in whole_cases(session, Selection())]
    assert rows.column_names == list(COLUMNS)
    assert rows["id"] == names
