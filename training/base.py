"""Load an untouched vision-language model and its processor, for training and serving alike."""

import re
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.utils import logging

from training.config import located

HUB_ID = re.compile(r"(?!assets/|\.)[\w.-]+/[\w.-]+")


class StudentError(Exception):
    """No student can be loaded from there; says why and what to set instead."""


def load_base(source: str, dtype: str) -> tuple[Any, Any]:
    """Load model and processor from a folder or by hub id; `dtype` is torch's name, or `auto`.

    A picture is one tile: families that would cut it into many (Idefics3, SmolVLM) are told not to,
    which divides the work by up to seventeen. Raises StudentError where nothing loadable is there.
    """
    source = located(source)
    if not Path(source).is_dir() and not HUB_ID.fullmatch(source):
        raise StudentError(
            f"There is no student at {source}: give the folder of a model, or a hub id such as owner/name."
        )
    logging.disable_progress_bar()
    try:
        processor: Any = AutoProcessor.from_pretrained(source)
        wanted: Any = dtype if dtype == "auto" else getattr(torch, dtype)
        model: Any = AutoModelForImageTextToText.from_pretrained(source, dtype=wanted)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise StudentError(f"No student could be loaded from {source}: {reason}") from error
    images = processor.image_processor
    if getattr(images, "do_image_splitting", False):
        images.do_image_splitting = False
        images.size = {"longest_edge": images.max_image_size["longest_edge"] * 3 // 2}
    return model, processor
