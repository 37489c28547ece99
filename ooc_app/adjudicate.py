"""The Adjudicate tab: conflicts come one after another, and each gets its ruling.

The loop itself is `assets/adjudicate.js`; this module holds the handlers it asks, which are plain
functions of the desk, the person and the numbers given. Every answer of a handler lists the cases
the person now holds (the one to show and the ones to preload), so one request both rules and
fetches; what the page has already, cases and former rulings, is not sent again.
Teachers stay blind until the ruling is made (`blind.py`).
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

import gradio as gr
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from db.engine import write_session
from db.models import Case, Ruling
from db.queue import claim, skip, waiting
from db.rulings import (
    AlreadyRuledError,
    HeldOutCaseError,
    NewRuling,
    NothingToUndoError,
    ReusedSubmissionError,
    UnknownOpinionError,
    recent,
    rule,
    undo,
)
from db.views import UnknownCaseError, case_view, case_views
from db.vocabulary import Answer, Element, QueueReason, Role
from ooc_app import demo, render
from ooc_app.auth import Asker, NotAllowedError, Person, now, require
from ooc_app.blind import blind_order, given_answer, revealed, shown_case
from ooc_app.desk import Desk
from ooc_app.progress import ProgressBoard
from ooc_app.theme import ASSETS

logger = logging.getLogger(__name__)

HELD: Final = 2  # cases kept for one annotator: on screen, and preloaded
RECENT: Final = 5  # rulings shown under the case
SCRIPTS: Final = ("adjudicate_show.js", "adjudicate.js")
REFUSALS: Final = (
    AlreadyRuledError,
    HeldOutCaseError,
    NothingToUndoError,
    ReusedSubmissionError,
    UnknownCaseError,
    UnknownOpinionError,
)


class SubmissionError(ValueError):
    """Raised for a ruling whose fields make no sense; a page of this version sends none."""


class AnotherPersonError(Exception):
    """Raised where a page that one person opened asks with the sign-in of another, in the same browser.

    A ruling that the first has not yet got through must not become the second's.
    """


# ---- handlers ----


@dataclass(frozen=True)
class Said:
    """A ruling as it comes from the page, checked."""

    submission_id: str
    case_id: int
    verdict: Answer
    best: str | None
    rationale: str | None
    elements: tuple[Element, ...]
    note: str
    flagged: bool
    seconds: float


def look(desk: Desk, person: Person, held: Sequence[int] = ()) -> dict[str, Any]:
    """Open the desk for a person: the cases held for them, and what they ruled last."""
    with write_session(desk.sessions) as session:
        mine = claim(session, person.annotator_id, now(), count=HELD)
    return {"ok": True, "says": "", **_next(desk, mine, held, person), "recent": _recent(desk, person)}


def rule_case(desk: Desk, person: Person, said: Said, held: Sequence[int] = ()) -> dict[str, Any]:
    """Write a ruling and fetch what follows; the ruling is on disk when this returns.

    The same submission sent again finds its ruling and answers alike. A ruling the desk refuses
    (the case is ruled on already, or gone) is answered with the reason, and the next case.
    """
    held = [one for one in held if one != said.case_id]
    try:
        with write_session(desk.sessions) as session:
            ruling = rule(session, person.annotator_id, _new_ruling(session, person, said), now())
            mine = claim(session, person.annotator_id, now(), count=HELD)
    except REFUSALS as refused:
        return {**look(desk, person, held), "ok": False, "says": str(refused)}
    rushed = " Under two seconds: marked rushed." if ruling.rushed else ""
    says = f"Saved as ruling {ruling.id}.{rushed}"
    return {"ok": True, "ruling_id": ruling.id, "says": says, **_next(desk, mine, held, person, ruling)}


def skip_case(desk: Desk, person: Person, case_id: int, held: Sequence[int] = ()) -> dict[str, Any]:
    """Let a case go, to a colleague or to another day."""
    held = [one for one in held if one != case_id]
    with write_session(desk.sessions) as session:
        skip(session, person.annotator_id, case_id, now())
        mine = claim(session, person.annotator_id, now(), count=HELD)
    return {"ok": True, "says": "Skipped for today.", **_next(desk, mine, held, person)}


def undo_ruling(
    desk: Desk, person: Person, ruling_id: int | None, held: Sequence[int] = ()
) -> dict[str, Any]:
    """Withdraw a ruling and bring its case back, with what was said of it, as the next to rule on."""
    if ruling_id is None:
        return {"ok": False, "says": "There is no ruling of yours to undo."}
    try:
        with write_session(desk.sessions) as session:
            case_id = undo(session, person.annotator_id, ruling_id, now=now()).case_id
            mine = claim(session, person.annotator_id, now(), count=HELD)
            withdrawn = session.get_one(Ruling, ruling_id)
    except REFUSALS as refused:
        return {"ok": False, "says": str(refused)}
    following = _next(desk, mine, [one for one in held if one != case_id], person)
    for shown in following["cases"]:
        if shown["id"] == case_id:
            shown["answer"] = given_answer(shown["cards"], person.annotator_id, withdrawn)
    says = f"Ruling {withdrawn.id} ({render.verdict_words(withdrawn.verdict or '')}) is withdrawn."
    return {"ok": True, "says": says, **following, "recent": _recent(desk, person)}


def _next(
    desk: Desk, mine: Sequence[int], held: Sequence[int], person: Person, ruling: Ruling | None = None
) -> dict[str, Any]:
    """What the page shows next: the cases held, whole only where it lacks them, and the ruling just made."""
    lacking = [one for one in mine if one not in held]
    ruled_on = [ruling.case_id] if ruling else []
    with desk.sessions() as session:
        views = {case.id: case for case in case_views(session, [*lacking, *ruled_on])}
    cases = [shown_case(views[one], person.annotator_id) if one in lacking else {"id": one} for one in mine]
    following: dict[str, Any] = {"cases": cases, "empty": None if mine else empty_state(desk)}
    if ruling:
        following["ruled"] = revealed(views[ruling.case_id], person.annotator_id, ruling)
    return following


def _recent(desk: Desk, person: Person) -> list[dict[str, Any]]:
    """The person's last rulings, newest first, with who had said what."""
    with desk.sessions() as session:
        rulings = recent(session, person.annotator_id, RECENT)
        cases = {case.id: case for case in case_views(session, [ruling.case_id for ruling in rulings])}
    return [revealed(cases[ruling.case_id], person.annotator_id, ruling) for ruling in rulings]


def counted(board: ProgressBoard, person: Person) -> dict[str, Any]:
    """How far the desk is, for the head of the page."""
    return {"ok": True, **board.progress(person.annotator_id, now()).words(), "annotator": person.name}


def empty_state(desk: Desk) -> dict[str, Any]:
    """Say why there is no case, and what to do next."""
    drawing = demo.progress(desk)
    if drawing is not None:
        done, total = drawing
        return {
            "title": "The demo desk is being drawn",
            "way": f"{render.count(done)} of {render.count(total)} cases; the first conflict shows itself.",
            "done": done,
            "total": total,
            "poll": True,
        }
    with desk.sessions() as session:
        has_cases = session.scalar(select(Case.id).limit(1)) is not None
        second_opinions = waiting(session).get(QueueReason.SECOND_OPINION, 0)
    if not has_cases:
        way = "Bring cases in with: python -m ooc_app import native PATH"
        return {"title": "This desk has no cases yet", "way": way, "poll": True}
    way = "Every conflict you may rule on has its ruling, or a colleague holds it. Go on in Distil."
    if second_opinions:
        waits = render.counted(second_opinions, "case waits", "cases wait")
        way = f"{waits} for a second person's ruling. {way}"
    return {"title": "Nothing left to rule on", "way": way, "poll": False}


# ---- rulings, in and out ----


def submission(payload: Mapping[str, Any]) -> Said:
    """Check a ruling that came from a browser; raises SubmissionError with what is wrong."""
    try:
        return Said(
            submission_id=_text(payload, "submission_id", 64),
            case_id=int(payload["case_id"]),
            verdict=Answer(payload["verdict"]),
            best=payload.get("best") and _text(payload, "best", 16),
            rationale=payload.get("rationale") and _text(payload, "rationale", 4000),
            elements=tuple(Element(one) for one in payload.get("elements") or ()),
            note=_text(payload, "note", 2000) if payload.get("note") else "",
            flagged=payload.get("flagged") is True,
            seconds=_seconds(payload),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SubmissionError(
            f"This ruling cannot be read ({error}); reload the page and rule again."
        ) from error


def _text(payload: Mapping[str, Any], field: str, longest: int) -> str:
    value = payload[field]
    if not isinstance(value, str) or len(value) > longest:
        raise ValueError(f"{field} must be a text of at most {longest} characters")
    return value


def _seconds(payload: Mapping[str, Any]) -> float:
    """The time a ruling took; a browser's clock is not to be trusted beyond a day."""
    seconds = float(payload.get("seconds") or 0.0)
    return min(max(seconds, 0.0), 86_400.0) if isfinite(seconds) else 0.0


def _new_ruling(session: Session, person: Person, said: Said) -> NewRuling:
    chosen = []
    if said.best:
        order = blind_order(case_view(session, said.case_id), person.annotator_id)
        chosen = [opinion for _, token, opinion in order if token == said.best]
    return NewRuling(
        submission_id=said.submission_id,
        case_id=said.case_id,
        verdict=said.verdict,
        opinion_id=chosen[0].id if chosen else None,
        rationale=said.rationale,
        elements=said.elements,
        note=said.note,
        flagged=said.flagged,
        seconds=said.seconds,
    )


# ---- layout and wiring ----


def build_adjudicate(desk: Desk) -> None:
    """Lay out the tab: one component, whose script asks the handlers."""
    gr.HTML(
        html_template=(ASSETS / "adjudicate.html").read_text(encoding="utf-8"),
        js_on_load="\n".join((ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS),
        server_functions=server_functions(desk),
        apply_default_css=False,
        elem_id="adjudicate",
    )


def server_functions(desk: Desk) -> list[Callable[..., dict[str, Any]]]:
    """The handlers as the script calls them, by name; Gradio finds the request by its type hint."""
    board = ProgressBoard(desk)

    def look_(payload: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        return _answer(desk, request, payload, lambda person: look(desk, person, _held(payload)))

    def rule_(payload: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        def handler(person: Person) -> dict[str, Any]:
            return rule_case(desk, person, submission(payload), _held(payload))

        return _answer(desk, request, payload, handler)

    def skip_(payload: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        def handler(person: Person) -> dict[str, Any]:
            return skip_case(desk, person, int(payload["case_id"]), _held(payload))

        return _answer(desk, request, payload, handler)

    def undo_(payload: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        def handler(person: Person) -> dict[str, Any]:
            return undo_ruling(desk, person, payload.get("ruling_id"), _held(payload))

        return _answer(desk, request, payload, handler)

    def progress_(payload: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        return _answer(desk, request, payload, lambda person: counted(board, person))

    return [look_, rule_, skip_, undo_, progress_]


def _answer(
    desk: Desk, asker: Asker, payload: Mapping[str, Any], handler: Callable[[Person], dict[str, Any]]
) -> dict[str, Any]:
    """Let an annotator of the desk do something; answer what goes wrong with one sentence."""
    try:
        person = require(desk, asker, Role.ANNOTATOR)
        if payload.get("who") not in (None, "", person.name):
            raise AnotherPersonError(
                f"The page of {payload['who']!r} asked with the sign-in of {person.name!r}."
            )
        return handler(person)
    except NotAllowedError as refused:
        closed = {"title": "This desk is closed to you", "way": str(refused), "poll": False}
        return {"ok": False, "says": str(refused), "cases": [], "empty": closed}
    except SubmissionError as refused:
        return {"ok": False, "says": str(refused)}
    except (AnotherPersonError, OperationalError):
        raise  # the script takes it for no answer, keeps the ruling and tries again
    except Exception:
        logger.exception("A handler of the Adjudicate tab failed")
        return {"ok": False, "says": "The desk could not do this; its log says why. Nothing was changed."}


def _held(payload: Mapping[str, Any]) -> list[int]:
    return [int(one) for one in payload.get("held") or ()]
