"""Keep batches of checks: many pictures asked about at once, answered row by row, shown a page at a time.

A row is done once it has a time: it then has a check, or the reason why there is none. A check and its
row are written in one transaction, so a batch that was cut off goes on with exactly the rows that are
not done. Whoever of the desk has a batch's token may look at it; only its owner or an editor changes it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, get_args

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.bulk import insert_missing
from db.checks import TOGETHER, NewCheck, add_check, parts, remove
from db.models import Batch, BatchRow, Check, Event
from db.vocabulary import Answer, Role, Verdict

PAGE: Final = 50  # rows that are shown at once
TIME_OVER: Final = "The report's time is over."
Order = Literal["number", "verdict", "probability", "caption"]
Only = Literal["all", "out_of_context", "in_context", "unsure", "refused", "waiting"]
ORDERS: Final[tuple[Order, ...]] = get_args(Order)
ONLY: Final[tuple[Only, ...]] = get_args(Only)


class UnknownBatchError(LookupError):
    """Raised for a token that no batch has, or no longer has."""


class NotOwnBatchError(Exception):
    """Raised where somebody changes a batch of somebody else."""


@dataclass(frozen=True, slots=True)
class NewRow:
    """A row as it was given; `refused` is why it cannot even be asked."""

    number: int
    image: str
    caption: str
    claimed_date: str | None = None
    claimed_place: str | None = None
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class RowShown:
    """A row with its answer, where it has one; `said` is the verdict, or unsure where none can be told."""

    number: int
    image: str
    caption: str
    claimed_date: str | None
    claimed_place: str | None
    refused: str | None
    done_at: datetime | None
    check: Check | None

    @property
    def said(self) -> Answer | None:
        """What the student said."""
        if self.check is None:
            return None
        return Answer.UNSURE if self.check.cannot_tell else Answer(self.check.verdict)


@dataclass(frozen=True, slots=True)
class Counts:
    """How the rows of a batch stand."""

    rows: int
    out_of_context: int = 0
    in_context: int = 0
    unsure: int = 0
    refused: int = 0

    @property
    def done(self) -> int:
        """Rows with an answer, or a reason why there is none."""
        return self.out_of_context + self.in_context + self.unsure + self.refused

    @property
    def waiting(self) -> int:
        """Rows that are still to be asked."""
        return self.rows - self.done

    def of(self, only: Only) -> int:
        """Rows of that standing."""
        return self.rows if only == "all" else int(getattr(self, only))


def open_batch(
    session: Session,
    token: str,
    name: str,
    digest: str,
    rows: Sequence[NewRow],
    annotator_id: int,
    now: datetime,
) -> Batch:
    """Return somebody's batch of these rows, made where they have none. Wants a write session."""
    known = sa.select(Batch).where(Batch.digest == digest, Batch.annotator_id == annotator_id)
    batch = session.scalar(known.order_by(Batch.id).limit(1))
    if batch is None:
        batch = Batch(token=token, name=name, digest=digest, row_count=len(rows), created_at=now)
        batch.annotator_id = annotator_id
        session.add(batch)
        session.flush()
        done = {True: now, False: None}
        values = [
            {**_facts(row), "batch_id": batch.id, "done_at": done[row.refused is not None]} for row in rows
        ]
        for some in parts(values):
            insert_missing(session, BatchRow, some)
    return batch


def batch_of(session: Session, token: str) -> Batch:
    """Return a batch by its token. Raises UnknownBatchError."""
    batch = session.scalar(sa.select(Batch).where(Batch.token == token))
    if batch is None:
        raise UnknownBatchError("There is no such batch: it was deleted, or the link is not whole.")
    return batch


def owned_batch(session: Session, token: str, annotator_id: int, role: Role) -> Batch:
    """Return a batch that somebody may change. Raises UnknownBatchError or NotOwnBatchError."""
    batch = batch_of(session, token)
    if batch.annotator_id != annotator_id and role != Role.EDITOR:
        raise NotOwnBatchError("This batch is somebody else's: only they and editors may change it.")
    return batch


def own_batches(session: Session, annotator_id: int, count: int = 8) -> list[Batch]:
    """Return somebody's newest batches."""
    newest = sa.select(Batch).where(Batch.annotator_id == annotator_id).order_by(Batch.id.desc())
    return list(session.scalars(newest.limit(count)))


def waiting(session: Session, batch_id: int) -> list[int]:
    """Return the numbers of the rows that are not done, in order."""
    rows = sa.select(BatchRow.number).where(BatchRow.batch_id == batch_id, BatchRow.done_at.is_(None))
    return list(session.scalars(rows.order_by(BatchRow.number)))


def finish(
    session: Session, batch_id: int, number: int, outcome: NewCheck | str, now: datetime
) -> int | None:
    """Write what came of a row: its check, whose id is returned, or why there is none.

    Nothing is written where the row is done already, or was deleted. Wants a write session.
    """
    row = sa.select(BatchRow).where(BatchRow.batch_id == batch_id, BatchRow.number == number)
    found = session.scalar(row.where(BatchRow.done_at.is_(None)).with_for_update())
    if found is None:
        return None
    if isinstance(outcome, NewCheck):
        found.check_id = add_check(session, outcome, now)
    else:
        found.refused = outcome
    found.done_at = now
    session.flush()
    return found.check_id


def counts(session: Session, batch: Batch, now: datetime) -> Counts:
    """Count how the rows of a batch stand."""
    standing = _standing()
    asked = sa.select(standing, sa.func.count()).select_from(BatchRow).outerjoin(Check, _answer(now))
    found = session.execute(asked.where(BatchRow.batch_id == batch.id).group_by(standing)).all()
    by_standing = {name: count for name, count in found if name != "waiting"}
    return Counts(batch.row_count, **by_standing)


def page_of(
    session: Session,
    batch_id: int,
    now: datetime,
    *,
    order: Order = "number",
    descending: bool = False,
    only: Only = "all",
    page: int = 0,
) -> list[RowShown]:
    """Return the rows of one page, sorted; rows without an answer come last, whatever the direction."""
    wanted = _rows(batch_id, now)
    if only != "all":
        wanted = wanted.where(_standing() == only)
    key = {
        "number": BatchRow.number,
        "verdict": _rank(),
        "probability": Check.probability,
        "caption": sa.func.lower(BatchRow.caption),
    }[order]
    sorted_by = [key.desc() if descending else key.asc(), BatchRow.number]
    if order in ("verdict", "probability"):
        sorted_by.insert(0, sa.case((Check.id.is_(None), 1), else_=0))
    chosen = session.execute(wanted.order_by(*sorted_by).limit(PAGE).offset(page * PAGE))
    return [_shown(row) for row in chosen]


def all_rows(session: Session, batch_id: int, now: datetime) -> Iterator[RowShown]:
    """Yield every row in order; memory holds a few hundred of them."""
    last = 0
    while True:
        wanted = _rows(batch_id, now).where(BatchRow.number > last).order_by(BatchRow.number)
        found = [_shown(row) for row in session.execute(wanted.limit(TOGETHER))]
        if not found:
            return
        yield from found
        last = found[-1].number
        session.expunge_all()


def delete_batch(
    session: Session, token: str, annotator_id: int, role: Role, now: datetime
) -> tuple[str, ...]:
    """Delete a batch with all its checks; return the SHA-256 of the pictures that nothing uses any more.

    The caller deletes those pictures' files before it commits. Raises as `owned_batch` does. Wants a
    write session.
    """
    batch = owned_batch(session, token, annotator_id, role)
    mine = sa.select(Check.id, Check.image_sha256).join(BatchRow).where(BatchRow.batch_id == batch.id)
    checks = session.execute(mine).all()
    detail = {"name": batch.name, "checks": len(checks)}
    session.add(Event(at=now, annotator_id=annotator_id, action="delete_batch", detail=detail))
    session.execute(sa.delete(BatchRow).where(BatchRow.batch_id == batch.id))
    session.delete(batch)
    return remove(session, checks)


def _facts(row: NewRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in NewRow.__slots__}


def _answer(now: datetime) -> sa.ColumnElement[bool]:
    """Join the check of a row, unless its time is over."""
    alive = sa.or_(Check.expires_at.is_(None), Check.expires_at > now)
    return sa.and_(Check.id == BatchRow.check_id, alive)


def _rows(batch_id: int, now: datetime) -> sa.Select[BatchRow, Check]:
    return sa.select(BatchRow, Check).outerjoin(Check, _answer(now)).where(BatchRow.batch_id == batch_id)


def _standing() -> sa.ColumnElement[str]:
    """What a row counts as; one whose answer is gone counts as refused."""
    return sa.case(
        (BatchRow.done_at.is_(None), sa.literal_column("'waiting'")),
        (Check.id.is_(None), sa.literal_column("'refused'")),
        (Check.cannot_tell, sa.literal_column("'unsure'")),
        (Check.verdict == Verdict.OUT_OF_CONTEXT, sa.literal_column("'out_of_context'")),
        else_=sa.literal_column("'in_context'"),
    )


def _rank() -> sa.ColumnElement[int]:
    return sa.case((Check.cannot_tell, 1), (Check.verdict == Verdict.OUT_OF_CONTEXT, 0), else_=2)


def _shown(row: sa.Row[BatchRow, Check]) -> RowShown:
    given, check = row
    gone = TIME_OVER if given.done_at is not None and check is None else None
    return RowShown(
        given.number,
        given.image,
        given.caption,
        given.claimed_date,
        given.claimed_place,
        given.refused or gone,
        given.done_at,
        check,
    )
