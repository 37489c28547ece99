"""The same check by other students, with the shipped run's, small as they are."""

import gc
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.checks import UnknownCheckError
from db.vocabulary import Verdict
from ooc_app.auth import local_person
from ooc_app.checks.answering import check
from ooc_app.checks.background import Background
from ooc_app.checks.compare import Answerer, Compared, compare
from ooc_app.checks.compare_panel import compare_panel
from ooc_app.checks.other_students import other_students
from ooc_app.checks.question import CheckRefusedError, Question, question
from ooc_app.checks.said import AnswererError, Said
from ooc_app.desk import DEMO_RUN, Desk, open_desk
from ooc_app.promotion import promote, rollback, served_before
from ooc_app.serving import Serving
from tests.ooc_app.checks.fixed import HOSTILE, FixedServing
from training import drawing, memory, world
from training.student import Student

CAPTION = "A market by the castle in Norvik."


def asked_with(desk: Desk, serving: Serving, picture: Path) -> str:
    """Check the picture on a desk, and return the check's token."""
    given = list(check(desk, serving, Background(desk), local_person(desk), question(picture, CAPTION)))[-1]
    assert given.token is not None
    return given.token


def last(steps: Iterator[list[Compared]]) -> dict[str, Compared]:
    """The columns at the end, by their titles."""
    *_, columns = steps
    return {column.title: column for column in columns}


def students_in_memory() -> int:
    return sum(type(one) is Student for one in gc.get_objects())


def finished_run(desk: Desk, name: str) -> Path:
    """Put the shipped run on a desk."""
    folder = desk.runs_dir / name
    shutil.copytree(DEMO_RUN, folder)
    return folder


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "drawn.png"
    drawing.draw(world.sample_scene(random.Random(4)), 4, height=96, supersample=1).save(path)
    return path


@pytest.fixture(scope="module")
def promoted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Desk, Serving]]:
    """Give a desk on which the student of a second run is served, after that of a first one."""
    with open_desk(tmp_path_factory.mktemp("promoted") / "data") as desk:
        for name in ("first", "second"):
            finished_run(desk, name)
            promote(desk, name)
        serving = Serving(desk)
        yield desk, serving
        serving.close()


@pytest.fixture(scope="module")
def token(promoted: tuple[Desk, Serving], picture: Path) -> str:
    """Give a check that the served student has answered."""
    return asked_with(*promoted, picture)


def test_a_check_that_is_gone_is_compared_with_nothing(promoted: tuple[Desk, Serving]) -> None:
    with pytest.raises(UnknownCheckError):
        next(compare(*promoted, "gone"))


def test_one_comparison_goes_on_at_a_time_and_lets_the_next_one_in_when_it_is_left(
    promoted: tuple[Desk, Serving], token: str
) -> None:
    comparing = compare(*promoted, token)
    next(comparing)
    with pytest.raises(CheckRefusedError, match="Another comparison"):
        next(compare(*promoted, token))
    comparing.close()
    assert next(compare(*promoted, token))


def test_a_student_that_is_damaged_or_missing_says_so_and_the_others_answer(
    promoted: tuple[Desk, Serving], token: str, tmp_path: Path
) -> None:
    desk, serving = promoted
    first, second = desk.runs_dir / "first" / "dpo", desk.runs_dir / "second" / "sft"
    whole = (first / "adapter_model.safetensors").read_bytes()
    (first / "adapter_model.safetensors").write_bytes(whole[:1000])
    second.rename(tmp_path / "sft")
    found = last(compare(desk, serving, token))
    (first / "adapter_model.safetensors").write_bytes(whole)
    (tmp_path / "sft").rename(second)
    assert found["served before"].refused.startswith("This student could not be loaded: ")
    assert found["after stage 1"].refused.startswith("The adapter of stage 1 is not in the run's folder")
    assert found["untouched"].said is not None
    assert not any(column.doing for column in found.values())


@pytest.fixture
def no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as on a machine without memory for a second student."""
    monkeypatch.setattr(memory, "this_machine", lambda: memory.Machine("cpu", 1e6))


@pytest.mark.usefixtures("no_room")
def test_a_student_that_would_not_fit_is_not_loaded_and_whoever_else_is_asked_answers_or_refuses(
    promoted: tuple[Desk, Serving], token: str
) -> None:
    def answering(shown: Path, asked: Question) -> Iterator[str | Said]:
        assert shown.read_bytes()[:2] == b"\xff\xd8"
        yield "thinking"
        yield Said(Verdict.IN_CONTEXT, 0.7, rationale=f"Of {asked.caption}")

    def refusing(shown: Path, asked: Question) -> Iterator[str | Said]:
        yield "thinking"
        raise AnswererError("It is not there today.")

    more = [Answerer("teacher one", "one", answering), Answerer("teacher two", "two", refusing)]
    *_, columns = compare(*promoted, token, more)
    students = [column for column in columns[:-2] if not column.is_kept]
    assert len(students) == 3
    assert all("beside the served one, and 0.0 GB of memory is free" in column.refused for column in students)
    assert columns[-2].said == Said(Verdict.IN_CONTEXT, 0.7, rationale=f"Of {CAPTION}")
    assert columns[-1].refused == "It is not there today."


@pytest.mark.usefixtures("no_room")
def test_an_answer_of_a_student_no_longer_served_stands_first_and_the_served_one_is_asked(
    promoted: tuple[Desk, Serving], picture: Path
) -> None:
    desk, serving = promoted
    found = last(compare(desk, serving, asked_with(desk, FixedServing(), picture)))
    assert list(found) == [
        "as it was answered",
        "untouched",
        "after stage 1",
        "after stage 2, served now",
        "served before",
    ]
    assert found["as it was answered"].name == "fixed"
    assert found["after stage 2, served now"].refused


def test_the_untouched_student_each_stage_and_the_one_before_stand_beside_what_is_kept(
    promoted: tuple[Desk, Serving], token: str
) -> None:
    desk, serving = promoted
    served, _ = serving._current()
    before = students_in_memory()
    steps = []
    for step in compare(desk, serving, token):
        steps.append({column.title: column for column in step})
        if any(column.doing == "looking at the picture" for column in step):
            assert students_in_memory() == before + 1, "one at a time"
    assert students_in_memory() == before, "each is let go"
    first, found = steps[0], steps[-1]
    kept = "after stage 2, served now, as it was answered"
    assert list(found) == ["untouched", "after stage 1", kept, "served before"]
    assert [column.doing for column in first.values()] == ["waiting", "waiting", "", "waiting"]
    assert first[kept] == found[kept], "what is kept is not asked again"
    assert "loading" in {step["served before"].doing for step in steps}
    said = {title: column.said for title, column in found.items() if isinstance(column.said, Said)}
    assert all(one.seconds for one in said.values())
    again = said["served before"]
    assert (again.verdict, again.rationale) == (said[kept].verdict, said[kept].rationale)
    assert again.probability == pytest.approx(said[kept].probability, abs=1e-3)
    assert said["after stage 1"].rationale
    assert [one.note for one in said.values()] == [
        "not calibrated",
        "calibrated after stage 2",
        "",
        "",
    ]
    assert serving._current()[0] is served, "it was not loaded anew"


def test_the_shipped_run_which_has_no_stage_1_is_compared_with_its_untouched_student(
    picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OOC_STUDENT", "assets/demo-run")
    with open_desk(tmp_path / "data") as desk:
        serving = Serving(desk)
        found = last(compare(desk, serving, asked_with(desk, serving, picture)))
        serving.close()
    assert list(found) == ["untouched", "after stage 1", "after stage 2, served now, as it was answered"]
    assert found["untouched"].name == "assets/student"
    assert found["untouched"].said is not None


def test_a_student_that_plays_two_parts_is_asked_once(tmp_path: Path) -> None:
    with open_desk(tmp_path / "data") as desk:
        assert [one.title for one in other_students(desk)] == ["served now"]
        assert served_before(desk) is None
        finished_run(desk, "first")
        promote(desk, "first")
        titles = [one.title for one in other_students(desk)]
        assert titles == ["untouched, served before", "after stage 1", "after stage 2, served now"]
        rollback(desk)
        assert served_before(desk) is None
        assert [one.title for one in other_students(desk)] == ["served now"]


def test_columns_show_what_each_says_does_or_refuses_and_hostile_text_stays_text() -> None:
    said = Said(Verdict.OUT_OF_CONTEXT, 0.56, True, HOSTILE, 0.034, "not calibrated")
    drawn = compare_panel(
        [
            Compared("kept", HOSTILE, said, is_kept=True),
            Compared("silent", "b", Said(Verdict.IN_CONTEXT, 0.8)),
            Compared("busy", "c", doing="loading"),
            Compared("away", "d", refused=HOSTILE),
        ]
    )
    assert "<img" not in drawn
    assert 'aria-busy="true"' in drawn
    assert "probability of out of context <b>0.56</b> · not calibrated · verdict in 0.03 s" in drawn
    assert "It wrote no rationale." in drawn
    assert drawn.count('<li class="compared-one') == 4


def test_a_lone_student_is_compared_with_nobody() -> None:
    drawn = compare_panel([Compared("kept", "a", Said(Verdict.IN_CONTEXT, 0.9), is_kept=True)])
    assert "No other student to compare with" in drawn
