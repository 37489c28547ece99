"""Stage 1: LoRA fine-tuning of the untouched student on every training case that has a target.

TRL's SFTTrainer does the work; the loss is on the answer only. On the fast path it is the same trainer
on packed batches: cached features, one row per prompt, and the LM head on answers alone.
"""

from typing import Any

from peft import LoraConfig
from transformers import set_seed
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from db.vocabulary import Stage
from training.base import load_configured
from training.conversations import answer_turn, question_turn
from training.families import Family, route
from training.fast import ROWS_BY_NUMBER, SftCollator, numbered, row_numbers, tokenized
from training.records import Target
from training.shared_prefix import share_prefixes
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
from training.watched import RowsInOrder, WatchedSftTrainer


def build_trainer(inputs: StageInputs, targets: list[Target]) -> tuple[SFTTrainer, Progress]:
    """Build TRL's trainer on the untouched student with a fresh adapter, drawn with the run's seed."""
    model, processor = load_configured(inputs.config)
    taken = route(inputs.config, model)
    progress = Progress(inputs, Stage.SFT, taken.why)
    lora = inputs.config.lora
    examples = [_example(target) for target in targets]
    given = {
        "model": model,
        "processing_class": processor,
        "peft_config": LoraConfig(
            r=lora.rank, lora_alpha=lora.alpha, target_modules=lora.targets, task_type="CAUSAL_LM"
        ),
        "callbacks": [progress],
    }
    case_ids = [target.case.id for target in targets]
    set_seed(inputs.config.seed)  # PEFT draws the adapter before TRL seeds anything
    if taken.family is None:
        return _stock_trainer(inputs, examples, case_ids, given), progress
    return _fast_trainer(inputs, examples, case_ids, given, taken.family), progress


def stage_run(inputs: StageInputs, targets: list[Target]) -> StageRun:
    """Return the stage, to be prepared (its features computed) and run."""
    return StageRun(inputs, Stage.SFT, lambda smaller: build_trainer(smaller, targets))


def run(inputs: StageInputs, targets: list[Target]) -> None:
    """Train and leave the adapter in `sft/`. Raises StageStopped where it was asked to stop."""
    stage_run(inputs, targets).run()


def _example(target: Target) -> dict[str, Any]:
    return {
        "images": [target.case.image],
        "prompt": question_turn(target.case),
        "completion": answer_turn(target.verdict, target.rationale),
    }


def _settings(inputs: StageInputs, *, recompute: bool = False) -> dict[str, Any]:
    working_dir = inputs.folder.checkpoints_dir(Stage.SFT)
    return trainer_settings(inputs.config, inputs.config.sft, working_dir, recompute=recompute)


def _stock_trainer(
    inputs: StageInputs, examples: list[dict[str, Any]], case_ids: list[str], given: dict[str, Any]
) -> SFTTrainer:
    processor = given["processing_class"]
    pictures = stage_pictures(inputs, processor, [example["images"][0] for example in examples])
    collator = DataCollatorForVisionLanguageModeling(processor, completion_only_loss=True)
    return WatchedSftTrainer(
        **given,
        train_dataset=numbered(examples),
        data_collator=RowsInOrder(PictureCollator(collator, pictures), case_ids, inputs.ranks),
        args=SFTConfig(
            **_settings(inputs, recompute=inputs.config.activation_checkpointing), **ROWS_BY_NUMBER
        ),
    )


def _fast_trainer(
    inputs: StageInputs,
    examples: list[dict[str, Any]],
    case_ids: list[str],
    given: dict[str, Any],
    family: Family,
) -> SFTTrainer:
    model = given["model"]
    progress = PartProgress(inputs, "features", len(examples))
    pictures = fast_pictures(inputs, model, given["processing_class"], family, progress)
    rows = tokenized(examples, ["completion"], pictures)
    trainer = WatchedSftTrainer(
        **given,
        train_dataset=row_numbers(rows),
        data_collator=RowsInOrder(
            SftCollator(rows, pictures, inputs.config.tokens_per_pass), case_ids, inputs.ranks
        ),
        args=SFTConfig(**_settings(inputs), **ROWS_BY_NUMBER, dataset_kwargs={"skip_prepare_dataset": True}),
    )
    share_prefixes(model, family)  # after TRL has given it its head
    return trainer
