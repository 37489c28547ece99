"""Keep the checks of analysts: add, read by token, list, let expire, delete, and send to the desk as cases.

Whoever has a check's token may read it; only its owner or an editor changes it. A check whose time is
over reads as if it were deleted, and is, with its picture, the next time `expire` is called.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.bulk import insert_missing
from db.cases import NewCase, NewImage, add_cases
from db.models import BatchRow, Case, Check, Event, Image, Kind, Queued
from db.requests import request
from db.vocabulary import HumanAnswer, QueueReason, Role, Split, Verdict

T = TypeVar("T")

DATASET: Final = "checks"  # of the cases that checks were sent as
TOGETHER: Final = 500  # rows, or ids, in one statement


class UnknownCheckError(LookupError):
    """Raised for a token that no check has, or no longer has."""


class NotOwnCheckError(Exception):
    """Raised where somebody changes a check of somebody else."""


class CannotSendError(Exception):
    """Raised for a check that can be no case; says why."""


@dataclass(frozen=True)
class NewCheck:
    """A question to the student and its answer; `found` is what else the report shows, as JSON."""

    token: str
    image: NewImage
    caption: str
    verdict: Verdict
    probability: float
    rationale: str
    student: str
    annotator_id: int | None
    claimed_date: str | None = None
    claimed_place: str | None = None
    url: str | None = None
    cannot_tell: bool = False
    found: dict[str, Any] | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True)
class Sent:
    """What became of a check that was sent to the desk."""

    case_id: int
    human: HumanAnswer  # what people say of the case now
    waits: bool  # for somebody's ruling

    @property
    def settled_as(self) -> Verdict | None:
        """The human verdict, where there is one."""
        return Verdict(self.human) if self.human.value in tuple(Verdict) else None


def add_check(session: Session, new: NewCheck, now: datetime) -> int:
    """Keep a check with its picture, and return its id. Wants a write session."""
    insert_missing(session, Image, [vars(new.image)])
    facts = {name: value for name, value in vars(new).items() if name not in ("image", "found")}
    check = Check(**facts, image_sha256=new.image.sha256, found=new.found or {}, created_at=now)
    session.add(check)
    session.flush()
    return check.id


def add_found(session: Session, token: str, found: dict[str, Any]) -> None:
    """Add to what a check's report shows; nothing where it was deleted meanwhile. Wants a write session."""
    check = session.scalar(sa.select(Check).where(Check.token == token))
    if check is not None:
        check.found = {**check.found, **found}


def check_of(session: Session, token: str, now: datetime) -> Check:
    """Return a check by its token. Raises UnknownCheckError, also where its time is over."""
    check = session.scalar(sa.select(Check).where(Check.token == token))
    if check is None or (check.expires_at is not None and check.expires_at <= now):
        raise UnknownCheckError(
            "There is no such report: its owner deleted it, its time is over, or the link is not whole."
        )
    return check


def own_checks(
    session: Session, annotator_id: int, now: datetime, *, before: int | None = None, count: int = 20
) -> list[Check]:
    """Return somebody's newest checks, those of batches left out; `before` is the id to go on from."""
    in_batch = sa.select(BatchRow.check_id).where(BatchRow.check_id == Check.id).exists()
    wanted = sa.select(Check).where(Check.annotator_id == annotator_id, ~in_batch, _is_alive(now))
    if before is not None:
        wanted = wanted.where(Check.id < before)
    return list(session.scalars(wanted.order_by(Check.id.desc()).limit(count)))


def set_expiry(
    session: Session, token: str, annotator_id: int, role: Role, until: datetime | None, now: datetime
) -> None:
    """Let a check end at a time, or with None never. Raises as `owned` does. Wants a write session."""
    owned(session, token, annotator_id, role, now).expires_at = until


def delete_check(
    session: Session, token: str, annotator_id: int, role: Role, now: datetime
) -> tuple[str, ...]:
    """Delete a check, and return the SHA-256 of its picture where nothing else on the desk has it.

    The caller deletes that picture's files before it commits. Raises as `owned` does. Wants a write
    session.
    """
    check = owned(session, token, annotator_id, role, now)
    session.add(Event(at=now, annotator_id=annotator_id, action="delete_check", case_id=check.case_id))
    return remove(session, [(check.id, check.image_sha256)])


def expire(session: Session, now: datetime) -> tuple[str, ...]:
    """Delete the checks whose time is over; returns what `delete_check` does. Wants a write session."""
    chosen = sa.select(Check.id, Check.image_sha256).where(Check.expires_at <= now)
    over = session.execute(chosen).all()
    if over:
        session.add(Event(at=now, action="expire_checks", detail={"checks": len(over)}))
    return remove(session, over)


def owned(session: Session, token: str, annotator_id: int, role: Role, now: datetime) -> Check:
    """Return a check that somebody may change. Raises UnknownCheckError or NotOwnCheckError."""
    check = check_of(session, token, now)
    if check.annotator_id != annotator_id and role != Role.EDITOR:
        raise NotOwnCheckError("This check is somebody else's: only they and editors may change it.")
    return check


def send(session: Session, token: str, annotator_id: int, role: Role, now: datetime) -> Sent:
    """Ask the desk's people to rule on a check, as a case; sent again it stays what it is.

    A case of the same picture and caption is taken where there is one. Raises as `owned` does, and
    CannotSendError where the picture is held out. Wants a write session.
    """
    check = owned(session, token, annotator_id, role, now)
    if check.case_id is None:
        check.case_id = _case_for(session, check, now)
        found = sent(session, [check.case_id])[check.case_id]
        if found.human == HumanAnswer.NONE:
            request(session, [check.case_id], QueueReason.SENT, now, annotator_id=annotator_id)
        session.add(Event(at=now, annotator_id=annotator_id, action="send", case_id=check.case_id))
        session.flush()
    return sent(session, [check.case_id])[check.case_id]


def sent(session: Session, case_ids: Collection[int]) -> dict[int, Sent]:
    """Say where the cases stand that checks were sent as."""
    rows = session.execute(
        sa.select(Case.id, Kind.human, Queued.case_id)
        .outerjoin(Kind, Kind.id == Case.kind_id)
        .outerjoin(Queued, Queued.case_id == Case.id)
        .where(Case.id.in_(case_ids))
    )
    return {
        case_id: Sent(case_id, HumanAnswer(human or HumanAnswer.NONE), waiting is not None)
        for case_id, human, waiting in rows
    }


def remove(session: Session, checks: Collection[tuple[int, str]]) -> tuple[str, ...]:
    """Delete checks, each given with its picture's SHA-256; returns what `delete_check` does.

    A batch's rows that had them say so. Wants a write session.
    """
    for ids in parts([check_id for check_id, _ in checks]):
        rows = sa.update(BatchRow).where(BatchRow.check_id.in_(ids))
        session.execute(rows.values(check_id=None, refused="The report was deleted."))
        session.execute(sa.delete(Check).where(Check.id.in_(ids)))
    unused: list[str] = []
    for pictures in parts(sorted({sha256 for _, sha256 in checks})):
        used: set[str | None] = set()
        for column in (Case.image_sha256, Check.image_sha256):
            used.update(session.scalars(sa.select(column).where(column.in_(pictures)).distinct()))
        gone = [sha256 for sha256 in pictures if sha256 not in used]
        session.execute(sa.delete(Image).where(Image.sha256.in_(gone)))
        unused += gone
    session.flush()
    return tuple(unused)


def parts(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut values into pieces of `TOGETHER`, in order."""
    for start in range(0, len(values), TOGETHER):
        yield values[start : start + TOGETHER]


def _case_for(session: Session, check: Check, now: datetime) -> int:
    """Find or make the case of a check. Cases of one picture stay in one split and one group."""
    rows = session.execute(
        sa.select(Case.id, Case.caption, Case.split, Case.group_key)
        .where(Case.image_sha256 == check.image_sha256)
        .order_by(Case.id)
    ).all()
    if any(row.split != Split.TRAIN for row in rows):
        raise CannotSendError(
            "This picture is among the cases that the student is measured by, on which nobody rules."
        )
    for row in rows:
        if row.caption == check.caption:
            return int(row.id)
    image = session.get_one(Image, check.image_sha256)
    picture = NewImage(image.sha256, image.format, image.width, image.height, image.byte_size)
    group = next((row.group_key for row in rows if row.group_key), None)
    case = NewCase(
        check.token,
        check.caption,
        picture,
        group=group,
        url=check.url,
        date=check.claimed_date,
        place=check.claimed_place,
        note="sent by an analyst",
    )
    add_cases(session, DATASET, [case], now=now)
    return session.scalars(
        sa.select(Case.id).where(Case.dataset == DATASET, Case.external_id == check.token)
    ).one()


def _is_alive(now: datetime) -> sa.ColumnElement[bool]:
    return sa.or_(Check.expires_at.is_(None), Check.expires_at > now)
