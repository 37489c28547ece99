"""What shows that an event is going on: the objects of the eight events of the demo world."""

import math
import random
from collections.abc import Callable

from training.canvas import HEIGHT, HORIZON, WIDTH, Canvas, Colour, shade

_BUNTING: tuple[Colour, ...] = ((222, 50, 60), (250, 204, 60), (44, 110, 200), (60, 160, 90))


def _flood(canvas: Canvas, rng: random.Random) -> None:
    for _ in range(26):
        x, y = rng.uniform(0, WIDTH), rng.uniform(HORIZON + 10, HEIGHT - 10)
        width = 14 + (y - HORIZON) / 4
        wave = [(x, y), (x + width / 2, y - 6), (x + width, y), (x + width * 1.5, y - 6)]
        canvas.line(wave, (190, 216, 232), 4)
    x = rng.uniform(470, 590)
    canvas.shape([(x, 340), (x + 26, 312), (x + 84, 312), (x + 112, 340)], (190, 60, 50))
    canvas.box(x - 14, 336, x + 128, 352, (190, 60, 50))


def _fire(canvas: Canvas, rng: random.Random) -> None:
    for _ in range(7):
        x, y = rng.uniform(440, 660), rng.uniform(40, 190)
        canvas.disc(x, y, rng.uniform(44, 66), rng.uniform(34, 48), shade((74, 70, 70), rng))
    canvas.box(470, 232, 660, HORIZON + 14, (60, 48, 44))
    for flame in range(7):
        x, top = 456 + flame * 32 + rng.uniform(-8, 8), rng.uniform(140, 200)
        canvas.shape([(x - 24, HORIZON + 14), (x, top), (x + 24, HORIZON + 14)], (240, 96, 24))
        canvas.shape([(x - 12, HORIZON + 14), (x, top + 64), (x + 12, HORIZON + 14)], (255, 214, 70))


def _protest(canvas: Canvas, rng: random.Random) -> None:
    x = rng.uniform(430, 480)
    canvas.line([(x, 214), (x, 350)], (90, 66, 46), 8)
    canvas.line([(x + 270, 214), (x + 270, 350)], (90, 66, 46), 8)
    canvas.box(x, 216, x + 270, 276, (208, 36, 44))
    for word, (left, right) in enumerate(((20, 90), (104, 150), (164, 250))):
        canvas.box(x + left, 236 + word % 2, x + right, 256, (255, 246, 240))
    for placard in range(4):
        edge = x - 20 + placard * 76 + rng.uniform(-8, 8)
        canvas.line([(edge + 24, 330), (edge + 24, 390)], (90, 66, 46), 6)
        canvas.box(edge, 300, edge + 52, 340, (252, 250, 244))
        canvas.box(edge + 8, 312, edge + 44, 318, (40, 40, 40))


def _parade(canvas: Canvas, rng: random.Random) -> None:
    for row in (26, 74):
        for flag in range(17):
            right, colour = flag * 46 + row, rng.choice(_BUNTING)
            sag = row + 20 * math.sin(flag / 16 * math.pi)
            canvas.shape([(right - 40, sag), (right - 4, sag), (right - 22, 34 + sag)], colour)
    x = rng.uniform(440, 520)
    canvas.box(x, 286, x + 200, 346, (214, 70, 140))
    canvas.box(x, 306, x + 200, 322, (255, 224, 90))
    for wheel in (x + 40, x + 160):
        canvas.disc(wheel, 350, 18, 18, (40, 40, 44))
    for balloon in range(5):
        left = x + 20 + balloon * 40
        canvas.line([(left, 288), (left, 226)], (80, 80, 80), 3)
        canvas.disc(left, 212, 19, 23, _BUNTING[balloon % 4])


def _market(canvas: Canvas, rng: random.Random) -> None:
    start = rng.uniform(370, 400)
    for stall, colour in enumerate(((200, 48, 48), (40, 140, 84), (228, 150, 40))):
        x = start + stall * 124
        canvas.box(x + 6, 296, x + 14, 376, (100, 76, 54))
        canvas.box(x + 96, 296, x + 104, 376, (100, 76, 54))
        canvas.box(x, 346, x + 110, 378, (150, 108, 70))
        for fruit in range(5):
            canvas.disc(x + 14 + fruit * 20, 342, 9, 9, ((226, 120, 40), (120, 170, 60))[fruit % 2])
        for stripe in range(5):
            left = x + stripe * 22
            canvas.shape(
                [(left, 300), (left + 8, 250), (left + 30, 250), (left + 22, 300)],
                colour if stripe % 2 == 0 else (252, 250, 244),
            )


def _match(canvas: Canvas, rng: random.Random) -> None:
    white: Colour = (250, 252, 250)
    for stripe in range(0, 8, 2):
        left = stripe * 110 - 60
        canvas.shape(
            [(left + 60, HORIZON), (left + 150, HORIZON), (left + 110, HEIGHT), (left, HEIGHT)],
            (104, 176, 86),
        )
    canvas.line([(0, 326), (WIDTH, 326)], white, 6)
    x = rng.uniform(470, 520)
    canvas.line([(x, 330), (x, 212), (x + 210, 212), (x + 210, 330)], white, 9)
    for net in range(1, 9):
        canvas.line([(x + net * 23, 214), (x + net * 23, 326)], (224, 232, 228), 2)
    for net in range(1, 5):
        canvas.line([(x, 212 + net * 23), (x + 210, 212 + net * 23)], (224, 232, 228), 2)
    canvas.disc(rng.uniform(380, 460), 360, 13, 13, white)


def _concert(canvas: Canvas, rng: random.Random) -> None:
    x = rng.uniform(430, 470)
    canvas.box(x, 150, x + 270, 340, (34, 30, 44))
    for beam, colour in enumerate(((236, 70, 190), (80, 210, 240), (250, 220, 80), (150, 100, 250))):
        left = x + 36 + beam * 66
        spread = rng.uniform(-30, 30)
        canvas.shape([(left, 162), (left + spread + 34, 318), (left + spread - 34, 318)], colour)
        canvas.disc(left, 160, 9, 9, (255, 255, 240))
    canvas.box(x - 10, 138, x + 280, 154, (96, 96, 106))
    canvas.box(x - 10, 318, x + 280, 348, (74, 66, 80))
    for speaker in (x - 26, x + 256):
        canvas.box(speaker, 236, speaker + 40, 348, (20, 20, 24))
        canvas.disc(speaker + 20, 268, 13, 13, (110, 110, 118))
        canvas.disc(speaker + 20, 314, 16, 16, (110, 110, 118))


def _harvest(canvas: Canvas, rng: random.Random) -> None:
    for row in range(9):
        canvas.line([(360 + (row - 4) * 40, HORIZON), (360 + (row - 4) * 170, HEIGHT)], (180, 138, 52), 6)
    for bale in range(5):
        x, y = 420 + bale * 70 + rng.uniform(-14, 14), 330 + (bale % 2) * 34
        canvas.disc(x, y, 36, 32, (206, 158, 58))
        canvas.disc(x, y, 22, 19, (168, 122, 42))
        canvas.disc(x, y, 9, 8, (206, 158, 58))


EVENTS: dict[str, Callable[[Canvas, random.Random], None]] = {
    "flood": _flood, "fire": _fire, "protest": _protest, "parade": _parade,
    "market": _market, "match": _match, "concert": _concert, "harvest": _harvest,
}  # fmt: skip
