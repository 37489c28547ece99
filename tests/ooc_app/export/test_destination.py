import os
import subprocess
import sys
from pathlib import Path

import pytest

from ooc_app.export.destination import MARK, ExportError, replacing


class StopError(Exception):
    """What the blocks of these tests raise."""


def left(folder: Path) -> list[str]:
    """Every file in the folder, hidden ones too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def earlier_folder(path: Path) -> None:
    path.mkdir()
    (path / MARK).write_text("old")


def test_a_path_without_a_folder_around_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"no folder .*nowhere"), replacing(tmp_path / "nowhere" / "a"):
        pytest.fail("nothing can be written there")


@pytest.mark.parametrize("folder", [False, True])
def test_what_is_there_is_refused_unless_it_is_to_be_replaced(tmp_path: Path, *, folder: bool) -> None:
    (tmp_path / "file").write_text("old")
    earlier_folder(tmp_path / "folder")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("file", "folder", "dangling"):
        with pytest.raises(ExportError, match="there already"), replacing(tmp_path / name, folder=folder):
            pytest.fail("it must not be written")
    assert left(tmp_path) == ["file", f"folder/{MARK}"]


def test_a_file_replaces_no_folder_and_a_folder_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    earlier_folder(tmp_path / "folder")
    with pytest.raises(ExportError, match="is a folder"), replacing(tmp_path / "folder", overwrite=True):
        pytest.fail("it must not be written")
    with (
        pytest.raises(ExportError, match="is a file"),
        replacing(tmp_path / "file", folder=True, overwrite=True),
    ):
        pytest.fail("it must not be written")


def test_a_folder_that_is_no_earlier_export_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    with (
        pytest.raises(ExportError, match="no earlier export"),
        replacing(tmp_path / "home", folder=True, overwrite=True),
    ):
        pytest.fail("it must not be written")
    assert left(tmp_path) == ["home/thesis.txt"]


def write_and_stop(path: Path, *, folder: bool) -> None:
    with replacing(path, folder=folder, overwrite=True) as partial:
        (partial / "half" if folder else partial).write_text("half")
        raise StopError


def test_an_exception_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    earlier_folder(tmp_path / "folder")
    with pytest.raises(StopError):
        write_and_stop(tmp_path / "file", folder=False)
    with pytest.raises(StopError):
        write_and_stop(tmp_path / "folder", folder=True)
    assert left(tmp_path) == ["file", f"folder/{MARK}"]
    assert (tmp_path / "file").read_text() == "old"


def write_while_another_appears(path: Path) -> None:
    with replacing(path) as partial:
        partial.write_text("new")
        path.write_text("somebody else's")


def test_what_appears_while_it_is_written_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="there already"):
        write_while_another_appears(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "somebody else's"
    assert left(tmp_path) == ["file"]


@pytest.mark.parametrize("folder", [False, True])
def test_two_exports_to_one_path_do_not_mix(tmp_path: Path, *, folder: bool) -> None:
    path = tmp_path / "cases"
    with replacing(path, folder=folder) as partial:
        (partial / MARK if folder else partial).write_text("first")
        with (
            pytest.raises(ExportError, match="Another export"),
            replacing(path, folder=folder, overwrite=True),
        ):
            pytest.fail("it must not be written")
    assert (path / MARK if folder else path).read_text() == "first"


@pytest.mark.parametrize("folder", [False, True])
def test_what_a_killed_export_left_is_taken_over(tmp_path: Path, *, folder: bool) -> None:
    path, partial = tmp_path / "cases", tmp_path / ".cases.partial"
    code = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from ooc_app.export.destination import replacing\n"
        f"with replacing(Path({str(path)!r}), folder={folder}) as partial:\n"
        f"    (partial / 'half' if {folder} else partial).write_text('half, longer than the whole')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    project = Path(__file__).resolve().parents[3]
    killed = subprocess.run([sys.executable, "-c", code], cwd=project, check=False)
    assert killed.returncode == -9
    assert partial.exists()
    assert not path.exists()
    with replacing(path, folder=folder) as found:
        (found / MARK if folder else found).write_text("whole")
    assert left(tmp_path) == ([f"cases/{MARK}"] if folder else ["cases"])
    assert (path / MARK if folder else path).read_text() == "whole"


def test_a_kill_between_the_two_renames_of_a_folder_is_made_good(tmp_path: Path) -> None:
    earlier_folder(tmp_path / ".cases.former")
    with pytest.raises(ExportError, match="there already"), replacing(tmp_path / "cases", folder=True):
        pytest.fail("the former one is back")
    assert left(tmp_path) == [f"cases/{MARK}"]


@pytest.mark.parametrize("folder", [False, True])
def test_nothing_is_written_through_a_link_laid_in_its_way(tmp_path: Path, *, folder: bool) -> None:
    target = tmp_path / "target"
    earlier_folder(target) if folder else target.write_text("mine")
    (tmp_path / ".cases.partial").symlink_to(target)
    with pytest.raises(ExportError, match="cannot be written"), replacing(tmp_path / "cases", folder=folder):
        pytest.fail("it would go elsewhere")
    assert (target / MARK).read_text() == "old" if folder else target.read_text() == "mine"


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    earlier_folder(tmp_path / "cases")
    (tmp_path / "cases" / "old.txt").write_text("old")
    with replacing(tmp_path / "cases", folder=True, overwrite=True) as partial:
        (partial / MARK).write_text("new")
    assert left(tmp_path) == [f"cases/{MARK}"]
    assert (tmp_path / "cases" / MARK).read_text() == "new"


def test_a_file_just_finished_is_not_emptied_as_an_unfinished_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cases"
    (tmp_path / ".cases.partial").write_text("first")
    open_file = os.open

    def opened_too_late(partial: Path, flags: int, mode: int) -> int:
        descriptor = open_file(partial, flags, mode)
        partial.rename(path)
        return descriptor

    monkeypatch.setattr(os, "open", opened_too_late)
    with pytest.raises(ExportError, match="Another export"), replacing(path):
        pytest.fail("it is not ours to write")
    assert path.read_text() == "first"
