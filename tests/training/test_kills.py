"""Runs killed at random moments, and runs whose disk is full: each goes on to the very same adapters.

The short form belongs to every test run; the long one, a hundred kills, to `make soak`.
"""

import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.vocabulary import RunStatus, Stage
from tests.training.conftest import freeze_run
from tests.training.forks import Forks
from training.state import RunFolder, is_whole_checkpoint

KILLS = [4, pytest.param(100, marks=pytest.mark.soak)]
ROOMS = [[200_000], pytest.param(list(range(20_000, 600_000, 20_000)), marks=pytest.mark.soak)]
"""Bytes of room that a run gets, one after the other."""


class Runs:
    """Copies of one run folder, what it becomes when nobody disturbs it, and who runs them."""

    def __init__(self, fresh: Path, whole: Path, twin: Path, forks: Forks, seconds: float) -> None:
        self.fresh = fresh
        self.twin = twin
        self.whole = whole
        self.forks = forks
        self.seconds = seconds

    def again(self, run_dir: Path) -> RunFolder:
        """Give a run that nobody began."""
        shutil.rmtree(run_dir, ignore_errors=True)
        shutil.copytree(self.fresh, run_dir)
        return RunFolder(run_dir)

    def finish(self, folder: RunFolder) -> None:
        """Run a folder to its end; it must have become what the undisturbed one is."""
        self.forks.start(folder.path)
        assert self.forks.wait() == 0, folder.state()
        self.assert_same(folder)

    def assert_same(self, folder: RunFolder) -> None:
        """Compare the adapters byte by byte, and see that nothing is left over."""
        assert folder.state().status is RunStatus.COMPLETE
        for stage in Stage:
            name = f"{stage.value}/adapter_model.safetensors"
            assert (folder.path / name).read_bytes() == (self.whole / name).read_bytes(), stage
        steps = [(row["stage"], row["step"]) for row in folder.metrics()]
        assert steps == [(row["stage"], row["step"]) for row in RunFolder(self.whole).metrics()]
        left = {path.name for path in folder.path.iterdir()} - {path.name for path in self.whole.iterdir()}
        assert not left


@pytest.fixture(scope="module")
def runs(tiny_student: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    root = tmp_path_factory.mktemp("runs")
    fresh = freeze_run(root / "run", tiny_student, max_steps=6)
    whole, timed = shutil.copytree(fresh, root / "whole"), shutil.copytree(fresh, root / "timed")
    forks = Forks(whole)
    began = time.monotonic()
    forks.start(timed)
    assert forks.wait() == 0
    yield Runs(fresh, whole, timed, forks, time.monotonic() - began)
    forks.close()


def test_the_same_seed_and_snapshot_give_the_same_adapters(runs: Runs) -> None:
    runs.assert_same(RunFolder(runs.twin))


@pytest.mark.parametrize("kills", KILLS)
def test_a_run_killed_anywhere_ends_with_the_adapters_of_an_undisturbed_one(
    runs: Runs, tmp_path: Path, kills: int
) -> None:
    chance = random.Random(kills)
    folder = runs.again(tmp_path / "killed")
    killed = 0
    while killed < kills:
        process_id = runs.forks.start(folder.path)
        time.sleep(chance.uniform(0, runs.seconds))
        status = runs.forks.kill(process_id)
        assert status in (0, -9), folder.state()
        killed += status == -9
        if status == 0:
            runs.assert_same(folder)
            folder = runs.again(folder.path)
    runs.finish(folder)


def test_a_run_stopped_by_a_file_that_cannot_grow_says_so_and_goes_on(runs: Runs, tmp_path: Path) -> None:
    folder = runs.again(tmp_path / "full")
    adapter = (runs.whole / "sft" / "adapter_model.safetensors").stat().st_size
    runs.forks.start(folder.path, most_bytes=adapter + 4_096)  # Adam's moments are twice that
    assert runs.forks.wait() == 1
    assert_disk_full(folder)
    runs.finish(folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of its own, as large as `mount -o remount,size=` makes it; needs root."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("rooms", ROOMS)
def test_a_run_on_a_full_disk_says_so_and_goes_on_once_there_is_room(
    runs: Runs, small_disk: Path, rooms: list[int]
) -> None:
    folder = runs.again(small_disk / "run")
    used = shutil.disk_usage(small_disk).used
    for room in rooms:
        resize(small_disk, used + room)
        runs.forks.start(folder.path)
        if runs.forks.wait() == 0:
            break
        assert_disk_full(folder)
    resize(small_disk, 16_000_000)
    runs.finish(folder)


def resize(disk: Path, size: int) -> None:
    """Make a mounted tmpfs as large as that, in bytes."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def assert_disk_full(folder: RunFolder) -> None:
    """See that the state says it and that what is not whole is gone."""
    state = folder.state()
    assert (state.status, folder.report()) == (RunStatus.FAILED, None)
    assert "The disk is full" in (state.why or "")
    assert not list(folder.path.glob("*.partial"))
    assert all(is_whole_checkpoint(path) for path in folder.path.glob("checkpoints/*/checkpoint-*"))
