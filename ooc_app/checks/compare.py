"""Put a kept check to others, side by side: the other students, and whoever else can answer.

What is kept stands as it was answered; a student that is the same is not asked again. The other students
are asked one after another, whoever else is there all the while, and what one of them fails with stands in
its column.
"""

import gc
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from db.checks import check_of
from db.models import Check
from ooc_app.auth import now
from ooc_app.checks.other_students import OtherStudent, ask, both, other_students
from ooc_app.checks.question import CheckRefusedError, Question
from ooc_app.checks.said import AnswererError, Said, TeacherSaid
from ooc_app.desk import Desk
from ooc_app.intake.images import shown_copy
from ooc_app.serving import Serving

LOOK_S: Final = 0.1  # how often those are looked at who are asked beside the students


@dataclass(frozen=True)
class Answerer:
    """Who may be asked the same: `answer` yields what it is doing, then its growing answer.

    It is given the picture's shown copy and the question, and raises AnswererError.
    """

    title: str
    name: str
    answer: Callable[[Path, Question], Iterator[str | Said | TeacherSaid]]


@dataclass(frozen=True)
class Compared:
    """One column: `said` once there is an answer, `doing` while one is worked on, `refused` where none comes.

    `is_kept` marks the answer that was given when the check was made.
    """

    title: str
    name: str
    said: Said | TeacherSaid | None = None
    doing: str = ""
    refused: str = ""
    is_kept: bool = False


def compare(
    desk: Desk, serving: Serving, token: str, more: Sequence[Answerer] = ()
) -> Generator[list[Compared], None, None]:
    """Yield all columns as far as they have come, until each has an answer or says why it has none.

    Students are loaded for it, so the caller finds out whether whoever asks may. `more` are begun at once
    and looked at between the students' steps, so each step of theirs has to be there without waiting; the
    next comparison need not wait for them. Raises UnknownCheckError, and CheckRefusedError while students
    are compared for another.
    """
    with desk.sessions() as session:
        kept = check_of(session, token, now())
    shown = shown_copy(kept.image_sha256, desk.images_dir)
    asked = Question(None, kept.caption, kept.claimed_date, kept.claimed_place, kept.url)
    columns = _columns(desk, serving, kept)
    if not serving.is_comparing.acquire(blocking=False):
        raise CheckRefusedError("Another comparison is under way on this desk: try again in a minute.")
    with closing(_Beside(more, shown, asked)) as beside:
        try:
            yield [*(column for column, _ in columns), *beside.look()]
            for place, (column, answerer) in enumerate(columns):
                if answerer is None:
                    continue
                for step in _answered(column, answerer, shown, asked):
                    columns[place] = step, answerer
                    yield [*(column for column, _ in columns), *beside.look()]
                gc.collect()  # a merged student refers to itself, and would stay in memory
        finally:
            serving.is_comparing.release()
        while beside.are_asked:
            time.sleep(LOOK_S)
            yield [*(column for column, _ in columns), *beside.look()]


class _Beside:
    """Those who are asked beside the students, each as far as it has come."""

    def __init__(self, answerers: Sequence[Answerer], shown: Path, asked: Question) -> None:
        self._columns = [Compared(one.title, one.name, doing="waiting") for one in answerers]
        self._steps = {
            place: _answered(self._columns[place], one, shown, asked) for place, one in enumerate(answerers)
        }

    @property
    def are_asked(self) -> bool:
        """Whether somebody has not answered to the end."""
        return bool(self._steps)

    def look(self) -> list[Compared]:
        """Go on by a step with each of them, and return their columns."""
        for place, steps in list(self._steps.items()):
            step = next(steps, None)
            if step is None:
                del self._steps[place]
            else:
                self._columns[place] = step
        return list(self._columns)

    def close(self) -> None:
        """Let go of who has not answered."""
        for steps in self._steps.values():
            steps.close()


def _columns(desk: Desk, serving: Serving, kept: Check) -> list[tuple[Compared, Answerer | None]]:
    """Return a column for the kept answer and one for each other student, with whom to ask for it."""
    columns: list[tuple[Compared, Answerer | None]] = []
    title = "as it was answered"
    for one in other_students(desk):
        name = one.name(desk)
        if all(answerer for _, answerer in columns) and _gave(one, name, kept):
            columns.append((_kept(kept, both(one.title, title)), None))
        else:
            answerer = Answerer(one.title, name, partial(ask, serving, one))
            columns.append((Compared(one.title, name, doing="waiting"), answerer))
    if all(answerer for _, answerer in columns):
        columns.insert(0, (_kept(kept, title), None))
    return columns


def _kept(kept: Check, title: str) -> Compared:
    seconds = kept.found.get("seconds") or None
    said = Said(kept.verdict, kept.probability, kept.cannot_tell, kept.rationale, seconds)
    return Compared(title, kept.student, said, is_kept=True)


def _gave(one: OtherStudent, name: str, kept: Check) -> bool:
    """Whether a student is the one that gave an answer: by its name, and by what it was distilled from."""
    is_same = kept.student == name and one.stage == one.newest
    return is_same and kept.found.get("snapshot") == one.snapshot


def _answered(
    column: Compared, answerer: Answerer, shown: Path, asked: Question
) -> Generator[Compared, None, None]:
    """Yield a column as its answer comes; a refusal ends this one alone."""
    try:
        for step in answerer.answer(shown, asked):
            if isinstance(step, str):
                column = replace(column, doing=step)
            else:
                column = replace(column, said=step, doing="writing")
            yield column
    except AnswererError as refused:
        yield replace(column, doing="", refused=str(refused))
        return
    except RuntimeError as error:  # torch says so where memory runs out
        reason = str(error).partition("\n")[0]
        yield replace(column, doing="", refused=f"It could not answer: {reason}")
        return
    yield replace(column, doing="")
