"""Cut a batch into forward passes of rows that are about as long, so that little is spent on padding.

What a step learns from is not changed by it: what all passes give is scored together. A batch of more
tokens than the language model may take in at once is cut too, and its passes are then computed again in
the backward pass, so that memory holds the activations of one of them (Chen et al. 2016, arXiv 1604.06174).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from training.shared_prefix import Packed, Row, Tokens, pack

PASS_COST = 64
"""What a pass costs besides its tokens, in tokens; *ours*, measured on one core with the tiny student,
whose tokens are the cheapest there are."""


@dataclass(frozen=True, slots=True)
class Passes:
    """A batch as passes, and how to read what they give.

    `order`, (N,), puts the N positions the passes score, one pass after the other, into the order in which
    the answers were asked for; `targets`, (1, N), are in that order. `are_recomputed` says that the batch
    is too long to keep the activations of all passes.
    """

    packed: list[Packed]
    order: Tensor
    targets: Tensor
    are_recomputed: bool

    @property
    def tokens(self) -> int:
        """How many tokens are computed, padding left out."""
        return sum(int((one.segments >= 0).sum()) for one in self.packed)


def lay_out(
    rows: Sequence[Row], wanted: Sequence[tuple[int, int]], *, padding_id: int, most_tokens: int
) -> Passes:
    """Lay rows out in passes that score the `wanted` answers, each (row, answer of the row).

    Rows of one prompt and picture stay in one pass, because there they share it.
    """
    sharing: dict[tuple[str, Tokens], list[int]] = {}
    for number, row in enumerate(rows):
        sharing.setdefault((row.picture, row.prompt), []).append(number)
    groups = list(sharing.values())
    lengths = [_length([rows[number] for number in group]) for group in groups]
    answers = [rows[row].answers[answer] for row, answer in wanted]
    starts = list(accumulate(map(len, answers), initial=0))
    packed: list[Packed] = []
    places: list[int] = []
    for one in cut(lengths, most_tokens=most_tokens):
        numbers = {number: place for place, number in enumerate(n for group in one for n in groups[group])}
        asked = [place for place, (row, _) in enumerate(wanted) if row in numbers]
        inside = [(numbers[wanted[place][0]], wanted[place][1]) for place in asked]
        packed.append(pack([rows[number] for number in numbers], inside, padding_id=padding_id))
        places += [token for place in asked for token in range(starts[place], starts[place + 1])]
    return Passes(
        packed,
        torch.tensor(places).argsort(),
        torch.tensor([[token for answer in answers for token in answer]]),
        sum(one.segments.numel() for one in packed) > most_tokens,
    )


def _length(rows: Sequence[Row]) -> int:
    """Return how long rows of one prompt are as one sequence."""
    answers = {answer for row in rows for answer in row.answers}
    return len(rows[0].prompt) + sum(map(len, answers))


def cut(lengths: Sequence[int], *, most_tokens: int) -> list[list[int]]:
    """Return the sequences of each pass, by index, shorter ones first; together they cost the least.

    A pass costs its sequences times the longest of them, and `PASS_COST`; it has at most `most_tokens`
    that way, unless one sequence alone has more.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    costs, firsts = [0], [0]
    for end in range(1, len(order) + 1):
        longest = lengths[order[end - 1]]
        fewest = max(0, end - max(1, most_tokens // longest))
        cost, first = min((costs[first] + (end - first) * longest, first) for first in range(fewest, end))
        costs.append(cost + PASS_COST)
        firsts.append(first)
    passes: list[list[int]] = []
    end = len(order)
    while end:
        passes.append(order[firsts[end] : end])
        end = firsts[end]
    return passes[::-1]
