"""The served student in this process: loaded in the background, asked by one thread at a time.

The page must open before torch is there, so nothing here imports torch until a student is wanted.
A promotion is noticed at the next question: the student then loads anew.
"""

import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from db.vocabulary import Verdict
from ooc_app.desk import Desk
from training.config import PROJECT_DIR

if TYPE_CHECKING:
    from training.records import CaseInput
    from training.student import Student

OUTSIDE_DOMAIN = (
    "This student knows only the pictures of the {domain}. This picture is not one of them, so treat the "
    "answer as a guess."
)


class ServingError(Exception):
    """No student answers; says why and what to set instead."""


@dataclass(frozen=True, slots=True)
class CheckAnswer:
    """The student's verdict on one check.

    `probability` is of the verdict, 0.5 to 1. `domain` names the world a student is limited to, None
    for one that knows photographs; `warning` says that the picture is not of that world.
    """

    verdict: Verdict
    probability: float
    student: str
    domain: str | None
    warning: str | None
    words: str


class Serving:
    """Holds the student that is served now."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._model_in_use = threading.Lock()
        self._loading = threading.Lock()
        self._student: Student | None = None
        self._source: str | None = None
        self._failure: str | None = None

    def begin_loading(self) -> None:
        """Load the student in the background, unless it is there."""
        if self._student is None and not self._loading.locked():
            threading.Thread(target=self._load_quietly, daemon=True, name="load student").start()

    def state(self) -> str:
        """Return `loading`, `ready`, or `failed: ` with the reason."""
        if self._failure is not None:
            return f"failed: {self._failure}"
        return "ready" if self._student is not None else "loading"

    def check(
        self, image_path: Path, caption: str, date: str | None = None, place: str | None = None
    ) -> CheckAnswer:
        """Judge one picture under one caption. Raises ServingError where no student can be loaded."""
        from PIL import Image

        student = self._current()
        case = self._case(caption, date, place)
        with Image.open(image_path) as opened:
            picture = opened.convert("RGB")
        with self._model_in_use:
            judged = student.judge(picture, case)
            is_strange = student.strangeness(picture)
        domain = student.domain.name if student.domain else None
        return CheckAnswer(
            verdict=judged.verdict,
            probability=round(judged.probability, 4),
            student=student.name,
            domain=domain,
            warning=OUTSIDE_DOMAIN.format(domain=domain) if is_strange else None,
            words=in_words(judged.verdict, judged.probability),
        )

    def rationale(
        self, image_path: Path, caption: str, date: str | None, place: str | None, verdict: Verdict
    ) -> Iterator[str]:
        """Yield the rationale so far, growing, as the student writes it."""
        from PIL import Image

        student = self._current()
        with Image.open(image_path) as opened:
            picture = opened.convert("RGB")
        text = ""
        with self._model_in_use:
            for piece in student.rationale(picture, self._case(caption, date, place), Verdict(verdict)):
                text += piece
                yield text.strip()

    def _case(self, caption: str, date: str | None, place: str | None) -> "CaseInput":
        from training.records import CaseInput

        return CaseInput(id="", image="", caption=caption, date=date, place=place)

    def _current(self) -> "Student":
        """Return the student that should be served now, loading it where it is not loaded."""
        from training.base import StudentError
        from training.student import Student

        source = self._desk.student_source()
        with self._loading:
            if self._student is None or source != self._source:
                try:
                    self._student = Student.load(source)
                except StudentError as error:
                    self._student, self._failure = None, str(error)
                    raise ServingError(str(error)) from error
                self._source, self._failure = source, None
                self._student.name = source.removeprefix(f"{PROJECT_DIR}/").removeprefix(
                    f"{self._desk.data_dir}/"
                )
            return self._student

    def _load_quietly(self) -> None:
        """Load before anybody asks; a failure is kept for `state` and for the first who does."""
        try:
            self._current()
        except ServingError:
            return
        except Exception as error:  # an unforeseen failure must show on the page, not in a dead thread
            self._failure = f"{type(error).__name__}: {error}"


def in_words(verdict: Verdict, probability: float) -> str:
    """Say a probability as a person would: how it leans, and how often such an answer is wrong."""
    side = "out of context" if verdict is Verdict.OUT_OF_CONTEXT else "in context"
    wrong = 1 - probability
    if wrong >= 0.4:
        return f"Close to a coin toss; it leans {side} by a little."
    if wrong < 0.005:
        return f"Firmly {side}; fewer than 1 in 200 such answers should be wrong."
    return f"Leans {side}; about 1 in {math.floor(1 / wrong + 0.5)} such answers is wrong."
