"""Which vision-language families the fast path feeds, and what it has to know of each.

The fast path puts a picture's features where its image tokens are and calls the language model itself,
with a mask and positions of its own. What a family gets from a picture is a constant of it, also where
inner layers take a share (Qwen3-VL) and where positions follow the picture's rows and columns (the Qwens),
so that this is exact. It is not where a layer mixes neighbours whatever the mask says (LFM2-VL); such a
family, and any that is not named here, takes TRL's stock path.
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
    "llava_onevision": Family("language_model"),
    "internvl": Family("language_model"),
    "gemma3": Family("language_model", pictures_see_themselves=True),
    "qwen2_5_vl": Family("language_model"),
    "qwen3_vl": Family("language_model"),
}
"""By `model_type`; each is held to TRL's own numbers in tests/training/test_exactness.py."""

MIXING: dict[str, str] = {"lfm2_vl": "short convolutions", "lfm3_vl": "short convolutions"}
"""Families, by `model_type`, with layers that no mask keeps from carrying one answer into the next."""


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
    if kind in MIXING:
        return Route(None, f"stock: {kind}'s {MIXING[kind]} would carry one answer into the next.")
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
