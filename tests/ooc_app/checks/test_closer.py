"""Looking closer at an answer: when it comes, what is kept of it, and who waits for it."""

import base64
import io
import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from db.checks import NotOwnCheckError, UnknownCheckError, check_of
from ooc_app.auth import Person, local_person, now
from ooc_app.checks.answer_panel import answer_panel
from ooc_app.checks.answering import Answered, check
from ooc_app.checks.background import Background
from ooc_app.checks.closer import closer, comes_unasked, in_words, look_closer
from ooc_app.checks.question import CheckRefusedError, Question, question
from ooc_app.desk import Desk, open_desk
from ooc_app.serving import Serving
from tests.ooc_app.checks.fixed import FixedServing
from training import drawing, world

CAPTION = "A market by the castle in Norvik, in daylight."


class SlowServing(FixedServing):
    """Answers at once, and says that a prompt takes it ten seconds."""

    def seconds_a_prompt(self) -> float | None:
        return 10.0


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Desk, Serving]]:
    """Give a desk and the student of the shipped run, which looks at pictures."""
    with pytest.MonkeyPatch.context() as setting:
        setting.setenv("OOC_STUDENT", "assets/demo-run")
        with open_desk(tmp_path_factory.mktemp("closer") / "data") as opened:
            serving = Serving(opened)
            yield opened, serving
            serving.close()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a picture of the scene that the caption tells."""
    scene = replace(world.sample_scene(random.Random(4)), landmark="castle", event="market", time="day")
    path = tmp_path_factory.mktemp("drawn") / "drawn.png"
    drawing.draw(scene, 4, height=240, supersample=1).save(path)
    return path


@pytest.fixture(scope="module")
def answered(shipped: tuple[Desk, Serving], drawn: Path) -> list[Answered]:
    """Give a check by the local person, step by step, looked at closer where that is quick."""
    desk, serving = shipped
    asked = question(drawn, CAPTION)
    return list(check(desk, serving, Background(desk), local_person(desk), asked, with_closer=True))


def reads(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the prompts of every pass from now on."""
    student, _ = serving._current()
    counted: list[int] = []
    read = student.read

    def counting(sights: Any, cases: Any) -> Any:
        counted.append(len(cases))
        return read(sights, cases)

    monkeypatch.setattr(student, "read", counting)
    return counted


def test_nobody_looks_closer_at_a_check_that_is_gone_or_somebody_elses(
    desk: Desk, person: Person, colleague: Person, drawn: Path
) -> None:
    serving = FixedServing()
    given = list(check(desk, serving, Background(desk), person, question(drawn, CAPTION)))[-1]
    assert given.token is not None
    with pytest.raises(NotOwnCheckError):
        next(look_closer(desk, serving, colleague, given.token))
    with pytest.raises(UnknownCheckError):
        next(look_closer(desk, serving, person, "gone"))


def test_what_another_student_answered_is_not_explained_by_the_served_one(
    shipped: tuple[Desk, Serving], drawn: Path
) -> None:
    desk, serving = shipped
    person = local_person(desk)
    given = list(check(desk, FixedServing(), Background(desk), person, question(drawn, CAPTION)))[-1]
    assert given.token is not None
    with pytest.raises(CheckRefusedError, match="no longer served"):
        next(look_closer(desk, serving, person, given.token))


def test_a_slow_student_says_how_long_it_would_take_and_does_not_begin(
    desk: Desk, person: Person, drawn: Path
) -> None:
    steps = list(
        check(desk, SlowServing(), Background(desk), person, question(drawn, CAPTION), with_closer=True)
    )
    assert steps[-1].closer_takes == "about 7 minutes"
    assert (steps[-1].word_grounds, steps[-1].part_grounds, steps[-1].is_done) == (None, None, True)


@pytest.mark.parametrize(
    ("seconds", "unasked", "said"),
    [
        (None, False, "it is not known how long"),
        (0.4, True, "about 5 seconds"),
        (10.0, True, "about 10 seconds"),
        (10.1, False, "about 10 seconds"),
        (57.0, False, "about a minute"),
        (200.0, False, "about 3 minutes"),
    ],
)
def test_what_takes_longer_than_ten_seconds_is_asked_for(
    seconds: float | None, unasked: bool, said: str
) -> None:
    assert comes_unasked(seconds) is unasked
    assert in_words(seconds) == said


def test_whoever_stops_listening_stops_it(
    shipped: tuple[Desk, Serving], drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, serving = shipped
    serving.check(drawn, CAPTION)
    passes = reads(serving, monkeypatch)
    looking = closer(serving, drawn, Question(None, CAPTION))
    next(looking)
    looking.close()  # type: ignore[attr-defined]  # it is a generator
    serving.check(drawn, "Another caption.")
    assert len(passes) == 2, "one piece, and the check behind it"


def test_others_are_answered_between_two_pieces(
    shipped: tuple[Desk, Serving], drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, serving = shipped
    serving.reliance(drawn, CAPTION)
    passes = reads(serving, monkeypatch)
    doing = []
    for step in closer(serving, drawn, Question(None, CAPTION)):
        doing.append(step.doing)
        serving.check(drawn, f"{CAPTION} Asked by somebody else, {len(doing)}.")
    assert max(passes) <= 8
    assert all(1 in pair for pair in pairwise(passes)), "a question after every piece"
    assert doing[0] == "Looking closer: 5 of 42 variants judged"
    assert doing[-1] == ""


def test_a_quick_student_looks_closer_unasked_and_it_is_kept(
    shipped: tuple[Desk, Serving], answered: list[Answered]
) -> None:
    desk, serving = shipped
    last = answered[-1]
    assert last.is_done
    assert last.doing == last.closer_takes == ""
    assert any(step.doing.startswith("Looking whether") for step in answered)
    assert any(step.doing.startswith("Looking closer") for step in answered)
    assert serving.seconds_a_prompt() is not None
    with desk.sessions() as session:
        found = check_of(session, last.token or "", now()).found
    assert found["reliance"]["depends"] is True
    assert found["seconds"] > 0
    assert len(found["word_grounds"]["words"]) == 4
    assert [len(row) for row in found["part_grounds"]["changes"]] == [6] * 6
    assert found["part_grounds"]["verdict"] == last.answer.verdict


def test_the_answer_shows_what_it_rests_on_as_soon_as_it_is_known(answered: list[Answered]) -> None:
    first, last = answer_panel(answered[0]), answer_panel(answered[-1])
    looking = next(step for step in answered if step.doing)
    assert 'class="writing"' in first
    assert 'class="writing"' not in answer_panel(looking)
    assert "Looking whether the answer depends on the picture" in answer_panel(looking)
    assert "Does it see?" not in answer_panel(looking)
    assert "The answer depends on the picture" in last
    assert last.index("Does it see?") < last.index("Words that carry it") < last.index("Parts of the picture")
    assert f'src="/desk/images/{answered[-1].image.sha256}"' in last
    assert "Looking" not in last


def test_a_check_is_looked_at_closer_on_request_and_keeps_it(
    shipped: tuple[Desk, Serving], drawn: Path
) -> None:
    desk, serving = shipped
    person = local_person(desk)
    given = list(check(desk, serving, Background(desk), person, question(drawn, CAPTION)))[-1]
    assert given.token is not None
    assert given.word_grounds is None
    last = list(look_closer(desk, serving, person, given.token))[-1]
    with desk.sessions() as session:
        found = check_of(session, given.token, now()).found
    assert len(found["word_grounds"]["words"]) == len(last.found["word_grounds"]["words"]) == 4
    assert found["part_grounds"]["forwards"] == 37


def test_a_visitors_picture_is_shown_without_a_route_and_whole(
    shipped: tuple[Desk, Serving], drawn: Path, tmp_path: Path
) -> None:
    _, serving = shipped
    with open_desk(tmp_path / "demo", mode="demo") as demo:
        steps = check(demo, serving, Background(demo), None, question(drawn, CAPTION), with_closer=True)
        last = list(steps)[-1]
    kind, _, data = last.picture.partition(";base64,")
    assert kind == "data:image/jpeg"
    with Image.open(io.BytesIO(base64.b64decode(data))) as shown, Image.open(drawn) as asked:
        assert shown.width / shown.height == pytest.approx(asked.width / asked.height, abs=0.02)
    assert last.picture in answer_panel(last)
