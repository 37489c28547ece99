"""Load pictures for a model the one way training, evaluation and serving all use.

A picture is shrunk to twice the size its processor will ask for before the processor sees it: a
4,000 pixel photograph costs what a small one does, and a stage can keep all its pictures in memory.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image


def longest_edge(processor: Any) -> int:
    """Return the longest edge, in pixels, that pictures are shrunk to for this processor."""
    size = getattr(processor.image_processor, "size", None) or {}
    edges = [size.get("longest_edge"), size.get("height"), size.get("width")]
    wanted = max((edge for edge in edges if edge), default=512)
    return 2 * min(int(wanted), 1024)


def load_picture(path: Path, edge: int) -> Image.Image:
    """Return the picture as RGB, its longest edge at most `edge` pixels, upright as stored."""
    with Image.open(path) as opened:
        opened.draft("RGB", (edge, edge))
        picture = opened.convert("RGB")
    return shrink(picture, edge)


def shrink(picture: Image.Image, edge: int) -> Image.Image:
    """Return the picture, or a smaller copy whose longest edge is `edge` pixels."""
    if max(picture.size) <= edge:
        return picture
    small = picture.copy()
    small.thumbnail((edge, edge), Image.Resampling.LANCZOS, reducing_gap=3.0)
    return small


def load_pictures(root: Path, names: Iterable[str], edge: int) -> dict[str, Image.Image]:
    """Load each named picture once; `names` are relative to `root`."""
    return {name: load_picture(root / name, edge) for name in dict.fromkeys(names)}
