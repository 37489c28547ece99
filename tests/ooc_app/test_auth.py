from dataclasses import dataclass, field

import pytest

from db.engine import write_session
from db.rulings import ensure_annotator
from db.vocabulary import Role
from ooc_app.auth import NotAllowedError, is_local, local_person, require
from ooc_app.desk import Desk


@dataclass
class Client:
    host: str = "127.0.0.1"


@dataclass
class Request:
    headers: dict[str, str] = field(default_factory=lambda: {"host": "127.0.0.1:7860"})
    client: Client | None = field(default_factory=Client)


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "127.0.0.1:7860"},
        {"host": "localhost:7860", "origin": "http://localhost:7860"},
        {"host": "[::1]:7860", "origin": "http://[::1]:7860"},
    ],
)
def test_a_page_of_this_desk_is_local(headers: dict[str, str]) -> None:
    assert is_local(Request(headers))


@pytest.mark.parametrize(
    "request_",
    [
        Request(client=Client("192.168.1.7")),
        Request(client=None),
        Request(headers={}),
        Request(headers={"host": "desk.example"}),
        Request(headers={"host": "127.0.0.1.evil.example:7860"}),
        Request(headers={"host": "127.0.0.1:7860", "origin": "https://evil.example"}),
        Request(headers={"host": "127.0.0.1:7860", "origin": "http://127.0.0.1:8000"}),
        Request(headers={"host": "127.0.0.1:7860", "origin": "null"}),
    ],
)
def test_another_machine_another_name_or_another_page_is_not(request_: Request) -> None:
    assert not is_local(request_)


def test_the_local_person_is_the_annotator_of_the_settings_and_stays_one(desk: Desk) -> None:
    person = require(desk, Request(), Role.EDITOR)
    assert (person.name, person.role) == ("editor", Role.EDITOR)
    assert local_person(desk) == person


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
