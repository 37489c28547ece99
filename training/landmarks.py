"""The eight landmarks of the demo world, standing on the horizon with their left edge near `x`."""

import math
from collections.abc import Callable

from training.canvas import HORIZON, Canvas, Colour


def _windows(canvas: Canvas, x: float, y: float, columns: int, rows: int, lit: bool) -> None:
    colour: Colour = (255, 255, 190) if lit else (84, 92, 108)
    for column in range(columns):
        for row in range(rows):
            canvas.box(x + column * 26, y + row * 36, x + column * 26 + 12, y + row * 36 + 20, colour)


def _tower(canvas: Canvas, x: float, stone: Colour, lit: bool) -> None:
    canvas.box(x + 40, 90, x + 110, HORIZON, stone)
    canvas.shape([(x + 30, 90), (x + 75, 20), (x + 120, 90)], (140, 64, 56))
    canvas.disc(x + 75, 130, 27, 27, (250, 246, 230))
    canvas.line([(x + 75, 130), (x + 75, 110)], (40, 40, 40), 4)
    canvas.line([(x + 75, 130), (x + 90, 136)], (40, 40, 40), 4)
    _windows(canvas, x + 56, 186, 2, 3, lit)


def _bridge(canvas: Canvas, x: float, stone: Colour, lit: bool) -> None:
    steel: Colour = (160, 70, 60)
    canvas.box(x - 110, 236, x + 330, 254, steel)
    for pillar in (x + 10, x + 200):
        canvas.box(pillar, 80, pillar + 18, HORIZON, steel)
        for reach in (40, 75, 110):
            canvas.line([(pillar + 9, 88), (pillar + 9 - reach, 238)], steel, 4)
            canvas.line([(pillar + 9, 88), (pillar + 9 + reach, 238)], steel, 4)
    if lit:
        for lamp in range(6):
            canvas.disc(x - 90 + lamp * 80, 230, 5, 5, (255, 255, 190))


def _cathedral(canvas: Canvas, x: float, stone: Colour, lit: bool) -> None:
    canvas.box(x, 200, x + 240, HORIZON, stone)
    canvas.box(x + 60, 160, x + 180, 205, stone)
    canvas.disc(x + 120, 160, 66, 72, (84, 140, 130))
    canvas.box(x + 60, 160, x + 180, 205, stone)
    canvas.line([(x + 120, 90), (x + 120, 44)], (214, 180, 80), 7)
    canvas.line([(x + 106, 60), (x + 134, 60)], (214, 180, 80), 6)
    _windows(canvas, x + 24, 224, 8, 2, lit)


def _windmill(canvas: Canvas, x: float, stone: Colour, lit: bool) -> None:
    canvas.shape([(x + 30, HORIZON), (x + 56, 130), (x + 104, 130), (x + 130, HORIZON)], (222, 214, 200))
    canvas.shape([(x + 50, 132), (x + 80, 88), (x + 110, 132)], (120, 70, 50))
    for quarter in range(4):
        angle = 0.6 + quarter * math.pi / 2
        dx, dy = math.cos(angle), math.sin(angle)
        tip, side = (x + 80 + 118 * dx, 128 + 118 * dy), (-dy * 15, dx * 15)
        canvas.line([(x + 80, 128), tip], (70, 54, 44), 7)
        blade = [(x + 80 + 26 * dx, 128 + 26 * dy), tip]
        canvas.shape(
            [*blade, (tip[0] + side[0], tip[1] + side[1]), (blade[0][0] + side[0], blade[0][1] + side[1])],
            (236, 232, 222),
        )
    _windows(canvas, x + 74, 190, 1, 2, lit)


def _lighthouse(canvas: Canvas, x: float, stone: Colour, lit: bool) -> None:
    edges = [(x + 44, HORIZON, x + 126), (x + 62, 90, x + 108)]
    for band in range(5):
        low, high = band / 5, (band + 1) / 5
        left = [edges[0][0] + 18 * part for part in (low, high)]
        right = [edges[0][2] - 18 * part for part in (low, high)]
        y = [HORIZON - 210 * part for part in (low, high)]
        colour: Colour = (206, 56, 52) if band % 2 == 0 else (244, 242, 236)
        canvas.shape([(left[0], y[0]), (left[1], y[1]), (right[1], y[1]), (right[0], y[0])], colour)
    canvas.box(x + 66, 58, x + 104, 90, (255, 244, 150) if lit else (190, 214, 226))
    canvas.shape([(x + 60, 60), (x + 85, 30), (x + 110, 60)], (60, 60, 70))


def _castle(canvas: Canvas, x: float, stone: Colour, lit: bool) -> None:
    canvas.box(x, 190, x + 250, HORIZON, stone)
    for left in (x - 24, x + 96, x + 214):
        top = 120 if left == x + 96 else 150
        canvas.box(left, top, left + 60, HORIZON, stone)
        for tooth in range(3):
            canvas.box(left + tooth * 23, top - 18, left + tooth * 23 + 14, top, stone)
    canvas.disc(x + 126, HORIZON, 24, 44, (60, 50, 46))
    canvas.line([(x + 126, 104), (x + 126, 54)], (70, 60, 56), 4)
    canvas.shape([(x + 128, 54), (x + 170, 66), (x + 128, 80)], (60, 90, 190))
    _windows(canvas, x + 50, 210, 1, 1, lit)
    _windows(canvas, x + 184, 210, 1, 1, lit)


def _factory(canvas: Canvas, x: float, stone: Colour, lit: bool) -> None:
    canvas.box(x, 210, x + 270, HORIZON, (134, 92, 78))
    for roof in range(3):
        left = x + roof * 90
        canvas.shape([(left, 212), (left, 176), (left + 90, 212)], (110, 74, 64))
    for chimney in (x + 20, x + 110, x + 200):
        canvas.box(chimney, 60, chimney + 30, 212, (126, 82, 70))
        canvas.box(chimney, 74, chimney + 30, 88, (230, 226, 220))
    _windows(canvas, x + 18, 236, 9, 1, lit)


def _parliament(canvas: Canvas, x: float, stone: Colour, lit: bool) -> None:
    pale: Colour = (232, 226, 210)
    canvas.box(x - 10, 280, x + 270, HORIZON, pale)
    canvas.shape([(x - 14, 170), (x + 130, 96), (x + 274, 170)], pale)
    canvas.box(x, 170, x + 260, 188, pale)
    canvas.box(x + 6, 188, x + 254, 280, (255, 240, 170) if lit else (110, 104, 100))
    for column in range(6):
        canvas.box(x + 4 + column * 47, 188, x + 24 + column * 47, 280, pale)


LANDMARKS: dict[str, Callable[[Canvas, float, Colour, bool], None]] = {
    "tower": _tower, "bridge": _bridge, "cathedral": _cathedral, "windmill": _windmill,
    "lighthouse": _lighthouse, "castle": _castle, "factory": _factory, "parliament": _parliament,
}  # fmt: skip
