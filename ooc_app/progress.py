"""Count how far the desk is: conflicts left, rulings today and their pace, share of the budget used.

Counting the queue reads all of it, and comparing people all their rulings, so these are kept for
`REST` times as long as they took: on a small desk they are fresh, and on one of a million cases
counting never takes more than a twentieth of one core.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from db import own_work
from db.kinds import all_kinds
from db.queue import waiting_for
from db.vocabulary import Split
from ooc_app.desk import Desk

Figure = TypeVar("Figure")

REST = 20


@dataclass(frozen=True)
class Progress:
    """How far the desk is, and what one person did of it."""

    left: int  # cases that want this person, or a colleague just as well
    today: own_work.Today  # what this person ruled since midnight UTC and did not withdraw
    shared: own_work.Shared  # how often this person and colleagues agree
    rulings: int  # current rulings, everybody's
    training_cases: int  # cases of the train split that have their picture
    budget: float  # share of training cases that may be ruled on, 0 to 1

    @property
    def share(self) -> float:
        """Rulings spent, as a share of training cases."""
        return self.rulings / self.training_cases if self.training_cases else 0.0

    def figures(self) -> dict[str, Any]:
        """The figures as the page gets them."""
        return {
            "left": self.left,
            "today": self.today.rulings,
            "an_hour": self.today.an_hour,
            "rulings": self.rulings,
            "training_cases": self.training_cases,
            "share": self.share,
            "budget": self.budget,
            "shared": self.shared.cases,
            "agreed": self.shared.agreed,
        }


@dataclass
class ProgressBoard:
    """The counts of one desk, each taken anew when its rest is over."""

    desk: Desk
    _kept: dict[str, tuple[float, Any]] = field(default_factory=dict)

    def progress(self, annotator_id: int, now: datetime) -> Progress:
        """Count, or remember."""
        with self.desk.sessions() as session:
            kinds = [(traits, cases) for _, traits, cases in all_kinds(session)]
            usable = (cases for traits, cases in kinds if traits.split == Split.TRAIN and traits.has_image)
            return Progress(
                left=self._rested(f"left {annotator_id}", lambda: waiting_for(session, annotator_id)),
                today=own_work.today(session, annotator_id, now),
                shared=self._rested(f"shared {annotator_id}", lambda: own_work.shared(session, annotator_id)),
                rulings=sum(cases * traits.rulings for traits, cases in kinds),
                training_cases=sum(usable),
                budget=self.desk.settings.budget,
            )

    def _rested(self, name: str, take: Callable[[], Figure]) -> Figure:
        started = time.monotonic()
        if name in self._kept:
            until, kept = self._kept[name]
            if started < until:
                figure: Figure = kept
                return figure
        figure = take()
        ended = time.monotonic()
        self._kept[name] = (ended + REST * (ended - started), figure)
        return figure
