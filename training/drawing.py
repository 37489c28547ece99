"""Draw a scene of the demo world as a flat illustration, 3:2, at any size.

Back to front: sky, landmark on the horizon, ground, the event's objects, people, weather. Sizes are
in units of a 768 x 512 canvas and scaled, so a small picture is the large one seen from afar.
Jitter (where the landmark stands, shades, who stands where) comes from the picture's seed alone.
"""

import random

from PIL import Image, ImageChops, ImageDraw

from training.canvas import HEIGHT, HORIZON, WIDTH, Canvas, Colour, mix, shade
from training.events import EVENTS
from training.landmarks import LANDMARKS
from training.world import Scene

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


def draw(scene: Scene, picture_seed: int, *, height: int = HEIGHT, supersample: int = 2) -> Image.Image:
    """Return the picture, `height` pixels high and half as wide again; equal arguments, equal bytes."""
    rng = random.Random(picture_seed)
    canvas = Canvas(height * supersample)
    _sky(canvas, scene, rng)
    LANDMARKS[scene.landmark](canvas, 150 + rng.uniform(-70, 110), shade(_STONE, rng), scene.time == "night")
    _ground(canvas, scene, rng)
    EVENTS[scene.event](canvas, rng)
    _people(canvas, scene, rng)
    canvas.image = _lit(canvas.image, scene)
    canvas.pen = ImageDraw.Draw(canvas.image)
    _glow(canvas, scene, rng)
    _weather(canvas, scene, rng)
    return canvas.image.reduce(supersample) if supersample > 1 else canvas.image


def _sky(canvas: Canvas, scene: Scene, rng: random.Random) -> None:
    top, bottom = _SKY[scene.time]
    if scene.weather != "clear":
        grey: Colour = (168, 174, 182) if scene.time != "night" else (40, 44, 54)
        top, bottom = mix(top, grey, 0.55), mix(bottom, grey, 0.45)
    column = Image.new("RGB", (1, 2))
    column.putpixel((0, 0), shade(top, rng, 8))
    column.putpixel((0, 1), shade(bottom, rng, 8))
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
        colour = mix(colour, (246, 248, 252), 0.3 if scene.event == "flood" else 0.7)
    canvas.box(0, HORIZON, WIDTH, HEIGHT, shade(colour, rng, 8))


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
            canvas.disc(rng.uniform(100, 660), y, 330, 15, mix(shade, (255, 255, 255), 0.25))
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
