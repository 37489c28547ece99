"""What is done with a report: its owner lets it end, deletes it, sends it to the desk; time ends others.

With a check go its picture's files, while the write lock is held, where nothing else on the desk has the
picture: a check that is being kept meanwhile finds them missing and stores them anew.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from db import checks
from db.engine import write_session
from db.models import Check
from ooc_app import auth
from ooc_app.auth import Person
from ooc_app.desk import Desk
from ooc_app.intake.images import stored_path

NEVER: Final = "never"
DAYS: Final = {"7": 7, "30": 30, "365": 365}
FIRST_LOOK_SECONDS: Final = 60.0  # after the start, which has better things to do
LOOK_SECONDS: Final = 3_600.0

log = logging.getLogger(__name__)


class WrongTermError(ValueError):
    """Raised for a time a report cannot be given; says which it can."""


def let_end(desk: Desk, person: Person, token: str, term: str) -> None:
    """Let a report end so many days from now, or with `never` not at all.

    Raises WrongTermError, UnknownCheckError or NotOwnCheckError.
    """
    if term != NEVER and term not in DAYS:
        raise WrongTermError(f"A report is kept for {', '.join(DAYS)} days, or ends {NEVER}: choose one.")
    at = auth.now()
    until = None if term == NEVER else at + timedelta(days=DAYS[term])
    with write_session(desk.sessions) as session:
        checks.set_expiry(session, token, person.annotator_id, person.role, until, at)


def send(desk: Desk, person: Person, token: str) -> None:
    """Ask the desk's people to rule. Raises UnknownCheckError, NotOwnCheckError or CannotSendError."""
    with write_session(desk.sessions) as session:
        checks.send(session, token, person.annotator_id, person.role, auth.now())


def delete(desk: Desk, person: Person, token: str) -> None:
    """Delete a report and what is only its own. Raises UnknownCheckError or NotOwnCheckError."""
    with write_session(desk.sessions) as session:
        unused = checks.delete_check(session, token, person.annotator_id, person.role, auth.now())
        remove_pictures(unused, desk.images_dir)


def expire(desk: Desk) -> None:
    """Delete the reports whose time is over; where there are none nothing is locked."""
    at = auth.now()
    with desk.sessions() as session:
        if session.scalar(sa.select(sa.exists().where(Check.expires_at <= at))) is not True:
            return
    with write_session(desk.sessions) as session:
        remove_pictures(checks.expire(session, at), desk.images_dir)


def remove_pictures(digests: Iterable[str], images_dir: Path) -> None:
    """Remove pictures with the copies made of them. Wants the write lock, and runs before the commit."""
    for sha256 in digests:
        copy = f"{sha256[2:]}.jpg"
        for made in ("thumbs", "shown"):
            (images_dir / made / sha256[:2] / copy).unlink(missing_ok=True)
        stored_path(sha256, images_dir).unlink(missing_ok=True)


def start_expiring(
    desk: Desk,
    *,
    first_look: float = FIRST_LOOK_SECONDS,
    done: Callable[[datetime], None] = lambda at: None,
) -> threading.Event:
    """Begin to delete, every hour, the reports whose time is over; setting the event ends it.

    `done` is told when each look was. A look that fails is logged, and the next one tries again.
    """
    ended = threading.Event()

    def look() -> None:
        wait = first_look
        while not ended.wait(wait):
            try:
                expire(desk)
            except Exception:
                log.exception("Reports whose time is over were not deleted")
            done(auth.now())
            wait = LOOK_SECONDS

    threading.Thread(target=look, daemon=True, name="reports end").start()
    return ended
