"""What every trainer of a run does besides what TRL's does.

It knows which rows a batch is made of; it stops before the optimizer takes in what is not a number, which
transformers would hide in the log (`logging_nan_inf_filter`); its checkpoints hold the adapter alone, not
the processor and TRL's frozen second copy of it; and a batch that goes through in parts, because it did
not fit into memory, has the loss it has as a whole.

Stage 1 needs nothing for that: its loss is summed over the tokens of all parts of a step and divided once,
so cutting a batch changes it by rounding alone. Stage 2 takes means, of pairs for DPO and of tokens for the
SFT loss, over every part, and averages these: right only where parts are equal. The fast path weights parts
by what they hold of the step (`training.fast`); on the stock path `BatchInParts` weights them by what they
hold of the batch as configured, so that TRL's own accumulation stays as it is. What is logged besides the
loss stays the mean over parts.
"""

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from trl import DPOTrainer, SFTTrainer

from training.faults import NotFiniteError

Batch = dict[str, Any]


class RowsInOrder:
    """A collator that remembers, in order, which rows its batches are made of.

    A row says its number as `row`. `case_ids` are those of all rows. A loader collates batches before they
    are wanted, but in their order; one with processes of its own collates there, and rows stay unknown.
    """

    def __init__(self, inner: Callable[[Sequence[Batch]], Batch], case_ids: Sequence[str]) -> None:
        self.inner = inner
        self.case_ids = case_ids
        self.waiting: deque[list[int]] = deque()
        self.taken: list[int] = []

    def __call__(self, rows: Sequence[Batch]) -> Batch:
        """Collate, and note the numbers of the rows."""
        self.waiting.append([int(row["row"]) for row in rows])
        return self.inner(rows)

    def clear(self) -> None:
        """Forget what was collated so far."""
        self.waiting.clear()
        self.taken.clear()

    def take(self) -> None:
        """Take the next batch into the step under way."""
        self.taken += self.waiting.popleft() if self.waiting else []

    def named(self) -> str:
        """Name the cases of the step under way, for a person."""
        return ", ".join(f"{self.case_ids[row]} (row {row + 1})" for row in self.taken) or "unknown cases"


class Watched:
    """Mixed into a trainer whose collator is `RowsInOrder`. Raises NotFiniteError from `training_step`."""

    data_collator: Any
    args: Any
    model: Any
    state: Any
    accelerator: Any

    def train(self, *given: Any, **named: Any) -> Any:
        """Train as TRL does; what was collated before has no part in it."""
        self.data_collator.clear()
        trained: Any = super()
        return trained.train(*given, **named)

    def training_step(self, model: Any, inputs: Batch, num_items_in_batch: Any = None) -> Tensor:
        """Run one micro-batch, and see that its loss and, after the last one, the gradients are numbers."""
        self.data_collator.take()
        stock: Any = super()
        loss: Tensor = stock.training_step(model, inputs, num_items_in_batch)
        if not torch.isfinite(loss):
            raise self._not_finite("loss")
        if self.accelerator.sync_gradients:
            given = [values.grad for values in model.parameters() if values.grad is not None]
            if not torch.isfinite(torch.nn.utils.get_total_norm(given)):
                raise self._not_finite("gradient")
            self.data_collator.taken.clear()
        return loss

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the adapter that is trained, alone: base, processor and reference are elsewhere."""
        save_adapter(self.model, output_dir or self.args.output_dir)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Leave the card to the run's end; a checkpoint needs none."""

    def _not_finite(self, what: str) -> NotFiniteError:
        step = self.state.global_step
        return NotFiniteError(
            f"The {what} was no number at step {step + 1}, so that step was not taken and step {step} is"
            f" kept. The batch held {self.data_collator.named()}: look at these cases or lower"
            " the learning rate in config.json, then resume."
        )


class BatchInParts(Watched):
    """Mixed into a DPO trainer: weights each part of a batch by what it holds of it.

    `parts` is into how many micro-batches a batch of the configured size is cut.
    """

    loss_types: list[str]
    loss_weights: list[float]
    parts = 1

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """Collect the micro-batches of a step, and work out what share of it each is."""
        stock: Any = super()
        batches, items = stock.get_batch_samples(epoch_iterator, num_batches, device)
        if self.parts > 1:
            self.shares = deque(shares([_held(batch) for batch in batches], self.parts))
        return batches, items

    def training_step(self, model: Any, inputs: Batch, num_items_in_batch: Any = None) -> Tensor:
        """Run one micro-batch with its share of the loss."""
        if self.parts == 1:
            return super().training_step(model, inputs, num_items_in_batch)
        pairs, tokens = self.shares.popleft()
        whole = self.loss_weights
        self.loss_weights = [
            weight * (tokens if kind == "sft" else pairs)
            for kind, weight in zip(self.loss_types, whole, strict=True)
        ]
        try:
            return super().training_step(model, inputs, num_items_in_batch)
        finally:
            self.loss_weights = whole


class WatchedSftTrainer(Watched, SFTTrainer):
    """TRL's SFTTrainer, watched."""


class WatchedDpoTrainer(BatchInParts, DPOTrainer):
    """TRL's DPOTrainer, watched, with batches in parts."""


def save_adapter(model: Any, folder: Path | str) -> None:
    """Save the adapter of a PeftModel that is trained, alone.

    PEFT would else ask the hub for the base's vocabulary, to see whether embeddings grew; none are adapted.
    """
    model.save_pretrained(folder, selected_adapters=["default"], save_embedding_layers=False)


def shares(held: Sequence[tuple[int, int]], parts: int) -> list[tuple[float, float]]:
    """Return by what to multiply the means over pairs and over tokens of each micro-batch.

    `held` are pairs and chosen tokens of the micro-batches of one step, of which `parts` on end are one
    batch. Trainer divides every loss by their number, so that with one part all shares are 1.
    """
    batches = [held[start : start + parts] for start in range(0, len(held), parts)]
    scale = len(held) / max(1, len(batches))
    return [
        (scale * pairs / sum(p for p, _ in batch), scale * tokens / max(1, sum(t for _, t in batch)))
        for batch in batches
        for pairs, tokens in batch
    ]


def _held(batch: Batch) -> tuple[int, int]:
    """Return how many pairs and chosen tokens a batch of TRL's layout, (2 B, T), holds."""
    chosen = batch["completion_mask"].chunk(2)[0]
    return len(chosen), int(chosen.sum())
