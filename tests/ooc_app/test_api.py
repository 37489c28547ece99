import base64
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from starlette.requests import Request

from db.cases import NewCase, NewImage, NewOpinion, add_cases
from db.engine import write_session
from db.models import Case, Check
from db.vocabulary import Answer
from ooc_app.api import answer_check, find_known
from ooc_app.auth import NotAllowedError
from ooc_app.checks.background import Background
from ooc_app.checks.question import CheckRefusedError
from ooc_app.checks.typed import (
    CheckedImage,
    CredentialsFound,
    KnownImage,
    KnownUse,
    ProvenanceFound,
    RelianceFound,
)
from ooc_app.desk import Desk, open_desk
from ooc_app.intake import images
from ooc_app.intake.images import ImageRefusedError
from ooc_app.uploads import picture_given
from tests.ooc_app.asked import DOC, LONGEST_SIDE, as_data, assert_keys, call, scene
from tests.ooc_app.broken import BrokenServing
from tests.ooc_app.checks.fixed import FixedServing
from tests.ooc_app.conftest import drawn_picture
from tests.ooc_app.served import program

AT_THIS_MACHINE = Request(
    {"type": "http", "headers": [(b"host", b"127.0.0.1:7860")], "client": ("127.0.0.1", 5)}
)
FROM_ELSEWHERE = Request({"type": "http", "headers": [(b"host", b"desk")], "client": ("203.0.113.9", 5)})


def asked_for(desk: Desk, image: object, caption: object = "A caption.", **more: object) -> CheckedImage:
    serving = FixedServing()
    return answer_check(desk, serving, Background(desk), AT_THIS_MACHINE, image, caption, **more)


def add_case(desk: Desk, picture: bytes, date: str | None = None) -> int:
    """Put a case nobody has ruled on onto the desk, with this picture."""
    image = images.admit(picture, desk.images_dir)
    stored = NewImage(image.sha256, image.format, image.width, image.height, image.byte_size)
    said = (NewOpinion("One", Answer.OUT_OF_CONTEXT, "No."), NewOpinion("Two", Answer.IN_CONTEXT, "Yes."))
    with write_session(desk.sessions) as session:
        add_cases(session, "test", [NewCase("case", "Its caption.", stored, date=date, opinions=said)])
        return session.scalars(sa.select(Case.id)).one()


# ---- handlers, without a page ----


@pytest.mark.parametrize(
    "image",
    [
        "picture.jpg",
        "/etc/hostname",
        "data:text/html;base64,PGI+",
        "data:image/png,abc",
        5,
        ["a"],
        "file:///x",
    ],
)
def test_what_is_no_way_to_give_a_picture_is_refused_with_the_ways(desk: Desk, image: object) -> None:
    with pytest.raises(CheckRefusedError, match=r"uploaded file.*https://.*base64"):
        asked_for(desk, image)


@pytest.mark.parametrize("path", ["/etc/hostname", "", "/tmp/gradio/../../etc/hostname", "a\x00b"])
def test_a_file_of_this_machine_that_was_not_uploaded_is_refused(desk: Desk, path: str) -> None:
    with pytest.raises(CheckRefusedError, match="not uploaded here"):
        asked_for(desk, {"path": path})
    with pytest.raises(CheckRefusedError, match="not uploaded here"):
        asked_for(desk, f"https://desk.example/gradio_api/file={path}")


def test_data_that_is_no_picture_is_refused_by_the_door(desk: Desk) -> None:
    with pytest.raises(ImageRefusedError):
        asked_for(desk, as_data(b"<svg xmlns='http://www.w3.org/2000/svg'/>"))
    assert not any(path.is_file() for path in desk.images_dir.rglob("*"))


def test_more_data_than_a_picture_may_have_is_refused_before_it_is_decoded(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ooc_app.uploads.BYTES_MAX", 100)
    with pytest.raises(ImageRefusedError, match="save a smaller copy"):
        asked_for(desk, "!" * 200)


def test_two_addresses_of_one_picture_are_refused(desk: Desk) -> None:
    with pytest.raises(CheckRefusedError, match="two addresses"):
        asked_for(desk, "https://wire.example/a.jpg", url="https://wire.example/b.jpg")


@pytest.mark.parametrize("name", ["caption", "date", "place", "url"])
def test_what_is_no_text_is_refused_by_name(desk: Desk, name: str) -> None:
    with pytest.raises(CheckRefusedError, match=f"`{name}`"):
        asked_for(desk, as_data(drawn_picture()), **{name: 5})


def test_a_stranger_is_told_nothing(desk: Desk) -> None:
    background, picture = Background(desk), as_data(drawn_picture())
    with pytest.raises(NotAllowedError):
        answer_check(desk, FixedServing(), background, FROM_ELSEWHERE, picture, "A caption.")
    with pytest.raises(NotAllowedError):
        find_known(desk, background, FROM_ELSEWHERE, picture)


def test_a_visitor_of_a_demo_page_is_answered_and_learns_nothing_of_the_pictures(tmp_path: Path) -> None:
    with open_desk(tmp_path / "data", mode="demo") as demo:
        background, picture = Background(demo), as_data(drawn_picture())
        told = answer_check(demo, FixedServing(), background, FROM_ELSEWHERE, picture, "A caption.")
        with pytest.raises(NotAllowedError, match="demo page"):
            find_known(demo, background, FROM_ELSEWHERE, picture)
        assert told["report"] is None
        assert told["provenance"] is not None
        assert told["provenance"]["seen"] is None
        assert not any(path.is_file() for path in demo.images_dir.rglob("*"))


def test_a_check_is_answered_in_the_documented_keys_and_kept(desk: Desk) -> None:
    told = asked_for(desk, as_data(drawn_picture()), " A caption. ", date="12 March 2021", place="Halden")
    assert_keys(told, CheckedImage)
    assert (told["verdict"], told["probability"], told["words"]) == ("out_of_context", 0.86, "Leans out.")
    assert told["reliance"] is not None
    assert told["reliance"]["curve"] == [[0, 0.86], [900, 0.5]]
    with desk.sessions() as session:
        check = session.scalars(sa.select(Check)).one()
    assert told["report"] == f"?check={check.token}"
    assert (check.caption, check.claimed_date, check.claimed_place) == (
        "A caption.",
        "12 March 2021",
        "Halden",
    )


def test_bare_base64_is_a_picture_and_a_wrong_declaration_is_noted(desk: Desk) -> None:
    picture = base64.encodebytes(drawn_picture()).decode()
    assert asked_for(desk, picture)["notes"] == []
    assert "declared as JPEG" in asked_for(desk, f"data:image/jpeg;base64,{picture}")["notes"][0]


def test_data_is_in_a_file_no_longer_than_it_is_needed() -> None:
    with picture_given(as_data(drawn_picture())) as (path, address):
        assert path is not None
        assert path.read_bytes() == drawn_picture()
        assert address == ""
    assert not path.exists()


def test_a_changed_copy_of_a_known_picture_is_found_with_its_captions_the_oldest_first(desk: Desk) -> None:
    asked_for(desk, as_data(scene(4)), "The caption of today.")
    add_case(desk, scene(4), date="12 March 2019")
    before = sorted(desk.images_dir.rglob("*"))
    found = find_known(desk, Background(desk), AT_THIS_MACHINE, as_data(scene(4, LONGEST_SIDE // 2)))
    assert_keys(found[0], KnownImage)
    assert found[0]["is_same"]
    assert not found[0]["is_this_file"]
    assert [use["caption"] for use in found[0]["uses"]] == ["Its caption.", "The caption of today."]
    assert found[0]["uses"][0]["since"] == "2019-03-12"
    kept = [path for path in sorted(desk.images_dir.rglob("*")) if path.suffix != ".hashes"]
    assert kept == [path for path in before if path.suffix != ".hashes"]


def test_a_case_that_waits_for_a_ruling_shows_no_verdict(desk: Desk) -> None:
    case_id = add_case(desk, scene(4))
    (known,) = find_known(desk, Background(desk), AT_THIS_MACHINE, as_data(scene(4)))
    assert known["is_this_file"]
    use = known["uses"][0]
    assert (use["case_id"], use["verdict"], use["by"]) == (case_id, None, "waits for a ruling")
    assert date.fromisoformat(use["since"])


def test_nothing_found_is_not_said_while_pictures_are_not_compared(desk: Desk) -> None:
    add_case(desk, scene(4))
    background = Background(desk)
    with background.hashing, pytest.raises(CheckRefusedError, match="not compared yet"):
        find_known(desk, background, AT_THIS_MACHINE, as_data(scene(9)))
    assert find_known(desk, background, AT_THIS_MACHINE, as_data(scene(9))) == []


def test_nothing_found_is_not_said_of_a_picture_too_plain_to_be_known(desk: Desk) -> None:
    with pytest.raises(CheckRefusedError, match="too little"):
        find_known(desk, Background(desk), AT_THIS_MACHINE, as_data(drawn_picture()))


@pytest.mark.parametrize(
    "kind", [CheckedImage, KnownImage, KnownUse, ProvenanceFound, RelianceFound, CredentialsFound]
)
def test_every_key_is_documented(kind: Any) -> None:
    for key in kind.__required_keys__:
        assert f"`{key}`" in DOC


# ---- over HTTP, with answers that need no model ----


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Give a program before a page whose student never answers."""
    with (
        open_desk(tmp_path_factory.mktemp("page") / "data") as opened,
        program(opened, BrokenServing()) as client,
    ):
        yield client


@contextmanager
def listening() -> Iterator[tuple[str, list[str]]]:
    """Serve pictures on this machine; give the address of one, and the paths that were asked for."""
    asked: list[str] = []

    class Pictures(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(drawn_picture())

        def log_message(self, format: str, *args: object) -> None:
            asked.append(format)

    with HTTPServer(("127.0.0.1", 0), Pictures) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/picture.png", asked
        server.shutdown()


def test_the_page_has_two_named_endpoints_with_typed_answers(page: TestClient) -> None:
    info = page.get("/gradio_api/info").json()
    endpoints = info["named_endpoints"]
    assert set(endpoints) == {"/check_image", "/find_known_image"}
    assert info["unnamed_endpoints"] == {}
    given = [one["parameter_name"] for one in endpoints["/check_image"]["parameters"]]
    assert given == ["image", "caption", "date", "place", "url"]
    (told,) = endpoints["/check_image"]["returns"]
    assert set(told["type"]["required"]) == CheckedImage.__required_keys__
    (told,) = endpoints["/find_known_image"]["returns"]
    assert set(told["type"]["items"]["properties"]) == KnownImage.__required_keys__


def test_no_address_of_a_file_is_fetched_by_gradio_whatever_field_it_is_given_for(page: TestClient) -> None:
    with listening() as (address, asked):
        file = {"path": address, "url": address, "meta": {"_type": "gradio.FileData"}}
        refusals = [
            call(page, "check_image", file, "A caption.", "", "", ""),
            call(page, "check_image", address, "A caption.", "", "", ""),
            call(page, "check_image", "", "A caption.", "", "", address),
            call(page, "find_known_image", file),
            call(page, "find_known_image", {**file, "is_stream": True}),
            call(page, _pressing_check(page), file, "A caption.", "", "", "", False),
        ]
        assert [answer.status_code for answer in refusals] == [500] * len(refusals)
        for answer in refusals:
            assert re.search(r"usual one|no address", answer.json()["error"])
        call(page, "check_image", as_data(drawn_picture()), file, "", "", "")
        assert asked == []


def _pressing_check(page: TestClient) -> int:
    """Return the number of the page's own event that checks a picture."""
    config = page.get("/config").json()
    button = next(one["id"] for one in config["components"] if one["props"].get("elem_id") == "check-button")
    return int(next(one["id"] for one in config["dependencies"] if [button, "click"] in one["targets"]))


def test_an_address_of_this_machine_is_not_fetched_by_our_own_client_either(page: TestClient) -> None:
    for address in ("http://127.0.0.1/a.png", "http://localhost/a.png", "http://169.254.169.254/a.png"):
        answer = call(page, "find_known_image", address)
        assert "not on the public web" in answer.json()["error"]


def test_a_file_of_the_machine_named_as_an_upload_is_refused_in_one_sentence(page: TestClient) -> None:
    answer = call(page, "find_known_image", {"path": "/etc/hostname", "meta": {"_type": "gradio.FileData"}})
    assert answer.json()["error"] == "This file was not uploaded here, or is no longer kept: upload it again."


def test_a_failure_tells_a_program_one_sentence_and_no_path(
    page: TestClient, capfd: pytest.CaptureFixture[str]
) -> None:
    picture = as_data(drawn_picture())
    for caption, sentence in (
        ("broken", "its log says why"),
        ("no student", "No student answers"),
        (" ", "Add the caption"),
    ):
        answer = call(page, "check_image", picture, caption, "", "", "")
        assert sentence in answer.json()["error"]
        assert "/srv" not in answer.text
    assert "RefusedError" not in capfd.readouterr().err


def test_another_sites_page_and_name_are_refused(page: TestClient) -> None:
    asked = {"data": [as_data(drawn_picture())]}
    for header in ({"origin": "https://evil.example"}, {"host": "evil.example"}):
        for path in ("call/find_known_image", "run/find_known_image"):
            answer = page.post(f"/gradio_api/{path}", json=asked, headers=header)
            assert answer.status_code == 403


def test_the_limits_in_the_document_are_those_of_the_door() -> None:
    assert f"{images.BYTES_MAX // 1_000_000} MB" in DOC
