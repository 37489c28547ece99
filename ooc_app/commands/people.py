"""`people`: who works at the desk, in which role, and who may sign in."""

import argparse
import json
import sys
from collections.abc import Callable
from datetime import datetime
from getpass import getpass
from pathlib import Path
from typing import Final

from sqlalchemy.orm import Session

from db import people
from db.engine import write_session
from db.passwords import generated_password, hash_password
from db.vocabulary import Role
from ooc_app.auth import local_person, now
from ooc_app.commands.terminal import Add, UsageError
from ooc_app.desk import Desk

Deed = Callable[[Desk, argparse.Namespace], int]
Change = Callable[[Session, int, datetime], people.Account]
ROLES: Final = tuple(role.value for role in Role)


def add_commands(add: Add) -> None:
    """Add `people` with what can be done there."""
    deeds = add("people", people_command).add_subparsers(dest="deed", required=True, metavar="DEED")
    shared = _shared_options()

    def deed(name: str, do: Deed) -> argparse.ArgumentParser:
        added = deeds.add_parser(name, parents=[shared], help=do.__doc__, description=do.__doc__)
        added.set_defaults(do=do)
        return added

    adding = deed("add", add_person)
    adding.add_argument("name", metavar="NAME")
    adding.add_argument("--role", choices=ROLES, required=True)
    _add_password_options(adding)
    deed("list", list_people)
    giving = deed("role", give_role)
    giving.add_argument("name", metavar="NAME")
    giving.add_argument("role", choices=ROLES)
    setting = deed("password", set_password)
    setting.add_argument("name", metavar="NAME")
    _add_password_options(setting)
    deed("close", close).add_argument("name", metavar="NAME")
    deed("open", reopen).add_argument("name", metavar="NAME")


def people_command(desk: Desk, given: argparse.Namespace) -> int:
    """Say who may sign in to the desk, and in which role."""
    do: Deed = given.do
    return do(desk, given)


def add_person(desk: Desk, given: argparse.Namespace) -> int:
    """Add somebody; once there is one, everybody signs in."""
    with desk.sessions() as session:  # before a password is asked for in vain
        people.new_name(session, given.name)
    password, kept = _new_password(given)
    role = Role(given.role)
    added = _change(desk, lambda session, by, at: people.add_person(session, by, given.name, role, kept, at))
    _tell(given, added, f"{added.name} is {added.role} and may sign in.", password)
    with desk.sessions() as session:
        has_editor = any(one.may_sign_in and one.role == Role.EDITOR for one in people.accounts(session))
    if not has_editor:
        print("No editor may sign in yet, so nobody can train or promote on the page.", file=sys.stderr)
    return 0


def list_people(desk: Desk, given: argparse.Namespace) -> int:
    """List everybody."""
    with desk.sessions() as session:
        everybody = people.accounts(session)
    if given.json:
        print(json.dumps([_as_json(one) for one in everybody]))
        return 0
    width = max((len(one.name) for one in everybody), default=0)
    for one in everybody:
        print(f"{one.name:{width}}  {one.role:11}  {_standing(one)}")
    return 0


def give_role(desk: Desk, given: argparse.Namespace) -> int:
    """Give somebody another role, at once."""
    role = Role(given.role)
    changed = _change(desk, lambda session, by, at: people.set_role(session, by, given.name, role, at))
    _tell(given, changed, f"{changed.name} is {changed.role} from now on.")
    return 0


def set_password(desk: Desk, given: argparse.Namespace) -> int:
    """Give somebody another password, which signs them out everywhere."""
    with desk.sessions() as session:
        people.known(session, given.name)
    password, kept = _new_password(given)
    changed = _change(desk, lambda session, by, at: people.set_password(session, by, given.name, kept, at))
    _tell(given, changed, f"{changed.name} has a new password and is signed out everywhere.", password)
    return 0


def close(desk: Desk, given: argparse.Namespace) -> int:
    """Close somebody's account, at once: their cases are free, their rulings stay."""
    closed = _change(desk, lambda session, by, at: people.close_person(session, by, given.name, at))
    _tell(given, closed, f"{closed.name} signs in no more; what they ruled stays.")
    return 0


def reopen(desk: Desk, given: argparse.Namespace) -> int:
    """Open a closed account again."""
    opened = _change(desk, lambda session, by, at: people.open_person(session, by, given.name, at))
    _tell(given, opened, f"{opened.name} may work here again.")
    return 0


def _change(desk: Desk, change: Change) -> people.Account:
    """Change something in the name of the local editor, who sits at the command line."""
    by = local_person(desk).annotator_id
    with write_session(desk.sessions) as session:
        return change(session, by, now())


def _new_password(given: argparse.Namespace) -> tuple[str | None, str]:
    """Return the password where it is to be shown, and what is kept of it."""
    if given.generate:
        password = generated_password()
        return password, hash_password(password)
    if given.password_stdin:
        return None, hash_password(sys.stdin.readline().rstrip("\r\n"))
    if not sys.stdin.isatty():
        raise UsageError(
            "There is no terminal to ask for a password on: give --password-stdin or --generate."
        )
    password = getpass("Password: ")
    kept = hash_password(password)
    if getpass("The same again: ") != password:
        raise UsageError("These were two different passwords; nothing was changed.")
    return None, kept


def _tell(given: argparse.Namespace, person: people.Account, says: str, password: str | None = None) -> None:
    if given.json:
        shown = {} if password is None else {"password": password}
        print(json.dumps({**_as_json(person), **shown}))
        return
    print(says)
    if password is not None:
        print(f"Their password, shown this once: {password}")


def _as_json(one: people.Account) -> dict[str, str | bool]:
    return {
        "name": one.name,
        "role": one.role.value,
        "active": one.active,
        "signs_in": one.may_sign_in,
        "scripted": one.scripted,
    }


def _standing(one: people.Account) -> str:
    if one.scripted:
        return "the demo's script"
    if not one.active:
        return "closed"
    return "signs in" if one.may_sign_in else "no password"


def _add_password_options(parser: argparse.ArgumentParser) -> None:
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    ways.add_argument("--generate", action="store_true", help="make a password and show it once")


def _shared_options() -> argparse.ArgumentParser:
    """The options of every command, so that they may stand after the deed too."""
    shared = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    shared.add_argument("--data", type=Path, help="data folder (default: OOC_DATA, else ./data)")
    shared.add_argument("--debug", action="store_true", help="show a traceback on failure")
    shared.add_argument("--json", action="store_true", help="print JSON")
    return shared
