from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from db import people
from db.engine import write_session
from db.passwords import hash_password
from db.vocabulary import Role
from ooc_app.auth import now
from ooc_app.desk import Desk, open_desk
from ooc_app.intake.images import admit
from ooc_app.page import launch_options, picture_route
from ooc_app.sign_in import Door, known_names
from tests.browser.running_app import RunningApp, add_conflicts
from tests.ooc_app.conftest import drawn_picture

LOOPBACK = ("127.0.0.1", 50_000)
PASSWORD = "flood tower quay"


def client(desk: Desk, address: tuple[str, int] = LOOPBACK) -> TestClient:
    """A browser at an address, in front of the picture route alone."""
    app = FastAPI(routes=[picture_route(desk, Door(desk, known_names("127.0.0.1")))])
    return TestClient(app, base_url="http://127.0.0.1:7860", client=address)


def test_a_picture_is_served_as_its_shown_copy(desk: Desk) -> None:
    image = admit(drawn_picture(), desk.images_dir)
    answer = client(desk).get(f"/desk/images/{image.sha256}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/jpeg"
    assert "immutable" in answer.headers["cache-control"]
    assert answer.content[:2] == b"\xff\xd8"


@pytest.mark.parametrize("name", ["0" * 64, "x", "..%2f..%2fdesk.db", "0" * 63 + "g"])
def test_what_is_no_picture_of_the_desk_is_not_found(desk: Desk, name: str) -> None:
    assert client(desk).get(f"/desk/images/{name}").status_code == 404


def test_another_machine_gets_no_picture(desk: Desk) -> None:
    image = admit(drawn_picture(), desk.images_dir)
    stranger = client(desk, ("203.0.113.9", 50_000))
    assert stranger.get(f"/desk/images/{image.sha256}").status_code == 403


def test_the_page_keeps_nothing_in_the_browser_and_serves_no_folder(desk: Desk) -> None:
    options = launch_options(desk)
    assert options["run_history"] is False
    assert options["share"] is False
    assert "allowed_paths" not in options


def test_a_demo_page_asks_nobody_and_shows_nothing_of_the_desk(tmp_path: Path) -> None:
    with open_desk(tmp_path / "data", mode="demo") as demo:
        options = launch_options(demo, "0.0.0.0")
    assert "auth_dependency" not in options
    assert "app_kwargs" not in options


# ---- the whole app, over HTTP, with people who sign in ----


@pytest.fixture(scope="module")
def newsroom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Give a desk with conflicts, an editor and two annotators who sign in."""
    kept = hash_password(PASSWORD)
    with open_desk(tmp_path_factory.mktemp("newsroom") / "data") as desk:
        add_conflicts(desk, 8)
        with write_session(desk.sessions) as session:
            people.add_person(session, None, "Vera", Role.EDITOR, kept, now())
            for name in ("Ben", "Lea"):
                people.add_person(session, None, name, Role.ANNOTATOR, kept, now())
        yield desk


@pytest.fixture(scope="module")
def app(newsroom: Desk) -> Iterator[RunningApp]:
    """Give the app on that desk."""
    with RunningApp(newsroom.data_dir) as running:
        yield running


class Program:
    """A program that signs in and calls what the page calls."""

    def __init__(self, http: httpx.Client, name: str) -> None:
        self.http = http
        form = {"username": name, "password": PASSWORD}
        assert http.post("/login", data=form).json() == {"success": True}

    def config(self) -> dict[str, Any]:
        """What the page is made of."""
        given: dict[str, Any] = self.http.get("/config").raise_for_status().json()
        return given

    def serve(self, function: str, payload: dict[str, Any], **headers: str) -> httpx.Response:
        """Call a server function of the Adjudicate tab."""
        parts = self.config()["components"]
        tab = next(one["id"] for one in parts if one["props"].get("elem_id") == "adjudicate")
        asked = {"data": payload, "component_id": tab, "fn_name": function, "session_hash": "s"}
        return self.http.post("/gradio_api/component_server", json=asked, headers=headers)

    def press(self, button: str) -> dict[str, Any]:
        """Do what follows on a button, without its first sentence; returns what Gradio answers."""
        config = self.config()
        parts = {one["props"].get("elem_id"): one["id"] for one in config["components"]}
        said = next(one["id"] for one in config["dependencies"] if [parts[button], "click"] in one["targets"])
        deed = next(one for one in config["dependencies"] if one["trigger_after"] == said)
        asked = {"data": [None] * len(deed["inputs"]), "fn_index": deed["id"], "session_hash": "s"}
        answer: dict[str, Any] = self.http.post("/gradio_api/run/predict", json=asked).json()
        return answer


@pytest.fixture
def program(app: RunningApp) -> Iterator[Callable[[str], Program]]:
    """Give a function that starts a program of somebody's."""
    with ExitStack() as ends:
        yield lambda name: Program(ends.enter_context(httpx.Client(base_url=app.url, timeout=30)), name)


Start = Callable[[str], Program]
SHOWN_TO_NOBODY = [
    ("GET", "/config"),
    ("GET", "/gradio_api/info"),
    ("GET", "/gradio_api/openapi.json"),
    ("GET", "/gradio_api/queue/status"),
    ("GET", "/gradio_api/queue/data?session_hash=s"),
    ("GET", "/gradio_api/file=/etc/hostname"),
    ("GET", "/gradio_api/deep_link?session_hash=s"),
    ("GET", "/monitoring"),
    ("GET", "/monitoring/summary"),
    ("GET", "/desk/who"),
    ("GET", f"/desk/images/{'0' * 64}"),
    ("POST", "/gradio_api/component_server"),
    ("POST", "/gradio_api/run/predict"),
    ("POST", "/gradio_api/call/check"),
    ("POST", "/gradio_api/queue/join"),
    ("POST", "/gradio_api/upload"),
]


@pytest.mark.parametrize(("method", "path"), SHOWN_TO_NOBODY)
def test_whoever_is_not_signed_in_sees_and_does_nothing(app: RunningApp, method: str, path: str) -> None:
    body = {"data": [], "fn_index": 0, "session_hash": "s"}
    answer = httpx.request(method, app.url + path, json=body if method == "POST" else None)
    assert answer.status_code == 401


def test_the_page_leads_to_the_form_and_names_nobody(app: RunningApp) -> None:
    answer = httpx.get(app.url, follow_redirects=True)
    assert answer.url.path == "/login"
    assert 'name="password"' in answer.text
    assert httpx.get(f"{app.url}/gradio_api/user").json() is None


@pytest.mark.parametrize("header", [{"origin": "https://evil.example"}, {"host": "evil.example"}])
def test_another_sites_page_and_name_are_refused_with_a_live_cookie(
    program: Start, header: dict[str, str]
) -> None:
    vera = program("vera")
    assert vera.serve("look_", {}, **header).status_code == 403
    assert vera.http.get("/config", headers=header).status_code == 403
    assert vera.http.post("/gradio_api/upload", headers=header).status_code == 403


def test_two_people_are_handed_different_cases(program: Start) -> None:
    held = [
        {one["id"] for one in program(name).serve("look_", {}).json()["cases"]} for name in ("ben", "lea")
    ]
    assert len(held[0]) == len(held[1]) == 2
    assert not held[0] & held[1]


def test_an_annotator_who_calls_an_editors_handler_is_refused(program: Start, newsroom: Desk) -> None:
    answer = str(program("ben").press("distil-start"))
    assert "Ben is annotator; this needs the role editor." in answer
    assert list(newsroom.runs_dir.iterdir()) == []
    assert "needs the role" not in str(program("vera").press("distil-start"))


def test_an_account_closed_meanwhile_does_nothing_with_its_live_cookie(
    app: RunningApp, program: Start, newsroom: Desk
) -> None:
    lea = program("lea")
    tab_is_open = lea.serve("look_", {})
    assert tab_is_open.status_code == 200
    with write_session(newsroom.sessions) as session:
        people.close_person(session, None, "lea", now())
    for path in ("/config", "/desk/who", "/gradio_api/info"):
        assert lea.http.get(path).status_code == 401
    asked = {"data": {}, "component_id": 0, "fn_name": "look_", "session_hash": "s"}
    assert lea.http.post("/gradio_api/component_server", json=asked).status_code == 401
    assert httpx.post(f"{app.url}/login", data={"username": "lea", "password": PASSWORD}).status_code == 401
