"""How fast and for how much a teacher is asked: the pace of all workers, what is spent and on its way."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from training.teachers import Reply, TeacherConfig, Turn

IMAGE_TOKENS = 1_500  # guessed for a picture of 1,024 px until one has been answered
BYTES_PER_TOKEN = 3  # guessed low, so that a text is not taken for cheaper than it is


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a question is put again, and how long before.

    The wait is drawn between 0 and a bound that doubles from `first` to `longest` seconds (full jitter), so
    that workers turned away together do not come back together. An answer "not before" is no failed try:
    there may be `waits` of those. A server that wants rest for more than `rest_max` seconds ends the run.
    """

    tries: int = 6
    waits: int = 30
    first: float = 1.0
    longest: float = 60.0
    rest_max: float = 900.0


PATIENT = Patience()


@dataclass(frozen=True, slots=True)
class Spend:
    """Tokens that a question takes, and its answer."""

    tokens_in: int = 0
    tokens_out: int = 0

    def __add__(self, other: "Spend") -> "Spend":
        return Spend(self.tokens_in + other.tokens_in, self.tokens_out + other.tokens_out)

    def __sub__(self, other: "Spend") -> "Spend":
        return Spend(self.tokens_in - other.tokens_in, self.tokens_out - other.tokens_out)


class Room(StrEnum):
    """Whether a question still fits into the budget: yes, perhaps when others are back, or no."""

    FITS = "fits"
    WAIT = "wait"
    MONEY_SPENT = "money"
    TOKENS_SPENT = "tokens"


class Budget:
    """Keeps what is spent and what is on its way under the limits; None is no limit.

    A question is counted at the most it can take before it goes out, and at what it took when it is back.
    With a limit, the first goes out alone: from then on, what a picture takes is known and not guessed.
    """

    def __init__(self, config: TeacherConfig, money: float | None, tokens: int | None) -> None:
        self._config = config
        self._money = money
        self._tokens = tokens
        self._spent = Spend()
        self._reserved = Spend()
        self._out = 0
        self._most_in = 0  # the dearest question that was answered

    @property
    def money(self) -> float:
        """What is spent, in USD, lost questions that may be charged for included."""
        return self._config.cost(self._spent.tokens_in, self._spent.tokens_out)

    def most(self, turns: Sequence[Turn], *, shown: bool) -> Spend:
        """Return the most that a question with these turns is expected to take."""
        text = sum(len(turn.text.encode(errors="replace")) for turn in turns) // BYTES_PER_TOKEN
        guessed = text if self._most_in or not shown else text + IMAGE_TOKENS
        return Spend(max(self._most_in, guessed), self._config.max_tokens)

    def reserve(self, most: Spend) -> Room:
        """Count a question as on its way where it fits."""
        limited = self._money is not None or self._tokens is not None
        if limited and self._out and not self._most_in:
            return Room.WAIT
        room = self._room(self._spent + self._reserved + most)
        if room is Room.FITS:
            self._reserved += most
            self._out += 1
            return room
        return Room.WAIT if self._out else room

    def settle(self, most: Spend, took: Spend, *, answered: bool = False) -> None:
        """Count a question that was reserved as back, by what it took."""
        self._reserved -= most
        self._out -= 1
        self._spent += took
        if answered:
            self._most_in = max(self._most_in, took.tokens_in)

    def _room(self, total: Spend) -> Room:
        if self._money is not None and self._config.cost(total.tokens_in, total.tokens_out) > self._money:
            return Room.MONEY_SPENT
        if self._tokens is not None and total.tokens_in + total.tokens_out > self._tokens:
            return Room.TOKENS_SPENT
        return Room.FITS


def took(reply: Reply, most: Spend) -> Spend:
    """Return what a reply took; guessed where the server did not count."""
    written = len(reply.text.encode(errors="replace")) // BYTES_PER_TOKEN + 1
    return Spend(
        most.tokens_in if reply.tokens_in is None else reply.tokens_in,
        written if reply.tokens_out is None else reply.tokens_out,
    )


class Pace:
    """When the next question may go out: so many a minute at most, and none while a server wants rest."""

    def __init__(self, per_minute: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._gap = 60 / per_minute if per_minute else 0.0
        self._clock = clock
        self._next = self._rest_until = float("-inf")

    def slot(self) -> float:
        """Take the next free time to ask, by the clock; nobody else gets it."""
        at = max(self._clock(), self._next, self._rest_until)
        self._next = at + self._gap
        return at

    def hold(self, seconds: float) -> None:
        """Keep everybody from asking for so long from now on, or longer where that was asked for before."""
        self._rest_until = max(self._rest_until, self._clock() + seconds)

    @property
    def resting(self) -> bool:
        """Whether somebody asked for rest that is not over; a slot taken before does not count then."""
        return self._clock() < self._rest_until
