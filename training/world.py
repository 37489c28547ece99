"""The demo world: news scenes made of five visible facts, and the captions written about them.

A scene is an event at a landmark, at a time of day, in some weather, before some crowd. `drawing`
turns it into a picture, `caption` into newsroom prose with a made-up town and date. Town and date
cannot be seen, so they never decide a verdict: an out-of-context case carries the caption of another
scene that differs in one to three of the visible facts, and always says the fact that differs.

Everything is drawn from the `random.Random` it is given: the same seed, the same world.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from db.vocabulary import Element, Split, Verdict

FACTS: dict[str, tuple[str, ...]] = {
    "event": ("flood", "fire", "protest", "parade", "market", "match", "concert", "harvest"),
    "landmark": ("tower", "bridge", "cathedral", "windmill", "lighthouse", "castle", "factory", "parliament"),
    "time": ("day", "dusk", "night"),
    "weather": ("clear", "rain", "snow", "fog"),
    "crowd": ("nobody", "few", "many"),
}
"""What a scene is made of; each name is also a field of `Scene`."""

ELEMENTS: dict[str, Element] = {
    "event": Element.EVENT,
    "landmark": Element.PLACE,
    "time": Element.TIME,
    "weather": Element.TIME,
    "crowd": Element.PERSON,
}
"""Which element of a claim each fact speaks to. Weather counts as time: it dates a picture."""

PHRASES: dict[str, dict[str, tuple[str, ...]]] = {
    "event": {
        "flood": ("a flood", "flooding", "flood water"),
        "fire": ("a fire", "a blaze", "a large fire"),
        "protest": ("a protest", "a demonstration", "a rally"),
        "parade": ("a parade", "a carnival parade", "a procession"),
        "market": ("a market", "a street market", "market stalls"),
        "match": ("a football match", "a match", "a football game"),
        "concert": ("a concert", "an open-air concert", "live music"),
        "harvest": ("the harvest", "a harvest", "harvest work"),
    },
    "landmark": {
        "tower": ("the clock tower", "the old clock tower"),
        "bridge": ("the bridge", "the suspension bridge"),
        "cathedral": ("the cathedral", "the domed cathedral"),
        "windmill": ("the windmill", "the old windmill"),
        "lighthouse": ("the lighthouse", "the harbour lighthouse"),
        "castle": ("the castle", "the old castle"),
        "factory": ("the factory", "the factory chimneys"),
        "parliament": ("the parliament", "the parliament building"),
    },
    "time": {
        "day": ("by day", "in daylight", "around noon"),
        "dusk": ("at dusk", "at sunset", "as the sun set"),
        "night": ("at night", "after dark", "late at night"),
    },
    "weather": {
        "clear": ("under a clear sky", "in clear weather", "in dry weather"),
        "rain": ("in the rain", "in heavy rain", "in pouring rain"),
        "snow": ("in the snow", "in heavy snow", "amid falling snow"),
        "fog": ("in fog", "in thick fog", "in dense mist"),
    },
    "crowd": {
        "nobody": ("with nobody in sight", "with no one about", "the streets empty"),
        "few": ("with a few people", "watched by a few people", "with a handful of onlookers"),
        "many": ("with a large crowd", "before a huge crowd", "with crowds of people"),
    },
}
"""How newsroom prose says each fact."""

SEEN: dict[str, dict[str, str]] = {
    "time": {"day": "daylight", "dusk": "dusk", "night": "night"},
    "weather": {"clear": "clear weather", "rain": "rain", "snow": "snow", "fog": "fog"},
    "crowd": {"nobody": "nobody", "few": "a few people", "many": "a large crowd"},
}
"""What a picture is said to show where the phrase of a caption would not fit the sentence."""

TOWNS = (
    "Norvik", "Halmark", "Esterby", "Port Lannis", "Dunmere", "Westra", "Oskova", "Tarnholm",
    "Velmora", "Brackwater", "Kirvale", "Monteluz", "Aldora", "Rastow", "Lindau Bay", "Sorvina",
)  # fmt: skip
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
)  # fmt: skip
SOURCES = ("Coastal Post", "Daily Courier", "Harbour News", "Evening Star", "City Wire")

_OPENINGS = (
    "{event} {near} {landmark} {of} {town}{date}",
    "{town}: {event} {near} {landmark}{date}",
    "{near} {landmark} {of} {town}, {event}{date}",
    "{event} was reported {near} {landmark} {of} {town}{date}",
    "our picture shows {event} {near} {landmark} {of} {town}{date}",
    "eyewitnesses in {town} describe {event} {near} {landmark}{date}",
    "people in {town} talk of {event} {near} {landmark}{date}",
    "photographed{date} {near} {landmark} {of} {town}: {event}",
)
_DETAILS = ("time", "weather", "crowd")


@dataclass(frozen=True, slots=True)
class Scene:
    """Five visible facts, each one of `FACTS`."""

    event: str
    landmark: str
    time: str
    weather: str
    crowd: str

    def fact(self, name: str) -> str:
        """Return the value of the fact of that name."""
        value: str = getattr(self, name)
        return value


@dataclass(frozen=True, slots=True)
class Dateline:
    """The made-up town and date of a story; nothing in the picture shows them."""

    town: str
    date: str


@dataclass(frozen=True, slots=True)
class WorldCase:
    """An image-caption case of the demo world, with what only its maker knows.

    `scene` is what `drawing.draw(scene, picture_seed)` shows; `claimed` is the scene its caption was
    written about, equal to `scene` in context. `said` holds the caption's own words for each fact it
    tells. Half the cases come with claimed date and place, half without, as people ask. `group` is
    shared by the cases of one picture.
    """

    id: str
    group: str
    split: Split
    scene: Scene
    picture_seed: int
    claimed: Scene
    dateline: Dateline
    caption: str
    said: dict[str, str]
    tells_dateline: bool
    source: str
    gold: Verdict = field(init=False)

    def __post_init__(self) -> None:
        gold = Verdict.IN_CONTEXT if self.scene == self.claimed else Verdict.OUT_OF_CONTEXT
        object.__setattr__(self, "gold", gold)


def sample_scene(rng: random.Random) -> Scene:
    """Draw each fact independently and uniformly."""
    return Scene(**{name: rng.choice(values) for name, values in FACTS.items()})


def alter(scene: Scene, names: list[str], rng: random.Random) -> Scene:
    """Return the scene with another value for each of the facts named."""
    return replace(
        scene, **{name: rng.choice([v for v in FACTS[name] if v != scene.fact(name)]) for name in names}
    )


def phrase(scene: Scene, name: str, rng: random.Random) -> str:
    """Say one fact of the scene in one of its wordings."""
    return rng.choice(PHRASES[name][scene.fact(name)])


def seen(scene: Scene, name: str, rng: random.Random) -> str:
    """Say one fact of the scene as the object of "the picture shows"."""
    return SEEN[name][scene.fact(name)] if name in SEEN else phrase(scene, name, rng)


def sample_dateline(rng: random.Random) -> Dateline:
    """Draw a town and a date between 2012 and 2025."""
    date = f"{rng.randint(1, 28)} {rng.choice(MONTHS)} {rng.randint(2012, 2025)}"
    return Dateline(rng.choice(TOWNS), date)


def caption(
    scene: Scene, dateline: Dateline, rng: random.Random, *, told: frozenset[str] = frozenset()
) -> str:
    """Write one caption about the scene.

    Event and landmark are always in it, each further fact three times in four; those in `told`
    always.
    """
    return write_caption(scene, dateline, rng, told=told)[0]


def write_caption(
    scene: Scene, dateline: Dateline, rng: random.Random, *, told: frozenset[str] = frozenset()
) -> tuple[str, dict[str, str]]:
    """Write one caption as `caption` does, and return with it the phrase that states each fact it tells."""
    details = [name for name in _DETAILS if name in told or rng.random() < 0.75]
    rng.shuffle(details)
    said = {name: phrase(scene, name, rng) for name in ("event", "landmark", *details)}
    date = rng.choice(["", "", f" on {dateline.date}"])
    opening = rng.choice(_OPENINGS).format(
        event=said["event"],
        near=rng.choice(["near", "by", "beside", "at", "in front of"]),
        landmark=said["landmark"],
        of=rng.choice(["in", "of"]),
        town=dateline.town,
        date=date,
    )
    text = ", ".join([opening, *(said[name] for name in details)])
    return text[0].upper() + text[1:] + ".", said


def sample_difference(rng: random.Random) -> list[str]:
    """Draw which facts an out-of-context caption gets wrong: one of them (70 %), two, or three."""
    count = rng.choices((1, 2, 3), weights=(70, 22, 8))[0]
    return rng.sample(list(FACTS), count)


def build_cases(
    seed: int, *, train: int = 1600, validation: int = 200, test: int = 600
) -> Iterator[WorldCase]:
    """Yield the cases of a demo desk: per picture one case in context and one out of context.

    Counts are cases and rounded down to even. The two cases of a picture share its group, so they
    are always in one split. Splits are interleaved in proportion, so that the first cases of a desk
    that is still being drawn are already a fair sample of it.
    """
    rng = random.Random(f"world-{seed}")
    remaining = {Split.TRAIN: train // 2, Split.VALIDATION: validation // 2, Split.TEST: test // 2}
    splits = [split for split, count in remaining.items() for _ in range(count)]
    rng.shuffle(splits)
    for number, split in enumerate(splits):
        yield from _pair(seed, number, split, rng)


def _pair(seed: int, number: int, split: Split, rng: random.Random) -> Iterator[WorldCase]:
    scene = sample_scene(rng)
    picture_seed = rng.getrandbits(48)
    difference = sample_difference(rng)
    claims = [(scene, frozenset[str]()), (alter(scene, difference, rng), frozenset(difference))]
    rng.shuffle(claims)
    for letter, (claimed, told) in zip("ab", claims, strict=True):
        dateline = sample_dateline(rng)
        text, said = write_caption(claimed, dateline, rng, told=told)
        yield WorldCase(
            id=f"demo-{seed}-{number:05d}{letter}",
            group=f"demo-{seed}-{number:05d}",
            split=split,
            scene=scene,
            picture_seed=picture_seed,
            claimed=claimed,
            dateline=dateline,
            caption=text,
            said=said,
            tells_dateline=rng.random() < 0.5,
            source=rng.choice(SOURCES),
        )
