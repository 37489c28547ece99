"""What both stages share: trainer settings, progress, a stop that saves, and resuming.

A stage works in `checkpoints/STAGE` and leaves its adapter in the folder STAGE of the run, written
beside it and renamed, so that the folder's existence means the stage is complete.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import (
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from db.vocabulary import Stage
from training.alarms import alarms
from training.base import precision
from training.config import DistilConfig, StageConfig, public_name
from training.families import Family
from training.features import Pictures
from training.pictures import load_pictures, longest_edge
from training.ranks import ALONE, PATIENCE, Ranks
from training.state import RunFolder, StageStopped as StageStopped, is_whole_checkpoint
from training.watched import Batch

SAY_EVERY = 0.5
"""Seconds between two words of `state.json` on how far a part is; each is written through to the disk."""


@dataclass(frozen=True, slots=True)
class StageInputs:
    """What a stage works with: its run folder, its settings, and when to stop.

    `parts` is into how many micro-batches a batch is cut that did not fit into memory; the settings have
    the smaller batch then. With several processes, `ranks`, they have this process's share of a batch.
    """

    folder: RunFolder
    config: DistilConfig
    stop_requested: Callable[[], bool]
    parts: int = 1
    ranks: Ranks = ALONE

    def stop_is_agreed(self) -> bool:
        """Whether any process was asked to stop; all must ask this together."""
        return self.ranks.any_says(self.stop_requested())


class PartProgress:
    """Says how far a part is that trains nothing, and ends it once a stop is requested.

    Called for each of `steps` pieces of work; raises StageStopped. `together` is for work whose pieces all
    processes do side by side; elsewhere each goes its own way, and ends by itself.
    """

    def __init__(self, inputs: StageInputs, name: str, steps: int) -> None:
        self.inputs = inputs
        self.name = name
        self.steps = steps
        self.step = 0
        self.said_at = time.monotonic()

    def pause(self) -> None:
        """End the part here where it was asked to stop."""
        if self.inputs.stop_requested():
            raise StageStopped

    def __call__(self, pieces: int = 1) -> None:
        """Begin on so many pieces more."""
        self.pause()
        self._count(pieces)

    def together(self, pieces: int = 1) -> None:
        """Begin on so many pieces more, in all processes or in none."""
        if self.inputs.stop_is_agreed():
            raise StageStopped
        self._count(pieces)

    def _count(self, pieces: int) -> None:
        if time.monotonic() - self.said_at >= SAY_EVERY:
            self.inputs.folder.say(stage=self.name, step=self.step, steps=self.steps)
            self.said_at = time.monotonic()
        self.step = min(self.steps, self.step + pieces)


def trainer_settings(
    config: DistilConfig, stage: StageConfig, output_dir: Path, *, recompute: bool = False
) -> dict[str, Any]:
    """Return the arguments both of TRL's configurations take, with its defaults for GPUs undone."""
    on_gpu = torch.cuda.is_available()
    return {
        "output_dir": str(output_dir),
        "per_device_train_batch_size": stage.batch_size,
        "gradient_accumulation_steps": stage.accumulation,
        "num_train_epochs": stage.epochs,
        "max_steps": config.max_steps or -1,
        "learning_rate": stage.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": stage.warmup,
        "logging_steps": stage.log_every,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": stage.save_every,
        "save_total_limit": 2,
        "seed": config.seed,
        "bf16": on_gpu and precision(config.dtype) == "bfloat16",
        "use_cpu": not on_gpu,
        "activation_checkpointing": recompute,
        "dataloader_pin_memory": on_gpu,
        "ddp_timeout": int(PATIENCE.total_seconds()),
        "max_length": None,
        "report_to": "none",
        "disable_tqdm": True,
    }


class PictureCollator:
    """Hands TRL's own collator pictures from memory where a row names a file.

    Every picture of the stage is decoded and shrunk once, not at every step.
    """

    def __init__(self, inner: Callable[[list[Batch]], Batch], pictures: dict[str, Image.Image]):
        self.inner = inner
        self.pictures = pictures

    def __call__(self, rows: Sequence[Batch]) -> Batch:
        """Collate rows whose `images` are names of pictures, and whose number TRL need not know."""
        given = [{name: value for name, value in row.items() if name != "row"} for row in rows]
        return self.inner(
            [{**row, "images": [self.pictures[name] for name in row["images"]]} for row in given]
        )


def fast_pictures(
    inputs: StageInputs, model: Any, processor: Any, family: Family, pause: Callable[[], None]
) -> Pictures:
    """Return the run's pictures as features, kept in its folder for both stages.

    `pause` is called for every prompt.
    """
    folder = inputs.folder
    model.to("cuda" if torch.cuda.is_available() else "cpu")  # before TRL would, for the vision tower
    return Pictures(
        folder.path,
        model,
        processor,
        family,
        folder=folder.features_dir,
        budget=inputs.config.feature_bytes,
        pause=pause,
        ranks=inputs.ranks,
    )


def stage_pictures(inputs: StageInputs, processor: Any, names: list[str]) -> dict[str, Image.Image]:
    """Load the pictures of a stage, shrunk for the processor."""
    return load_pictures(inputs.folder.path, names, longest_edge(processor))


class Progress(TrainerCallback):
    """Writes state, metrics and alarms as the stage goes, and turns a request to stop into a saved stop."""

    def __init__(self, inputs: StageInputs, stage: Stage, path: str) -> None:
        self.inputs = inputs
        self.stage = stage
        self.path = path
        self.started = time.monotonic()
        self.stopped = False
        self.rows: list[dict[str, Any]] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Say which stage runs and how long it is; what was logged after the checkpoint is logged again."""
        logged = self.inputs.folder.metrics()
        self.rows = [row for row in logged if row["stage"] == self.stage and row["step"] <= state.global_step]
        self._say(state)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Stop after this step where asked to, having saved."""
        if self.inputs.stop_is_agreed() and state.global_step < state.max_steps:
            self.stopped = control.should_save = control.should_training_stop = True
        return control

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Append one line of metrics and what is alarming in them, and bring the state up to date."""
        said = logs or {}
        if "loss" not in said or not self.inputs.ranks.is_main:
            return
        row = {
            "stage": self.stage.value,
            "step": state.global_step,
            "steps": state.max_steps,
            "seconds": round(time.monotonic() - self.started, 2),
            **{new: said[old] for old, new in _METRICS.items() if old in said},
        }
        if self.inputs.parts > 1:
            row["micro_batch"] = args.per_device_train_batch_size
        self.inputs.folder.append_metrics(row)
        self.rows.append(row)
        self._alarm()
        self._say(state)

    def _alarm(self) -> None:
        """Note what is alarming for the first time in this stage."""
        folder = self.inputs.folder
        known = {alarm.kind for alarm in folder.alarms() if alarm.stage == self.stage}
        for alarm in alarms(self.rows):
            if alarm.kind not in known:
                folder.append_alarm(alarm)

    def _say(self, state: TrainerState) -> None:
        self.inputs.folder.say(
            stage=self.stage, step=state.global_step, steps=state.max_steps, path=self.path
        )


_METRICS = {
    "loss": "loss",
    "epoch": "epoch",
    "learning_rate": "learning_rate",
    "grad_norm": "gradient_norm",
    "rewards/margins": "margin",
    "rewards/chosen": "chosen",
    "rewards/rejected": "rejected",
    "rewards/accuracies": "reward_accuracy",
    "logps/chosen": "logp_chosen",
    "logps/rejected": "logp_rejected",
}
"""TRL's names of what it logs, and ours."""


def train(trainer: Any, progress: Progress, working_dir: Path) -> None:
    """Train from the newest whole checkpoint, or from the start. Raises StageStopped once it has saved."""
    trainer.remove_callback(PrinterCallback)
    ranks = progress.inputs.ranks
    checkpoint = ranks.main_says(newest_checkpoint(working_dir) if ranks.is_main else None)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if progress.stopped:
        raise StageStopped


def newest_checkpoint(working_dir: Path) -> Path | None:
    """Return the newest checkpoint that was written to its end, deleting newer ones that were not."""
    found = sorted(working_dir.glob("checkpoint-*"), key=step_of, reverse=True)
    for path in found:
        if is_whole_checkpoint(path):
            return path
        shutil.rmtree(path)
    return None


def step_of(checkpoint: Path) -> int:
    """Return the step after which a checkpoint was written."""
    return int(checkpoint.name.split("-")[1])


def leave_adapter(trainer: Any, inputs: StageInputs, stage: Stage) -> None:
    """Save the adapter as the stage's result and drop the checkpoints that led to it."""
    folder = inputs.folder
    trainer.model.peft_config["default"].base_model_name_or_path = public_name(inputs.config.student)
    final, partial = folder.adapter_dir(stage), folder.path / f"{stage.value}.partial"
    if inputs.ranks.is_main:
        shutil.rmtree(partial, ignore_errors=True)
    trainer.save_model(str(partial))
    if not inputs.ranks.is_main:
        return
    partial.rename(final)
    working_dir = folder.checkpoints_dir(stage)
    shutil.rmtree(working_dir, ignore_errors=True)
    if working_dir.parent.is_dir() and not any(working_dir.parent.iterdir()):
        working_dir.parent.rmdir()
