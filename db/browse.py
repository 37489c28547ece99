"""Browse the cases: filter, search, page, the newest first.

Pages are cut by id, never by offset, so the thousandth page costs what the first does. Filters on what
makes a kind (state, verdict, split, teacher ...) are read off the kinds; the narrowest of the other
filters yields ids in order, and what it yields is held against the rest, a few hundred at a time. A
search whose rest is rare among its matches could go through a million of them: it stops after
`LOOKED_AT_MAX`, says so, and can be gone on with.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from heapq import merge
from itertools import islice
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db import texts
from db.kinds import SOURCE, Traits, all_kinds
from db.models import Case, Ruling, Stratum, Teacher, is_current
from db.vocabulary import Answer, CaseState, Split, Verdict

PAGE: Final = 24
AT_ONCE: Final = 400  # ids held against the other filters in one go
LOOKED_AT_MAX: Final = 8_000  # ids one call looks at before it hands out what it has
COUNTED_MAX: Final = 1_000  # beyond, a count that needs rows says "more than"
FEW: Final = 4_000  # cases of the wanted kinds below which the kinds are the narrowest filter

Ids = Callable[[int | None, int], list[int]]
"""Yields up to so many ids beyond a cursor, in order."""


@dataclass(frozen=True)
class Wanted:
    """What cases are looked for; what is None or empty does not narrow."""

    state: CaseState | None = None
    verdict: Verdict | None = None  # the human one where the case is settled, else the teachers' common one
    gold: Verdict | None = None
    split: Split | None = None
    has_image: bool | None = None
    teacher: str | None = None
    says: Answer | None = None  # what that teacher, or where none is named any teacher, says
    source: str | None = None
    annotator_id: int | None = None  # has a ruling of this person that stands
    is_flagged: bool = False  # has a flagged ruling that stands
    text: str = ""
    since: datetime | None = None  # came to the desk then or later
    until: datetime | None = None  # came before then


@dataclass(frozen=True)
class CaseRow:
    """A case as a list shows it."""

    id: int
    dataset: str
    external_id: str
    image_sha256: str | None
    caption: str
    source: str | None
    date: str | None
    place: str | None
    traits: Traits
    created_at: datetime


@dataclass(frozen=True)
class Page:
    """Some cases in order, the newest first, and where to go on."""

    rows: tuple[CaseRow, ...]
    older: int | None  # cursor of the page after this one; None where there is none
    newer: int | None  # cursor of the page before this one; None on the first
    is_cut: bool = False  # stopped after LOOKED_AT_MAX: `older` goes on looking


@dataclass(frozen=True)
class Count:
    """How many cases are found; `is_least` where there are at least so many."""

    cases: int
    is_least: bool = False


def page(
    session: Session, wanted: Wanted, cursor: int | None = None, *, newer: bool = False, limit: int = PAGE
) -> Page:
    """Return the cases older than `cursor`, or with `newer` those next newer than it."""
    kinds = _wanted_kinds(session, wanted)
    driver = _driver(session, wanted, kinds, newer)
    found: list[int] = []
    looked_at, at = 0, cursor
    while len(found) <= limit and looked_at < LOOKED_AT_MAX:
        some = driver(at, AT_ONCE)
        found += _held_against(session, wanted, kinds, some)
        looked_at += len(some)
        if len(some) < AT_ONCE:
            break
        at = some[-1]
    is_cut = looked_at >= LOOKED_AT_MAX and len(found) <= limit
    ids, more = found[:limit], len(found) > limit or is_cut
    if newer:
        ids.reverse()
    rows = _rows(session, ids)
    last = at if is_cut and not newer else (ids[-1] if ids else None)
    if newer:
        return Page(rows, older=ids[-1] if ids else cursor, newer=ids[0] if ids and more else None)
    return Page(
        rows,
        older=last if more else None,
        newer=(ids[0] if ids else cursor) if cursor else None,
        is_cut=is_cut,
    )


def count(session: Session, wanted: Wanted) -> Count:
    """Count what is found: exactly where the kinds or the sources tell, else up to COUNTED_MAX."""
    kinds = _wanted_kinds(session, wanted)
    others = (wanted.annotator_id, wanted.text.strip(), wanted.since, wanted.until, wanted.is_flagged)
    if not any(others) and not wanted.source:
        return Count(sum(cases for _, cases in kinds.values()))
    if not any(others) and wanted == Wanted(source=wanted.source):
        here = sa.and_(Stratum.what == SOURCE, Stratum.name == wanted.source)
        return Count(session.scalar(sa.select(Stratum.cases).where(here)) or 0)
    driver = _driver(session, wanted, kinds, newer=False)
    found = looked_at = 0
    at: int | None = None
    while found < COUNTED_MAX and looked_at < LOOKED_AT_MAX:
        some = driver(at, AT_ONCE)
        found += len(_held_against(session, wanted, kinds, some))
        looked_at += len(some)
        if len(some) < AT_ONCE:
            return Count(found)
        at = some[-1]
    return Count(min(found, COUNTED_MAX), is_least=True)


def sources(session: Session, limit: int = 200) -> list[tuple[str, int]]:
    """Return the commonest sources and how many cases each has."""
    query = sa.select(Stratum.name, Stratum.cases).where(Stratum.what == SOURCE, Stratum.cases > 0)
    rows = session.execute(query.order_by(Stratum.cases.desc(), Stratum.name).limit(limit))
    return [(name, cases) for name, cases in rows]


def _wanted_kinds(session: Session, wanted: Wanted) -> dict[int, tuple[Traits, int]]:
    """Return the kinds that pass, by id, each with how many cases it has."""
    teachers = {name: id_ for name, id_ in session.execute(sa.select(Teacher.name, Teacher.id))}
    return {
        kind_id: (traits, cases)
        for kind_id, traits, cases in all_kinds(session)
        if cases and _passes(traits, wanted, teachers.get(wanted.teacher or "", 0))
    }


def _passes(traits: Traits, wanted: Wanted, teacher_id: int) -> bool:
    asked = (
        (wanted.state, traits.state),
        (wanted.verdict, traits.settled_as or traits.pseudo_label),
        (wanted.gold, traits.gold),
        (wanted.split, traits.split),
        (wanted.has_image, traits.has_image),
    )
    if any(wish is not None and wish != value for wish, value in asked):
        return False
    if wanted.teacher is not None:
        answer = traits.answers.get(teacher_id)
        return answer is not None and wanted.says in (None, answer)
    return wanted.says is None or wanted.says in traits.answers.values()


def _driver(session: Session, wanted: Wanted, kinds: dict[int, tuple[Traits, int]], newer: bool) -> Ids:
    """Choose what yields the ids: the filter that is likely to let the fewest through."""
    of_kinds = sum(cases for _, cases in kinds.values())
    matches = texts.matches(session, wanted.text)
    query: sa.Select[int]
    if of_kinds <= FEW:
        return lambda at, limit: _of_kinds(session, list(kinds), at, limit, newer)
    if wanted.is_flagged:
        flagged = sa.and_(Ruling.flagged, is_current())
        query, column = sa.select(Ruling.case_id).where(flagged).distinct(), Ruling.case_id.expression
    elif wanted.annotator_id is not None:
        mine = sa.and_(Ruling.annotator_id == wanted.annotator_id, is_current())
        query, column = sa.select(Ruling.case_id).where(mine), Ruling.case_id.expression
    elif matches is not None:
        query, column = matches
    elif wanted.source is not None:
        query, column = sa.select(Case.id).where(Case.source == wanted.source), Case.id.expression
    elif _narrow(wanted):
        return lambda at, limit: _of_kinds(session, list(kinds), at, limit, newer)
    else:
        query, column = sa.select(Case.id), Case.id.expression
    query = _between(session, query, column, wanted)
    return lambda at, limit: list(session.scalars(_beyond(query, column, at, newer).limit(limit)))


def _narrow(wanted: Wanted) -> bool:
    return any((wanted.state, wanted.verdict, wanted.gold, wanted.split, wanted.teacher, wanted.says)) or (
        wanted.has_image is not None
    )


def _between(
    session: Session, query: sa.Select[int], column: sa.ColumnElement[int], wanted: Wanted
) -> sa.Select[int]:
    """Narrow a query by the times at which cases came, which are in the order of their ids."""
    if wanted.since is not None:
        query = query.where(column >= _first_since(session, wanted.since))
    if wanted.until is not None:
        query = query.where(column < _first_since(session, wanted.until))
    return query


def _first_since(session: Session, at: datetime) -> int:
    """Find the first case that came at `at` or later, by halving the ids; past the last where none did."""
    low, high = 0, (session.scalar(sa.select(sa.func.max(Case.id))) or 0) + 1
    while low + 1 < high:
        middle = (low + high) // 2
        came = session.execute(
            sa.select(Case.id, Case.created_at).where(Case.id >= middle).order_by(Case.id).limit(1)
        ).first()
        if came is None or came.created_at >= at:
            high = middle
        else:
            low = came.id
    return high


def _beyond(
    query: sa.Select[int], column: sa.ColumnElement[int], at: int | None, newer: bool
) -> sa.Select[int]:
    if at is not None:
        query = query.where(column > at if newer else column < at)
    return query.order_by(column if newer else column.desc())


def _of_kinds(session: Session, kinds: Sequence[int], at: int | None, limit: int, newer: bool) -> list[int]:
    """Merge the cases of some kinds, each of which an index has in order."""
    edge = at if at is not None else (0 if newer else 2**31 - 1)
    bounds = {"edge": edge, "limit": limit}
    lists = [list(session.scalars(_of_kind(newer), {**bounds, "kind": kind})) for kind in kinds]
    return list(islice(merge(*lists, reverse=not newer), limit))


@cache
def _of_kind(newer: bool) -> sa.Select[int]:
    edge, limit = (sa.bindparam(name, type_=sa.Integer) for name in ("edge", "limit"))
    query = sa.select(Case.id).where(Case.kind_id == sa.bindparam("kind", type_=sa.Integer))
    query = query.where(Case.id > edge if newer else Case.id < edge)
    return query.order_by(Case.id if newer else Case.id.desc()).limit(limit)


def _held_against(
    session: Session, wanted: Wanted, kinds: dict[int, tuple[Traits, int]], ids: Sequence[int]
) -> list[int]:
    """Return those of `ids`, in their order, that pass every filter."""
    if not ids:
        return []
    query = sa.select(Case.id, Case.kind_id).where(Case.id.in_(ids))
    if wanted.source is not None:
        query = query.where(Case.source == wanted.source)
    if wanted.since is not None:
        query = query.where(Case.created_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(Case.created_at < wanted.until)
    passed = {case_id for case_id, kind_id in session.execute(query) if kind_id in kinds}
    for narrowed in _narrowed(session, wanted, ids):
        passed &= set(session.scalars(narrowed))
    return [case_id for case_id in ids if case_id in passed]


def _narrowed(session: Session, wanted: Wanted, ids: Sequence[int]) -> list[sa.Select[int]]:
    """The filters that other tables answer, each as a select of those of `ids` that pass."""
    rulings = sa.select(Ruling.case_id).where(Ruling.case_id.in_(ids), is_current())
    selects: list[sa.Select[Any]] = []
    if wanted.annotator_id is not None:
        selects.append(rulings.where(Ruling.annotator_id == wanted.annotator_id))
    if wanted.is_flagged:
        selects.append(rulings.where(Ruling.flagged))
    matches = texts.matches(session, wanted.text)
    if matches is not None:
        query, column = matches
        selects.append(query.where(column.in_(ids)))
    return selects


def _rows(session: Session, ids: Sequence[int]) -> tuple[CaseRow, ...]:
    columns = (
        Case.id, Case.dataset, Case.external_id, Case.image_sha256, Case.caption, Case.source, Case.date,
        Case.place, Case.kind_id, Case.created_at,
    )  # fmt: skip
    traits = {kind_id: one for kind_id, one, _ in all_kinds(session)} if ids else {}
    rows = {
        row.id: CaseRow(*row[:8], traits[row.kind_id], row.created_at)
        for row in session.execute(sa.select(*columns).where(Case.id.in_(ids)))
    }
    return tuple(rows[case_id] for case_id in ids)
