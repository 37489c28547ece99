import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient

from db import people
from db.engine import write_session
from db.models import Event, Queued
from db.passwords import hash_password
from db.queue import claim
from db.vocabulary import Role
from ooc_app.auth import now
from ooc_app.desk import Desk
from ooc_app.sign_in import FORM_MAX, WRONG, Door, known_names
from ooc_app.wrong_tries import FREE_TRIES, WrongTries

PASSWORD = "flood tower quay"
KEPT = hash_password(PASSWORD)
PAGE = {"accept": "text/html"}


@pytest.fixture
def newsroom(desk: Desk) -> Desk:
    """Give a desk with an editor and an annotator who sign in."""
    with write_session(desk.sessions) as session:
        people.add_person(session, None, "Vera", Role.EDITOR, KEPT, now())
        people.add_person(session, None, "Zoe\u0301 <b>", Role.ANNOTATOR, KEPT, now())
    return desk


def browser(desk: Desk, *, url: str = "http://desk.example:7860", address: str = "10.0.0.9") -> TestClient:
    """A browser at another machine, in front of the door alone."""
    standing_still = WrongTries(lambda: 0.0)
    door = Door(desk, known_names("0.0.0.0", ["desk.example"]), standing_still)
    app = FastAPI(routes=list(door.routes()), exception_handlers=door.exception_handlers())
    return TestClient(app, base_url=url, client=(address, 50_000), follow_redirects=False)


def sign_in(client: TestClient, name: str = "vera", password: str = PASSWORD) -> int:
    """Sign in as a program does; returns the status."""
    return int(client.post("/login", data={"username": name, "password": password}).status_code)


# ---- who is not let in ----


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("vera", "flood tower Quay"),
        ("vera", ""),
        ("nobody", PASSWORD),
        ("", PASSWORD),
        ("' OR 1=1 --", PASSWORD),
        ("editor", ""),
    ],
)
def test_a_wrong_password_and_an_unknown_name_are_told_apart_by_nothing(
    newsroom: Desk, name: str, password: str
) -> None:
    client = browser(newsroom)
    answer = client.post("/login", data={"username": name, "password": password})
    assert (answer.status_code, answer.json()) == (401, {"detail": WRONG})
    assert "set-cookie" not in answer.headers
    assert client.get("/desk/who").status_code == 401


def test_a_closed_account_does_not_sign_in_and_a_live_cookie_of_it_is_dead(newsroom: Desk) -> None:
    client = browser(newsroom)
    assert sign_in(client, "zo\u00e9 <b>") == 200
    assert client.get("/desk/who").status_code == 200
    with write_session(newsroom.sessions) as session:
        people.close_person(session, None, "zo\u00e9 <b>", now())
    assert client.get("/desk/who").status_code == 401
    assert sign_in(client, "zo\u00e9 <b>") == 401


def test_another_sites_page_can_neither_sign_in_nor_out_nor_ask(newsroom: Desk) -> None:
    client = browser(newsroom)
    foreign = {"origin": "https://evil.example"}
    form = {"username": "vera", "password": PASSWORD}
    assert client.post("/login", data=form, headers=foreign).status_code == 403
    assert sign_in(client) == 200
    assert client.get("/desk/who", headers=foreign).status_code == 403
    assert client.post("/logout", headers=foreign).status_code == 403
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client.get("/logout", headers=link).status_code == 403
    assert client.get("/desk/who").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "desk.example.evil.example", "", "127.0.0.1.evil.example"])
def test_a_name_the_desk_was_not_told_of_is_refused_even_with_the_cookie(newsroom: Desk, host: str) -> None:
    client = browser(newsroom)
    assert sign_in(client) == 200
    answer = client.get("/desk/who", headers={"host": host})
    assert answer.status_code == 403
    assert "--name" in answer.json()["detail"]
    form = {"username": "vera", "password": PASSWORD}
    assert client.post("/login", data=form, headers={"host": host}).status_code == 403


@pytest.mark.parametrize(
    "host", ["desk.example", "DESK.example.:80", "10.0.0.5:7860", "[fd00::5]", "localhost"]
)
def test_a_name_it_was_told_of_an_address_and_this_machine_are_good(newsroom: Desk, host: str) -> None:
    assert browser(newsroom).get("/desk/who", headers={"host": host}).status_code == 401


def test_known_names_hold_the_machines_own() -> None:
    assert known_names("Desk.Example.") >= {"desk.example"}
    assert "" not in known_names("", [""])


def test_a_form_that_is_too_long_or_of_no_stated_length_is_not_read(newsroom: Desk) -> None:
    client = browser(newsroom)
    assert sign_in(client, password="x" * FORM_MAX) == 413
    answer = client.post("/login", content=iter([b"username=vera&password=x"]))
    assert answer.status_code == 413


def test_a_file_in_place_of_a_password_is_refused(newsroom: Desk) -> None:
    answer = browser(newsroom).post("/login", data={"username": "vera"}, files={"password": b"x"})
    assert answer.status_code in (400, 422)


@pytest.mark.parametrize("name", ["VERA", "nobody"])
def test_who_tries_too_often_waits_also_in_parallel_and_under_a_name_nobody_has(
    newsroom: Desk, name: str
) -> None:
    with browser(newsroom) as client, ThreadPoolExecutor(8) as pool:
        wrong = ["a wrong password"] * (FREE_TRIES + 4)
        statuses = list(pool.map(lambda one: sign_in(client, name, one), wrong))
        assert sorted(statuses) == [401] * FREE_TRIES + [429] * 4
        answer = client.post("/login", data={"username": name, "password": PASSWORD})
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "1"


def test_the_log_says_who_failed_from_where_and_never_what_was_typed(
    newsroom: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        sign_in(browser(newsroom), "vera", "a wrong password")
        sign_in(browser(newsroom), "my secret typed too early", "a wrong password")
    assert "'vera', from 10.0.0.9" in caplog.text
    assert "a name nobody has, from 10.0.0.9" in caplog.text
    assert "a wrong password" not in caplog.text.replace("A wrong password for", "")
    assert "secret" not in caplog.text


# ---- who is ----


@pytest.mark.parametrize("name", ["vera", " VERA ", "Vera"])
def test_a_name_is_known_however_it_is_typed(newsroom: Desk, name: str) -> None:
    client = browser(newsroom)
    assert sign_in(client, name) == 200
    assert client.get("/desk/who").json() == {"name": "Vera", "role": "editor", "signed_in": True}


def test_the_cookie_is_hidden_from_scripts_and_from_other_sites(newsroom: Desk) -> None:
    form = {"username": "vera", "password": PASSWORD}
    cookie = browser(newsroom).post("/login", data=form).headers["set-cookie"].lower()
    assert {"httponly", "samesite=lax", "path=/"} <= set(cookie.split("; "))
    assert "secure" not in cookie
    behind = browser(newsroom, url="https://desk.example").post("/login", data=form)
    assert "secure" in behind.headers["set-cookie"].lower().split("; ")


def test_a_sign_in_outlives_a_restart_of_the_desk(newsroom: Desk) -> None:
    before, after = browser(newsroom), browser(newsroom)
    assert sign_in(before) == 200
    after.cookies = before.cookies
    assert after.get("/desk/who").json()["name"] == "Vera"


def test_signing_in_and_out_are_events_of_the_person(newsroom: Desk) -> None:
    client = browser(newsroom)
    sign_in(client)
    client.post("/logout")
    with newsroom.sessions() as session:
        happened = session.scalars(sa.select(Event).order_by(Event.id.desc()).limit(2)).all()
    assert [one.action for one in happened] == ["sign_out", "sign_in"]
    assert {one.annotator_id for one in happened} == {1}


def test_signing_out_frees_the_case_and_ends_the_sign_in_in_every_browser(
    newsroom: Desk, add_conflict: object
) -> None:
    assert callable(add_conflict)
    add_conflict("Lisbon")
    here, elsewhere = browser(newsroom), browser(newsroom)
    assert (sign_in(here), sign_in(elsewhere)) == (200, 200)
    with write_session(newsroom.sessions) as session:
        assert claim(session, 1, now())
    answer = here.post("/logout", headers=PAGE)
    assert (answer.status_code, answer.headers["location"]) == (303, "login")
    assert elsewhere.get("/desk/who").status_code == 401
    with newsroom.sessions() as session:
        assert session.scalar(sa.select(Queued.annotator_id)) is None
    assert here.post("/logout").headers["location"] == "login"


# ---- pages ----


def test_the_form_is_shown_and_leads_back_to_the_case_that_was_asked_for(newsroom: Desk) -> None:
    client = browser(newsroom)
    form = client.get("/login?then=%3Fcase%3D7", headers=PAGE)
    assert form.status_code == 200
    assert 'value="?case=7"' in form.text
    assert "frame-ancestors 'none'" in form.headers["content-security-policy"]
    filled = {"username": "vera", "password": PASSWORD, "then": "?case=7"}
    answer = client.post("/login", data=filled, headers=PAGE)
    assert (answer.status_code, answer.headers["location"]) == (303, "./?case=7")
    assert client.get("/login", headers=PAGE).headers["location"] == "./"


@pytest.mark.parametrize(
    "then",
    ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:x", "?a\r\nset-cookie: b=c"],
)
def test_the_form_leads_nowhere_else(newsroom: Desk, then: str) -> None:
    form = {"username": "vera", "password": PASSWORD, "then": then}
    assert browser(newsroom).post("/login", data=form, headers=PAGE).headers["location"] == "./"


def test_a_wrong_try_shows_the_form_again_with_its_sentence_and_the_name_as_text(newsroom: Desk) -> None:
    form = {"username": '"><script>x</script>', "password": "a wrong password", "then": '?"><b>'}
    answer = browser(newsroom).post("/login", data=form, headers=PAGE)
    assert answer.status_code == 401
    assert WRONG in answer.text
    assert "<script>" not in answer.text
    assert "<b>" not in answer.text
    assert "a wrong password" not in answer.text


def test_a_desk_without_sign_in_shows_no_form_here_and_a_sentence_elsewhere(desk: Desk) -> None:
    local = browser(desk, url="http://127.0.0.1:7860", address="127.0.0.1")
    assert local.get("/login", headers=PAGE).headers["location"] == "./"
    assert local.get("/desk/who").json() == {"name": "editor", "role": "editor", "signed_in": False}
    stranger = browser(desk).get("/login", headers=PAGE)
    assert stranger.status_code == 403
    assert "open it there" in stranger.text
    assert sign_in(browser(desk), "editor", "") == 401
