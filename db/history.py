"""The history of a case: everything that ever happened to it, by whom, when, oldest first."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.models import Annotator, Audit, Case, Event, Opinion, Request, Ruling, Teacher
from db.views import UnknownCaseError


@dataclass(frozen=True)
class Happening:
    """One thing that happened to a case."""

    at: datetime
    what: str  # added, opinion, drawn_for_audit, requested, or an event's action: rule, correct, settle ...
    who: str | None  # an annotator's or a teacher's name; None for the desk itself
    detail: dict[str, Any]


def history(session: Session, case_id: int) -> list[Happening]:
    """Return what happened to a case. Raises UnknownCaseError where there is none."""
    case = session.execute(sa.select(Case.dataset, Case.created_at).where(Case.id == case_id)).first()
    if case is None:
        raise UnknownCaseError(f"There is no case {case_id} on this desk; it may belong to another one.")
    added = Happening(case.created_at, "added", None, {"dataset": case.dataset})
    happened = [
        added,
        *_opinions(session, case_id),
        *_asked_for(session, case_id),
        *_events(session, case_id),
    ]
    return sorted(happened, key=lambda one: one.at)  # stable: what happened at one time stays in this order


def _opinions(session: Session, case_id: int) -> list[Happening]:
    """Every version of every opinion."""
    former = sa.select(Opinion).where(Opinion.case_id == case_id, ~Opinion.current)
    current = sa.select(Opinion).where(Opinion.case_id == case_id, Opinion.current)
    opinions = [*session.scalars(former), *session.scalars(current)]
    names = {id_: name for id_, name in session.execute(sa.select(Teacher.id, Teacher.name))}
    return [
        Happening(
            one.created_at,
            "opinion",
            names[one.teacher_id],
            {
                "verdict": one.verdict,
                "confidence": one.confidence,
                "rationale": one.rationale,
                "prompt_version": one.prompt_version,
                "current": one.current,
            },
        )
        for one in sorted(opinions, key=lambda one: one.id)
    ]


def _asked_for(session: Session, case_id: int) -> list[Happening]:
    found = []
    audit = session.get(Audit, case_id)
    if audit is not None:
        label = {"pseudo_label": audit.pseudo_label}
        found.append(Happening(audit.drawn_at, "drawn_for_audit", None, label))
    request = session.get(Request, case_id)
    if request is not None:
        who = session.get(Annotator, request.annotator_id) if request.annotator_id else None
        why = {"why": request.why}
        found.append(Happening(request.requested_at, "requested", who.name if who else None, why))
    return found


def _events(session: Session, case_id: int) -> list[Happening]:
    """What people did, each ruling with all it says."""
    rulings = {
        ruling.id: {
            "verdict": ruling.verdict,
            "opinion_id": ruling.opinion_id,
            "rationale": ruling.rationale,
            "elements": list(ruling.elements),
            "note": ruling.note,
            "flagged": ruling.flagged,
            "seconds": ruling.seconds,
            "rushed": ruling.rushed,
            "supersedes": ruling.supersedes_id,
            **({"cause": ruling.cause} if ruling.cause else {}),
        }
        for ruling in session.scalars(sa.select(Ruling).where(Ruling.case_id == case_id))
    }
    events = (
        sa.select(Event, Annotator.name)
        .outerjoin(Annotator, Annotator.id == Event.annotator_id)
        .where(Event.case_id == case_id)
        .order_by(Event.id)
    )
    return [
        Happening(
            event.at, event.action, name, {**event.detail, **rulings.get(event.detail.get("ruling", 0), {})}
        )
        for event, name in session.execute(events)
    ]
