import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa

from db.engine import write_session
from db.models import Annotator, Opinion, Teacher, TeachRun
from db.vocabulary import Role, TeacherKind
from ooc_app.auth import Person
from ooc_app.desk import Desk
from ooc_app.teach import HANDLERS, server_functions
from ooc_app.teach_board import Deed, doing
from ooc_app.teacher_settings import add_teacher, teacher_configs
from ooc_app.teaching import Asking, teach_desk
from tests.ooc_app.checks.fixed import HOSTILE
from tests.ooc_app.page_requests import Client, Request
from tests.ooc_app.teacher_server import KEY, MODEL, TeacherServer, serving
from tests.ooc_app.test_teaching import put_cases
from training.teacher_watch import TeacherWatch
from training.teachers import TeacherConfig

PATIENCE_S = 60.0
FREE = {"list", "look"}  # what everybody of the desk may ask


@dataclass
class Page:
    """What the script of the tab does: asks the handlers by name."""

    desk: Desk
    request: Request = field(default_factory=Request)

    def ask(self, name: str, **payload: Any) -> dict[str, Any]:
        functions = {one.__name__: one for one in server_functions(self.desk)}
        return functions[f"{name}_"](payload, self.request)

    def says(self, name: str, **payload: Any) -> str:
        """What a handler refuses with."""
        answer = self.ask(name, **payload)
        assert answer["ok"] is False, answer
        return str(answer["says"])

    def ended(self, teacher: str) -> dict[str, Any]:
        """One teacher, once nothing goes on with it."""
        until(lambda: not self.ask("look", teacher=teacher)["going"])
        return self.ask("one", teacher=teacher)


def until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def page(desk: Desk, person: Person) -> Page:
    return Page(desk)


@pytest.fixture
def server() -> Iterator[TeacherServer]:
    """Give a teacher's server."""
    with serving() as running:
        yield running


@pytest.fixture
def typed(server: TeacherServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Give what somebody types to add this server's teacher."""
    monkeypatch.setenv("DESK_API_KEY", KEY)
    return {
        "name": "rule", "kind": "endpoint", "model": MODEL, "base_url": server.base_url,
        "key_env": "DESK_API_KEY", "concurrency": "4", "price_in": "1",
    }  # fmt: skip


def kept(desk: Desk) -> int:
    with desk.sessions() as session:
        asked = sa.select(sa.func.count()).where(Opinion.model == MODEL, Opinion.current)
        return session.scalars(asked).one()


# ---- who may ----


def test_nobody_else_gets_anything(page: Page, desk: Desk) -> None:
    put_cases(desk, 1)
    for request in (
        Request(client=Client("203.0.113.9")),
        Request({"host": "127.0.0.1:7860", "origin": "https://evil.example"}),
    ):
        for name in HANDLERS:
            answer = Page(desk, request).ask(name, teacher="A", deed="run", typed={})
            assert answer["ok"] is False
            assert "parts" not in answer


def test_an_annotator_sees_who_the_teachers_are_and_changes_nothing(
    page: Page, desk: Desk, person: Person, typed: dict[str, Any]
) -> None:
    put_cases(desk, 1)
    page.ask("add", typed=typed)
    with write_session(desk.sessions) as session:
        session.execute(sa.update(Annotator).values(role=Role.ANNOTATOR))
    with doing(desk, "rule", Deed.RUN, dict) as board:
        board.end("teacher", f"There is no ruled-1 at {typed['base_url']}.")
    for name in HANDLERS:
        answer = page.ask(name, teacher="rule", deed="run", typed=typed)
        assert answer["ok"] is (name in FREE), name
        shown = json.dumps(answer)
        assert "data-deed" not in shown
        assert typed["base_url"].split("/")[2] not in shown
    with doing(desk, "rule", Deed.RUN, dict):
        looked = page.ask("look", teacher="rule")
        assert looked["going"] == ["rule"]
        assert "work" not in looked["parts"]


# ---- what is asked wrongly ----


@pytest.mark.parametrize(
    "payload",
    [
        {}, {"teacher": "gone"}, {"teacher": 3, "typed": "x", "seen": 4}, {"teacher": "x" * 9_999},
        {"teacher": "A", "deed": "dance"}, {"place": "nowhere", "typed": {"kind": ["endpoint"]}},
        {"teacher": "../../settings", "deed": "run"},
    ],
)  # fmt: skip
def test_nonsense_is_answered_with_a_sentence(page: Page, desk: Desk, payload: dict[str, Any]) -> None:
    put_cases(desk, 1)
    for name in HANDLERS:
        answer = page.ask(name, **payload)
        assert answer["ok"] or str(answer["says"]).endswith("."), (name, answer)
    assert teacher_configs(desk) == {}


def test_a_pasted_key_is_refused_and_stands_nowhere(page: Page, desk: Desk, typed: dict[str, Any]) -> None:
    secret = "sk-proj-Zm9vYmFy"
    for wrong in ({"key_env": secret}, {"base_url": f"https://me:{secret}@a.example/v1"}):
        for name in ("add", "test"):
            said = page.says(name, typed={**typed, **wrong})
            assert secret not in said
    assert secret not in (desk.data_dir / "settings.toml").read_text()
    assert "another name goes into settings.toml" in page.says("add", typed={**typed, "key_env": "HOME"})


def test_settings_that_are_wrong_are_named_and_the_desks_teachers_are_shown_all_the_same(
    page: Page, desk: Desk, typed: dict[str, Any]
) -> None:
    put_cases(desk, 1)
    with (desk.data_dir / "settings.toml").open("a") as settings:
        settings.write('[teachers.x]\nkind = "endpoint"\nmodle = "q"\n')
    shown = page.ask("list")["parts"]["list"]
    assert "unknown key `modle`" in shown
    assert ">A</a>" in shown
    assert "modle" in page.says("add", typed=typed)
    assert "modle" in page.says("one", teacher="x")
    with doing(desk, "A", Deed.RUN, dict):  # a slip in the file keeps nobody from Stop
        assert page.ask("one", teacher="A")["going"] is True


@pytest.mark.parametrize("payload", [None, [], 3, "text", {"teacher": "\ud800"}])
def test_what_is_no_question_gets_an_answer_and_no_traceback(
    page: Page, desk: Desk, payload: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for function in server_functions(desk):
        assert function(payload, page.request).keys() >= {"ok"}
    assert not caplog.records


def test_the_demos_script_is_no_name_for_a_teacher_that_is_asked(
    page: Page, desk: Desk, typed: dict[str, Any]
) -> None:
    with write_session(desk.sessions) as session:
        session.add(Teacher(name="Atlas", kind=TeacherKind.SCRIPTED))
    assert "script speaks as Atlas" in page.says("add", typed={**typed, "name": "Atlas"})
    one = page.ask("one", teacher="Atlas")["parts"]
    assert "cannot be asked" in one["card"]
    assert "data-form" not in one["deeds"]


# ---- adding, testing, changing, removing ----


def test_each_place_fills_a_form_that_can_be_added_as_it_is(page: Page, desk: Desk) -> None:
    places = page.ask("form", place="")["form"]
    assert places.count("data-place") == 7
    drawn = page.ask("form", place="Ollama")["form"]
    assert 'value="Ollama"' in drawn
    assert "ollama pull" in drawn
    add_teacher(desk, TeacherConfig("Ollama", "endpoint", "q"))
    assert 'value="Ollama 2"' in page.ask("form", place="Ollama")["form"]
    assert "readonly" in page.ask("form", teacher="Ollama")["form"]


def test_a_connection_is_tested_as_typed_and_as_it_stands_in_the_settings(
    page: Page, typed: dict[str, Any], server: TeacherServer
) -> None:
    wrong = page.ask("test", typed={**typed, "name": "", "model": "ruled-7b"})
    assert (wrong["ok"], wrong["works"]) == (True, False)
    assert f'data-model="{MODEL}"' in wrong["tested"]
    page.ask("add", typed=typed)
    assert page.ask("test", teacher="rule")["works"] is True
    assert page.ask("test", teacher="rule", typed={**typed, "model": "gone"})["works"] is False
    assert server.asked == {}
    assert "nothing to test" in page.says("test")


def test_a_teacher_is_added_changed_and_removed_and_what_it_said_stays(
    page: Page, desk: Desk, typed: dict[str, Any]
) -> None:
    put_cases(desk, 2)
    assert page.ask("add", typed={**typed, "name": "A"})["teacher"] == "A"
    listed = page.ask("list", teacher="A")
    assert (listed["askable"], listed["teachers"], listed["may_change"]) == (1, ["A"], True)
    assert page.ask("change", teacher="A", typed={**typed, "name": "B", "model": "other-1"})["ok"]
    assert teacher_configs(desk)["A"].model == "other-1"
    with doing(desk, "A", Deed.RUN, dict):
        for name in ("change", "remove", "begin"):
            assert "being done with A already" in page.says(name, teacher="A", typed=typed, deed="run")
    assert "its 2 opinions stay on the desk" in page.ask("remove", teacher="A")["says"]
    assert page.ask("list")["askable"] == 0
    page.ask("add", typed=typed)
    assert page.ask("remove", teacher="rule")["teacher"] is None


def test_hostile_names_are_shown_as_they_are_and_opened(
    page: Page, desk: Desk, typed: dict[str, Any]
) -> None:
    put_cases(desk, 1)
    page.ask("add", typed={**typed, "name": HOSTILE, "model": HOSTILE})
    shown = [page.ask("list"), page.ask("look", teacher=HOSTILE), page.ask("one", teacher=HOSTILE)]
    shown += [page.ask("form", teacher=HOSTILE), page.ask("figures", teacher=HOSTILE)]
    for answer in shown:
        assert answer["ok"], answer
        drawn = [html for part, html in answer.get("parts", {}).items() if part != "cells"]
        assert not [html for html in [*drawn, answer.get("form", "")] if "<img src=x" in html]


# ---- what goes on ----


def test_a_look_tells_only_what_has_changed(page: Page, desk: Desk, typed: dict[str, Any]) -> None:
    put_cases(desk, 2)
    page.ask("add", typed=typed)
    figures = {"kept": 1, "total": 4}
    with doing(desk, "rule", Deed.RUN, lambda: figures):
        first = page.ask("look", teacher="rule")
        assert set(first["parts"]) == {"counts", "cells", "work"}
        cells = json.loads(first["parts"]["cells"])
        assert cells == {"A": [None, "2"], "rule": ["asking, 25 %", "0"]}  # what stands still stays as it is
        assert page.ask("look", teacher="rule", seen=first["digests"])["parts"] == {}
        assert set(page.ask("look", teacher="A", seen=first["digests"])["parts"]) == {"work"}
    assert page.ask("look", teacher="rule")["going"] == []
    assert page.ask("forget", teacher="rule") == {"ok": True}
    assert page.ask("one", teacher="rule")["parts"]["work"] == ""


def test_a_dry_run_shows_three_cases_and_keeps_nothing(page: Page, desk: Desk, typed: dict[str, Any]) -> None:
    put_cases(desk, 5)
    page.ask("add", typed=typed)
    assert page.ask("begin", teacher="rule", deed="rehearse")["ok"]
    work = page.ended("rule")["parts"]["work"]
    assert work.count('class="teach-case"') == 3
    assert "All 5 missing cases would take" in work
    assert 'src="/desk/images/' in work
    assert "&lt;the key in DESK_API_KEY&gt;" in work
    assert KEY not in work
    assert kept(desk) == 0


def test_a_run_keeps_its_limits_is_stopped_and_goes_on_with_what_is_left(
    page: Page, desk: Desk, person: Person, typed: dict[str, Any], server: TeacherServer
) -> None:
    put_cases(desk, 12)
    page.ask("add", typed=typed)
    assert "Cases: give a number" in page.says("begin", teacher="rule", deed="run", typed={"limit": "0"})
    page.ask("begin", teacher="rule", deed="run", typed={"limit": "3"})
    assert "Go on with the 9 left" in page.ended("rule")["parts"]["work"]
    assert kept(desk) == 3
    server.free.clear()
    page.ask("begin", teacher="rule", deed="run", typed={})
    until(lambda: sum(server.asked.values()) > 3)
    assert page.ask("one", teacher="rule")["going"] is True
    assert "being done with rule already" in page.says("begin", teacher="rule", deed="rehearse")
    assert page.ask("stop", teacher="rule")["ok"]
    server.free.set()
    assert "It was stopped" in page.ended("rule")["parts"]["work"]
    assert 3 < kept(desk) < 12
    assert max(server.asked.values()) == 1
    runs = page.ask("figures", teacher="rule")["parts"]
    assert runs["runs"].count("<tr>") == 3
    assert ">editor<" in runs["runs"]
    assert "What it says" in runs["figures"]
    with desk.sessions() as session:
        assert set(session.scalars(sa.select(TeachRun.annotator_id))) == {person.annotator_id}
    assert "Nothing goes on with rule" in page.says("stop", teacher="rule")


def test_the_order_is_tested_and_a_teacher_is_retired_and_reinstated(
    page: Page, desk: Desk, typed: dict[str, Any]
) -> None:
    put_cases(desk, 3)
    page.ask("add", typed=typed)
    asking = Asking(teacher_configs(desk)["rule"])
    teach_desk(desk, asking, os.environ, None, watch=TeacherWatch(), stop=threading.Event())
    assert "Order test" in page.ask("one", teacher="rule")["parts"]["deeds"]
    page.ask("begin", teacher="rule", deed="flip")
    assert "<b>0 of 3 verdicts</b> changed" in page.ended("rule")["parts"]["work"]
    page.ask("begin", teacher="rule", deed="retire")
    retired = page.ended("rule")["parts"]
    assert kept(desk) == 0
    assert 'data-deed="reinstate"' in retired["deeds"]
    assert 'data-form="ask"' not in retired["deeds"]
    page.ask("begin", teacher="rule", deed="reinstate")
    assert 'data-form="ask"' not in page.ended("rule")["parts"]["deeds"]
    assert kept(desk) == 3
