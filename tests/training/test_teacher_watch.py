"""What a watch sees in the opinions of one teacher, and whether a teacher sees the picture."""

import asyncio
import base64
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageStat

from db.vocabulary import Answer as Verdict
from tests.training.fault_server import GOOD, Answer, Got, Sent, fails, fault_server, says
from training.records import CaseInput
from training.teacher_question import ParsedOpinion
from training.teacher_watch import CASES_MAX, LEAST, WINDOW, Sight, SignKind, TeacherWatch, ignores_image
from training.teachers import Asked, TeacherConfig, TeacherError, open_teacher
from training.teaching import Opined, Unread

IN, OUT, UNSURE = Verdict.IN_CONTEXT, Verdict.OUT_OF_CONTEXT, Verdict.UNSURE


def opined(number: int, verdict: Verdict, *, text: str | None = None, unread: Unread | None = None) -> Opined:
    """Give an opinion with a rationale of its own."""
    said = f"Reason {number}." if text is None else text
    opinion = ParsedOpinion(UNSURE, "") if unread else ParsedOpinion(verdict, said, 0.5 + number % 2 / 4)
    return Opined(str(number), opinion, unread is None, said, "any", 100, 20, 2.0, 0.01, 1, unread)


def watched(count: int, opinion: Callable[[int], Opined]) -> TeacherWatch:
    """Give a watch that has seen so many opinions."""
    watch = TeacherWatch()
    for number in range(count):
        watch.note(opinion(number))
    return watch


def mixed(number: int) -> Opined:
    """Give an opinion as a sound teacher has them."""
    return opined(number, OUT if number % 3 else IN)


ODD = {
    SignKind.ONE_VERDICT: lambda number: opined(number, IN if number % 20 == 19 else OUT),
    SignKind.SAME_TEXT: lambda number: opined(
        number, OUT if number % 2 else IN, text=None if number % 10 < 7 else " It  does not FIT."
    ),
    SignKind.REFUSES: lambda number: (
        mixed(number) if number % 5 else opined(number, IN, unread=Unread.REFUSED)
    ),
    SignKind.UNPARSED: lambda number: (
        mixed(number)
        if number % 5
        else opined(number, IN, unread=(Unread.EMPTY, Unread.UNPARSED, Unread.TOO_LONG)[number % 3])
    ),
}


@pytest.mark.parametrize("kind", list(SignKind))
def test_each_kind_of_odd_teacher_is_called_out_once_there_are_enough_opinions(kind: SignKind) -> None:
    assert watched(LEAST - 1, ODD[kind]).alarm() is None
    watch = watched(100, ODD[kind])
    assert [sign.kind for sign in watch.signs()] == [kind]
    alarm = watch.alarm()
    assert alarm is not None
    assert alarm.said.endswith(".")
    watch.go_on = True
    assert watch.alarm() is None
    assert watch.figures()["signs"] == [{"kind": kind.value, "said": alarm.said}]


def test_a_sound_teacher_alarms_nobody() -> None:
    assert watched(300, mixed).signs() == []


def test_opinions_without_rationale_are_not_the_same_text() -> None:
    assert watched(100, lambda number: opined(number, OUT if number % 2 else IN, text="")).signs() == []


def test_a_teacher_that_breaks_late_is_called_out_by_its_last_opinions() -> None:
    watch = watched(5_000, mixed)
    for number in range(WINDOW):
        watch.note(opined(number, OUT))
    assert [sign.kind for sign in watch.signs()] == [SignKind.ONE_VERDICT]


def test_the_figures_are_those_of_all_opinions_and_go_into_json() -> None:
    now = [0.0]
    watch = TeacherWatch(total=40, clock=lambda: now[0])
    assert watch.figures()["seconds_left"] is None
    for number in range(9):
        watch.note(mixed(number))
    watch.note(opined(9, IN, unread=Unread.REFUSED))
    now[0] = 5.0
    figures = json.loads(json.dumps(watch.figures()))
    assert figures == {
        "kept": 10,
        "total": 40,
        "verdicts": {"in_context": 3, "out_of_context": 6, "unsure": 1},
        "unread": {"refused": 1, "empty": 0, "too_long": 0, "unparsed": 0},
        "mean_confidence": pytest.approx((5 * 0.5 + 4 * 0.75) / 9),
        "seconds_each": 2.0,
        "tokens_in": 1_000,
        "tokens_out": 200,
        "tries": 10,
        "cost": pytest.approx(0.1),
        "rate": 2.0,
        "seconds_left": 15.0,
        "signs": [],
    }


def looked_at(answer: Answer, folder: Path, count: int = 14) -> tuple[Sight, int]:
    """Ask whether a teacher ignores pictures of one colour each."""
    sample = [Asked(CaseInput("none", "", "Case 99. No picture."), None)]
    for number in range(count):
        path = folder / f"{number}.jpg"
        Image.new("RGB", (96, 64), "teal").save(path, "JPEG")
        sample.append(Asked(CaseInput(str(number), "", f"Case {number}. A flood."), path))

    async def run() -> tuple[Sight, int]:
        async with fault_server(answer) as faults:
            config = TeacherConfig("Test", "endpoint", "any", base_url=faults.url, price_in=1_000.0)
            teacher = open_teacher(config, {})
            try:
                return await ignores_image(teacher, config, sample), faults.count
            finally:
                await teacher.close()

    return asyncio.run(run())


def is_noise(got: Got) -> bool:
    """Look at the picture that came."""
    url = got.body["messages"][0]["content"][0]["image_url"]["url"]
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as picture:
        return max(ImageStat.Stat(picture).stddev) > 20


def verdict_of(got: Got, verdict: Verdict) -> Sent:
    """Answer with this verdict."""
    return says(json.dumps({**GOOD, "verdict": verdict}))


def test_a_teacher_that_looks_changes_its_mind_over_noise(tmp_path: Path) -> None:
    sight, asked = looked_at(lambda got: verdict_of(got, OUT if is_noise(got) else IN), tmp_path)
    assert (sight.compared, sight.stayed, sight.in_context, sight.in_context_stayed) == (12, 0, 12, 0)
    assert sight.cost == pytest.approx(24)
    assert sight.ignores_image is False
    assert "looks" in sight.said
    assert asked == 2 * CASES_MAX


def test_a_teacher_of_the_text_alone_is_found_out(tmp_path: Path) -> None:
    sight, _ = looked_at(lambda got: verdict_of(got, OUT if got.case % 2 else IN), tmp_path)
    assert (sight.compared, sight.stayed, sight.in_context_stayed) == (12, 12, 6)
    assert sight.ignores_image is True
    assert "text alone" in sight.said


def test_nothing_is_concluded_from_captions_that_noise_contradicts_too(tmp_path: Path) -> None:
    sight, _ = looked_at(lambda got: verdict_of(got, OUT), tmp_path, count=4)
    assert (sight.compared, sight.stayed, sight.ignores_image) == (4, 4, None)
    assert "too few" in sight.said


def test_a_teacher_that_cannot_be_asked_is_no_teacher_that_looks(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="key"):
        looked_at(lambda _: fails(401), tmp_path)
