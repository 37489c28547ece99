"""Send split rulings back to the people who made them, to look again before anybody settles.

A return is answered by whatever supersedes the ruling: a correction, with the same verdict too, or an
undo. Until all are answered nobody is asked to settle the case (`queue.wish`), but an adjudicator who
rules on it all the same settles it, and then nobody is asked to look again. Nor does a case wait for
somebody who was closed since.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cache

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.base import UtcDateTime, table_of
from db.derived import restand
from db.models import Annotator, Event, Return, Ruling, is_current
from db.queue import release
from db.rulings import case_asked_for
from db.views import UnknownCaseError
from db.vocabulary import SETTLING_ROLES, HumanAnswer


class MayNotSettleError(Exception):
    """Raised when somebody who is neither adjudicator nor editor sends rulings back."""


class NotSplitError(Exception):
    """Raised when people are not split on a case, or none of their rulings is left to send back."""


@dataclass(frozen=True)
class Returned:
    """An annotator's ruling to look at again; who sent it back is not said."""

    ruling_id: int
    case_id: int
    note: str
    sent_at: datetime


def send_back(session: Session, annotator_id: int, case_id: int, note: str, now: datetime) -> list[int]:
    """Ask everybody else who ruled on a split case to look again; return the ids of their rulings.

    Not asked are those who were asked already and have not answered, those who were closed, and the
    demo's script. Raises UnknownCaseError, MayNotSettleError or NotSplitError, and then nothing is
    changed. Wants a write session.
    """
    case = session.execute(case_asked_for(), {"case_id": case_id, "annotator_id": annotator_id}).first()
    if case is None:
        raise UnknownCaseError(f"There is no case {case_id} on this desk; load the next one.")
    if case.role not in SETTLING_ROLES:
        raise MayNotSettleError(
            f"Rulings on case {case_id} are sent back by adjudicators and editors; ask one of them to."
        )
    if case.human != HumanAnswer.SPLIT:
        raise NotSplitError(f"People are not split on case {case_id} (any more); load the next one.")
    found = session.execute(_left(), {"case_id": case_id, "sender": annotator_id}).all()
    if not found:
        raise NotSplitError(
            f"No ruling on case {case_id} is left to send back; wait for the answers, or settle the case."
        )
    rulings = [row.id for row in found]
    sent = {"case_id": case_id, "annotator_id": annotator_id, "note": note, "created_at": now}
    rows = [{"ruling_id": row.id, "ruled_by": row.annotator_id, **sent} for row in found]
    session.execute(sa.insert(table_of(Return)), rows)
    told = {"rulings": rulings, "note": note}
    session.add(Event(at=now, annotator_id=annotator_id, action="send_back", case_id=case_id, detail=told))
    session.flush()
    release(session, annotator_id, [case_id])
    restand(session, [case_id], now)
    return rulings


def returned(session: Session, annotator_id: int) -> list[Returned]:
    """Return the annotator's rulings that were sent back and not answered, the oldest return first."""
    rows = session.execute(_returned(), {"annotator_id": annotator_id})
    return [Returned(*row) for row in rows]


def restand_returned(session: Session, annotator_id: int, now: datetime) -> None:
    """Wait no longer for somebody who was just closed, or wait again for them. Wants a write session."""
    case_ids = {one.case_id for one in returned(session, annotator_id)}
    if case_ids:
        restand(session, sorted(case_ids), now)


@cache
def _left() -> sa.Select[int, int]:
    """Select the current rulings on `case_id` that `sender` may send back."""
    rulings, people, returns = table_of(Ruling), table_of(Annotator), table_of(Return)
    sent = sa.select(returns.c.id).where(returns.c.ruling_id == rulings.c.id)
    return (
        sa.select(rulings.c.id, rulings.c.annotator_id)
        .join_from(rulings, people, people.c.id == rulings.c.annotator_id)
        .where(
            rulings.c.case_id == sa.bindparam("case_id", type_=sa.Integer),
            rulings.c.annotator_id != sa.bindparam("sender", type_=sa.Integer),
            is_current(),
            people.c.active,
            ~people.c.scripted,
            ~sent.exists(),
        )
        .order_by(rulings.c.id)
    )


@cache
def _returned() -> sa.Select[int, int, str, datetime]:
    """Select the open returns of `annotator_id`, without cases that an adjudicator settled meanwhile."""
    rulings, returns = table_of(Ruling), table_of(Return).c
    later = rulings.alias()
    answered = sa.select(later.c.id).where(later.c.supersedes_id == returns.ruling_id)
    settled = sa.select(rulings.c.id).where(
        rulings.c.case_id == returns.case_id, rulings.c.settles, is_current()
    )
    sent_at = sa.type_coerce(returns.created_at, UtcDateTime())
    return (
        sa.select(returns.ruling_id, returns.case_id, returns.note, sent_at)
        .where(
            returns.ruled_by == sa.bindparam("annotator_id", type_=sa.Integer),
            ~answered.exists(),
            ~settled.exists(),
        )
        .order_by(returns.id)
    )
