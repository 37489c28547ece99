"""Draw a scene of the demo world as a flat illustration, 3:2, at any size.

Back to front: sky, landmark on the horizon, ground, the event's objects, people, weather. Sizes are
in units of a 768 x 512 canvas and scaled, so a small picture is the large one seen from afar.
Jitter (where the landmark stands, shades, who stands where) comes from the picture's seed alone.
"""

import math
import random
from collections.abc import Callable

from PIL import Image, ImageChops, ImageDraw

from training.world import Scene

WIDTH, HEIGHT = 768, 512
HORIZON = 300

Colour = tuple[int, int, int]

_SKY: dict[str, tuple[Colour, Colour]] = {
    "day": ((92, 160, 222), (196, 224, 240)),
    "dusk": ((96, 64, 120), (252, 150, 84)),
    "night": ((8, 12, 36), (30, 38, 78)),
}
_LIGHT: dict[str, Colour] = {"day": (255, 255, 255), "dusk": (255, 196, 160), "night": (140, 148, 200)}
_GROUND: Colour = (148, 158, 132)
_STONE: Colour = (150, 140, 132)
_PEOPLE: tuple[Colour, ...] = (
    (180, 52, 52), (46, 82, 140), (226, 180, 60), (70, 120, 84), (98, 66, 118), (40, 44, 54), (208, 116, 60),
)  # fmt: skip
_SKIN: tuple[Colour, ...] = ((236, 196, 164), (196, 146, 110), (126, 84, 60))
_BUNTING: tuple[Colour, ...] = ((222, 50, 60), (250, 204, 60), (44, 110, 200), (60, 160, 90))


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


def draw(scene: Scene, picture_seed: int, *, height: int = HEIGHT, supersample: int = 2) -> Image.Image:
    """Return the picture, `height` pixels high and half as wide again; equal arguments, equal bytes."""
    rng = random.Random(picture_seed)
    canvas = Canvas(height * supersample)
    _sky(canvas, scene, rng)
    _LANDMARKS[scene.landmark](
        canvas, 150 + rng.uniform(-70, 110), _shade(_STONE, rng), scene.time == "night"
    )
    _ground(canvas, scene, rng)
    _EVENTS[scene.event](canvas, rng)
    _people(canvas, scene, rng)
    canvas.image = _lit(canvas.image, scene)
    canvas.pen = ImageDraw.Draw(canvas.image)
    _glow(canvas, scene, rng)
    _weather(canvas, scene, rng)
    return canvas.image.reduce(supersample) if supersample > 1 else canvas.image


def _shade(colour: Colour, rng: random.Random, spread: int = 14) -> Colour:
    shift = rng.randint(-spread, spread)
    red, green, blue = (max(0, min(255, part + shift)) for part in colour)
    return red, green, blue


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _sky(canvas: Canvas, scene: Scene, rng: random.Random) -> None:
    top, bottom = _SKY[scene.time]
    if scene.weather != "clear":
        grey: Colour = (168, 174, 182) if scene.time != "night" else (40, 44, 54)
        top, bottom = _mix(top, grey, 0.55), _mix(bottom, grey, 0.45)
    column = Image.new("RGB", (1, 2))
    column.putpixel((0, 0), _shade(top, rng, 8))
    column.putpixel((0, 1), _shade(bottom, rng, 8))
    canvas.image.paste(column.resize(canvas.image.size, Image.Resampling.BILINEAR))
    x = rng.uniform(480, 700)
    if scene.time == "dusk":
        canvas.disc(x, HORIZON - 14, 58, 58, (255, 208, 96))
    elif scene.weather == "clear" and scene.time == "day":
        canvas.disc(x, 76, 36, 36, (255, 236, 130))


def _ground(canvas: Canvas, scene: Scene, rng: random.Random) -> None:
    colour: Colour = {"flood": (86, 122, 150), "match": (82, 150, 70), "harvest": (222, 184, 84)}.get(
        scene.event, _GROUND
    )
    if scene.weather == "snow":
        colour = _mix(colour, (246, 248, 252), 0.3 if scene.event == "flood" else 0.7)
    canvas.box(0, HORIZON, WIDTH, HEIGHT, _shade(colour, rng, 8))


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


_LANDMARKS: dict[str, Callable[[Canvas, float, Colour, bool], None]] = {
    "tower": _tower, "bridge": _bridge, "cathedral": _cathedral, "windmill": _windmill,
    "lighthouse": _lighthouse, "castle": _castle, "factory": _factory, "parliament": _parliament,
}  # fmt: skip


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
        canvas.disc(x, y, rng.uniform(44, 66), rng.uniform(34, 48), _shade((74, 70, 70), rng))
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
            x, colour = flag * 46 + row, rng.choice(_BUNTING)
            sag = 20 * math.sin(flag / 16 * math.pi)
            canvas.shape([(x - 40, row + sag), (x - 4, row + sag), (x - 22, row + 34 + sag)], colour)
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


_EVENTS: dict[str, Callable[[Canvas, random.Random], None]] = {
    "flood": _flood, "fire": _fire, "protest": _protest, "parade": _parade,
    "market": _market, "match": _match, "concert": _concert, "harvest": _harvest,
}  # fmt: skip


def _people(canvas: Canvas, scene: Scene, rng: random.Random) -> None:
    count = {"nobody": 0, "few": rng.randint(3, 4), "many": rng.randint(34, 42)}[scene.crowd]
    spots = sorted((rng.uniform(396, 470), (i + rng.uniform(0.1, 0.9)) * WIDTH / count) for i in range(count))
    for y, x in spots:
        coat = rng.choice(_PEOPLE)
        canvas.disc(x, y - 52, 11, 13, rng.choice(_SKIN))
        canvas.shape([(x - 19, y + 30), (x - 15, y - 38), (x + 15, y - 38), (x + 19, y + 30)], coat)
        if scene.event != "flood":
            canvas.box(x - 12, y + 26, x - 2, y + 56, (44, 44, 52))
            canvas.box(x + 2, y + 26, x + 12, y + 56, (44, 44, 52))


def _lit(image: Image.Image, scene: Scene) -> Image.Image:
    return ImageChops.multiply(image, Image.new("RGB", image.size, _LIGHT[scene.time]))


def _glow(canvas: Canvas, scene: Scene, rng: random.Random) -> None:
    """Add what gives light of its own, after the light of the hour has fallen on the rest."""
    if scene.time == "night":
        if scene.weather == "clear":
            for _ in range(44):
                x, y = rng.uniform(0, WIDTH), rng.uniform(0, 190)
                canvas.disc(x, y, 2, 2, (236, 238, 250))
        x = rng.uniform(560, 700)
        canvas.disc(x, 64, 30, 30, (242, 240, 220))
        canvas.disc(x + 13, 56, 26, 26, (26, 32, 64))
        for lamp in (90, 384, 690):
            canvas.line([(lamp, 300), (lamp, 388)], (30, 30, 36), 6)
            canvas.disc(lamp, 296, 15, 15, (255, 232, 150))
    if scene.event == "fire" and scene.time == "night":
        for flame in range(6):
            x = 470 + flame * 36
            canvas.shape([(x - 20, HORIZON + 14), (x, 190), (x + 20, HORIZON + 14)], (255, 150, 50))


def _weather(canvas: Canvas, scene: Scene, rng: random.Random) -> None:
    if scene.weather == "fog":
        shade: Colour = {"day": (226, 230, 234), "dusk": (226, 186, 166), "night": (96, 102, 124)}[scene.time]
        canvas.image = Image.blend(canvas.image, Image.new("RGB", canvas.image.size, shade), 0.45)
        canvas.pen = ImageDraw.Draw(canvas.image)
        for band in range(4):
            y = 150 + band * 88 + rng.uniform(-16, 16)
            canvas.disc(rng.uniform(100, 660), y, 330, 15, _mix(shade, (255, 255, 255), 0.25))
    elif scene.weather == "rain":
        colour: Colour = {"day": (214, 228, 246), "dusk": (250, 222, 214), "night": (136, 160, 214)}[
            scene.time
        ]
        for _ in range(150):
            x, y = rng.uniform(0, WIDTH + 40), rng.uniform(-30, HEIGHT)
            canvas.line([(x, y), (x - 14, y + 42)], colour, 3)
    elif scene.weather == "snow":
        for _ in range(150):
            x, y, size = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), rng.uniform(4, 7)
            canvas.disc(x, y, size, size, (250, 252, 255))
