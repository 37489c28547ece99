"""Checks that are kept on a desk, with a report each, and the browsers of people who read them."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from db import people
from db.cases import NewImage
from db.checks import NewCheck, add_check, send
from db.engine import write_session
from db.passwords import hash_password
from db.rulings import NewRuling, rule
from db.vocabulary import Answer, Role, Verdict
from ooc_app.auth import Person, now
from ooc_app.checks.report_routes import report_routes
from ooc_app.desk import Desk
from ooc_app.intake.images import admit, stored_path
from ooc_app.provenance.report import Claims, as_json, inspect
from ooc_app.provenance.seen import known_pictures
from ooc_app.sign_in import Door, known_names
from ooc_app.tokens import cookie_name, make_token, read_secret
from tests.ooc_app.provenance.conftest import jpeg

CAPTION = "Flood water covers the market square of Halden."


def token_of(number: int) -> str:
    """The token of a report."""
    return f"report-{number:015}"


def keep_check(
    desk: Desk,
    owner: Person | int,
    picture: bytes,
    number: int = 1,
    *,
    with_provenance: bool = False,
    found: dict[str, Any] | None = None,
    **changed: Any,
) -> str:
    """Keep a check and return its token; `with_provenance` inspects the picture, which takes a moment."""
    image = admit(picture, desk.images_dir)
    stored = NewImage(image.sha256, image.format, image.width, image.height, image.byte_size)
    said: dict[str, Any] = {"words": "Very probably out of context.", "domain": "demo world"}
    owner_id = owner.annotator_id if isinstance(owner, Person) else owner
    new = NewCheck(
        token_of(number), stored, CAPTION, Verdict.OUT_OF_CONTEXT, 0.86, "The tower.", "one", owner_id
    )
    new = replace(new, **changed)
    if with_provenance:
        claims = Claims(new.caption, new.claimed_date, new.claimed_place, new.url)
        inspected = inspect(image, desk.images_dir, desk, claims, known=known_pictures(desk))
        said["provenance"] = as_json(inspected, with_gps=False)
    with write_session(desk.sessions) as session:
        add_check(session, replace(new, found={**said, **(found or {})}), now())
    return new.token


def picture_files(desk: Desk, picture: bytes) -> list[Path]:
    """The files there are of a picture: as it came, as it is shown, as a thumbnail."""
    sha256 = admit(picture, desk.images_dir).sha256
    copies = [desk.images_dir / made / sha256[:2] / f"{sha256[2:]}.jpg" for made in ("shown", "thumbs")]
    return [stored_path(sha256, desk.images_dir), *copies]


@cache
def password_hash() -> str:
    """What the desk keeps of everybody's password; making it takes a moment."""
    return hash_password("flood tower quay")


def with_account(desk: Desk, name: str, role: Role) -> Person:
    with write_session(desk.sessions) as session:
        people.add_person(session, None, name, role, password_hash(), now())
        found = people.account_named(session, name)
    assert found
    return Person(found.id, name, role, signed_in=True)


def browser(desk: Desk, person: Person | None = None) -> TestClient:
    """A browser at another machine, where somebody has signed in or nobody."""
    door = Door(desk, known_names("0.0.0.0", ["desk.example"]))
    routes = [*report_routes(desk, door), *door.routes()]
    app = FastAPI(routes=list(routes), exception_handlers=door.exception_handlers())
    carried = {}
    if person is not None:
        secret = read_secret(desk.data_dir)
        token = make_token(secret, person.annotator_id, password_hash(), now())
        carried = {"cookie": f"{cookie_name(secret)}={token}"}
    return TestClient(
        app,
        base_url="http://desk.example",
        client=("10.0.0.9", 50_000),
        follow_redirects=False,
        headers=carried,
    )


def settle(desk: Desk, token: str, owner: Person, says: Answer | None = None) -> int:
    """Send a check to the desk, have it ruled on where something is said, and return its case."""
    with write_session(desk.sessions) as session:
        case_id = send(session, token, owner.annotator_id, owner.role, now()).case_id
        if says is not None:
            rule(session, owner.annotator_id, NewRuling("one", case_id, says), now())
    return case_id


def picture_with_position(picture: Image.Image) -> bytes:
    """A picture whose file names a camera, with markup, and where it was taken."""
    exif = Image.Exif()
    exif[0x0110] = "Camera <b>"
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 24.0), 3: "E", 4: (2.0, 21.0, 3.0)})
    return jpeg(picture, exif=exif)
