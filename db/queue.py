"""Who rules on what next: the cases that want a person, best first, each leased to one annotator.

Everything an annotator waits for (`claim`, `skip`, `release` and the two functions that rulings
use) looks at a few rows by index, however long the queue: see ix_queue_order and ix_queue_holder.
`fill` reads all opinions and belongs after an import. All of them but `queued` want a write session.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.cases import agree, opinion_counts
from db.models import Case, Event, Queued, Ruling, Skip, UtcDateTime, is_current
from db.views import UnknownCaseError
from db.vocabulary import LEASE, QueueReason, Split

# A statement built once is compiled once; sessions hold no rows of the queue that would need telling.
_PLAIN = {"synchronize_session": False}


def fill(session: Session, *, rulings_wanted: int = 1, now: datetime | None = None) -> int:
    """Bring the queue into line with the opinions and rulings of today; return how many cases came.

    A case is queued when it is for training, has its image, its opinions conflict or not one of them
    carries a verdict, and it has fewer current rulings than wanted. Priority is 1 for opinions evenly
    split, towards 0 the larger the majority, and 0 without any verdict, because such a case gives
    stage 2 nothing to prefer. Cases that no longer belong go, unless they are leased.
    """
    wanted = _wanting(rulings_wanted, now or datetime.now(UTC))
    columns = wanted.c
    still = sa.select(columns.case_id, columns.why, columns.priority)
    here = sa.tuple_(Queued.case_id, Queued.why, Queued.priority)
    session.execute(
        sa.delete(Queued).where(Queued.annotator_id.is_(None), here.not_in(still)), execution_options=_PLAIN
    )
    before = queued(session)
    missing = sa.select(wanted).where(columns.case_id.not_in(sa.select(Queued.case_id)))
    session.execute(sa.insert(Queued).from_select(list(columns.keys()), missing))
    return queued(session) - before


def queued(session: Session) -> int:
    """Count the cases that want a person; it reads the whole queue, so not for every ruling."""
    return session.scalar(sa.select(sa.func.count()).select_from(Queued)) or 0


def claim(
    session: Session, annotator_id: int, now: datetime, *, count: int = 2, lease: timedelta = LEASE
) -> list[int]:
    """Lease the annotator's next cases: the one to show first, then those to load ahead.

    What the annotator holds comes back, in the order it was first handed out and with the lease
    renewed; the rest of `count` is taken from the best cases that nobody holds or whose lease has
    ended. Nobody gets a case they have ruled on or, today (UTC), skipped. What is held
    beyond `count` is freed. The list is short, or empty, when there is no more to rule on.
    """
    held = list(session.scalars(_held(), {"annotator_id": annotator_id}))
    if len(held) > count:
        release(session, annotator_id, held[count:])
    case_ids = held[:count]
    _lease(session, annotator_id, case_ids, lease_until=now + lease)
    if len(held) < count:
        wish = {"annotator_id": annotator_id, "now": now, "today": midnight(now), "count": count - len(held)}
        free = list(session.scalars(_free(), wish))
        _lease(session, annotator_id, free, leased_at=now, lease_until=now + lease)
        case_ids += free
    return case_ids


def skip(session: Session, annotator_id: int, case_id: int, now: datetime) -> None:
    """Give the case back and keep it from this annotator for the rest of the day (UTC).

    Raises UnknownCaseError where there is no such case.
    """
    if session.scalar(sa.select(Case.id).where(Case.id == case_id)) is None:
        raise UnknownCaseError(f"There is no case {case_id} on this desk; load the next one.")
    session.merge(Skip(case_id=case_id, annotator_id=annotator_id, skipped_at=now))
    session.add(Event(at=now, annotator_id=annotator_id, action="skip", case_id=case_id, detail={}))
    session.flush()
    release(session, annotator_id, [case_id])


def release(session: Session, annotator_id: int, case_ids: Sequence[int] | None = None) -> None:
    """End the annotator's leases on these cases, or all of them: colleagues may have them at once."""
    leased = sa.update(Queued).where(Queued.annotator_id == annotator_id)
    if case_ids is not None:
        leased = leased.where(Queued.case_id.in_(case_ids))
    free = leased.values(annotator_id=None, leased_at=None, lease_until=None)
    session.execute(free, execution_options=_PLAIN)


def close(session: Session, annotator_id: int, case_id: int) -> None:
    """Take a case just ruled on off the queue, or free it for a colleague if it wants more rulings."""
    session.execute(_delete_if_ruled(), {"ruled_on": case_id}, execution_options=_PLAIN)
    release(session, annotator_id, [case_id])


def reopen(
    session: Session, annotator_id: int, case_id: int, now: datetime, lease: timedelta = LEASE
) -> None:
    """Queue a case whose ruling was withdrawn, and make it the next that its annotator sees.

    A case that a colleague holds stays the colleague's; one whose opinions have come to agree since
    stays off the queue.
    """
    row = session.execute(
        sa.select(Queued.annotator_id, Queued.lease_until).where(Queued.case_id == case_id)
    ).first()
    if row is None:
        rulings = session.scalar(sa.select(_current_rulings(case_id))) or 0
        wanted = _wanting(rulings + 1, now, case_id)
        session.execute(sa.insert(Queued).from_select(list(wanted.c.keys()), sa.select(wanted)))
    elif row.annotator_id not in (None, annotator_id) and row.lease_until > now:
        return
    first = session.scalar(
        sa.select(sa.func.min(Queued.leased_at)).where(Queued.annotator_id == annotator_id)
    )
    leased_at = min(first or now, now) - timedelta(microseconds=1)  # before all that the annotator holds
    _lease(session, annotator_id, [case_id], leased_at=leased_at, lease_until=now + lease)


def midnight(now: datetime) -> datetime:
    """Return when the day of `now` began, in UTC."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _wanting(rulings_wanted: int, now: datetime, case_id: int | None = None) -> sa.Subquery:
    """Select the rows the queue ought to hold, for one case or for all; a queued case keeps its wish."""
    counts = opinion_counts(case_id)
    columns = counts.c
    no_verdict = columns.in_context + columns.out_of_context == 0
    why = sa.case((no_verdict, QueueReason.NO_VERDICT.value), else_=QueueReason.CONFLICT.value)
    majority = sa.func.abs(columns.in_context - columns.out_of_context)
    wish = sa.func.coalesce(Queued.rulings_wanted, rulings_wanted)
    return (
        sa.select(
            Case.id.label("case_id"),
            why.label("why"),
            sa.case((no_verdict, 0.0), else_=1.0 - majority / columns.opinions).label("priority"),
            wish.label("rulings_wanted"),
            sa.literal(now, Queued.added_at.type).label("added_at"),
        )
        .join(counts, columns.case_id == Case.id)
        .outerjoin(Queued, Queued.case_id == Case.id)
        .where(
            Case.split == Split.TRAIN,
            Case.image_sha256.is_not(None),
            ~agree(counts),
            _current_rulings(Case.id) < wish,
        )
        .subquery("wanting")
    )


def _current_rulings(case_id: int | sa.SQLColumnExpression[int]) -> sa.ScalarSelect[int]:
    return (
        sa.select(sa.func.count())
        .select_from(Ruling)
        .where(Ruling.case_id == case_id, is_current())
        .scalar_subquery()
    )


@cache
def _delete_if_ruled() -> sa.Delete:
    ruled_on = sa.bindparam("ruled_on", type_=sa.Integer)
    enough = Queued.rulings_wanted <= _current_rulings(ruled_on)
    return sa.delete(Queued).where(Queued.case_id == ruled_on, enough)


@cache
def _held() -> sa.Select[int]:
    """Select what `annotator_id` holds, in the order it was handed out."""
    mine = Queued.annotator_id == sa.bindparam("annotator_id")
    return (
        sa.select(Queued.case_id)
        .where(mine)
        .order_by(Queued.leased_at, Queued.priority.desc(), Queued.case_id)
    )


@cache
def _free() -> sa.Select[int]:
    """Select the best `count` cases that `annotator_id` may have `now`.

    The lease is tested through `coalesce` to keep the planner on ix_queue_order: by an index on the
    lease it would collect and sort every free case to take two.
    """
    annotator_id, now = (
        sa.bindparam("annotator_id", type_=sa.Integer),
        sa.bindparam("now", type_=UtcDateTime()),
    )
    ruled = sa.select(Ruling.id).where(
        Ruling.case_id == Queued.case_id, Ruling.annotator_id == annotator_id, is_current()
    )
    skipped = sa.select(Skip.case_id).where(
        Skip.case_id == Queued.case_id,
        Skip.annotator_id == annotator_id,
        Skip.skipped_at >= sa.bindparam("today", type_=UtcDateTime()),
    )
    return (
        sa.select(Queued.case_id)
        .where(
            sa.func.coalesce(Queued.lease_until, now) <= now,
            Queued.annotator_id.is_distinct_from(annotator_id),
            ~ruled.exists(),
            ~skipped.exists(),
        )
        .order_by(Queued.priority.desc(), Queued.case_id)
        .limit(sa.bindparam("count", type_=sa.Integer))
        .with_for_update(skip_locked=True, of=Queued)
    )


def _lease(session: Session, annotator_id: int, case_ids: Sequence[int], **times: datetime) -> None:
    if case_ids:
        leased = sa.update(Queued).where(Queued.case_id.in_(case_ids))
        session.execute(leased.values(annotator_id=annotator_id, **times), execution_options=_PLAIN)
