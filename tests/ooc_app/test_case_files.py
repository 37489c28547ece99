import pytest
from fastapi import FastAPI, HTTPException, Request
from fastapi.testclient import TestClient

from db.vocabulary import Role
from ooc_app.auth import Person
from ooc_app.case_files import case_routes
from ooc_app.case_transfer import exports_dir
from ooc_app.desk import Desk
from ooc_app.intake.images import admit
from tests.ooc_app.conftest import drawn_picture


def client(desk: Desk, role: Role | None = Role.EDITOR, *, signed_in: bool = False) -> TestClient:
    """A browser of somebody of that role, in front of these routes alone; without one, of nobody."""

    def asked(request: Request) -> Person:
        if role is None:
            raise HTTPException(403, "Nobody.")
        return Person(1, "maria", role, signed_in=signed_in)

    return TestClient(FastAPI(routes=[*case_routes(desk, asked)]), base_url="http://127.0.0.1:7860")


def put_export(desk: Desk, name: str, text: str = "{}") -> None:
    exports_dir(desk).mkdir(exist_ok=True)
    (exports_dir(desk) / name).write_text(text)


def test_nobody_gets_a_thumbnail_or_an_export(desk: Desk) -> None:
    image = admit(drawn_picture(), desk.images_dir)
    put_export(desk, "native-all.jsonl")
    for path in (f"/desk/thumbs/{image.sha256}", "/desk/exports/native-all.jsonl"):
        assert client(desk, None).get(path).status_code == 403


@pytest.mark.parametrize("name", ["0" * 64, "x", "..%2f..%2fdesk.db", "0" * 63 + "g"])
def test_a_thumbnail_of_what_is_no_picture_of_the_desk_is_not_found(desk: Desk, name: str) -> None:
    assert client(desk).get(f"/desk/thumbs/{name}").status_code == 404


def test_a_picture_damaged_since_has_no_thumbnail(desk: Desk) -> None:
    image = admit(drawn_picture(), desk.images_dir)
    (desk.images_dir / image.sha256[:2] / image.sha256[2:]).write_bytes(b"\xff\xd8\xff")
    assert client(desk).get(f"/desk/thumbs/{image.sha256}").status_code == 415


@pytest.mark.parametrize("signed_in", [False, True])
def test_a_thumbnail_is_kept_by_the_browser_of_its_person(desk: Desk, signed_in: bool) -> None:
    image = admit(drawn_picture(), desk.images_dir)
    answer = client(desk, Role.ANNOTATOR, signed_in=signed_in).get(f"/desk/thumbs/{image.sha256}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert (answer.content[:2], answer.headers["x-content-type-options"]) == (b"\xff\xd8", "nosniff")
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers.get("vary") == ("Cookie" if signed_in else None)


@pytest.mark.parametrize("role", [Role.ANNOTATOR, Role.ADJUDICATOR])
def test_only_editors_download_exports(desk: Desk, role: Role) -> None:
    put_export(desk, "native-all.jsonl")
    assert client(desk, role).get("/desk/exports/native-all.jsonl").status_code == 403


@pytest.mark.parametrize(
    "name", ["..%2fdesk.db", "..%2fsettings.toml", ".native.jsonl.partial", "other.jsonl", "folder", "link"]
)
def test_only_finished_exports_are_downloaded(desk: Desk, name: str) -> None:
    put_export(desk, ".native.jsonl.partial")
    (exports_dir(desk) / "folder").mkdir()
    (exports_dir(desk) / "link").symlink_to(desk.data_dir / "settings.toml")
    assert client(desk).get(f"/desk/exports/{name}").status_code == 404


def test_an_export_is_downloaded_as_a_file(desk: Desk) -> None:
    put_export(desk, "native-all.jsonl", "<script>alert(1)</script>")
    answer = client(desk).get("/desk/exports/native-all.jsonl")
    assert (answer.status_code, answer.text) == (200, "<script>alert(1)</script>")
    assert answer.headers["content-disposition"] == 'attachment; filename="native-all.jsonl"'
    assert (answer.headers["content-type"], answer.headers["cache-control"]) == (
        "application/octet-stream",
        "no-store",
    )
