"""Runs that several processes share: what one process would learn, and what becomes of them in trouble."""

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from db.vocabulary import RunStatus, Stage
from ooc_app import launchers, runner
from ooc_app.desk import open_desk
from ooc_app.launchers import Launch
from tests.training.conftest import freeze_run
from tests.training.together import Together
from training.alarms import AlarmKind
from training.config import ConfigError, load_config, save_config
from training.ranks import ALONE, Ranks, share_of
from training.stage_run import fitting
from training.state import LastWord, RunFolder, SideFolder
from training.watched import RowsInOrder, shares

KILLS = 20
CURVES = ("loss", "gradient_norm", "margin", "chosen", "rejected", "logp_chosen", "logp_rejected")


class Runs:
    """Copies of one run folder, what one process makes of it, and who runs them together.

    It has nine rows and takes four a step, so that the last step of an epoch has one row for two processes.
    """

    def __init__(self, root: Path, student: Path) -> None:
        self.root = root
        self.fresh = freeze_run(root / "fresh", student, max_steps=5, cases=18)
        self.alone = shutil.copytree(self.fresh, root / "alone")
        self.together = Together(self.alone)

    def new(self, name: str, root: Path | None = None, **settings: Any) -> RunFolder:
        """Give a run that nobody began."""
        folder = RunFolder(shutil.copytree(self.fresh, (root or self.root) / name))
        save_config(replace(load_config(folder.config_path), **settings), folder.config_path)
        return folder

    def finish(self, folder: RunFolder, *, count: int = 2) -> None:
        """Run a folder to its end; what it learnt must be what one process learns."""
        self.together.start(folder.path, count=count)
        assert self.together.wait() == [0] * count, (folder.state(), self.together.log_path.read_text())
        self.assert_same(folder)

    def assert_same(self, folder: RunFolder) -> None:
        """Compare every logged step and both adapters, and see that nothing is left over."""
        assert folder.state().status is RunStatus.COMPLETE
        theirs = RunFolder(self.alone).metrics()
        assert [(row["stage"], row["step"]) for row in folder.metrics()] == [
            (row["stage"], row["step"]) for row in theirs
        ]
        for ours, theirs_row in zip(folder.metrics(), theirs, strict=True):
            for name in CURVES:
                assert ours.get(name) == pytest.approx(theirs_row.get(name), abs=1e-4), (ours, name)
        for stage in Stage:
            adapters = [adapter(path, stage) for path in (folder.path, self.alone)]
            for name, values in adapters[1].items():
                assert float((adapters[0][name] - values).norm()) <= 1e-4 * float(values.norm()) + 1e-6, name
        left = {path.name for path in folder.path.iterdir()} - {path.name for path in self.alone.iterdir()}
        assert left <= {"alarms.jsonl", "run.log", launchers.FILE_NAME}


def adapter(run_dir: Path, stage: Stage) -> dict[str, torch.Tensor]:
    return load_file(run_dir / stage.value / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def runs(tiny_student: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    made = Runs(tmp_path_factory.mktemp("together"), tiny_student)
    yield made
    made.together.close()


def wait_for_step(folder: RunFolder, step: int, stage: Stage = Stage.SFT) -> None:
    deadline = time.monotonic() + 120
    while not any(row["stage"] == stage and row["step"] >= step for row in folder.metrics()):
        assert time.monotonic() < deadline, "the run never got there"
        time.sleep(0.01)


def test_a_batch_that_cannot_be_shared_equally_is_refused(tmp_path: Path, tiny_student: Path) -> None:
    config = load_config(freeze_run(tmp_path / "run", tiny_student) / "config.json")
    with pytest.raises(ConfigError, match=r"3 processes cannot share sft\.batch_size 4"):
        share_of(config, 3)
    assert (share_of(config, 2).sft.batch_size, share_of(config, 2).dpo.batch_size) == (2, 2)
    assert share_of(config, 1) == config


def test_shares_of_a_batch_differ_by_one_row_and_none_is_lost() -> None:
    taken = [Ranks(rank, 3).share(range(7)) for rank in range(3)]
    assert sorted(row for one in taken for row in one) == list(range(7))
    assert {len(one) for one in taken} == {2, 3}


def test_a_process_without_a_row_computes_one_that_weighs_nothing() -> None:
    rows = RowsInOrder(lambda given: {"labels": torch.ones(len(given), 2)}, ["a", "b", "c"], Ranks(1, 2))
    assert rows([{"row": 0}, {"row": 2}])["labels"].tolist() == [[1, 1]]
    assert rows([{"row": 0}])["labels"].tolist() == [[-100, -100]]
    assert rows.held([torch.tensor([1, 2]), torch.tensor([1, 2])]).tolist() == [[1, 2], [0, 0]]
    rows.take()
    assert (rows.is_idle, rows.named()) == (False, "c (row 3)")
    rows.take()
    assert rows.is_idle


def test_shares_make_the_mean_over_processes_the_mean_over_the_batch() -> None:
    held = [[(2, 10), (2, 30)], [(2, 20), (0, 0)]]  # of two processes, two micro-batches each, one batch
    means = [[3.0, 5.0], [7.0, 9.0]]
    everyone = [(4, 30), (2, 30)]
    made = sum(
        tokens * mean
        for own, own_means in zip(held, means, strict=True)
        for (_, tokens), mean in zip(shares(own, 2, everyone, 2), own_means, strict=True)
    )
    assert made / 4 == pytest.approx((3 * 10 + 5 * 30 + 7 * 20) / 60)


def test_a_size_that_was_found_fits_a_run_of_another_number_of_processes() -> None:
    assert [fitting(size, most) for size, most in ((4, 2), (6, 4), (2, 2), (2, 5))] == [2, 3, 2, 2]


def test_one_process_agrees_with_itself() -> None:
    assert (ALONE.all_say(1), ALONE.any_says(True), ALONE.all_do(lambda: 2)) == ([1], True, [2])


def test_a_process_beside_the_main_one_writes_nothing_but_its_last_word(tmp_path: Path) -> None:
    folder = SideFolder(tmp_path)
    folder.say()
    folder.append_metrics({"stage": "sft"})
    folder.clear()
    assert not list(tmp_path.iterdir())
    folder.leave_word(1, LastWord("Memory ended.", "sft", 3, 2))
    main = RunFolder(tmp_path)
    assert main.heed() == "Memory ended."
    assert main.micro_batch(Stage.SFT) == 2
    assert main.heed() is None, "a word is heeded once"


def test_two_processes_learn_in_trls_own_way_what_one_does_on_the_fast_path(runs: Runs) -> None:
    runs.finish(runs.new("stock", path="stock"))


def test_a_run_two_processes_began_goes_on_in_one_after_one_was_killed(runs: Runs) -> None:
    folder = runs.new("killed")
    _, beside = runs.together.start(folder.path)
    wait_for_step(folder, 2)
    os.kill(beside, signal.SIGKILL)
    assert runs.together.wait() == [1, -signal.SIGKILL]
    state = folder.state()
    assert state.status is RunStatus.FAILED
    assert "One of the processes that share this run was lost" in (state.why or "")
    runs.finish(folder, count=1)


@pytest.mark.soak
def test_a_shared_run_whose_processes_are_killed_anywhere_ends_as_that_of_one_process(runs: Runs) -> None:
    chance = random.Random(0)
    folder = runs.new("killed-often")
    killed = whole = 0
    while killed < KILLS:
        children = runs.together.start(folder.path, count=chance.choice((1, 2, 2)))
        time.sleep(chance.uniform(0, 4))
        with suppress(ProcessLookupError):
            os.kill(chance.choice(children), signal.SIGKILL)
        ended = runs.together.wait()
        killed += -signal.SIGKILL in ended
        if folder.report() is not None:
            whole += 1
            runs.assert_same(folder)
            folder = runs.new(f"killed-often-{whole}")
    runs.finish(folder)


def test_a_request_to_stop_any_process_stops_all_after_the_same_step(runs: Runs) -> None:
    folder = runs.new("stopped", max_steps=300)
    _, beside = runs.together.start(folder.path)
    wait_for_step(folder, 2)
    os.kill(beside, signal.SIGTERM)
    assert runs.together.wait() == [0, 0]
    assert folder.state().status is RunStatus.STOPPED
    last = folder.metrics()[-1]["step"]
    assert (folder.checkpoints_dir(Stage.SFT) / f"checkpoint-{last}" / "trainer_state.json").exists()


def test_memory_that_ends_in_one_process_ends_the_run_which_goes_on_smaller(runs: Runs) -> None:
    folder = runs.new("memory", tokens_per_pass=600)  # passes are computed again in the backward pass, too
    runs.together.start(folder.path, no_memory=(1, 2))
    assert runs.together.wait() == [1, 1]
    assert "goes on with 1, 2 times a step, once the run is resumed" in (folder.state().why or "")
    (alarm,) = folder.alarms()
    assert (alarm.kind, alarm.micro_batch) == (AlarmKind.OUT_OF_MEMORY, 1)
    runs.finish(folder)
    assert folder.metrics()[-1].get("micro_batch") is None, "stage 2 had memory"
    assert folder.metrics()[4]["micro_batch"] == 1


def test_a_launched_run_saves_when_its_launcher_is_killed_and_ends_as_that_of_one_process(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started as an editor would on a machine with several GPUs: here two processes on the CPU."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with open_desk(tmp_path / "data") as desk:
        folder = runs.new("launched", root=desk.runs_dir)
        runner.start(desk, folder.path, Launch("cpu.yaml", 2))
        launcher = folder.state().launcher
        assert launcher not in (None, os.getpid(), folder.state().pid)
        wait_for_step(folder, 1, Stage.DPO)
        os.kill(launcher or 0, signal.SIGKILL)
        view = runner.wait(folder.path)
        assert view.status is RunStatus.STOPPED, (folder.path / "run.log").read_text()
        assert "launched it was killed" in (view.why or "")
        assert launchers.kept(folder.path) == Launch("cpu.yaml", 2), "resumed the same way"
    runs.finish(folder)
