import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from db.engine import write_session
from db.models import Check, Event, Image
from db.vocabulary import Verdict
from ooc_app.auth import NotAllowedError, Person, now
from ooc_app.checks import report_deeds
from ooc_app.checks.answer_panel import answer_panel
from ooc_app.checks.answering import TRIES, Answered, asking_person, check, with_picture
from ooc_app.checks.background import Background
from ooc_app.checks.question import CheckRefusedError, Question, question
from ooc_app.desk import Desk, open_desk
from ooc_app.intake.images import ImageRefusedError, StoredImage, stored_path
from ooc_app.serving import CheckAnswer, Serving
from tests.ooc_app.checks.fixed import HOSTILE, FixedServing
from tests.ooc_app.conftest import drawn_picture


def answered(
    desk: Desk, serving: Serving, person: Person | None, picture: str, caption: str = "A caption."
) -> list[Answered]:
    return list(check(desk, serving, Background(desk), person, question(picture, caption)))


def given(answer: CheckAnswer, rationale: str) -> Answered:
    asked = Question(Path("a.png"), "A caption.")
    stored = StoredImage("a" * 64, "PNG", 64, 48, 100, frames=3)
    return Answered(asked, stored, Path("a.jpg"), answer, rationale, is_done=True)


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
    steps = answered(desk, FixedServing(), person, picture, " A caption. ")
    assert [one.rationale for one in steps] == ["", "The tower", *[f"The tower is {HOSTILE}"] * 3]
    assert [one.is_done for one in steps] == [False, False, False, False, True]
    assert [one.token is not None for one in steps] == [False, False, False, True, True]
    assert steps[-1].provenance is not None


def test_a_check_on_a_desk_is_kept_with_its_picture(desk: Desk, person: Person, picture: str) -> None:
    for _ in range(2):
        answered(desk, FixedServing(), person, picture)
    first, second = kept(desk)
    assert (first.verdict, first.probability, first.caption) == (Verdict.OUT_OF_CONTEXT, 0.86, "A caption.")
    assert first.annotator_id == person.annotator_id
    assert first.token != second.token
    assert first.found["words"] == "Leans out."
    assert first.found["reliance"]["curve"] == [[0, 0.86], [900, 0.5]]
    assert "gps" in first.found["provenance"]["metadata"]
    with desk.sessions() as session:
        assert len(session.scalars(sa.select(Image)).all()) == 1


def test_a_picture_deleted_with_another_check_of_it_is_kept_again(
    desk: Desk, person: Person, picture: str
) -> None:
    other = answered(desk, FixedServing(), person, picture)[-1].token or ""

    class Deleting(FixedServing):
        def rationale(self, *asked: object) -> Iterator[str]:
            report_deeds.delete(desk, person, other)
            yield "The tower"

    last = answered(desk, Deleting(), person, picture)[-1]
    [check] = kept(desk)
    assert check.token == last.token
    assert last.shown.exists()
    assert stored_path(check.image_sha256, desk.images_dir).exists()


def test_a_picture_deleted_before_the_rationale_is_begun_is_one_sentence(
    desk: Desk, person: Person, picture: str
) -> None:
    other = answered(desk, FixedServing(), person, picture)[-1].token or ""

    class Deleting(FixedServing):
        def rationale(self, image_path: Path, *rest: object) -> Iterator[str]:
            report_deeds.delete(desk, person, other)
            yield str(len(image_path.read_bytes()))

    with pytest.raises(ImageRefusedError, match="was deleted while it was asked about"):
        answered(desk, Deleting(), person, picture)
    assert kept(desk) == []


def test_others_write_while_a_picture_is_admitted_again_and_one_that_stays_away_is_refused(
    desk: Desk, person: Person
) -> None:
    written: list[int] = []

    def admit_again() -> None:
        def write() -> None:
            with write_session(desk.sessions) as session:
                session.add(Event(at=now(), annotator_id=person.annotator_id, action="meanwhile"))
            written.append(1)

        other = threading.Thread(target=write)
        other.start()
        other.join(20)

    with pytest.raises(ImageRefusedError, match="was deleted while it was asked about"):
        with_picture(desk, "a" * 64, admit_again, lambda session: pytest.fail("there is no picture"))
    assert written == [1] * (TRIES - 1)


def test_the_student_sees_the_shown_copy_and_never_the_upload(
    desk: Desk, person: Person, picture: str
) -> None:
    serving = FixedServing()
    answered(desk, serving, person, picture)
    [(shown, caption)] = serving.asked
    assert shown[:2] == b"\xff\xd8"
    assert shown != Path(picture).read_bytes()
    assert caption == "A caption."


def test_a_visitor_of_the_demo_leaves_nothing_behind(tmp_path: Path, picture: str) -> None:
    with open_desk(tmp_path / "demo", mode="demo") as demo:
        visitor = asking_person(demo, None)
        assert visitor is None
        assert answered(demo, FixedServing(), visitor, picture)[-1].is_done
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
        answered(desk, serving, person, str(text))
    assert serving.asked == []


def test_an_answer_that_is_none_shows_no_verdict_as_one() -> None:
    leaning = replace(FixedServing().answer, probability=0.56, cannot_tell=True)
    panel = answer_panel(given(leaning, "Because."))
    assert 'class="chip unsure large"' in panel
    assert "chip out_of_context" not in panel
    assert "probability of out of context <b>0.56</b>" in panel


def test_a_warning_stands_before_the_verdict_and_hostile_text_stays_text() -> None:
    answer = FixedServing(warning="This picture is not a drawing.").answer
    panel = answer_panel(given(answer, f"Because {HOSTILE}"))
    assert panel.index("not a drawing") < panel.index("out of context") < panel.index("0.86")
    assert "<img" not in panel
    assert "knows only the demo world" in panel
