"""Count how far the desk is: conflicts left, rulings today, share of the budget used.

Counting reads whole tables, so a count is kept for `REST` times as long as it took: on a small
desk every figure is fresh, and on one of a million cases counting never takes more than a
twentieth of one core.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.models import Case, Ruling, is_current
from db.queue import queued
from db.rulings import rulings_today
from db.vocabulary import Split
from ooc_app.desk import Desk
from ooc_app.render import count, percent

REST = 20


@dataclass(frozen=True)
class Progress:
    """How far the desk is, and what one person did of it."""

    left: int  # cases that want a person
    today: int  # rulings this person made since midnight UTC and did not withdraw
    rulings: int  # current rulings, everybody's
    training_cases: int  # cases of the train split that have their picture
    budget: float  # share of training cases that may be ruled on, 0 to 1

    @property
    def share(self) -> float:
        """Rulings spent, as a share of training cases."""
        return self.rulings / self.training_cases if self.training_cases else 0.0

    def words(self) -> dict[str, str]:
        """The figures as the page shows them."""
        return {
            "left": count(self.left),
            "today": count(self.today),
            "budget": percent(self.share),
            "budget_words": f"{count(self.rulings)} rulings for {count(self.training_cases)} training cases; "
            f"the budget is {percent(self.budget)}",
        }


@dataclass
class ProgressBoard:
    """The counts of one desk, each taken anew when its rest is over."""

    desk: Desk
    _kept: dict[str, tuple[float, int]] = field(default_factory=dict)

    def progress(self, annotator_id: int, now: datetime) -> Progress:
        """Count, or remember."""
        with self.desk.sessions() as session:
            return Progress(
                left=self._count("left", lambda: queued(session)),
                today=rulings_today(session, annotator_id, now),
                rulings=self._count("rulings", lambda: current_rulings(session)),
                training_cases=self._count("training_cases", lambda: training_cases(session)),
                budget=self.desk.settings.budget,
            )

    def _count(self, name: str, take: Callable[[], int]) -> int:
        started = time.monotonic()
        until, number = self._kept.get(name, (0.0, 0))
        if started < until:
            return number
        number = take()
        ended = time.monotonic()
        self._kept[name] = (ended + REST * (ended - started), number)
        return number


def current_rulings(session: Session) -> int:
    """Count the rulings that hold."""
    return session.scalar(sa.select(sa.func.count()).select_from(Ruling).where(is_current())) or 0


def training_cases(session: Session) -> int:
    """Count the cases that training could use."""
    usable = sa.select(sa.func.count()).where(Case.split == Split.TRAIN, Case.image_sha256.is_not(None))
    return session.scalar(usable) or 0
