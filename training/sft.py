"""Stage 1: LoRA fine-tuning of the untouched student on every training case that has a target.

TRL's SFTTrainer does the work; the loss is on the answer only.
"""

from datasets import Dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from db.vocabulary import Stage
from training.base import load_base
from training.conversations import answer_turn, question_turn
from training.records import Target
from training.stage import (
    PictureCollator,
    Progress,
    StageInputs,
    leave_adapter,
    stage_pictures,
    train,
    trainer_settings,
)


def build_trainer(inputs: StageInputs, targets: list[Target]) -> tuple[SFTTrainer, Progress]:
    """Build TRL's trainer on the untouched student with a fresh adapter."""
    model, processor = load_base(inputs.config.student, inputs.config.dtype)
    lora = inputs.config.lora
    progress = Progress(inputs, Stage.SFT)
    working_dir = inputs.folder.checkpoints_dir(Stage.SFT)
    rows = [
        {
            "images": [target.case.image],
            "prompt": question_turn(target.case),
            "completion": answer_turn(target.verdict, target.rationale),
        }
        for target in targets
    ]
    pictures = stage_pictures(inputs, processor, [target.case.image for target in targets])
    trainer = SFTTrainer(
        model=model,
        processing_class=processor,
        train_dataset=Dataset.from_list(rows),
        data_collator=PictureCollator(
            DataCollatorForVisionLanguageModeling(processor, completion_only_loss=True), pictures
        ),
        peft_config=LoraConfig(
            r=lora.rank, lora_alpha=lora.alpha, target_modules=lora.targets, task_type="CAUSAL_LM"
        ),
        args=SFTConfig(**trainer_settings(inputs.config, inputs.config.sft, working_dir)),
        callbacks=[progress],
    )
    return trainer, progress


def run(inputs: StageInputs, targets: list[Target]) -> None:
    """Train and leave the adapter in `sft/`. Raises StageStopped where it was asked to stop."""
    trainer, progress = build_trainer(inputs, targets)
    train(trainer, progress, inputs.folder.checkpoints_dir(Stage.SFT))
    leave_adapter(trainer.model, inputs, Stage.SFT)
