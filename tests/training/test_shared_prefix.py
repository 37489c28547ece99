"""Packing, masks and scores of shared prefixes, without a trainer."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import set_seed
from trl.trainer.utils import add_fused_lm_head

from tests.training.tiny_families import BUILDERS
from training.families import FAMILIES
from training.shared_prefix import PADDING, Row, pack, share_prefixes, visible

ROWS = [
    Row("one", (5, 6, 7), ((8, 9), (10,))),
    Row("two", (5, 6), ((11,), (12, 13, 14))),
]
PAIRS = [(0, 0), (1, 0), (0, 1), (1, 1)]


def test_positions_go_on_from_the_prompt_in_every_answer() -> None:
    packed = pack(ROWS, PAIRS, padding_id=0)
    assert packed.input_ids.tolist() == [[5, 6, 7, 8, 9, 10], [5, 6, 11, 12, 13, 14]]
    assert packed.position_ids.tolist() == [[0, 1, 2, 3, 4, 3], [0, 1, 2, 2, 3, 4]]
    assert packed.segments.tolist() == [[0, 0, 0, 1, 1, 2], [0, 0, 1, 2, 2, 2]]
    assert packed.targets.tolist() == [[8, 9, 11, 10, 12, 13, 14]]
    assert packed.scored.tolist() == [2, 3, 7, 2, 7, 9, 10]


def test_an_answer_sees_the_prompt_and_itself_only() -> None:
    sees = visible(torch.tensor([[0, 0, 1, 1, 2, PADDING]]))[0]
    assert sees.int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]


def test_rows_of_one_case_share_a_prompt_and_equal_answers_are_computed_once() -> None:
    case = ("one", tuple(range(5, 30)))
    rows = [Row(*case, ((40, 41), (42,))), Row(*case, ((40, 41), (43,)))]
    packed = pack(rows, [(0, 0), (1, 0), (0, 1), (1, 1)], padding_id=0)
    assert packed.pictures == ("one",)
    assert packed.input_ids.shape == (1, 25 + 2 + 1 + 1)
    assert packed.targets.tolist() == [[40, 41, 40, 41, 42, 43]]
    assert packed.scored.tolist() == [24, 25, 24, 25, 24, 24]


def test_rows_stay_apart_where_that_is_less_to_compute() -> None:
    long, short = tuple(range(100, 120)), (7,)
    rows = [
        Row("a", (5,), (long, short)),
        Row("a", (5,), (short, long[::-1])),
        Row("b", (5,), (short, short)),
    ]
    assert len(pack(rows, [(0, 0)], padding_id=0).pictures) == 3


@pytest.mark.parametrize("name", list(BUILDERS))
def test_packed_scores_are_those_of_rows_of_their_own(name: str) -> None:
    """Answers of one token and of many, prompts of two lengths, and a case that comes twice."""
    set_seed(0)
    model, _ = BUILDERS[name]()
    model.eval()
    image = model.config.image_token_id
    draw = torch.Generator().manual_seed(0)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(10, 200, (count,), generator=draw).tolist())

    side = model.base_model.get_image_features(pixel_values=_pixels(name)).pooler_output
    features = torch.cat([one.reshape(-1, one.shape[-1]) for one in side]).detach()
    prompts = [(*tokens(2), *[image] * len(features), *tokens(rest)) for rest in (3, 120)]
    rows = [
        Row("x", prompts[0], (tokens(1), tokens(70))),
        Row("x", prompts[1], (tokens(30), tokens(1))),
        Row("x", prompts[1], (tokens(5), tokens(2))),
    ]
    wanted = [(row, answer) for answer in (0, 1) for row in range(3)]
    packed = pack(rows, wanted, padding_id=0)
    assert len(packed.pictures) == 2, "the last two rows are of one case"
    with torch.no_grad():
        alone = torch.cat([_alone(model, name, rows[row], answer) for row, answer in wanted])
        add_fused_lm_head(model)
        share_prefixes(model, FAMILIES[name])
        shared = model(
            input_ids=packed.input_ids,
            position_ids=packed.position_ids,
            segments=packed.segments,
            scored=packed.scored,
            image_features=torch.cat([features] * 2),
            shift_labels=packed.targets,
            fused_lm_head=True,
        ).log_probs[0]
    torch.testing.assert_close(shared, alone, rtol=0, atol=1e-5)


def _pixels(name: str) -> Tensor:
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    return pixels[None] if name in {"idefics3", "smolvlm"} else pixels


def _alone(model: Any, name: str, row: Row, answer: int) -> Tensor:
    """Return the log-probabilities of one answer from the model's own forward and full logits."""
    ids = torch.tensor([row.prompt + row.answers[answer]])
    kinds = {"token_type_ids": (ids == model.config.image_token_id).long()} if name == "gemma3" else {}
    logits: Tensor = model(input_ids=ids, pixel_values=_pixels(name), **kinds).logits[0].log_softmax(-1)
    first = len(row.prompt) - 1
    return logits[first:-1].gather(1, ids[0, first + 1 :, None])[:, 0]
