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

Several processes share each batch as micro-batches do, so that a step has the rows and the loss it has in
one process. Every process draws all rows and its collator keeps a share; accelerate's own way of sharing
fills the last batch of an epoch with rows from its beginning. One that is left without a row computes
another's, which then weighs nothing, because the others wait for it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from accelerate.utils import gather, pad_across_processes
from torch import Tensor
from torch.utils.data import DataLoader
from trl import DPOTrainer, SFTTrainer

from training.faults import NotFiniteError
from training.ranks import ALONE, Ranks

Batch = dict[str, Any]


class RowsInOrder:
    """A collator that takes this process's share of a batch and remembers, in order, which rows that is.

    A row says its number as `row`. `case_ids` are those of all rows. `is_idle` says that the micro-batch
    taken last has no row of this process. A loader collates batches before they
    are wanted, but in their order; one with processes of its own collates there, and rows stay unknown.
    """

    def __init__(
        self, inner: Callable[[Sequence[Batch]], Batch], case_ids: Sequence[str], ranks: Ranks = ALONE
    ) -> None:
        self.inner = inner
        self.case_ids = case_ids
        self.ranks = ranks
        self.is_idle = False
        self.waiting: deque[list[int]] = deque()
        self.taken: list[int] = []

    def __call__(self, rows: Sequence[Batch]) -> Batch:
        """Collate this process's rows, and note their numbers."""
        own = self.ranks.share(rows)
        self.waiting.append([int(row["row"]) for row in own])
        return self.inner(own) if own else _unlabelled(self.inner(rows[:1]))

    def clear(self) -> None:
        """Forget what was collated so far."""
        self.waiting.clear()
        self.taken.clear()

    def take(self) -> None:
        """Take the next batch into the step under way."""
        rows = self.waiting.popleft() if self.waiting else []
        self.is_idle = self.ranks.count > 1 and not rows
        self.taken += rows

    def held(self, counts: Sequence[Tensor]) -> Tensor:
        """Return what the next batches hold, (batches, ...), as counted in each; idle ones hold nothing."""
        rows = [*self.waiting][: len(counts)] if self.ranks.count > 1 else [[0]] * len(counts)
        return torch.stack([count * bool(own) for count, own in zip(counts, rows, strict=True)])

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
    train_dataset: Any
    is_fsdp_enabled: bool
    _get_train_sampler: Any

    def train(self, *given: Any, **named: Any) -> Any:
        """Train as TRL does; what was collated before has no part in it."""
        self.data_collator.clear()
        if self.data_collator.ranks.count > 1:
            self.accelerator.gather = self._gathered
        trained: Any = super()
        return trained.train(*given, **named)

    def get_train_dataloader(self) -> Any:
        """Return TRL's loader; with several processes, one of batches for all of them."""
        ranks = self.data_collator.ranks
        if ranks.count == 1:
            stock: Any = super()
            return stock.get_train_dataloader()
        rows = DataLoader(
            self.train_dataset,
            batch_size=self.args.train_batch_size * ranks.count,
            sampler=self._get_train_sampler(),
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )
        return prepare_data_loader(
            rows,
            self.args.device,
            num_processes=1,  # the collator shares out
            process_index=0,
            put_on_device=True,
            use_seedable_sampler=True,
        )

    def _gathered(self, given: Tensor) -> Tensor:
        """Return every process's values: figures of rows, (B,), of which each has a number of its own."""
        everyone: Tensor
        if given.ndim != 1:
            everyone = gather(given)
            return everyone
        own = given[:0] if self.data_collator.is_idle else given
        padded: Tensor = gather(pad_across_processes(own.float(), pad_index=torch.nan))
        return padded[~padded.isnan()]

    def training_step(self, model: Any, inputs: Batch, num_items_in_batch: Any = None) -> Tensor:
        """Run one micro-batch, and see that its loss and, after the last one, the gradients are numbers."""
        self.data_collator.take()
        stock: Any = super()
        loss: Tensor = stock.training_step(model, inputs, num_items_in_batch)
        self._check_finite("loss", loss)
        if self.accelerator.sync_gradients:
            given = [values.grad for values in model.parameters() if values.grad is not None]
            self._check_finite("gradient", torch.nn.utils.get_total_norm(given))
            self.data_collator.taken.clear()
        return loss

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the adapter that is trained, alone: base, processor and reference are elsewhere."""
        whole = self.accelerator.get_state_dict(self.model) if self.is_fsdp_enabled else None
        if self.args.should_save:
            save_adapter(self.model, output_dir or self.args.output_dir, whole)

    def _save_rng_state(self, output_dir: str) -> None:
        """Leave it to the main process: nothing but the order of rows is drawn, and that from the seed."""
        if self.args.should_save:
            stock: Any = super()
            stock._save_rng_state(output_dir)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Leave the card to the run's end; a checkpoint needs none."""

    def _check_finite(self, what: str, value: Tensor) -> None:
        """Raise NotFiniteError in all processes where a value of one is no number."""
        rows, step = self.data_collator, self.state.global_step
        is_wrong = not torch.isfinite(value)
        if not rows.ranks.any_says(is_wrong):
            return
        named = ", ".join(filter(None, rows.ranks.all_say(rows.named() if is_wrong else "")))
        raise NotFiniteError(
            f"The {what} was no number at step {step + 1}, so that step was not taken and step {step} is"
            f" kept. The batch held {named}: look at these cases or lower"
            " the learning rate in config.json, then resume."
        )


class BatchInParts(Watched):
    """Mixed into a DPO trainer: weights each part of a batch by what it holds of it.

    `parts` is into how many micro-batches a process's share of a batch of the configured size is cut.
    """

    loss_types: list[str]
    loss_weights: list[float]
    parts = 1

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """Collect the micro-batches of a step, and work out what share of it each is."""
        stock: Any = super()
        batches, items = stock.get_batch_samples(epoch_iterator, num_batches, device)
        if self._is_cut():
            rows = self.data_collator
            own = rows.held([_held(batch) for batch in batches])
            everyone = self.accelerator.reduce(own.to(self.args.device), "sum").cpu()
            self.shares = deque(shares(own.tolist(), self.parts, everyone.tolist(), rows.ranks.count))
        return batches, items

    def _is_cut(self) -> bool:
        return self.parts > 1 or self.data_collator.ranks.count > 1

    def training_step(self, model: Any, inputs: Batch, num_items_in_batch: Any = None) -> Tensor:
        """Run one micro-batch with its share of the loss."""
        if not self._is_cut():
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


def save_adapter(model: Any, folder: Path | str, whole: dict[str, Tensor] | None = None) -> None:
    """Save the adapter of a PeftModel that is trained, alone; `whole` are its weights where it has a part.

    PEFT would else ask the hub for the base's vocabulary, to see whether embeddings grew; none are adapted.
    """
    given: dict[str, Any] = {} if whole is None else {"state_dict": whole}
    model.save_pretrained(folder, selected_adapters=["default"], save_embedding_layers=False, **given)


Held = Sequence[Sequence[int]]


def shares(
    own: Held, parts: int, everyone: Held | None = None, processes: int = 1
) -> list[tuple[float, float]]:
    """Return by what to multiply the means over pairs and over tokens of each micro-batch of a process.

    `own` are pairs and chosen tokens of its micro-batches of one step, of which `parts` on end are one
    batch; `everyone` are the sums over all processes, if there are others. Every loss is divided by the
    number of micro-batches and of processes, so that with one of each all shares are 1.
    """
    everyone = everyone or own
    starts = range(0, len(own), parts)
    scale = len(own) * processes / max(1, len(starts))
    batches = [(own[start : start + parts], everyone[start : start + parts]) for start in starts]
    return [
        (
            scale * pairs / sum(held[0] for held in whole),
            scale * tokens / max(1, sum(held[1] for held in whole)),
        )
        for batch, whole in batches
        for pairs, tokens in batch
    ]


def _held(batch: Batch) -> Tensor:
    """Return how many pairs and chosen tokens a batch of TRL's layout, (2 B, T), holds."""
    chosen = batch["completion_mask"].chunk(2)[0]
    return torch.tensor([len(chosen), int(chosen.sum())])


def _unlabelled(batch: Batch) -> Batch:
    """Take the labels from a batch; one of pairs has none, and weighs what `RowsInOrder.held` says."""
    silent: Batch = {
        name: torch.full_like(batch[name], -100) for name in ("labels", "shift_labels") if name in batch
    }
    return {**batch, **silent}
