"""Ask a teacher about one case after another, many at once, and hand over each opinion as it comes.

Whatever goes wrong with one answer is worth another try, counts against one case, or ends the run with a
sentence; nothing is guessed and nothing is dropped without a count. What cannot be read is asked for once
more and then kept as it came, as `unsure`. Cases are taken from their iterator one by one as workers become
free, and opinions are not gathered, so memory does not grow with the number of cases.
"""

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from db.vocabulary import Answer
from training.teacher_budget import PATIENT, Budget, Pace, Patience, Room, Spend, took
from training.teacher_question import (
    AS_USUAL,
    REMINDER,
    ParsedOpinion,
    Wording,
    is_refusal,
    parse_opinion,
    teacher_question,
)
from training.teachers import (
    Asked,
    BusyError,
    CaseFailedError,
    Reply,
    Teacher,
    TeacherConfig,
    TeacherError,
    Turn,
)

if TYPE_CHECKING:
    from training.teacher_sight import SightTest
    from training.teacher_watch import TeacherWatch

RAW_MAX = 20_000  # characters of an answer that are kept as it came
QUOTED_MAX = 2_000  # characters of an answer that are shown to a teacher that is asked again
IN_A_ROW = 20  # cases that fail one after another before a teacher is given up
LOOK_S = 0.1  # how often a waiting worker looks whether the run is over
REFUSING = ("refusal", "content_filter")  # words with which a server says that a model declined


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a run ends at the latest; None is no limit. `money` is in USD, `seconds` are the whole run's."""

    cases: int | None = None
    money: float | None = None
    tokens: int | None = None
    seconds: float | None = None


class Unread(StrEnum):
    """Why an answer has no opinion in it."""

    REFUSED = "refused"
    EMPTY = "empty"
    TOO_LONG = "too_long"
    UNPARSED = "unparsed"


@dataclass(frozen=True, slots=True)
class Opined:
    """An opinion as it is kept; its verdict is `unsure` where nothing was `parsed`, `unread` says why.

    Tokens, seconds and cost (USD) are those of all its answers together; tokens are None where a server did
    not count, and the cost is then guessed. `tries` counts every question sent for it. `raw` is the last
    answer as it came, up to `RAW_MAX` characters.
    """

    case_id: str
    opinion: ParsedOpinion
    parsed: bool
    raw: str
    model: str
    tokens_in: int | None
    tokens_out: int | None
    seconds: float
    cost: float
    tries: int
    unread: Unread | None = None


class Why(StrEnum):
    """What ended a run."""

    ALL = "all"  # there were no more cases
    CASES = "cases"
    MONEY = "money"
    TOKENS = "tokens"
    TIME = "time"
    STOPPED = "stopped"
    ALARM = "alarm"
    TEACHER = "teacher"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: why, and in one sentence; how many cases it asked about and kept, and what failed.

    What was asked about, and neither kept nor failed, was given up when the run ended: it may be asked anew.
    """

    why: Why
    said: str
    asked: int
    kept: int
    failed: Counter[str] = field(default_factory=Counter)


ENDINGS = {
    Why.ALL: "Every case has been asked about.",
    Why.CASES: "As many cases have been asked about as were wanted.",
    Why.MONEY: "The next question might cost more than is left of the money.",
    Why.TOKENS: "The next question might take more tokens than are left.",
    Why.TIME: "The time is up.",
    Why.STOPPED: "It was stopped; what was asked by then is kept.",
}


async def teach(
    teacher: Teacher,
    config: TeacherConfig,
    cases: Iterable[Asked],
    keep: Callable[[Opined], None],
    *,
    limits: Limits,
    watch: "TeacherWatch",
    stop: threading.Event,
    wording: Wording = AS_USUAL,
    patience: Patience = PATIENT,
    sight: "SightTest | None" = None,
) -> Ended:
    """Ask about each case and `keep` what is said of it, before the worker that asked asks the next.

    `cases` is read in this thread; `keep` is called on other threads, up to `teacher.takes` at once. What
    either raises ends the run, and so does whatever the teacher raises that is not foreseen; questions on
    their way are given up then, as when the time is up. In every other end they are waited for and kept.
    What `sight` asks comes before the next case, within all limits but that of cases, and is not kept.
    """
    run = _Run(teacher, config, iter(cases), keep, limits, watch, stop, wording, patience, sight)
    workers = [asyncio.create_task(run.work()) for _ in range(teacher.takes)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return run.ended()


class _OverError(Exception):
    """The run is over, so that a question is not put any more."""


@dataclass(slots=True)
class _Tally:
    """What one case has taken so far."""

    tries: int = 0
    replies: list[Reply] = field(default_factory=list)
    spend: Spend = field(default_factory=Spend)

    def sum_of(self, counts: Sequence[int | None]) -> int | None:
        return None if None in counts else sum(count or 0 for count in counts)


@dataclass
class _Run:
    """One run of `teach`: what its workers share."""

    teacher: Teacher
    config: TeacherConfig
    cases: Iterator[Asked]
    keep: Callable[[Opined], None]
    limits: Limits
    watch: "TeacherWatch"
    stop: threading.Event
    wording: Wording
    patience: Patience
    sight: "SightTest | None"

    def __post_init__(self) -> None:
        self._budget = Budget(self.config, self.limits.money, self.limits.tokens)
        self._pace = Pace(self.config.requests_per_minute)
        seconds = self.limits.seconds
        self._until = float("inf") if seconds is None else time.monotonic() + seconds
        self._over: tuple[Why, str] | None = None
        self._taken = self._asked = self._kept = self._failed_in_a_row = 0
        self._answered = False
        self._failed: Counter[str] = Counter()

    async def work(self) -> None:
        """Take case after case, until there are none or the run is over."""
        with suppress(_OverError):
            while not self._is_over():
                if self.sight is not None and (again := self.sight.next()) is not None:
                    await self._look(self.sight, again)
                elif (asked := self._next()) is not None:
                    await self._opine(asked)
                else:
                    return

    def ended(self) -> Ended:
        """Say how the run ended; when all workers are done."""
        last = Why.CASES if self._taken == self.limits.cases else Why.ALL
        why, said = self._over or (last, ENDINGS[last])
        return Ended(why, said, self._asked, self._kept, self._failed)

    def _next(self) -> Asked | None:
        asked = None if self._taken == self.limits.cases else next(self.cases, None)
        self._taken += asked is not None
        return asked

    def _is_over(self) -> bool:
        if self._over is None:
            alarm = self.watch.alarm()
            if self.stop.is_set():
                self._end(Why.STOPPED)
            elif time.monotonic() >= self._until:
                self._end(Why.TIME)
            elif alarm is not None:
                self._end(Why.ALARM, alarm.said)
        return self._over is not None

    def _end(self, why: Why, said: str = "") -> None:
        """End the run, where nothing has ended it before."""
        self._over = self._over or (why, said or ENDINGS[why])

    async def _opine(self, asked: Asked) -> None:
        if asked.picture is None and not self.config.text_only:
            self._failed["no picture"] += 1
            return
        tally = _Tally()
        try:
            opined = await self._opined(asked, tally)
        except TeacherError as error:
            self._end(Why.TEACHER, str(error))
        except (BusyError, CaseFailedError) as error:
            self._fail(error)
        else:
            self._failed_in_a_row = 0
            await asyncio.to_thread(self.keep, opined)
            self._kept += 1
            self.watch.note(opined)
            if self.sight is not None:
                self.sight.note(asked, opined)
        finally:
            self._asked += tally.tries > 0

    async def _look(self, sight: "SightTest", asked: Asked) -> None:
        """Ask about a case with noise for its picture; if that fails, it counts against nothing else."""
        opined = None
        with suppress(TeacherError, BusyError, CaseFailedError):
            opined = await self._opined(asked, _Tally())
        self.watch.see(sight.count(opined))

    async def _opined(self, asked: Asked, tally: _Tally) -> Opined:
        """Ask about a case, once more where the answer cannot be read. Raises as `_reply` does."""
        turns = [Turn("user", teacher_question(asked.case, self.wording, shown=not self.config.text_only))]
        reply = await self._reply(asked, turns, tally)
        opinion, unread = self._read(reply)
        if unread is Unread.UNPARSED:
            turns += [Turn("assistant", reply.text.strip()[:QUOTED_MAX]), Turn("user", REMINDER)]
            with suppress(BusyError, CaseFailedError, _OverError):  # whatever comes now, the first stands
                try:
                    opinion, unread = self._read(await self._reply(asked, turns, tally))
                except TeacherError as error:
                    self._end(Why.TEACHER, str(error))
        return self._as_kept(asked, tally, opinion, unread)

    def _read(self, reply: Reply) -> tuple[ParsedOpinion | None, Unread | None]:
        if reply.finish == "too_long":
            return None, Unread.TOO_LONG
        if reply.finish in REFUSING:
            return None, Unread.REFUSED
        if not reply.text.strip():
            return None, Unread.EMPTY
        opinion = parse_opinion(reply.text, self.wording)
        if opinion is not None:
            return opinion, None
        return None, Unread.REFUSED if is_refusal(reply.text) else Unread.UNPARSED

    def _as_kept(
        self, asked: Asked, tally: _Tally, opinion: ParsedOpinion | None, unread: Unread | None
    ) -> Opined:
        last = tally.replies[-1]
        storable = last.text[:RAW_MAX].replace("\0", "").encode(errors="replace").decode()
        return Opined(
            case_id=asked.case.id,
            opinion=opinion or ParsedOpinion(Answer.UNSURE, ""),
            parsed=opinion is not None,
            raw=storable,
            model=last.model,
            tokens_in=tally.sum_of([reply.tokens_in for reply in tally.replies]),
            tokens_out=tally.sum_of([reply.tokens_out for reply in tally.replies]),
            seconds=sum(reply.seconds for reply in tally.replies),
            cost=self.config.cost(tally.spend.tokens_in, tally.spend.tokens_out),
            tries=tally.tries,
            unread=unread,
        )

    def _fail(self, error: BusyError | CaseFailedError) -> None:
        """Count a case without an answer; end the run where there is no hope for the others."""
        self._failed[error.reason] += 1
        self._failed_in_a_row += 1
        if isinstance(error, BusyError) and not self._answered:
            said = f"{self.config.name} has not answered once in {self.patience.tries} tries: {error}."
            self._end(Why.TEACHER, said)
        if self._failed_in_a_row >= IN_A_ROW:
            said = f"{IN_A_ROW} cases in a row had no answer from {self.config.name}: {error}."
            self._end(Why.TEACHER, said)

    async def _reply(self, asked: Asked, turns: Sequence[Turn], tally: _Tally) -> Reply:
        """Ask until there is a reply. Raises _OverError, TeacherError, CaseFailedError, last BusyError."""
        tried = waited = 0
        while True:
            most = await self._admitted(turns)
            tally.tries += 1
            busy = await self._tried(asked, turns, most, tally)
            if busy is None:
                return tally.replies[-1]
            if busy.wait is None:
                tried += 1
            else:
                waited += 1
                self._hold(busy.wait)
            if tried >= self.patience.tries or waited >= self.patience.waits:
                raise busy
            bound = min(self.patience.longest, self.patience.first * 2**tried)
            await self._sleep_until(time.monotonic() + random.uniform(0, bound))

    async def _tried(
        self, asked: Asked, turns: Sequence[Turn], most: Spend, tally: _Tally
    ) -> BusyError | None:
        """Ask once; the reply goes into the tally, what it took off the budget."""
        spent, answered = Spend(), False
        try:
            async with asyncio.timeout(min(self.config.timeout_s, self._until - time.monotonic())):
                reply = await self.teacher.ask(asked, turns)
        except TimeoutError:
            spent = most
            if time.monotonic() >= self._until:
                self._end(Why.TIME)
                raise _OverError from None
            return BusyError("time-out")
        except BusyError as error:
            spent = most if error.billed else spent
            return error
        else:
            spent, answered = took(reply, most), True
            self._answered = True
            tally.replies.append(reply)
            tally.spend += spent
            return None
        finally:
            self._budget.settle(most, spent, answered=answered)

    def _hold(self, seconds: float) -> None:
        """Have every worker wait for as long as the server asks."""
        if seconds > self.patience.rest_max:
            said = f"{self.config.name} asks for a pause of {seconds / 60:.0f} minutes: go on after it."
            self._end(Why.TEACHER, said)
        self._pace.hold(seconds)

    async def _admitted(self, turns: Sequence[Turn]) -> Spend:
        """Wait until a question may go out, and count it against the budget at the most it may take."""
        shown = not self.config.text_only
        while (room := self._budget.reserve(most := self._budget.most(turns, shown=shown))) is not Room.FITS:
            if room is not Room.WAIT:
                self._end(Why(room.value))
            await self._sleep_until(time.monotonic() + LOOK_S)
        try:
            while True:
                await self._sleep_until(self._pace.slot())
                if not self._pace.resting:
                    return most
        except _OverError:
            self._budget.settle(most, Spend())
            raise

    async def _sleep_until(self, moment: float) -> None:
        """Sleep, looking up now and then. Raises _OverError where the run is over."""
        while True:
            if self._is_over():
                raise _OverError
            left = moment - time.monotonic()
            if left <= 0:
                return
            await asyncio.sleep(min(left, LOOK_S))
