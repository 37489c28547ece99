"""Stage 2: DPO on settled conflicts plus the SFT loss on the chosen answer, from the stage-1 adapter.

The reference is the stage-1 student, so the first loss is ln 2 plus the weighted SFT loss. TRL keeps a
frozen copy of the adapter this stage starts from, which holds because the adapter is loaded trainable
and no new one is asked for; resuming builds the same trainer from the stage-1 adapter before the
checkpoint is read, so the reference is stage 1 then too. On the fast path that copy answers once, before
the first step, and what it said is kept beside the checkpoints.
"""

from typing import Any

from datasets import Dataset
from peft import PeftModel
from trl import DPOConfig, DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForVisionPreference

from db.vocabulary import Stage, Verdict
from training.base import load_base
from training.conversations import answer_turn, question_turn
from training.families import Family, route
from training.fast import ROWS_BY_NUMBER, SharedPrefixDpoTrainer, tokenized
from training.records import Preference
from training.stage import (
    PictureCollator,
    Progress,
    StageInputs,
    fast_pictures,
    leave_adapter,
    stage_pictures,
    train,
    trainer_settings,
)

ANSWERS = ("chosen", "rejected")


def build_trainer(inputs: StageInputs, preferences: list[Preference]) -> tuple[DPOTrainer, Progress]:
    """Build TRL's trainer on the stage-1 student."""
    base, processor = load_base(inputs.config.student, inputs.config.dtype)
    taken = route(inputs.config, base)
    progress = Progress(inputs, Stage.DPO, taken.why)
    examples = [_example(preference) for preference in preferences]
    if taken.family is None:
        return _stock_trainer(inputs, base, processor, examples, progress), progress
    return _fast_trainer(inputs, base, processor, examples, progress, taken.family), progress


def run(inputs: StageInputs, preferences: list[Preference]) -> None:
    """Train and leave the adapter in `dpo/`. Raises StageStopped where it was asked to stop."""
    trainer, progress = build_trainer(inputs, preferences)
    train(trainer, progress, inputs.folder.checkpoints_dir(Stage.DPO))
    leave_adapter(trainer.model, inputs, Stage.DPO)


def _example(preference: Preference) -> dict[str, Any]:
    return {
        "images": [preference.case.image],
        "prompt": question_turn(preference.case),
        "chosen": answer_turn(preference.verdict, preference.chosen),
        "rejected": answer_turn(_other(preference.verdict), preference.rejected),
    }


def _stage1_student(inputs: StageInputs, base: Any) -> PeftModel:
    return PeftModel.from_pretrained(base, inputs.folder.adapter_dir(Stage.SFT), is_trainable=True)


def _settings(inputs: StageInputs) -> dict[str, Any]:
    settings = inputs.config.dpo
    return {
        **trainer_settings(inputs.config, settings, inputs.folder.checkpoints_dir(Stage.DPO)),
        "beta": settings.beta,
        "loss_type": ["sigmoid", "sft"],
        "loss_weights": [1.0, settings.sft_weight],
    }


def _stock_trainer(
    inputs: StageInputs, base: Any, processor: Any, examples: list[dict[str, Any]], progress: Progress
) -> DPOTrainer:
    pictures = stage_pictures(inputs, processor, [example["images"][0] for example in examples])
    return DPOTrainer(
        model=_stage1_student(inputs, base),
        processing_class=processor,
        train_dataset=Dataset.from_list(examples),
        data_collator=PictureCollator(DataCollatorForVisionPreference(processor), pictures),
        args=DPOConfig(**_settings(inputs)),
        callbacks=[progress],
    )


def _fast_trainer(
    inputs: StageInputs,
    base: Any,
    processor: Any,
    examples: list[dict[str, Any]],
    progress: Progress,
    family: Family,
) -> DPOTrainer:
    pictures = fast_pictures(inputs, base, processor, family)
    return SharedPrefixDpoTrainer(
        model=_stage1_student(inputs, base),
        rows=tokenized(examples, ANSWERS, pictures),
        pictures=pictures,
        family=family,
        reference_path=inputs.folder.checkpoints_dir(Stage.DPO) / "reference.safetensors",
        processing_class=processor,
        args=DPOConfig(**_settings(inputs), **ROWS_BY_NUMBER),
        callbacks=[progress],
    )


def _other(verdict: Verdict) -> Verdict:
    return Verdict.IN_CONTEXT if verdict is Verdict.OUT_OF_CONTEXT else Verdict.OUT_OF_CONTEXT
