"""The command line: what it prints, and one clear sentence for what cannot be."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from ooc_app.__main__ import main
from training.config import PROJECT_DIR


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.delenv("OOC_STUDENT", raising=False)
    return ["--data", str(tmp_path / "data")]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.new("RGB", (60, 40), "teal").save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def fails_with(said: str, argv: list[str], capsys: pytest.CaptureFixture[str], status: int = 1) -> None:
    assert main(argv) == status
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1, error


def test_what_fails_gets_one_sentence_and_a_status(
    data: list[str], picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = str(tmp_path / "nothing.jsonl")
    fails_with("nothing.jsonl", ["import", "native", nothing, *data], capsys)
    fails_with("nothing.png", ["check", str(tmp_path / "nothing.png"), "--caption", "A", *data], capsys)
    fails_with("caption is empty", ["check", str(picture), "--caption", "  ", *data], capsys, status=2)
    text = tmp_path / "text.jpg"
    text.write_text("not an image")
    fails_with("", ["check", str(text), "--caption", "A", *data], capsys)
    fails_with("nothing to learn", ["distil", *data], capsys)
    fails_with("no run named x", ["promote", "x", *data], capsys)
    fails_with("nothing to go back to", ["rollback", *data], capsys)
    fails_with("no run named x", ["distil", "--resume", "x", *data], capsys)


def test_a_student_that_is_nowhere_is_named(
    data: list[str], picture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OOC_STUDENT", "/nowhere")
    fails_with("/nowhere", ["check", str(picture), "--caption", "A market.", *data], capsys)


def test_a_data_folder_of_a_newer_version_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "settings.toml").write_text("version = 99\n")
    fails_with("newer version", ["stats", "--data", str(tmp_path)], capsys)
    assert not (tmp_path / "desk.db").exists()


def test_wrong_use_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["fly"], [], ["import", "native"], ["import", "docx", "a"]):
        with pytest.raises(SystemExit) as ended:
            main(argv)
        assert ended.value.code == 2


def test_a_reader_that_has_seen_enough_is_no_failure(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ooc_app", "stats", "--data", str(tmp_path / "data")]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(command, cwd=PROJECT_DIR, stdout=writing, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(writing)
    assert (done.stderr, done.returncode) == ("", 1)


def test_an_import_reports_what_it_did_and_stats_count_it(
    data: list[str], picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = [{"teacher": name, "verdict": verdict} for name, verdict in (("a", "in_context"), ("b", "unsure"))]
    lines = [
        {"id": "1", "caption": "A market.", "image": picture.name, "gold": "in_context", "opinions": said},
        {"id": "2", "caption": "A fire.", "image": None},
        {"id": "3"},
    ]
    path = tmp_path / "cases.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    assert main(["import", "native", str(path), "--json", *data]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert (report["cases"], report["without_image"], report["bad_count"]) == (2, 1, 1)
    assert err.startswith("line 3: ")

    assert main(["stats", "--json", *data]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["cases"] == 2
    assert figures["cases_without_image"] == 1
    assert figures["conflicts"] == {"total": 1, "open": 1, "settled": 0}
    wanted = (
        "cases cases_without_image by_gold by_split opinions agreed agreed_wrong conflicts audit preferences"
    )
    wanted += " preferences_possible teachers agreement rulings annotators"
    assert set(wanted.split()) <= figures.keys()
    assert main(["stats", *data]) == 0
    assert re.search(r"^cases +2$", capsys.readouterr().out, re.MULTILINE)


def test_audit_and_queue_say_what_they_did_and_what_comes_next(
    data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cases.jsonl"
    opinions = [{"teacher": name, "verdict": "in_context", "rationale": "Fits."} for name in "AB"]
    Image.new("RGB", (60, 40), "teal").save(tmp_path / "picture.png")
    cases = [{"caption": f"Caption {n}.", "image": "picture.png", "opinions": opinions} for n in range(3)]
    path.write_text("\n".join(json.dumps(case) for case in cases))
    assert main(["import", "native", str(path), *data]) == 0
    capsys.readouterr()

    fails_with("--sample 0", ["audit", "--sample", "0", *data], capsys, status=2)
    assert main(["audit", *data]) == 0
    assert "none drawn yet" in capsys.readouterr().out
    assert main(["audit", "--sample", "5", *data]) == 0
    said = capsys.readouterr().out
    assert "3 cases drawn into the queue; no more agreed" in said
    assert "0 of 3 ruled on" in said

    fails_with("second_opinions", ["queue", "--second-opinions", "2", *data], capsys)
    fails_with("--ask-student 0", ["queue", "--ask-student", "0", *data], capsys, status=2)
    assert main(["queue", "--rarity", "0.5", "--anew", "--json", *data]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["order"]["rarity"], told["order"]["split"], told["waiting"]) == (0.5, 1.0, {"audit": 3})
    assert main(["queue", *data]) == 0
    assert re.search(r"^audit +3$", capsys.readouterr().out, re.MULTILINE)
