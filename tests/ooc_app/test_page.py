import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from ooc_app.desk import Desk
from ooc_app.intake.images import admit
from ooc_app.page import launch_options, picture_route
from tests.ooc_app.conftest import drawn_picture

LOOPBACK = ("127.0.0.1", 50_000)


def client(desk: Desk, address: tuple[str, int] = LOOPBACK) -> TestClient:
    """A browser at an address, in front of the picture route alone."""
    app = FastAPI(routes=[picture_route(desk)])
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
