"""A picture as 256 bits that survive saving, shrinking, a logo, a mirror and a crop of a tenth.

The picture is made grey and 80 pixels square. Its hash has the signs of the 16 by 16 lowest coefficients
of the cosine transform (after Zauner 2010, "Implementation and benchmarking of perceptual image hash
functions", section 3.2.1, who takes 8 by 8); the mean's own sign is left out. The first 64 bits are the
8 by 8 lowest, so they alone tell most pictures apart.

What was done to a picture is undone on the side of the question, so that the desk keeps one hash of each
picture: `variants` gives the hashes that the picture would have had before a crop, after one, and
mirrored. A strip that was cut off is guessed by repeating the edge, which is right about the low
coefficients often enough; mirroring flips the sign of every odd column, so it costs no transform.
"""

from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE: Final = 80  # pixels of the grey square
WORDS: Final = 4  # of 64 bits
DETAIL_MIN: Final = 8.0  # grey levels from pixel to pixel, across plus down; below, a picture is plain


Hash = NDArray[np.uint64]
_Square = NDArray[np.float32]
_Strip = tuple[int, int]  # pixels put on (positive) or cut off (negative) at either end of an axis

# A tenth off one side leaves 72 of 80 pixels, which fill the square again: put back, they are 9 of 89.
_NONE: Final[_Strip] = (0, 0)
_STRIPS: Final[tuple[_Strip, ...]] = (_NONE, (4, 4), (9, 0), (0, 9))


class Variant(NamedTuple):
    """What the question's picture may have gone through."""

    across: _Strip
    down: _Strip
    is_mirrored: bool

    @property
    def is_cropped(self) -> bool:
        """Whether the question's picture shows less than the known one."""
        return any(strip > 0 for strip in (*self.across, *self.down))

    @property
    def is_wider(self) -> bool:
        """Whether it shows more."""
        return any(strip < 0 for strip in (*self.across, *self.down))


class Print(NamedTuple):
    """A picture as it is compared."""

    bits: Hash  # (4,)
    detail: float  # grey levels

    @property
    def is_plain(self) -> bool:
        """Whether there is too little in the picture to tell it from others."""
        return self.detail < DETAIL_MIN


def _variants() -> tuple[Variant, ...]:
    less = [(across, down) for across in _STRIPS for down in _STRIPS]
    more = [((-a[0], -a[1]), (-d[0], -d[1])) for a, d in less[1:]]
    return tuple(Variant(*strips, mirrored) for strips in (*less, *more) for mirrored in (False, True))


VARIANTS: Final = _variants()
"""The 62 that a question is compared in: as it is and 15 crops undone and done, each also mirrored."""


def _order() -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the coefficients in the order of the bits: the 8 by 8 lowest first."""
    places = sorted(((row, column) for row in range(16) for column in range(16)), key=lambda at: max(at) >= 8)
    rows, columns = zip(*places, strict=True)
    return np.array(rows), np.array(columns)


_ROWS, _COLUMNS = _order()
_ODD: Final = _COLUMNS % 2 == 1


def grey_square(path: Path) -> _Square:
    """Read a copy that the image door made, as (80, 80) grey levels from 0 to 255."""
    with Image.open(path) as image:
        return squared(image)


def squared(image: Image.Image) -> _Square:
    """Make a decoded picture (80, 80) grey levels."""
    small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32)


def print_of(square: _Square) -> Print:
    """Hash a picture, and say how much there is in it."""
    detail = float(np.abs(np.diff(square, axis=0)).mean() + np.abs(np.diff(square, axis=1)).mean())
    return Print(_packed(_signs(square)[None])[0], detail)


def variants(square: _Square) -> Hash:
    """Hash a picture in each of VARIANTS: (62, 4)."""
    bits = np.empty((len(VARIANTS), 16 * 16), dtype=bool)
    for number, variant in enumerate(VARIANTS[::2]):
        signs = _signs(_stripped(_stripped(square, variant.down, 0), variant.across, 1))
        bits[2 * number] = signs > 0
        bits[2 * number + 1] = np.where(_ODD, -signs, signs) > 0
    bits[:, 0] = False
    return np.packbits(bits, axis=1).view(np.uint64)


def distances(these: Hash, those: Hash) -> NDArray[np.intp]:
    """Count the bits in which hashes differ; arrays (..., 4) that broadcast."""
    counts: NDArray[np.intp] = np.bitwise_count(these ^ those).sum(axis=-1, dtype=np.intp)
    return counts


def _packed(signs: NDArray[np.float32]) -> Hash:
    bits = signs > 0
    bits[:, 0] = False  # the mean is above 0 in every picture
    return np.packbits(bits, axis=1).view(np.uint64)


def _signs(square: _Square) -> NDArray[np.float32]:
    """The 256 lowest coefficients in the order of the bits; only their signs are of use."""
    height, width = square.shape
    # A coefficient that is 0 but for rounding has no sign, and all plain pictures would share it.
    coefficients = np.round(_waves(height) @ square @ _waves(width).T, 2)
    return coefficients[_ROWS, _COLUMNS].astype(np.float32)


@cache
def _waves(length: int) -> NDArray[np.float32]:
    """The 16 lowest cosines over `length` pixels: (16, length)."""
    return np.cos(np.pi / length * np.arange(16)[:, None] * (np.arange(length) + 0.5)).astype(np.float32)


def _stripped(square: _Square, strip: _Strip, axis: int) -> _Square:
    first, last = strip
    if first < 0 or last < 0:
        kept = slice(-first, square.shape[axis] + last)
        return square[kept] if axis == 0 else square[:, kept]
    if strip == _NONE:
        return square
    return np.pad(square, [strip, (0, 0)] if axis == 0 else [(0, 0), strip], mode="edge")
