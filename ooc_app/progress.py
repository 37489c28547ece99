"""Count how far the desk is: conflicts left, rulings today, share of the budget used.

Counting the queue reads all of it, so that count is kept for `REST` times as long as it took: on a
small desk it is fresh, and on one of a million cases counting never takes more than a twentieth of
one core.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from db.kinds import all_kinds
from db.queue import waiting_for
from db.rulings import rulings_today
from db.vocabulary import Split
from ooc_app.desk import Desk
from ooc_app.render import count, percent

REST = 20


@dataclass(frozen=True)
class Progress:
    """How far the desk is, and what one person did of it."""

    left: int  # cases that want this person, or a colleague just as well
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
            kinds = [(traits, cases) for _, traits, cases in all_kinds(session)]
            usable = (cases for traits, cases in kinds if traits.split == Split.TRAIN and traits.has_image)
            return Progress(
                left=self._count(f"left {annotator_id}", lambda: waiting_for(session, annotator_id)),
                today=rulings_today(session, annotator_id, now),
                rulings=sum(cases * traits.rulings for traits, cases in kinds),
                training_cases=sum(usable),
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
