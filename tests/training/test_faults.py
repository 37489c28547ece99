"""What goes wrong in a run: memory that ends, figures that are no numbers, workers that die."""

import errno
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import DataLoader, Dataset
from transformers import TrainerControl, TrainerState, TrainingArguments

from db.vocabulary import RunStatus, Stage
from tests.training.conftest import MakeRun, freeze_run
from training import distil, dpo, sft, stage
from training.alarms import ROWS, AlarmKind
from training.config import ConfigError, load_config, save_config
from training.faults import NotFiniteError, SmallestBatchError, in_halves, is_out_of_memory, reason
from training.records import Preference, Target, read_records
from training.stage import StageInputs, newest_checkpoint
from training.stage_run import half
from training.state import RunFolder
from training.watched import shares

pytestmark = pytest.mark.usefixtures("one_thread")

TOO_MUCH = 1 << 50  # bytes; no machine has them


Hook = Callable[[torch.Tensor, torch.Tensor], torch.Tensor | None]


def hooked(monkeypatch: pytest.MonkeyPatch, module: Any, hook: Hook) -> None:
    """Have a hook called with what goes into the student's embeddings in a stage, and what comes out."""
    load = module.load_configured

    def load_hooked(config: Any) -> Any:
        model, processor = load(config)
        model.get_input_embeddings().register_forward_hook(lambda _, given, made: hook(given[0], made))
        return model, processor

    monkeypatch.setattr(module, "load_configured", load_hooked)


def needing_memory(most_tokens: int) -> Hook:
    """Return a hook that asks the system for more memory than there is where tokens are too many."""

    def hook(given: torch.Tensor, made: torch.Tensor) -> None:
        if given.numel() > most_tokens:
            torch.empty(TOO_MUCH, dtype=torch.uint8)

    return hook


def adapter(folder: RunFolder, which: Stage) -> dict[str, torch.Tensor]:
    return load_file(folder.adapter_dir(which) / "adapter_model.safetensors")


def test_an_allocation_that_is_refused_is_known_as_one() -> None:
    with pytest.raises(RuntimeError) as refused:
        torch.empty(TOO_MUCH, dtype=torch.uint8)
    assert is_out_of_memory(refused.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."))
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
def test_a_full_disk_is_known_through_the_error_that_wraps_it(number: int) -> None:
    wrapping = RuntimeError("could not save")
    wrapping.__cause__ = OSError(number, os.strerror(number))
    assert reason(wrapping).startswith("The disk is full")


def test_a_reason_is_one_line() -> None:
    assert reason(KeyError("a\nb\nc")).count("\n") == 0
    assert reason(ConfigError("rank 0 is below 1.")) == "rank 0 is below 1."


class Dying(Dataset[int]):
    """Rows that take the process that reads them with them."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, row: int) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return row


def test_a_worker_that_dies_is_called_lost() -> None:
    with pytest.raises(RuntimeError) as lost:
        list(DataLoader(Dying(), num_workers=1))
    assert reason(lost.value).startswith("A process that the run needs was lost (DataLoader worker")


def test_work_is_halved_until_it_fits() -> None:
    done: list[int] = []

    def work(numbers: Any) -> list[int]:
        if len(numbers) > 2:
            torch.empty(TOO_MUCH, dtype=torch.uint8)
        done.append(len(numbers))
        return [2 * number for number in numbers]

    assert in_halves(work, range(7)) == [0, 2, 4, 6, 8, 10, 12]
    assert max(done) <= 2


def test_a_batch_is_halved_into_equal_parts() -> None:
    assert [half(size) for size in (2, 5, 6, 9, 16)] == [1, 1, 3, 3, 8]


def test_shares_make_the_mean_over_parts_the_mean_over_their_batch() -> None:
    held = [(2, 10), (2, 30), (2, 5), (1, 5)]  # two batches of two parts each, the last one short
    means = [3.0, 5.0, 7.0, 1.0]
    wanted = ((3 * 10 + 5 * 30) / 40 + (7 * 5 + 1 * 5) / 10) / 2
    made = sum(tokens * mean for (_, tokens), mean in zip(shares(held, 2), means, strict=True)) / len(held)
    assert made == pytest.approx(wanted)
    assert shares(held, 1) == [(1.0, 1.0)] * 4


def inputs_of(folder: RunFolder) -> StageInputs:
    return StageInputs(folder, load_config(folder.config_path), lambda: False)


def train(folder: RunFolder, which: Stage) -> None:
    """Train one stage of a run."""
    if which is Stage.SFT:
        sft.run(inputs_of(folder), read_records(folder.path / "sft.jsonl", Target))
    else:
        dpo.run(inputs_of(folder), read_records(folder.path / "preferences.jsonl", Preference))


@pytest.fixture(scope="module")
def after_stage_1(tiny_student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a run whose first stage nobody disturbed."""
    run_dir = freeze_run(tmp_path_factory.mktemp("undisturbed") / "run", tiny_student, max_steps=4)
    train(RunFolder(run_dir), Stage.SFT)
    return run_dir


def assert_close(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    """Compare adapters: the same but for the rounding of sums, which Adam's first steps enlarge."""
    for name, values in theirs.items():
        assert float((ours[name] - values).norm()) <= 1e-3 * float(values.norm()) + 1e-6, name


@pytest.mark.parametrize(("name", "path"), [("sft", "fast"), ("dpo", "fast"), ("dpo", "stock")])
def test_where_memory_ends_the_micro_batch_is_halved_and_the_result_is_the_same(
    after_stage_1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, path: str
) -> None:
    folders = [RunFolder(shutil.copytree(after_stage_1, tmp_path / copy)) for copy in ("whole", "cut")]
    for folder in folders:
        save_config(replace(load_config(folder.config_path), path=path), folder.config_path)
        shutil.rmtree(folder.adapter_dir(Stage(name)), ignore_errors=True)
        folder.metrics_path.unlink()
    whole, cut = folders
    train(whole, Stage(name))
    refused: list[int] = []

    def once_after_step_2(given: torch.Tensor, _: torch.Tensor) -> None:
        if len(cut.metrics()) == 2 and not refused:
            refused.append(given.numel())
            torch.empty(TOO_MUCH, dtype=torch.uint8)

    hooked(monkeypatch, {"sft": sft, "dpo": dpo}[name], once_after_step_2)
    train(cut, Stage(name))
    (alarm,) = cut.alarms()
    assert (alarm.kind, alarm.stage, alarm.step) == (AlarmKind.OUT_OF_MEMORY, name, 2)
    assert "goes on with 2, 2 times a step" in alarm.said
    assert cut.state().alarm == alarm.said
    assert [row.get("micro_batch") for row in cut.metrics()] == [None, None, 2, 2]
    assert_close(adapter(cut, Stage(name)), adapter(whole, Stage(name)))


def test_where_one_row_is_too_much_the_run_ends_with_the_way_out(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(make_run(max_steps=1))
    with monkeypatch.context() as patched:
        hooked(patched, sft, needing_memory(0))
        with pytest.raises(SmallestBatchError):
            distil.run(folder)
    state = folder.state()
    assert state.status is RunStatus.FAILED
    assert "one row at a time" in (state.why or "")
    assert [alarm.micro_batch for alarm in folder.alarms()] == [2, 1]
    train(folder, Stage.SFT)
    assert [row["micro_batch"] for row in folder.metrics()] == [1], "a size that was found is kept"


def test_a_step_that_is_no_number_is_not_taken_and_says_its_cases(
    after_stage_1: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(make_run(max_steps=4))

    def overflowing(_: torch.Tensor, made: torch.Tensor) -> torch.Tensor | None:
        return made * torch.inf if len(folder.metrics()) == 2 else None

    with monkeypatch.context() as patched:
        hooked(patched, sft, overflowing)
        with pytest.raises(NotFiniteError):
            distil.run(folder)
    why = folder.state().why or ""
    assert "The loss was no number at step 3" in why
    targets = read_records(folder.path / "sft.jsonl", Target)
    named = [f"{target.case.id} (row {row})" for row, target in enumerate(targets, 1)]
    assert sum(name in why for name in named) == 4, "a batch of four"
    saved = newest_checkpoint(folder.checkpoints_dir(Stage.SFT))
    assert saved is not None
    assert saved.name == "checkpoint-2"
    kept = load_file(saved / "adapter_model.safetensors")
    assert all(torch.isfinite(values).all() for values in kept.values())
    assert not (saved / "ref").exists()
    train(folder, Stage.SFT)
    for name, values in adapter(RunFolder(after_stage_1), Stage.SFT).items():
        assert torch.equal(adapter(folder, Stage.SFT)[name], values), name


def test_a_gradient_that_is_no_number_stops_the_stage_too(make_run: MakeRun) -> None:
    folder = RunFolder(make_run(max_steps=2))
    targets = read_records(folder.path / "sft.jsonl", Target)
    trainer, progress = sft.build_trainer(inputs_of(folder), targets)
    model: Any = trainer.model
    values = next(values for values in model.parameters() if values.requires_grad)
    before = values.detach().clone()
    values.register_hook(lambda gradient: gradient * torch.nan)
    with pytest.raises(NotFiniteError, match="The gradient was no number at step 1"):
        stage.train(trainer, progress, folder.checkpoints_dir(Stage.SFT))
    assert torch.equal(values, before)


def test_an_alarm_is_noted_once_and_told_by_the_state(make_run: MakeRun) -> None:
    folder = RunFolder(make_run())
    progress = stage.Progress(inputs_of(folder), Stage.SFT, "fast")
    for step in range(1, 9):
        state = TrainerState(global_step=step, max_steps=8)
        progress.on_log(TrainingArguments(use_cpu=True), state, TrainerControl(), {"loss": 0.0})
    (alarm,) = folder.alarms()
    assert (alarm.kind, alarm.step) == (AlarmKind.LOSS_ZERO, ROWS)
    assert folder.state().alarm == alarm.said
    assert folder.state().status is RunStatus.RUNNING
