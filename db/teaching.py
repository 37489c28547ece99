"""What teachers are asked, and what they say: find the cases that lack an opinion, keep what comes, retire.

A teacher's opinion of a case is wanted once per wording of the question and model. Which cases lack one is
read off their kinds (`kinds.py`), which name who says something of them, so that finding the next hundred
of a million is a few steps in an index; opinions that are there and of another wording or model are found
by walking the cases once.

A retired teacher's opinions stay and are not current, so they count nowhere: not in conflicts, the queue,
pseudo-labels or figures. Both ways this is done a batch of cases at a time, and a batch that was cut off is
done by doing it again.
"""

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from heapq import merge
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.base import table_of
from db.cases import NewOpinion, say, teacher_ids
from db.derived import restanding
from db.kinds import all_kinds
from db.models import Case, Event, Opinion, Teacher, TeacherAnswer, TeachRun
from db.vocabulary import Answer, Split, TeacherKind

BATCH: Final = 500  # cases that are changed in one transaction
CUT_OFF: Final = "cut off"  # why a run ended that could not say it
_TOKENS_MAX: Final = 2**31 - 1  # what a column holds; a server may say anything


class TeachingError(Exception):
    """Raised for a teacher that cannot be asked, retired or reinstated; says why."""


@dataclass(frozen=True)
class Wanted:
    """Which opinions are wanted."""

    teacher_id: int | None  # None: a teacher that has said nothing here yet
    prompt_version: str
    model: str
    splits: frozenset[Split] = frozenset(Split)
    text_only: bool = False  # of cases without a picture, too


@dataclass(frozen=True)
class Gap:
    """How many cases lack the opinions wanted."""

    new: int  # the teacher says nothing of them
    stale: int  # it answered another wording, or as another model, or was recorded
    without_picture: int  # of these splits, and not asked about

    @property
    def cases(self) -> int:
        """How many are to be asked about."""
        return self.new + self.stale


@dataclass(frozen=True)
class NewAnswer:
    """What a teacher wrote and what it took; see `TeacherAnswer`."""

    raw: str
    parsed: bool
    revision: str
    tokens_in: int | None = None
    tokens_out: int | None = None
    seconds: float = 0.0
    cost: float = 0.0
    tries: int = 1


def teacher_named(session: Session, name: str) -> Teacher | None:
    """Return the teacher, where the desk knows it."""
    return session.scalar(sa.select(Teacher).where(Teacher.name == name))


def known(session: Session, name: str) -> Teacher:
    """Return the teacher; TeachingError where the desk does not know it."""
    teacher = teacher_named(session, name)
    if teacher is None:
        raise TeachingError(f"There is no teacher {name!r} on this desk.")
    return teacher


def askable(session: Session, name: str) -> Teacher | None:
    """Return the teacher, where the desk knows it; TeachingError for a retired one and the demo's script."""
    teacher = teacher_named(session, name)
    if teacher is not None and not teacher.active:
        raise TeachingError(f"{name} is retired: reinstate it first, or give another teacher.")
    if teacher is not None and teacher.kind == TeacherKind.SCRIPTED:
        raise TeachingError(f"The demo's script speaks as {name}: give the teacher another name.")
    return teacher


def count_missing(session: Session, wanted: Wanted) -> Gap:
    """Count the cases that lack an opinion; reads the teacher's entries in one index."""
    new, known, without_picture = _kinds_of(session, wanted)
    stale = sum(known.values()) - (_count_answered(session, wanted, known.keys()) if known else 0)
    return Gap(sum(new.values()), stale, without_picture)


def missing(
    session: Session, wanted: Wanted, *, after_id: int = 0, count: int = 100, stale: bool = True
) -> list[int]:
    """Return the next cases that lack an opinion, by id; without `stale`, those without any alone."""
    new, known, _ = _kinds_of(session, wanted)
    page = {"after_id": after_id, "count": count}
    found: Iterable[int] = merge(
        *(session.scalars(_in_kind(), {"kind_id": kind_id, **page}).all() for kind_id in sorted(new))
    )
    case_ids = [case_id for case_id, _ in zip(found, range(count), strict=False)]
    if stale and known:
        end = case_ids[-1] if len(case_ids) == count else _TOKENS_MAX
        asked = {"end": end, "kinds": sorted(known), **page, **_asked_for(wanted)}
        case_ids = sorted([*case_ids, *session.scalars(_stale(), asked)])[:count]
    return case_ids


def answered(session: Session, wanted: Wanted, after_id: int, count: int) -> dict[int, Answer]:
    """Return the next cases whose answer could be read, by id, each with its verdict."""
    page = {"after_id": after_id, "count": count, **_asked_for(wanted)}
    return {case_id: Answer(verdict) for case_id, verdict in session.execute(_verdicts(), page)}


def begin_run(
    session: Session,
    name: str,
    kind: TeacherKind,
    *,
    prompt_version: str,
    model: str,
    annotator_id: int | None,
    now: datetime,
) -> TeachRun:
    """Note that a teacher is asked from now on; one that is new to the desk is added. Wants a write session.

    Runs of this teacher without an end were cut off, and get one: the caller sees to it that none goes on.
    Raises as `askable` does.
    """
    teacher_ids(session, {name}, kind)
    teacher = askable(session, name)
    assert teacher is not None
    if kind != TeacherKind.RECORDED:
        teacher.kind = kind
    cut_off = sa.update(TeachRun).where(TeachRun.teacher_id == teacher.id, TeachRun.ended_at.is_(None))
    session.execute(cut_off.values(ended_at=now, why=CUT_OFF))
    run = TeachRun(
        teacher_id=teacher.id,
        prompt_version=prompt_version,
        model=model,
        annotator_id=annotator_id,
        started_at=now,
    )
    session.add(run)
    detail = {"teacher": name, "model": model, "prompt_version": prompt_version}
    session.add(Event(at=now, annotator_id=annotator_id, action="teach", detail=detail))
    session.flush()
    return run


def keep_opinion(
    session: Session, run: TeachRun, case_id: int, opinion: NewOpinion, answer: NewAnswer, now: datetime
) -> int:
    """Keep an opinion with the answer it was read from, in place of the one before; return its id.

    Raises TeachingError where the teacher was retired meanwhile. Wants a write session.
    """
    if not session.scalar(sa.select(Teacher.active).where(Teacher.id == run.teacher_id)):
        raise TeachingError(f"{opinion.teacher} was retired while it was asked.")
    say(session, case_id, run.teacher_id, opinion, run.prompt_version, now)
    opinions, runs = table_of(Opinion), table_of(TeachRun)
    here = (opinions.c.case_id == case_id, opinions.c.teacher_id == run.teacher_id, opinions.c.current)
    opinion_id = session.execute(
        sa.update(opinions).where(*here).values(model=run.model).returning(opinions.c.id)
    ).scalar_one()
    facts = {**asdict(answer), "raw": _storable(answer.raw), "revision": _storable(answer.revision)}
    tokens_in, tokens_out = _at_most(answer.tokens_in), _at_most(answer.tokens_out)
    facts |= {"tokens_in": tokens_in, "tokens_out": tokens_out}
    session.execute(sa.insert(TeacherAnswer), {"opinion_id": opinion_id, **facts})
    counted: dict[str, Any] = {
        "kept": runs.c.kept + 1,
        "tokens_in": runs.c.tokens_in + (tokens_in or 0),
        "tokens_out": runs.c.tokens_out + (tokens_out or 0),
        "cost": runs.c.cost + answer.cost,
    }
    session.execute(sa.update(runs).where(runs.c.id == run.id).values(counted))
    return int(opinion_id)


def retire(session: Session, name: str, annotator_id: int | None, now: datetime) -> int:
    """Let a teacher count no more, as `withdraw` then sees to; return its id. Wants a write session."""
    return _set_active(session, name, False, annotator_id, now)


def reinstate(session: Session, name: str, annotator_id: int | None, now: datetime) -> int:
    """Let a teacher count again, as `bring_back` then sees to; return its id. Wants a write session."""
    return _set_active(session, name, True, annotator_id, now)


def speaks_of(session: Session, teacher_id: int) -> int:
    """Count the cases that a teacher has a current opinion of."""
    return sum(cases for _, traits, cases in all_kinds(session) if teacher_id in traits.answers)


def withdraw(session: Session, teacher_id: int, now: datetime) -> int:
    """Take a batch of a teacher's opinions out of what counts; return how many. Wants a write session."""
    said = (
        kind_id for kind_id, traits, cases in all_kinds(session) if cases and teacher_id in traits.answers
    )
    case_ids: list[int] = []
    for kind_id in said:
        left = {"kind_id": kind_id, "after_id": 0, "count": BATCH - len(case_ids)}
        case_ids += session.scalars(_in_kind(), left)
        if len(case_ids) == BATCH:
            break
    with restanding(session, sorted(case_ids), now):
        opinions = table_of(Opinion)
        here = (opinions.c.case_id.in_(case_ids), opinions.c.teacher_id == teacher_id, opinions.c.current)
        session.execute(sa.update(opinions).where(*here).values(current=False))
    return len(case_ids)


def bring_back(session: Session, teacher_id: int, after_id: int, now: datetime) -> int | None:
    """Let a teacher's newest opinions of the cases after `after_id` count, some hundred cases of the desk.

    Returns the id to go on after, None at the end. Wants a write session.
    """
    last = session.scalar(sa.select(sa.func.max(Case.id))) or 0
    if after_id >= last:
        return None
    opinions = table_of(Opinion)
    current = opinions.alias()
    speaks = sa.select(current.c.id).where(
        current.c.case_id == opinions.c.case_id, current.c.teacher_id == teacher_id, current.c.current
    )
    newest = (
        sa.select(opinions.c.case_id, sa.func.max(opinions.c.id))
        .where(
            ~opinions.c.current,
            opinions.c.case_id.between(after_id + 1, after_id + BATCH),
            opinions.c.teacher_id == teacher_id,
            ~speaks.exists(),
        )
        .group_by(opinions.c.case_id)
    )
    found = {case_id: opinion_id for case_id, opinion_id in session.execute(newest)}
    with restanding(session, sorted(found), now):
        here = opinions.c.id.in_(found.values())
        session.execute(sa.update(opinions).where(here).values(current=True))
    return after_id + BATCH


def _set_active(session: Session, name: str, active: bool, annotator_id: int | None, now: datetime) -> int:
    teacher = known(session, name)
    if teacher.active != active:
        teacher.active = active
        action, detail = "reinstate" if active else "retire", {"teacher": name}
        session.add(Event(at=now, annotator_id=annotator_id, action=action, detail=detail))
    return teacher.id


def _kinds_of(session: Session, wanted: Wanted) -> tuple[dict[int, int], dict[int, int], int]:
    """Return the kinds of which the teacher says nothing, and something, and the cases without picture."""
    new, known, without_picture = dict[int, int](), dict[int, int](), 0
    for kind_id, traits, cases in all_kinds(session):
        if not cases or traits.split not in wanted.splits:
            continue
        if not traits.has_image and not wanted.text_only:
            without_picture += cases
        elif wanted.teacher_id in traits.answers:
            known[kind_id] = cases
        else:
            new[kind_id] = cases
    return new, known, without_picture


def _count_answered(session: Session, wanted: Wanted, known: Collection[int]) -> int:
    """Count the answers to what is wanted in these kinds, reading no cases where it answered no other."""
    said = {
        kind for kind, traits, cases in all_kinds(session) if cases and wanted.teacher_id in traits.answers
    }
    if said == set(known):
        return session.scalar(_all_answered(), _asked_for(wanted)) or 0
    rows = session.execute(_answered(), _asked_for(wanted))
    return sum(cases for kind_id, cases in rows if kind_id in known)


def _asked_for(wanted: Wanted) -> dict[str, Any]:
    return {
        "teacher_id": wanted.teacher_id,
        "prompt_version": wanted.prompt_version,
        "model": wanted.model,
    }


def _storable(text: str) -> str:
    """Return a text without what one of the databases cannot hold."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")


def _at_most(tokens: int | None) -> int | None:
    return None if tokens is None else min(tokens, _TOKENS_MAX)


@cache
def _in_kind() -> sa.Select[int]:
    """Select `count` cases of a kind; ix_cases_kind holds all that is asked."""
    cases = table_of(Case).c
    kind_id, after_id, count = (
        sa.bindparam(name, type_=sa.Integer) for name in ("kind_id", "after_id", "count")
    )
    return (
        sa.select(cases.id)
        .where(cases.kind_id == kind_id, cases.id > after_id)
        .order_by(cases.id)
        .limit(count)
    )


@cache
def _is_answered() -> sa.ColumnElement[bool]:
    """Hold for current opinions of the wording and model asked for; all in ix_opinions_asked."""
    opinions = table_of(Opinion).c
    asked = (opinions.teacher_id, opinions.prompt_version, opinions.model)
    return sa.and_(
        opinions.current,
        opinions.model.is_not(None),
        *(column == sa.bindparam(column.name, type_=column.type) for column in asked),
    )


@cache
def _all_answered() -> sa.Select[int]:
    """Count the cases answered."""
    return sa.select(sa.func.count()).select_from(table_of(Opinion)).where(_is_answered())


@cache
def _answered() -> sa.Select[int, int]:
    """Count the cases answered, by kind."""
    cases, opinions = table_of(Case), table_of(Opinion)
    return (
        sa.select(cases.c.kind_id, sa.func.count())
        .join_from(opinions, cases, cases.c.id == opinions.c.case_id)
        .where(_is_answered())
        .group_by(cases.c.kind_id)
    )


@cache
def _verdicts() -> sa.Select[int, Answer]:
    """Select `count` answers in the order of their cases."""
    opinions = table_of(Opinion).c
    after_id, count = (sa.bindparam(name, type_=sa.Integer) for name in ("after_id", "count"))
    answers = table_of(TeacherAnswer).c
    return (
        sa.select(opinions.case_id, opinions.verdict)
        .join(table_of(TeacherAnswer), answers.opinion_id == opinions.id)
        .where(_is_answered(), answers.parsed, opinions.case_id > after_id)
        .order_by(opinions.case_id)
        .limit(count)
    )


@cache
def _stale() -> sa.Select[int]:
    """Select the first cases of some kinds that lack an answer, walking by id.

    The kind is tested through `coalesce` to keep the planner from collecting and sorting whole kinds.
    """
    cases, opinions = table_of(Case).c, table_of(Opinion).c
    after_id, end, count = (sa.bindparam(name, type_=sa.Integer) for name in ("after_id", "end", "count"))
    answer = sa.select(opinions.id).where(_is_answered(), opinions.case_id == cases.id)
    return (
        sa.select(cases.id)
        .where(
            cases.id > after_id,
            cases.id <= end,
            sa.func.coalesce(cases.kind_id, 0).in_(sa.bindparam("kinds", expanding=True, type_=sa.Integer)),
            ~answer.exists(),
        )
        .order_by(cases.id)
        .limit(count)
    )
