"""Which vision-language families the fast path feeds, and what it has to know of each.

The fast path puts a picture's features where its image tokens are and calls the language model itself,
with a mask and positions of its own. Four families take all that the model gets from a picture in one
place, so that this is exact. Others do not (Qwen3-VL hands features to inner layers too), or could not
be tried here (Qwen2.5-VL, whose processor needs torchvision); those take TRL's stock path.
"""

import re
from dataclasses import dataclass
from typing import Any

from training.config import DistilConfig


@dataclass(frozen=True, slots=True)
class Family:
    """Where a family keeps its language model, and how it masks.

    `language_model` is an attribute of the model without its head. In a family whose
    `pictures_see_themselves`, the image tokens of one picture attend to each other both ways, and the
    language model takes one mask for its full and one for its sliding layers (Gemma 3, section 2).
    """

    language_model: str
    pictures_see_themselves: bool = False


FAMILIES: dict[str, Family] = {
    "idefics3": Family("text_model"),
    "smolvlm": Family("text_model"),
    "llava": Family("language_model"),
    "gemma3": Family("language_model", pictures_see_themselves=True),
}
"""By `model_type`; each is held to TRL's own numbers in tests/training/test_exactness.py."""


@dataclass(frozen=True, slots=True)
class Route:
    """The path a stage trains on, and why, in one sentence; `family` is None on the stock path."""

    family: Family | None
    why: str


def route(config: DistilConfig, model: Any) -> Route:
    """Choose the path for an untouched model, by its family, its attention and what LoRA adapts."""
    kind = model.config.model_type
    family = FAMILIES.get(kind)
    if config.path == "stock":
        return Route(None, "stock: the configuration asks for it.")
    if family is None:
        return Route(None, f"stock: what {kind} takes from a picture is not known to be exact when shared.")
    attention = model.config.get_text_config()._attn_implementation
    if attention not in {"sdpa", "eager"}:
        return Route(None, f"stock: {attention} takes no mask in which answers share a prompt.")
    if not family.pictures_see_themselves and getattr(model.config.get_text_config(), "sliding_window", None):
        return Route(None, "stock: the language model looks back through a sliding window.")
    outside = _adapted_outside(config.lora.targets, model, family)
    if outside is not None:
        return Route(None, f"stock: LoRA adapts {outside}, so that features change as it learns.")
    return Route(family, f"fast: features are computed once, and answers share their prompt ({kind}).")


def _adapted_outside(targets: str, model: Any, family: Family) -> str | None:
    """Return a module outside the language model that LoRA would adapt; None where there is none."""
    if targets == "all-linear":
        return "all linear layers"
    own = f"model.{family.language_model}."
    names = (name for name, _ in model.named_modules() if not f"{name}.".startswith(own))
    return next((name for name in names if re.fullmatch(targets, name)), None)
