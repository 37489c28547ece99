"""`python -m ooc_app export`."""

import json
from pathlib import Path

import pytest

from ooc_app import __main__
from ooc_app.commands import exporting
from ooc_app.desk import Desk
from ooc_app.export.destination import ExportError


@pytest.fixture(autouse=True)
def _commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(__main__, "GROUPS", (exporting,))
    monkeypatch.setattr(__main__, "EXPECTED", (*__main__.EXPECTED, ExportError))


def run(desk: Desk, *argv: str | Path) -> int:
    return __main__.main(["export", *map(str, argv), "--data", str(desk.data_dir)])


def test_wrong_use_is_status_2(full_desk: Desk, tmp_path: Path) -> None:
    for argv in (["native"], ["docx", tmp_path / "a"], ["native", tmp_path / "a", "--split", "dev"]):
        with pytest.raises(SystemExit) as ended:
            run(full_desk, *argv)
        assert ended.value.code == 2


def test_what_cannot_be_exported_gets_one_sentence_and_status_1(
    full_desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text("old")
    refused: list[tuple[list[str | Path], str]] = [
        (["native", path], "there already"),
        (["native", tmp_path / "nowhere" / "a"], "no folder"),
        (["native", tmp_path / "a", "--dataset", "none"], "no case"),
        (["sft", tmp_path / "a", "--split", "test"], "training cases only"),
    ]
    for argv, said in refused:
        assert run(full_desk, *argv) == 1
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["cases.jsonl"]


def test_an_export_says_what_it_wrote_and_where_the_pictures_are(
    full_desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cases.jsonl"
    assert run(full_desk, "native", path, "--settled", "--dataset", "first", "--split", "train") == 0
    said = capsys.readouterr().out
    assert f"{path}: 2 records of 2 cases." in said
    assert f"--images {full_desk.images_dir}" in said
    assert len(path.read_text().splitlines()) == 2


def test_json_reports_the_figures(
    full_desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "reviews.json"
    path.write_text("old")
    assert run(full_desk, "claimreview", path, "--json", "--overwrite", "--names") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["format"], report["cases"], report["records"]) == ("claimreview", 2, 2)
    assert (report["path"], report["missing_images"], report["pictures"]) == (str(path), 0, "")
    assert "maria" in path.read_text()
