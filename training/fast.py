"""The fast path of both stages: TRL's trainers on packed batches.

What TRL does stays TRL's: the loop, the losses by name, what is logged, checkpoints, resuming, and the
fused head that scores tokens. Three things are done once instead of at every step: the pictures'
features (`training.features`), the tokens of each row, and in stage 2 the reference's log-probabilities.
What is left of a step is one pass of the language model over packed sequences (`training.shared_prefix`).
TRL logs `num_tokens` as it does elsewhere; a prompt that answers share counts once, because it runs once.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from trl import DPOTrainer, apply_chat_template, prepare_multimodal_messages
from trl.trainer.utils import FusedCausalLMOutput

from training.families import Family
from training.features import Pictures, as_bytes
from training.shared_prefix import PADDING, Packed, Row, pack, share_prefixes

Batch = dict[str, Any]

ROWS_BY_NUMBER: dict[str, Any] = {"remove_unused_columns": False}
"""Settings of a trainer whose rows are numbers that its collator looks up."""


def row_numbers(rows: Sequence[Row]) -> Dataset:
    """Return the data set TRL draws from: the number of each row, which its collator looks up."""
    return Dataset.from_dict({"row": range(len(rows))})


def tokenized(examples: Sequence[dict[str, Any]], answers: Sequence[str], pictures: Pictures) -> list[Row]:
    """Tokenize examples as TRL's collators do, and have their pictures' features computed.

    An example has `images` with one name, `prompt`, and under each name in `answers` the turns that
    answer it; a row has its answers in that order.
    """
    processor = pictures.processor
    turns = [
        {
            "prompt": prepare_multimodal_messages(example["prompt"], images=example["images"]),
            **{name: prepare_multimodal_messages(example[name]) for name in answers},
        }
        for example in examples
    ]
    texts = [apply_chat_template(turn, processor) for turn in turns]
    asked = [(example["images"][0], text["prompt"]) for example, text in zip(examples, texts, strict=True)]
    prompts = pictures.prepare(asked)

    def tokens(text: str) -> tuple[int, ...]:
        return tuple(processor.tokenizer(text, add_special_tokens=False)["input_ids"])

    return [
        Row(one[0], prompts[one], tuple(tokens(text[name]) for name in answers))
        for one, text in zip(asked, texts, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class SftCollator:
    """Packs numbered rows for SFTTrainer: what TRL's fused head takes, with labels already shifted."""

    rows: Sequence[Row]
    pictures: Pictures

    def __call__(self, numbers: Sequence[dict[str, int]]) -> Batch:
        """Return a batch that scores the one answer of each row."""
        rows = [self.rows[number["row"]] for number in numbers]
        packed = pack(rows, [(row, 0) for row in range(len(rows))], padding_id=_padding_id(self.pictures))
        return {
            **_model_inputs(packed, self.pictures),
            "attention_mask": (packed.segments != PADDING).long(),
            "labels": packed.targets,
        }


@dataclass(frozen=True, slots=True)
class DpoCollator:
    """Packs numbered rows for `SharedPrefixDpoTrainer`.

    `input_ids` and `completion_mask`, (2 B, 1 + T), are what TRL counts tokens by: B chosen answers,
    then B rejected ones, behind one column that stands for the prompt. What the model reads is `packed`.
    """

    rows: Sequence[Row]
    pictures: Pictures

    def __call__(self, numbers: Sequence[dict[str, int]]) -> Batch:
        """Return a batch that scores the chosen and the rejected answer of each row."""
        rows = [self.rows[number["row"]] for number in numbers]
        wanted = [(row, answer) for answer in (0, 1) for row in range(len(rows))]
        packed = pack(rows, wanted, padding_id=_padding_id(self.pictures))
        lengths = torch.tensor([len(rows[row].answers[answer]) for row, answer in wanted])[:, None]
        columns = torch.arange(int(lengths.max()) + 1)
        completion = (columns >= 1) & (columns <= lengths)
        ids = torch.zeros(completion.shape, dtype=torch.long).masked_scatter(completion, packed.targets[0])
        return {
            "input_ids": ids,
            "completion_mask": completion.long(),
            "attention_mask": (packed.segments != PADDING).long(),
            "packed": _model_inputs(packed, self.pictures),
            "row": torch.tensor([number["row"] for number in numbers]),
        }


def _padding_id(pictures: Pictures) -> int:
    return int(pictures.processor.tokenizer.pad_token_id)


def _model_inputs(packed: Packed, pictures: Pictures) -> Batch:
    return {
        "input_ids": packed.input_ids,
        "position_ids": packed.position_ids,
        "segments": packed.segments,
        "scored": packed.scored,
        "image_features": torch.cat([pictures.features(name) for name in packed.pictures]),
        "shift_labels": packed.targets,
    }


def _in_two_rows(model: Any, *, packed: Batch, labels: Tensor, **_: Any) -> FusedCausalLMOutput:
    """Run a packed batch and return its scores where TRL looks for them, in rows of (2 B, T)."""
    scores = model(**packed, fused_lm_head=True)
    mask = labels[:, 1:] != -100
    laid_out = {
        name: values.new_zeros(mask.shape).masked_scatter(mask, values[0])
        for name in ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1")
        if (values := getattr(scores, name)) is not None
    }
    return FusedCausalLMOutput(loss=scores.loss, label_mask=mask, **laid_out)


class SharedPrefixDpoTrainer(DPOTrainer):
    """TRL's DPOTrainer whose pairs share their prompt and whose reference has spoken beforehand.

    `model` is the stage-1 student as a PeftModel, trainable. The reference is that same student: TRL's
    copy of its adapter is asked once about every row, what it says is kept in `reference_path`, and the
    copy is dropped.
    """

    def __init__(
        self, *, model: Any, rows: Sequence[Row], pictures: Pictures, family: Family, reference_path: Path,
        **given: Any,
    ) -> None:  # fmt: skip
        super().__init__(
            model=model,
            train_dataset=row_numbers(rows),
            data_collator=DpoCollator(rows, pictures),
            **given,
        )
        share_prefixes(model.get_base_model(), family)
        identity = _reference_identity(model, rows, self.ld_alpha)
        said = read_reference(reference_path, identity)
        if said is None:
            said = self._ask_reference(model.eval(), len(rows), pictures.pause)
            write_reference(reference_path, identity, said)
        self.references: Tensor = said
        model.delete_adapter("ref")
        self.precompute_ref_logps = True

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return TRL's loss of a batch of `DpoCollator`, a scalar."""
        chosen, rejected = self.references.to(inputs["row"].device)[:, inputs["row"]]
        given = {name: values for name, values in inputs.items() if name != "row"}
        given |= {"ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
        stock: Any = super().compute_loss
        return stock(partial(_in_two_rows, model), given, return_outputs, num_items_in_batch)

    def _ask_reference(self, model: Any, rows: int, pause: Callable[[], None]) -> Tensor:
        """Return the reference's log-probabilities, (2, rows): of chosen answers, of rejected ones."""
        size = self.args.per_device_train_batch_size
        ask: Any = partial(self.compute_ref_log_probs, partial(_in_two_rows, model))
        said = []
        for start in range(0, rows, size):
            pause()
            numbers = [{"row": row} for row in range(start, min(start + size, rows))]
            batch = self._prepare_inputs(self.data_collator(numbers))
            del batch["row"]
            said.append(torch.stack(ask(batch)).cpu())
        return torch.cat(said, dim=1)


def read_reference(path: Path, identity: str) -> Tensor | None:
    """Return what the reference said, (2, rows); None where no whole file of that identity is there."""
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("identity") != identity:
                return None
            kept: Tensor = file.get_tensor("log_probabilities")
            return kept
    except (OSError, SafetensorError):
        return None


def write_reference(path: Path, identity: str, said: Tensor) -> None:
    """Keep what the reference said, so that the file is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_path = path.with_name(f"{path.name}.partial")
    save_file({"log_probabilities": said.contiguous()}, partial_path, metadata={"identity": identity})
    partial_path.replace(path)


def _reference_identity(model: Any, rows: Sequence[Row], ld_alpha: float | None) -> str:
    """Hash what the reference's answers depend on: the adapter it starts from, the rows, LD-DPO's alpha."""
    told = json.dumps([ld_alpha, *([row.picture, row.prompt, row.answers] for row in rows)])
    digest = hashlib.sha256(told.encode())
    for name, values in sorted(model.named_parameters()):
        if ".ref." in name:
            digest.update(name.encode())
            digest.update(as_bytes(values))
    return digest.hexdigest()
