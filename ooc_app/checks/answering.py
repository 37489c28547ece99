"""Answer a question step by step: the verdict, the rationale as it is written, and what stands beside them.

The verdict comes after one forward pass, the rationale goes on from there; what the picture itself
carries is read meanwhile. Last comes whether the answer depends on the picture. On a desk the check is
kept, with its picture; a visitor of a demo page leaves nothing behind.
"""

import secrets
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from sqlalchemy.orm import Session

from db.cases import NewImage
from db.checks import NewCheck, add_check, add_found
from db.engine import write_session
from db.vocabulary import Role
from ooc_app.auth import Asker, Person, now, require
from ooc_app.checks.background import Background
from ooc_app.checks.closer import closer, comes_unasked, expected_seconds, in_words
from ooc_app.checks.question import CheckRefusedError, Question, admitted
from ooc_app.checks.untouched import is_untouched
from ooc_app.desk import Desk
from ooc_app.intake.images import ImageRefusedError, StoredImage, shown_copy, stored_path, thumbnail
from ooc_app.provenance.report import Provenance, as_json
from ooc_app.serving import CheckAnswer, Serving

SECONDS_TO_LOAD: Final = 120.0  # how long a check waits for a student that is still loading
TRIES: Final = 3  # to keep a check whose picture others delete meanwhile
DELETED: Final = "The picture was deleted while it was asked about: check it once more."
LOOKING: Final = "Looking whether the answer depends on the picture"
Plain = dict[str, Any]
"""What may be written as JSON."""


@dataclass(frozen=True)
class Answered:
    """A check as far as it has come; the rationale grows, and what stands beside it arrives, until `is_done`.

    `shown` is the picture's copy that may be shown, and is gone after a visitor's check; `picture` is where
    the page gets one. `reliance`, `word_grounds` and `part_grounds` are what `training` gives, in plain
    values; `doing` says what is under way once the rationale is whole. Where words and parts did not come
    unasked, `closer_takes` says in words how long they would take. `is_untouched` says that the student was
    never distilled. `token` is there once the check is kept.
    """

    asked: Question
    image: StoredImage
    shown: Path
    answer: CheckAnswer
    rationale: str = ""
    provenance: Provenance | None = None
    reliance: Plain | None = None
    word_grounds: Plain | None = None
    part_grounds: Plain | None = None
    picture: str = ""
    doing: str = ""
    closer_takes: str = ""
    is_untouched: bool = False
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
            **({"untouched": True} if self.is_untouched else {}),
            "notes": list(self.image.notes),
            "provenance": provenance,
            "seconds": self.answer.seconds,
            "reliance": self.reliance,
            **({"word_grounds": self.word_grounds} if self.word_grounds else {}),
            **({"part_grounds": self.part_grounds} if self.part_grounds else {}),
        }


def check(
    desk: Desk,
    serving: Serving,
    background: Background,
    person: Person | None,
    asked: Question,
    *,
    with_closer: bool = False,
) -> Iterator[Answered]:
    """Answer a question: first the verdict, then again with each piece of what else there is to say.

    A check by a `person` of the desk is kept with its picture once its rationale is whole. `with_closer`, it
    is also looked at closer (`closer.py`), where that is expected to be quick. Raises
    ImageRefusedError for what is no picture, CheckRefusedError and ServingError where no student answers.
    """
    with _picture_folder(desk, person) as folder, ThreadPoolExecutor(1) as aside:
        image = admitted(asked, folder)
        shown = shown_copy(image.sha256, folder)
        inspecting = aside.submit(background.inspect, person, asked.claims, image, folder)
        wait_for_student(serving)
        answer = serving.check(shown, asked.caption, asked.date, asked.place)
        given = Answered(asked, image, shown, answer, is_untouched=is_untouched(desk, answer))
        yield given
        for text in _written(serving, given):
            given = replace(given, rationale=text)
            if given.provenance is None and inspecting.done():
                given = replace(given, provenance=inspecting.result())
            yield given
        given = replace(given, provenance=inspecting.result(), doing=LOOKING)
        if person is not None:
            given = replace(given, token=keep(desk, person, given))
        yield given
        relies = serving.reliance(shown, asked.caption, asked.date, asked.place)
        given = replace(given, reliance=asdict(relies), doing="")
        _add(desk, given, {"reliance": given.reliance})
        if with_closer:
            for step in _looked_closer(serving, given):
                given = step
                yield given
            _add(desk, given, {"word_grounds": given.word_grounds, "part_grounds": given.part_grounds})
        yield replace(given, is_done=True)


def _written(serving: Serving, given: Answered) -> Iterator[str]:
    """Yield the rationale as it grows. Raises ImageRefusedError where the picture is deleted meanwhile."""
    asked = given.asked
    try:
        yield from serving.rationale(
            given.shown, asked.caption, asked.date, asked.place, given.answer.verdict
        )
    except FileNotFoundError as gone:
        raise ImageRefusedError(DELETED) from gone


def _looked_closer(serving: Serving, given: Answered) -> Iterator[Answered]:
    """Look closer where it is quick, and say how long it would take where it is not."""
    seconds = expected_seconds(serving, given.asked.caption)
    if not comes_unasked(seconds):
        yield replace(given, closer_takes=in_words(seconds))
        return
    picture = picture_address(given, is_kept=given.token is not None)
    for at in closer(serving, given.shown, given.asked):
        words, parts = at.found.get("word_grounds"), at.found.get("part_grounds")
        yield replace(given, word_grounds=words, part_grounds=parts, picture=picture, doing=at.doing)


def picture_address(given: Answered, *, is_kept: bool) -> str:
    """Return where a page gets the picture: the desk's route, or the bytes themselves for a visitor's.

    A visitor's picture has no route, and is there only until the check is done.
    """
    if is_kept:
        return f"/desk/images/{given.image.sha256}"
    small = thumbnail(given.image.sha256, given.shown.parents[2])
    return f"data:image/jpeg;base64,{b64encode(small.read_bytes()).decode()}"


def _add(desk: Desk, given: Answered, found: Plain) -> None:
    """Keep what was found since, where the check is kept."""
    told = {name: value for name, value in found.items() if value is not None}
    if given.token is not None and told:
        with write_session(desk.sessions) as session:
            add_found(session, given.token, told)


def keep(desk: Desk, person: Person, given: Answered) -> str:
    """Write a check into the desk and return the token it is known by."""
    new = new_check(given, person.annotator_id)

    def admit_again() -> None:
        shown_copy(admitted(given.asked, desk.images_dir).sha256, desk.images_dir)

    with_picture(desk, given.image.sha256, admit_again, lambda session: add_check(session, new, now()))
    return new.token


def with_picture(
    desk: Desk, sha256: str, admit_again: Callable[[], object], write: Callable[[Session], object]
) -> None:
    """Write what shows a picture, in a transaction in which its file is there.

    A picture that was deleted meanwhile, with another check of it, is admitted again between two
    transactions, so that nobody who writes waits for a download. Raises as `admit_again` does, and
    ImageRefusedError where the picture is gone each time.
    """
    for number in range(TRIES):
        if number:
            admit_again()
        with write_session(desk.sessions) as session:
            if stored_path(sha256, desk.images_dir).exists():
                write(session)
                return
    raise ImageRefusedError(DELETED)


def new_check(given: Answered, owner_id: int) -> NewCheck:
    """Make what is kept of an answer, under a token of its own that nobody can guess."""
    image, asked, answer = given.image, given.asked, given.answer
    return NewCheck(
        secrets.token_urlsafe(16),
        NewImage(image.sha256, image.format, image.width, image.height, image.byte_size),
        asked.caption,
        answer.verdict,
        answer.probability,
        given.rationale,
        answer.student,
        owner_id,
        asked.date,
        asked.place,
        asked.url,
        answer.cannot_tell,
        given.found,
    )


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
