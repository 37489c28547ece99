from datetime import timedelta

import pytest
import sqlalchemy as sa

from db import people
from db.engine import write_session
from db.passwords import hash_password
from db.rulings import ensure_annotator
from db.vocabulary import Role
from ooc_app.auth import (
    NotAllowedError,
    NotSignedInError,
    is_foreign,
    is_local,
    local_person,
    now,
    person_asking,
    require,
    signs_in,
)
from ooc_app.desk import Desk
from ooc_app.tokens import TOKEN_LIFE, cookie_name, make_token, read_secret
from tests.ooc_app.page_requests import Client, Request

KEPT = hash_password("flood tower quay")


@pytest.fixture
def newsroom(desk: Desk) -> Desk:
    """Give a desk with an editor and an annotator who sign in."""
    with write_session(desk.sessions) as session:
        people.add_person(session, None, "Vera", Role.EDITOR, KEPT, now())
        people.add_person(session, None, "Ben", Role.ANNOTATOR, KEPT, now())
    return desk


def signed_in(desk: Desk, name: str, *, ago: timedelta = timedelta(), **headers: str) -> Request:
    """A request from another machine, with the cookie of somebody who signed in."""
    with desk.sessions() as session:
        found = people.known(session, name)
    secret = read_secret(desk.data_dir)
    token = make_token(secret, found.id, str(found.password_hash), now() - ago)
    cookie = f"theme=dark; {cookie_name(secret)}={token}"
    return Request({"host": "10.0.0.5:7860", "cookie": cookie, **headers}, Client("10.0.0.9"))


# ---- at this machine ----


@pytest.mark.parametrize(
    "request_",
    [
        Request(client=Client("192.168.1.7")),
        Request(client=None),
        Request(headers={}),
        Request(headers={"host": "desk.example"}),
        Request(headers={"host": "[::1"}),
        Request(headers={"host": "127.0.0.1.evil.example:7860"}),
        Request(headers={"host": "127.0.0.1:7860", "origin": "https://evil.example"}),
        Request(headers={"host": "127.0.0.1:7860", "origin": "http://127.0.0.1:8000"}),
        Request(headers={"host": "127.0.0.1:7860", "origin": "null"}),
        Request(headers={"host": "127.0.0.1:7860", "x-forwarded-for": "127.0.0.1"}),
        Request(headers={"host": "127.0.0.1:7860", "via": "1.1 proxy"}),
        Request(headers={"host": "127.0.0.1:7860", "sec-fetch-site": "cross-site"}),
    ],
)
def test_another_machine_name_or_page_and_what_a_proxy_hands_on_is_not_local(request_: Request) -> None:
    assert not is_local(request_)


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:7860"},
        {"host": "localhost:7860", "origin": "http://localhost:7860"},
        {"host": "[::1]:7860", "origin": "http://[::1]:7860"},
        {"host": "127.0.0.1:7860", "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"},
    ],
)
def test_a_page_of_this_desk_is_local(headers: dict[str, str]) -> None:
    assert is_local(Request(headers))


def test_the_local_person_is_the_annotator_of_the_settings_and_stays_one(desk: Desk) -> None:
    person = require(desk, Request(), Role.EDITOR)
    assert (person.name, person.role, person.signed_in) == ("editor", Role.EDITOR, False)
    assert local_person(desk) == person
    assert require(desk, Request(), Role.EDITOR) == person


def test_a_stranger_is_refused_with_the_way_out(desk: Desk) -> None:
    with pytest.raises(NotAllowedError, match="open it there"):
        require(desk, Request(client=Client("192.168.1.7")), Role.ANNOTATOR)
    with pytest.raises(NotAllowedError):
        require(desk, None, Role.ANNOTATOR)


def test_a_role_too_low_is_refused(desk: Desk) -> None:
    with write_session(desk.sessions) as session:
        ensure_annotator(session, "editor", Role.ANNOTATOR)
    with pytest.raises(NotAllowedError, match="needs the role editor"):
        require(desk, Request(), Role.EDITOR)


def test_a_local_person_whose_account_is_closed_is_refused(desk: Desk) -> None:
    local_person(desk)
    with write_session(desk.sessions) as session:
        people.close_person(session, None, "editor", now())
    with pytest.raises(NotAllowedError, match="closed"):
        require(desk, Request(), Role.ANNOTATOR)


# ---- another site's page ----


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://desk.example.evil.example"},
        {"origin": "https://evil.example/desk.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
    ],
)
def test_what_another_sites_page_asks_is_foreign(headers: dict[str, str]) -> None:
    assert is_foreign(Request({"host": "desk.example", **headers}))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "https://Desk.example"},
        {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
    ],
)
def test_the_desks_own_page_a_program_and_a_link_in_a_mail_are_not(headers: dict[str, str]) -> None:
    assert not is_foreign(Request({"host": "desk.example", **headers}))


# ---- with sign-in ----


def test_once_somebody_has_a_password_this_machine_has_to_sign_in_too(newsroom: Desk) -> None:
    assert signs_in(newsroom)
    with pytest.raises(NotSignedInError, match="name and password"):
        require(newsroom, Request(), Role.ANNOTATOR)


@pytest.mark.parametrize("change", ["secret", "number", "old", "empty", "another cookie"])
def test_a_cookie_that_the_desk_did_not_make_or_made_too_long_ago_is_none(
    newsroom: Desk, change: str
) -> None:
    request = signed_in(newsroom, "Ben", ago=TOKEN_LIFE if change == "old" else timedelta())
    name, token = request.headers["cookie"].split("; ")[1].split("=", 1)
    forged = {
        "secret": make_token(b"x" * 32, 2, KEPT, now()),
        "number": "1" + token.removeprefix("2"),
        "empty": "",
    }
    if change in forged:
        request.headers["cookie"] = f"{name}={forged[change]}"
    if change == "another cookie":
        request.headers["cookie"] = f"ooc-desk-00000000={token}"
    with pytest.raises(NotSignedInError):
        require(newsroom, request, Role.ANNOTATOR)


def test_who_signed_in_is_known_by_name_from_any_machine(newsroom: Desk) -> None:
    person = require(newsroom, signed_in(newsroom, "Ben"), Role.ANNOTATOR)
    assert (person.name, person.role, person.signed_in) == ("Ben", Role.ANNOTATOR, True)
    with pytest.raises(NotAllowedError, match="needs the role editor"):
        require(newsroom, signed_in(newsroom, "Ben"), Role.EDITOR)
    assert require(newsroom, signed_in(newsroom, "Vera"), Role.EDITOR).name == "Vera"


def test_another_sites_page_does_nothing_with_the_cookie_of_this_desk(newsroom: Desk) -> None:
    request = signed_in(newsroom, "Vera", origin="https://evil.example")
    with pytest.raises(NotAllowedError, match="Another site's page"):
        require(newsroom, request, Role.ANNOTATOR)


def test_a_role_that_changes_holds_for_the_next_request(newsroom: Desk) -> None:
    request = signed_in(newsroom, "Ben")
    with write_session(newsroom.sessions) as session:
        people.set_role(session, None, "Ben", Role.EDITOR, now())
    assert require(newsroom, request, Role.EDITOR).role == Role.EDITOR
    with write_session(newsroom.sessions) as session:
        people.set_role(session, None, "Ben", Role.ANNOTATOR, now())
    with pytest.raises(NotAllowedError):
        require(newsroom, request, Role.EDITOR)


@pytest.mark.parametrize("how", ["closed", "closed and opened", "new password", "signed out"])
def test_a_live_cookie_is_dead_once_its_person_is(newsroom: Desk, how: str) -> None:
    request = signed_in(newsroom, "Ben")
    ben = require(newsroom, request, Role.ANNOTATOR).annotator_id
    with write_session(newsroom.sessions) as session:
        if how.startswith("closed"):
            people.close_person(session, None, "Ben", now())
        if how == "closed and opened":
            people.open_person(session, None, "Ben", now())
        if how == "new password":
            people.set_password(session, None, "Ben", KEPT.replace("$15$", "$14$"), now())
        if how == "signed out":
            people.sign_out(session, ben, now())
    with pytest.raises(NotSignedInError):
        require(newsroom, request, Role.ANNOTATOR)


def selects(desk: Desk, request: Request) -> list[str]:
    """What the database is asked to find out who makes a request."""
    asked: list[str] = []
    sa.event.listen(desk.engine, "before_cursor_execute", lambda *given: asked.append(str(given[2])))
    person_asking(desk, request)
    return [one for one in asked if not one.startswith("BEGIN")]


def test_who_signed_in_costs_one_query(newsroom: Desk) -> None:
    assert len(selects(newsroom, signed_in(newsroom, "Ben"))) == 1


def test_the_local_person_costs_one_query(desk: Desk) -> None:
    local_person(desk)
    assert len(selects(desk, Request())) == 1
