"""Browse the cases: filter, search, page, the newest first.

Pages are cut by id, never by offset, so the thousandth page costs what the first does. Filters on what
makes a kind (state, verdict, split, teacher ...) are read off the kinds; the narrowest of the other
filters yields ids in order, and what it yields is held against the rest, a few hundred at a time. A
search whose rest is rare among its matches could go through a million of them: it stops after
`Effort.looked_at`, says so, and can be gone on with.
"""

from collections.abc import Iterator, Sequence
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
ID_MAX: Final = 2**31 - 1  # what PostgreSQL's integer holds


@dataclass(frozen=True)
class Effort:
    """How much one call may do before it hands out what it has."""

    at_once: int = 400  # ids held against the other filters in one go
    looked_at: int = 8_000  # ids in all
    counted: int = 1_000  # beyond, a count that needs rows says "more than"
    few: int = 4_000  # cases of the wanted kinds below which the kinds are the narrowest filter


EFFORT: Final = Effort()

Range = tuple[int, int, bool]
"""The ids looked at: after this one, before that one, and whether from the oldest on."""


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
    is_cut: bool = False  # looked at as many as it may: the cursor in its direction goes on looking


@dataclass(frozen=True)
class Count:
    """How many cases are found; `is_least` where there are at least so many."""

    cases: int
    is_least: bool = False


def page(
    session: Session,
    wanted: Wanted,
    cursor: int | None = None,
    *,
    newer: bool = False,
    limit: int = PAGE,
    effort: Effort = EFFORT,
) -> Page:
    """Return the cases older than `cursor`, or with `newer` those next newer than it."""
    found: list[int] = []
    onward: int | None = None
    for passed, at in _passing(session, wanted, cursor, newer, effort, first=limit + 1):
        found, onward = found + passed, at
        if len(found) > limit:
            break
    is_cut = onward is not None and len(found) <= limit
    ids = found[:limit]
    if len(found) > limit:
        onward = ids[-1]
    back = ids[0] if ids else None
    if not ids and cursor is not None:
        back = cursor + 1 if newer else cursor - 1  # so that the way back has the case at the cursor, too
    if newer:
        return Page(rows(session, ids[::-1]), older=back, newer=onward, is_cut=is_cut)
    return Page(rows(session, ids), onward, newer=None if cursor is None else back, is_cut=is_cut)


def count(session: Session, wanted: Wanted, *, effort: Effort = EFFORT) -> Count:
    """Count what is found: exactly where the kinds or the sources tell, else as far as `effort` goes."""
    others = (wanted.annotator_id, wanted.text.strip(), wanted.since, wanted.until, wanted.is_flagged)
    if not any(others) and not wanted.source:
        return Count(sum(cases for _, cases in _wanted_kinds(session, wanted).values()))
    if not any(others) and wanted == Wanted(source=wanted.source):
        here = sa.and_(Stratum.what == SOURCE, Stratum.name == wanted.source)
        return Count(session.scalar(sa.select(Stratum.cases).where(here)) or 0)
    found = 0
    onward: int | None = None
    for passed, at in _passing(session, wanted, None, False, effort, first=effort.at_once):
        found, onward = found + len(passed), at
        if found >= effort.counted:
            break
    return Count(found) if onward is None else Count(min(found, effort.counted), is_least=True)


def rows(session: Session, ids: Sequence[int]) -> tuple[CaseRow, ...]:
    """Return these cases as a list shows them, in the order of `ids`."""
    columns = (
        Case.id, Case.dataset, Case.external_id, Case.image_sha256, Case.caption, Case.source, Case.date,
        Case.place, Case.kind_id, Case.created_at,
    )  # fmt: skip
    found = session.execute(sa.select(*columns).where(Case.id.in_(ids))).all()
    traits = {kind_id: one for kind_id, one, _ in all_kinds(session)} if found else {}
    listed = {row.id: CaseRow(*row[:8], traits[row.kind_id], row.created_at) for row in found}
    return tuple(listed[case_id] for case_id in ids)


def sources(session: Session, limit: int = 200) -> list[tuple[str, int]]:
    """Return the commonest sources and how many cases each has."""
    query = sa.select(Stratum.name, Stratum.cases).where(Stratum.what == SOURCE, Stratum.cases > 0)
    rows = session.execute(query.order_by(Stratum.cases.desc(), Stratum.name).limit(limit))
    return [(name, cases) for name, cases in rows]


def _passing(
    session: Session, wanted: Wanted, cursor: int | None, newer: bool, effort: Effort, first: int
) -> Iterator[tuple[list[int], int | None]]:
    """Give the ids that pass every filter, some at a time, each time with the cursor that goes on.

    That is None once there are no more. The first time `first` ids are looked at, enough for a page
    where all pass, and then more and more.
    """
    kinds = _wanted_kinds(session, wanted)
    after, before = _bounds(session, wanted)
    if cursor is not None:
        after, before = (max(after, cursor), before) if newer else (after, min(before, cursor))
    in_order, has_text = _in_order(session, wanted, kinds, (after, before, newer), effort)
    looked_at, at_once = 0, first
    while looked_at < effort.looked_at:
        at_once = min(at_once, effort.at_once)
        ids = list(islice(in_order, at_once))
        passed = _held_against(session, wanted, kinds, ids)
        if wanted.text.strip() and not has_text:
            passed = _with_text(session, passed, wanted.text)
        if len(ids) < at_once:
            yield passed, None
            return
        yield passed, ids[-1]
        looked_at, at_once = looked_at + len(ids), 4 * at_once


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


def _in_order(
    session: Session, wanted: Wanted, kinds: dict[int, tuple[Traits, int]], where: Range, effort: Effort
) -> tuple[Iterator[int], bool]:
    """Give the ids by the filter that is likely to let the fewest through.

    Also says whether that is the text, which then need not be looked for again.
    """
    after, before, newer = where
    matches = None
    query: sa.Select[int]
    if sum(cases for _, cases in kinds.values()) <= effort.few:
        return _of_kinds(session, list(kinds), where, effort), False
    if wanted.is_flagged:
        flagged = sa.and_(Ruling.flagged, is_current())
        query, column = sa.select(Ruling.case_id).where(flagged).distinct(), Ruling.case_id.expression
    elif wanted.annotator_id is not None:
        mine = sa.and_(Ruling.annotator_id == wanted.annotator_id, is_current())
        query, column = sa.select(Ruling.case_id).where(mine), Ruling.case_id.expression
    elif (matches := texts.matches(session, wanted.text)) is not None:
        query, column = matches
    elif wanted.source is not None:
        query, column = sa.select(Case.id).where(Case.source == wanted.source), Case.id.expression
    elif _narrow(wanted):
        return _of_kinds(session, list(kinds), where, effort), False
    else:
        query, column = sa.select(Case.id), Case.id.expression
    query = query.where(column > after, column < before).order_by(column if newer else column.desc())
    return _read(session, query, effort), matches is not None


def _read(session: Session, query: sa.Select[int], effort: Effort) -> Iterator[int]:
    """Read ids as they are asked for; more than one call may look at are never wanted."""
    most = query.limit(effort.looked_at + effort.at_once)
    with session.scalars(most.execution_options(yield_per=effort.at_once)) as ids:
        yield from ids


def _narrow(wanted: Wanted) -> bool:
    return any((wanted.state, wanted.verdict, wanted.gold, wanted.split, wanted.teacher, wanted.says)) or (
        wanted.has_image is not None
    )


def _bounds(session: Session, wanted: Wanted) -> tuple[int, int]:
    """Return the ids between which cases came at the times wanted: times are in the order of ids."""
    after = _first_since(session, wanted.since) - 1 if wanted.since is not None else 0
    before = _first_since(session, wanted.until) if wanted.until is not None else ID_MAX
    return after, before


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


def _of_kinds(session: Session, kinds: Sequence[int], where: Range, effort: Effort) -> Iterator[int]:
    """Merge the cases of some kinds, each of which an index has in order."""
    after, before, newer = where
    limit = PAGE + 1
    while True:
        bounds = {"after": after, "before": before, "limit": limit}
        lists = [list(session.scalars(_of_kind(newer), {**bounds, "kind": kind})) for kind in kinds]
        merged = list(islice(merge(*lists, reverse=not newer), limit))
        yield from merged
        if len(merged) < limit:
            return
        after, before = (merged[-1], before) if newer else (after, merged[-1])
        limit = min(4 * limit, effort.at_once)


@cache
def _of_kind(newer: bool) -> sa.Select[int]:
    kind, after, before, limit = (
        sa.bindparam(name, type_=sa.Integer) for name in ("kind", "after", "before", "limit")
    )
    query = sa.select(Case.id).where(Case.kind_id == kind, Case.id > after, Case.id < before)
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
    return selects


def _with_text(session: Session, ids: Sequence[int], search: str) -> list[int]:
    """Return those of `ids`, in their order, whose texts have all the words of a search."""
    query = sa.select(Case.id, Case.caption, Case.place, Case.source).where(Case.id.in_(ids))
    found = {case_id for case_id, *said in session.execute(query) if texts.fits(said, search)}
    return [case_id for case_id in ids if case_id in found]
