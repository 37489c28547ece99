"""Teachers of settings.toml beside a check's answer, asked at a real small server."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from db.engine import write_session
from db.models import Event, Opinion, Teacher, TeachRun
from db.teaching import retire
from db.vocabulary import Answer, Element
from ooc_app.auth import Person, now
from ooc_app.check import comparing, offering
from ooc_app.checks.answering import check
from ooc_app.checks.background import Background
from ooc_app.checks.compare import Compared, compare
from ooc_app.checks.compare_panel import compare_panel
from ooc_app.checks.live_teachers import answerers, ask, askable, goes_to
from ooc_app.checks.question import CheckRefusedError, Question, question
from ooc_app.checks.said import AnswererError, TeacherSaid
from ooc_app.desk import Desk, SettingsError, open_desk
from ooc_app.teacher_settings import add_teacher
from tests.ooc_app.checks.fixed import HOSTILE, FixedServing
from tests.ooc_app.conftest import drawn_picture
from tests.ooc_app.page_requests import Request
from tests.ooc_app.teacher_server import KEY, MODEL, TeacherServer, serving
from tests.ooc_app.test_cases import as_annotator
from training import memory
from training.teachers import TeacherConfig

ENVIRONMENT = {"DESK_KEY": KEY}


class Comparing(FixedServing):
    """Can be compared with, by one person at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.is_comparing = threading.Lock()


@pytest.fixture
def server() -> Iterator[TeacherServer]:
    """Give a teacher's server."""
    with serving() as running:
        yield running


@pytest.fixture
def rule(desk: Desk, server: TeacherServer) -> TeacherConfig:
    """Give that server's teacher, which stands in settings.toml."""
    config = TeacherConfig(
        "rule", "endpoint", MODEL, base_url=server.base_url, key_env="DESK_KEY", price_in=1.0, price_out=2.0
    )
    add_teacher(desk, config)
    return config


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    path.write_bytes(drawn_picture())
    return path


@pytest.fixture
def token(desk: Desk, person: Person, shown: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give a check on a machine without memory for another student."""
    monkeypatch.setattr(memory, "this_machine", lambda: memory.Machine("cpu", 1e6))
    asked = question(shown, "Caption 1.", "12 March 2021", "Halden")
    return list(check(desk, FixedServing(), Background(desk), person, asked))[-1].token or ""


def last(
    desk: Desk, config: TeacherConfig, shown: Path, caption: str = "Caption 1.", **environment: str
) -> Any:
    """What a teacher says in the end."""
    steps = ask(desk, config, environment or ENVIRONMENT, shown, Question(None, caption, "2021", "Halden"))
    said = next(steps)
    while isinstance(said, str):
        time.sleep(0.01)
        said = next(steps)
    return said


def teachers(columns: list[Compared]) -> list[Compared]:
    return [column for column in columns if column.title == "teacher"]


@pytest.mark.parametrize(
    ("changed", "broken", "said"),
    [
        ({"key_env": "NO_KEY"}, {}, "NO_KEY is not set"),
        ({"base_url": "http://127.0.0.1:9/v1"}, {}, "rule has not answered once in 2 tries"),
        ({"timeout_s": 0.3}, {"seconds": 1.0}, "It did not answer within 0.3 seconds."),
        ({}, {"status": 401}, "401"),
        ({}, {"status": 400}, "It gave no answer: "),
        (
            {},
            {"raw": f"Perhaps, {HOSTILE}"},
            f"Its answer names no verdict that can be read: Perhaps, {HOSTILE}",
        ),
        ({}, {"raw": "I'm sorry, I can't help with that."}, "It declined to answer: I'm sorry"),
    ],
)
def test_a_teacher_that_does_not_answer_says_why_in_one_sentence(
    desk: Desk,
    rule: TeacherConfig,
    server: TeacherServer,
    shown: Path,
    changed: dict[str, Any],
    broken: dict[str, Any],
    said: str,
) -> None:
    for name, value in broken.items():
        setattr(server, name, value)
    with pytest.raises(AnswererError) as refused:
        last(desk, replace(rule, **changed), shown)
    told = str(refused.value)
    assert said in told
    assert "\n" not in told
    assert KEY not in told


def test_a_picture_that_is_damaged_fails_in_one_sentence(
    desk: Desk, rule: TeacherConfig, server: TeacherServer, shown: Path
) -> None:
    shown.write_text("no picture")
    with pytest.raises(AnswererError, match=r"^It "):
        last(desk, rule, shown)
    assert not server.asked


def test_a_teacher_is_asked_once_in_the_words_of_a_run_and_leaves_nothing_on_the_desk(
    desk: Desk, rule: TeacherConfig, server: TeacherServer, shown: Path
) -> None:
    with desk.sessions() as session:
        events = session.scalar(sa.select(sa.func.count(Event.id)))
    said = last(desk, rule, shown)
    assert isinstance(said, TeacherSaid)
    assert (said.verdict, said.confidence, said.elements) == (Answer.OUT_OF_CONTEXT, 0.75, (Element.PLACE,))
    assert said.rationale == "By the rule of number 1."
    assert said.cost == pytest.approx(1000 / 1e6 + 50 * 2 / 1e6)
    assert server.asked == {"Caption 1.": 1}
    assert server.keys == {f"Bearer {KEY}"}
    [text] = server.texts
    assert '"claimed_date": "2021", "claimed_place": "Halden"' in text
    assert "Find out whether the caption belongs to the picture." in text
    with desk.sessions() as session:
        for table in (Teacher, Opinion, TeachRun):
            assert session.scalar(sa.select(sa.func.count(table.id))) == 0
        assert session.scalar(sa.select(sa.func.count(Event.id))) == events


def test_one_without_prices_has_no_cost_and_one_that_reads_only_gets_no_picture(
    desk: Desk, rule: TeacherConfig, server: TeacherServer, shown: Path
) -> None:
    free = replace(rule, price_in=0.0, price_out=0.0, text_only=True)
    assert last(desk, free, shown).cost is None
    assert "and not the picture" in server.texts[0]


def test_endpoints_that_are_not_retired_are_offered_and_nobody_on_a_demo_page(
    desk: Desk, rule: TeacherConfig, server: TeacherServer
) -> None:
    add_teacher(desk, replace(rule, name="old"))
    add_teacher(desk, TeacherConfig("recorded", "replay", "any", path="said.jsonl"))
    add_teacher(desk, TeacherConfig("here", "local", "models/here"))
    with write_session(desk.sessions) as session:
        session.add(Teacher(name="old", kind="endpoint", active=True))
        session.flush()
        retire(session, "old", None, now())
    assert [one.name for one in askable(desk)] == ["rule"]
    for name in ("old", "here", "nobody"):
        with pytest.raises(CheckRefusedError, match=f"{name} is retired or not in settings.toml"):
            answerers(desk, ["rule", name], ENVIRONMENT)
    assert [one.name for one in answerers(desk, ["rule", "rule"], ENVIRONMENT)] == [f"rule · {MODEL}"]
    with open_desk(desk.data_dir, mode="demo") as demo:
        assert askable(demo) == []
        with pytest.raises(CheckRefusedError):
            answerers(demo, ["rule"], ENVIRONMENT)


@pytest.mark.parametrize(
    ("base_url", "text_only", "said"),
    [
        (None, False, "sends the picture, caption, date and place to api.openai.com"),
        (
            "https://teach.example:8443/v1",
            False,
            "sends the picture, caption, date and place to teach.example:8443",
        ),
        ("https://teach.example/v1", True, "sends the caption, date and place to teach.example"),
        (
            "https://127.0.0.1.teach.example/v1",
            True,
            "sends the caption, date and place to 127.0.0.1.teach.example",
        ),
        ("http://127.0.0.1:11434/v1", False, "stays on this machine"),
        ("http://[::1]:8000/v1", False, "stays on this machine"),
        ("http://localhost:8000/v1", True, "stays on this machine"),
    ],
)
def test_it_is_said_where_the_picture_goes(base_url: str | None, text_only: bool, said: str) -> None:
    assert goes_to(TeacherConfig("t", "endpoint", "m", base_url=base_url, text_only=text_only)) == said


def test_nobody_waits_for_a_teacher_that_does_not_answer(
    desk: Desk, rule: TeacherConfig, server: TeacherServer, token: str
) -> None:
    server.free.clear()
    students = Comparing()
    waiting = compare(desk, students, token, answerers(desk, ["rule"], ENVIRONMENT))
    columns = next(waiting)
    while students.is_comparing.locked():
        columns = next(waiting)
    assert all(column.said or column.refused for column in columns if column.title != "teacher")
    assert teachers(columns)[0].doing.startswith("asked for ")
    *_, other = compare(desk, students, token)
    assert teachers(other) == []
    server.free.set()
    *_, columns = waiting
    [column] = teachers(columns)
    assert isinstance(column.said, TeacherSaid)
    assert (column.doing, column.name) == ("", f"rule · {MODEL}")


def test_a_comparison_that_is_left_lets_go_of_its_teachers(
    desk: Desk, rule: TeacherConfig, server: TeacherServer, token: str
) -> None:
    server.raw = "No verdict."  # which would be asked for once more
    server.free.clear()
    with closing(compare(desk, Comparing(), token, answerers(desk, ["rule"], ENVIRONMENT))) as comparing_:
        next(comparing_)
        while not server.asked:
            time.sleep(0.01)
    server.free.set()
    for thread in threading.enumerate():
        if thread.name == "ask rule once":
            thread.join(30)
    assert server.asked == {"Caption 1.": 1}


def test_only_an_editor_is_offered_teachers_and_none_is_chosen_beforehand(
    desk: Desk, colleague: Person, rule: TeacherConfig
) -> None:
    offered = offering(desk)(Request())
    assert (offered.visible, offered.value) == (True, [])
    assert offered.choices == [(f"rule ({MODEL}): stays on this machine", "rule")]
    assert "may cost money" in str(offered.info)
    hidden = offering(as_annotator(desk, colleague))(Request())
    assert (hidden.visible, hidden.choices) == (False, [])


def test_settings_that_are_wrong_say_so_where_teachers_would_stand(desk: Desk) -> None:
    assert offering(desk)(Request()).visible is False
    (desk.data_dir / "settings.toml").write_text("[teachers.a]\nkind = 3\n")
    with pytest.raises(SettingsError) as wrong:
        askable(desk)
    assert offering(desk)(Request()).info == str(wrong.value)


def test_an_annotator_compares_students_and_asks_no_teacher(
    desk: Desk, colleague: Person, rule: TeacherConfig, server: TeacherServer, token: str
) -> None:
    handler = comparing(as_annotator(desk, colleague), Comparing())
    [said] = handler(token, ["rule"], Request())
    assert "this needs the role editor" in said
    assert not server.asked
    *_, said = handler(token, [], Request())
    assert '<section class="compared"' in said


def test_an_editor_sees_a_teachers_answer_in_the_same_table(
    desk: Desk,
    rule: TeacherConfig,
    server: TeacherServer,
    token: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DESK_KEY", KEY)
    *_, said = comparing(desk, Comparing())(token, ["rule"], Request())
    assert "says it is <b>75 %</b> sure, uncalibrated · does not fit: place · answered in" in said
    assert "$0.0011" in said
    assert "By the rule of number 1." in said
    assert 'aria-busy="false"' in said


def test_a_hostile_teacher_is_shown_as_text() -> None:
    shown = TeacherSaid(Answer.UNSURE, None, HOSTILE, (), 12.0)
    drawn = compare_panel([Compared("teacher", HOSTILE, shown)])
    assert "<img" not in drawn
    assert "does not say how sure it is · names nothing amiss · answered in 12 s</p>" in drawn
    assert "is no opinion of the desk" in drawn
