"""What a watch sees in the opinions of one teacher."""

import json
from collections.abc import Callable

import pytest

from db.vocabulary import Answer as Verdict
from training.teacher_question import ParsedOpinion
from training.teacher_sight import Sight
from training.teacher_watch import LEAST, WINDOW, SignKind, TeacherWatch
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


@pytest.mark.parametrize("kind", list(ODD))
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
        "sight": None,
        "signs": [],
    }


BLIND = Sight(12, unread=2, in_context=10, in_context_stayed=9, tokens_in=1_200, tokens_out=60, cost=0.5)


def test_a_teacher_that_ignores_the_picture_is_called_out_until_the_run_is_over() -> None:
    watch = watched(60, mixed)
    watch.see(BLIND)
    watch.note(mixed(60))
    assert [(sign.kind, sign.said) for sign in watch.signs()] == [(SignKind.IGNORES_IMAGE, BLIND.said)]
    assert watch.alarm() == watch.signs()[0]
    watch.go_on = True
    assert watch.alarm() is None


def test_answers_to_noise_are_paid_for_and_are_no_opinions() -> None:
    watch = watched(10, mixed)
    before = watch.figures()
    watch.see(BLIND)
    after = json.loads(json.dumps(watch.figures()))
    assert after["sight"] == BLIND.figures()
    assert (after["tokens_in"], after["tokens_out"]) == (2_200, 260)
    assert after["cost"] == pytest.approx(0.6)
    same = ("kept", "verdicts", "unread", "mean_confidence", "seconds_each", "tries")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
