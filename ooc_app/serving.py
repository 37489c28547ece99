"""The served student in this process: loaded in the background, asked on one thread of its own.

The page must open before torch is there, so nothing here imports torch until a student is wanted.
A promotion is noticed at the next question: the student then loads anew. What the student takes from a
picture is kept in memory by the hash of its bytes, and what it read of a question until its rationale is
written, so that asking again about a picture costs less and a rationale starts at once.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from db.vocabulary import Verdict
from ooc_app.desk import Desk
from ooc_app.model_thread import Kept, ModelThread
from training.config import PROJECT_DIR
from training.wording import in_words

if TYPE_CHECKING:
    from PIL import Image

    from training.grounds import PartGrounds, WordGrounds
    from training.prefill import Prefill
    from training.records import CaseInput
    from training.reliance import Reliance
    from training.sight import Sight
    from training.student import Student

T = TypeVar("T")

SIGHT_BYTES = 256 * 2**20
"""Memory for what is kept of pictures: about 1,700 of SmolVLM-256M's, 40,000 of the tiny student's."""
READ_BYTES = 256 * 2**20
"""Memory for what is kept of questions until their rationales are written."""
SECONDS_A_TURN = 2.0
"""How long looking closer may keep other questions waiting, where a single prompt does not take longer."""

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
    for one that knows photographs; `warning` says that the picture is not of that world. Where the student
    `cannot_tell`, its probability is in the band in which it was too often wrong on validation cases.
    `snapshot` is the hash of what the student was distilled from, None for an untouched one. `seconds` is
    how long the pass took in which it was read, alone or with others.
    """

    verdict: Verdict
    probability: float
    student: str
    domain: str | None
    warning: str | None
    words: str
    cannot_tell: bool = False
    snapshot: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question on its way to the model: the picture's hash, and how to open it where it is not kept.

    `generation` counts the students that were loaded, so that nothing of an earlier one is taken.
    """

    student: "Student"
    generation: int
    sha256: str
    picture: "Callable[[], Image.Image]"
    case: "CaseInput"

    @property
    def sight_key(self) -> tuple[int, str]:
        """What the picture is kept by."""
        return (self.generation, self.sha256)

    @property
    def read_key(self) -> "tuple[int, str, CaseInput]":
        """What the question is kept by once it is read."""
        return (self.generation, self.sha256, self.case)


@dataclass(frozen=True, slots=True)
class _Read:
    """What the model gives of a question."""

    begun: "Prefill"
    is_strange: bool | None
    seconds: float


class Serving:
    """Holds the student that is served now; safe for several threads."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._model: ModelThread[_Asked, _Read] = ModelThread(self._read)
        self._sights: Kept[tuple[int, str], Sight] = Kept(SIGHT_BYTES, lambda sight: sight.bytes)
        self._begun: Kept[tuple[int, str, CaseInput], _Read] = Kept(READ_BYTES, lambda read: read.begun.bytes)
        self._loading = threading.Lock()
        self._student: Student | None = None
        self._generation = 0
        self._source: str | None = None
        self._failure: str | None = None
        self._seconds_a_prompt: float | None = None
        self.is_comparing = threading.Lock()

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
        """Judge one picture under one caption. Raises ServingError where no student can be loaded.

        Questions that come from several threads at once are read together.
        """
        asked = self._asked(image_path, caption, date, place)
        if self._sights.get(asked.sight_key) is None:
            asked.picture()  # opened here, so that the model's thread need not
        read = self._model.ask(asked)
        student = asked.student
        self._begun.put(asked.read_key, read)
        judged = student.judgement(read.begun.margin)
        domain = student.domain.name if student.domain else None
        return CheckAnswer(
            verdict=judged.verdict,
            probability=round(judged.probability, 4),
            student=student.name,
            domain=domain,
            warning=OUTSIDE_DOMAIN.format(domain=domain) if read.is_strange else None,
            words=in_words(judged.verdict, judged.probability, student.fit),
            cannot_tell=student.fit.abstains(judged.probability),
            snapshot=student.snapshot,
            seconds=round(read.seconds, 3),
        )

    def rationale(
        self, image_path: Path, caption: str, date: str | None, place: str | None, verdict: Verdict
    ) -> Iterator[str]:
        """Yield the rationale so far, growing, as the student writes it.

        It goes on from what was read for the verdict, where that is still kept.
        """
        asked = self._asked(image_path, caption, date, place)

        def begin() -> Iterator[str]:
            kept = self._begun.get(asked.read_key) or self._read([asked])[0]
            return asked.student.write(kept.begun, Verdict(verdict))

        text = ""
        for piece in self._model.write(begin):
            text += piece
            yield text.strip()

    def reliance(
        self, image_path: Path, caption: str, date: str | None = None, place: str | None = None
    ) -> "Reliance":
        """Say whether the verdict depends on the picture: 8 pictures and prompts in one pass."""
        from training.reliance import reliance

        asked = self._asked(image_path, caption, date, place)
        asked.picture()

        def timed() -> "Reliance":
            begun = time.perf_counter()
            found = reliance(asked.student, asked.picture(), asked.case)
            self._seconds_a_prompt = (time.perf_counter() - begun) / found.forwards
            return found

        return self._model.run(timed)

    def words_that_carry(
        self, image_path: Path, caption: str, date: str | None = None, place: str | None = None
    ) -> "Iterator[int | WordGrounds]":
        """Find which words of the caption carry the verdict; yields how many prompts are read until then.

        Others are answered in between; stop listening, and it is not gone on.
        """
        from training.grounds import words_that_carry

        asked = self._asked(image_path, caption, date, place)
        pieces = words_that_carry(asked.student, asked.picture(), asked.case, at_once=self._prompts_a_turn())
        return self._in_turns(pieces)

    def parts_that_carry(
        self, image_path: Path, caption: str, date: str | None = None, place: str | None = None
    ) -> "Iterator[int | PartGrounds]":
        """Find which parts of the picture carry the verdict, as `words_that_carry` does words."""
        from training.grounds import parts_that_carry

        asked = self._asked(image_path, caption, date, place)
        pieces = parts_that_carry(asked.student, asked.picture(), asked.case, at_once=self._prompts_a_turn())
        return self._in_turns(pieces)

    def prompts_to_look_closer(self, caption: str) -> int:
        """Return how many prompts words and parts take together."""
        from training.grounds import prompts_to_look_closer

        return prompts_to_look_closer(caption)

    def seconds_a_prompt(self) -> float | None:
        """Return how long this student took of late for a new picture and its prompt; None before it did.

        Measured where several are read in one pass, as `words_that_carry` and `parts_that_carry` do.
        """
        return self._seconds_a_prompt

    def serves(self, student: str, snapshot: str | None) -> bool:
        """Whether this student, distilled from this, is the one that answers now, which is loaded for it."""
        now, _ = self._current()
        return (now.name, now.snapshot) == (student, snapshot)

    def in_turn(self, task: Callable[[], T]) -> T:
        """Do what needs the model's thread for itself, such as asking another student, behind questions."""
        return self._model.run(task)

    def written_in_turn(self, begin: Callable[[], Iterator[str]]) -> Iterator[str]:
        """Write a text, such as another student's rationale, in turns with the rationales of this one."""
        return self._model.write(begin)

    def close(self) -> None:
        """End the model's thread; what still waits fails."""
        self._model.close()

    def _read(self, asked: Sequence[_Asked]) -> list[_Read]:
        """Read questions in one pass for each student they are for, on the model's thread."""
        found: dict[int, _Read] = {}
        for student in {id(one.student): one.student for one in asked}.values():
            started = time.perf_counter()
            own = [number for number, one in enumerate(asked) if one.student is student]
            sights = self._seen(student, [asked[number] for number in own])
            begun = student.read(sights, [asked[number].case for number in own])
            seconds = time.perf_counter() - started
            for number, sight, one in zip(own, sights, begun, strict=True):
                found[number] = _Read(one, student.strangeness(sight), seconds)
        return [found[number] for number in range(len(asked))]

    def _in_turns(self, pieces: Iterator[T]) -> Iterator[T]:
        """Yield pieces, each made in a turn of its own."""
        while (piece := self._model.run(lambda: next(pieces, None))) is not None:
            yield piece

    def _prompts_a_turn(self) -> int:
        """Return how many prompts may be read in one turn: one where nothing is known of their pace."""
        from training.grounds import AT_ONCE

        pace = self._seconds_a_prompt
        return 1 if pace is None else max(1, min(AT_ONCE, int(SECONDS_A_TURN / max(pace, 1e-6))))

    def _seen(self, student: "Student", asked: Sequence[_Asked]) -> "list[Sight]":
        """Return what the student takes from each picture; those not kept are looked at together, once."""
        keys = [one.sight_key for one in asked]
        seen = {key: sight for key in keys if (sight := self._sights.get(key)) is not None}
        new = {key: one for key, one in zip(keys, asked, strict=True) if key not in seen}
        if new:
            for key, sight in zip(new, student.see([one.picture() for one in new.values()]), strict=True):
                seen[key] = sight
                self._sights.put(key, sight)
        return [seen[key] for key in keys]

    def _asked(self, image_path: Path, caption: str, date: str | None, place: str | None) -> _Asked:
        from training.pictures import load_picture

        student, generation = self._current()
        with image_path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        opened = cache(lambda: load_picture(image_path, student.edge))
        return _Asked(student, generation, sha256, opened, self._case(caption, date, place))

    def _case(self, caption: str, date: str | None, place: str | None) -> "CaseInput":
        from training.records import CaseInput

        return CaseInput(id="", image="", caption=caption, date=date, place=place)

    def _current(self) -> "tuple[Student, int]":
        """Return the student that should be served now and its generation, loading it where it is not."""
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
                self._seconds_a_prompt = None
                self._generation += 1
                self._sights.clear()
                self._begun.clear()
                self._student.name = source.removeprefix(f"{PROJECT_DIR}/").removeprefix(
                    f"{self._desk.data_dir}/"
                )
            return self._student, self._generation

    def _load_quietly(self) -> None:
        """Load before anybody asks; a failure is kept for `state` and for the first who does."""
        try:
            self._current()
        except ServingError:
            return
        except Exception as error:  # an unforeseen failure must show on the page, not in a dead thread
            self._failure = f"{type(error).__name__}: {error}"
