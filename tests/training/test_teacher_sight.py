"""Whether a run finds out a teacher that goes by the text alone, and what looking costs."""

import asyncio
import base64
import io
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageStat

from db.vocabulary import Answer as Verdict
from tests.training.fault_server import GOOD, Answer, FaultServer, Got, Sent, fails, fault_server, says
from training.records import CaseInput
from training.teacher_budget import Patience
from training.teacher_question import ParsedOpinion
from training.teacher_sight import CASES_MAX, LEAST_COMPARED, Sight, SightTest, noise_picture, sight_test
from training.teacher_watch import LEAST, SignKind, TeacherWatch
from training.teachers import Asked, TeacherConfig, open_teacher
from training.teaching import Ended, Limits, Opined, Why, teach

IN, OUT, UNSURE = Verdict.IN_CONTEXT, Verdict.OUT_OF_CONTEXT, Verdict.UNSURE
HASTY = Patience(tries=2, waits=4, first=0.002, longest=0.004)
AT_ONCE = 4


def is_noise(got: Got) -> bool:
    """Look at the picture that came."""
    url = got.body["messages"][0]["content"][0]["image_url"]["url"]
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as picture:
        return max(ImageStat.Stat(picture).stddev) > 20


def by_text(got: Got) -> Sent:
    """Answer by the caption's number alone."""
    return verdict_of(got, IN if got.case % 2 else OUT)


def by_picture(got: Got) -> Sent:
    """Answer by the caption's number, unless the picture shows nothing."""
    return verdict_of(got, UNSURE) if is_noise(got) else by_text(got)


def verdict_of(got: Got, verdict: Verdict) -> Sent:
    """Answer with this verdict and a reason of its own."""
    return says(json.dumps({**GOOD, "rationale": f"Reason {got.number}.", "verdict": verdict}))


class Ran:
    """What came of a run with a test of sight."""

    def __init__(self, folder: Path, watch: TeacherWatch, noise: Path | None) -> None:
        self.kept: list[Opined] = []
        self.watch = watch
        self.stop = threading.Event()
        self.test = SightTest(noise or noise_picture(folder))
        self.faults: FaultServer
        self.ended: Ended

    @property
    def noise(self) -> Counter[int]:
        """How often each case was asked about with noise."""
        return Counter(got.case for got in self.faults.got if is_noise(got))

    @property
    def cases(self) -> Counter[int]:
        """How often each case was asked about with its picture."""
        return Counter(got.case for got in self.faults.got if not is_noise(got))


def cases(folder: Path, count: int) -> Iterator[Asked]:
    """Give cases with a picture of one colour each."""
    for number in range(count):
        path = folder / f"{number % 8}.jpg"
        if not path.exists():
            Image.new("RGB", (96, 64), (number % 8 * 30, 90, 160)).save(path, "JPEG")
        yield Asked(CaseInput(str(number), "", f"Case {number}. A flood."), path)


def ran(
    answer: Answer,
    folder: Path,
    count: int = 90,
    *,
    limits: Limits | None = None,
    watch: TeacherWatch | None = None,
    noise: Path | None = None,
    keep: Callable[[Ran, Opined], None] | None = None,
    **settings: Any,
) -> Ran:
    """Teach with an endpoint that answers like this, and test whether it looks."""
    ran = Ran(folder, watch or TeacherWatch(), noise)

    def kept(opined: Opined) -> None:
        ran.kept.append(opined)
        if keep is not None:
            keep(ran, opined)

    async def run() -> None:
        async with fault_server(answer) as ran.faults:
            defaults = {"concurrency": AT_ONCE, "price_in": 1_000.0, "timeout_s": 5.0}
            said = {**defaults, "base_url": ran.faults.url, **settings}
            config = TeacherConfig("Test", "endpoint", "any", **said)
            teacher = open_teacher(config, {})
            try:
                ran.ended = await teach(
                    teacher, config, cases(folder, count), kept, sight=ran.test, patience=HASTY,
                    limits=limits or Limits(), watch=ran.watch, stop=ran.stop,
                )  # fmt: skip
            finally:
                await teacher.close()

    asyncio.run(run())
    return ran


def test_a_teacher_of_the_text_alone_pauses_the_run_with_a_sentence(tmp_path: Path) -> None:
    done = ran(by_text, tmp_path)
    assert done.ended.why is Why.ALARM
    assert done.ended.said == (
        "12 of 12 cases that were in context are so with noise for a picture, too:"
        " this teacher judges the text alone."
    )
    assert [sign.kind for sign in done.watch.signs()] == [SignKind.IGNORES_IMAGE]
    assert LEAST <= done.ended.kept < 90
    assert sorted(done.noise) == list(range(1, 2 * CASES_MAX, 2)), "the first ones in context"


def test_it_does_not_where_the_run_is_to_go_on_and_nothing_is_asked_twice(tmp_path: Path) -> None:
    done = ran(by_text, tmp_path, watch=TeacherWatch(go_on=True))
    assert (done.ended.why, done.ended.kept, done.test.sight.ignores_image) == (Why.ALL, 90, True)
    assert set(done.noise.values()) == {1}


def test_a_teacher_that_looks_is_asked_about_every_case(tmp_path: Path) -> None:
    done = ran(by_picture, tmp_path)
    assert (done.ended.why, done.ended.asked, done.ended.kept) == (Why.ALL, 90, 90)
    assert done.cases == Counter(range(90))
    assert done.noise.total() == CASES_MAX
    assert done.faults.most_at_once <= AT_ONCE
    sight = done.test.sight
    assert (sight.in_context, sight.in_context_stayed, sight.ignores_image) == (12, 0, False)
    assert sight.said.endswith("for a picture: this teacher looks.")


def test_noise_is_paid_for_and_nothing_said_of_it_is_kept_or_counted_as_an_opinion(tmp_path: Path) -> None:
    done = ran(by_picture, tmp_path)
    figures = done.watch.figures()
    assert figures["verdicts"] == {"in_context": 45, "out_of_context": 45, "unsure": 0}
    assert figures["kept"] == len({opined.case_id for opined in done.kept}) == len(done.kept) == 90
    assert figures["sight"]["tokens_in"] == CASES_MAX * 1_000
    assert figures["tokens_in"] == (90 + CASES_MAX) * 1_000
    assert figures["cost"] == pytest.approx(90 + CASES_MAX)


def test_noise_goes_out_before_the_next_case(tmp_path: Path) -> None:
    done = ran(by_picture, tmp_path, concurrency=1)
    order = [False] * LEAST + [True] * CASES_MAX + [False] * (90 - LEAST)
    assert [is_noise(got) for got in done.faults.got] == order


def test_a_limit_of_cases_counts_cases_alone(tmp_path: Path) -> None:
    done = ran(by_picture, tmp_path, limits=Limits(cases=LEAST))
    assert (done.ended.why, done.ended.asked, done.ended.kept) == (Why.CASES, LEAST, LEAST)
    assert done.noise.total() == CASES_MAX


def test_limits_of_money_and_tokens_count_noise_too(tmp_path: Path) -> None:
    done = ran(by_picture, tmp_path, limits=Limits(money=LEAST + 6.5))
    assert done.ended.why is Why.MONEY
    assert done.faults.count == LEAST + 6
    assert done.noise.total() >= 1
    assert not done.test.sight.is_whole
    done = ran(by_picture, tmp_path, limits=Limits(tokens=(LEAST + 6) * 1_050 + 500), max_tokens=50)
    assert done.ended.why is Why.TOKENS
    assert done.faults.count <= LEAST + 6


def test_a_question_with_noise_that_fails_counts_against_nothing_else(tmp_path: Path) -> None:
    faults = [fails(400, "No."), fails(500), fails(404), says("Noise."), says("")]

    def answer(got: Got) -> Sent:
        return faults[got.case % len(faults)] if is_noise(got) else by_text(got)

    done = ran(answer, tmp_path)
    assert (done.ended.why, done.ended.kept, done.ended.failed) == (Why.ALL, 90, {})
    assert done.watch.figures()["unread"] == {"refused": 0, "empty": 0, "too_long": 0, "unparsed": 0}
    assert (done.test.sight.unread, done.test.sight.ignores_image) == (CASES_MAX, None)
    assert "too few" in done.test.sight.said


def test_a_picture_of_noise_that_is_gone_ends_no_run(tmp_path: Path) -> None:
    done = ran(by_text, tmp_path, noise=tmp_path / "gone.jpg")
    assert (done.ended.why, done.ended.kept) == (Why.ALL, 90)
    assert done.test.sight.unread == CASES_MAX


def test_a_run_that_is_stopped_meanwhile_asks_no_more_noise(tmp_path: Path) -> None:
    def stop(ran: Ran, opined: Opined) -> None:
        if len(ran.kept) == LEAST:
            ran.stop.set()

    done = ran(by_text, tmp_path, keep=stop)
    assert done.ended.why is Why.STOPPED
    assert done.noise.total() == 0


def test_too_few_opinions_or_cases_in_context_ask_nothing(tmp_path: Path) -> None:
    assert ran(by_text, tmp_path, LEAST - 1).noise.total() == 0
    seldom = ran(lambda got: verdict_of(got, IN if got.case < CASES_MAX - 1 else OUT), tmp_path)
    assert (seldom.noise.total(), seldom.ended.why) == (0, Why.ALL)


def opined(verdict: Verdict, *, parsed: bool = True) -> Opined:
    """Give an answer to noise."""
    return Opined("1", ParsedOpinion(verdict, "So."), parsed, "So.", "any", None, 20, 1.0, 0.01, 1)


def seen(*answers: Opined | None) -> Sight:
    """Give what answers show."""
    sight = Sight(len(answers))
    for answer in answers:
        assert sight.ignores_image is None
        assert not sight.is_whole
        sight = sight.with_answer(answer)
    assert sight.is_whole
    return sight


def test_nothing_is_concluded_from_too_few_answers_or_before_all_are_back() -> None:
    few = seen(*[opined(IN)] * (LEAST_COMPARED - 1), None, opined(UNSURE, parsed=False))
    assert (few.in_context, few.unread, few.ignores_image) == (2, 2, None)
    assert few.said == "Only 2 of 4 cases were answered with noise: too few to tell."
    assert Sight(12).with_answer(None).said == "1 of 12 answers to noise for a picture are back."


@pytest.mark.parametrize(("stayed", "ignores"), [(5, True), (4, True), (3, False), (0, False)])
def test_four_fifths_that_stay_are_a_teacher_that_ignores_the_picture(stayed: int, ignores: bool) -> None:
    sight = seen(*[opined(IN)] * stayed, *[opined(OUT)] * (5 - stayed))
    assert sight.ignores_image is ignores
    assert sight.said.startswith(f"{stayed} of 5 ")
    figures = json.loads(json.dumps(sight.figures()))
    assert (figures["compared"], figures["in_context_stayed"], figures["tokens_out"]) == (5, stayed, 100)
    assert (figures["ignores_image"], figures["said"]) == (ignores, sight.said)


def test_what_could_not_be_read_is_no_case_in_context_whatever_it_is_kept_as(tmp_path: Path) -> None:
    test = SightTest(tmp_path / "noise.jpg")
    for asked in cases(tmp_path, LEAST):
        test.note(asked, opined(IN, parsed=False))
    assert test.next() is None


def test_a_teacher_that_is_shown_nothing_is_not_tested(tmp_path: Path) -> None:
    endpoint = TeacherConfig("Test", "endpoint", "any", text_only=True)
    assert sight_test(endpoint, tmp_path) is None
    replay = TeacherConfig("Test", "replay", "any", path="said.jsonl")
    assert sight_test(replay, tmp_path) is None
    assert list(tmp_path.iterdir()) == []
    assert sight_test(TeacherConfig("Test", "local", "any"), tmp_path) is not None


def test_the_noise_is_the_same_each_time(tmp_path: Path) -> None:
    first = noise_picture(tmp_path).read_bytes()
    assert noise_picture(tmp_path).read_bytes() == first
