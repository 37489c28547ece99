"""The Adjudicate tab: conflicts come one after another, and each gets its ruling.

The loop itself is `assets/adjudicate.js`; this module holds the handlers it asks, which are plain
functions of the desk, the person and the numbers given. Every answer of a handler lists the cases
the person now holds (the one to show and the ones to preload), so one request both rules and
fetches; what the page has already, cases and former rulings, is not sent again. Teachers stay blind
until the ruling is made, and so do the people whose split rulings an adjudicator settles (`blind.py`).
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import gradio as gr
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from db import returns
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
from db.views import (
    CaseView,
    GivenAnswer,
    UnknownCaseError,
    answers_on,
    case_view,
    case_views,
    opinion_ids,
    rulings_on,
)
from db.vocabulary import SETTLING_ROLES, UNDOABLE_RULINGS, QueueReason, Role
from ooc_app import demo, guidelines
from ooc_app.auth import Asker, NotAllowedError, Person, now, require
from ooc_app.blind import drawn_order, given_answer, revealed, shown_case, split_rulings
from ooc_app.desk import Desk
from ooc_app.language import sentence, speaking
from ooc_app.progress import ProgressBoard
from ooc_app.submissions import NOTE_MAX, Said, SubmissionError, held, number, submission, text
from ooc_app.theme import ASSETS

logger = logging.getLogger(__name__)

HELD: Final = 2  # cases kept for one annotator: on screen, and preloaded
SCRIPTS: Final = (
    "adjudicate_picture.js",
    "adjudicate_show.js",
    "adjudicate_side.js",
    "adjudicate.js",
)
REFUSALS: Final[dict[type[Exception], str]] = {
    AlreadyRuledError: "already_ruled",
    HeldOutCaseError: "held_out",
    NothingToUndoError: "too_old",
    ReusedSubmissionError: "reused",
    UnknownCaseError: "unknown_case",
    UnknownOpinionError: "unknown_opinion",
    returns.NotSplitError: "not_split",
    returns.MayNotSettleError: "may_not_settle",
}
REFUSED: Final = tuple(REFUSALS)

Answered = dict[str, Any]


class AnotherPersonError(Exception):
    """Raised where a page that one person opened asks with the sign-in of another, in the same browser.

    A ruling that the first has not yet got through must not become the second's.
    """


# ---- handlers ----


def look(desk: Desk, person: Person, held: Sequence[int] = ()) -> Answered:
    """Open the desk for a person: the cases held for them, and what they ruled last."""
    with write_session(desk.sessions) as session:
        mine = claim(session, person.annotator_id, now(), count=HELD)
    return {"ok": True, **_next(desk, mine, held, person), "recent": _recent(desk, person)}


def rule_case(desk: Desk, person: Person, said: Said, held: Sequence[int] = ()) -> Answered:
    """Write a ruling and fetch what follows; the ruling is on disk when this returns.

    The same submission sent again finds its ruling and answers alike. A ruling the desk refuses
    (the case is ruled on already, or gone) is answered with the reason, and the next case.
    """
    held = [one for one in held if one != said.case_id]
    version = guidelines.version_in_force(desk.data_dir)
    try:
        with write_session(desk.sessions) as session:
            new = _new_ruling(session, person, said, version)
            ruling = rule(session, person.annotator_id, new, now())
            mine = claim(session, person.annotator_id, now(), count=HELD)
    except REFUSED as refused:
        return {**look(desk, person, held), "ok": False, "says": _why(refused)}
    says = sentence(_how(ruling, said), ruling=ruling.id, corrects=said.corrects)
    return {"ok": True, "ruling_id": ruling.id, "says": says, **_next(desk, mine, held, person, ruling)}


def skip_case(desk: Desk, person: Person, case_id: int, held: Sequence[int] = ()) -> Answered:
    """Let a case go, to a colleague or to another day."""
    held = [one for one in held if one != case_id]
    try:
        with write_session(desk.sessions) as session:
            skip(session, person.annotator_id, case_id, now())
            mine = claim(session, person.annotator_id, now(), count=HELD)
    except REFUSED as refused:
        return {**look(desk, person, held), "ok": False, "says": _why(refused)}
    return {"ok": True, "says": sentence("skipped"), **_next(desk, mine, held, person)}


def undo_ruling(desk: Desk, person: Person, ruling_id: int | None, held: Sequence[int] = ()) -> Answered:
    """Withdraw a ruling and bring its case back, with what was said of it, as the next to rule on."""
    if ruling_id is None:
        return {"ok": False, "says": sentence("nothing_to_undo")}
    try:
        with write_session(desk.sessions) as session:
            case_id = undo(session, person.annotator_id, ruling_id, now=now()).case_id
            mine = claim(session, person.annotator_id, now(), count=HELD)
            withdrawn = session.get_one(Ruling, ruling_id)
    except REFUSED as refused:
        return {"ok": False, "says": _why(refused)}
    following = _next(desk, mine, [one for one in held if one != case_id], person)
    for shown in following["cases"]:
        if shown["id"] == case_id:
            shown["answer"] = given_answer(shown["cards"], person.annotator_id, withdrawn)
    says = sentence("withdrawn", ruling=withdrawn.id, verdict=withdrawn.verdict)
    return {"ok": True, "says": says, **following, "recent": _recent(desk, person)}


def reopen_ruling(desk: Desk, person: Person, ruling_id: int) -> Answered:
    """Show the case of one of the person's last rulings, or of one sent back, with what they said of it."""
    with desk.sessions() as session:
        sent_back = {one.ruling_id for one in returns.returned(session, person.annotator_id)}
        mine = {ruling.id: ruling for ruling in recent(session, person.annotator_id)}
        if ruling_id in sent_back and ruling_id not in mine:
            mine[ruling_id] = session.get_one(Ruling, ruling_id)
        if ruling_id not in mine:
            return {"ok": False, "says": sentence("too_old")}
        [shown] = _shown(session, [case_view(session, mine[ruling_id].case_id)], person)
    shown["answer"] = given_answer(shown["cards"], person.annotator_id, mine[ruling_id])
    says = sentence("correcting", ruling=ruling_id, verdict=mine[ruling_id].verdict)
    return {"ok": True, "says": says, "case": shown}


def send_back(desk: Desk, person: Person, case_id: int, note: str, held: Sequence[int] = ()) -> Answered:
    """Ask the people who are split on a case to look again."""
    held = [one for one in held if one != case_id]
    try:
        with write_session(desk.sessions) as session:
            sent = returns.send_back(session, person.annotator_id, case_id, note.strip(), now())
            mine = claim(session, person.annotator_id, now(), count=HELD)
    except REFUSED as refused:
        return {**look(desk, person, held), "ok": False, "says": _why(refused)}
    return {"ok": True, "says": sentence("sent_back", count=len(sent)), **_next(desk, mine, held, person)}


def counted(board: ProgressBoard, person: Person) -> Answered:
    """How far the desk is, for the head of the page."""
    return {"ok": True, **board.progress(person.annotator_id, now()).figures(), "annotator": person.name}


def _next(
    desk: Desk, mine: Sequence[int], held: Sequence[int], person: Person, ruling: Ruling | None = None
) -> Answered:
    """What the page shows next: the cases held, whole only where it lacks them, and the ruling just made."""
    lacking = [one for one in mine if one not in held]
    ruled_on = [ruling.case_id] if ruling else []
    with desk.sessions() as session:
        views = {case.id: case for case in case_views(session, [*lacking, *ruled_on])}
        whole = {case["id"]: case for case in _shown(session, [views[one] for one in lacking], person)}
        following: Answered = {
            "cases": [whole.get(one, {"id": one}) for one in mine],
            "empty": None if mine else _empty(desk, session),
            "returned": [
                {"id": one.ruling_id, "note": one.note}
                for one in returns.returned(session, person.annotator_id)
            ],
        }
        if ruling:
            [following["ruled"]] = _revealed(session, person, [ruling], views)
    return following


def _shown(session: Session, cases: Sequence[CaseView], person: Person) -> list[Answered]:
    """The cases as the page gets them; whoever may settle sees what people ruled where they are split."""
    shown = [shown_case(case, person.annotator_id) for case in cases]
    if person.role in SETTLING_ROLES and cases:
        answers = answers_on(session, [case.id for case in cases])
        for case, one in zip(cases, shown, strict=True):
            given = answers.get(case.id, [])
            if _is_split(given) and person.annotator_id not in {answer.annotator_id for answer in given}:
                rulings = rulings_on(session, [case.id])[case.id]
                one["split"] = split_rulings(case, person.annotator_id, rulings)
    return shown


def _is_split(answers: Sequence[GivenAnswer]) -> bool:
    return len({one.verdict for one in answers}) > 1 and not any(one.settles for one in answers)


def _recent(desk: Desk, person: Person) -> list[Answered]:
    """The person's last rulings, newest first, with who had said what."""
    with desk.sessions() as session:
        rulings = recent(session, person.annotator_id, UNDOABLE_RULINGS)
        views = {case.id: case for case in case_views(session, [ruling.case_id for ruling in rulings])}
        return _revealed(session, person, rulings, views)


def _revealed(
    session: Session, person: Person, rulings: Sequence[Ruling], views: Mapping[int, CaseView]
) -> list[Answered]:
    everybody = answers_on(session, [ruling.case_id for ruling in rulings])
    former = [ruling.supersedes_id for ruling in rulings if ruling.supersedes_id]
    query = sa.select(Ruling.id, Ruling.verdict).where(Ruling.id.in_(former))
    answers: dict[int | None, str | None] = (
        {id_: verdict for id_, verdict in session.execute(query)} if former else {}
    )
    return [
        revealed(
            views[ruling.case_id],
            person.annotator_id,
            ruling,
            everybody.get(ruling.case_id, ()),
            answers.get(ruling.supersedes_id),
        )
        for ruling in rulings
    ]


def _empty(desk: Desk, session: Session) -> Answered:
    """Why there is no case, for the page to say so and what to do next."""
    drawing = demo.progress(desk)
    if drawing is not None:
        done, total = drawing
        return {"why": "drawing", "done": done, "total": total, "poll": True}
    if session.scalar(sa.select(Case.id).limit(1)) is None:
        return {"why": "none", "poll": True}
    left = waiting(session)
    return {
        "why": "done",
        "second": left.get(QueueReason.SECOND_OPINION, 0),
        "split": left.get(QueueReason.SPLIT_RULINGS, 0),
        "poll": False,
    }


def _how(ruling: Ruling, said: Said) -> str:
    if said.corrects:
        return "corrected"
    if ruling.settles:
        return "settled"
    return "rushed" if ruling.rushed else "saved"


def _why(refused: Exception) -> Answered:
    return sentence(next(name for error, name in REFUSALS.items() if isinstance(refused, error)))


def _new_ruling(session: Session, person: Person, said: Said, version: int) -> NewRuling:
    order = drawn_order(said.case_id, person.annotator_id, opinion_ids(session, said.case_id))
    chosen = [opinion_id for token, opinion_id in order if token == said.best] if said.best else []
    return NewRuling(
        submission_id=said.submission_id,
        case_id=said.case_id,
        verdict=said.verdict,
        opinion_id=chosen[0] if chosen else None,
        rationale=said.rationale,
        elements=said.elements,
        note=said.note,
        flagged=said.flagged,
        seconds=said.seconds,
        corrects=said.corrects,
        shown=tuple(opinion_id for _, opinion_id in order),
        guidelines=version,
        cause=said.cause,
    )


# ---- layout and wiring ----


def build_adjudicate(desk: Desk) -> None:
    """Lay out the tab: one component, whose script asks the handlers."""
    gr.HTML(
        html_template=(ASSETS / "adjudicate.html").read_text(encoding="utf-8"),
        js_on_load=speaking(*SCRIPTS),
        server_functions=server_functions(desk),
        apply_default_css=False,
        elem_id="adjudicate",
    )


def server_functions(desk: Desk) -> list[Callable[..., Answered]]:
    """The handlers as the script calls them, by name; Gradio finds the request by its type hint."""
    board = ProgressBoard(desk)
    handlers: dict[str, tuple[Role, Callable[[Person, Mapping[str, Any]], Answered]]] = {
        "look_": (Role.ANNOTATOR, lambda person, said: look(desk, person, held(said))),
        "rule_": (Role.ANNOTATOR, lambda person, said: rule_case(desk, person, submission(said), held(said))),
        "skip_": (
            Role.ANNOTATOR,
            lambda person, said: skip_case(desk, person, number(said, "case_id"), held(said)),
        ),
        "undo_": (
            Role.ANNOTATOR,
            lambda person, said: undo_ruling(desk, person, said.get("ruling_id"), held(said)),
        ),
        "reopen_": (
            Role.ANNOTATOR,
            lambda person, said: reopen_ruling(desk, person, number(said, "ruling_id")),
        ),
        "send_back_": (
            Role.ADJUDICATOR,
            lambda person, said: send_back(
                desk, person, number(said, "case_id"), text(said, "note", NOTE_MAX), held(said)
            ),
        ),
        "progress_": (Role.ANNOTATOR, lambda person, said: counted(board, person)),
        "guidelines_": (
            Role.ANNOTATOR,
            lambda person, said: guidelines.shown(desk, person, str(said.get("lang"))),
        ),
        "save_guidelines_": (Role.EDITOR, lambda person, said: guidelines.save_text(desk, said)),
    }

    def served(name: str) -> Callable[..., Answered]:
        role, handler = handlers[name]

        def function(payload: dict[str, Any], request: gr.Request) -> Answered:
            return _answer(desk, request, payload, role, handler)

        function.__name__ = name
        return function

    return [served(name) for name in handlers]


def _answer(
    desk: Desk,
    asker: Asker,
    payload: Mapping[str, Any],
    role: Role,
    handler: Callable[[Person, Mapping[str, Any]], Answered],
) -> Answered:
    """Let a person of the desk do something; answer what goes wrong with one sentence."""
    try:
        person = require(desk, asker, role)
        if payload.get("who") not in (None, "", person.name):
            raise AnotherPersonError(
                f"The page of {payload['who']!r} asked with the sign-in of {person.name!r}."
            )
        return handler(person, payload)
    except NotAllowedError as refused:
        closed = {"why": "closed", "reason": str(refused), "poll": False}
        return {"ok": False, "says": sentence("closed", reason=str(refused)), "cases": [], "empty": closed}
    except SubmissionError:
        return {"ok": False, "says": sentence("unreadable")}
    except (AnotherPersonError, OperationalError):
        raise  # the script takes it for no answer, keeps the ruling and tries again
    except Exception:
        logger.exception("A handler of the Adjudicate tab failed")
        return {"ok": False, "says": sentence("failed")}
