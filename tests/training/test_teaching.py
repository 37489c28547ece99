"""A run of questions against an endpoint that fails in every way."""

import asyncio
import json
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from db.vocabulary import Answer as Verdict, Element
from tests.training.fault_server import (
    GOOD,
    Answer,
    FaultServer,
    Got,
    Sent,
    fails,
    fault_server,
    one_after_another,
    opines,
    says,
)
from training.records import CaseInput
from training.teacher_budget import Patience
from training.teacher_question import AS_USUAL, REMINDER, ParsedOpinion, Wording
from training.teacher_watch import TeacherWatch
from training.teachers import (
    Asked,
    BusyError,
    Reply,
    Teacher,
    TeacherConfig,
    Turn,
    open_teacher,
)
from training.teaching import IN_A_ROW, RAW_MAX, Ended, Limits, Opined, Unread, Why, teach

NO_LIMITS = Limits()
HASTY = Patience(tries=4, waits=10, first=0.002, longest=0.004)
OPINION = ParsedOpinion(Verdict.OUT_OF_CONTEXT, "Another tower.", 0.9, (Element.PLACE,))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Give a small picture."""
    path = tmp_path / "picture.jpg"
    Image.new("RGB", (96, 64), "teal").save(path, "JPEG")
    return path


def cases(picture: Path | None, count: int) -> Iterator[Asked]:
    """Give cases that share a picture, one by one."""
    for number in range(count):
        yield Asked(CaseInput(str(number), "", f"Case {number}. A flood."), picture)


class Ran:
    """What came of a run."""

    def __init__(self) -> None:
        self.kept: list[Opined] = []
        self.watch = TeacherWatch()
        self.stop = threading.Event()
        self.faults: FaultServer
        self.ended: Ended

    @property
    def by_case(self) -> dict[str, Opined]:
        """What was kept, by case."""
        return {opined.case_id: opined for opined in self.kept}


def ran(
    answer: Answer,
    asked: Iterable[Asked],
    *,
    limits: Limits = NO_LIMITS,
    patience: Patience = HASTY,
    keep: Callable[[Ran, Opined], None] | None = None,
    watch: TeacherWatch | None = None,
    wording: Wording = AS_USUAL,
    keep_got: bool = True,
    **settings: Any,
) -> Ran:
    """Teach with an endpoint that answers like this."""
    ran = Ran()
    ran.watch = watch or ran.watch

    def kept(opined: Opined) -> None:
        ran.kept.append(opined)
        if keep is not None:
            keep(ran, opined)

    async def run() -> None:
        async with fault_server(answer, keep_got=keep_got) as ran.faults:
            defaults = {
                "name": "Test",
                "kind": "endpoint",
                "model": "any",
                "timeout_s": 5.0,
                "concurrency": 4,
            }
            config = TeacherConfig(**{**defaults, "base_url": ran.faults.url, **settings})
            teacher = open_teacher(config, {})
            try:
                ran.ended = await teach(
                    teacher, config, asked, kept,
                    limits=limits, watch=ran.watch, stop=ran.stop, patience=patience, wording=wording,
                )  # fmt: skip
            finally:
                await teacher.close()

    asyncio.run(run())
    return ran


def for_first_try(faults: Sequence[Sent]) -> Answer:
    """Answer the first question about a case wrongly, by the case's number, and every later one well."""
    asked: set[int] = set()

    def answer(got: Got) -> Sent:
        fresh = got.case not in asked
        asked.add(got.case)
        return faults[got.case % len(faults)] if fresh else opines()

    return answer


@pytest.mark.parametrize(
    "fault",
    [
        fails(429, retry_after="0"),
        fails(429, retry_after="Wed, 21 Oct 2015 07:28:00 GMT"),
        fails(408),
        fails(409),
        fails(425),
        fails(500),
        fails(503),
        Sent(hang_up=True),
        Sent(200, b'{"choices": [', cut=5),
        Sent(200, b"<html>"),
    ],
    ids=lambda sent: str(sent.status),
)
def test_a_fault_that_passes_costs_a_try_and_no_opinion(fault: Sent, picture: Path) -> None:
    done = ran(for_first_try([fault]), cases(picture, 1))
    (opined,) = done.kept
    assert (opined.opinion, opined.parsed, opined.tries) == (OPINION, True, 2)
    assert done.ended == Ended(Why.ALL, done.ended.said, asked=1, kept=1)


def test_an_answer_that_does_not_come_in_time_costs_a_try_and_no_opinion(picture: Path) -> None:
    done = ran(for_first_try([opines(wait=30)]), cases(picture, 1), timeout_s=0.5)
    (opined,) = done.kept
    assert opined.opinion == OPINION
    assert opined.tries >= 2


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD)[:-9],
        '{"verdict": "no", "rationale": "It is not."}',
        '{"label": "out_of_context"}',
        "The caption does not fit the picture.",
        f"{json.dumps(GOOD)} {json.dumps({**GOOD, 'verdict': 'in_context'})}",
    ],
)
def test_an_answer_that_cannot_be_read_is_asked_for_once_more(text: str, picture: Path) -> None:
    done = ran(for_first_try([says(text)]), cases(picture, 1))
    (opined,) = done.kept
    assert (opined.opinion, opined.parsed, opined.unread, opined.tries) == (OPINION, True, None, 2)
    assert (opined.tokens_in, opined.tokens_out) == (2_000, 100)
    first, second = done.faults.got
    roles = [message["role"] for message in second.body["messages"]]
    assert roles == ["user", "assistant", "user"]
    assert second.body["messages"][0] == first.body["messages"][0]
    assert second.body["messages"][1]["content"] == text
    assert second.body["messages"][2]["content"] == REMINDER


def test_what_cannot_be_read_twice_is_kept_as_it_came_and_unsure(picture: Path) -> None:
    answers = one_after_another(
        [says("In my view it fits."), says("It fits\0 \ud800, I say." + "x" * RAW_MAX)]
    )
    (opined,) = ran(answers, cases(picture, 1)).kept
    assert opined.opinion == ParsedOpinion(Verdict.UNSURE, "")
    assert (opined.parsed, opined.unread, opined.tries) == (False, Unread.UNPARSED, 2)
    assert opined.raw.startswith("It fits ?, I say.xxx")
    assert len(opined.raw) == RAW_MAX - 1


def test_the_first_answer_stands_where_no_second_comes(picture: Path) -> None:
    answers = one_after_another([says("In my view it fits."), fails(400, "too long")])
    done = ran(answers, cases(picture, 1))
    assert [opined.raw for opined in done.kept] == ["In my view it fits."]
    assert done.ended.failed.total() == 0


@pytest.mark.parametrize(
    ("sent", "unread"),
    [
        (says("I'm sorry, but I can't help with that."), Unread.REFUSED),
        (says(None, refusal="No."), Unread.REFUSED),
        (says("", finish="content_filter"), Unread.REFUSED),
        (fails(400, "Filtered", code="content_filter"), Unread.REFUSED),
        (says(""), Unread.EMPTY),
        (says(" \n"), Unread.EMPTY),
        (says(None, finish="length"), Unread.EMPTY),
        (Sent(200, b"x" * 65_536, endless=True), Unread.TOO_LONG),
    ],
)
def test_no_answer_at_all_is_kept_as_unsure_and_counted_apart(
    sent: Sent, unread: Unread, picture: Path
) -> None:
    done = ran(lambda _: sent, cases(picture, 1))
    (opined,) = done.kept
    assert opined.opinion.verdict is Verdict.UNSURE
    assert (opined.parsed, opined.unread, opined.tries) == (False, unread, 1)
    assert done.watch.figures()["unread"] == {reason.value: int(reason is unread) for reason in Unread}


FAULTS = [
    opines(),
    fails(429, retry_after="0.01"),
    fails(500),
    opines(wait=30),
    says('{"verdict": "in_con'),
    says('{"verdict": "no"}'),
    says(f"Sure! {json.dumps(GOOD)} I hope this helps."),
    says("I can't help with that."),
    says(""),
    says("x" * 10_000_000),
    Sent(hang_up=True),
    fails(400, "The picture is too small."),
]


def test_a_server_with_every_fault_loses_no_case_and_counts_each(picture: Path) -> None:
    count = 5 * len(FAULTS)
    by_fault = for_first_try(FAULTS)

    def answer(got: Got) -> Sent:
        refused = "response_format" in got.body
        return fails(422, "response_format is not supported") if refused else by_fault(got)

    go_on = TeacherWatch(go_on=True)
    done = ran(answer, cases(picture, count), watch=go_on, timeout_s=2, concurrency=16)
    assert done.ended.why is Why.ALL
    assert done.ended.failed == {"status 400": 5}
    assert (done.ended.asked, done.ended.kept) == (count, count - 5)
    assert sorted(map(int, done.by_case)) == [n for n in range(count) if n % len(FAULTS) != 11]
    figures = done.watch.figures()
    assert figures["unread"] == {"refused": 5, "empty": 5, "too_long": 5, "unparsed": 0}
    assert figures["verdicts"] == {"in_context": 0, "out_of_context": count - 20, "unsure": 15}
    tries = [done.by_case[str(number)].tries for number in range(11)]
    least = [1, 2, 2, 2, 2, 2, 1, 1, 1, 1, 2]
    assert all(one >= two for one, two in zip(tries, least, strict=True))  # more where this machine is slow
    assert done.faults.most_at_once <= 16


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_a_teacher_that_can_never_answer_ends_the_run_at_once(status: int, picture: Path) -> None:
    done = ran(lambda _: fails(status), cases(picture, 50))
    assert done.ended.why is Why.TEACHER
    assert str(status) in done.ended.said
    assert done.faults.count <= 4
    assert done.kept == []


def test_a_quota_that_is_used_up_ends_the_run_and_keeps_what_came(picture: Path) -> None:
    answers = one_after_another([opines(), opines(), fails(429, code="insufficient_quota")])
    done = ran(answers, cases(picture, 50), concurrency=1)
    assert done.ended.why is Why.TEACHER
    assert "quota" in done.ended.said
    assert len(done.kept) == 2


def test_a_teacher_that_never_answers_is_given_up_after_one_case(picture: Path) -> None:
    done = ran(lambda _: fails(500), cases(picture, 50), concurrency=1)
    assert done.ended.why is Why.TEACHER
    assert done.ended.said == "Test has not answered once in 4 tries: status 500."
    assert done.ended.failed == {"status 500": 1}
    assert done.faults.count == HASTY.tries


def test_a_case_that_never_comes_through_is_counted_and_the_others_go_on(picture: Path) -> None:
    done = ran(lambda got: fails(500) if got.case == 3 else opines(), cases(picture, 6), concurrency=1)
    assert done.ended.failed == {"status 500": 1}
    assert list(done.by_case) == ["0", "1", "2", "4", "5"]


def test_a_teacher_that_fails_case_after_case_is_given_up(picture: Path) -> None:
    done = ran(
        lambda got: opines() if got.case < 5 else fails(400, "No."), cases(picture, 100), concurrency=1
    )
    assert done.ended.why is Why.TEACHER
    assert str(IN_A_ROW) in done.ended.said
    assert done.ended.failed == {"status 400": IN_A_ROW}
    assert len(done.kept) == 5


def test_a_server_that_wants_a_long_rest_ends_the_run(picture: Path) -> None:
    done = ran(lambda _: fails(429, retry_after="7200"), cases(picture, 50))
    assert done.ended.why is Why.TEACHER
    assert "120 minutes" in done.ended.said


def test_a_server_that_only_ever_asks_to_wait_is_not_asked_for_ever(picture: Path) -> None:
    done = ran(lambda _: fails(429, retry_after="0"), cases(picture, 50), concurrency=1)
    assert done.ended.why is Why.TEACHER
    assert done.faults.count == HASTY.waits


class Written:
    """A teacher without a server, which says when it was asked what."""

    def __init__(self, config: TeacherConfig, answer: Callable[[int], Any]) -> None:
        self.takes = config.concurrency
        self.asked: list[tuple[float, int]] = []
        self._answer = answer

    async def ask(self, asked: Asked, turns: Sequence[Turn]) -> Reply:
        self.asked.append((asyncio.get_running_loop().time(), int(asked.case.id)))
        reply: Reply = await self._answer(int(asked.case.id))
        return reply

    async def close(self) -> None:
        self.asked.clear()


def taught(
    teacher: Teacher,
    config: TeacherConfig,
    asked: Iterable[Asked],
    keep: Callable[[Opined], None],
    **more: Any,
) -> Ended:
    """Teach with a teacher that is there."""
    defaults: dict[str, Any] = {
        "limits": Limits(),
        "watch": TeacherWatch(go_on=True),
        "stop": threading.Event(),
    }
    return asyncio.run(teach(teacher, config, asked, keep, **{**defaults, "patience": HASTY, **more}))


WRITTEN = TeacherConfig("Written", "endpoint", "none", text_only=True, concurrency=4)
REPLY = Reply(json.dumps(GOOD), "none", 10, 5, 0.001, "stop")


def test_a_rest_that_one_worker_is_asked_for_is_kept_by_all() -> None:
    rest = 0.3
    first: set[int] = set()
    told = asyncio.Event()
    held: list[float] = []

    async def answer(case: int) -> Reply:
        if case == 0 and case not in first:
            first.add(case)
            told.set()
            held.append(asyncio.get_running_loop().time())
            raise BusyError("status 429", rest)
        await told.wait()
        await asyncio.sleep(0.01)
        return REPLY

    teacher = Written(WRITTEN, answer)
    kept: list[Opined] = []
    taught(teacher, WRITTEN, cases(None, 12), kept.append)
    later = [at for at, _ in teacher.asked[WRITTEN.concurrency :]]
    assert len(kept) == 12
    assert min(later) >= held[0] + rest


def test_a_run_ends_before_it_costs_more_than_it_may(picture: Path) -> None:
    done = ran(
        lambda _: opines(wait=0.01), cases(picture, 50),
        limits=Limits(money=5.5), price_in=1_000.0, price_out=0.0, concurrency=8,
    )  # fmt: skip
    assert done.ended.why is Why.MONEY
    assert sum(opined.cost for opined in done.kept) == pytest.approx(5.0)
    assert done.faults.count == 5


def test_a_question_that_waited_for_the_budget_is_counted_at_what_was_learnt_meanwhile(picture: Path) -> None:
    done = ran(
        lambda _: opines(), cases(picture, 9), keep=lambda ran, opined: time.sleep(0.3),
        limits=Limits(money=2.5), price_in=1_000.0, concurrency=3,
    )  # fmt: skip
    assert (done.ended.why, done.ended.kept) == (Why.MONEY, 2)


def test_a_run_ends_before_it_takes_more_tokens_than_it_may(picture: Path) -> None:
    done = ran(lambda _: opines(), cases(picture, 50), limits=Limits(tokens=9_000), concurrency=8)
    assert done.ended.why is Why.TOKENS
    taken = sum((opined.tokens_in or 0) + (opined.tokens_out or 0) for opined in done.kept)
    assert 9_000 - 1_400 - 1_050 < taken <= 9_000
    assert done.ended.asked == done.ended.kept


@pytest.mark.parametrize(
    ("second", "limits", "why"),
    [(fails(402), Limits(), Why.TEACHER), (opines(), Limits(tokens=2_400), Why.TOKENS)],
)
def test_a_paid_answer_is_kept_where_the_run_ends_before_its_reminder(
    picture: Path, second: Sent, limits: Limits, why: Why
) -> None:
    answer = one_after_another([says("I think it is fine."), second])
    done = ran(answer, cases(picture, 5), limits=limits, concurrency=1)
    assert (done.ended.why, done.ended.kept) == (why, 1)
    assert (done.kept[0].raw, done.kept[0].parsed) == ("I think it is fine.", False)


def test_a_servers_words_are_no_danger_to_who_reads_them(picture: Path) -> None:
    told = json.dumps({"error": {"message": "pay \ud800", "type": "t", "param": None, "code": None}}).encode()
    done = ran(lambda _: Sent(402, told), cases(picture, 1))
    assert "pay" in done.ended.said
    assert done.ended.said.encode()


def test_a_budget_too_small_for_one_question_asks_none(picture: Path) -> None:
    done = ran(lambda _: opines(), cases(picture, 50), limits=Limits(tokens=500))
    assert (done.ended.why, done.ended.asked, done.faults.count) == (Why.TOKENS, 0, 0)


def test_a_question_that_may_be_charged_for_though_it_was_lost_counts(picture: Path) -> None:
    done = ran(
        lambda _: Sent(hang_up=True), cases(picture, 50), limits=Limits(tokens=6_000), max_tokens=1_000
    )
    assert done.ended.why is Why.TOKENS
    assert 1 <= done.faults.count <= 3


def test_a_run_ends_after_as_many_cases_as_are_wanted_and_reads_no_more(picture: Path) -> None:
    waiting = cases(picture, 50)
    done = ran(lambda _: opines(), waiting, limits=Limits(cases=7))
    assert (done.ended.why, done.ended.asked, done.ended.kept) == (Why.CASES, 7, 7)
    assert next(waiting).case.id == "7"


def test_a_run_ends_when_its_time_is_up_whatever_is_on_its_way(picture: Path) -> None:
    done = ran(lambda _: opines(wait=30), cases(picture, 50), limits=Limits(seconds=0.3))
    assert (done.ended.why, done.ended.kept, done.ended.failed) == (Why.TIME, 0, {})


def test_a_stopped_run_keeps_what_is_on_its_way_and_asks_nothing_more(picture: Path) -> None:
    def stop(ran: Ran, opined: Opined) -> None:
        if len(ran.kept) == 3:
            ran.stop.set()

    done = ran(lambda _: opines(wait=0.02), cases(picture, 50), keep=stop)
    assert done.ended.why is Why.STOPPED
    assert done.ended.asked == done.ended.kept == done.faults.count
    assert 3 <= done.ended.kept <= 3 + 4


def test_a_run_that_waits_for_a_busy_server_can_be_stopped(picture: Path) -> None:
    stop = threading.Event()

    async def answer(case: int) -> Reply:
        stop.set()
        raise BusyError("status 429", 600.0)

    ended = taught(Written(WRITTEN, answer), WRITTEN, cases(None, 5), print, stop=stop)
    assert ended.why is Why.STOPPED


def test_a_case_that_was_not_read_when_the_run_ended_is_left_to_the_next(picture: Path) -> None:
    def answer(got: Got) -> Sent:
        return says("Well.") if got.case == 1 else opines(wait=0.05)

    def stop(ran: Ran, opined: Opined) -> None:
        ran.stop.set()

    done = ran(answer, cases(picture, 50), keep=stop, patience=Patience(first=9, longest=9), concurrency=2)
    assert done.ended.asked >= done.ended.kept
    assert all(opined.parsed or opined.tries == 2 for opined in done.kept)


class DiskFullError(Exception):
    pass


def test_what_keep_raises_ends_the_run_and_is_raised(picture: Path) -> None:
    def keep(ran: Ran, opined: Opined) -> None:
        if len(ran.kept) == 3:
            raise DiskFullError

    with pytest.raises(DiskFullError):
        ran(lambda _: opines(), cases(picture, 50), keep=keep)


def test_what_the_cases_raise_ends_the_run_and_is_raised(picture: Path) -> None:
    def broken() -> Iterator[Asked]:
        yield from cases(picture, 3)
        raise DiskFullError

    with pytest.raises(DiskFullError):
        ran(lambda _: opines(), broken())


def test_an_answer_is_kept_before_its_worker_asks_again_and_cases_are_read_as_needed(picture: Path) -> None:
    taken: list[str] = []

    def read() -> Iterator[Asked]:
        for asked in cases(picture, 40):
            taken.append(asked.case.id)
            yield asked

    def keep(ran: Ran, opined: Opined) -> None:
        assert ran.faults.count - len(ran.kept) < 4
        assert len(taken) - len(ran.kept) < 4

    assert ran(lambda _: opines(), read(), keep=keep).ended.kept == 40


def test_a_case_without_picture_is_for_teachers_of_text_alone(picture: Path) -> None:
    done = ran(lambda _: opines(), cases(None, 3))
    assert (done.ended.asked, done.ended.failed) == (0, {"no picture": 3})
    done = ran(lambda _: opines(), cases(None, 3), text_only=True)
    assert done.ended.kept == 3
    assert all("not the picture" in got.text for got in done.faults.got)


def test_the_wording_reaches_the_teacher_and_its_answer_is_read_by_it(picture: Path) -> None:
    flipped = Wording(in_context_first=False)
    done = ran(lambda _: opines(), cases(picture, 1), wording=flipped)
    assert done.faults.got[0].text.index("- out_of_context") < done.faults.got[0].text.index("- in_context")
    assert done.kept[0].parsed


def test_an_alarm_pauses_the_run_unless_it_is_told_to_go_on(picture: Path) -> None:
    paused = ran(lambda _: opines(), cases(picture, 80))
    assert paused.ended.why is Why.ALARM
    assert "say out of context" in paused.ended.said
    assert 50 <= paused.ended.kept <= 54
    gone_on = ran(lambda _: opines(), cases(picture, 80), watch=TeacherWatch(go_on=True))
    assert (gone_on.ended.why, gone_on.ended.kept) == (Why.ALL, 80)
    assert gone_on.watch.signs() != []


def test_recorded_opinions_are_taught_like_any_others(tmp_path: Path) -> None:
    path = tmp_path / "said.jsonl"
    path.write_text("\n".join(json.dumps({"id": str(n), **GOOD}) for n in range(5)))
    config = TeacherConfig("Recorded", "replay", "recorded", path=str(path), text_only=True)
    kept: list[Opined] = []
    ended = taught(open_teacher(config, {}), config, cases(None, 7), kept.append)
    assert (ended.kept, ended.failed) == (5, {"not recorded": 2})
    assert {opined.opinion for opined in kept} == {OPINION}
    assert sum(opined.cost for opined in kept) == 0


def test_as_many_questions_are_out_at_once_as_are_allowed(picture: Path) -> None:
    done = ran(
        lambda _: opines(wait=0.2), cases(picture, 100), watch=TeacherWatch(go_on=True), concurrency=32
    )
    assert (done.ended.kept, done.faults.most_at_once) == (100, 32)


@pytest.mark.soak
def test_memory_does_not_grow_with_the_number_of_cases(picture: Path) -> None:
    sizes: list[int] = []

    async def run() -> Ended:
        async with fault_server(lambda _: opines(), keep_got=False) as faults:
            config = TeacherConfig("Test", "endpoint", "any", base_url=faults.url, concurrency=16)
            teacher = open_teacher(config, {})
            kept = 0

            def keep(opined: Opined) -> None:
                nonlocal kept
                kept += 1
                if kept % 1_000 == 0:
                    sizes.append(tracemalloc.get_traced_memory()[0])

            ended = await teach(
                teacher, config, cases(picture, 5_000), keep,
                limits=Limits(), watch=TeacherWatch(go_on=True), stop=threading.Event(),
            )  # fmt: skip
            await teacher.close()
            return ended

    tracemalloc.start()
    ended = asyncio.run(run())
    tracemalloc.stop()
    assert ended.kept == 5_000
    print("bytes after each 1,000:", sizes)
    assert sizes[-1] < sizes[0] + 1_000_000
