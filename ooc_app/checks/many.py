"""Answer a batch: its rows by several threads at once, so that the model reads them together.

Each answer is kept with its row in one transaction, and only rows that are not done are asked. So a
batch may be stopped, killed or cut off with the machine: it goes on with what is left, and asks nothing
twice. A row that cannot be answered says why and ends nothing; a student that does not load, or a
disk that is full, ends the batch until somebody resumes it.
"""

import logging
import threading
from collections.abc import Generator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from db.batches import finish, waiting
from db.checks import NewCheck
from db.engine import write_session
from ooc_app.auth import now
from ooc_app.checks.answering import TRIES, Answered, new_check, wait_for_student, with_picture
from ooc_app.checks.frozen import batches_dir
from ooc_app.checks.question import Question
from ooc_app.checks.rows import Files, Row
from ooc_app.checks.untouched import is_untouched
from ooc_app.desk import Desk
from ooc_app.desk_work import BusyError, StoppedError
from ooc_app.intake.fetching import admit_url
from ooc_app.intake.images import BYTES_MAX, ImageRefusedError, StoredImage, admit, shown_copy
from ooc_app.intake.pictures import BadImageError, MissingImageError
from ooc_app.model_thread import AT_ONCE
from ooc_app.serving import Serving, ServingError
from ooc_app.turns import held

logger = logging.getLogger(__name__)

REFUSALS: Final = (BadImageError, ImageRefusedError, MissingImageError)
"""What is wrong with a row's picture; the message says it."""
ENDS: Final = (OSError, ServingError, SQLAlchemyError, StoppedError)
"""What is wrong with more than one row."""


@dataclass(frozen=True)
class Asked:
    """A batch and what it was given as; once `stop` is set no row is begun, and none written on."""

    batch_id: int
    annotator_id: int
    rows: Mapping[int, Row]
    files: Files
    verdicts_only: bool = False
    stop: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Done:
    """A row that is done now: its check, or why there is none."""

    number: int
    outcome: NewCheck | str
    done: int  # rows, since the batch was begun or resumed
    of: int  # rows that waited then


def go_on(desk: Desk, serving: Serving, asked: Asked) -> Generator[Done, None, None]:
    """Answer the rows that are not done, and yield each once it is on disk.

    Raises BusyError while another batch of the desk goes on, StoppedError where `stop` was set, and
    what ended the batch; what was yielded is kept. Closing it stops it.
    """
    busy = BusyError("Another batch of this desk goes on: wait until it is done.")
    with held(batches_dir(desk) / "lock", busy):
        wait_for_student(serving)
        with desk.sessions() as session:
            numbers = waiting(session, asked.batch_id)
        left = iter(numbers)
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="check many") as readers:

            def begun(count: int) -> set[Future[tuple[int, NewCheck | str]]]:
                some = islice(left, count)
                return {readers.submit(_row_done, desk, serving, asked, number) for number in some}

            going, done = begun(AT_ONCE), 0
            try:
                while going:
                    ready, going = wait(going, return_when=FIRST_COMPLETED)
                    for future in ready:
                        done += 1
                        yield Done(*future.result(), done, len(numbers))
                    going |= begun(len(ready))
            except BaseException:
                asked.stop.set()
                raise


def _row_done(desk: Desk, serving: Serving, asked: Asked, number: int) -> tuple[int, NewCheck | str]:
    """Answer one row and keep what came of it."""
    row = asked.rows[number]
    outcome = _outcome(desk, serving, asked, row)
    if isinstance(outcome, NewCheck):
        try:
            with_picture(
                desk,
                outcome.image.sha256,
                lambda: _admitted(desk, asked, row),
                lambda session: finish(session, asked.batch_id, number, outcome, now()),
            )
            return number, outcome
        except REFUSALS as refused:
            outcome = _sentence(refused)
    with write_session(desk.sessions) as session:
        finish(session, asked.batch_id, number, outcome, now())
    return number, outcome


def _outcome(desk: Desk, serving: Serving, asked: Asked, row: Row) -> NewCheck | str:
    try:
        for _ in range(TRIES - 1):
            with suppress(FileNotFoundError):  # the picture was deleted with another check of it
                return _answered(desk, serving, asked, row)
        return _answered(desk, serving, asked, row)
    except REFUSALS as refused:
        return _sentence(refused)
    except ENDS:
        raise
    except Exception as error:
        logger.exception("Row %d of batch %d failed", row.number, asked.batch_id)
        return f"The desk failed at this row ({type(error).__name__}); its log says more."


def _sentence(refused: Exception) -> str:
    said = str(refused)
    return f"{said[:1].upper()}{said[1:]}{'' if said.endswith('.') else '.'}"


def _answered(desk: Desk, serving: Serving, asked: Asked, row: Row) -> NewCheck:
    _stop_where_asked(asked)
    image = _admitted(desk, asked, row)
    shown = shown_copy(image.sha256, desk.images_dir)
    answer = serving.check(shown, row.caption, row.date, row.place)
    rationale = ""
    if not asked.verdicts_only:
        for written in serving.rationale(shown, row.caption, row.date, row.place, answer.verdict):
            _stop_where_asked(asked)
            rationale = written
    url = row.url or (row.image if row.is_on_web else None)
    question = Question(None, row.caption, row.date, row.place, url)
    given = Answered(question, image, shown, answer, rationale, is_untouched=is_untouched(desk, answer))
    return new_check(given, asked.annotator_id)


def _admitted(desk: Desk, asked: Asked, row: Row) -> StoredImage:
    """Take a row's picture through the image door."""
    if row.is_on_web:
        return admit_url(row.image, desk.images_dir)
    return admit(asked.files.read(row.image, BYTES_MAX), desk.images_dir, row.image)


def _stop_where_asked(asked: Asked) -> None:
    if asked.stop.is_set():
        raise StoppedError
