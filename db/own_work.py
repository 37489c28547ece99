"""What one annotator has done: rulings today and how long they took, and agreement with colleagues."""

from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from db.models import Ruling, is_current
from db.queue import midnight


class Today(NamedTuple):
    """Current rulings since midnight UTC."""

    rulings: int
    seconds: float  # that their cases were on screen

    @property
    def an_hour(self) -> float | None:
        """How many rulings an hour that is; None where nothing can be said yet."""
        return 3600 * self.rulings / self.seconds if self.rulings and self.seconds else None


class Shared(NamedTuple):
    """Cases that a colleague ruled on as well, once for each such colleague; settling ones left out."""

    cases: int
    agreed: int


def today(session: Session, annotator_id: int, now: datetime) -> Today:
    """Count what the annotator ruled today and did not withdraw."""
    mine = sa.and_(Ruling.annotator_id == annotator_id, Ruling.created_at >= midnight(now))
    counted = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(Ruling.seconds), 0.0))
    return Today(*session.execute(counted.where(mine, is_current())).one())


def shared(session: Session, annotator_id: int) -> Shared:
    """Compare the annotator's rulings with colleagues'; it reads all of them, so not for every ruling."""
    colleague, later = aliased(Ruling), aliased(Ruling)
    superseded = sa.select(later.id).where(later.supersedes_id == colleague.id).exists()
    agreed = sa.func.sum(sa.case((colleague.verdict == Ruling.verdict, 1), else_=0))
    counted = (
        sa.select(sa.func.count(), sa.func.coalesce(agreed, 0))
        .select_from(Ruling)
        .join(colleague, sa.and_(colleague.case_id == Ruling.case_id, colleague.annotator_id != annotator_id))
        .where(Ruling.annotator_id == annotator_id, is_current(), ~Ruling.settles)
        .where(colleague.verdict.is_not(None), ~colleague.settles, ~superseded)
    )
    return Shared(*session.execute(counted).one())
