"""The fast path of both stages: TRL's trainers on packed batches.

What TRL does stays TRL's: the loop, the losses by name, what is logged, checkpoints, resuming, and the
fused head that scores tokens. Three things are done once instead of at every step: the pictures'
features (`training.features`), the tokens of each row, and in stage 2 the reference's log-probabilities.
What is left of a step is one pass of the language model over packed sequences (`training.shared_prefix`).
TRL logs `num_tokens` as it does elsewhere; a prompt that answers share counts once, because it runs once.
"""

import hashlib
import json
import time
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
from training.passes import Passes, lay_out
from training.ranks import ALONE, Ranks
from training.shared_prefix import Packed, Row, share_prefixes
from training.watched import RowsInOrder, Watched

Batch = dict[str, Any]

KEEP_EVERY = 30.0
"""Seconds after which what the reference has said so far is kept; a kill costs no more of it."""

ROWS_BY_NUMBER: dict[str, Any] = {"remove_unused_columns": False}
"""Settings of a trainer whose rows have numbers that TRL does not know, for its collator."""


def numbered(examples: Sequence[dict[str, Any]]) -> Dataset:
    """Return the data set of the stock path: the examples, each with its number as `row`."""
    return Dataset.from_list([{**example, "row": row} for row, example in enumerate(examples)])


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
    """Packs numbered rows for SFTTrainer: what TRL's fused head takes, with labels already shifted.

    `most_tokens` is what the language model may take in at once; TRL counts tokens by `attention_mask`.
    """

    rows: Sequence[Row]
    pictures: Pictures
    most_tokens: int

    def __call__(self, numbers: Sequence[dict[str, int]]) -> Batch:
        """Return a batch that scores the one answer of each row."""
        rows = [self.rows[number["row"]] for number in numbers]
        passes = _passes(rows, [(row, 0) for row in range(len(rows))], self.pictures, self.most_tokens)
        counted = torch.ones(1, passes.tokens, dtype=torch.long)
        return {
            **model_inputs(passes, self.pictures),
            "input_ids": counted,  # TRL passes it on; what the model reads is in its passes
            "attention_mask": counted,
            "labels": passes.targets,
        }


@dataclass(frozen=True, slots=True)
class DpoCollator:
    """Packs numbered rows for `SharedPrefixDpoTrainer`.

    `input_ids` and `completion_mask`, (2 B, 1 + T), are what TRL counts tokens by: B chosen answers,
    then B rejected ones, behind one column that stands for the prompt. What the model reads is `packed`.
    """

    rows: Sequence[Row]
    pictures: Pictures
    most_tokens: int

    def __call__(self, numbers: Sequence[dict[str, int]]) -> Batch:
        """Return a batch that scores the chosen and the rejected answer of each row."""
        rows = [self.rows[number["row"]] for number in numbers]
        wanted = [(row, answer) for answer in (0, 1) for row in range(len(rows))]
        passes = _passes(rows, wanted, self.pictures, self.most_tokens)
        lengths = torch.tensor([len(rows[row].answers[answer]) for row, answer in wanted])[:, None]
        columns = torch.arange(int(lengths.max()) + 1)
        completion = (columns >= 1) & (columns <= lengths)
        ids = torch.zeros(completion.shape, dtype=torch.long).masked_scatter(completion, passes.targets[0])
        return {
            "input_ids": ids,
            "completion_mask": completion.long(),
            "attention_mask": torch.ones(1, passes.tokens, dtype=torch.long),
            "packed": model_inputs(passes, self.pictures),
            "row": torch.tensor([number["row"] for number in numbers]),
        }


def _passes(
    rows: Sequence[Row], wanted: Sequence[tuple[int, int]], pictures: Pictures, most_tokens: int
) -> Passes:
    padding_id = int(pictures.processor.tokenizer.pad_token_id)
    return lay_out(rows, wanted, padding_id=padding_id, most_tokens=most_tokens)


def model_inputs(passes: Passes, pictures: Pictures) -> Batch:
    """Return what a model that shares prefixes takes, and TRL's head on it."""
    return {
        "passes": [_pass_inputs(packed, pictures) for packed in passes.packed],
        "order": passes.order,
        "are_recomputed": passes.are_recomputed,
        "shift_labels": passes.targets,
    }


def _pass_inputs(packed: Packed, pictures: Pictures) -> Batch:
    return {
        "input_ids": packed.input_ids,
        "position_ids": packed.position_ids,
        "segments": packed.segments,
        "scored": packed.scored,
        "image_features": torch.cat([pictures.features(name) for name in packed.pictures]),
        **pictures.grids(packed.pictures),
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


def _counts(batch: Batch) -> Tensor:
    """Return how many rows, and how many tokens of chosen answers, a batch of `DpoCollator` has."""
    rows = len(batch["row"])
    return torch.tensor([rows, int(batch["completion_mask"][:rows].sum())])


class SharedPrefixDpoTrainer(Watched, DPOTrainer):
    """TRL's DPOTrainer whose pairs share their prompt and whose reference has spoken beforehand.

    `model` is the stage-1 student as a PeftModel, trainable. The reference is that same student: TRL's
    copy of its adapter is asked once about every row, what it says is kept in `reference_path`, and the
    copy is dropped. What it has said so far is kept there too, every `KEEP_EVERY` seconds, so that a run
    that was killed goes on asking where it was. `progress` is called with the rows of each batch, which
    several processes share.
    """

    def __init__(
        self, *, model: Any, rows: Sequence[Row], case_ids: Sequence[str], pictures: Pictures,
        family: Family, most_tokens: int, reference_path: Path, progress: Callable[[int], None],
        ranks: Ranks = ALONE, **given: Any,
    ) -> None:  # fmt: skip
        super().__init__(
            model=model,
            train_dataset=row_numbers(rows),
            data_collator=RowsInOrder(DpoCollator(rows, pictures, most_tokens), case_ids, ranks),
            **given,
        )
        share_prefixes(model.get_base_model(), family)
        identity = _reference_identity(model, rows, self.ld_alpha)
        keep = partial(write_reference, reference_path, identity)
        said = ranks.main_says(read_reference(reference_path, identity) if ranks.is_main else None)
        self.references: Tensor = self._ask_reference(model.eval(), len(rows), said, progress, keep)
        self.step_counts: Tensor | None = None
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
        whole = self.loss_weights
        self.loss_weights = self._shared_out(inputs)
        try:
            return stock(partial(_in_two_rows, model), given, return_outputs, num_items_in_batch)
        finally:
            self.loss_weights = whole

    def get_batch_samples(self, *given: Any) -> tuple[list[Batch], Any]:
        """Return the micro-batches of a step, having counted what all processes put into it."""
        batches, items = super().get_batch_samples(*given)
        own = self.data_collator.held([_counts(batch) for batch in batches]).sum(0)
        self.step_counts = self.accelerator.reduce(own.to(self.args.device), "sum").cpu()
        return batches, items

    def _shared_out(self, inputs: Batch) -> list[float]:
        """Return the weights of the losses that make the mean over micro-batches the mean over the step.

        TRL takes means over a micro-batch, of rows or, for `sft`, of tokens; the trainer then takes the
        mean of those. Where micro-batches are not alike, that is another loss than without them.
        """
        if self.step_counts is None:
            return list(self.loss_weights)
        parts = self.current_gradient_accumulation_steps * self.accelerator.num_processes
        own = _counts(inputs) * (not self.data_collator.is_idle)
        rows, tokens = (own * parts / self.step_counts).tolist()
        named = zip(self.loss_types, self.loss_weights, strict=True)
        return [weight * (tokens if name == "sft" else rows) for name, weight in named]

    def _ask_reference(
        self, model: Any, rows: int, said: Tensor | None, progress: Callable[[int], None],
        keep: Callable[[Tensor], None],
    ) -> Tensor:  # fmt: skip
        """Return the reference's log-probabilities, (2, rows): of chosen answers, of rejected ones.

        `said` are those of the first rows, from a process before this one.
        """
        size, ranks = self.args.per_device_train_batch_size, self.data_collator.ranks
        ask: Any = partial(self.compute_ref_log_probs, partial(_in_two_rows, model))
        known = torch.empty(2, 0) if said is None else said
        progress(known.shape[1])
        kept_at = time.monotonic()
        for start in range(known.shape[1], rows, size * ranks.count):
            asked = range(start, min(start + size * ranks.count, rows))
            progress(len(asked))
            heard = torch.empty(2, 0)
            own = [{"row": row} for row in asked[ranks.rank * size : (ranks.rank + 1) * size]]
            if own:
                batch = self._prepare_inputs(self.data_collator.inner(own))
                del batch["row"]
                heard = torch.stack(ask(batch)).cpu()
            known = torch.cat([known, *ranks.all_say(heard)], dim=1)
            if ranks.is_main and (time.monotonic() - kept_at > KEEP_EVERY or known.shape[1] == rows):
                keep(known)
                kept_at = time.monotonic()
        return known


def read_reference(path: Path, identity: str) -> Tensor | None:
    """Return what the reference said of the first rows, (2, n); None where no whole file of it is there."""
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
