"""Whether a teacher needs the picture: some cases of a run are asked about again with noise instead.

A caption that noise contradicts is out of context both times with good reason. So only cases that the
teacher called in context with their picture are asked about again: what the caption says cannot be seen in
noise, and a teacher that finds most of them in context again goes by the text alone. The bounds are *ours*.
Cases come from the run itself, so this costs one question each and a run draws on one budget.
"""

import random
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from PIL import Image

from db.vocabulary import Answer
from training.teacher_watch import LEAST
from training.teachers import Asked, TeacherConfig
from training.teaching import Opined

CASES_MAX: Final = 12
LEAST_COMPARED: Final = 3
IGNORES: Final = 0.8
NOISE: Final = (512, 384)  # pixels


@dataclass(frozen=True, slots=True)
class Sight:
    """What came back so far of `asked` cases that were in context with their picture.

    `in_context` of them were answered with noise, too, and as many as `in_context_stayed` were called in
    context again; `unread` had no answer, or none that could be read. `cost` is in USD.
    """

    asked: int
    unread: int = 0
    in_context: int = 0
    in_context_stayed: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0

    @property
    def is_whole(self) -> bool:
        """Whether no answer is outstanding."""
        return self.in_context + self.unread == self.asked

    @property
    def ignores_image(self) -> bool | None:
        """Whether the picture does not matter; None where too few answers are back to tell."""
        if not self.is_whole or self.in_context < LEAST_COMPARED:
            return None
        return self.in_context_stayed >= IGNORES * self.in_context

    @property
    def said(self) -> str:
        """What came out, in one sentence."""
        if not self.is_whole:
            back = self.in_context + self.unread
            return f"{back} of {self.asked} answers to noise for a picture are back."
        if self.ignores_image is None:
            return f"Only {self.in_context} of {self.asked} cases were answered with noise: too few to tell."
        stays = f"{self.in_context_stayed} of {self.in_context} cases that were in context are so with noise"
        if self.ignores_image:
            return f"{stays} for a picture, too: this teacher judges the text alone."
        return f"{stays} for a picture: this teacher looks."

    def with_answer(self, opined: Opined | None) -> "Sight":
        """Return what is known with one answer more; None is a question that failed."""
        if opined is None:
            return replace(self, unread=self.unread + 1)
        stayed = opined.parsed and opined.opinion.verdict is Answer.IN_CONTEXT
        return replace(
            self,
            unread=self.unread + (not opined.parsed),
            in_context=self.in_context + opined.parsed,
            in_context_stayed=self.in_context_stayed + stayed,
            tokens_in=self.tokens_in + (opined.tokens_in or 0),
            tokens_out=self.tokens_out + (opined.tokens_out or 0),
            cost=self.cost + opined.cost,
        )

    def figures(self) -> dict[str, Any]:
        """Return everything as JSON has it, and as a run keeps it; `compared` is what was answered twice."""
        told = {"compared": self.in_context, "ignores_image": self.ignores_image, "said": self.said}
        return {**asdict(self), **told}


class SightTest:
    """The cases of a run that are asked about again with the picture `noise`, each once.

    They are the first `CASES_MAX` that were called in context, and go out when the run has kept `LEAST`
    opinions. For one event loop; nothing is kept but these cases and counts.
    """

    def __init__(self, noise: Path) -> None:
        self.sight = Sight(CASES_MAX)
        self._noise = noise
        self._cases: list[Asked] = []
        self._kept = self._out = 0

    def note(self, asked: Asked, opined: Opined) -> None:
        """Look at an opinion that was kept."""
        self._kept += 1
        fits = opined.parsed and opined.opinion.verdict is Answer.IN_CONTEXT
        if fits and asked.picture is not None and len(self._cases) < CASES_MAX:
            self._cases.append(asked)

    def next(self) -> Asked | None:
        """Return the next case to ask about with noise; None where it is too early, or all went out."""
        if self._kept < LEAST or len(self._cases) < CASES_MAX or self._out == CASES_MAX:
            return None
        self._out += 1
        return replace(self._cases[self._out - 1], picture=self._noise)

    def count(self, opined: Opined | None) -> Sight:
        """Count an answer to noise, None for a question that failed; return what is known so far."""
        self.sight = self.sight.with_answer(opined)
        return self.sight


def sight_test(config: TeacherConfig, folder: Path) -> SightTest | None:
    """Return a test with its noise saved in `folder`; None for a teacher that is shown nothing."""
    if config.text_only or config.kind == "replay":
        return None
    return SightTest(noise_picture(folder))


def noise_picture(folder: Path) -> Path:
    """Save a picture of noise, the same each time."""
    width, height = NOISE
    path = folder / "noise.jpg"
    pixels = random.Random(0).randbytes(width * height * 3)
    Image.frombytes("RGB", NOISE, pixels).save(path, "JPEG", quality=90)
    return path
