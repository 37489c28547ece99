import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ooc_app.auth import Person
from ooc_app.cases import begin, end, send_case, server_functions, show_case, work_shown
from ooc_app.desk import Desk
from ooc_app.desk_work import DeskWork
from tests.ooc_app.page_requests import Client, Request

AddConflict = Callable[..., int]
LOOKING = ("choices_", "list_", "count_", "case_")
EDITING = ("preview_", "work_", "begin_", "end_")


def answers(desk: Desk, request: Request, payload: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What every server function answers to one payload, by its name."""
    functions = server_functions(desk, DeskWork())
    return {function.__name__: function(payload, request) for function in functions}


def as_annotator(desk: Desk, colleague: Person) -> Desk:
    """The desk at whose machine the colleague sits, who may only rule."""
    return replace(desk, settings=replace(desk.settings, annotator=colleague.name))


def test_another_machine_gets_nothing(desk: Desk, add_conflict: AddConflict) -> None:
    add_conflict("Norvik")
    for answer in answers(desk, Request(client=Client("203.0.113.9")), {"id": 1}).values():
        assert answer["ok"] is False
        assert "Norvik" not in json.dumps(answer)


def test_another_sites_page_gets_nothing(desk: Desk, add_conflict: AddConflict) -> None:
    add_conflict("Norvik")
    foreign = Request(headers={"host": "127.0.0.1:7860", "origin": "https://evil.example"})
    assert not any(answer["ok"] for answer in answers(desk, foreign, {"id": 1}).values())


def test_an_annotator_looks_but_neither_imports_exports_nor_asks_for_rulings(
    desk: Desk, colleague: Person, add_conflict: AddConflict, tmp_path: Path
) -> None:
    add_conflict("Norvik")
    path = tmp_path / "wire.jsonl"
    path.write_text('{"caption": "One"}\n')
    given = {"id": 1, "kind": "import", "format": "native", "path": str(path)}
    said = answers(as_annotator(desk, colleague), Request(), given)
    assert [said[name]["ok"] for name in LOOKING] == [True] * 4
    for name in (*EDITING, "send_"):
        assert said[name]["ok"] is False
        assert "maria is annotator; this needs the role" in said[name]["says"]


def test_the_one_at_the_machine_may_do_everything(desk: Desk, add_conflict: AddConflict) -> None:
    add_conflict("Norvik")
    said = answers(desk, Request(), {"id": 1, "format": "native", "kind": "export"})
    assert all(said[name]["ok"] for name in (*LOOKING, "work_", "begin_", "end_"))


@pytest.mark.parametrize("payload", [{}, {"id": None}, {"id": "x"}, {"id": 99}, {"id": [1]}, {"wanted": 7}])
def test_nonsense_is_answered_with_a_sentence(desk: Desk, payload: dict[str, Any]) -> None:
    for answer in answers(desk, Request(), payload).values():
        assert answer["ok"] or answer["says"].endswith(".")


def test_a_handler_that_breaks_says_nothing_of_why(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    broken = replace(desk, data_dir=Path("/nowhere"), sessions=lambda: 1 / 0)  # type: ignore[arg-type]
    functions = {function.__name__: function for function in server_functions(broken, DeskWork())}
    assert functions["list_"]({}, Request())["says"].startswith("The desk could not do this; its log")
    assert "division by zero" in caplog.text


def test_every_answer_can_be_sent_to_a_browser(desk: Desk, add_conflict: AddConflict) -> None:
    add_conflict("Norvik", caption="A caption with \u202e and \U0001f30a")
    for answer in answers(desk, Request(), {"id": 1}).values():
        assert json.loads(json.dumps(answer)) == json.loads(json.dumps(answer, ensure_ascii=False))


def test_a_case_is_opened_by_its_number(desk: Desk, person: Person, add_conflict: AddConflict) -> None:
    case_id = add_conflict("Norvik")
    assert show_case(desk, person, {"id": case_id})["caption"] == "Caption of Norvik."
    assert show_case(desk, person, {"id": str(case_id)})["id"] == case_id
    assert send_case(desk, person, {"id": case_id})["ok"] is False  # it is in the queue already


def test_what_goes_on_is_the_same_for_every_page(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "wire.jsonl"
    path.write_text('{"caption": "One"}\n')
    work = DeskWork()
    assert work_shown(desk, work)["work"] is None
    begun = begin(desk, work, {"kind": "import", "format": "native", "path": str(path)})
    assert begun["work"]["title"] == "Import of wire"
    work.wait()
    assert work_shown(desk, work)["work"]["says"] == "wire: 1 new case."
    assert begin(desk, work, {"kind": "export", "format": "csv"})["work"]["kind"] == "export"
    work.wait()
    (export,) = work_shown(desk, work)["exports"]
    assert end(desk, work, {"remove": export["name"]})["exports"] == []
    assert end(desk, work, {})["work"]["status"] == "done"
    assert end(desk, work, {"forget": True})["work"] is None
