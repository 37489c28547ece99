"""Answer a question step by step: the verdict, the rationale as it is written, and what stands beside them.

The verdict comes after one forward pass, the rationale goes on from there; what the picture itself
carries is read meanwhile. Last comes whether the answer depends on the picture. On a desk the check is
kept, with its picture; a visitor of a demo page leaves nothing behind.
"""

import secrets
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from db.cases import NewImage
from db.checks import NewCheck, add_check, add_found
from db.engine import write_session
from db.vocabulary import Role
from ooc_app.auth import Asker, Person, now, require
from ooc_app.checks.background import Background
from ooc_app.checks.question import CheckRefusedError, Question, admitted
from ooc_app.desk import Desk
from ooc_app.intake.images import StoredImage, shown_copy, stored_path
from ooc_app.provenance.report import Provenance, as_json
from ooc_app.serving import CheckAnswer, Serving

SECONDS_TO_LOAD: Final = 120.0  # how long a check waits for a student that is still loading
Plain = dict[str, Any]
"""What may be written as JSON."""


@dataclass(frozen=True)
class Answered:
    """A check as far as it has come; the rationale grows, and what stands beside it arrives, until `is_done`.

    `shown` is the picture's copy that may be shown, and is gone after a visitor's check. `reliance` is a
    `training.reliance.Reliance` in plain values. `token` is there once the check is kept.
    """

    asked: Question
    image: StoredImage
    shown: Path
    answer: CheckAnswer
    rationale: str = ""
    provenance: Provenance | None = None
    reliance: Plain | None = None
    token: str | None = None
    is_done: bool = False

    @property
    def found(self) -> Plain:
        """What is kept of the answer besides verdict and rationale, as JSON; no GPS position is in it."""
        provenance = as_json(self.provenance, with_gps=False) if self.provenance else None
        return {
            "words": self.answer.words,
            "warning": self.answer.warning,
            "domain": self.answer.domain,
            "snapshot": self.answer.snapshot,
            "notes": list(self.image.notes),
            "provenance": provenance,
            "reliance": self.reliance,
        }


def check(
    desk: Desk, serving: Serving, background: Background, person: Person | None, asked: Question
) -> Iterator[Answered]:
    """Answer a question: first the verdict, then again with each piece of what else there is to say.

    A check by a `person` of the desk is kept with its picture once its rationale is whole. Raises
    ImageRefusedError for what is no picture, CheckRefusedError and ServingError where no student answers.
    """
    with _picture_folder(desk, person) as folder, ThreadPoolExecutor(1) as aside:
        image = admitted(asked, folder)
        shown = shown_copy(image.sha256, folder)
        inspecting = aside.submit(background.inspect, person, asked.claims, image, folder)
        wait_for_student(serving)
        answer = serving.check(shown, asked.caption, asked.date, asked.place)
        given = Answered(asked, image, shown, answer)
        yield given
        for text in serving.rationale(shown, asked.caption, asked.date, asked.place, answer.verdict):
            given = replace(given, rationale=text)
            if given.provenance is None and inspecting.done():
                given = replace(given, provenance=inspecting.result())
            yield given
        given = replace(given, provenance=inspecting.result())
        if person is not None:
            given = replace(given, token=keep(desk, person, given))
        yield given
        relies = serving.reliance(shown, asked.caption, asked.date, asked.place)
        given = replace(given, reliance=asdict(relies), is_done=True)
        if given.token is not None:
            with write_session(desk.sessions) as session:
                add_found(session, given.token, {"reliance": given.reliance})
        yield given


def keep(desk: Desk, person: Person, given: Answered) -> str:
    """Write a check into the desk and return the token it is known by."""
    image, asked, answer = given.image, given.asked, given.answer
    new = NewCheck(
        secrets.token_urlsafe(16),
        NewImage(image.sha256, image.format, image.width, image.height, image.byte_size),
        asked.caption,
        answer.verdict,
        answer.probability,
        given.rationale,
        answer.student,
        person.annotator_id,
        asked.date,
        asked.place,
        asked.url,
        answer.cannot_tell,
        given.found,
    )
    with write_session(desk.sessions) as session:
        if not stored_path(image.sha256, desk.images_dir).exists():
            admitted(asked, desk.images_dir)  # deleted meanwhile with another check of the same picture
        add_check(session, new, now())
    return new.token


def asking_person(desk: Desk, request: Asker | None) -> Person | None:
    """Say who checks: on a desk someone of the desk, on a demo page a visitor, who is nobody.

    Raises NotAllowedError where a desk is asked by someone it does not know.
    """
    if desk.mode == "demo":
        return None
    return require(desk, request, Role.ANNOTATOR)


def wait_for_student(serving: Serving) -> None:
    """Return once the student is loaded or has failed to. Raises CheckRefusedError where that takes long."""
    serving.begin_loading()
    until = time.monotonic() + SECONDS_TO_LOAD
    while (state := serving.state()) == "loading" and time.monotonic() < until:
        time.sleep(0.1)
    if state == "loading":
        raise CheckRefusedError("The student is still loading; check again in a minute.")


@contextmanager
def _picture_folder(desk: Desk, person: Person | None) -> Iterator[Path]:
    """The desk's pictures; for a visitor a folder that is gone after the answer."""
    if person is not None:
        yield desk.images_dir
        return
    with tempfile.TemporaryDirectory(prefix="ooc-check-") as folder:
        yield Path(folder)
