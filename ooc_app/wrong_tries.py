"""Slow down whoever tries passwords: each wrong one for a name makes the next try wait longer.

A try that comes too early is refused unlooked at, so guessing in parallel gains nothing: a try counts
as wrong from its start, and is forgotten once it was right. The wait never grows beyond a minute,
because a name that anybody could lock for good would be a way to lock a colleague out. Kept in
memory: whoever can restart the desk needs no password.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Final

FREE_TRIES: Final = 10  # before the first wait
LONGEST_WAIT: Final = 60.0  # seconds
FORGOTTEN: Final = 3600.0  # seconds after the last try
NAMES_MAX: Final = 10_000  # names made up on the fly must not fill the memory


class WrongTries:
    """How often each name was tried in vain; safe to use from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._tries: OrderedDict[str, tuple[int, float]] = OrderedDict()  # count, and time of the last

    def begin(self, name: str) -> float:
        """Count a try. Returns 0 where it may go on, else the seconds to wait before there is another."""
        with self._lock:
            count, last = self._tries.get(name, (0, 0.0))
            since = self._clock() - last
            if since > FORGOTTEN:
                count = 0
            left = wait_after(count) - since
            if left > 0:
                return left
            self._tries[name] = (count + 1, self._clock())
            self._tries.move_to_end(name)
            if len(self._tries) > NAMES_MAX:
                self._tries.popitem(last=False)
            return 0.0

    def forget(self, name: str) -> None:
        """Take back the tries for a name: the password was right."""
        with self._lock:
            self._tries.pop(name, None)


def wait_after(wrong: int) -> float:
    """Seconds from one try to the next after so many wrong ones: none at first, then 1, 2, 4 ... 60."""
    return 0.0 if wrong < FREE_TRIES else min(LONGEST_WAIT, 2.0 ** min(wrong - FREE_TRIES, 10))
