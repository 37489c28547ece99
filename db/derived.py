"""What is derived from the facts, and how it is kept, checked and made anew.

Facts are cases, opinions, rulings, returns, audits and requests. Derived are the kind of each case,
the counts of kinds and strata, the rows of the queue and the full-text index. Nothing derived is
worth a backup's trust: `check` compares it with the facts, `rebuild` makes it anew.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db import kinds, queue, texts
from db.models import Bucket, Case, Kind, Queued, Stratum
from db.standing import Standing, standings, standings_between
from db.worth import order_in_force

AT_ONCE: Final = 2_000  # cases worked out in one go by what looks at all of them


def restand(session: Session, case_ids: Sequence[int], now: datetime) -> list[Standing]:
    """Bring kind and queue row of these cases into line with the facts; return where they stand."""
    found = standings(session, case_ids)
    _set_kinds(session, found)
    queue.place(session, found, now)
    return found


@contextmanager
def restanding(session: Session, case_ids: Sequence[int], now: datetime) -> Iterator[None]:
    """Bring all that is derived from these cases into line with what the block does to their facts."""
    before = strata_of(restand(session, case_ids, now))
    yield
    change = strata_of(restand(session, case_ids, now))
    change.subtract(before)
    kinds.count_strata(session, change)


def rebuild(session: Session, now: datetime | None = None) -> None:
    """Make everything derived anew; leases and the student's doubts stay. Wants a write session."""
    now = now or datetime.now(UTC)
    kinds.forget_counts(session)
    session.execute(sa.update(Kind).values(cases=0))
    session.execute(sa.delete(Stratum))
    texts.forget_all(session)
    for first, last in _ranges(session):
        found = standings_between(session, first, last)
        ids = kinds.kind_ids(session, {one.traits for one in found})
        _store_kinds(session, [(one, ids[one.traits]) for one in found if one.kind_id != ids[one.traits]])
        kinds.count_kinds(session, Counter(ids[one.traits] for one in found))
        kinds.count_strata(session, strata_of(found))
        texts.index(session, texts.texts_of(session, first, last))
    kinds.write_counts(session)
    place_all(session, now)


def place_all(session: Session, now: datetime) -> int:
    """Place the whole queue anew, as after a change of shares or sources; return how many cases it has."""
    for first, last in _ranges(session):
        queue.place(session, standings_between(session, first, last), now, anew=True)
    used = sa.select(Queued.bucket_id)
    session.execute(
        sa.delete(Bucket).where(Bucket.id.not_in(used)), execution_options={"synchronize_session": False}
    )
    return queue.queued(session)


def check(session: Session) -> list[str]:
    """Compare what is derived with the facts; a sentence for each kind of difference."""
    wrong_kind = wrong_row = 0
    counted: Counter[kinds.Traits] = Counter()
    strata: Counter[tuple[str, str]] = Counter()
    stored = {kind_id: traits for kind_id, traits, _ in kinds.all_kinds(session)}
    for first, last in _ranges(session):
        found = standings_between(session, first, last)
        counted.update(one.traits for one in found)
        strata.update(strata_of(found))
        wrong_kind += sum(stored.get(one.kind_id or 0) != one.traits for one in found)
        wrong_row += _wrong_rows(session, found)
    said = {traits: cases for _, traits, cases in kinds.all_kinds(session) if cases}
    rows = session.execute(sa.select(Stratum.what, Stratum.name, Stratum.cases).where(Stratum.cases != 0))
    cases = counted.total()
    differences = [
        (wrong_kind, "of the cases are filed under a kind that is not theirs"),
        (wrong_row, "of the cases are queued, or not queued, otherwise than their opinions and rulings say"),
        (len(set(said.items()) ^ set(counted.items())), "counts of kinds differ from the cases"),
        (len({tuple(row) for row in rows} ^ {(*name, number) for name, number in strata.items()}),
         "counts of sources and elements differ from the cases"),
        (abs(texts.indexed(session) - cases), "cases are missing in the full-text index, or twice in it"),
    ]  # fmt: skip
    return [f"{number:,} {what}." for number, what in differences if number]


def strata_of(found: Sequence[Standing]) -> Counter[tuple[str, str]]:
    """Count sources and elements over some cases."""
    counted = Counter((kinds.SOURCE, one.source) for one in found if one.source)
    counted.update((kinds.ELEMENT, element) for one in found for element in one.elements)
    return counted


def _set_kinds(session: Session, found: Sequence[Standing]) -> None:
    """Move cases whose stored kind is not theirs any more."""
    ids = kinds.kind_ids(session, {one.traits for one in found})
    moved = [(one, ids[one.traits]) for one in found if one.kind_id != ids[one.traits]]
    _store_kinds(session, moved)
    changes = Counter(kind_id for _, kind_id in moved)
    changes.subtract(one.kind_id for one, _ in moved if one.kind_id is not None)
    kinds.count_kinds(session, changes)


def _store_kinds(session: Session, moved: Sequence[tuple[Standing, int]]) -> None:
    if moved:
        session.execute(kinds.set_kind(), [{"moved": one.case_id, "kind": kind} for one, kind in moved])


def _wrong_rows(session: Session, found: Sequence[Standing]) -> int:
    """Count cases whose queue row says otherwise than the facts; what is leased may be on its way out."""
    order = order_in_force(session)
    wrong = 0
    for one in found:
        wanted = queue.wish(one, order, one.in_queue.rarity if one.in_queue else 0)
        row = one.in_queue
        wrong += (wanted is None) != (row is None or not row.rulings_wanted)
    return wrong


def _ranges(session: Session) -> Iterator[tuple[int, int]]:
    last = session.scalar(sa.select(sa.func.max(Case.id))) or 0
    for first in range(1, last + 1, AT_ONCE):
        yield first, first + AT_ONCE - 1
