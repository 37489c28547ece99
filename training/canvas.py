"""A drawing surface addressed in units of the 768 x 512 picture, whatever its size in pixels."""

import random

from PIL import Image, ImageDraw

WIDTH, HEIGHT = 768, 512
HORIZON = 300

Colour = tuple[int, int, int]


class Canvas:
    """A drawing surface addressed in units of the 768 x 512 picture."""

    def __init__(self, height: int) -> None:
        self.scale = height / HEIGHT
        self.image = Image.new("RGB", (round(WIDTH * self.scale), height))
        self.pen = ImageDraw.Draw(self.image)

    def _points(self, points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(x * self.scale, y * self.scale) for x, y in points]

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        """Fill the rectangle between two corners."""
        self.pen.rectangle(self._points([(x0, y0), (x1, y1)]), fill=colour)

    def shape(self, points: list[tuple[float, float]], colour: Colour) -> None:
        """Fill the polygon."""
        self.pen.polygon(self._points(points), fill=colour)

    def disc(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """Fill the ellipse around a centre."""
        self.pen.ellipse(self._points([(x - rx, y - ry), (x + rx, y + ry)]), fill=colour)

    def line(self, points: list[tuple[float, float]], colour: Colour, width: float) -> None:
        """Stroke the open polyline."""
        self.pen.line(self._points(points), fill=colour, width=max(1, round(width * self.scale)))


def shade(colour: Colour, rng: random.Random, spread: int = 14) -> Colour:
    """Return the colour a little lighter or darker."""
    shift = rng.randint(-spread, spread)
    red, green, blue = (max(0, min(255, part + shift)) for part in colour)
    return red, green, blue


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return the colour a share of the way from the first to the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue
