"""Say how a teacher does: how often it is right, how far its confidence can be trusted, what it alone saw.

What is true of a case is its human verdict, else its gold verdict. Counts come from the kinds of cases
(`kinds.py`) and read no case, so they take the same time whatever the number of cases. Confidence stands in
no kind: it is read of the newest cases alone. So are the versions that opinions are of: an index has them in
order, and one step in it finds the next. A retired teacher's opinions are not current and count nowhere.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from heapq import merge
from itertools import islice
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.agreement import (
    Figure,
    Together,
    VerdictFigures,
    accuracy,
    cohen_kappa,
    per_verdict,
    together,
)
from db.base import table_of
from db.kinds import Traits, all_kinds
from db.models import Case, Opinion, Teacher
from db.views import RECORDED
from db.vocabulary import Answer, TeacherKind

Kinds = list[tuple[Traits, int]]
"""What there is, and how many cases are so."""
Pairs = Counter[tuple[str, str]]
"""How often (the teacher's answer, somebody else's) came."""

BINS: Final = 10
BATCH: Final = 500  # cases looked up in one statement
ID_MAX: Final = 2**31 - 1  # what PostgreSQL's integer holds
FIRST_PAGE: Final = 25  # ids of one kind that are read at first; then more and more
PAGE_MAX: Final = 400
NO_GOLD: Final = "No case it answered has a gold verdict."
NO_RULING: Final = "No case it answered has a human verdict yet."
NO_TRUTH: Final = "No case it reached a verdict on has a gold verdict or a human one yet."
NO_CONFIDENCE: Final = "It does not say how sure it is."


@dataclass(frozen=True)
class Judged:
    """How a teacher does where what is true is known."""

    accuracy: Figure  # unsure is never right
    per_verdict: tuple[VerdictFigures, ...]


@dataclass(frozen=True)
class OtherTeacher:
    """How far a teacher goes together with another one that counts."""

    name: str
    together: Together


@dataclass(frozen=True)
class TeacherFigures:
    """How a teacher does, over its current opinions."""

    name: str
    kind: TeacherKind
    active: bool
    verdicts: Mapping[Answer, int]
    by_gold: Judged
    by_people: Judged
    with_rulings: Figure  # kappa, with what people say; there unsure is an answer like others
    others: tuple[OtherTeacher, ...]
    compared: int  # cases of which another teacher says something, too, and whose verdict is known
    only_right: int  # of them, where every other teacher is wrong or unsure
    only_wrong: int  # of them, where every other teacher is right and this one has the other verdict

    @property
    def opinions(self) -> int:
        """How many there are."""
        return sum(self.verdicts.values())

    @property
    def unsure(self) -> int:
        """How many of them reach no verdict."""
        return self.verdicts[Answer.UNSURE]


@dataclass(frozen=True)
class Bin:
    """Opinions with a confidence from `low` to below `high`; `said` is their mean confidence."""

    low: float
    high: float
    cases: int
    wrong: int
    said: float


@dataclass(frozen=True)
class Calibration:
    """How sure a teacher says it is, and how often it is right, over its newest opinions with a verdict."""

    bins: tuple[Bin, ...]  # those with opinions in them
    looked_at: int  # opinions, with or without a confidence
    cases: int  # of them, with a confidence
    said: float | None = None  # mean confidence
    right: float | None = None  # share
    error: float | None = None  # mean gap of a bin between the two, weighted by cases (Guo et al. 2017)
    why: str | None = None  # a sentence for a person, where there are no figures


class Version(NamedTuple):
    """Something that current opinions of a teacher are of."""

    teacher: str
    kind: TeacherKind
    active: bool
    prompt_version: str  # "recorded" where nobody here asked
    model: str | None


def teacher_figures(session: Session, teacher_id: int) -> TeacherFigures:
    """Return how a teacher does."""
    teacher = session.get_one(Teacher, teacher_id)
    kinds = [(traits, cases) for _, traits, cases in all_kinds(session) if cases]
    with_gold, with_people = answers_beside(kinds, teacher_id)
    colleagues = _active(session)
    colleagues.pop(teacher_id, None)
    beside, compared, only_right, only_wrong = _beside_others(kinds, teacher_id, colleagues)
    return TeacherFigures(
        name=teacher.name,
        kind=teacher.kind,
        active=teacher.active,
        verdicts={
            answer: sum(n for (said, _), n in with_gold.items() if said == answer) for answer in Answer
        },
        by_gold=Judged(accuracy(with_gold, NO_GOLD), tuple(per_verdict(with_gold, "gold verdict"))),
        by_people=Judged(accuracy(with_people, NO_RULING), tuple(per_verdict(with_people))),
        with_rulings=cohen_kappa(with_people),
        others=tuple(OtherTeacher(colleagues[one], together(said)) for one, said in sorted(beside.items())),
        compared=compared,
        only_right=only_right,
        only_wrong=only_wrong,
    )


def answers_beside(kinds: Kinds, teacher_id: int) -> tuple[Pairs, Pairs]:
    """Return what a teacher says beside gold, of all its cases, and beside people, where they answered."""
    with_gold, with_people = Pairs(), Pairs()
    for traits, cases in kinds:
        answer = traits.answers.get(teacher_id)
        if answer is not None:
            with_gold[answer, traits.gold] += cases
            if traits.human in tuple(Answer):
                with_people[answer, traits.human] += cases
    return with_gold, with_people


def calibration(session: Session, teacher_id: int, newest: int = 5_000) -> Calibration:
    """Hold a teacher's confidence against how often it is right, over its `newest` cases that can tell.

    Those are cases with a verdict of the teacher and one that is true; unsure opinions claim nothing to be
    right about. Reads so many opinions and no more, however many there are.
    """
    right = {
        kind_id: traits.answers[teacher_id] == truth
        for kind_id, traits, cases in all_kinds(session)
        if cases
        and (truth := traits.truth)
        and traits.answers.get(teacher_id, Answer.UNSURE) != Answer.UNSURE
    }
    found = dict(islice(_newest(session, right), newest))
    if not found:
        return Calibration((), 0, 0, why=NO_TRUTH)
    case_ids = list(found)
    said = [
        (confidence, right[found[case_id]])
        for start in range(0, len(case_ids), BATCH)
        for case_id, confidence in session.execute(
            _confidences(), {"teacher_id": teacher_id, "case_ids": case_ids[start : start + BATCH]}
        )
    ]
    return _calibrated(said, len(case_ids))


def only_right(session: Session, teacher_id: int, count: int = 12) -> list[int]:
    """Return the newest cases on which this teacher alone is right."""
    colleagues = _active(session)
    colleagues.pop(teacher_id, None)
    kinds = [
        kind_id
        for kind_id, traits, cases in all_kinds(session)
        if cases and _stands_alone(traits, teacher_id, colleagues) == (True, False)
    ]
    return [case_id for case_id, _ in islice(_newest(session, kinds), count)]


def versions(session: Session) -> list[Version]:
    """Return what current opinions are of, by teacher in the order they came, then by version."""
    found = []
    spoken = Counter[int]()
    for _, traits, cases in all_kinds(session):
        for teacher_id in traits.answers:
            spoken[teacher_id] += cases
    for teacher in session.scalars(sa.select(Teacher).order_by(Teacher.id)):
        asked = list(_asked_versions(session, teacher.id)) if spoken[teacher.id] else []
        if spoken[teacher.id] > (_count_asked(session, teacher.id) if asked else 0):
            found.append(Version(teacher.name, teacher.kind, teacher.active, RECORDED, None))
        found += [Version(teacher.name, teacher.kind, teacher.active, *one) for one in asked]
    return found


def _active(session: Session) -> dict[int, str]:
    rows = session.execute(sa.select(Teacher.id, Teacher.name).where(Teacher.active))
    return {teacher_id: name for teacher_id, name in rows}


def _beside_others(
    kinds: Kinds, teacher_id: int, colleagues: Mapping[int, str]
) -> tuple[dict[int, Pairs], int, int, int]:
    """Return what a teacher says beside each other one; cases compared, it alone right on, and wrong."""
    beside: dict[int, Pairs] = {}
    compared = right = wrong = 0
    for traits, cases in kinds:
        answer = traits.answers.get(teacher_id)
        if answer is None:
            continue
        for other, says in traits.answers.items():
            if other in colleagues:
                beside.setdefault(other, Pairs())[answer, says] += cases
        alone = _stands_alone(traits, teacher_id, colleagues)
        if alone is not None:
            compared += cases
            right += cases * alone[0]
            wrong += cases * alone[1]
    return beside, compared, right, wrong


def _stands_alone(traits: Traits, teacher_id: int, colleagues: Mapping[int, str]) -> tuple[bool, bool] | None:
    """Say whether a teacher alone is right, and whether it alone is wrong; None where nobody can tell."""
    truth, answer = traits.truth, traits.answers.get(teacher_id)
    others = [says for other, says in traits.answers.items() if other in colleagues]
    if not truth or answer is None or not others:
        return None
    is_right = answer == truth
    alone_right = is_right and all(says != truth for says in others)
    alone_wrong = not is_right and answer != Answer.UNSURE and all(says == truth for says in others)
    return alone_right, alone_wrong


def _calibrated(said: Iterable[tuple[float | None, bool]], looked_at: int) -> Calibration:
    """Sort (confidence, whether it is right) into bins of equal width."""
    bins = [[0, 0, 0.0] for _ in range(BINS)]  # cases, wrong, sum of confidences
    for confidence, is_right in said:
        if confidence is not None:
            one = bins[min(int(confidence * BINS), BINS - 1)]
            one[0] += 1
            one[1] += not is_right
            one[2] += confidence
    filled = tuple(
        Bin(number / BINS, (number + 1) / BINS, int(cases), int(wrong), total / cases)
        for number, (cases, wrong, total) in enumerate(bins)
        if cases
    )
    cases = sum(one.cases for one in filled)
    if not cases:
        return Calibration((), looked_at, 0, why=NO_CONFIDENCE)
    return Calibration(
        filled,
        looked_at,
        cases,
        said=sum(one.said * one.cases for one in filled) / cases,
        right=1 - sum(one.wrong for one in filled) / cases,
        error=sum(abs(one.said * one.cases - (one.cases - one.wrong)) for one in filled) / cases,
    )


def _newest(session: Session, kind_ids: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Give the cases of some kinds, the newest first, each with its kind; reads hardly more than is taken."""
    return merge(*(_newest_of(session, kind_id) for kind_id in kind_ids), reverse=True)


def _newest_of(session: Session, kind_id: int) -> Iterator[tuple[int, int]]:
    before, count = ID_MAX, FIRST_PAGE
    while True:
        asked = {"kind_id": kind_id, "before": before, "count": count}
        ids = session.scalars(_in_kind(), asked).all()
        yield from ((case_id, kind_id) for case_id in ids)
        if len(ids) < count:
            return
        before, count = ids[-1], min(4 * count, PAGE_MAX)


def _asked_versions(session: Session, teacher_id: int) -> Iterator[tuple[str, str]]:
    """Give (prompt version, model) of a teacher's current opinions; two steps in an index for each.

    First the next model of the same version, then the next version: comparing both columns at once, SQLite
    would walk through all opinions of the version.
    """
    asked = {"teacher_id": teacher_id, "prompt_version": "", "model": ""}
    while True:
        row = session.execute(_next_model(), asked).first() or session.execute(_next_version(), asked).first()
        if row is None:
            return
        asked |= {"prompt_version": row.prompt_version, "model": row.model}
        yield row.prompt_version, row.model


def _count_asked(session: Session, teacher_id: int) -> int:
    return session.execute(_asked(), {"teacher_id": teacher_id}).scalar_one()


@cache
def _in_kind() -> sa.Select[int]:
    """Select the newest cases of a kind; ix_cases_kind holds all that is asked."""
    cases = table_of(Case).c
    kind_id, before, count = (sa.bindparam(name, type_=sa.Integer) for name in ("kind_id", "before", "count"))
    query = sa.select(cases.id).where(cases.kind_id == kind_id, cases.id < before)
    return query.order_by(cases.id.desc()).limit(count)


@cache
def _confidences() -> sa.Select[int, float | None]:
    """Select a teacher's confidence on some cases; uq_opinions_current finds each."""
    said = table_of(Opinion).c
    case_ids: sa.BindParameter[int] = sa.bindparam("case_ids", expanding=True)
    teacher_id = sa.bindparam("teacher_id", type_=sa.Integer)
    return sa.select(said.case_id, said.confidence).where(
        said.case_id.in_(case_ids), said.teacher_id == teacher_id, said.current
    )


@cache
def _is_asked() -> sa.ColumnElement[bool]:
    """Hold for a teacher's current opinions that it was asked for; all in ix_opinions_asked."""
    said = table_of(Opinion).c
    teacher_id = sa.bindparam("teacher_id", type_=sa.Integer)
    return sa.and_(said.current, said.model.is_not(None), said.teacher_id == teacher_id)


@cache
def _asked() -> sa.Select[int]:
    return sa.select(sa.func.count()).select_from(table_of(Opinion)).where(_is_asked())


@cache
def _next_model() -> sa.Select[str, str | None]:
    said = table_of(Opinion).c
    version, model = (sa.bindparam(name, type_=sa.String) for name in ("prompt_version", "model"))
    query = sa.select(said.prompt_version, said.model).where(_is_asked(), said.prompt_version == version)
    return query.where(said.model > model).order_by(said.model).limit(1)


@cache
def _next_version() -> sa.Select[str, str | None]:
    said = table_of(Opinion).c
    version = sa.bindparam("prompt_version", type_=sa.String)
    query = sa.select(said.prompt_version, said.model).where(_is_asked(), said.prompt_version > version)
    return query.order_by(said.prompt_version, said.model).limit(1)
