"""What is done to a desk's database without its page; each function is called in a fresh process.

Every one opens the data folder it is given, so what is measured pays for empty caches as a page does
that has just been started.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Session

from benchmarks.desk_cases import TEACHERS, read_cases
from db import browse, people, stats
from db.engine import write_session
from db.models import Annotator, Case, Ruling, is_current
from db.passwords import hash_password
from db.queue import claim
from db.rulings import NewRuling, ensure_annotator, rule
from db.vocabulary import Answer, CaseState, Role, Split, Verdict
from db.worth import order_in_force
from ooc_app.desk import open_desk
from ooc_app.export.exporting import export_cases
from ooc_app.intake.entries import Source
from ooc_app.intake.formats import import_file

HELD: Final = 2  # cases the page keeps for one annotator
RULER: Final = "ruler"


@dataclass(frozen=True, slots=True)
class Took:
    """How long something took."""

    seconds: float
    processor: float  # seconds of processor time: what it would take on an idle machine, about


@dataclass(frozen=True, slots=True)
class Loops:
    """Seconds of each claim and ruling: in a transaction each, and in one as the page does it."""

    apart: list[float]
    at_once: list[float]


@dataclass(frozen=True, slots=True)
class Check:
    """What the database has of the rulings that were acknowledged."""

    missing: int  # acknowledged, but not there
    beyond_wanted: int  # cases with more rulings than wanted


def import_cases(data_dir: Path, items: Path) -> Took:
    """Import a file of native cases."""
    with open_desk(data_dir) as desk:
        began = _clocks()
        report = import_file(desk, "native", Source(items))
        took = _since(began)
    if report.bad_count or report.without_image:
        raise RuntimeError(
            f"{report.bad_count} bad lines, {report.without_image} without picture: {report.bad[:1]}"
        )
    return took


def export_all(data_dir: Path, path: Path) -> Took:
    """Export all cases as native JSON lines."""
    with open_desk(data_dir) as desk:
        began = _clocks()
        export_cases(desk, "native", path, overwrite=True)
        return _since(began)


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(began: tuple[float, float]) -> Took:
    return Took(time.perf_counter() - began[0], time.process_time() - began[1])


def add_people(data_dir: Path, names: Iterable[str], password: str) -> None:
    """Let people sign in, all with the same password; the first is an editor."""
    kept, now = hash_password(password), datetime.now(UTC)
    with open_desk(data_dir) as desk, write_session(desk.sessions) as session:
        there = {account.name for account in people.accounts(session)}
        for place, name in enumerate(names):
            if name not in there:
                role = Role.ANNOTATOR if place else Role.EDITOR
                people.add_person(session, None, name, role, kept, now)


def rule_in_loops(data_dir: Path, loops: int) -> Loops:
    """Claim and rule as one annotator, so many times each way."""
    apart: list[float] = []
    at_once: list[float] = []
    with open_desk(data_dir) as desk:
        with write_session(desk.sessions) as session:
            annotator_id = ensure_annotator(session, RULER, Role.ANNOTATOR)
            held = claim(session, annotator_id, datetime.now(UTC), count=HELD)
        for turn in range(2 * loops):
            if not held:
                break
            began = time.perf_counter()
            with write_session(desk.sessions) as session:
                rule(session, annotator_id, _ruling(held[0]), datetime.now(UTC))
                if turn % 2:
                    held = claim(session, annotator_id, datetime.now(UTC), count=HELD)
            if not turn % 2:
                with write_session(desk.sessions) as session:
                    held = claim(session, annotator_id, datetime.now(UTC), count=HELD)
            (at_once if turn % 2 else apart).append(time.perf_counter() - began)
    return Loops(apart, at_once)


def _ruling(case_id: int) -> NewRuling:
    return NewRuling(uuid4().hex, case_id, Answer.IN_CONTEXT, flagged=case_id % 10 == 0, seconds=4.0)


def check(data_dir: Path, acknowledged: dict[str, tuple[str, ...]]) -> Check:
    """Hold what people were told is saved (case ids by name) against what is there."""
    with open_desk(data_dir) as desk, desk.sessions() as session:
        missing = 0
        for name, case_ids in acknowledged.items():
            standing = sa.select(Ruling.case_id).join(Annotator, Annotator.id == Ruling.annotator_id)
            there = session.scalars(standing.where(Annotator.name == name, is_current())).all()
            missing += len(case_ids) - len({str(case_id) for case_id in there} & set(case_ids))
        order = order_in_force(session)
        several = sa.select(Ruling.case_id, sa.func.count()).where(is_current()).group_by(Ruling.case_id)
        counts = session.execute(several.having(sa.func.count() > 1)).all()
        return Check(missing, sum(1 for case_id, count in counts if count > order.rulings_wanted(case_id)))


def read_all_ways(data_dir: Path, items: Path, repeats: int) -> dict[str, list[float]]:
    """Read the desk in every way a page does; return the seconds of each repeat, by way."""
    with open_desk(data_dir) as desk:
        with desk.sessions() as session:
            ways = _ways(session, items, repeats)
        timed: dict[str, list[float]] = {}
        for what, readings in ways.items():
            for read in islice(readings, repeats):
                began = time.perf_counter()
                with desk.sessions() as session:
                    read(session)
                timed.setdefault(what, []).append(time.perf_counter() - began)
    return timed


def _ways(session: Session, items: Path, repeats: int) -> dict[str, Iterable[Callable[[Session], object]]]:
    some = list(islice(read_cases(items), repeats))
    words = [word for case in some for word in case["caption"].rstrip(".").lower().split()[1:3]]
    filters: dict[str, list[browse.Wanted]] = {
        "no filter": [browse.Wanted()],
        "filter by state": [browse.Wanted(state=state) for state in CaseState],
        "filter by verdict": [browse.Wanted(verdict=verdict) for verdict in Verdict],
        "filter by gold": [browse.Wanted(gold=verdict) for verdict in Verdict],
        "filter by split": [browse.Wanted(split=split) for split in Split],
        "filter by teacher": [browse.Wanted(teacher=name, says=says) for name in TEACHERS for says in Answer],
        "filter by source": [browse.Wanted(source=case["source"]) for case in some],
        "filter by annotator": [browse.Wanted(annotator_id=_annotator(session))],
        "filter by flag": [browse.Wanted(is_flagged=True)],
        "filter by date": [
            browse.Wanted(since=since, until=since + timedelta(seconds=10)) for since in _times(session)
        ],
        "search for a word": [browse.Wanted(text=word) for word in words],
        "search for two words": [
            browse.Wanted(text=" ".join(words[at : at + 2])) for at in range(0, len(words), 2)
        ],
        "search and filter": [
            browse.Wanted(text=word, state=CaseState.CONFLICT, source=case["source"])
            for word, case in zip(words, some, strict=False)
        ],
    }
    ways: dict[str, Iterable[Callable[[Session], object]]] = {"stats": [stats.stats] * repeats}
    middle = (session.scalar(sa.select(sa.func.max(Case.id))) or 0) // 2
    ways |= {what: _turns(wishes, middle) for what, wishes in filters.items()}
    return ways


def _turns(wishes: list[browse.Wanted], middle: int) -> Iterator[Callable[[Session], object]]:
    """Read the first page and its count, and in turn a page from the middle, of one wish after another."""
    for turn in count():
        cursor = middle if turn % 2 else None
        wanted = wishes[turn // 2 % len(wishes)]

        def read(session: Session, wanted: browse.Wanted = wanted, cursor: int | None = cursor) -> object:
            return browse.page(session, wanted, cursor), browse.count(session, wanted)

        yield read


def _annotator(session: Session) -> int:
    return session.scalar(sa.select(Annotator.id).where(Annotator.name == RULER)) or 0


def _times(session: Session) -> list[datetime]:
    """Some times between the first and the last case."""
    first, last = session.execute(sa.select(sa.func.min(Case.created_at), sa.func.max(Case.created_at))).one()
    shares: list[Any] = [first + (last - first) * share / 10 for share in range(10)]
    return shares
