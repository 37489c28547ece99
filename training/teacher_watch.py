"""Watch a teacher while it is asked: what it says and takes, and whether it is worth going on.

A teacher can be degenerate: of a thousand published answers of one, 992 had the same verdict. So the last
`WINDOW` opinions are looked at, and a run pauses on a sign that its answers are no opinions. The bounds are
*ours*. Where nearly all cases do have one verdict, or are near copies, the alarm is to be overruled.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from db.vocabulary import Answer
from training.teaching import Opined, Unread

if TYPE_CHECKING:
    from training.teacher_sight import Sight

WINDOW: Final = 200  # opinions that an alarm looks back on
LEAST: Final = 50  # fewer say nothing
ONE_VERDICT: Final = 0.95
SAME_TEXT: Final = 0.3
REFUSES: Final = 0.2
UNPARSED: Final = 0.2


class SignKind(StrEnum):
    """What is wrong with a teacher's answers."""

    IGNORES_IMAGE = "ignores_image"
    ONE_VERDICT = "one_verdict"
    SAME_TEXT = "same_text"
    REFUSES = "refuses"
    UNPARSED = "unparsed"


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign that a teacher's answers are no opinions, in one sentence."""

    kind: SignKind
    said: str


@dataclass(frozen=True, slots=True)
class _Seen:
    """What an alarm needs to know of one opinion."""

    verdict: Answer
    parsed: bool
    unread: Unread | None
    text: int  # the hash of its rationale; 0 where there is none


class TeacherWatch:
    """Counts opinions as they come. Threads may read it while a run writes.

    `total` is how many cases there are to ask about, where that is known. With `go_on`, alarms are told and
    pause nothing.
    """

    def __init__(
        self, total: int | None = None, *, go_on: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.total = total
        self.go_on = go_on
        self._clock = clock
        self._began = clock()
        self._lock = threading.Lock()
        self._last: deque[_Seen] = deque(maxlen=WINDOW)
        self._signs: list[Sign] = []
        self._sight: Sight | None = None
        self._verdicts: Counter[Answer] = Counter()
        self._unread: Counter[Unread] = Counter()
        self._sums: Counter[str] = Counter()
        self._confidence = 0.0
        self._seconds = 0.0
        self._cost = 0.0

    def note(self, opined: Opined) -> None:
        """Count an opinion."""
        said = opined.opinion
        words = " ".join(said.rationale.casefold().split())
        with self._lock:
            self._verdicts[said.verdict] += 1
            if opined.unread is not None:
                self._unread[opined.unread] += 1
            if said.confidence is not None:
                self._sums["confident"] += 1
                self._confidence += said.confidence
            self._sums["tokens_in"] += opined.tokens_in or 0
            self._sums["tokens_out"] += opined.tokens_out or 0
            self._sums["tries"] += opined.tries
            self._seconds += opined.seconds
            self._cost += opined.cost
            self._last.append(_Seen(said.verdict, opined.parsed, opined.unread, hash(words) if words else 0))
            self._signs = signs(self._last, self._sight)

    def see(self, sight: "Sight") -> None:
        """Take note of what answers to noise for a picture show so far: they are no opinions."""
        with self._lock:
            self._sight = sight
            self._signs = signs(self._last, sight)

    def signs(self) -> list[Sign]:
        """Return what is wrong with the last opinions."""
        with self._lock:
            return list(self._signs)

    def alarm(self) -> Sign | None:
        """Return the first sign that is to pause the run; None where none is, or where it is to go on."""
        return None if self.go_on or not self._signs else self._signs[0]

    def figures(self) -> dict[str, Any]:
        """Return everything as JSON has it: counts, tokens, USD, seconds, opinions a second, seconds left.

        Tokens and cost are of opinions and of what stands under `sight`.
        """
        with self._lock:
            seen = self._sight
            kept = self._verdicts.total()
            passed = self._clock() - self._began
            rate = kept / passed if passed > 0 else 0.0
            left = None if self.total is None or not rate else max(0, self.total - kept) / rate
            confident = self._sums["confident"]
            return {
                "kept": kept,
                "total": self.total,
                "verdicts": {answer.value: self._verdicts[answer] for answer in Answer},
                "unread": {reason.value: self._unread[reason] for reason in Unread},
                "mean_confidence": self._confidence / confident if confident else None,
                "seconds_each": self._seconds / kept if kept else None,
                "tokens_in": self._sums["tokens_in"] + (seen.tokens_in if seen else 0),
                "tokens_out": self._sums["tokens_out"] + (seen.tokens_out if seen else 0),
                "tries": self._sums["tries"],
                "cost": self._cost + (seen.cost if seen else 0.0),
                "sight": seen.figures() if seen else None,
                "rate": rate,
                "seconds_left": left,
                "signs": [{"kind": sign.kind.value, "said": sign.said} for sign in self._signs],
            }


def signs(last: Sequence[_Seen], sight: "Sight | None" = None) -> list[Sign]:
    """Return what is wrong with the last opinions, the worst first; nothing where there are too few."""
    count = len(last)
    found = [Sign(SignKind.IGNORES_IMAGE, sight.said)] if sight is not None and sight.ignores_image else []
    if count < LEAST:
        return found
    refused = sum(seen.unread is Unread.REFUSED for seen in last)
    if refused >= REFUSES * count:
        said = (
            f"{refused} of the last {count} answers decline to answer: the model may refuse such questions."
        )
        found.append(Sign(SignKind.REFUSES, said))
    unread = sum(not seen.parsed for seen in last) - refused
    if unread >= UNPARSED * count:
        said = f"{unread} of the last {count} answers could not be read: read some, or allow more tokens."
        found.append(Sign(SignKind.UNPARSED, said))
    verdicts = Counter(seen.verdict for seen in last if seen.parsed)
    if verdicts.total() >= LEAST:
        verdict, times = verdicts.most_common(1)[0]
        if times >= ONE_VERDICT * verdicts.total():
            says = verdict.value.replace("_", " ")
            share = f"{times} of the last {verdicts.total()} opinions say {says}"
            said = f"{share}: read some to see whether that can be."
            found.append(Sign(SignKind.ONE_VERDICT, said))
    texts = Counter(seen.text for seen in last if seen.text)
    if texts and (times := texts.most_common(1)[0][1]) >= SAME_TEXT * count:
        said = f"{times} of the last {count} rationales are word for word the same."
        found.append(Sign(SignKind.SAME_TEXT, said))
    return found
