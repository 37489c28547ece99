import argparse
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from db import people
from db.models import Event
from db.passwords import WeakPasswordError, is_password
from db.people import LastPersonError, NameTakenError, UnknownPersonError, WrongNameError
from db.vocabulary import Role
from ooc_app.auth import Person, local_person
from ooc_app.commands.people import add_commands
from ooc_app.commands.terminal import UsageError
from ooc_app.desk import Desk

PROJECT_DIR = Path(__file__).resolve().parents[2]


class Adding:
    """A command line with this group of commands alone."""

    def __init__(self) -> None:
        self.parser = argparse.ArgumentParser()
        self.parser.add_argument("--json", action="store_true")
        self.commands = self.parser.add_subparsers(dest="command", required=True)

    def __call__(self, name: str, run: Any) -> argparse.ArgumentParser:
        added = self.commands.add_parser(name)
        added.set_defaults(run=run)
        return added

    def on_folder(self, name: str, run: Any) -> argparse.ArgumentParser:
        return self(name, run)


def people_(desk: Desk, *words: str) -> int:
    """Run `people WORDS`."""
    adding = Adding()
    add_commands(adding)
    given = adding.parser.parse_args(["people", *words])
    return int(given.run(desk, given))


def added(desk: Desk, name: str, role: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Add somebody with a generated password, and return it."""
    assert people_(desk, "add", name, "--role", role, "--generate", "--json") == 0
    return str(json.loads(capsys.readouterr().out)["password"])


def account(desk: Desk, name: str) -> people.Account:
    with desk.sessions() as session:
        return people.known(session, name)


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (("add", "", "--role", "annotator", "--generate"), WrongNameError),
        (("add", "VERA", "--role", "annotator", "--generate"), NameTakenError),
        (("role", "nobody", "editor"), UnknownPersonError),
        (("password", "nobody", "--generate"), UnknownPersonError),
        (("close", "nobody"), UnknownPersonError),
        (("open", "nobody"), UnknownPersonError),
        (("close", "vera"), LastPersonError),
        (("role", "vera", "annotator"), LastPersonError),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    desk: Desk, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], refusal: type[Exception]
) -> None:
    added(desk, "Vera", "editor", capsys)
    before = account(desk, "Vera")
    with pytest.raises(refusal):
        people_(desk, *words)
    assert account(desk, "Vera") == before


@pytest.mark.parametrize("words", [(), ("add", "x"), ("role", "x", "admin"), ("add", "x", "--role", "boss")])
def test_wrong_words_are_wrong_use(desk: Desk, words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as left:
        people_(desk, *words)
    assert left.value.code == 2


def test_a_short_password_from_standard_input_is_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("short\n"))
    with pytest.raises(WeakPasswordError):
        people_(desk, "add", "Vera", "--role", "editor", "--password-stdin")
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    with pytest.raises(UsageError, match="--generate"):
        people_(desk, "add", "Vera", "--role", "editor")
    with desk.sessions() as session:
        assert not people.asks_to_sign_in(session)


def test_a_password_from_standard_input_is_taken_without_its_line_end(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("flood tower quay \r\n"))
    assert people_(desk, "add", "Vera", "--role", "editor", "--password-stdin") == 0
    assert is_password("flood tower quay ", account(desk, "vera").password_hash)
    said = capsys.readouterr()
    assert "flood" not in said.out + said.err


def test_a_generated_password_is_shown_once_and_is_the_one(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    password = added(desk, "Vera", "editor", capsys)
    assert is_password(password, account(desk, "vera").password_hash)
    assert people_(desk, "list") == 0
    assert password not in capsys.readouterr().out


def test_somebody_goes_through_all_that_may_happen_to_them(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    first = added(desk, "Vera", "editor", capsys)
    added(desk, "Ben", "annotator", capsys)
    for words in (
        ("role", "BEN", "adjudicator"),
        ("password", "ben", "--generate"),
        ("close", "ben"),
        ("open", "ben"),
    ):
        assert people_(desk, *words) == 0
    said = capsys.readouterr().out
    assert "Ben is adjudicator from now on." in said
    assert "Ben signs in no more; what they ruled stays." in said
    assert first not in said
    assert account(desk, "ben").role == Role.ADJUDICATOR
    assert account(desk, "ben").may_sign_in
    with desk.sessions() as session:
        events = session.scalars(sa.select(Event).where(Event.action.like("%\\_person", escape="\\"))).all()
    assert [one.action for one in events] == ["add_person", "add_person", "close_person", "open_person"]
    assert {one.annotator_id for one in events} == {local_person(desk).annotator_id}


def test_everybody_is_listed_with_what_they_may(
    desk: Desk, person: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    added(desk, "Vera", "editor", capsys)
    added(desk, "Ben", "annotator", capsys)
    people_(desk, "close", "ben")
    capsys.readouterr()
    people_(desk, "list", "--json")
    listed = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["role"], one["active"], one["signs_in"]) for one in listed] == [
        (person.name, "editor", True, False),
        ("Vera", "editor", True, True),
        ("Ben", "annotator", False, False),
    ]
    people_(desk, "list")
    assert capsys.readouterr().out.splitlines() == [
        "editor  editor       no password",
        "Vera    editor       signs in",
        "Ben     annotator    closed",
    ]


def test_without_an_editor_who_signs_in_it_is_said_what_nobody_can_do(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    people_(desk, "add", "Ben", "--role", "annotator", "--generate")
    assert "nobody can train" in capsys.readouterr().err


@pytest.mark.parametrize("again", ["flood tower quay", "flood tower Quay"])
def test_on_a_terminal_the_password_is_asked_for_twice_and_not_shown(desk: Desk, again: str) -> None:
    code = (
        "import argparse, pathlib, sys\n"
        "from ooc_app.commands.people import add_person\n"
        "from ooc_app.commands.terminal import UsageError\n"
        "from ooc_app.desk import open_desk\n"
        "given = argparse.Namespace(name='Vera', role='editor', generate=False, json=False)\n"
        "given.password_stdin = False\n"
        "with open_desk(pathlib.Path(sys.argv[1])) as desk:\n"
        "    try: add_person(desk, given)\n"
        "    except UsageError as refused: print(refused)\n"
    )
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", code, str(desk.data_dir)]
    asked = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=PROJECT_DIR, start_new_session=True
    )
    os.close(theirs)
    with os.fdopen(ours, "r+b", buffering=0) as terminal:
        shown = _until(terminal, b"Password: ")
        terminal.write(b"flood tower quay\n")
        shown += _until(terminal, b"again: ")
        terminal.write(again.encode() + b"\n")
        shown += _until(terminal, b".\r\n")
        assert asked.wait(60) == 0
    assert b"flood" not in shown
    with desk.sessions() as session:
        assert people.asks_to_sign_in(session) == (again == "flood tower quay")
    assert (b"two different passwords" in shown) == (again != "flood tower quay")


def _until(terminal: Any, words: bytes) -> bytes:
    shown = b""
    while words not in shown:
        shown += terminal.read(4096)
    return shown
