from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from db.models import Check, Image
from db.vocabulary import Verdict
from ooc_app.auth import NotAllowedError, Person
from ooc_app.check import Answered, CheckRefusedError, answer_panel, asking_person, check, question
from ooc_app.desk import Desk, open_desk
from ooc_app.intake.images import ImageRefusedError
from ooc_app.serving import CheckAnswer, Serving
from tests.ooc_app.conftest import drawn_picture

HOSTILE = '<img src=x onerror="alert(1)">'


class FixedServing(Serving):
    """Answers every check alike, without a model; `asked` keeps what it was asked about."""

    def __init__(self, warning: str | None = None) -> None:
        self.answer = CheckAnswer(Verdict.OUT_OF_CONTEXT, 0.86, "fixed", "demo world", warning, "Leans out.")
        self.asked: list[tuple[bytes, str]] = []

    def state(self) -> str:
        return "ready"

    def check(
        self, image_path: Path, caption: str, date: str | None = None, place: str | None = None
    ) -> CheckAnswer:
        self.asked.append((image_path.read_bytes(), caption))
        return self.answer

    def rationale(
        self, image_path: Path, caption: str, date: str | None, place: str | None, verdict: Verdict
    ) -> Iterator[str]:
        yield "The tower"
        yield f"The tower is {HOSTILE}"


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "picture.png"
    path.write_bytes(drawn_picture())
    return str(path)


def kept(desk: Desk) -> list[Check]:
    with desk.sessions() as session:
        return list(session.scalars(sa.select(Check)))


@pytest.mark.parametrize(
    ("given", "picture_path", "caption"),
    [("picture", None, "A caption."), ("caption", "a.png", "  \n"), ("shorten", "a.png", "x" * 2001)],
)
def test_what_is_missing_or_too_long_is_said(given: str, picture_path: str | None, caption: str) -> None:
    with pytest.raises(CheckRefusedError, match=given):
        question(picture_path, caption)


def test_the_verdict_comes_first_then_the_rationale_as_it_grows(
    desk: Desk, person: Person, picture: str
) -> None:
    given = list(check(desk, FixedServing(), person, question(picture, " A caption. ")))
    assert [one.rationale for one in given] == ["", "The tower", *[f"The tower is {HOSTILE}"] * 2]
    assert [one.is_done for one in given] == [False, False, False, True]


def test_a_check_on_a_desk_is_kept_with_its_picture(desk: Desk, person: Person, picture: str) -> None:
    for _ in range(2):
        list(check(desk, FixedServing(), person, question(picture, "A caption.")))
    first, second = kept(desk)
    assert (first.verdict, first.probability, first.caption) == (Verdict.OUT_OF_CONTEXT, 0.86, "A caption.")
    assert first.annotator_id == person.annotator_id
    assert first.token != second.token
    with desk.sessions() as session:
        assert len(session.scalars(sa.select(Image)).all()) == 1


def test_the_student_sees_the_shown_copy_and_never_the_upload(
    desk: Desk, person: Person, picture: str
) -> None:
    serving = FixedServing()
    list(check(desk, serving, person, question(picture, "A caption.")))
    [(shown, caption)] = serving.asked
    assert shown[:2] == b"\xff\xd8"
    assert shown != Path(picture).read_bytes()
    assert caption == "A caption."


def test_a_visitor_of_the_demo_leaves_nothing_behind(tmp_path: Path, picture: str) -> None:
    with open_desk(tmp_path / "demo", mode="demo") as demo:
        visitor = asking_person(demo, None)
        assert visitor is None
        assert list(check(demo, FixedServing(), visitor, question(picture, "A caption.")))[-1].is_done
        assert kept(demo) == []
        assert [path for path in demo.images_dir.rglob("*") if path.is_file()] == []


def test_a_desk_answers_no_stranger(desk: Desk) -> None:
    with pytest.raises(NotAllowedError):
        asking_person(desk, None)


def test_what_is_no_picture_is_refused_before_the_student_is_asked(
    desk: Desk, person: Person, tmp_path: Path
) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    serving = FixedServing()
    with pytest.raises(ImageRefusedError):
        list(check(desk, serving, person, question(str(text), "A caption.")))
    assert serving.asked == []


def test_an_answer_that_is_none_shows_no_verdict_as_one() -> None:
    leaning = replace(FixedServing().answer, probability=0.56, cannot_tell=True)
    panel = answer_panel(Answered(leaning, "Because.", is_done=True))
    assert 'class="chip unsure large"' in panel
    assert "chip out_of_context" not in panel
    assert "probability of out of context <b>0.56</b>" in panel


def test_a_warning_stands_before_the_verdict_and_hostile_text_stays_text() -> None:
    answer = FixedServing(warning="This picture is not a drawing.").answer
    panel = answer_panel(Answered(answer, f"Because {HOSTILE}", is_done=True))
    assert panel.index("not a drawing") < panel.index("out of context") < panel.index("0.86")
    assert "<img" not in panel
    assert "knows only the demo world" in panel
