"""Put a kept check to others, side by side: the other students, and whoever else can answer.

What is kept stands as it was answered; a student that is the same is not asked again. The others are asked
one after another, and what one of them fails with stands in its column.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from db.checks import check_of
from db.models import Check
from ooc_app.auth import now
from ooc_app.checks.other_students import AnswererError, OtherStudent, Said, ask, both, other_students
from ooc_app.checks.question import CheckRefusedError, Question
from ooc_app.desk import Desk
from ooc_app.intake.images import shown_copy
from ooc_app.serving import Serving


@dataclass(frozen=True)
class Answerer:
    """Who may be asked the same: `answer` yields what it is doing, then its growing answer.

    It is given the picture's shown copy and the question, and raises AnswererError.
    """

    title: str
    name: str
    answer: Callable[[Path, Question], Iterator[str | Said]]


@dataclass(frozen=True)
class Compared:
    """One column: `said` once there is an answer, `doing` while one is worked on, `refused` where none comes.

    `is_kept` marks the answer that was given when the check was made.
    """

    title: str
    name: str
    said: Said | None = None
    doing: str = ""
    refused: str = ""
    is_kept: bool = False


def compare(
    desk: Desk, serving: Serving, token: str, more: Sequence[Answerer] = ()
) -> Iterator[list[Compared]]:
    """Yield all columns as far as they have come, until each has an answer or says why it has none.

    Students are loaded for it, so the caller finds out whether whoever asks may. Raises UnknownCheckError,
    and CheckRefusedError while another comparison is under way.
    """
    with desk.sessions() as session:
        kept = check_of(session, token, now())
    shown = shown_copy(kept.image_sha256, desk.images_dir)
    asked = Question(None, kept.caption, kept.claimed_date, kept.claimed_place, kept.url)
    columns = _columns(desk, serving, kept, more)
    if not serving.is_comparing.acquire(blocking=False):
        raise CheckRefusedError("Another comparison is under way on this desk: try again in a minute.")
    try:
        yield [column for column, _ in columns]
        for place, (column, answerer) in enumerate(columns):
            if answerer is None:
                continue
            for step in _answered(column, answerer, shown, asked):
                columns[place] = step, answerer
                yield [column for column, _ in columns]
            gc.collect()  # a merged student refers to itself, and would stay in memory
    finally:
        serving.is_comparing.release()


def _columns(
    desk: Desk, serving: Serving, kept: Check, more: Sequence[Answerer]
) -> list[tuple[Compared, Answerer | None]]:
    """Return a column for the kept answer and one for everybody else, with whom to ask for it."""
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
    columns += [(Compared(one.title, one.name, doing="waiting"), one) for one in more]
    return columns


def _kept(kept: Check, title: str) -> Compared:
    seconds = kept.found.get("seconds") or None
    said = Said(kept.verdict, kept.probability, kept.cannot_tell, kept.rationale, seconds)
    return Compared(title, kept.student, said, is_kept=True)


def _gave(one: OtherStudent, name: str, kept: Check) -> bool:
    """Whether a student is the one that gave an answer: by its name, and by what it was distilled from."""
    is_same = kept.student == name and one.stage == one.newest
    return is_same and kept.found.get("snapshot") == one.snapshot


def _answered(column: Compared, answerer: Answerer, shown: Path, asked: Question) -> Iterator[Compared]:
    """Yield a column as its answer comes; a refusal ends this one alone."""
    try:
        for step in answerer.answer(shown, asked):
            if isinstance(step, Said):
                column = replace(column, said=step, doing="writing")
            else:
                column = replace(column, doing=step)
            yield column
    except AnswererError as refused:
        yield replace(column, doing="", refused=str(refused))
        return
    except RuntimeError as error:  # torch says so where memory runs out
        reason = str(error).partition("\n")[0]
        yield replace(column, doing="", refused=f"It could not answer: {reason}")
        return
    yield replace(column, doing="")
