import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ooc_app.keeping.whole import KeepingError, PathTakenError, appearing, is_being_written, partial_of, place

ROOT = Path(__file__).resolve().parents[3]

WRITING = """
import sys, time
from pathlib import Path
from ooc_app.keeping.whole import appearing
with appearing(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_what_is_there_already_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "letter").write_text("mine")
    with pytest.raises(PathTakenError, match="kept is there already"), appearing(tmp_path / "kept"):
        pytest.fail("the block must not begin")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept" / "letter").read_text() == "mine"


def test_a_link_that_leads_nowhere_counts_as_there(tmp_path: Path) -> None:
    (tmp_path / "kept").symlink_to(tmp_path / "unplugged")
    with pytest.raises(PathTakenError), appearing(tmp_path / "kept"):
        pytest.fail("the block must not begin")


def test_a_folder_in_no_folder_is_refused_so_that_an_unplugged_disk_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(KeepingError, match=r"There is no folder .*usb"), appearing(tmp_path / "usb" / "new"):
        pytest.fail("the block must not begin")


def test_an_exception_and_an_interrupt_leave_nothing(tmp_path: Path) -> None:
    def write(error: type[BaseException]) -> None:
        with appearing(tmp_path / "new") as folder:
            (folder / "inner").mkdir()
            (folder / "inner" / "file").write_text("half")
            raise error

    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error):
            write(error)
        assert list(tmp_path.iterdir()) == []


def test_a_path_taken_meanwhile_is_left_as_it_is(tmp_path: Path) -> None:
    def write() -> None:
        with appearing(tmp_path / "new") as folder:
            (folder / "ours").write_text("")
            (tmp_path / "new").mkdir()
            (tmp_path / "new" / "theirs").write_text("")

    with pytest.raises(OSError, match="not empty"):
        write()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["theirs"]


def test_two_processes_never_write_one_folder_and_a_kill_leaves_no_name_that_looks_whole(
    tmp_path: Path,
) -> None:
    path, partial = tmp_path / "new", tmp_path / ".new.partial"
    command = [sys.executable, "-c", WRITING, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        assert is_being_written(partial)
        with pytest.raises(PathTakenError, match="being written by another process"), appearing(path):
            pytest.fail("the block must not begin")
        os.kill(process.pid, signal.SIGKILL)
    assert partial_of(path) == partial
    assert (partial / "half").exists()
    assert not path.exists()
    assert not is_being_written(partial)
    with appearing(path) as folder:
        assert not (folder / "half").exists()
        (folder / "whole").write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert [path.name for path in path.iterdir()] == ["whole"]


def test_a_placed_file_shares_its_bytes_where_it_may(tmp_path: Path) -> None:
    (tmp_path / "source").write_text("bytes")
    assert place(tmp_path / "source", tmp_path / "linked")
    assert not place(tmp_path / "source", tmp_path / "copied", link=False)
    assert (tmp_path / "linked").samefile(tmp_path / "source")
    assert not (tmp_path / "copied").samefile(tmp_path / "source")
    with pytest.raises(FileNotFoundError):
        place(tmp_path / "gone", tmp_path / "linked again")


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no second file system here")
def test_a_file_of_another_file_system_is_copied() -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as here, tempfile.TemporaryDirectory(dir="/dev/shm") as there:
        source, target = Path(here, "source"), Path(there, "target")
        source.write_text("bytes")
        assert not place(source, target)
        assert target.read_text() == "bytes"
