"""How finely a student looks at a picture: tiles and pixels, set on processor and model alike.

A tile costs a pass of the vision tower and a tile's worth of image tokens, so this is the largest lever on
the work and memory of small students. Written beside a merged model, the settings go where it goes.
"""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from training.config import ConfigError, ImageSettings, from_values

FILE_NAME = "image_settings.json"


def settings_beside(folder: Path) -> ImageSettings:
    """Read the settings a merged model was saved with; a folder without them takes whole pictures."""
    path = folder / FILE_NAME
    if not path.is_file():
        return ImageSettings()
    return from_values(ImageSettings, json.loads(path.read_text(encoding="utf-8")), str(path))


def write_settings(settings: ImageSettings, folder: Path) -> None:
    """Write the settings beside a model."""
    (folder / FILE_NAME).write_text(json.dumps(asdict(settings)) + "\n", encoding="utf-8")


def set_resolution(model: Any, processor: Any, settings: ImageSettings) -> None:
    """Make processor and model take pictures as the settings say.

    Raises ConfigError for bounds on pixels where the processor's pictures are of a fixed size.
    """
    images = processor.image_processor
    if hasattr(images, "do_image_splitting"):  # Idefics3, SmolVLM
        _split(images, settings.tiles)
    elif hasattr(images, "max_patches"):  # InternVL; its processor asks for crops unless there is one tile
        images.max_patches = settings.tiles
        images.crop_to_patches = settings.tiles > 1
    elif getattr(images, "image_grid_pinpoints", None):  # LLaVA-OneVision
        _pin(model, images, settings.tiles)
    elif getattr(images, "do_pan_and_scan", None) is not None:  # Gemma 3
        images.do_pan_and_scan = settings.tiles > 1
        images.pan_and_scan_max_num_crops = settings.tiles
    if settings.min_pixels or settings.max_pixels:
        _bound(images, settings)


def _split(images: Any, tiles: int) -> None:
    """Cut into a square of tiles, or not at all; a processor saved unsplit keeps the size it has."""
    was_split = bool(images.do_image_splitting)
    images.do_image_splitting = tiles > 1
    edge = images.max_image_size["longest_edge"]
    if tiles > 1:
        images.size = {"longest_edge": edge * math.isqrt(tiles)}
    elif was_split:
        images.size = {"longest_edge": edge * 3 // 2}


def _pin(model: Any, images: Any, tiles: int) -> None:
    """Allow grids of up to so many tiles; the model unfolds features by the same list."""
    edge = min(min(pair) for pair in images.image_grid_pinpoints)
    sides = range(1, tiles + 1)
    grids = [[edge * rows, edge * columns] for rows in sides for columns in sides if rows * columns <= tiles]
    images.image_grid_pinpoints = model.config.image_grid_pinpoints = grids


def _bound(images: Any, settings: ImageSettings) -> None:
    size = images.size
    if "shortest_edge" not in size or not hasattr(images, "merge_size"):
        raise ConfigError(
            f"min_pixels and max_pixels are no settings of {type(images).__name__}, whose pictures have a "
            "fixed size: leave them 0."
        )
    images.size = {  # Qwen-VL's names for areas
        "shortest_edge": settings.min_pixels or size["shortest_edge"],
        "longest_edge": settings.max_pixels or size["longest_edge"],
    }
