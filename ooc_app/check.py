"""The Check tab: one picture and its caption in; verdict, rationale and what stands beside them out.

Every answer on a desk has a report with a permanent link, at which its owner lets it end, deletes it or
sends it to the desk; the last ones stand below. A visitor of a demo page gets the answer alone.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import gradio as gr

from db.checks import CannotSendError, NotOwnCheckError, UnknownCheckError, check_of
from db.vocabulary import Role
from ooc_app import render
from ooc_app.auth import NotAllowedError, now, require
from ooc_app.checks import report_deeds
from ooc_app.checks.answer_panel import answer_panel
from ooc_app.checks.answering import Answered, asking_person, check
from ooc_app.checks.background import Background
from ooc_app.checks.closer import Closer, look_closer
from ooc_app.checks.compare import compare
from ooc_app.checks.compare_panel import compare_panel
from ooc_app.checks.grounds_panel import caption_part, picture_part
from ooc_app.checks.live_teachers import answerers, askable, goes_to
from ooc_app.checks.own_checks import own_checks_asked
from ooc_app.checks.question import CAPTION_MAX, CLAIM_MAX, CheckRefusedError, question
from ooc_app.desk import DEMO_RUN, Desk, SettingsError
from ooc_app.intake.images import ImageRefusedError
from ooc_app.provenance.panel import provenance_panel
from ooc_app.serving import Serving, ServingError
from ooc_app.theme import ASSETS

SECONDS_BETWEEN_PAINTS: Final = 0.08  # each paint sends the whole rationale again
REFUSALS: Final = (
    CannotSendError,
    CheckRefusedError,
    ImageRefusedError,
    NotAllowedError,
    NotOwnCheckError,
    ServingError,
    SettingsError,
    UnknownCheckError,
)
"""What may keep somebody from being answered; the message says all they need."""
NOTHING_YET: Final = render.empty_state(
    "No picture checked yet", "Add a picture and the caption it was found under, then press Check."
)
TEACHERS_COST: Final = "One question to each; it may cost money. What they say is no opinion of the desk."
QUIET: Final[dict[str, Any]] = {"api_visibility": "private", "show_progress": "hidden"}
"""How every event here runs: none of them is for programs, which have `api.py`."""


@dataclass(frozen=True)
class _Asked:
    """The fields a question is filled into."""

    picture: gr.Image
    url: gr.Textbox
    caption: gr.Textbox
    date: gr.Textbox
    place: gr.Textbox
    gps: gr.Checkbox

    @property
    def inputs(self) -> list[Any]:
        """The fields in the order in which handlers take them."""
        return [self.picture, self.caption, self.date, self.place, self.url, self.gps]


@dataclass(frozen=True)
class _Shown:
    """Where an answer is shown, and what may be done with it; `token` is that of the check on screen."""

    panel: gr.HTML
    carried: gr.HTML
    deeds: gr.Column
    report: gr.HTML
    send: gr.Button
    closer: gr.Button
    compare: gr.Button
    teachers: gr.CheckboxGroup
    more: gr.HTML
    token: gr.State

    @property
    def outputs(self) -> list[Any]:
        """What an answer is painted on, in the order of `_painted`."""
        return [self.panel, self.carried, self.deeds, self.report, self.closer, self.more, self.token]


def build_check(desk: Desk, serving: Serving, background: Background, tab: gr.Tab) -> None:
    """Lay out the tab and connect it."""
    with gr.Row(elem_classes="check"):
        with gr.Column(scale=4, min_width=320, elem_classes="check-ask"):
            asked = _fields()
            button = gr.Button("Check", variant="primary", elem_id="check-button")
            if has_examples(desk):
                gr.Examples(
                    examples(),
                    [asked.picture, asked.caption],
                    label="or try one of these",
                    api_visibility="private",
                    elem_id="check-examples",
                )
        with gr.Column(scale=6, min_width=320, elem_classes="check-answer"):
            shown = _answer_column()
    own = gr.HTML("", elem_id="check-own", elem_classes="check-below", apply_default_css=False)
    comparisons = []
    if desk.mode == "desk":
        tab.select(_listing(desk), None, own, **QUIET)
        tab.select(offering(desk), None, shown.teachers, **QUIET)
        comparisons = [_connect_deeds(desk, serving, shown, own)]
    for trigger in (button.click, asked.caption.submit):
        # What the last check was compared with ends, and whoever was chosen for that is not asked again.
        trigger(None, None, shown.teachers, js="() => [[]]", cancels=comparisons, **QUIET)
        answered = trigger(
            _asking(desk, serving, background),
            asked.inputs,
            shown.outputs,
            concurrency_limit=4,
            trigger_mode="once",
            **QUIET,
        )
        answered.then(_listing(desk), None, own, **QUIET)


def _fields() -> _Asked:
    picture = picture_field()
    url = gr.Textbox(label="or its address on the web", max_length=4000, elem_id="check-url")
    caption = gr.Textbox(
        label="caption, as it was found with the picture",
        lines=3,
        max_lines=6,
        max_length=CAPTION_MAX,
        elem_id="check-caption",
    )
    with gr.Row(elem_classes="check-claims"):
        date = gr.Textbox(label="claimed date (optional)", max_length=CLAIM_MAX, elem_id="check-date")
        place = gr.Textbox(label="claimed place (optional)", max_length=CLAIM_MAX, elem_id="check-place")
    gps = gr.Checkbox(label="show the GPS position, if the file has one", elem_id="check-gps")
    return _Asked(picture, url, caption, date, place, gps)


def has_examples(desk: Desk) -> bool:
    """Whether visitors are offered drawings: their student is the shipped one, which knows nothing else."""
    return desk.mode == "demo" and desk.student_source() == str(DEMO_RUN)


def examples() -> list[list[str]]:
    """Return the shipped pictures, each with a caption to ask about."""
    folder = ASSETS / "examples"
    listed = json.loads((folder / "examples.json").read_text(encoding="utf-8"))
    return [[str(folder / one["image"]), one["caption"]] for one in listed]


def picture_field() -> gr.Image:
    """An image field that hands on the path of the bytes as they came.

    Gradio's own `preprocess` opens the file in this process, which only the image door may do.
    """
    field = gr.Image(
        label="picture",
        show_label=False,
        sources=["upload", "clipboard", "webcam"],
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


def _answer_column() -> _Shown:
    panel = gr.HTML(NOTHING_YET, elem_id="check-panel", apply_default_css=False)
    with gr.Column(visible=False) as deeds:
        with gr.Row(elem_classes="check-deeds"):
            report = gr.HTML("", elem_id="check-report", apply_default_css=False)
            send = gr.Button("Send to the desk", elem_id="check-send")
            closer = gr.Button("Look closer", elem_id="check-closer", visible=False)
            compare_button = gr.Button("Compare students", elem_id="check-compare")
        teachers = gr.CheckboxGroup(label="ask live teachers, too", visible=False, elem_id="check-teachers")
    more = gr.HTML("", elem_id="check-more", apply_default_css=False)
    carried = gr.HTML("", elem_id="check-provenance", apply_default_css=False)
    token = gr.State("")
    return _Shown(panel, carried, deeds, report, send, closer, compare_button, teachers, more, token)


# ---- an answer ----


def _asking(desk: Desk, serving: Serving, background: Background) -> Callable[..., Iterator[list[Any]]]:
    def ask(
        picture: str | None,
        caption: str,
        date: str,
        place: str,
        url: str,
        gps: bool,
        request: gr.Request,
    ) -> Iterator[list[Any]]:
        painted = 0.0
        try:
            asked = question(picture, caption, date, place, url)
            person = asking_person(desk, request)
            doing = "The student is loading" if serving.state() == "loading" else "Looking at the picture"
            yield _said(render.empty_state(doing, "The verdict comes first, its reasons after."))
            for given in check(desk, serving, background, person, asked, with_closer=True):
                is_due = given.is_done or not given.rationale or given.doing
                if is_due or time.monotonic() - painted > SECONDS_BETWEEN_PAINTS:
                    painted = time.monotonic()
                    yield _painted(given, with_gps=gps)
        except REFUSALS as refused:
            yield _said(render.notice(str(refused), "warning"))

    return ask


def _painted(given: Answered, *, with_gps: bool) -> list[Any]:
    """Draw an answer as far as it has come; what may be done with it shows once it is kept."""
    carried = ""
    if given.provenance is not None:
        url = "/desk/thumbs/{}".format
        carried = provenance_panel(given.provenance, with_gps=with_gps, thumbnail_url=url)
    takes = f"Look closer ({given.closer_takes})"
    return [
        answer_panel(given),
        carried,
        gr.Column(visible=given.token is not None),
        _report_links(given.token) if given.token else "",
        gr.Button(takes, visible=bool(given.closer_takes)),
        "",
        given.token or "",
    ]


def _said(html: str) -> list[Any]:
    return [html, "", gr.Column(visible=False), "", gr.Button(visible=False), "", ""]


def _report_links(token: str) -> str:
    return (
        f'<p class="report-links"><a href="?check={token}" target="_blank" rel="noopener">Report</a> '
        f'<a href="desk/reports/{token}.jsonld">JSON-LD</a></p>'
    )


# ---- what may be done with it ----


def _connect_deeds(desk: Desk, serving: Serving, shown: _Shown, own: gr.HTML) -> Any:
    """Connect what may be done, and return the event of the comparison, which alone may take long."""
    sent = shown.send.click(_sending(desk), shown.token, shown.more, **QUIET)
    sent.then(_listing(desk), None, own, **QUIET)
    shown.closer.click(_looking_closer(desk, serving), shown.token, shown.more, concurrency_limit=2, **QUIET)
    chosen = [shown.token, shown.teachers]
    return shown.compare.click(comparing(desk, serving), chosen, shown.more, concurrency_limit=8, **QUIET)


def _listing(desk: Desk) -> Callable[..., str]:
    def listed(request: gr.Request) -> str:
        try:
            return own_checks_asked(desk, request)
        except NotAllowedError as refused:
            return render.notice(str(refused), "warning")

    return listed


def _sending(desk: Desk) -> Callable[..., str]:
    def send(token: str, request: gr.Request) -> str:
        try:
            report_deeds.send(desk, require(desk, request, Role.ANNOTATOR), token)
        except REFUSALS as refused:
            return render.notice(str(refused), "warning")
        return render.notice(
            "Sent: whoever rules next gets it first. What they say stands in the report.", "saved"
        )

    return send


def _looking_closer(desk: Desk, serving: Serving) -> Callable[..., Iterator[str]]:
    def look(token: str, request: gr.Request) -> Iterator[str]:
        try:
            person = require(desk, request, Role.ANNOTATOR)
            with desk.sessions() as session:
                kept = check_of(session, token, now())
            for at in look_closer(desk, serving, person, token):
                yield closer_panel(at, kept.caption, f"/desk/images/{kept.image_sha256}")
        except REFUSALS as refused:
            yield render.notice(str(refused), "warning")

    return look


def closer_panel(at: Closer, caption: str, picture_url: str) -> str:
    """Draw words and parts that carry an answer, as far as they are found."""
    words, parts = at.found.get("word_grounds"), at.found.get("part_grounds")
    return (
        f'<div class="answer">{caption_part(caption, words) if words else ""}'
        f"{picture_part(picture_url, parts) if parts else ''}"
        f"{render.paragraph(at.doing, 'answer-doing') if at.doing else ''}</div>"
    )


def offering(desk: Desk) -> Callable[..., gr.CheckboxGroup]:
    """Return what offers an editor the teachers that can be asked live, none of them chosen."""

    def offer(request: gr.Request) -> gr.CheckboxGroup:
        try:
            require(desk, request, Role.EDITOR)
            found = askable(desk)
        except NotAllowedError:
            return gr.CheckboxGroup([], value=[], visible=False)
        except SettingsError as wrong:
            return gr.CheckboxGroup([], value=[], info=str(wrong), visible=True)
        named = [(f"{one.name} ({one.model}): {goes_to(one)}", one.name) for one in found]
        return gr.CheckboxGroup(named, value=[], info=TEACHERS_COST, visible=bool(found))

    return offer


def comparing(desk: Desk, serving: Serving) -> Callable[..., Iterator[str]]:
    def ask_others(token: str, teachers: list[str], request: gr.Request) -> Iterator[str]:
        painted = 0.0
        columns = []
        try:
            require(desk, request, Role.EDITOR if teachers else Role.ANNOTATOR)
            more = answerers(desk, teachers, os.environ) if teachers else []
            for columns in compare(desk, serving, token, more):
                if time.monotonic() - painted > SECONDS_BETWEEN_PAINTS:
                    painted = time.monotonic()
                    yield compare_panel(columns)
            yield compare_panel(columns)
        except REFUSALS as refused:
            yield render.notice(str(refused), "warning")

    return ask_others
