"""One stage from its records to its adapter, whatever memory allows.

Where memory ends, on the GPU or beside it, the step that was taken last is saved, the micro-batch is
halved, accumulation grows by as much, and the stage goes on from that step: the same rows in a step and
the same loss, but for rounding. `alarms.jsonl` keeps the size, so that a resumed run begins with it. On the
fast path what goes through the language model at once is halved too. A loss or gradient that is no number
ends the stage, with the step before it saved.

Where several processes share a step, the one that has no memory left cannot tell the others, which wait for
it in the middle of theirs. It leaves the smaller size and ends, the run ends with it, and goes on from its
last checkpoint with that size once it is resumed.

Disk: a checkpoint is the adapter, which Adam's two moments triple, and some kilobytes. Of A bytes of
adapter, a stage's folder holds at most three checkpoints, the last two and the one being written, hence
9 A; beside it lie the two stages' adapters, 2 A, the reference's 16 bytes per preference, and features
up to `feature_bytes`. "Best" has no use here, because the end of a stage is its result: there is one kept
more than needed so that a last checkpoint that cannot be read costs `save_every` steps and not all.
"""

import gc
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import torch

from db.vocabulary import Stage
from training.alarms import Alarm, AlarmKind
from training.config import DistilConfig, StageConfig
from training.faults import NotFiniteError, SmallerNextTimeError, SmallestBatchError, is_out_of_memory
from training.stage import Progress, StageInputs, leave_adapter, newest_checkpoint, step_of, train
from training.state import LastWord

Build = Callable[[StageInputs], tuple[Any, Progress]]


class StageRun:
    """A stage on its way; `build` makes its trainer, computing features or reference as it goes."""

    def __init__(self, inputs: StageInputs, stage: Stage, build: Build) -> None:
        self.stage = stage
        self.build = build
        self.built: tuple[Any, Progress] | None = None
        self.working_dir = inputs.folder.checkpoints_dir(stage)
        size = stage_config(inputs.config, stage).batch_size
        kept = fitting(size, inputs.folder.micro_batch(stage) or size)
        self.inputs = smaller(inputs, stage, kept) if kept < size else inputs

    def prepare(self) -> tuple[Any, Progress]:
        """Return the trainer, built where there is none, in smaller micro-batches where memory ends."""
        while self.built is None:
            try:
                self.built = self.build(self.inputs)
            except Exception as error:
                self._check_smaller_helps(error)
            if self.built is None:
                self._go_smaller(0)
        return self.built

    def run(self) -> None:
        """Train and leave the adapter. Raises StageStopped, NotFiniteError or SmallestBatchError."""
        while True:
            trainer, progress = self.prepare()
            try:
                train(trainer, progress, self.working_dir)
                break
            except NotFiniteError:
                self._keep_step(trainer)
                raise
            except Exception as error:
                self._check_smaller_helps(error)
            self.built = None
            step = trainer.state.global_step
            if self.inputs.ranks.count == 1:
                self._keep_step(trainer)
            del trainer, progress
            self._go_smaller(step)
        self.inputs.ranks.all_say(self.stage)  # nobody has a file of the checkpoints open any more
        leave_adapter(trainer, self.inputs, self.stage)
        self.built = None  # the next part's student needs the room

    def _check_smaller_helps(self, error: Exception) -> None:
        """Raise the error again unless memory ended and there is a smaller micro-batch."""
        if not is_out_of_memory(error):
            raise error
        if stage_config(self.inputs.config, self.stage).batch_size == 1:
            raise SmallestBatchError(
                f"Memory ends in stage {self.stage.value} even with one row at a time: choose a smaller"
                " student, or a machine with more memory; the run goes on from the last save."
            ) from error

    def _keep_step(self, trainer: Any) -> None:
        """Save the last step that was taken, where no checkpoint is of it."""
        ranks = self.inputs.ranks
        saved = ranks.main_says(newest_checkpoint(self.working_dir) if ranks.is_main else None)
        step = trainer.state.global_step
        trainer.model.zero_grad(set_to_none=True)
        if step > (step_of(saved) if saved else 0):
            trainer._save_checkpoint(trainer.model, trial=None)  # there is no public way between two steps

    def _go_smaller(self, step: int) -> None:
        """Halve the micro-batch from here on, and say so.

        Raises SmallerNextTimeError where other processes wait for this one.
        """
        gc.collect()  # what a failed step left lies in cycles
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        before = stage_config(self.inputs.config, self.stage)
        self.inputs = smaller(self.inputs, self.stage, half(before.batch_size))
        now = stage_config(self.inputs.config, self.stage)
        said = (
            f"Memory ended after step {step} of stage {self.stage.value} with {before.batch_size} rows at"
            f" a time: it goes on with {now.batch_size}, {now.accumulation} times a step"
        )
        ranks, folder = self.inputs.ranks, self.inputs.folder
        if ranks.count == 1:
            said += "."
        else:
            said += ", once the run is resumed."
        if ranks.is_main:
            kind = AlarmKind.OUT_OF_MEMORY
            folder.append_alarm(Alarm(self.stage.value, step, kind, said, now.batch_size))
        else:
            folder.leave_word(ranks.rank, LastWord(said, self.stage.value, step, now.batch_size))
        if ranks.count > 1:
            raise SmallerNextTimeError(said)


def half(size: int) -> int:
    """Return the largest size of equal parts of a batch that is at most half of it."""
    return fitting(size, size // 2)


def fitting(size: int, most: int) -> int:
    """Return the largest size of equal parts of a batch that is at most `most`."""
    return next(part for part in range(min(size, most), 0, -1) if size % part == 0)


def smaller(inputs: StageInputs, stage: Stage, size: int) -> StageInputs:
    """Return the inputs with a stage's batch cut into micro-batches of `size`, which divides it."""
    config = inputs.config
    times = stage_config(config, stage).batch_size // size
    changed = replace(
        config,
        sft=_cut(config.sft, times) if stage is Stage.SFT else config.sft,
        dpo=_cut(config.dpo, times) if stage is Stage.DPO else config.dpo,
        tokens_per_pass=max(1, config.tokens_per_pass // times),
    )
    return replace(inputs, config=changed, parts=inputs.parts * times)


def stage_config(config: DistilConfig, stage: Stage) -> StageConfig:
    """Return the settings of a stage."""
    return config.sft if stage is Stage.SFT else config.dpo


Config = TypeVar("Config", bound=StageConfig)


def _cut(whole: Config, times: int) -> Config:
    return replace(whole, batch_size=whole.batch_size // times, accumulation=whole.accumulation * times)
