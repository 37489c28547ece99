import csv
import json
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from db.browse import Wanted, count
from ooc_app.case_list import QuestionError
from ooc_app.case_transfer import (
    LISTED,
    begin_export,
    begin_import,
    exports,
    exports_dir,
    offered,
    previewed,
    remove_export,
    size_words,
)
from ooc_app.desk import Desk
from ooc_app.desk_work import BusyError, DeskWork
from ooc_app.intake.entries import ImportFileError
from tests.ooc_app.conftest import drawn_picture

OPINION = {"teacher": "Aspen", "verdict": "unsure", "rationale": "The sign cannot be read."}


@pytest.fixture
def cases_path(tmp_path: Path) -> Path:
    """Give a file of four lines: two cases, a bad line, and a case whose picture is missing."""
    (tmp_path / "one.png").write_bytes(drawn_picture())
    lines: list[dict[str, Any]] = [
        {"caption": "One", "image": "one.png", "gold": "in_context", "opinions": [OPINION], "source": "wire"},
        {"caption": "Two", "gold": "out_of_context", "split": "test"},
        {"caption": "Three", "gold": "fake"},
        {"caption": "Four", "image": "four.png"},
    ]
    path = tmp_path / "wire.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def import_wanted(path: Path | str, **given: Any) -> dict[str, Any]:
    return {"kind": "import", "format": "native", "path": str(path), **given}


def done(work: DeskWork) -> dict[str, Any]:
    """Wait for the work and return how it ended."""
    work.wait()
    shown = work.shown()
    assert shown is not None
    return shown


def cases_of(desk: Desk) -> int:
    with desk.sessions() as session:
        return count(session, Wanted()).cases


# ---- looking at a file ----


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"path": ""}, "Give the path"),
        ({"path": "/nowhere/wire.jsonl"}, "There is no file /nowhere/wire.jsonl"),
        ({"path": "/"}, "is a folder"),
        ({"format": "docx"}, "There is no format 'docx'"),
        ({"format": None}, "There is no format"),
        ({"options": {"map": "caption:text"}}, "no option of native"),
        ({"images": "/nowhere"}, "There is no folder /nowhere"),
        ({"format": "cosmos", "options": {"pair-gold": "both"}}, "not one of none, caption1, caption2"),
    ],
)
def test_what_cannot_be_imported_is_refused_before_it_begins(
    desk: Desk, cases_path: Path, given: dict[str, Any], says: str
) -> None:
    with pytest.raises(ImportFileError, match=says):
        previewed(import_wanted(cases_path) | given)
    work = DeskWork()
    if given.get("path", "x") not in ("/nowhere/wire.jsonl", "/"):
        with pytest.raises(ImportFileError, match=says):
            begin_import(desk, work, import_wanted(cases_path) | given)
        assert work.shown() is None


def test_a_split_there_is_not_is_refused(desk: Desk, cases_path: Path) -> None:
    with pytest.raises(QuestionError, match="no split 'all'"):
        previewed(import_wanted(cases_path, split="all"))
    with pytest.raises(QuestionError, match="no split 'all'"):
        begin_export(desk, DeskWork(), {"format": "csv", "split": "all"})


def test_the_first_rows_are_shown_as_they_would_come_in(desk: Desk, cases_path: Path) -> None:
    shown = previewed(import_wanted(cases_path, split="validation"))
    one, two, bad, four = shown["rows"]
    assert (one["caption"], one["gold"], one["split"], one["meta"]) == (
        "One",
        "in_context",
        "validation",
        "wire",
    )
    assert (one["picture"], one["opinions"]) == ("picture found", [["Aspen", "unsure"]])
    assert (two["split"], two["picture"]) == ("test", "no picture")
    assert (bad["line"], "`gold` is 'fake'" in bad["bad"]) == (3, True)
    assert four["picture"] == "picture missing: four.png"
    assert shown["dataset"] == "wire"
    assert dict(shown["polarity"])["gold"] == "`gold`, in the desk's own words"
    assert "caption" in dict(shown["mapping"])
    assert cases_of(desk) == 0


def test_what_a_value_means_is_said_in_words(tmp_path: Path) -> None:
    data = tmp_path / "saved.json"
    data.write_text(json.dumps([{"id": 1, "data": {"text": "One", "label": "Yes"}}]))
    given = {"map": "caption:text,gold:label,Yes=out_of_context,No=in_context"}
    shown = previewed({"format": "label-studio", "path": str(data), "options": given})
    assert dict(shown["polarity"])["gold"] == "`label`: Yes means out of context, No means in context"


def test_five_rows_are_shown_however_long_the_file_is(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    path.write_text("".join(json.dumps({"caption": f"Caption {n}"}) + "\n" for n in range(5_000)))
    assert [row["line"] for row in previewed(import_wanted(path))["rows"]] == [1, 2, 3, 4, 5]


def test_a_picture_path_that_leads_out_of_the_folder_is_shown_as_bad(tmp_path: Path) -> None:
    path = tmp_path / "wire.jsonl"
    path.write_text(json.dumps({"caption": "One", "image": "../../etc/passwd"}) + "\n")
    (row,) = previewed(import_wanted(path))["rows"]
    assert "lies outside the images folder" in row["picture"]


# ---- importing ----


def test_an_import_says_what_came_in_and_which_lines_were_bad(desk: Desk, cases_path: Path) -> None:
    work = DeskWork()
    begin_import(desk, work, import_wanted(cases_path))
    shown = done(work)
    assert (shown["status"], shown["says"]) == ("done", "wire: 3 new cases.")
    facts = {what: figure for figure, what in shown["facts"]}
    assert facts["new cases"] == "3"
    assert (facts["without picture"], facts["bad lines"], facts["gold in context"]) == ("2", "1", "1")
    assert shown["lines"][0].startswith("line 3: `gold` is 'fake'")
    assert cases_of(desk) == 3
    begin_import(desk, work, import_wanted(cases_path))
    assert ("3", "unchanged") in done(work)["facts"]
    assert cases_of(desk) == 3


def test_an_import_under_another_name_is_another_data_set(desk: Desk, cases_path: Path) -> None:
    work = DeskWork()
    for name in ("first", "second"):
        begin_import(desk, work, import_wanted(cases_path, dataset=name))
        assert done(work)["says"] == f"{name}: 3 new cases."
    assert cases_of(desk) == 6


def test_a_file_without_one_good_line_says_so(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text("{}\n" * 30)
    work = DeskWork()
    begin_import(desk, work, import_wanted(path))
    shown = done(work)
    assert shown["says"].startswith("Nothing was taken")
    assert len(shown["lines"]) == 21
    assert shown["lines"][-1] == "and 10 more bad lines"


def test_an_import_that_fails_says_why(desk: Desk, tmp_path: Path) -> None:
    work = DeskWork()
    begin_import(desk, work, import_wanted(tmp_path / "gone.jsonl"))
    shown = done(work)
    assert (shown["status"], shown["says"].startswith("There is no file")) == ("failed", True)


def test_a_stopped_import_keeps_whole_batches_and_goes_on_later(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    path.write_text("".join(json.dumps({"caption": f"Caption {n}"}) + "\n" for n in range(20_000)))
    work = DeskWork()
    begin_import(desk, work, import_wanted(path))
    with pytest.raises(BusyError):
        begin_export(desk, work, {"format": "csv"})
    work.stop()
    assert done(work)["status"] == "stopped"
    assert cases_of(desk) % 500 == 0
    assert cases_of(desk) < 20_000
    begin_import(desk, work, import_wanted(path))
    assert done(work)["status"] == "done"
    assert cases_of(desk) == 20_000


# ---- exporting ----


def test_an_export_of_an_empty_desk_says_there_is_nothing_and_leaves_nothing(desk: Desk) -> None:
    work = DeskWork()
    begin_export(desk, work, {"format": "native"})
    shown = done(work)
    assert (shown["status"], "no case to export" in shown["says"]) == ("failed", True)
    assert list(exports_dir(desk).iterdir()) == []
    assert exports(desk) == []


def test_a_format_there_is_not_is_refused(desk: Desk) -> None:
    for name in ("docx", "", None, "../native"):
        with pytest.raises(QuestionError, match="Choose a format"):
            begin_export(desk, DeskWork(), {"format": name})


def test_what_is_exported_can_be_downloaded_and_imported_again(desk: Desk, cases_path: Path) -> None:
    work = DeskWork()
    begin_import(desk, work, import_wanted(cases_path))
    done(work)
    begin_export(desk, work, {"format": "native", "split": "train"})
    shown = done(work)
    assert shown["says"] == "2 records of 2 cases are written."
    ((name, link),) = shown["links"]
    (listed,) = exports(desk)
    assert listed["link"] == link
    assert name.startswith(f"Download {listed['name']}, ")
    path = exports_dir(desk) / listed["name"]
    assert [json.loads(line)["caption"] for line in path.read_text().splitlines()] == ["One", "Four"]
    assert path.name.startswith("native-train-")


def test_an_export_with_a_second_file_is_one_archive(desk: Desk, cases_path: Path) -> None:
    work = DeskWork()
    begin_import(desk, work, import_wanted(cases_path))
    done(work)
    begin_export(desk, work, {"format": "label-studio"})
    done(work)
    (listed,) = exports(desk)
    packed = zipfile.ZipFile(BytesIO((exports_dir(desk) / listed["name"]).read_bytes()))
    assert {Path(name).suffix for name in packed.namelist()} == {".json", ".xml"}
    assert packed.testzip() is None
    assert [path.suffix for path in exports_dir(desk).iterdir()] == [".zip"]


def test_a_formula_in_a_caption_is_no_formula_in_the_export(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "wire.jsonl"
    path.write_text(json.dumps({"caption": '=HYPERLINK("http://a.example")'}) + "\n")
    work = DeskWork()
    begin_import(desk, work, import_wanted(path))
    done(work)
    begin_export(desk, work, {"format": "csv"})
    done(work)
    (listed,) = exports(desk)
    text = (exports_dir(desk) / listed["name"]).read_text(encoding="utf-8-sig")
    (row,) = csv.DictReader(text.splitlines())
    assert not row["caption"].startswith("=")


@pytest.mark.parametrize("name", ["../settings.toml", "..", "", ".hidden", "settings.toml", "native.jsonl"])
def test_only_an_export_is_removed(desk: Desk, name: str) -> None:
    exports_dir(desk).mkdir()
    kept = [desk.data_dir / "settings.toml", exports_dir(desk) / ".hidden"]
    kept[1].write_text("x")
    (exports_dir(desk) / "native.jsonl").write_text("x")
    remove_export(desk, name)
    assert all(path.exists() for path in kept)
    assert (exports_dir(desk) / "native.jsonl").exists() == (name != "native.jsonl")


def test_the_newest_exports_are_listed(desk: Desk) -> None:
    exports_dir(desk).mkdir()
    for number in range(LISTED + 3):
        (exports_dir(desk) / f"native-{number}.jsonl").write_text("x" * number)
    assert len(exports(desk)) == LISTED


def test_a_size_is_written_for_people() -> None:
    assert [size_words(size) for size in (0, 1_234, 99_999, 1_234_567)] == [
        "0.0 kB", "1.2 kB", "100.0 kB", "1.2 MB",
    ]  # fmt: skip


def test_every_format_is_offered_with_its_options() -> None:
    formats = offered()
    assert {one["name"] for one in formats["imports"]} >= {
        "native",
        "newsclippings",
        "verite",
        "cosmos",
        "hf",
    }
    assert {one["name"] for one in formats["exports"]} >= {"native", "csv", "hf", "sft", "preferences"}
    cosmos = next(one for one in formats["imports"] if one["name"] == "cosmos")
    assert cosmos["options"][0]["choices"] == ["none", "caption1", "caption2"]
