import csv
import json
from pathlib import Path

import pytest

from ooc_app.__main__ import main
from ooc_app.checks import many
from ooc_app.checks.frozen import batches_dir
from ooc_app.commands import checking
from ooc_app.desk import open_desk
from ooc_app.serving import CheckAnswer
from ooc_app.turns import held
from tests.ooc_app.checks.fixed import FixedServing
from tests.ooc_app.conftest import drawn_picture


class DeskServing(FixedServing):
    """Made of a desk, as the real one is."""

    def __init__(self, desk: object) -> None:
        super().__init__()

    def close(self) -> None:
        """Nothing is held."""


class Interrupted(DeskServing):
    """Somebody presses Ctrl-C at the third caption."""

    def check(
        self, image_path: Path, caption: str, date: str | None = None, place: str | None = None
    ) -> CheckAnswer:
        if caption == "Caption 3.":
            raise KeyboardInterrupt
        return super().check(image_path, caption, date, place)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder of four pictures with a table, one of them missing, before a fixed student."""
    monkeypatch.setattr(checking, "Serving", DeskServing)
    folder = tmp_path / "in"
    folder.mkdir()
    for number in (1, 2, 3):
        (folder / f"{number}.png").write_bytes(drawn_picture(number))
    lines = [f"{number}.png;Caption {number}." for number in range(1, 5)]
    (folder / "table.csv").write_text("\n".join(["Image;Caption", *lines]))
    return folder


def checked(folder: Path, *argv: str) -> int:
    return main(["check", str(folder), "--data", str(folder.parent / "data"), *argv])


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--to", "a.xlsx"], "neither .csv nor .jsonl"),
        (["--caption", "A."], "are for one picture"),
        (["--place", "Norvik"], "are for one picture"),
    ],
)
def test_wrong_use_of_a_folder_is_told_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], argv: list[str], said: str
) -> None:
    assert checked(folder, *argv) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "Give the caption"),
        (["--caption", " "], "The caption is empty"),
        (["--caption", "A" * 2001], "2,001 characters"),
        (["--caption", "A.", "--to", "a.csv"], "are for many pictures"),
        (["--caption", "A.", "--captions", "a.csv"], "are for many pictures"),
        (["--caption", "A.", "--verdicts-only"], "are for many pictures"),
    ],
)
def test_wrong_use_of_one_picture_is_told_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], argv: list[str], said: str
) -> None:
    assert checked(folder / "1.png", "--data", str(folder.parent / "data"), *argv) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_table_that_is_not_there_and_a_desk_that_is_busy_are_failures_and_no_wrong_use(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checked(folder, "--captions", "nowhere.csv") == 1
    assert "nowhere.csv" in capsys.readouterr().err
    with open_desk(folder.parent / "data") as desk, held(batches_dir(desk) / "lock", RuntimeError("held")):
        assert checked(folder) == 1
    assert capsys.readouterr().err == "Another batch of this desk goes on: wait until it is done.\n"


def test_a_folder_is_answered_into_a_table_and_asked_once(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    to = folder.parent / "out.csv"
    assert checked(folder, "--to", str(to)) == 0
    said = capsys.readouterr().out
    assert said.startswith("4 rows: 3 out of context, 0 can't tell, 0 in context, 1 refused.\n")
    with to.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["verdict"] for row in rows] == ["out_of_context"] * 3 + [""]
    assert rows[3]["refused"].startswith("There is no picture")
    monkeypatch.setattr(checking, "Serving", None)
    assert checked(folder, "--to", str(folder.parent / "out.jsonl")) == 0
    lines = (folder.parent / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["number"] for line in lines] == [1, 2, 3, 4]


def test_each_row_is_an_event_for_programs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(folder, "--json", "--verdicts-only") == 0
    first, *rows, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {"event": "batch", "rows": 4, "done": 0, "waiting": 4}
    assert sorted(row["number"] for row in rows) == [1, 2, 3, 4]
    assert (last["event"], last["out_of_context"], last["refused"]) == ("done", 3, 1)


def test_an_interrupted_command_goes_on_when_it_is_given_again(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many, "AT_ONCE", 1)
    monkeypatch.setattr(checking, "Serving", Interrupted)
    assert checked(folder) == 1
    assert "Stopped; the same command goes on with the 2 rows left." in capsys.readouterr().err
    monkeypatch.setattr(checking, "Serving", DeskServing)
    assert checked(folder, "--json") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(one["number"] for one in events if one["event"] == "row") == [3, 4]


def test_a_table_beside_its_pictures_is_a_batch_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(folder / "table.csv", "--data", str(folder.parent / "data")) == 0
    assert "3 out of context" in capsys.readouterr().out
