"""Say who is asking, and whether they may.

Without a configured sign-in the desk has exactly one user: whoever sits at this machine. A request
counts as theirs when it comes from a loopback address, was sent to a loopback name (a page of
another site whose name resolves to 127.0.0.1 is not), and was not made by another site's page.
Every handler that rules, imports or trains asks here itself: hiding a button protects nothing.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import urlsplit

from sqlalchemy import select

from db.engine import write_session
from db.models import Annotator
from db.rulings import ensure_annotator
from db.vocabulary import Role
from ooc_app.desk import Desk

_RANK = {Role.ANNOTATOR: 0, Role.ADJUDICATOR: 1, Role.EDITOR: 2}


class NotAllowedError(Exception):
    """Raised where the one who asks is not known to the desk or lacks the role."""


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


def is_local(request: Asker) -> bool:
    """Tell whether a request was made at this machine, by a page of this desk or by a program."""
    client_host = getattr(request.client, "host", None)
    if not isinstance(client_host, str) or not _is_loopback(client_host):
        return False
    asked_host = urlsplit(f"//{request.headers.get('host', '')}")
    if not _is_loopback(asked_host.hostname or ""):
        return False
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == asked_host.netloc


def require(desk: Desk, request: Asker | None, role: Role) -> Person:
    """Return the person who asks; raise NotAllowedError unless they have `role` or a higher one."""
    if request is None or not is_local(request):
        raise NotAllowedError(
            "This desk has no sign-in, so it works only in a browser on its own machine; open it there."
        )
    person = local_person(desk)
    if _RANK[person.role] < _RANK[role]:
        raise NotAllowedError(f"{person.name} is {person.role}; this needs the role {role}.")
    return person


def local_person(desk: Desk) -> Person:
    """Return the annotator of the settings, who is an editor, adding them where they are new."""
    name = desk.settings.annotator
    with desk.sessions() as session:
        row = session.scalar(select(Annotator).where(Annotator.name == name))
    if row is None:
        with write_session(desk.sessions) as session:
            row = session.get_one(Annotator, ensure_annotator(session, name, Role.EDITOR))
    return Person(row.id, row.name, row.role)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def now() -> datetime:
    """The time of a deed, in UTC."""
    return datetime.now(UTC)
