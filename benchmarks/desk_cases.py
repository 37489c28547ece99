"""Make cases of the size and shape a newsroom has, as the desk's own JSON lines.

Captions of about 120 characters, three opinions with rationales of about 200, 4 to 20 sources, a
fifth to a quarter of the cases in conflict, a few drawn pictures shared by all: enough for the desk
to queue, count, filter and search as it would with real ones. Equal sizes give equal files.
"""

import json
from bisect import bisect
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any, Final

from PIL import Image, ImageDraw

PICTURES: Final = 12
TEACHERS: Final = ("Aspen", "Birch", "Cedar")
WORDS: Final = 6000  # of the made-up vocabulary; how often each comes follows Zipf's law
SENTENCES: Final = 4000
RATIONALE: Final = 200  # characters
CAPTION: Final = 120
AGREED: Final = 0.78  # of all cases; of these, AGREED_WRONG are wrong
AGREED_WRONG: Final = 0.075
UNSURE: Final = 0.04  # of the opinions on cases that are not agreed on
ELEMENTS: Final = ("person", "place", "time", "event", "object")
SYLLABLES: Final = tuple(
    one + two for one in "bcdfghklmnprstvw" for two in ("a", "e", "i", "o", "u", "an", "er", "or")
)
OTHER: Final = {"in_context": "out_of_context", "out_of_context": "in_context"}


def write_cases(path: Path, number: int) -> Path:
    """Write `number` cases to `path` and their pictures beside it; a file that is there is kept."""
    pictures = draw_pictures(path.parent / "pictures")
    if not path.exists():
        unfinished = path.with_suffix(".part")
        with unfinished.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(case) + "\n" for case in cases(number, pictures))
        unfinished.rename(path)
    return path


def draw_pictures(folder: Path) -> list[str]:
    """Draw the shared pictures; return their names relative to the folder above."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{folder.name}/{number}.jpg" for number in range(PICTURES)]
    for number, name in enumerate(names):
        path = folder.parent / name
        if not path.exists():
            picture = Image.new("RGB", (480, 320), (40 + 15 * number, 110, 170))
            ImageDraw.Draw(picture).ellipse(
                (40 + 20 * number, 60, 200 + 20 * number, 220), fill=(235, 220, 180)
            )
            picture.save(path, "JPEG")
    return names


def read_cases(path: Path) -> Iterator[dict[str, Any]]:
    """Read back what `write_cases` has written."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def cases(number: int, pictures: list[str]) -> Iterator[dict[str, Any]]:
    """Make the cases one after another."""
    random = Random(number)
    prose = Prose(random)
    sources = [f"{prose.word()}-{prose.word()}.example" for _ in range(4 + min(16, number // 1000))]
    for index in range(number):
        gold = random.choice(("in_context", "out_of_context"))
        yield {
            "id": f"case-{index}",
            "image": pictures[index % len(pictures)],
            "caption": prose.caption(),
            "gold": gold,
            "split": random.choices(("train", "validation", "test"), (8, 1, 1))[0],
            "group": f"group-{index // 2}",
            "source": random.choice(sources),
            "url": f"https://news.example/{index}",
            "date": f"20{random.randrange(10, 26)}-{random.randrange(1, 13):02}-{random.randrange(1, 29):02}",
            "place": prose.word().title(),
            "opinions": opinions(random, prose, gold),
        }


def opinions(random: Random, prose: "Prose", gold: str) -> list[dict[str, Any]]:
    """Make the three opinions on a case: all alike, or one that differs from the other two."""
    if random.random() < AGREED:
        verdicts = [OTHER[gold] if random.random() < AGREED_WRONG else gold] * len(TEACHERS)
    else:
        majority = gold if random.random() < 0.7 else OTHER[gold]
        verdicts = [majority] * len(TEACHERS)
        verdicts[random.randrange(len(TEACHERS))] = OTHER[majority]
        verdicts = ["unsure" if random.random() < UNSURE else verdict for verdict in verdicts]
    return [
        {
            "teacher": teacher,
            "verdict": verdict,
            "rationale": prose.rationale(),
            "confidence": round(random.uniform(0.5, 1), 2),
            "elements": [random.choice(ELEMENTS)] if verdict == "out_of_context" else [],
        }
        for teacher, verdict in zip(TEACHERS, verdicts, strict=True)
    ]


class Prose:
    """Made-up words, few of them often and most of them rarely, as in any language."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.words = ["".join(random.choices(SYLLABLES, k=random.randrange(2, 5))) for _ in range(WORDS)]
        self.often = list(accumulate(1 / rank for rank in range(1, WORDS + 1)))
        self.sentences = [self._sentence() for _ in range(SENTENCES)]

    def word(self) -> str:
        """Return a word."""
        return self.words[bisect(self.often, self.random.random() * self.often[-1])]

    def caption(self) -> str:
        """Return a caption of about `CAPTION` characters."""
        said = " ".join(self.random.choices(self.words, cum_weights=self.often, k=18))
        return f"{said[:CAPTION].capitalize()}."

    def rationale(self) -> str:
        """Return a rationale of about `RATIONALE` characters."""
        said = ""
        while len(said) < RATIONALE - 40:
            said += self.random.choice(self.sentences)
        return said.strip()

    def _sentence(self) -> str:
        words = self.random.choices(self.words, cum_weights=self.often, k=self.random.randrange(7, 13))
        return " ".join(words).capitalize() + ". "
