"""Stage 2: DPO on settled conflicts plus the SFT loss on the chosen answer, from the stage-1 adapter.

The reference is the stage-1 student: TRL keeps a frozen copy of the adapter this stage starts from,
which holds because the adapter is loaded trainable and no new one is asked for. The first loss is
therefore ln 2 plus the weighted SFT loss. Resuming builds the same trainer from the stage-1 adapter
before the checkpoint is read, so the reference is stage 1 then too.
"""

from datasets import Dataset
from peft import PeftModel
from trl import DPOConfig, DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForVisionPreference

from db.vocabulary import Stage, Verdict
from training.base import load_base
from training.conversations import answer_turn, question_turn
from training.records import Preference
from training.stage import (
    PictureCollator,
    Progress,
    StageInputs,
    leave_adapter,
    stage_pictures,
    train,
    trainer_settings,
)


def build_trainer(inputs: StageInputs, preferences: list[Preference]) -> tuple[DPOTrainer, Progress]:
    """Build TRL's trainer on the stage-1 student."""
    base, processor = load_base(inputs.config.student, inputs.config.dtype)
    model = PeftModel.from_pretrained(base, inputs.folder.adapter_dir(Stage.SFT), is_trainable=True)
    settings = inputs.config.dpo
    progress = Progress(inputs, Stage.DPO)
    rows = [
        {
            "images": [preference.case.image],
            "prompt": question_turn(preference.case),
            "chosen": answer_turn(preference.verdict, preference.chosen),
            "rejected": answer_turn(_other(preference.verdict), preference.rejected),
        }
        for preference in preferences
    ]
    pictures = stage_pictures(inputs, processor, [preference.case.image for preference in preferences])
    trainer = DPOTrainer(
        model=model,
        processing_class=processor,
        train_dataset=Dataset.from_list(rows),
        data_collator=PictureCollator(DataCollatorForVisionPreference(processor), pictures),
        args=DPOConfig(
            **trainer_settings(inputs.config, settings, inputs.folder.checkpoints_dir(Stage.DPO)),
            beta=settings.beta,
            loss_type=["sigmoid", "sft"],
            loss_weights=[1.0, settings.sft_weight],
        ),
        callbacks=[progress],
    )
    return trainer, progress


def run(inputs: StageInputs, preferences: list[Preference]) -> None:
    """Train and leave the adapter in `dpo/`. Raises StageStopped where it was asked to stop."""
    trainer, progress = build_trainer(inputs, preferences)
    train(trainer, progress, inputs.folder.checkpoints_dir(Stage.DPO))
    leave_adapter(trainer.model, inputs, Stage.DPO)


def _other(verdict: Verdict) -> Verdict:
    return Verdict.IN_CONTEXT if verdict is Verdict.OUT_OF_CONTEXT else Verdict.OUT_OF_CONTEXT
