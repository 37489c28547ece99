"""The Check tab: one picture and its caption in, the student's verdict and rationale out.

The answer comes in two steps: the verdict with its probability after one forward pass, then the
rationale as the student writes it. Where the picture is unlike anything the student has learnt
from, that warning stands before everything else. On a desk the check is kept, with its picture; a
visitor of a demo page leaves nothing behind.
"""

import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any, Final

import gradio as gr

from db.engine import write_session
from db.models import Check, Image
from db.vocabulary import Answer, Role, Verdict
from ooc_app import render
from ooc_app.auth import Asker, NotAllowedError, Person, now, require
from ooc_app.check_provenance import Background
from ooc_app.desk import Desk
from ooc_app.intake.images import ImageRefusedError, StoredImage, admit_file, shown_copy
from ooc_app.provenance.report import Claims
from ooc_app.serving import CheckAnswer, Serving, ServingError

CAPTION_MAX: Final = 2000  # characters; longer than any caption, short enough for the student
SECONDS_BETWEEN_PAINTS: Final = 0.08  # each paint sends the whole rationale again
SECONDS_TO_LOAD: Final = 120.0  # how long a check waits for a student that is still loading


class CheckRefusedError(ValueError):
    """Raised for a question the student cannot be asked."""


@dataclass(frozen=True)
class Question:
    """What an analyst asks: this picture, under this caption, claimed to be of this day and place."""

    picture: Path
    caption: str
    date: str | None
    place: str | None


@dataclass(frozen=True)
class Answered:
    """A check as far as it has come; the rationale grows until `is_done`."""

    answer: CheckAnswer
    rationale: str = ""
    is_done: bool = False


# ---- handlers ----


def question(picture: str | None, caption: str, date: str = "", place: str = "") -> Question:
    """Make a question of what was filled in; raises CheckRefusedError for what is missing."""
    if not picture:
        raise CheckRefusedError("Add a picture first: drop one on the left, paste it or choose a file.")
    wanted = caption.strip()
    if not wanted:
        raise CheckRefusedError("Add the caption: the student judges a picture and its caption together.")
    if len(wanted) > CAPTION_MAX:
        raise CheckRefusedError(
            f"The caption has {len(wanted):,} characters; shorten it to at most {CAPTION_MAX:,}."
        )
    return Question(Path(picture), wanted, date.strip() or None, place.strip() or None)


def check(desk: Desk, serving: Serving, person: Person | None, asked: Question) -> Iterator[Answered]:
    """Answer a question: first the verdict, then again with each piece of the rationale.

    A check by a `person` of the desk is kept with its picture once its rationale is whole. Raises
    ImageRefusedError for what is no picture, and ServingError where no student can be loaded.
    """
    with _picture_folder(desk, person) as folder:
        image = admit_file(asked.picture, folder)
        shown = shown_copy(image.sha256, folder)
        _wait_for_student(serving)
        answer = serving.check(shown, asked.caption, asked.date, asked.place)
        given = Answered(answer)
        yield given
        for text in serving.rationale(shown, asked.caption, asked.date, asked.place, answer.verdict):
            given = replace(given, rationale=text)
            yield given
        if person is not None:
            keep(desk, person, image, asked, given)
        yield replace(given, is_done=True)


def keep(desk: Desk, person: Person, image: StoredImage, asked: Question, given: Answered) -> str:
    """Write a check into the desk and return the token it is known by."""
    token = secrets.token_urlsafe(12)
    with write_session(desk.sessions) as session:
        if session.get(Image, image.sha256) is None:
            session.add(
                Image(
                    sha256=image.sha256,
                    format=image.format,
                    width=image.width,
                    height=image.height,
                    byte_size=image.byte_size,
                )
            )
            session.flush()
        session.add(
            Check(
                token=token,
                image_sha256=image.sha256,
                caption=asked.caption,
                verdict=Verdict(given.answer.verdict),
                probability=given.answer.probability,
                rationale=given.rationale,
                student=given.answer.student,
                annotator_id=person.annotator_id,
                created_at=now(),
            )
        )
    return token


def asking_person(desk: Desk, request: Asker | None) -> Person | None:
    """Say who checks: on a desk someone of the desk, on a demo page a visitor, who is nobody.

    Raises NotAllowedError where a desk is asked by someone it does not know.
    """
    if desk.mode == "demo":
        return None
    return require(desk, request, Role.ANNOTATOR)


def _wait_for_student(serving: Serving) -> None:
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


# ---- what is shown ----

NOTHING_YET: Final = render.empty_state(
    "No picture checked yet", "Add a picture and the caption it was found under, then press Check."
)


def answer_panel(given: Answered) -> str:
    """Draw an answer: the warning first, then verdict, probability and the rationale so far."""
    answer = given.answer
    warning = render.notice(answer.warning, "warning") if answer.warning else ""
    writing = "" if given.is_done else '<i class="writing" aria-hidden="true"></i>'
    domain = f" · knows only the {answer.domain}" if answer.domain else ""
    said = Answer.UNSURE if answer.cannot_tell else answer.verdict
    of = f" of {escape(render.verdict_words(answer.verdict))}" if answer.cannot_tell else ""
    return (
        f'<div class="answer" aria-busy="{str(not given.is_done).lower()}">{warning}'
        f'<div class="answer-head">{render.verdict_chip(said, large=True)}'
        f'<span class="answer-sure">probability{of} <b>{answer.probability:.2f}</b></span>'
        f'<span class="answer-words">{escape(answer.words)}</span></div>'
        f"{render.probability_bar(said, answer.probability)}"
        f'<blockquote class="answer-rationale" dir="auto">{escape(given.rationale)}{writing}</blockquote>'
        f'<p class="answer-student">{escape(answer.student + domain)}</p></div>'
    )


def picture_field() -> gr.Image:
    """An image field that hands on the path of the bytes as they came.

    Gradio's own `preprocess` opens the file in this process, which only the image door may do.
    """
    field = gr.Image(
        label="picture",
        show_label=False,
        sources=["upload", "clipboard"],
        type="filepath",
        image_mode=None,
        buttons=[],
        height=320,
        elem_id="check-picture",
    )
    field.preprocess = upload_path  # type: ignore[method-assign]
    return field


def upload_path(payload: Any) -> str | None:
    """Return where an upload lies, unopened."""
    return None if payload is None else payload.path


# ---- layout and wiring ----


def build_check(desk: Desk, serving: Serving) -> None:
    """Lay out the tab and connect it."""
    with gr.Row(elem_classes="check"):
        with gr.Column(scale=4, min_width=320, elem_classes="check-ask"):
            picture = picture_field()
            caption = gr.Textbox(
                label="caption, as it was found with the picture",
                lines=3,
                max_lines=6,
                max_length=CAPTION_MAX,
                elem_id="check-caption",
            )
            with gr.Row(elem_classes="check-claims"):
                date = gr.Textbox(label="claimed date (optional)", max_length=80, elem_id="check-date")
                place = gr.Textbox(label="claimed place (optional)", max_length=120, elem_id="check-place")
            gps = gr.Checkbox(label="show the GPS position, if the file has one", elem_id="check-gps")
            button = gr.Button("Check", variant="primary", elem_id="check-button")
        with gr.Column(scale=6, min_width=400, elem_classes="check-answer"):
            panel = gr.HTML(NOTHING_YET, elem_id="check-panel", apply_default_css=False)
            carried = gr.HTML("", elem_id="check-provenance", apply_default_css=False)
    asked = [picture, caption, date, place]
    inspecting = _inspecting(desk, Background(desk))
    for trigger in (button.click, caption.submit):
        trigger(
            _asking(desk, serving),
            asked,
            panel,
            api_name="check" if trigger is button.click else None,
            api_visibility="undocumented" if trigger is button.click else "private",
            concurrency_limit=2,
            show_progress="hidden",
            trigger_mode="once",
        )
        trigger(
            inspecting,
            [*asked, gps],
            carried,
            api_visibility="private",
            concurrency_limit=2,
            show_progress="hidden",
            trigger_mode="once",
        )


def _inspecting(desk: Desk, background: Background) -> Callable[..., str]:
    def inspect(
        picture: str | None, caption: str, date: str, place: str, gps: bool, request: gr.Request
    ) -> str:
        try:
            asked = question(picture, caption, date, place)
            person = asking_person(desk, request)
            claims = Claims(asked.caption, asked.date, asked.place)
            return background.panel(person, claims, asked.picture, with_gps=gps)
        except (CheckRefusedError, ImageRefusedError, NotAllowedError):
            return ""  # the answer beside it says why

    return inspect


def _asking(desk: Desk, serving: Serving) -> Callable[..., Iterator[str]]:
    def ask(picture: str | None, caption: str, date: str, place: str, request: gr.Request) -> Iterator[str]:
        painted = 0.0
        try:
            asked = question(picture, caption, date, place)
            person = asking_person(desk, request)
            doing = "The student is loading" if serving.state() == "loading" else "Looking at the picture"
            yield render.empty_state(doing, "The verdict comes first, its reasons after.")
            for given in check(desk, serving, person, asked):
                if (
                    given.is_done
                    or not given.rationale
                    or time.monotonic() - painted > SECONDS_BETWEEN_PAINTS
                ):
                    painted = time.monotonic()
                    yield answer_panel(given)
        except (CheckRefusedError, ImageRefusedError, NotAllowedError, ServingError) as refused:
            yield render.notice(str(refused), "warning")

    return ask
