"""Stage 2: DPO on settled conflicts plus the SFT loss on the chosen answer, from the stage-1 adapter.

The reference is the stage-1 student, so the first loss is ln 2 plus the weighted SFT loss. TRL keeps a
frozen copy of the adapter this stage starts from, which holds because the adapter is loaded trainable
and no new one is asked for; resuming builds the same trainer from the stage-1 adapter before the
checkpoint is read, so the reference is stage 1 then too. On the fast path that copy answers once, before
the first step, and what it said is kept beside the checkpoints.
"""

from typing import Any

from peft import PeftModel
from trl import DPOConfig, DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForVisionPreference

from db.vocabulary import Stage
from training.base import load_configured
from training.conversations import answer_turn, question_turn
from training.families import Family, route
from training.fast import ROWS_BY_NUMBER, SharedPrefixDpoTrainer, numbered, tokenized
from training.records import Preference
from training.stage import (
    PartProgress,
    PictureCollator,
    Progress,
    StageInputs,
    fast_pictures,
    stage_pictures,
    trainer_settings,
)
from training.stage_run import StageRun
from training.watched import RowsInOrder, WatchedDpoTrainer

ANSWERS = ("chosen", "rejected")


def build_trainer(inputs: StageInputs, preferences: list[Preference]) -> tuple[DPOTrainer, Progress]:
    """Build TRL's trainer on the stage-1 student."""
    base, processor = load_configured(inputs.config)
    taken = route(inputs.config, base)
    progress = Progress(inputs, Stage.DPO, taken.why)
    examples = [_example(preference) for preference in preferences]
    given = {
        "model": _stage1_student(inputs, base),
        "processing_class": processor,
        "callbacks": [progress],
    }
    case_ids = [preference.case.id for preference in preferences]
    if taken.family is None:
        return _stock_trainer(inputs, examples, case_ids, given), progress
    return _fast_trainer(inputs, examples, case_ids, given, base, taken.family), progress


def stage_run(inputs: StageInputs, preferences: list[Preference]) -> StageRun:
    """Return the stage, to be prepared (its reference asked) and run."""
    return StageRun(inputs, Stage.DPO, lambda smaller: build_trainer(smaller, preferences))


def run(inputs: StageInputs, preferences: list[Preference]) -> None:
    """Train and leave the adapter in `dpo/`. Raises StageStopped where it was asked to stop."""
    stage_run(inputs, preferences).run()


def _example(preference: Preference) -> dict[str, Any]:
    return {
        "images": [preference.case.image],
        "prompt": question_turn(preference.case),
        "chosen": answer_turn(preference.verdict, preference.chosen),
        "rejected": answer_turn(preference.rejected_side, preference.rejected),
    }


def _stage1_student(inputs: StageInputs, base: Any) -> PeftModel:
    return PeftModel.from_pretrained(base, inputs.folder.adapter_dir(Stage.SFT), is_trainable=True)


def _settings(inputs: StageInputs, *, recompute: bool = False) -> dict[str, Any]:
    settings, working_dir = inputs.config.dpo, inputs.folder.checkpoints_dir(Stage.DPO)
    return {
        **trainer_settings(inputs.config, settings, working_dir, recompute=recompute),
        "beta": settings.beta,
        "loss_type": [settings.loss, "sft"],
        "loss_weights": [1.0, settings.sft_weight],
        "label_smoothing": settings.label_smoothing,
        "ld_alpha": None if settings.ld_alpha == 1 else settings.ld_alpha,
    }


def _stock_trainer(
    inputs: StageInputs, examples: list[dict[str, Any]], case_ids: list[str], given: dict[str, Any]
) -> DPOTrainer:
    processor = given["processing_class"]
    pictures = stage_pictures(inputs, processor, [example["images"][0] for example in examples])
    collator = PictureCollator(DataCollatorForVisionPreference(processor), pictures)
    trainer = WatchedDpoTrainer(
        **given,
        train_dataset=numbered(examples),
        data_collator=RowsInOrder(collator, case_ids, inputs.ranks),
        args=DPOConfig(
            **_settings(inputs, recompute=inputs.config.activation_checkpointing), **ROWS_BY_NUMBER
        ),
    )
    trainer.parts = inputs.parts
    return trainer


def _fast_trainer(
    inputs: StageInputs,
    examples: list[dict[str, Any]],
    case_ids: list[str],
    given: dict[str, Any],
    base: Any,
    family: Family,
) -> DPOTrainer:
    progress = PartProgress(inputs, "reference", len(examples))
    pictures = fast_pictures(inputs, base, given["processing_class"], family, progress.pause)
    return SharedPrefixDpoTrainer(
        **given,
        rows=tokenized(examples, ANSWERS, pictures),
        case_ids=case_ids,
        pictures=pictures,
        family=family,
        most_tokens=inputs.config.tokens_per_pass,
        reference_path=inputs.folder.checkpoints_dir(Stage.DPO) / "reference.safetensors",
        progress=progress.together,
        ranks=inputs.ranks,
        args=DPOConfig(**_settings(inputs), **ROWS_BY_NUMBER),
    )
