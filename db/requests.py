"""Wishes for a person's ruling that do not come from the teachers: analysts' questions, students' doubts."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.base import table_of
from db.bulk import insert_missing
from db.derived import restand
from db.models import Event, Queued, Request
from db.vocabulary import QueueReason

DOUBTFUL: Final = 0.7  # a doubt of 1 is a coin; this is a probability between 0.35 and 0.65
_AT_ONCE: Final = 500


def request(
    session: Session,
    case_ids: Sequence[int],
    why: QueueReason,
    now: datetime,
    *,
    annotator_id: int | None = None,
    rulings_wanted: int = 1,
) -> None:
    """Queue cases whatever their teachers say. A case that somebody sent stays as it was asked for.

    What the student doubted and somebody then sends counts as sent. Held-out cases and cases without a
    picture are never queued. Wants a write session.
    """
    asked = {"why": why, "rulings_wanted": rulings_wanted, "annotator_id": annotator_id, "requested_at": now}
    if why == QueueReason.SENT:
        doubted = sa.delete(Request).where(Request.case_id.in_(case_ids))
        session.execute(doubted.where(Request.why == QueueReason.STUDENT_UNSURE))
    insert_missing(session, Request, [{"case_id": case_id, **asked} for case_id in case_ids])
    for start in range(0, len(case_ids), _AT_ONCE):
        restand(session, case_ids[start : start + _AT_ONCE], now)


def doubted(session: Session, probabilities: Mapping[int, float], now: datetime) -> int:
    """Take in how sure the student is of some cases: its probability, 0 to 1, that each is out of context.

    What is queued is ordered by it from now on; an agreed case it cannot tell is queued for that.
    Returns how many were. Wants a write session.
    """
    doubts = {case_id: 1 - abs(2 * probability - 1) for case_id, probability in probabilities.items()}
    unsure = sorted(case_id for case_id, doubt in doubts.items() if doubt >= DOUBTFUL)
    before = _queued(session)
    request(session, unsure, QueueReason.STUDENT_UNSURE, now)
    session.execute(_set_doubt(), [{"doubted": case_id, "new": doubt} for case_id, doubt in doubts.items()])
    for start in range(0, len(doubts), _AT_ONCE):
        restand(session, sorted(doubts)[start : start + _AT_ONCE], now)
    session.add(Event(at=now, action="doubt", detail={"cases": len(doubts), "unsure": len(unsure)}))
    session.flush()
    return _queued(session) - before


def _queued(session: Session) -> int:
    return session.scalar(sa.select(sa.func.count()).select_from(Queued)) or 0


@cache
def _set_doubt() -> sa.Update:
    queue = table_of(Queued)
    here = queue.c.case_id == sa.bindparam("doubted")
    return sa.update(queue).where(here).values(doubt=sa.bindparam("new"))
