import itertools
import random

import torch

from training.passes import PASS_COST, cut, lay_out
from training.shared_prefix import Row


def cost(lengths: list[int], passes: list[list[int]]) -> int:
    """Return what a cutting costs, in tokens."""
    return sum(len(one) * max(lengths[index] for index in one) + PASS_COST for one in passes)


def test_no_cutting_of_the_sorted_sequences_costs_less() -> None:
    draw = random.Random(0)
    for _ in range(50):
        lengths = [draw.randint(1, 400) for _ in range(draw.randint(1, 7))]
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        everything = [
            [order[a:b] for a, b in itertools.pairwise([0, *ends, len(order)])]
            for count in range(len(order))
            for ends in itertools.combinations(range(1, len(order)), count)
        ]
        found = cut(lengths, most_tokens=10_000)
        assert sorted(index for one in found for index in one) == list(range(len(lengths)))
        assert cost(lengths, found) == min(cost(lengths, one) for one in everything)


def test_sequences_of_one_length_take_one_pass_unless_they_are_too_many() -> None:
    assert cut([100] * 6, most_tokens=1000) == [[0, 1, 2, 3, 4, 5]]
    assert [len(one) for one in cut([100] * 6, most_tokens=399)] == [3, 3]
    assert cut([100, 700, 100], most_tokens=300) == [[0, 2], [1]], "one is too long for any pass"


def test_passes_give_the_answers_in_the_order_they_were_asked_for() -> None:
    rows = [
        Row("a", (1,) * 300, ((10, 11), (12,))),
        Row("b", (2,) * 5, ((20,), (21, 22, 23))),
        Row("a", (1,) * 300, ((10, 11), (13,))),
    ]
    wanted = [(row, answer) for answer in (0, 1) for row in range(3)]
    laid_out = lay_out(rows, wanted, padding_id=0, most_tokens=10_000)
    assert [one.pictures for one in laid_out.packed] == [("b",), ("a",)]
    given = torch.cat([one.targets[0] for one in laid_out.packed])
    assert (
        given[laid_out.order].tolist()
        == laid_out.targets[0].tolist()
        == [10, 11, 20, 10, 11, 12, 21, 22, 23, 13]
    )
    assert laid_out.tokens == 300 + 2 + 1 + 1 + 5 + 1 + 3
    assert not laid_out.are_recomputed


def test_a_batch_beyond_what_is_taken_in_at_once_is_recomputed() -> None:
    rows = [Row("a", (1,) * 90, ((10,),)), Row("b", (1,) * 90, ((10,),))]
    assert not lay_out(rows, [(0, 0), (1, 0)], padding_id=0, most_tokens=182).are_recomputed
    laid_out = lay_out(rows, [(0, 0), (1, 0)], padding_id=0, most_tokens=181)
    assert laid_out.are_recomputed
    assert len(laid_out.packed) == 2
