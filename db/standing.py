"""Where cases stand, worked out from the facts: opinions, rulings, returns, audits and requests.

What is derived from a standing (the case's kind, its row in the queue) is written by `queue.py` and
`derived.py`; whatever changes a fact works the standing out anew, so that nothing is ever adjusted by
guessing what an undo or a correction undoes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.base import table_of
from db.kinds import Traits, human_answer, pattern_of
from db.models import Annotator, Audit, Bucket, Case, Opinion, Queued, Request, Return, Ruling, is_current
from db.vocabulary import QueueReason

Row = sa.Row[*tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class InQueue:
    """A case's row in the queue as it is."""

    bucket_id: int
    rarity: int
    rulings_wanted: int
    doubt: float | None
    leased_until: datetime | None


@dataclass(slots=True)
class Standing:
    """A case as the queue and the statistics see it."""

    case_id: int
    traits: Traits
    source: str | None
    elements: frozenset[str]  # named by its current opinions
    kind_id: int | None = None  # as stored, whether or not it is right
    ruled_by: int = 0  # who ruled last; 0 nobody
    is_settled_by_adjudicator: bool = False
    is_returned: bool = False  # a ruling was sent back to somebody who has not looked again yet
    audited: bool = False
    requested: QueueReason | None = None
    rulings_requested: int = 1
    in_queue: InQueue | None = None


def standings(session: Session, case_ids: Sequence[int]) -> list[Standing]:
    """Work out where these cases stand, in the order of their ids, and keep others from changing them."""
    return _load(session, _of_ids(), {"ids": list(case_ids)})


def standings_between(session: Session, first: int, last: int) -> list[Standing]:
    """Work out where the cases with ids from `first` to `last` stand, in that order."""
    return _load(session, _of_range(), {"first": first, "last": last})


def _load(session: Session, queries: "_Queries", chosen: dict[str, Any]) -> list[Standing]:
    cases = session.execute(queries.cases, chosen).all()
    opinions: dict[int, list[Row]] = {}
    for row in session.execute(queries.opinions, chosen):
        opinions.setdefault(row.case_id, []).append(row)
    rulings: dict[int, list[Row]] = {}
    for row in session.execute(queries.rulings, chosen):
        rulings.setdefault(row.case_id, []).append(row)
    return [_standing(case, opinions.get(case.id, []), rulings.get(case.id, [])) for case in cases]


def _standing(case: Row, opinions: list[Row], rulings: list[Row]) -> Standing:
    traits = Traits(
        split=case.split,
        has_image=case.has_image,
        gold=case.gold or "",
        pattern=pattern_of({row.teacher_id: row.verdict for row in opinions}),
        human=human_answer((row.verdict, row.settles) for row in rulings).value,
        rulings=len(rulings),
        own_rationales=sum(row.own for row in rulings),
    )
    in_queue = None
    if case.bucket_id is not None:
        in_queue = InQueue(case.bucket_id, case.rarity, case.rulings_wanted, case.doubt, case.lease_until)
    return Standing(
        case.id,
        traits,
        case.source,
        frozenset(element for row in opinions for element in row.elements or ()),
        case.kind_id,
        rulings[-1].annotator_id if rulings else 0,
        any(row.settles for row in rulings),
        any(row.returned for row in rulings),
        case.audited,
        case.requested,
        case.rulings_requested or 1,
        in_queue,
    )


class _Queries(NamedTuple):
    """What is read of the chosen cases. Built once: building them anew costs more than running them."""

    cases: sa.Select[*tuple[Any, ...]]
    opinions: sa.Select[*tuple[Any, ...]]
    rulings: sa.Select[*tuple[Any, ...]]


@cache
def _of_ids() -> _Queries:
    ids = sa.bindparam("ids", expanding=True, type_=sa.Integer)
    queries = _queries(lambda column: column.in_(ids))
    return queries._replace(cases=queries.cases.with_for_update(of=table_of(Case)))


@cache
def _of_range() -> _Queries:
    first, last = (sa.bindparam(name, type_=sa.Integer) for name in ("first", "last"))
    return _queries(lambda column: column.between(first, last))


def _queries(chosen: Callable[[sa.ColumnElement[int]], sa.ColumnElement[bool]]) -> _Queries:
    case, audit, request = table_of(Case), table_of(Audit), table_of(Request)
    queue, bucket, opinion, ruling = map(table_of, (Queued, Bucket, Opinion, Ruling))
    cases = (
        sa.select(
            case.c.id,
            case.c.split,
            case.c.image_sha256.is_not(None).label("has_image"),
            case.c.gold,
            case.c.source,
            case.c.kind_id,
            audit.c.case_id.is_not(None).label("audited"),
            request.c.why.label("requested"),
            request.c.rulings_wanted.label("rulings_requested"),
            queue.c.bucket_id,
            bucket.c.rarity,
            queue.c.rulings_wanted,
            queue.c.doubt,
            queue.c.lease_until,
        )
        .outerjoin_from(case, audit, audit.c.case_id == case.c.id)
        .outerjoin(request, request.c.case_id == case.c.id)
        .outerjoin(queue, queue.c.case_id == case.c.id)
        .outerjoin(bucket, bucket.c.id == queue.c.bucket_id)
        .where(chosen(case.c.id))
        .order_by(case.c.id)
    )
    said = (opinion.c.case_id, opinion.c.teacher_id, opinion.c.verdict, opinion.c.elements)
    opinions = sa.select(*said).where(opinion.c.current, chosen(opinion.c.case_id))
    own = ruling.c.rationale.is_not(None).label("own")
    sent_back, person = table_of(Return), table_of(Annotator)
    awaited = (  # who was closed since will not answer
        sa.select(sent_back.c.id)
        .join_from(sent_back, person, person.c.id == sent_back.c.ruled_by)
        .where(sent_back.c.ruling_id == ruling.c.id, person.c.active)
    )
    returned = awaited.exists().label("returned")
    ruled = (ruling.c.case_id, ruling.c.annotator_id, ruling.c.verdict, ruling.c.settles, own, returned)
    rulings = sa.select(*ruled).where(chosen(ruling.c.case_id), is_current()).order_by(ruling.c.id)
    return _Queries(cases, opinions, rulings)
