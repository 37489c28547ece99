"""One pass over prompts: the verdicts are read off its end, and rationales go on from where it stopped.

What the language model keeps of a prompt (its keys and values) stays, so that a rationale costs one pass
per token it has and the prompt is not read again. A rationale is a plain iterator: whoever owns the model
may do other work between two of its pieces.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from db.vocabulary import Verdict
from training.records import CaseInput
from training.sight import Sight, SightError, joined

if TYPE_CHECKING:
    from training.student import Student

UNFINISHED = "\ufffd"
"""What a tokenizer gives for a character of which some bytes are still to come."""


@dataclass(frozen=True, slots=True)
class Prefill:
    """One prompt that a student has read, up to where its verdict is due.

    `margin` is the log-odds, in nats, of out of context, before any temperature. `present`, (1, L), masks
    padding; `offset`, (1, 1), is how far positions run behind tokens where positions are spatial.
    """

    margin: float
    cache: Any
    present: Tensor
    offset: Tensor | None

    @property
    def bytes(self) -> int:
        """How much memory is taken by what the layers keep, keys and values or other states."""
        kept = [value for layer in self.cache.layers for value in vars(layer).values()]
        kept += [state for value in kept if isinstance(value, dict) for state in value.values()]
        return sum(value.nbytes for value in kept if isinstance(value, Tensor))


@torch.inference_mode()
def read(student: "Student", sights: Sequence[Sight], cases: Sequence[CaseInput]) -> list[Prefill]:
    """Read a batch of prompts in one pass of the language model, a picture seen for each case."""
    common, (in_context, out_of_context) = student.deciding_tokens
    device = student.model.device
    texts = [student.tokens(prompt) for prompt in student.prompts(cases)]
    rows = [_row(sight, text) for sight, text in zip(sights, texts, strict=True)]
    length = max(map(len, rows)) + len(common)
    padding = student.processor.tokenizer.pad_token_id
    ids = torch.tensor([[padding] * (length - len(row) - len(common)) + row + common for row in rows])
    present = torch.tensor(
        [[0] * (length - len(row) - len(common)) + [1] * len(row + common) for row in rows]
    )
    kinds = {name: _kinds(name, sights, rows, length, len(common)) for name in sights[0].head.kinds}
    inputs = {name: values.to(device) for name, values in kinds.items()}
    given = student.model(
        input_ids=ids.to(device),
        attention_mask=present.to(device),
        use_cache=True,
        logits_to_keep=1,
        **inputs,
        **joined(sights),
    )
    logits: Tensor = given.logits[:, -1].float()
    margins = (logits[:, out_of_context] - logits[:, in_context]).tolist()
    offsets = getattr(student.model.base_model, "rope_deltas", None)
    return [
        Prefill(
            margin,
            given.past_key_values if len(rows) == 1 else row_of(given.past_key_values, number, device),
            present[number : number + 1].to(device),
            None if offsets is None else offsets[number : number + 1].clone(),
        )
        for number, margin in enumerate(margins)
    ]


def write(student: "Student", begun: Prefill, verdict: Verdict, *, max_tokens: int = 160) -> Iterator[str]:
    """Yield the rationale that follows the verdict, piece by piece, each the likeliest words.

    The prompt stays as it was read, so that it can be gone on from again.
    """
    common, _ = student.deciding_tokens
    cache, present = row_of(begun.cache, 0, begun.present.device), begun.present
    tokens = student.tokens(student.answer_start(verdict))[len(common) :]
    ends = _ends(student)
    said: list[int] = []
    shown = ""
    while len(said) < max_tokens:
        present = torch.cat([present, present.new_ones(1, len(tokens))], dim=1)
        token = _next(student, tokens, present, cache, begun.offset)
        if token in ends:
            break
        said.append(token)
        tokens = [token]
        text = student.processor.tokenizer.decode(said, skip_special_tokens=True)
        if len(text) > len(shown) and not text.endswith(UNFINISHED):
            yield text[len(shown) :]
            shown = text
    rest = student.processor.tokenizer.decode(said, skip_special_tokens=True)[len(shown) :]
    if rest:
        yield rest


@torch.inference_mode()
def _next(student: "Student", tokens: list[int], present: Tensor, cache: Any, offset: Tensor | None) -> int:
    """Return the likeliest token behind these, having added them to the cache."""
    spatial = {}
    if offset is not None:  # else taken from the prompt read last, which may be another
        behind = present.cumsum(1)[:, -len(tokens) :] - 1 + offset
        spatial["position_ids"] = behind.expand(3, 1, -1)
    given = student.model(
        input_ids=torch.tensor([tokens], device=present.device),
        attention_mask=present,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
        **spatial,
    )
    return int(given.logits[0, -1].argmax())


def _row(sight: Sight, text: list[int]) -> list[int]:
    """Return a prompt's tokens with the picture's where the template writes its place."""
    written = sight.head.written
    if tuple(text[: len(written)]) != written:
        raise SightError("This prompt does not begin as the one the picture was seen with.")
    return [*sight.head.read, *text[len(written) :]]


def _kinds(name: str, sights: Sequence[Sight], rows: Sequence[list[int]], length: int, common: int) -> Tensor:
    """Return what a family says of each token besides its id, (B, L): nothing of padding and of text."""
    lines = []
    for sight, row in zip(sights, rows, strict=True):
        head = sight.head.kinds[name]
        before = length - len(row) - common
        lines.append([0] * before + [*head] + [0] * (length - before - len(head)))
    return torch.tensor(lines)


def row_of(cache: Any, row: int, device: torch.device) -> Any:
    """Return what the layers keep of one row, which may grow without that of the batch."""
    own = copy.copy(cache)
    own.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in own.layers:  # convolutions keep their states in dictionaries
        vars(layer).update(
            {name: {**value} for name, value in vars(layer).items() if isinstance(value, dict)}
        )
    own.reorder_cache(torch.tensor([row], device=device))
    return own


def _ends(student: "Student") -> set[int]:
    ends = student.model.generation_config.eos_token_id
    return set(ends) if isinstance(ends, list) else {ends}
