"""What a queued case is worth: the order in which people are asked.

A case's features are cut into steps, and queued cases with equal steps share a bucket. The queue
rule gives each bucket its worth, so another rule rewrites some hundred buckets and not one row of
the queue; within a bucket the oldest case comes first.

By default the features come one after another: an even split of the teachers before a clear
majority, then a student that cannot tell, then rare sources and elements. Each weight is smaller
than one step of the feature before it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.base import table_of
from db.bulk import insert_missing
from db.kinds import ELEMENT, SOURCE, Traits, write_counts
from db.models import Bucket, Event, Kind, QueueRule, Stratum
from db.vocabulary import QueueReason

STEPS: Final = 10  # of closeness and of doubt
RARE: Final = (0.1, 0.01, 0.001)  # shares of all cases below which a source or element is rarer by a step
FIRST: Final = {QueueReason.SPLIT_RULINGS: 200.0, QueueReason.SENT: 100.0, QueueReason.NO_VERDICT: -100.0}
"""People wait for split rulings to be settled and for what they sent; without a verdict to prefer,
a case gives stage 2 nothing."""
SPREAD: Final = 2_654_435_761  # Knuth's multiplier: spreads ids that follow one another over 32 bits


class WrongRuleError(ValueError):
    """Raised for a queue rule with a share that is none, or a weight that is no finite number."""


@dataclass(frozen=True)
class Order:
    """A queue rule."""

    split: float = 1.0  # weight of an even split of the teachers
    doubt: float = 0.09  # weight of a student that cannot tell
    rarity: float = 0.008  # weight of the rarest sources and elements
    second_opinions: float = 0.10  # share of cases that two people rule on, 0 to 1
    audit_turns: float = 0.20  # share of claims that look for an audit case first, 0 to 1

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            is_share = name in ("second_opinions", "audit_turns")
            if not (0 <= value <= 1 if is_share else abs(value) <= 50):
                allowed = "a share from 0 to 1" if is_share else "a weight from -50 to 50"
                raise WrongRuleError(f"`{name}` of the queue rule is {value!r}: give {allowed}.")

    def rulings_wanted(self, case_id: int) -> int:
        """Say how many people a case is for; the same ones of all cases get two each time."""
        return 2 if case_id * SPREAD % 2**32 < self.second_opinions * 2**32 else 1


class Place(NamedTuple):
    """What makes a bucket."""

    why: QueueReason
    closeness: int
    doubt: int
    rarity: int
    ruled_by: int

    def worth(self, order: Order) -> float:
        """Say what a case here is worth."""
        features = order.split * self.closeness / STEPS + order.doubt * self.doubt / STEPS
        return FIRST.get(QueueReason(self.why), 0.0) + features + order.rarity * self.rarity / len(RARE)


def order_in_force(session: Session) -> Order:
    """Return the queue rule that holds now."""
    row = session.execute(_newest_rule()).first()
    return Order(*row) if row else Order()


def change_order(session: Session, order: Order, annotator_id: int | None, now: datetime) -> None:
    """Let another queue rule hold from now on; shares apply to cases that are queued from now on."""
    session.add(QueueRule(**asdict(order), annotator_id=annotator_id, created_at=now))
    session.add(Event(at=now, annotator_id=annotator_id, action="change_order", detail=asdict(order)))
    session.flush()
    rows = session.execute(sa.select(Bucket.id, *_PLACE)).all()
    worths = [{"bucket": row[0], "new_worth": Place._make(row[1:]).worth(order)} for row in rows]
    if worths:
        buckets = table_of(Bucket)
        here = buckets.c.id == sa.bindparam("bucket")
        session.execute(sa.update(buckets).where(here).values(worth=sa.bindparam("new_worth")), worths)


def closeness(traits: Traits) -> int:
    """Say how evenly the teachers' verdicts are split, 0 to 10; 0 where not one has a verdict."""
    if not traits.in_context + traits.out_of_context:
        return 0
    return round(STEPS * (1 - abs(traits.in_context - traits.out_of_context) / traits.opinions))


def bucket_ids(session: Session, places: Collection[Place], order: Order) -> dict[Place, int]:
    """Return the ids of buckets, added where they are new."""
    if not places:
        return {}
    found = _find(session, places)
    missing = set(places) - found.keys()
    if missing:
        rows = [{**place._asdict(), "worth": place.worth(order)} for place in sorted(missing)]
        insert_missing(session, Bucket, rows)
        found = _find(session, places)
    return found


def rarities(
    session: Session, named: Iterable[tuple[str | None, Iterable[str]]]
) -> dict[tuple[str, str], int]:
    """Say how rare the sources and elements of some cases are: 0 to 3, by (what, name)."""
    names: dict[str, set[str]] = {SOURCE: set(), ELEMENT: set()}
    for source, elements in named:
        names[SOURCE].update([source] if source else [])
        names[ELEMENT].update(elements)
    if not any(names.values()):
        return {}
    write_counts(session)
    total = session.scalar(sa.select(sa.func.sum(Kind.cases))) or 1
    counted = sa.select(Stratum.what, Stratum.name, Stratum.cases).where(
        sa.or_(
            *(sa.and_(Stratum.what == what, Stratum.name.in_(sorted(some))) for what, some in names.items())
        )
    )
    return {
        (what, name): sum(cases < share * total for share in RARE)
        for what, name, cases in session.execute(counted)
    }


def rarity(source: str | None, elements: Iterable[str], levels: Mapping[tuple[str, str], int]) -> int:
    """Say how rare the rarest of a case's source and elements is, 0 to 3."""
    return max([levels.get((SOURCE, source or ""), 0), *(levels.get((ELEMENT, one), 0) for one in elements)])


_PLACE = tuple(table_of(Bucket).c[name] for name in Place._fields)


def _find(session: Session, places: Collection[Place]) -> dict[Place, int]:
    if len(places) == 1:
        (place,) = places
        bucket_id = session.scalar(_one_bucket(), place._asdict())
        return {} if bucket_id is None else {place: bucket_id}
    reasons = sorted({place.why for place in places})
    rows = session.execute(sa.select(Bucket.id, *_PLACE).where(Bucket.why.in_(reasons)))
    return {Place._make(row[1:]): row[0] for row in rows}


@cache
def _one_bucket() -> sa.Select[int]:
    return sa.select(table_of(Bucket).c.id).where(
        *(column == sa.bindparam(column.name, type_=column.type) for column in _PLACE)
    )


@cache
def _newest_rule() -> sa.Select[float, float, float, float, float]:
    rules = table_of(QueueRule).c
    values = (rules.split, rules.doubt, rules.rarity, rules.second_opinions, rules.audit_turns)
    return sa.select(*values).order_by(rules.id.desc()).limit(1)
