"""`import` and `opinions import` on the command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from ooc_app.__main__ import main
from ooc_app.commands.importing import advancing
from ooc_app.intake.formats import FORMATS


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OOC_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    """Three cases of VERITE, of which one is miscaptioned."""
    path = tmp_path / "VERITE.csv"
    rows = [
        "0,A,images/true_1.jpg,true",
        "1,B,images/true_1.jpg,miscaptioned",
        "2,C,images/false_1.jpg,out-of-context",
    ]
    path.write_text("\n".join([",caption,image_path,label", *rows, "3,D,images/true_2.jpg,odd"]))
    return path


def answers(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "answers.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["import", "verite", "nowhere.csv"], "There is no file nowhere.csv"),
        (["import", "native", "."], "is a folder"),
        (["import", "newsclippings", "test.json"], "--visual-news"),
        (["import", "hf", "nobody/nothing"], "no data set nobody/nothing"),
        (["import", "label-studio", "a.json", "--map", "0=in_context"], "name a field and its column first"),
        (["opinions", "import", "a.jsonl", "--teacher", "T", "--key", "id"], "name a column in it"),
        (["opinions", "import", "a.jsonl", "--teacher", "T"], "no cases yet"),
    ],
)
def test_what_cannot_be_done_gets_one_sentence_and_status_1(
    argv: list[str],
    reason: str,
    data_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    assert main(argv) == 1
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1, error


def test_wrong_use_is_status_2(data_dir: Path, cases: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (
        ["import", "docx", str(cases)],
        ["import", "native", str(cases), "--miscaptioned", "out_of_context"],
        ["import", "verite", str(cases), "--miscaptioned", "fake"],
        ["import", "verite", str(cases), "--split", "dev"],
        ["opinions", "export", "a.jsonl", "--teacher", "T"],
        ["opinions", "import", "a.jsonl"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(argv)
        assert ended.value.code == 2, argv
    assert "--miscaptioned is no option of native" in capsys.readouterr().err
    assert not data_dir.exists()


def test_a_file_without_a_good_line_is_status_1(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text("x\n" * 30)
    assert main(["import", "native", str(path)]) == 1
    error = capsys.readouterr().err.splitlines()
    assert error[0].startswith("line 1: the line is not valid JSON")
    assert error[-2:] == ["and 10 more", "Nothing was taken: see the lines above."]


def test_an_import_says_what_came_in_what_was_left_out_and_what_was_bad(
    data_dir: Path, cases: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", "verite", str(cases)]) == 0
    out, err = capsys.readouterr()
    assert "verite: 2 new cases" in out
    assert "gold: 1 in_context, 1 out_of_context; split: 2 test" in out
    assert "left out: 1, miscaptioned" in out
    assert err.startswith("line 5: `label` is 'odd'")
    assert main(["import", "verite", str(cases), "--miscaptioned", "out_of_context", "--json"]) == 0
    report = said(capsys)
    assert (report["cases"], report["unchanged"], report["by_gold"]) == (
        1,
        2,
        {"in_context": 1, "out_of_context": 2},
    )
    assert (report["left_out"], report["bad_count"], report["bad"][0]["line"]) == ({}, 1, 5)


def test_a_rehearsal_makes_no_data_folder(
    data_dir: Path, cases: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", "verite", str(cases), "--name", "mine", "--split", "train", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Nothing was written; on an empty desk this would be")
    assert "mine: 2 new cases" in out
    assert "split: 2 train" in out
    assert not data_dir.exists()


def test_opinions_find_their_cases_and_say_so(
    data_dir: Path, cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["import", "verite", str(cases)])
    rows = [
        {"image": "true_1", "label": "true", "prediction": "No"},
        {"image": "false_1", "label": "out-of-context", "prediction": "Perhaps"},
        {"image": "true_9", "label": "true", "prediction": "Yes"},
    ]
    argv = [
        "opinions",
        "import",
        str(answers(tmp_path, *rows)),
        "--teacher",
        "Gemini",
        "--key",
        "{image}-{label}",
    ]
    argv += [
        "--map",
        "verdict:prediction,Yes=out_of_context,No=in_context,*=unsure",
        "--prompt-version",
        "p1",
    ]
    capsys.readouterr()
    assert main([*argv, "--dry-run"]) == 0
    assert "Gemini on verite: 2 matched, 2 new" in capsys.readouterr().out
    assert main([*argv, "--json"]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert (report["matched"], report["new"], report["unsure"], report["unmatched_count"]) == (2, 2, 1, 1)
    assert report["unmatched"] == [{"line": 3, "reason": "there is no case 'true_9-true'"}]
    assert err == "line 3: there is no case 'true_9-true'\n"
    assert main([*argv, "--json"]) == 0
    again = said(capsys)
    assert (again["new"], again["changed"], again["unchanged"]) == (0, 0, 2)
    assert main(["stats", "--json"]) == 0
    assert said(capsys)["opinions"] == 2


def test_opinions_without_a_single_case_are_status_1(
    data_dir: Path, cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["import", "verite", str(cases)])
    path = answers(tmp_path, {"id": "x", "verdict": "unsure"})
    assert main(["opinions", "import", str(path), "--teacher", "T"]) == 1
    assert "Nothing was taken" in capsys.readouterr().err


def test_the_help_names_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["import", "--help"])
    told = capsys.readouterr().out
    assert all(name in told for name in FORMATS)


def test_the_bar_learns_its_end_from_the_share_of_the_file_read() -> None:
    class Bar:
        """What is used of a bar."""

        total: int | None = None
        n = 0

        def update(self, more: int) -> None:
            self.n += more

    bar = Bar()
    advance = advancing(bar)
    advance(500, 0.0)  # a hub's data set: nobody knows how long it is
    assert (bar.n, bar.total) == (500, None)
    advance(1_000, 0.25)
    assert (bar.n, bar.total) == (1_000, 4_000)
