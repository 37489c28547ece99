"""Load an untouched vision-language model and its processor, for training and serving alike."""

import re
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText
from transformers.utils import logging

from training.config import DistilConfig, ImageSettings, located
from training.processors import load_processor
from training.quantization import four_bit
from training.resolution import set_resolution, settings_beside

HUB_ID = re.compile(r"(?!assets/|\.)[\w.-]+/[\w.-]+")


class StudentError(Exception):
    """No student can be loaded from there; says why and what to set instead."""


def precision(dtype: str) -> str:
    """Return torch's name for a configuration's dtype; `auto` is bfloat16 on a GPU that has it."""
    if dtype != "auto":
        return dtype
    return "bfloat16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float32"


def load_configured(config: DistilConfig, *, to_train: bool = True) -> tuple[Any, Any]:
    """Load a run's untouched student as it is configured; in 4 bits, where asked for, `to_train` alone."""
    weights = config.quantization if to_train else "none"
    return load_base(config.student, precision(config.dtype), images=config.images, quantization=weights)


def load_base(
    source: str, dtype: str, *, images: ImageSettings | None = None, quantization: str = "none"
) -> tuple[Any, Any]:
    """Load model and processor from a folder or by hub id; `dtype` is torch's name, or `auto`.

    A picture is one tile unless `images`, or a file beside a merged model, says otherwise: families that
    would cut it into many (Idefics3, SmolVLM) are told not to, which divides the work by up to seventeen.
    Raises StudentError where nothing loadable is there, ConfigError for settings that cannot be met.
    """
    source = located(source)
    if not Path(source).is_dir() and not HUB_ID.fullmatch(source):
        raise StudentError(
            f"There is no student at {source}: give the folder of a model, or a hub id such as owner/name."
        )
    logging.disable_progress_bar()
    more = four_bit() if quantization == "4bit" else {}
    try:
        processor = load_processor(source)
        wanted: Any = dtype if dtype == "auto" else getattr(torch, dtype)
        model: Any = AutoModelForImageTextToText.from_pretrained(source, dtype=wanted, **more)
    except ImportError as error:
        reason = str(error).strip().splitlines()[0]
        raise StudentError(
            f"{source} needs a package that is not installed: {reason} Take torchvision from the index that "
            "torch came from."
        ) from error
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise StudentError(f"No student could be loaded from {source}: {reason}") from error
    set_resolution(model, processor, images or settings_beside(Path(source)))
    return model, processor
