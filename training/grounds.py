"""What a verdict rests on: which words of the caption, and which parts of the picture.

Both leave something out and watch the log-odds of the verdict, several variants read in one pass, and the
model free for others between two passes. They say what this student's answer changes with, not what is true
of the picture, and neither sees what only two things together carry.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Literal

from PIL import Image

from db.vocabulary import Verdict
from training.pictures import shrink
from training.records import CaseInput
from training.reliance import blank
from training.sight import see
from training.student import Student

MOST_WORDS = 16
"""Words left out at most: with the whole caption, 17 prompts."""
PARTS = 6
"""Rows and columns a picture is cut into: with the whole picture, 37 pictures and prompts."""
AT_ONCE = 8
"""Prompts in one pass: as long as they are read, the model answers nobody else."""

MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_DATE = rf"\d{{1,2}}\.? (?:{MONTHS})(?: \d{{4}})?|(?:{MONTHS}) (?:\d{{1,2}}, )?\d{{4}}|\d{{4}}-\d\d-\d\d"
_NUMBER = r"\d+(?:[.,:]\d+)*"
_NAME = r"[^\W\d_a-z][\w'\u2019-]*(?: (?:(?:of|de|del|von|van|the) )?[^\W\d_a-z][\w'\u2019-]*)*"
_WORD = r"[^\W\d_][\w'\u2019-]{2,}"
_SPAN = re.compile(f"(?P<date>{_DATE})|(?P<number>{_NUMBER})|(?P<name>{_NAME})|(?P<word>{_WORD})")
_EMPTY_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
        a about above after against all also amid among an and any are around as at be because been before
        behind being below beside between but by can could did do does during each for from had has have he
        her here him his how if in into is it its may more most near of off on one only onto or other our
        out over own picture photo photographed said say says see seen she should show shown shows so some
        such than that the their them then there these they this those through to too under until up upon
        was we were what when where which while who whom why will with within would you your
        """,
    )
)
"""Words a caption says the same without; those that deny or count (no, nobody, many) are not among them."""

Kind = Literal["date", "number", "name", "word"]
_FIRST: dict[str, int] = {"name": 0, "date": 1, "number": 2, "word": 3}


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` to `end` of a caption, and what they are by simple rules."""

    start: int
    end: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class WordGround:
    """A span and by how much, in nats, the verdict's log-odds fall without it; negative where they rise."""

    span: Span
    change: float


@dataclass(frozen=True, slots=True)
class WordGrounds:
    """Which words carry a verdict, in the order of the caption."""

    verdict: Verdict
    words: tuple[WordGround, ...]
    forwards: int


@dataclass(frozen=True, slots=True)
class PartGrounds:
    """Which parts of a picture carry a verdict.

    `changes` are rows from the top of columns from the left: by how much, in nats, the verdict's log-odds
    fall when the part is covered by the picture's mean colour.
    """

    verdict: Verdict
    changes: tuple[tuple[float, ...], ...]
    forwards: int


def words_that_carry(
    student: Student, picture: Image.Image, case: CaseInput, *, at_once: int = AT_ONCE
) -> Iterator[int | WordGrounds]:
    """Leave out one name, date, number or content word of the caption at a time, at most `MOST_WORDS`.

    Yields after each pass how many prompts are read, and at last what was found.
    """
    spans = content_spans(case.caption)
    captions = [case.caption, *(without(case.caption, span) for span in spans)]
    cases = [replace(case, caption=caption) for caption in captions]
    [sight] = student.see([picture])
    margins: list[float] = []
    for start in range(0, len(cases), at_once):
        asked = cases[start : start + at_once]
        margins += [one.margin for one in student.read([sight] * len(asked), asked)]
        yield len(margins)
    verdict, falls = _falls(student, margins)
    grounds = [WordGround(span, fall) for span, fall in zip(spans, falls, strict=True)]
    yield WordGrounds(verdict, tuple(grounds), len(cases))


def parts_that_carry(
    student: Student, picture: Image.Image, case: CaseInput, *, parts: int = PARTS, at_once: int = AT_ONCE
) -> Iterator[int | PartGrounds]:
    """Cover one of `parts` x `parts` parts of the picture at a time.

    Yields after each pass how many pictures and prompts are read, and at last what was found.
    """
    small = shrink(picture.convert("RGB"), student.edge)
    shown = chain([small], _covered(small, parts))
    margins: list[float] = []
    while pictures := list(islice(shown, at_once)):
        margins += [one.margin for one in student.read(see(student, pictures), [case] * len(pictures))]
        yield len(margins)
    verdict, falls = _falls(student, margins)
    rows = tuple(tuple(falls[start : start + parts]) for start in range(0, len(falls), parts))
    yield PartGrounds(verdict, rows, len(margins))


def prompts_to_look_closer(caption: str) -> int:
    """Return how many prompts words and parts take together."""
    return len(content_spans(caption)) + 1 + PARTS**2 + 1


def content_spans(caption: str) -> list[Span]:
    """Return what may be left out of a caption, in its order: names, dates and numbers before other words.

    A name is a run of capitalised words. The first word of a sentence is one only if it is not among the
    empty words.
    """
    found = [span for span in _spans(caption) if not _is_empty(caption, span)]
    kept = sorted(found, key=lambda span: (_FIRST[span.kind], span.start))[:MOST_WORDS]
    return sorted(kept, key=lambda span: span.start)


def without(caption: str, span: Span) -> str:
    """Return the caption without a span, its spaces and commas set right."""
    left = f"{caption[: span.start]} {caption[span.end :]}"
    left = re.sub(r"\s+([,.;:!?])", r"\1", " ".join(left.split()))
    return re.sub(r"^[,;:.\s]+|([,;:])(?=[,;:.])", "", left)


def _spans(caption: str) -> Iterator[Span]:
    for match in _SPAN.finditer(caption):
        kind: Kind = match.lastgroup  # type: ignore[assignment]  # one of the four, as the pattern has them
        start = match.start()
        first, _, rest = match[0].partition(" ")
        if kind == "name" and rest and first.lower() in _EMPTY_WORDS:
            start += len(first) + 1
        yield Span(start, match.end(), kind)


def _is_empty(caption: str, span: Span) -> bool:
    return caption[span.start : span.end].lower() in _EMPTY_WORDS


def _covered(picture: Image.Image, parts: int) -> Iterator[Image.Image]:
    """Yield the picture with one part after another in its mean colour."""
    width, height = picture.size
    cover = blank(picture)
    for row in range(parts):
        for column in range(parts):
            box = (
                column * width // parts,
                row * height // parts,
                (column + 1) * width // parts,
                (row + 1) * height // parts,
            )
            one = picture.copy()
            one.paste(cover.crop(box), box)
            yield one


def _falls(student: Student, margins: Sequence[float]) -> tuple[Verdict, list[float]]:
    """Return the verdict of the first log-odds, and by how much it falls with each of the others."""
    whole, *less = margins
    verdict = student.judgement(whole).verdict
    sign = 1 if verdict is Verdict.OUT_OF_CONTEXT else -1
    return verdict, [round(sign * (whole - one), 4) for one in less]
