"""Packing, masks and scores of shared prefixes, without a trainer."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import set_seed
from trl.trainer.utils import add_fused_lm_head

from tests.training.tiny_video_families import BUILDERS
from training.conversations import with_image
from training.families import FAMILIES
from training.features import Pictures
from training.passes import Passes, lay_out
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
def test_packed_scores_are_those_of_rows_of_their_own(name: str, tmp_path: Path) -> None:
    """Answers of one token and of many, prompts of two lengths, and a case that comes twice."""
    set_seed(0)
    model, processor = BUILDERS[name]()
    model.eval()
    draw = torch.Generator().manual_seed(0)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(10, 200, (count,), generator=draw).tolist())

    Image.linear_gradient("L").resize((96, 64)).convert("RGB").save(tmp_path / "x.png")
    pictures = Pictures(tmp_path, model, processor, FAMILIES[name], folder=tmp_path / "kept", budget=10**9)
    asked = [("x.png", _cue(processor, said)) for said in ("Which?", "Which of these? " * 20)]
    short, long = pictures.prepare(asked).values()
    rows = [
        Row("x.png", short, (tokens(1), tokens(70))),
        Row("x.png", long, (tokens(30), tokens(1))),
        Row("x.png", long, (tokens(5), tokens(2))),
    ]
    wanted = [(row, answer) for answer in (0, 1) for row in range(3)]
    laid_out = lay_out(rows, wanted, padding_id=0, most_tokens=100)
    assert laid_out.are_recomputed
    assert [len(one.pictures) for one in laid_out.packed] == [1, 1], "the last two rows are of one case"
    pixels = pictures.encode(*asked[0]).pixels
    with torch.no_grad():
        alone = torch.cat([_alone(model, pixels, rows[row], answer) for row, answer in wanted])
        add_fused_lm_head(model)
        share_prefixes(model, FAMILIES[name])
        features = pictures.features("x.png")
        shared = _shared(model, laid_out, features, pictures)
        negative = _shared(model, laid_out, -features, pictures)
    torch.testing.assert_close(shared, alone, rtol=0, atol=1e-5)
    assert float((negative - alone).abs().max()) > 1e-3, "the model sees the picture"


def test_many_answers_behind_one_prompt_give_the_same_gradient_every_time(tmp_path: Path) -> None:
    """Where threads add to one place in any order, two runs of one seed part in the last digits."""
    set_seed(0)
    model, processor = BUILDERS["smolvlm"]()
    model.eval()
    Image.linear_gradient("L").resize((96, 64)).convert("RGB").save(tmp_path / "x.png")
    kept = tmp_path / "kept"
    pictures = Pictures(tmp_path, model, processor, FAMILIES["smolvlm"], folder=kept, budget=10**9)
    (prompt,) = pictures.prepare([("x.png", _cue(processor, "Which?"))]).values()
    draw = torch.Generator().manual_seed(0)
    answers = [tuple(torch.randint(10, 200, (12,), generator=draw).tolist()) for _ in range(120)]
    rows = [Row("x.png", prompt, (one, other)) for one, other in pairwise(answers)]
    wanted = [(row, answer) for answer in (0, 1) for row in range(len(rows))]
    laid_out = lay_out(rows, wanted, padding_id=0, most_tokens=10**6)
    add_fused_lm_head(model)
    share_prefixes(model, FAMILIES["smolvlm"])
    features = pictures.features("x.png")
    weights = model.get_input_embeddings().weight
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        gradients = []
        for _ in range(4):
            model.zero_grad()
            _shared(model, laid_out, features, pictures).sum().backward()
            gradients.append(weights.grad.clone())
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(gradients[0], one) for one in gradients[1:])


def _shared(model: Any, laid_out: Passes, features: Tensor, pictures: Pictures) -> Tensor:
    """Return the log-probabilities of a batch laid out in passes of one sequence, all of one picture."""
    passes = [
        {
            "input_ids": packed.input_ids,
            "position_ids": packed.position_ids,
            "segments": packed.segments,
            "scored": packed.scored,
            "image_features": features,
            **pictures.grids(packed.pictures),
        }
        for packed in laid_out.packed
    ]
    said = model(
        passes=passes,
        order=laid_out.order,
        are_recomputed=laid_out.are_recomputed,
        shift_labels=laid_out.targets,
        fused_lm_head=True,
    )
    found: Tensor = said.log_probs[0]
    return found


def _cue(processor: Any, said: str) -> str:
    turns = with_image([{"role": "user", "content": said}])
    cue: str = processor.apply_chat_template([turns], add_generation_prompt=True)[0]
    return cue


def _alone(model: Any, pixels: dict[str, Tensor], row: Row, answer: int) -> Tensor:
    """Return the log-probabilities of one answer from the model's own forward and full logits."""
    ids = torch.tensor([row.prompt + row.answers[answer]])
    kinds = {"gemma3": "token_type_ids", "qwen2_5_vl": "mm_token_type_ids", "qwen3_vl": "mm_token_type_ids"}
    kind = kinds.get(model.config.model_type)
    given = {**pixels, kind: (ids == model.config.image_token_id).long()} if kind else pixels
    logits: Tensor = model(input_ids=ids, **given).logits[0].log_softmax(-1)
    first = len(row.prompt) - 1
    return logits[first:-1].gather(1, ids[0, first + 1 :, None])[:, 0]
