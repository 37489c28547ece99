import resource
import subprocess
import sys
from pathlib import Path

import pytest

from db.cases import NewCase, add_cases
from db.engine import write_session
from db.views import Selection
from db.vocabulary import Split
from ooc_app.desk import Desk
from ooc_app.export import exporting
from ooc_app.export.destination import ExportError
from ooc_app.export.exporting import export_cases
from ooc_app.export.formats import FORMATS
from tests.ooc_app.export.conftest import fill

PROJECT_DIR = Path(__file__).resolve().parents[3]


def add(desk: Desk, number: int) -> None:
    with write_session(desk.sessions) as session:
        add_cases(session, "test", [NewCase(f"{n}", f"Caption {n}") for n in range(number)])


def test_a_format_that_is_none_is_named(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"no format 'docx'.*native"):
        export_cases(desk, "docx", tmp_path / "cases")


@pytest.mark.parametrize("name", FORMATS)
def test_where_there_is_nothing_to_write_nothing_is_written(name: str, desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(ExportError, match=r"There is no (settled )?case"):
        export_cases(desk, name, tmp_path / "out" / "cases")
    assert list((tmp_path / "out").iterdir()) == []


def test_cases_without_a_target_make_no_empty_file(desk: Desk, tmp_path: Path) -> None:
    fill(desk)
    for name in ("sft", "preferences"):
        with pytest.raises(ExportError, match="no case with a picture"):
            export_cases(desk, name, tmp_path / "cases", selection=Selection(dataset="</script> | second"))
    for picture in desk.images_dir.rglob("*"):
        if picture.is_file():
            picture.unlink()
    for name in ("sft", "preferences"):
        with pytest.raises(ExportError, match="None of the 5 cases"):
            export_cases(desk, name, tmp_path / "cases")
    assert not (tmp_path / "cases").exists()


def test_held_out_cases_are_not_exported_to_train_on(full_desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="training cases only"):
        export_cases(full_desk, "sft", tmp_path / "cases", selection=Selection(split=Split.TEST))


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_replaces_another_only_when_told_to(name: str, full_desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "cases"
    first = export_cases(full_desk, name, path)
    files = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(ExportError, match="there already"):
        export_cases(full_desk, name, path)
    assert export_cases(full_desk, name, path, overwrite=True) == first
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == files


def test_the_second_file_of_a_format_is_not_overwritten_either(full_desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "tasks.config.xml").write_text("mine")
    with pytest.raises(ExportError, match=r"tasks\.config\.xml is there"):
        export_cases(full_desk, "label-studio", tmp_path / "tasks.json")
    assert [path.name for path in tmp_path.iterdir()] == ["tasks.config.xml"]


def test_an_export_that_dies_leaves_what_was_there(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "STEP", 10)
    add(desk, 35)
    path = tmp_path / "cases.jsonl"
    path.write_text("old")

    class StopError(Exception):
        """What the progress of this test raises."""

    def stop(done: int, of: int) -> None:
        if done == 20:
            raise StopError

    with pytest.raises(StopError):
        export_cases(desk, "native", path, overwrite=True, progress=stop)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.glob(".*")] == []


def test_a_disk_that_takes_no_more_is_said_in_a_sentence(full_desk: Desk, tmp_path: Path) -> None:
    _, hard = limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # bytes
    try:
        with pytest.raises(ExportError, match="File too large"):
            export_cases(full_desk, "native", tmp_path / "cases.jsonl")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert list(tmp_path.iterdir()) == []


def test_a_kill_leaves_what_was_there(desk: Desk, tmp_path: Path) -> None:
    add(desk, 1_200)
    path = tmp_path / "cases.jsonl"
    path.write_text("old")
    code = (
        "import os, signal\nfrom pathlib import Path\nfrom ooc_app.desk import open_desk\n"
        "from ooc_app.export.exporting import export_cases\n"
        "def die(done, of):\n    if done == 1_000: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"with open_desk(Path({str(desk.data_dir)!r})) as desk:\n"
        f"    export_cases(desk, 'native', Path({str(path)!r}), overwrite=True, progress=die)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_DIR, check=False)
    assert killed.returncode == -9
    assert path.read_text() == "old"
    assert export_cases(desk, "native", path, overwrite=True).records == 1_200
    assert len(path.read_text().splitlines()) == 1_200
    assert [file.name for file in tmp_path.glob(".*")] == []


def test_progress_ends_with_all_cases(desk: Desk, tmp_path: Path) -> None:
    add(desk, 1_200)
    seen: list[tuple[int, int]] = []
    export_cases(desk, "native", tmp_path / "a", progress=lambda done, of: seen.append((done, of)))
    assert seen == [(500, 1_200), (1_000, 1_200), (1_200, 1_200)]


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("sft", "preferences")])
def test_annotators_are_named_only_on_request(name: str, full_desk: Desk, tmp_path: Path) -> None:
    def said(path: Path) -> bytes:
        return b"".join(file.read_bytes() for file in [path, *path.rglob("*")] if file.is_file())

    export_cases(full_desk, name, tmp_path / "bare")
    export_cases(full_desk, name, tmp_path / "named", names=True)
    assert b"maria" not in said(tmp_path / "bare")
    assert b"maria" in said(tmp_path / "named")


def test_pictures_go_along_under_their_hash_and_a_missing_one_is_counted(desk: Desk, tmp_path: Path) -> None:
    fill(desk)
    stored = {path.relative_to(desk.images_dir) for path in desk.images_dir.rglob("*") if path.is_file()}
    report = export_cases(desk, "native", tmp_path / "a.jsonl", images_dir=tmp_path / "images")
    taken = {
        path.relative_to(tmp_path / "images") for path in (tmp_path / "images").rglob("*") if path.is_file()
    }
    assert taken == stored
    assert len(stored) == 6
    assert report.missing_images == 0
    assert str(tmp_path / "images") in report.pictures
    gone = sorted(stored)[0]
    (desk.images_dir / gone).unlink()
    for name in ("native", "hf", "label-studio"):
        report = export_cases(desk, name, tmp_path / name, images_dir=tmp_path / f"{name} images")
        assert report.missing_images >= 1, name
        assert report.records == 23


def test_an_exported_picture_is_no_link_to_the_desks_own(full_desk: Desk, tmp_path: Path) -> None:
    export_cases(full_desk, "native", tmp_path / "a.jsonl", images_dir=tmp_path / "images")
    copies = [path for path in (tmp_path / "images").rglob("*") if path.is_file()]
    assert all(path.stat().st_nlink == 1 for path in copies)
