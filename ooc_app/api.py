"""What programs call: `/check_image` and `/find_known_image`, the desk's two MCP tools as well.

They are the page's only public events, because Gradio makes a tool of every one. They stand outside the
queue: an MCP call of a queued function would be made again over HTTP by the server itself, which then asks
in the place of whoever asked. So many are answered at a time that the page's own handlers always find
a thread.
"""

import json
import logging
import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar, cast

import anyio
import gradio as gr
from gradio.events import api

from db.vocabulary import Role
from ooc_app.auth import Asker, NotAllowedError, require
from ooc_app.checks.answering import asking_person, check
from ooc_app.checks.background import Background
from ooc_app.checks.question import CheckRefusedError, Question, admitted, question
from ooc_app.checks.typed import CheckedImage, KnownImage, checked_image, known_image
from ooc_app.desk import Desk
from ooc_app.intake.images import ImageRefusedError
from ooc_app.provenance.links import is_web_address
from ooc_app.provenance.report import Claims
from ooc_app.serving import Serving, ServingError
from ooc_app.uploads import RefusedError, picture_given

logger = logging.getLogger(__name__)

T = TypeVar("T")

AT_ONCE: Final = 8  # calls answered at a time, of the 40 threads that Gradio runs handlers on
WAITING_MAX: Final = 200  # calls that may wait for that
MCP_PATH: Final = "/gradio_api/mcp"
NO_STUDENT: Final = "No student answers now; the desk's Check tab says why."
FAILED: Final = "The desk failed to answer this; its log says why."


def build_api(desk: Desk, serving: Serving, background: Background) -> None:
    """Add the two functions to the page that is being built."""
    at_once = anyio.CapacityLimiter(AT_ONCE)

    async def answered(work: Callable[[], T], request: gr.Request) -> T:
        if at_once.statistics().tasks_waiting >= WAITING_MAX:
            raise RefusedError("The desk has too many questions waiting: ask again in a minute.")
        result = await anyio.to_thread.run_sync(_refusing, work, limiter=at_once)
        if not is_tool_call(request):
            return result
        return cast(T, json.dumps(result, ensure_ascii=False))  # Gradio would write it as Python does

    async def check_image(
        request: gr.Request, image: str, caption: str, date: str = "", place: str = "", url: str = ""
    ) -> CheckedImage:
        """Judge whether a news picture is out of context under its caption, with reasons and provenance.

        The verdict is a student model's, not a fact: say how sure it is, repeat its warning if there is
        one, and do not call a picture out of context where cannot_tell is true. Earlier uses of the
        picture under provenance.seen are stronger evidence than the verdict.

        Args:
            image: The picture: an http(s) address, or base64 data with or without data:image/...;base64,
            caption: The caption it was found with, word for word, at most 2,000 characters
            date: The day it is claimed to show, as it is worded, at most 200 characters; may be empty
            place: The place it is claimed to show, as it is worded, at most 200 characters; may be empty
            url: Where the picture lies on the web, if image is its data; may be empty
        Returns:
            a JSON object with verdict (in_context or out_of_context)
            cannot_tell
            probability of the verdict from 0.5 to 1
            words (the same in plain words)
            rationale
            warning or null
            student
            domain (the only world a student knows) or null
            snapshot (what the student was distilled from) or null
            notes on the picture
            reliance (does the verdict depend on the picture)
            provenance (seen before, contradictions, remarks, credentials)
            report (where the desk keeps this check) or null
        """
        return await answered(
            lambda: answer_check(desk, serving, background, request, image, caption, date, place, url),
            request,
        )

    async def find_known_image(request: gr.Request, image: str) -> list[KnownImage]:
        """Find where the desk has seen a picture before: under which captions, when, and found to be what.

        It finds copies that were resized, cropped, mirrored or saved again. An empty list says nothing
        of the rest of the web.

        Args:
            image: The picture: an http(s) address, or base64 data with or without data:image/...;base64,
        Returns:
            a JSON list of known pictures, each with words (how alike it is)
            distance (bits of 256 that differ)
            is_same
            is_this_file
            sha256
            uses, the oldest first, each with caption and date and place and source and url and case_id
            verdict and by (whose it is) and since (its first day) of each use
        """
        return await answered(lambda: find_known(desk, background, request, image), request)

    for call in (check_image, find_known_image):
        api(call, api_name=call.__name__, queue=False, concurrency_limit=None)


def answer_check(
    desk: Desk,
    serving: Serving,
    background: Background,
    asker: Asker,
    image: object,
    caption: object,
    date: object = "",
    place: object = "",
    url: object = "",
) -> CheckedImage:
    """Answer a program's check, to the end. Raises what `checks.answering.check` does, and NotAllowedError.

    On a desk the check is kept in the name of the person who asks.
    """
    person = asking_person(desk, asker)
    with picture_given(image) as (picture, address):
        told = _text("url", url)
        if address and told and address != told.strip():
            raise CheckRefusedError("The picture has two addresses: give one, as `image` or as `url`.")
        claims = _text("date", date), _text("place", place)
        asked = question(picture, _text("caption", caption), *claims, address or told)
        return checked_image(deque(check(desk, serving, background, person, asked), maxlen=1)[-1])


def find_known(desk: Desk, background: Background, asker: Asker, image: object) -> list[KnownImage]:
    """Return the desk's pictures that show, or may show, what a program gave; nothing of it is kept.

    Raises NotAllowedError, ImageRefusedError, and CheckRefusedError where nothing is found and an empty list
    would say too much: pictures are not compared yet, or this one is too plain to be.
    """
    if desk.mode == "demo":
        raise NotAllowedError(
            "A demo page tells nobody of a desk's pictures: ask a desk on which you are known."
        )
    person = require(desk, asker, Role.ANNOTATOR)
    with picture_given(image) as (picture, address), tempfile.TemporaryDirectory() as folder:
        if picture is None and not is_web_address(address):
            raise CheckRefusedError("Give a picture as `image`: an uploaded file, an address or base64 data.")
        stored = admitted(Question(picture, "", url=address), Path(folder))
        found = background.inspect(person, Claims(), stored, Path(folder))
    if found.not_compared and not found.seen:
        raise CheckRefusedError(
            f"{found.not_compared:,} of the desk's pictures are not compared yet: ask again in a minute."
        )
    if found.is_plain and not found.seen:
        raise CheckRefusedError("There is too little in this picture to know it again by: use a fuller one.")
    return [known_image(one) for one in found.seen or ()]


def is_tool_call(request: gr.Request) -> bool:
    """Tell whether a call came through MCP."""
    return MCP_PATH in str(request.url.path)


def _text(name: str, given: object) -> str:
    if given is None or isinstance(given, str):
        return given or ""
    raise CheckRefusedError(f"`{name}` is to be a text: write it in quotes.")


def _refusing(work: Callable[[], T]) -> T:
    """Do what a program asked for; whatever keeps it from an answer becomes one sentence."""
    try:
        return work()
    except (CheckRefusedError, ImageRefusedError, NotAllowedError) as refused:
        raise RefusedError(str(refused)) from None
    except ServingError:
        logger.exception("A check of a program was not answered")
        raise RefusedError(NO_STUDENT) from None
    except Exception:
        logger.exception("A call of a program failed")
        raise RefusedError(FAILED) from None
