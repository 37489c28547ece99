"""What a student takes from a picture, computed once and kept: features, and the tokens they stand for.

A second question about the same picture costs the language model alone. Features are those the model
computes for itself and are handed back to it where it would have computed them, so this is exact in every
family; and since the picture comes first in every prompt, the tokens up to where the text begins are a
constant of it too, and the processor need not look at the picture again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor
from transformers.utils import ModelOutput

from training.domain import summary
from training.records import CaseInput

if TYPE_CHECKING:
    from training.student import Student

TOKEN_INPUTS = {"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"}
"""What a processor gives per token of text; families differ in which they have."""

Alter = Callable[[Tensor], Tensor]
"""Takes one picture's pixels as the processor gives them and returns others of the same shape."""

Piece = Tensor | list[Tensor]


class SightError(Exception):
    """A family's prompts cannot be taken apart into picture and text; says which."""


@dataclass(frozen=True, slots=True)
class Head:
    """The tokens of a prompt up to where its text begins: as the template writes them, and as they are read.

    `kinds` has what the family says of each read token besides its id.
    """

    written: tuple[int, ...]
    read: tuple[int, ...]
    kinds: dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Sight:
    """A picture as a student sees it.

    `pooled` stands where its image tokens are, `deeper` is what inner layers get there besides, `grid`,
    (1, 3), its times, rows and columns in patches; each is the family's own shape, of one picture. `summary`,
    (D,), is what tells a strange picture, None where the student claims no domain.
    """

    head: Head
    pooled: Piece
    deeper: tuple[Piece, ...]
    grid: Tensor | None
    summary: Tensor | None

    @property
    def bytes(self) -> int:
        """How much memory it takes."""
        pieces = [self.pooled, *self.deeper]
        tensors = [one for piece in pieces for one in (piece if isinstance(piece, list) else [piece])]
        return sum(one.nbytes for one in tensors)


@torch.inference_mode()
def see(student: "Student", pictures: Sequence[Image.Image], alter: Sequence[Alter] = ()) -> list[Sight]:
    """Return what the student sees in each picture, those of one shape in one pass of its vision tower.

    `alter`, where given, has one entry a picture. Raises SightError for a family it is not exact for.
    """
    empty = CaseInput("", "", "")
    encoded = [student.encoded([picture], [empty]) for picture in pictures]
    pixels = [{name: values for name, values in one.items() if name not in TOKEN_INPUTS} for one in encoded]
    for one, change in zip(pixels, alter, strict=False):
        one["pixel_values"] = change(one["pixel_values"])
    heads = [_head(student, one) for one in encoded]
    found: dict[int, Sight] = {}
    for numbers in _alike(pixels):
        given = _features(student, [pixels[number] for number in numbers])
        for place, number in enumerate(numbers):
            found[number] = _one(given, place, len(numbers), heads[number], pixels[number])
    return [found[number] for number in range(len(pictures))]


def joined(sights: Sequence[Sight]) -> dict[str, Any]:
    """Return the sights of a batch as a model takes them instead of pixels."""
    output = ModelOutput()
    output["pooler_output"] = _together([one.pooled for one in sights])
    layers = [_together(list(layer)) for layer in zip(*(one.deeper for one in sights), strict=True)]
    output["deepstack_features"] = layers or None
    inputs: dict[str, Any] = {"mm_encoder_outputs": {"image": output}}
    grids = [one.grid for one in sights if one.grid is not None]
    if grids:
        inputs["image_grid_thw"] = torch.cat(grids)
    return inputs


def _features(student: "Student", pixels: Sequence[dict[str, Tensor]]) -> Any:
    """Return what the vision tower and the connector give of pictures of one shape."""
    model = student.model.base_model
    together = {name: torch.cat([one[name] for one in pixels]).to(model.device) for name in pixels[0]}
    together["pixel_values"] = together["pixel_values"].to(model.dtype)
    given = model.get_image_features(**together)
    if student.domain is not None:
        given["summary"] = summary(given.last_hidden_state).float().cpu()
    return given


def _one(given: Any, place: int, count: int, head: Head, pixels: dict[str, Tensor]) -> Sight:
    """Return the sight of one picture of those that were seen together."""
    deeper = getattr(given, "deepstack_features", None) or []
    told = given.get("summary")
    return Sight(
        head,
        _share(given.pooler_output, place, count),
        tuple(_share(layer, place, count) for layer in deeper),
        pixels.get("image_grid_thw"),
        None if told is None else told[place * len(told) // count],
    )


def _share(pieces: Any, place: int, count: int) -> Piece:
    """Cut one of `count` pictures' share out of a tensor or a sequence, along its first axis."""
    size, rest = divmod(len(pieces), count)
    if rest:
        raise SightError(f"{len(pieces)} rows of features cannot be those of {count} pictures of one shape.")
    part = pieces[place * size : (place + 1) * size]
    return part.clone() if isinstance(part, Tensor) else [one.clone() for one in part]


def _together(pieces: list[Piece]) -> Piece:
    if isinstance(pieces[0], list):
        return [one for piece in pieces for one in piece]
    return torch.cat([piece for piece in pieces if isinstance(piece, Tensor)])


def _head(student: "Student", encoded: Any) -> Head:
    """Find where the picture ends in a prompt: what written and read tokens have in common behind it."""
    written, text = student.empty_prompt
    read = encoded["input_ids"][0].tolist()
    image, same = student.model.config.image_token_id, 0
    while same < min(len(written), len(read)) and image != written[-1 - same] == read[-1 - same]:
        same += 1
    if same < text:
        raise SightError(f"The prompts of {student.name} cannot be told from the pictures before them.")
    kinds = {
        name: tuple(encoded[name][0].tolist()[: len(read) - same])
        for name in TOKEN_INPUTS & encoded.keys() - {"input_ids", "attention_mask"}
    }
    return Head(tuple(written[: len(written) - same]), tuple(read[: len(read) - same]), kinds)


def _alike(pixels: Sequence[dict[str, Tensor]]) -> list[list[int]]:
    """Return the numbers of the pictures of each shape."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, one in enumerate(pixels):
        shape = tuple((name, tuple(values.shape)) for name, values in sorted(one.items()))
        groups.setdefault(shape, []).append(number)
    return list(groups.values())
