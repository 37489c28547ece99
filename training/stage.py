"""What both stages share: trainer settings, progress, a stop that saves, and resuming.

A stage works in `checkpoints/STAGE` and leaves its adapter in the folder STAGE of the run, written
beside it and renamed, so that the folder's existence means the stage is complete.
"""

import json
import shutil
import time
from collections.abc import Callable
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
from training.config import DistilConfig, StageConfig
from training.families import Family
from training.features import Pictures
from training.pictures import load_pictures, longest_edge
from training.state import RunFolder


class StageStopped(Exception):  # noqa: N818 - not an error: somebody asked for it
    """The stage was asked to stop and has saved; running the folder again goes on from there."""


@dataclass(frozen=True, slots=True)
class StageInputs:
    """What a stage works with: its run folder, its settings, and when to stop."""

    folder: RunFolder
    config: DistilConfig
    stop_requested: Callable[[], bool]


def trainer_settings(config: DistilConfig, stage: StageConfig, output_dir: Path) -> dict[str, Any]:
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
        "save_strategy": "steps",
        "save_steps": stage.save_every,
        "save_total_limit": 2,
        "seed": config.seed,
        "bf16": on_gpu and config.dtype == "bfloat16",
        "use_cpu": not on_gpu,
        "activation_checkpointing": False,
        "dataloader_pin_memory": on_gpu,
        "max_length": None,
        "report_to": "none",
        "disable_tqdm": True,
    }


class PictureCollator:
    """Hands TRL's own collator pictures from memory where a row names a file.

    Every picture of the stage is decoded and shrunk once, not at every step.
    """

    def __init__(
        self, inner: Callable[[list[dict[str, Any]]], dict[str, Any]], pictures: dict[str, Image.Image]
    ):
        self.inner = inner
        self.pictures = pictures

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate rows whose `images` are names of pictures."""
        return self.inner(
            [{**row, "images": [self.pictures[name] for name in row["images"]]} for row in rows]
        )


def fast_pictures(inputs: StageInputs, model: Any, processor: Any, family: Family) -> Pictures:
    """Return the run's pictures as features, kept in its folder for both stages.

    Work on them raises StageStopped once a stop is requested.
    """
    folder = inputs.folder

    def pause() -> None:
        if inputs.stop_requested():
            raise StageStopped

    model.to("cuda" if torch.cuda.is_available() else "cpu")  # before TRL would, for the vision tower
    return Pictures(
        folder.path,
        model,
        processor,
        family,
        folder=folder.features_dir,
        budget=inputs.config.feature_bytes,
        pause=pause,
    )


def stage_pictures(inputs: StageInputs, processor: Any, names: list[str]) -> dict[str, Image.Image]:
    """Load the pictures of a stage, shrunk for the processor."""
    return load_pictures(inputs.folder.path, names, longest_edge(processor))


class Progress(TrainerCallback):
    """Writes state and metrics as the stage goes, and turns a request to stop into a saved stop."""

    def __init__(self, inputs: StageInputs, stage: Stage, path: str) -> None:
        self.inputs = inputs
        self.stage = stage
        self.path = path
        self.started = time.monotonic()
        self.stopped = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Say which stage runs and how long it is."""
        self._say(state)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Stop after this step where asked to, having saved."""
        if self.inputs.stop_requested() and state.global_step < state.max_steps:
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
        """Append one line of metrics and bring the state up to date."""
        said = logs or {}
        if "loss" not in said:
            return
        row = {new: said[old] for old, new in _METRICS.items() if old in said}
        self.inputs.folder.append_metrics(
            {
                "stage": self.stage.value,
                "step": state.global_step,
                "steps": state.max_steps,
                "seconds": round(time.monotonic() - self.started, 2),
                **row,
            }
        )
        self._say(state)

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
    checkpoint = newest_checkpoint(working_dir)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if progress.stopped:
        raise StageStopped


def newest_checkpoint(working_dir: Path) -> Path | None:
    """Return the newest checkpoint that was written to its end, deleting those that were not.

    The trainer's state is a checkpoint's last file, so one without it was cut off by a kill.
    """
    found = sorted(
        working_dir.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True
    )
    for path in found:
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(path)
        else:
            return path
    return None


def leave_adapter(model: Any, inputs: StageInputs, stage: Stage) -> None:
    """Save the adapter as the stage's result and drop the checkpoints that led to it."""
    folder = inputs.folder
    model.peft_config["default"].base_model_name_or_path = inputs.config.student  # no path of this machine
    final, partial = folder.adapter_dir(stage), folder.path / f"{stage.value}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial, selected_adapters=["default"])
    partial.rename(final)
    working_dir = folder.checkpoints_dir(stage)
    shutil.rmtree(working_dir, ignore_errors=True)
    if working_dir.parent.is_dir() and not any(working_dir.parent.iterdir()):
        working_dir.parent.rmdir()
