"""The people of the desk: who they are, what they may do, who may sign in.

Once somebody may sign in with a password, everybody has to (`asks_to_sign_in`), and that cannot be
taken back: the last editor who may sign in can be neither closed nor given another role, and nor can
the last person who may. Names are unique whatever their case, compatibility forms or invisible
characters, because two people who cannot be told apart on a screen would rule for each other.

What changes anything wants a write session and leaves an event that says by whom, `by`.
"""

import unicodedata
from datetime import datetime
from functools import cache
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from db.models import Annotator, Event
from db.passwords import marked_anew
from db.queue import release
from db.returns import restand_returned
from db.vocabulary import Role

NAME_MAX: Final = 80  # characters
# Joiners inside words of Persian and of several Indian scripts; every other character of its kind
# (category Cf) is refused, because one that turns the direction of writing makes two names look alike.
_JOINERS: Final = {"\u200c", "\u200d"}
_UNSEEN: Final = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}


class PersonError(Exception):
    """Raised where people cannot be changed in this way; says why, and what to do."""


class WrongNameError(PersonError):
    """Raised for a name that is empty, too long, or has characters that do not show."""


class NameTakenError(PersonError):
    """Raised for a new person with the name of another one."""


class UnknownPersonError(PersonError):
    """Raised where there is nobody of that name."""


class LastPersonError(PersonError):
    """Raised where nobody, or no editor, could sign in any more."""


class Account(NamedTuple):
    """One row of `annotators`, as it is when it is read."""

    id: int
    name: str
    role: Role
    active: bool
    scripted: bool
    password_hash: str | None

    @property
    def may_sign_in(self) -> bool:
        """Whether they have a password and are not closed."""
        return self.active and self.password_hash is not None


def proper_name(name: str) -> str:
    """Return a name as it is kept: composed (NFC), with single spaces. Raises WrongNameError."""
    kept = " ".join(part for part in unicodedata.normalize("NFC", name).split(" ") if part)
    if not 1 <= len(kept) <= NAME_MAX:
        raise WrongNameError(f"A name has 1 to {NAME_MAX} characters, this one has {len(kept):,}.")
    unseen = [one for one in kept if unicodedata.category(one) in _UNSEEN and one not in _JOINERS]
    if unseen:
        raise WrongNameError(
            f"A name has no character that does not show; this one has U+{ord(unseen[0]):04X}."
        )
    return kept


def accounts(session: Session) -> list[Account]:
    """Return everybody, in the order they came."""
    return [Account(*row) for row in session.execute(_accounts().order_by(Annotator.id))]


def account(session: Session, annotator_id: int) -> Account | None:
    """Return one person by their number; one short query, because every request asks."""
    row = session.execute(_by_id(), {"annotator_id": annotator_id}).first()
    return Account(*row) if row else None


def account_named(session: Session, name: str) -> Account | None:
    """Return the person whom people mean by a name, however they type it."""
    alike = [one for one in accounts(session) if comparable(one.name) == comparable(name)]
    exact = [one for one in alike if one.name == name]
    return next(iter(exact + alike), None)


def known(session: Session, name: str) -> Account:
    """Return somebody by name. Raises UnknownPersonError."""
    found = account_named(session, name)
    if found is None:
        raise UnknownPersonError(f"There is nobody named {name!r} on this desk; see `people list`.")
    return found


def local_account(session: Session, name: str) -> tuple[Account | None, bool]:
    """Return the person of exactly that name, and whether the desk asks everybody to sign in."""
    row = session.execute(_local(), {"name": name}).first()
    if row is None:
        return None, asks_to_sign_in(session)
    return Account(*row[:-1]), bool(row[-1])


def asks_to_sign_in(session: Session) -> bool:
    """Tell whether anybody may sign in with a password, so that everybody has to."""
    return bool(session.scalar(sa.select(_somebody_may_sign_in())))


def new_name(session: Session, name: str) -> str:
    """Return the name as it is kept for somebody new. Raises WrongNameError or NameTakenError."""
    kept = proper_name(name)
    taken = account_named(session, kept)
    if taken is not None:
        closed = "" if taken.active else ", but closed"
        raise NameTakenError(
            f"{taken.name} is here already{closed}: give them a new password, or take another name."
        )
    return kept


def add_person(
    session: Session, by: int | None, name: str, role: Role, password_hash: str, now: datetime
) -> Account:
    """Add somebody who may sign in. Raises WrongNameError or NameTakenError."""
    kept = new_name(session, name)
    annotator = Annotator(name=kept, role=role, password_hash=password_hash)
    session.add(annotator)
    session.flush()
    added = Account(annotator.id, kept, role, True, False, password_hash)
    _say(session, by, "add_person", added, now, role=role)
    return added


def set_role(session: Session, by: int | None, name: str, role: Role, now: datetime) -> Account:
    """Give somebody another role, from their next request on. Raises PersonError."""
    found = known(session, name)
    if found.role == role:
        return found
    _keep_an_editor(session, found)
    _change(session, found, role=role)
    _say(session, by, "set_role", found, now, role=role, before=found.role)
    return found._replace(role=role)


def set_password(session: Session, by: int | None, name: str, password_hash: str, now: datetime) -> Account:
    """Give somebody another password, which ends every sign-in of theirs. Raises PersonError."""
    found = known(session, name)
    if found.scripted:
        raise PersonError(f"{found.name} is the demo's script and signs in nowhere.")
    _change(session, found, password_hash=password_hash)
    _say(session, by, "set_password", found, now)
    return found._replace(password_hash=password_hash)


def close_person(session: Session, by: int | None, name: str, now: datetime) -> Account:
    """Let somebody sign in no more: what they hold is free at once, what they ruled stays.

    Raises PersonError, and does nothing where they are closed already.
    """
    found = known(session, name)
    if not found.active:
        return found
    _keep_somebody(session, found)
    _keep_an_editor(session, found)
    _end_sign_ins(session, found, active=False)
    restand_returned(session, found.id, now)
    _say(session, by, "close_person", found, now)
    return found._replace(active=False)


def open_person(session: Session, by: int | None, name: str, now: datetime) -> Account:
    """Let somebody sign in again, anew. Raises PersonError, and does nothing where they are open."""
    found = known(session, name)
    if found.active:
        return found
    _change(session, found, active=True)
    restand_returned(session, found.id, now)
    _say(session, by, "open_person", found, now)
    return found._replace(active=True)


def sign_in(session: Session, annotator_id: int, now: datetime) -> Account | None:
    """Write down that somebody signed in; None where they were closed meanwhile."""
    found = account(session, annotator_id)
    if found is None or not found.may_sign_in:
        return None
    _say(session, found.id, "sign_in", found, now)
    return found


def sign_out(session: Session, annotator_id: int, now: datetime) -> None:
    """End somebody's sign-ins, in whatever browsers, and free the cases they hold."""
    found = account(session, annotator_id)
    if found is not None:
        _end_sign_ins(session, found)
        _say(session, found.id, "sign_out", found, now)


def _keep_somebody(session: Session, leaving: Account) -> None:
    if leaving.may_sign_in and not _others(session, leaving):
        raise LastPersonError(
            f"{leaving.name} is the last who may sign in; without them the desk would stand open to "
            "everybody at its machine. Add somebody first."
        )


def _keep_an_editor(session: Session, leaving: Account) -> None:
    is_editor = leaving.may_sign_in and leaving.role == Role.EDITOR
    if is_editor and not any(one.role == Role.EDITOR for one in _others(session, leaving)):
        raise LastPersonError(
            f"{leaving.name} is the last editor who may sign in; make somebody else an editor first."
        )


def _others(session: Session, leaving: Account) -> list[Account]:
    return [one for one in accounts(session) if one.may_sign_in and one.id != leaving.id]


def _end_sign_ins(session: Session, found: Account, **also: Any) -> None:
    if found.password_hash is not None:
        also["password_hash"] = marked_anew(found.password_hash)
    if also:
        _change(session, found, **also)
    release(session, found.id)


def _change(session: Session, found: Account, **values: Any) -> None:
    session.execute(sa.update(Annotator).where(Annotator.id == found.id).values(**values))


def _say(session: Session, by: int | None, action: str, whom: Account, now: datetime, **detail: Any) -> None:
    told = {"person": whom.name, "annotator": whom.id, **detail}
    session.add(Event(at=now, annotator_id=by, action=action, detail=told))
    session.flush()


def comparable(name: str) -> str:
    """Return what two names have in common that nobody could tell apart."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return " ".join("".join(one for one in folded if unicodedata.category(one) != "Cf").split())


def _accounts() -> sa.Select[int, str, Role, bool, bool, str | None]:
    return sa.select(
        Annotator.id,
        Annotator.name,
        Annotator.role,
        Annotator.active,
        Annotator.scripted,
        Annotator.password_hash,
    )


@cache
def _by_id() -> sa.Select[int, str, Role, bool, bool, str | None]:
    return _accounts().where(Annotator.id == sa.bindparam("annotator_id", type_=sa.Integer))


@cache
def _local() -> sa.Select[int, str, Role, bool, bool, str | None, bool]:
    named = _accounts().where(Annotator.name == sa.bindparam("name", type_=sa.String))
    return named.add_columns(_somebody_may_sign_in())


@cache
def _somebody_may_sign_in() -> sa.ColumnElement[bool]:
    """Hold where anybody may sign in."""
    somebody = aliased(Annotator)
    return sa.select(somebody.id).where(somebody.active, somebody.password_hash.is_not(None)).exists()
