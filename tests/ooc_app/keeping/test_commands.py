"""`backup`, `restore` and `doctor` as a person calls them."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from ooc_app.__main__ import main
from ooc_app.commands import keeping
from ooc_app.desk import Desk
from tests.ooc_app.keeping.conftest import pictures


def test_a_backup_of_a_folder_that_is_not_there_makes_no_desk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backup", str(tmp_path / "backup"), "--data", str(tmp_path / "typo")]) == 1
    assert "There is no data folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_refusals_are_one_line_each(
    used_desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(used_desk.data_dir)]
    assert main(["backup", str(tmp_path), *data]) == 1
    assert main(["restore", str(tmp_path), "--data", str(tmp_path / "new")]) == 1
    assert main(["backup", str(tmp_path / "backup"), *data]) == 0
    assert main(["restore", str(tmp_path / "backup"), *data]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "Traceback" in line] == []
    assert [words in line for words, line in zip(
        ("nothing is overwritten", "no whole backup", "is not empty"), lines, strict=True
    )] == [True] * 3  # fmt: skip


def test_backup_restore_and_doctor_say_what_they_did(
    used_desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backup, new = str(tmp_path / "backup"), str(tmp_path / "new")
    assert main(["backup", backup, "--data", str(used_desk.data_dir)]) == 0
    assert main(["restore", backup, "--data", new]) == 0
    assert main(["doctor", "--data", new]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"Backed up to {backup}: 4 cases, 1 rulings, 4 pictures, ")
    assert said[1].startswith("It is on the desk's own disk")
    assert said[2].startswith(f"Restored to {new}: 4 cases, 1 rulings, 4 pictures, ")
    assert said[3:] == ["Nothing is wrong."]


def test_the_same_as_json_lines(used_desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backup, new = str(tmp_path / "backup"), str(tmp_path / "new")
    assert main(["backup", backup, "--data", str(used_desk.data_dir), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"copy database", "verify database", "copy pictures", "backup"} <= {
        line["event"] for line in lines
    }
    assert (lines[-1]["event"], lines[-1]["rows"]["rulings"], lines[-1]["pictures"]) == ("backup", 1, 4)
    assert main(["restore", backup, "--data", new, "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["event"] == "restore"


def test_a_picture_the_desk_lost_is_told_by_backup_and_doctor(
    used_desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures(used_desk)[0].unlink()
    data = ["--data", str(used_desk.data_dir)]
    assert main(["backup", str(tmp_path / "backup"), *data]) == 0
    assert "1 pictures that cases name were missing or damaged" in capsys.readouterr().err
    assert main(["doctor", *data]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("Wrong: 1 picture that cases name (")
    assert said[-1] == "1 wrong."
    assert main(["doctor", "--json", *data]) == 1
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["wrong"], [one["kind"] for one in told["findings"]]) == (1, ["pictures_missing"])


def test_doctor_repairs_when_asked(used_desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    (used_desk.data_dir / "backups" / ".cut off.partial").mkdir()
    data = ["--data", str(used_desk.data_dir)]
    assert main(["doctor", *data]) == 0
    assert main(["doctor", "--repair", *data]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "Untidy: 1 backup was cut off (cut off)."
    assert "  Repaired: Removed 1 leftover: .cut off.partial." in said
    assert not (used_desk.data_dir / "backups" / ".cut off.partial").exists()


@pytest.mark.parametrize("moment", ["copy database", "verify database", "copy pictures", "verify pictures"])
def test_ctrl_c_leaves_nothing_and_says_so(
    moment: str,
    used_desk: Desk,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backup = tmp_path / "backup"
    restores = moment == "verify pictures"
    if restores:
        assert main(["backup", str(backup), "--data", str(used_desk.data_dir)]) == 0
    before = sorted(tmp_path.iterdir())

    def press(what: str, figures: dict[str, Any]) -> None:
        if what == moment:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(keeping, "saying", lambda given, quiet: press)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a process that runs tests may ignore it
    data_dir = tmp_path / "new" if restores else used_desk.data_dir
    assert main(["restore" if restores else "backup", str(backup), "--data", str(data_dir)]) == 1
    said = "nothing was restored" if restores else "no backup was made"
    assert capsys.readouterr().err == f"Interrupted; {said}.\n"
    assert sorted(tmp_path.iterdir()) == before
