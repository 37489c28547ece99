"""Read cases back whole: with their evidence and the current opinion of every teacher."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.cases import NewEvidence
from db.models import Case, Evidence, Opinion, Teacher
from db.vocabulary import Answer, Split, TeacherKind, Verdict

T = TypeVar("T")
Row = sa.Row[*tuple[Any, ...]]

BATCH = 500  # cases looked up in one statement; SQLite takes at most 32,766 parameters
_AS_GIVEN = ("external_id", "caption", "gold", "split", "source", "url", "date", "place")


class UnknownCaseError(LookupError):
    """Raised when there is no case with the id asked for."""


@dataclass(frozen=True)
class OpinionView:
    """A current opinion, with who gave it."""

    id: int
    teacher: str
    teacher_kind: TeacherKind
    verdict: Answer
    confidence: float | None
    rationale: str


@dataclass(frozen=True)
class CaseView:
    """A case with its evidence and current opinions, the latter in the order the teachers came."""

    id: int
    dataset: str
    external_id: str
    caption: str
    image_sha256: str | None
    gold: Verdict | None
    split: Split
    group: str | None
    source: str | None
    url: str | None
    date: str | None
    place: str | None
    evidence: tuple[NewEvidence, ...]
    opinions: tuple[OpinionView, ...]


def case_view(session: Session, case_id: int) -> CaseView:
    """Return the case whole. Raises UnknownCaseError where there is none."""
    return case_views(session, [case_id])[0]


def case_views(session: Session, case_ids: Sequence[int]) -> list[CaseView]:
    """Return the cases whole, in the order asked for. Raises UnknownCaseError for an id without a case."""
    views: dict[int, CaseView] = {}
    for start in range(0, len(case_ids), BATCH):
        views.update(_load_views(session, case_ids[start : start + BATCH]))
    for case_id in case_ids:
        if case_id not in views:
            raise UnknownCaseError(f"There is no case {case_id} on this desk; it may belong to another one.")
    return [views[case_id] for case_id in case_ids]


def _load_views(session: Session, case_ids: Sequence[int]) -> dict[int, CaseView]:
    evidence = _by_case(
        session.execute(
            sa.select(Evidence.__table__).where(Evidence.case_id.in_(case_ids)).order_by(Evidence.id)
        ),
        lambda row: NewEvidence(row.kind, row.title, row.url, row.date, row.text),
    )
    opinions = _by_case(
        session.execute(
            sa.select(Opinion.__table__, Teacher.name, Teacher.kind)
            .join(Teacher)
            .where(Opinion.case_id.in_(case_ids), Opinion.current)
            .order_by(Teacher.id)
        ),
        lambda row: OpinionView(row.id, row.name, row.kind, row.verdict, row.confidence, row.rationale),
    )
    columns = [getattr(Case, column) for column in (*_AS_GIVEN, "id", "dataset", "image_sha256")]
    query = sa.select(*columns, Case.group_key.label("group")).where(Case.id.in_(case_ids))
    return {
        row.id: CaseView(
            **row._mapping, evidence=tuple(evidence.get(row.id, ())), opinions=tuple(opinions.get(row.id, ()))
        )
        for row in session.execute(query)
    }


def _by_case(rows: Iterable[Row], view: Callable[[Row], T]) -> dict[int, list[T]]:
    views: dict[int, list[T]] = {}
    for row in rows:
        views.setdefault(row.case_id, []).append(view(row))
    return views
