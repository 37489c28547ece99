"""Answers to one question behind one prompt: laid out, masked, and scored where answers are.

A sequence is prompt and picture | answer 1 | answer 2 | ... An answer sees the prompt and itself, never
another answer, and its positions go on from the prompt's, so every token gets what it would get in a row
of its own. The prompt's share of the work is done once, and only the positions that predict an answer's
token reach the LM head. The mask is dense: flash attention cannot run this.

Exact and old: prefix sharing for preference tuning is arXiv 2410.20305. TRL's fused head does the scoring
(`add_fused_lm_head`); this module only changes which hidden states it is given.
"""

import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers.modeling_outputs import BaseModelOutputWithPast

from training.families import Family

PROMPT, PADDING = 0, -1
"""Segments of a sequence; answers count from 1."""

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt in tokens, with the image tokens of its one picture, and the answers behind it."""

    picture: str
    prompt: Tokens
    answers: tuple[Tokens, ...]

    @property
    def length(self) -> int:
        """How many tokens it has."""
        return len(self.prompt) + sum(len(answer) for answer in self.answers)

    def start(self, answer: Tokens) -> int:
        """Return where the answer begins."""
        before = self.answers[: self.answers.index(answer)]
        return len(self.prompt) + sum(len(other) for other in before)


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch of B sequences padded to L, and where its N answer tokens are predicted.

    `input_ids`, `position_ids` and `segments` are (B, L); `scored` (N,) indexes the B * L positions that
    predict `targets` (1, N), in the order the answers were asked for. `pictures` are the names of the B
    pictures.
    """

    input_ids: Tensor
    position_ids: Tensor
    segments: Tensor
    scored: Tensor
    targets: Tensor
    pictures: tuple[str, ...]


def pack(rows: Sequence[Row], wanted: Sequence[tuple[int, int]], *, padding_id: int) -> Packed:
    """Lay rows out for one forward pass that scores the `wanted` answers, each (row, answer of the row).

    Rows of one prompt and picture become one sequence, and equal answers in it are computed once,
    wherever that leaves less to compute than a sequence per row.
    """
    own = [Row(row.picture, row.prompt, tuple(dict.fromkeys(row.answers))) for row in rows]
    merged = _merged(own)
    homes = [merged[row.picture, row.prompt] for row in own]
    together = list(merged.values())
    if _area(together) >= _area(own):
        together = homes = own
    length = max(row.length for row in together)
    number = {id(row): index for index, row in enumerate(together)}
    scored: list[int] = []
    targets: list[int] = []
    for row, answer in wanted:
        tokens, home = rows[row].answers[answer], homes[row]
        first = number[id(home)] * length
        start = first + home.start(tokens)
        scored += [first + len(home.prompt) - 1, *range(start, start + len(tokens) - 1)]
        targets += tokens
    columns = [_columns(row, length, padding_id) for row in together]
    ids, positions, segments = (torch.tensor(column) for column in zip(*columns, strict=True))
    pictures = tuple(row.picture for row in together)
    return Packed(ids, positions, segments, torch.tensor(scored), torch.tensor([targets]), pictures)


def _merged(rows: Sequence[Row]) -> dict[tuple[str, Tokens], Row]:
    merged: dict[tuple[str, Tokens], Row] = {}
    for row in rows:
        key = (row.picture, row.prompt)
        before = merged[key].answers if key in merged else ()
        merged[key] = Row(*key, tuple(dict.fromkeys((*before, *row.answers))))
    return merged


def _area(rows: Sequence[Row]) -> int:
    """Return how many positions rows take once padded to the longest."""
    return len(rows) * max(row.length for row in rows)


def _columns(row: Row, length: int, padding_id: int) -> tuple[list[int], list[int], list[int]]:
    """Return token ids, positions and segments of a row, padded on the right."""
    prompt = len(row.prompt)
    ids, positions, segments = list(row.prompt), list(range(prompt)), [PROMPT] * prompt
    for number, answer in enumerate(row.answers, 1):
        ids += answer
        positions += range(prompt, prompt + len(answer))
        segments += [number] * len(answer)
    missing = length - len(ids)
    return ids + [padding_id] * missing, positions + [0] * missing, segments + [PADDING] * missing


def visible(segments: Tensor) -> Tensor:
    """Say who sees whom: (B, L) segments to (B, L, L) booleans, queries before keys.

    Padding sees itself alone: a query that sees nothing would be a row of NaN.
    """
    queries, keys = segments[:, :, None], segments[:, None, :]
    causal = torch.ones(segments.shape[1], segments.shape[1], dtype=torch.bool, device=segments.device).tril()
    shares = (keys == queries) | (keys == PROMPT)
    diagonal = torch.eye(segments.shape[1], dtype=torch.bool, device=segments.device)
    return (causal & shares & (queries != PADDING)) | diagonal


def share_prefixes(model: Any, family: Family) -> None:
    """Teach a model with TRL's fused head to take a packed batch.

    Called with `passes`, packed batches by the names of `_packed_forward`, the model without its head
    returns the hidden states of the positions they score, (1, N, width), in the `order` asked for; called
    without, it is what it was. Passes that `are_recomputed` keep no activations for the backward pass.
    """
    inner = model.base_model
    untouched = inner.forward

    def forward(
        self: Any, *args: Any, passes: Sequence[dict[str, Tensor]] | None = None, **kwargs: Any
    ) -> Any:
        if passes is None:
            return untouched(*args, **kwargs)
        run = partial(_packed_forward, self, family)
        if kwargs["are_recomputed"]:
            run = partial(checkpoint, run, use_reentrant=False)
        scored = torch.cat([run(**one) for one in passes])
        return BaseModelOutputWithPast(last_hidden_state=scored.index_select(0, kwargs["order"])[None])

    inner.forward = types.MethodType(forward, inner)


def _packed_forward(
    inner: Any,
    family: Family,
    *,
    input_ids: Tensor,
    position_ids: Tensor,
    segments: Tensor,
    scored: Tensor,
    image_features: Tensor,
    image_grid_thw: Tensor | None = None,
) -> Tensor:
    """Run the language model on a packed batch whose pictures are `image_features`.

    These are (image tokens, k * width): what stands where image tokens are, and what the outputs of the
    first k - 1 layers get there besides. Grids are (B, 3), in patches, where positions are spatial. Returns
    the hidden states of the N scored positions, (N, width).
    """
    is_image = input_ids == inner.config.image_token_id
    embeddings = inner.get_input_embeddings()(input_ids.masked_fill(is_image, 0))
    first, *deeper = image_features.to(embeddings.dtype).split(embeddings.shape[-1], dim=-1)
    embeddings = embeddings.masked_scatter(is_image[..., None], first)
    given = {"visual_pos_masks": is_image, "deepstack_visual_embeds": deeper} if deeper else {}
    if image_grid_thw is not None:
        position_ids = _spatial_positions(inner, input_ids, segments, position_ids, image_grid_thw)
    sees = visible(segments)
    mask: Tensor | dict[str, Tensor]
    if family.pictures_see_themselves:
        sees |= is_image[:, :, None] & is_image[:, None, :]
        behind = position_ids[:, :, None] - position_ids[:, None, :]
        near = sees & (behind < inner.config.get_text_config().sliding_window)
        mask = {
            "full_attention": _bias(sees, embeddings.dtype),
            "sliding_attention": _bias(near, embeddings.dtype),
        }
    else:
        mask = _bias(sees, embeddings.dtype)
    language_model = getattr(inner, family.language_model)
    with _last_mlp_on(language_model, scored.unique()):
        hidden: Tensor = language_model(
            inputs_embeds=embeddings,
            attention_mask=mask,
            position_ids=position_ids,
            use_cache=False,
            **given,
        ).last_hidden_state
    return hidden.flatten(0, 1).index_select(0, scored)


def _spatial_positions(
    inner: Any, input_ids: Tensor, segments: Tensor, position_ids: Tensor, grids: Tensor
) -> Tensor:
    """Return times, rows and columns, (3, B, L): the model's own of a prompt, and on from the largest.

    M-RoPE, Qwen2-VL, arXiv 2409.12191, section 2.1.
    """
    in_prompt = segments == PROMPT
    kinds = (input_ids == inner.config.image_token_id).int()
    found: Tensor = inner.get_rope_index(
        input_ids, mm_token_type_ids=kinds, image_grid_thw=grids, attention_mask=in_prompt.long()
    )[0]
    behind = position_ids - in_prompt.sum(1, keepdim=True) + found.amax((0, 2))[:, None] + 1
    return torch.where(in_prompt, found, behind)


@contextmanager
def _last_mlp_on(language_model: Any, positions: Tensor) -> Iterator[None]:
    """Let the last layer's MLP compute these of the B * L positions alone; nobody reads the others.

    It is the one part of the last layer that no other position needs; attention takes keys from all.
    """
    mlp = language_model.layers[-1].mlp
    whole = mlp.forward

    def forward(hidden: Tensor) -> Tensor:
        flat = hidden.flatten(0, 1)
        return (
            torch.zeros_like(flat)
            .index_copy(0, positions, whole(flat.index_select(0, positions)))
            .view_as(hidden)
        )

    mlp.forward = forward
    try:
        yield
    finally:
        mlp.forward = whole


def _bias(sees: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what is added to attention scores: 0 where a query sees a key, else the lowest number."""
    lowest = torch.finfo(dtype).min
    return torch.zeros(sees.shape, dtype=dtype, device=sees.device).masked_fill(~sees, lowest)[:, None]
