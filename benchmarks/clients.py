"""People at a tool, as processes: each signs in, then rules and fetches the next item, over and over.

The same driver times every tool, so that what differs is what the tool's own page sends: a `Seat`
says who sits at which tool, and what `sit` returns is called once per loop.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain
from multiprocessing import get_context
from typing import Final, Protocol

import httpx

from benchmarks.report import percentile

SECONDS_TO_SIT: Final = 300  # all of them together; the slowest tool takes seconds for each
SECONDS_TO_ANSWER: Final = 120
Loop = Callable[[], str]


class LoopFailedError(Exception):
    """Raised where an answer was not saved, or the next item did not come.

    `saved` is the item whose answer was, where only what follows it failed.
    """

    def __init__(self, reason: str, saved: str | None = None) -> None:
        super().__init__(reason)
        self.saved = saved


class NothingLeftError(Exception):
    """Raised where there is no item to answer."""


class Seat(Protocol):
    """Someone who can sit down at a tool; it is sent to another process."""

    @property
    def number(self) -> int:
        """Which of the people it is."""

    def sit(self) -> Loop:
        """Sign in and fetch an item; the loop answers it, fetches the next, returns what it answered."""


@dataclass(frozen=True, slots=True)
class Account:
    """What one person did."""

    number: int
    seconds: tuple[float, ...]  # of each loop that worked
    items: tuple[str, ...]  # answered, and the tool said so
    failed: int
    reasons: tuple[str, ...]  # of the first few failures
    wall: float  # seconds from the first loop to the end of the last


@dataclass(frozen=True, slots=True)
class Together:
    """What several people did at the same time."""

    accounts: tuple[Account, ...]

    @property
    def saved(self) -> int:
        """How many answers were saved."""
        return sum(len(account.items) for account in self.accounts)

    @property
    def per_second(self) -> float:
        """Loops that worked, per second."""
        return self._worked / max(account.wall for account in self.accounts)

    @property
    def failed(self) -> float:
        """The share of all loops that failed, in percent."""
        failures = sum(account.failed for account in self.accounts)
        return 100 * failures / max(1, failures + self._worked)

    @property
    def shared_items(self) -> int:
        """How many items were answered by more than one of them."""
        people = Counter(item for account in self.accounts for item in set(account.items))
        return sum(1 for count in people.values() if count > 1)

    @property
    def _worked(self) -> int:
        return sum(len(account.seconds) for account in self.accounts)

    def milliseconds(self, share: float) -> float | None:
        """The time of a loop that `share` of the loops do not exceed."""
        seconds = percentile((one for account in self.accounts for one in account.seconds), share)
        return None if seconds is None else seconds * 1000


def added_up(rounds: Sequence[Together]) -> Together:
    """Join what the same people did in several rounds; their seconds of work add up."""
    joined = []
    for accounts in zip(*(one.accounts for one in rounds), strict=True):
        parts = [(account.seconds, account.items, account.reasons) for account in accounts]
        seconds, items, reasons = (tuple(chain.from_iterable(part)) for part in zip(*parts, strict=True))
        failed = sum(account.failed for account in accounts)
        wall = sum(account.wall for account in accounts)
        joined.append(Account(accounts[0].number, seconds, items, failed, reasons, wall))
    return Together(tuple(joined))


def work(seats: Sequence[Seat], *, seconds: float, loops: int | None = None) -> Together:
    """Let everyone work at the same time, for so many seconds or loops each."""
    context = get_context("spawn")
    with ProcessPoolExecutor(len(seats), mp_context=context) as pool, context.Manager() as manager:
        ready = manager.Barrier(len(seats), timeout=SECONDS_TO_SIT)
        begun = [pool.submit(_work_alone, seat, ready, seconds, loops) for seat in seats]
        return Together(tuple(one.result() for one in begun))


def looping(fetch: Callable[[], str], answer: Callable[[str], None]) -> Loop:
    """Make a loop of its two halves; whose next item does not come asks for it again."""
    at_hand: str | None = None

    def loop() -> str:
        nonlocal at_hand
        item = fetch() if at_hand is None else at_hand
        at_hand = None
        answer(item)
        try:
            at_hand = fetch()
        except NothingLeftError:
            return item  # and the next loop says so
        except (LoopFailedError, httpx.HTTPError) as error:
            raise LoopFailedError(str(error), saved=item) from error
        return item

    try:
        at_hand = fetch()
    except (LoopFailedError, NothingLeftError):
        at_hand = None
    return loop


def checked(what: str, answer: httpx.Response, status: int = 200) -> httpx.Response:
    """Return the answer; raises LoopFailedError for any other status than the one that means success."""
    if answer.status_code != status:
        raise LoopFailedError(f"{what}: {answer.status_code} {answer.text[:100]}")
    return answer


def browser(url: str) -> httpx.Client:
    """Return what stands for a person's browser: cookies, and a connection that stays open."""
    return httpx.Client(base_url=url, timeout=SECONDS_TO_ANSWER, follow_redirects=True)


class _Barrier(Protocol):
    def wait(self) -> int:
        """Wait until all have come."""


def _work_alone(seat: Seat, ready: _Barrier, most: float, loops: int | None) -> Account:
    try:
        loop = seat.sit()
    except (LoopFailedError, httpx.HTTPError) as error:
        ready.wait()
        return Account(seat.number, (), (), 1, (_reason(error),), most)
    ready.wait()
    seconds: list[float] = []
    items: list[str] = []
    reasons: list[str] = []
    failed = 0
    began = now = time.perf_counter()
    while now - began < most and (loops is None or len(items) < loops):
        try:
            item = loop()
        except NothingLeftError:
            break
        except (LoopFailedError, httpx.HTTPError) as error:
            failed += 1
            if isinstance(error, LoopFailedError) and error.saved is not None:
                items.append(error.saved)
            reasons.append(_reason(error))
            now = time.perf_counter()
            continue
        items.append(item)
        seconds.append(time.perf_counter() - now)
        now = time.perf_counter()
    wall = time.perf_counter() - began
    return Account(seat.number, tuple(seconds), tuple(items), failed, tuple(reasons[:3]), wall)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]
