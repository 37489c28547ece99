"""Who rules on what next: the cases that want a person, worthiest first, each leased to one annotator.

Everything an annotator waits for (`claim`, `skip`, `release`) looks at the buckets, of which there
are some hundred, and at a few rows by index, however long the queue. A case that one person has
ruled on and that wants a second lies in a bucket that names the first, so nobody has to step over
what they have ruled on. All of it but `queued` and `waiting` wants a write session.
"""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.base import UtcDateTime, table_of
from db.bulk import insert_all, stored
from db.kinds import Traits
from db.models import Annotator, Bucket, Case, Event, Queued, Ruling, Skip, is_current
from db.standing import Standing
from db.views import UnknownCaseError
from db.vocabulary import LEASE, SETTLING_ROLES, HumanAnswer, QueueReason, Split
from db.worth import Order, Place, bucket_ids, closeness, order_in_force, rarities, rarity

# What a click waits for goes past the ORM, which would double the time of such short statements, and is
# built once, because building takes longer than running.
_QUEUE: Final = table_of(Queued).c
_BUCKET: Final = table_of(Bucket).c
_MOMENT = timedelta(microseconds=1)  # the least by which two stored times differ


class Wish(NamedTuple):
    """The row that a case ought to have in the queue."""

    place: Place
    rulings_wanted: int


def queued(session: Session) -> int:
    """Count the cases that want a person; it reads the whole queue, so not for every ruling."""
    return session.scalar(sa.select(sa.func.count()).select_from(Queued)) or 0


def waiting_for(session: Session, annotator_id: int) -> int:
    """Count the cases that this annotator may be asked about, now or once a colleague lets go of them."""
    mine = _buckets().with_only_columns(_BUCKET.id).order_by(None)
    counted = sa.select(sa.func.count()).select_from(Queued).where(Queued.bucket_id.in_(mine))
    return session.scalar(counted, {"annotator_id": annotator_id}) or 0


def waiting(session: Session) -> dict[QueueReason, int]:
    """Count the cases that want a person by why they do; it reads the whole queue."""
    in_bucket = (
        sa.select(Queued.bucket_id, sa.func.count().label("cases")).group_by(Queued.bucket_id).subquery()
    )
    counted = sa.select(Bucket.why, sa.func.sum(in_bucket.c.cases)).join(
        in_bucket, in_bucket.c.bucket_id == Bucket.id
    )
    rows = session.execute(counted.group_by(Bucket.why))
    return {QueueReason(why): int(number) for why, number in rows}


def claim(
    session: Session,
    annotator_id: int,
    now: datetime,
    *,
    count: int = 2,
    lease: timedelta = LEASE,
    is_audit_turn: bool | None = None,
) -> list[int]:
    """Lease the annotator's next cases: the one to show first, then those to load ahead.

    What the annotator holds comes back, in the order it was first handed out and with the lease
    renewed; the rest of `count` is taken from the best cases that nobody holds or whose lease has
    ended. Nobody gets a case they have ruled on or, today (UTC), skipped; split rulings go to those
    who may settle them. What is held beyond `count` is freed. On an audit turn, by default a share of
    all claims, audit cases come first, so that they lie among the others and get done. The list is
    short, or empty, when there is no more to rule on.
    """
    rows = session.execute(_held(), {"annotator_id": annotator_id, "now": now}).all()
    held = [row.case_id for row in rows]
    if len(held) > count:
        release(session, annotator_id, held[count:])
    case_ids = held[:count]
    if case_ids:
        session.execute(_renew(), {"ids": case_ids, "until": now + lease})
    if len(held) < count:
        free = _free(session, annotator_id, now, count - len(held), is_audit_turn)
        if free:  # each a moment after the one before, so that they come back in the same order
            first = max([now, *(row.leased_at + _MOMENT for row in rows[:count])])
            moments = [first + place * _MOMENT for place in range(len(free))]
            until = {"until": now + lease, "who": annotator_id}
            taken = zip(free, moments, strict=True)
            session.execute(_take(), [{"taken": one, "since": since, **until} for one, since in taken])
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
    done = [
        case_id
        for case_id in session.scalars(_done(), {"who": annotator_id})
        if case_ids is None or case_id in case_ids
    ]
    if done:
        _remove(session, done)
    if case_ids is None:
        session.execute(_release_all(), {"who": annotator_id})
    else:
        session.execute(_release(), {"who": annotator_id, "ids": list(case_ids)})


def hold_next(
    session: Session, annotator_id: int, case_id: int, now: datetime, lease: timedelta = LEASE
) -> None:
    """Make a queued case the next that the annotator sees, unless a colleague holds it."""
    first = sa.select(sa.func.min(_QUEUE.leased_at)).where(_QUEUE.annotator_id == annotator_id)
    leased_at = min(session.scalar(first) or now, now) - _MOMENT  # before all they hold
    mine = sa.or_(
        _QUEUE.annotator_id.is_(None), _QUEUE.annotator_id == annotator_id, _QUEUE.lease_until <= now
    )
    session.execute(
        sa.update(table_of(Queued))
        .where(_QUEUE.case_id == case_id, mine)
        .values(annotator_id=annotator_id, leased_at=leased_at, lease_until=now + lease)
    )


def wish(standing: Standing, order: Order, rarity_level: int) -> Wish | None:
    """Say which row a case ought to have in the queue; None where it wants nobody.

    Only training cases with a picture are ever ruled on. While people look again at rulings that were
    sent back, nobody settles what they differ on.
    """
    traits = standing.traits
    reason, evenly = _reason(traits, standing.audited, standing.requested)
    if reason is None:
        return None
    wanted = max(order.rulings_wanted(standing.case_id), standing.rulings_requested)
    if reason == QueueReason.SPLIT_RULINGS:
        if standing.is_returned:
            return None
        wanted = traits.rulings + 1
    elif standing.is_settled_by_adjudicator or traits.rulings >= wanted:
        return None
    elif traits.rulings:
        reason = QueueReason.SECOND_OPINION
    doubt = standing.in_queue.doubt if standing.in_queue else None
    place = Place(reason, evenly, round(10 * (doubt or 0.0)), rarity_level, standing.ruled_by)
    return Wish(place, wanted)


def place(session: Session, standings: Sequence[Standing], now: datetime, *, anew: bool = False) -> None:
    """Bring the rows of these cases into line with where the cases stand.

    Leases stay, also on a case that no longer wants anybody: whoever reads it may finish, but nobody
    else gets it (`rulings_wanted` is 0). A row keeps its rarity unless it is placed `anew`.
    """
    order = order_in_force(session)
    unknown = [one for one in standings if anew or one.in_queue is None]
    levels = rarities(session, [(one.source, one.elements) for one in unknown])
    wishes = {
        one.case_id: wish(
            one,
            order,
            one.in_queue.rarity if one.in_queue and not anew else rarity(one.source, one.elements, levels),
        )
        for one in standings
    }
    buckets = bucket_ids(session, {one.place for one in wishes.values() if one}, order)
    new, moved, gone, added_at = [], [], [], stored(session, Queued.added_at, now)
    for standing in standings:
        wanted, row = wishes[standing.case_id], standing.in_queue
        is_read = row is not None and row.leased_until is not None and row.leased_until > now
        if row is not None and not is_read and not (wanted and row.rulings_wanted):
            gone.append(standing.case_id)  # whoever read it to the end has no claim to it if it comes back
            row = None
        if wanted is None:
            if row is not None:
                moved.append((standing.case_id, row.bucket_id, 0))
        elif row is None:
            new.append((standing.case_id, buckets[wanted.place], wanted.rulings_wanted, added_at))
        elif (row.bucket_id, row.rulings_wanted) != (buckets[wanted.place], wanted.rulings_wanted):
            moved.append((standing.case_id, buckets[wanted.place], wanted.rulings_wanted))
    if gone:
        _remove(session, gone)
    insert_all(session, Queued, ("case_id", "bucket_id", "rulings_wanted", "added_at"), new)
    if moved:
        rows = [{"moved": case_id, "bucket": bucket, "wanted": wanted} for case_id, bucket, wanted in moved]
        session.execute(_move(), rows)


def _remove(session: Session, case_ids: Sequence[int]) -> None:
    session.execute(sa.delete(table_of(Queued)).where(_QUEUE.case_id.in_(case_ids)))


@lru_cache(maxsize=10_000)
def _reason(traits: Traits, audited: bool, requested: QueueReason | None) -> tuple[QueueReason | None, int]:
    """Say why such a case wants a person, if it does, and how evenly its teachers split."""
    if traits.split != Split.TRAIN or not traits.has_image:
        return None, 0
    evenly = closeness(traits)
    if traits.human == HumanAnswer.SPLIT:
        return QueueReason.SPLIT_RULINGS, evenly
    if requested == QueueReason.SENT:
        return QueueReason.SENT, evenly
    if traits.is_conflict:
        has_verdict = traits.in_context + traits.out_of_context
        return QueueReason.CONFLICT if has_verdict else QueueReason.NO_VERDICT, evenly
    return QueueReason.AUDIT if audited else requested, evenly


def _free(
    session: Session, annotator_id: int, now: datetime, count: int, is_audit_turn: bool | None
) -> list[int]:
    """Find the best cases the annotator may have."""
    if is_audit_turn is None:
        is_audit_turn = random.random() < order_in_force(session).audit_turns
    buckets = session.execute(_buckets(), {"annotator_id": annotator_id}).all()
    who = {"annotator_id": annotator_id, "now": now, "today": midnight(now)}
    found: list[int] = []
    for bucket in buckets if is_audit_turn else ():
        if not found and bucket.why == QueueReason.AUDIT:
            found += session.scalars(_in_bucket(), {**who, "bucket_id": bucket.id, "count": 1})
    for bucket in buckets:
        if len(found) < count:
            best = session.scalars(_in_bucket(), {**who, "bucket_id": bucket.id, "count": count})
            found += [case_id for case_id in best if case_id not in found][: count - len(found)]
    return found


def midnight(now: datetime) -> datetime:
    """Return when the day of `now` began, in UTC."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@cache
def _held() -> sa.Select[int, datetime]:
    """Select what `annotator_id` holds, in the order it was handed out."""
    mine = _QUEUE.annotator_id == sa.bindparam("annotator_id")
    is_read = _QUEUE.lease_until > sa.bindparam("now", type_=UtcDateTime())
    return (
        sa.select(_QUEUE.case_id, sa.type_coerce(_QUEUE.leased_at, UtcDateTime()).label("leased_at"))
        .join_from(table_of(Queued), table_of(Bucket), _BUCKET.id == _QUEUE.bucket_id)
        .where(mine, sa.or_(_QUEUE.rulings_wanted > 0, is_read))
        .order_by(_QUEUE.leased_at, _BUCKET.worth.desc(), _BUCKET.id, _QUEUE.case_id)
    )


@cache
def _done() -> sa.Select[int]:
    """Select what `who` may read to the end though it wants nobody any more.

    The order keeps the planner on ix_queue_holder.
    """
    mine = _QUEUE.annotator_id == sa.bindparam("who", type_=sa.Integer)
    return sa.select(_QUEUE.case_id).where(mine, _QUEUE.rulings_wanted == 0).order_by(_QUEUE.leased_at)


@cache
def _buckets() -> sa.Select[int, QueueReason]:
    """Select the buckets with cases that `annotator_id` may have, best first."""
    annotator_id = sa.bindparam("annotator_id", type_=sa.Integer)
    people = table_of(Annotator).c
    settles = sa.select(people.id).where(people.id == annotator_id, people.role.in_(SETTLING_ROLES))
    has_cases = sa.select(_QUEUE.case_id).where(_QUEUE.bucket_id == _BUCKET.id)
    return (
        sa.select(_BUCKET.id, _BUCKET.why)
        .where(
            _BUCKET.ruled_by != annotator_id,
            sa.or_(_BUCKET.why != QueueReason.SPLIT_RULINGS, settles.exists()),
            has_cases.exists(),
        )
        .order_by(_BUCKET.worth.desc(), _BUCKET.id)
    )


@cache
def _in_bucket() -> sa.Select[int]:
    """Select the oldest `count` cases of a bucket that `annotator_id` may have `now`.

    The lease is tested through `coalesce` to keep the planner on ix_queue_order: by an index on the
    lease it would collect and sort every free case to take two.
    """
    annotator_id = sa.bindparam("annotator_id", type_=sa.Integer)
    now = sa.bindparam("now", type_=UtcDateTime())
    rulings, skips = table_of(Ruling).c, table_of(Skip).c
    ruled = sa.select(rulings.id).where(
        rulings.case_id == _QUEUE.case_id, rulings.annotator_id == annotator_id, is_current()
    )
    skipped = sa.select(skips.case_id).where(
        skips.case_id == _QUEUE.case_id,
        skips.annotator_id == annotator_id,
        skips.skipped_at >= sa.bindparam("today", type_=UtcDateTime()),
    )
    return (
        sa.select(_QUEUE.case_id)
        .where(
            _QUEUE.bucket_id == sa.bindparam("bucket_id", type_=sa.Integer),
            _QUEUE.rulings_wanted > 0,
            sa.func.coalesce(_QUEUE.lease_until, now) <= now,
            _QUEUE.annotator_id.is_distinct_from(annotator_id),
            ~ruled.exists(),
            ~skipped.exists(),
        )
        .order_by(_QUEUE.case_id)
        .limit(sa.bindparam("count", type_=sa.Integer))
        .with_for_update(skip_locked=True, of=table_of(Queued))
    )


@cache
def _move() -> sa.Update:
    queue = table_of(Queued)
    return (
        sa.update(queue)
        .where(queue.c.case_id == sa.bindparam("moved"))
        .values(bucket_id=sa.bindparam("bucket"), rulings_wanted=sa.bindparam("wanted"))
    )


@cache
def _release_all() -> sa.Update:
    queue = table_of(Queued)
    mine = queue.c.annotator_id == sa.bindparam("who", type_=sa.Integer)
    return sa.update(queue).where(mine).values(annotator_id=None, leased_at=None, lease_until=None)


@cache
def _release() -> sa.Update:
    ids = sa.bindparam("ids", expanding=True, type_=sa.Integer)
    return _release_all().where(table_of(Queued).c.case_id.in_(ids))


@cache
def _renew() -> sa.Update:
    queue = table_of(Queued)
    ids = sa.bindparam("ids", expanding=True, type_=sa.Integer)
    until = sa.bindparam("until", type_=UtcDateTime())
    return sa.update(queue).where(queue.c.case_id.in_(ids)).values(lease_until=until)


@cache
def _take() -> sa.Update:
    queue = table_of(Queued)
    who, taken = sa.bindparam("who", type_=sa.Integer), sa.bindparam("taken", type_=sa.Integer)
    since, until = (sa.bindparam(name, type_=UtcDateTime()) for name in ("since", "until"))
    held = {"annotator_id": who, "leased_at": since, "lease_until": until}
    return sa.update(queue).where(queue.c.case_id == taken).values(held)
