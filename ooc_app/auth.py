"""Say who is asking, and whether they may.

Once somebody has a password (`db/people.py`), everybody signs in, and a request is theirs whose token
it carries. Until then the desk has exactly one user, whoever sits at this machine: a request counts
as theirs when it comes from a loopback address, was sent to a loopback name (a page of another site
whose name resolves to 127.0.0.1 is not), and passed no proxy on the way. Either way it must not have
been made by another site's page.

`person_asking` is the one place that turns a request into a person; another way to sign in, such as
OAuth, is another branch of it. Every handler that rules, imports or trains asks `require` itself:
hiding a button protects nothing.
"""

import ipaddress
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol
from urllib.parse import urlsplit

from sqlalchemy import select
from starlette.requests import cookie_parser

from db import people
from db.engine import write_session
from db.models import Annotator
from db.rulings import ensure_annotator
from db.vocabulary import Role
from ooc_app.desk import Desk
from ooc_app.tokens import COOKIE, claimed_by, cookie_name, is_genuine, read_secret

_RANK = {Role.ANNOTATOR: 0, Role.ADJUDICATOR: 1, Role.EDITOR: 2}
_KNOWN: Final = "ooc_desk_person"  # of a request's state: who made it, and when that was looked up
_KNOWN_SECONDS: Final = 1.0  # a request that has waited in Gradio's queue is looked up again
_PROXIED: Final = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


class NotAllowedError(Exception):
    """Raised where the one who asks is not known to the desk or lacks the role."""


class NotSignedInError(NotAllowedError):
    """Raised where signing in would help."""


class Asker(Protocol):
    """What is read of a request; `gr.Request` and `starlette.requests.Request` both have it."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The request's headers, by lower-case name."""

    @property
    def client(self) -> object:
        """The other end of the connection, with a `host`; None where it is not known."""


@dataclass(frozen=True)
class Person:
    """Someone the desk knows."""

    annotator_id: int
    name: str
    role: Role
    signed_in: bool = False  # with a password, so that they can sign out again


def require(desk: Desk, request: Asker | None, role: Role) -> Person:
    """Return the person who asks; raise NotAllowedError unless they have `role` or a higher one."""
    if request is None:
        raise NotAllowedError("This deed came without a request, so nobody can be held to have asked for it.")
    person = _known(request) or person_asking(desk, request)
    if _RANK[person.role] < _RANK[role]:
        raise NotAllowedError(f"{person.name} is {person.role}; this needs the role {role}.")
    return person


def person_asking(desk: Desk, request: Asker) -> Person:
    """Find out who makes a request, with one short query; raise NotAllowedError where nobody may.

    Nothing is remembered between requests, so that a changed role and a closed account hold at once.
    """
    if is_foreign(request):
        raise NotAllowedError(
            "Another site's page asked for this, not a page of this desk; open the desk itself."
        )
    token, secret = _carried(desk, request)
    number = claimed_by(token)
    with desk.sessions() as session:
        if number is not None:
            found = people.account(session, number)
            if found and found.active and is_genuine(secret, token, found.password_hash, now()):
                return Person(found.id, found.name, found.role, signed_in=True)
        local, asks_to_sign_in = people.local_account(session, desk.settings.annotator)
    if asks_to_sign_in:
        raise NotSignedInError("You are not signed in: open the desk's page and give your name and password.")
    if not is_local(request):
        raise NotAllowedError(
            "This desk has no sign-in, so it works only in a browser on its own machine; open it there."
        )
    if local is not None and not local.active:
        raise NotAllowedError(f"The account of {local.name} is closed; `people open` opens it again.")
    return Person(local.id, local.name, local.role) if local else local_person(desk)


def _carried(desk: Desk, request: Asker) -> tuple[str, bytes]:
    """Return the token that a request carries, or an empty one, and the secret it is to be made with."""
    cookies = cookie_parser(request.headers.get("cookie", ""))
    if not any(name.startswith(COOKIE) for name in cookies):
        return "", b""
    secret = read_secret(desk.data_dir)
    return cookies.get(cookie_name(secret), ""), secret


def remember(request: Asker, person: Person) -> None:
    """Write into a request who makes it, so that `require` need not look it up a second time."""
    setattr(request.state, _KNOWN, (person, time.monotonic()))  # type: ignore[attr-defined]


def _known(request: Asker) -> Person | None:
    person, at = getattr(getattr(request, "state", None), _KNOWN, (None, 0.0))
    return person if time.monotonic() - at < _KNOWN_SECONDS else None


def is_foreign(request: Asker) -> bool:
    """Tell whether a browser says that a page of another site made the request.

    Following a link to the desk is no deed of the other site; showing the desk in a frame is.
    """
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != request.headers.get("host", "").lower():
        return True
    if request.headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return False
    led_here = request.headers.get("sec-fetch-mode"), request.headers.get("sec-fetch-dest")
    return led_here != ("navigate", "document")


def is_local(request: Asker) -> bool:
    """Tell whether a request was made at this machine, by a page of this desk or by a program."""
    client_host = getattr(request.client, "host", None)
    if not isinstance(client_host, str) or not is_loopback(client_host):
        return False
    if any(name in request.headers for name in _PROXIED):
        return False
    return is_loopback(asked_name(request)) and not is_foreign(request)


def asked_name(request: Asker) -> str:
    """Return the name or address a request was sent to, without its port; empty where there is none."""
    try:
        return (urlsplit(f"//{request.headers.get('host', '')}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def local_person(desk: Desk) -> Person:
    """Return the annotator of the settings, who is an editor, adding them where they are new."""
    name = desk.settings.annotator
    with desk.sessions() as session:
        row = session.scalar(select(Annotator).where(Annotator.name == name))
    if row is None:
        with write_session(desk.sessions) as session:
            row = session.get_one(Annotator, ensure_annotator(session, name, Role.EDITOR))
    return Person(row.id, row.name, row.role)


def signs_in(desk: Desk) -> bool:
    """Tell whether people of this desk have to sign in."""
    with desk.sessions() as session:
        return people.asks_to_sign_in(session)


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, seen from itself."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)


def is_address(host: str) -> bool:
    """Tell whether a host is an IP address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def now() -> datetime:
    """The time of a deed, in UTC."""
    return datetime.now(UTC)
