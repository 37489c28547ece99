"""Stage 1: LoRA fine-tuning of the untouched student on every training case that has a target.

TRL's SFTTrainer does the work; the loss is on the answer only. On the fast path it is the same trainer
on packed batches: cached features, one row per prompt, and the LM head on answers alone.
"""

from typing import Any

from datasets import Dataset
from peft import LoraConfig
from transformers import set_seed
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from db.vocabulary import Stage
from training.base import load_base
from training.conversations import answer_turn, question_turn
from training.families import Family, route
from training.fast import ROWS_BY_NUMBER, SftCollator, row_numbers, tokenized
from training.records import Target
from training.shared_prefix import share_prefixes
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


def build_trainer(inputs: StageInputs, targets: list[Target]) -> tuple[SFTTrainer, Progress]:
    """Build TRL's trainer on the untouched student with a fresh adapter, drawn with the run's seed."""
    model, processor = load_base(inputs.config.student, inputs.config.dtype)
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
    set_seed(inputs.config.seed)  # PEFT draws the adapter before TRL seeds anything
    if taken.family is None:
        return _stock_trainer(inputs, examples, given), progress
    return _fast_trainer(inputs, examples, given, taken.family), progress


def run(inputs: StageInputs, targets: list[Target]) -> None:
    """Train and leave the adapter in `sft/`. Raises StageStopped where it was asked to stop."""
    trainer, progress = build_trainer(inputs, targets)
    train(trainer, progress, inputs.folder.checkpoints_dir(Stage.SFT))
    leave_adapter(trainer.model, inputs, Stage.SFT)


def _example(target: Target) -> dict[str, Any]:
    return {
        "images": [target.case.image],
        "prompt": question_turn(target.case),
        "completion": answer_turn(target.verdict, target.rationale),
    }


def _settings(inputs: StageInputs) -> dict[str, Any]:
    return trainer_settings(inputs.config, inputs.config.sft, inputs.folder.checkpoints_dir(Stage.SFT))


def _stock_trainer(inputs: StageInputs, examples: list[dict[str, Any]], given: dict[str, Any]) -> SFTTrainer:
    processor = given["processing_class"]
    pictures = stage_pictures(inputs, processor, [example["images"][0] for example in examples])
    collator = DataCollatorForVisionLanguageModeling(processor, completion_only_loss=True)
    return SFTTrainer(
        **given,
        train_dataset=Dataset.from_list(examples),
        data_collator=PictureCollator(collator, pictures),
        args=SFTConfig(**_settings(inputs)),
    )


def _fast_trainer(
    inputs: StageInputs, examples: list[dict[str, Any]], given: dict[str, Any], family: Family
) -> SFTTrainer:
    model = given["model"]
    pictures = fast_pictures(inputs, model, given["processing_class"], family)
    rows = tokenized(examples, ["completion"], pictures)
    trainer = SFTTrainer(
        **given,
        train_dataset=row_numbers(rows),
        data_collator=SftCollator(rows, pictures),
        args=SFTConfig(**_settings(inputs), **ROWS_BY_NUMBER, dataset_kwargs={"skip_prepare_dataset": True}),
    )
    share_prefixes(model, family)  # after TRL has given it its head
    return trainer
