"""The Check tab: one picture and its caption in; verdict, rationale and what stands beside them out.

Every answer of a desk has a report with a permanent link, at which its owner lets it expire, deletes it
or sends it to the desk.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import gradio as gr

from ooc_app import render
from ooc_app.auth import NotAllowedError
from ooc_app.checks.answer_panel import answer_panel
from ooc_app.checks.answering import Answered, asking_person, check
from ooc_app.checks.background import Background
from ooc_app.checks.question import CAPTION_MAX, CLAIM_MAX, CheckRefusedError, question
from ooc_app.desk import Desk
from ooc_app.intake.images import ImageRefusedError
from ooc_app.provenance.panel import provenance_panel
from ooc_app.serving import Serving, ServingError

SECONDS_BETWEEN_PAINTS: Final = 0.08  # each paint sends the whole rationale again
REFUSALS: Final = (CheckRefusedError, ImageRefusedError, NotAllowedError, ServingError)
"""What keeps a question from being answered; the message says all a person needs."""
NOTHING_YET: Final = render.empty_state(
    "No picture checked yet", "Add a picture and the caption it was found under, then press Check."
)


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


def build_check(desk: Desk, serving: Serving) -> None:
    """Lay out the tab and connect it."""
    background = Background(desk)
    with gr.Row(elem_classes="check"):
        with gr.Column(scale=4, min_width=320, elem_classes="check-ask"):
            asked = _fields()
            button = gr.Button("Check", variant="primary", elem_id="check-button")
        with gr.Column(scale=6, min_width=320, elem_classes="check-answer"):
            panel = gr.HTML(NOTHING_YET, elem_id="check-panel", apply_default_css=False)
            carried = gr.HTML("", elem_id="check-provenance", apply_default_css=False)
    for trigger in (button.click, asked.caption.submit):
        trigger(
            _asking(desk, serving, background),
            asked.inputs,
            [panel, carried],
            api_visibility="private",
            concurrency_limit=4,
            show_progress="hidden",
            trigger_mode="once",
        )


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


def _asking(desk: Desk, serving: Serving, background: Background) -> Callable[..., Iterator[tuple[str, str]]]:
    def ask(
        picture: str | None,
        caption: str,
        date: str,
        place: str,
        url: str,
        gps: bool,
        request: gr.Request,
    ) -> Iterator[tuple[str, str]]:
        painted = 0.0
        try:
            asked = question(picture, caption, date, place, url)
            person = asking_person(desk, request)
            doing = "The student is loading" if serving.state() == "loading" else "Looking at the picture"
            yield render.empty_state(doing, "The verdict comes first, its reasons after."), ""
            for given in check(desk, serving, background, person, asked):
                is_due = given.is_done or not given.rationale or given.token
                if is_due or time.monotonic() - painted > SECONDS_BETWEEN_PAINTS:
                    painted = time.monotonic()
                    yield answer_panel(given), _carried(given, with_gps=gps)
        except REFUSALS as refused:
            yield render.notice(str(refused), "warning"), ""

    return ask


def _carried(given: Answered, *, with_gps: bool) -> str:
    if given.provenance is None:
        return ""
    return provenance_panel(given.provenance, with_gps=with_gps, thumbnail_url="/desk/thumbs/{}".format)
