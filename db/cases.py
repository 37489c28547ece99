"""Put cases with their opinions on the desk, and read them back whole.

An import is idempotent: what is there already is left alone, a changed opinion becomes a new
version of it, and a picture or gold verdict that an earlier import lacked is filled in. A caption
never changes under rulings that were made on it: give the case another id instead.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.models import Base, Case, Event, Evidence, Image, Opinion, Teacher
from db.vocabulary import Answer, EvidenceKind, Split, TeacherKind, Verdict

T = TypeVar("T")
Row = sa.Row[*tuple[Any, ...]]

_AS_GIVEN = ("external_id", "caption", "gold", "split", "source", "url", "date", "place")
BATCH = 500  # cases looked up in one statement; SQLite takes at most 32,766 parameters


@dataclass(frozen=True)
class NewImage:
    """A picture that the image door has stored."""

    sha256: str
    format: str
    width: int
    height: int
    byte_size: int


@dataclass(frozen=True)
class NewEvidence:
    """Evidence as an importer found it."""

    kind: EvidenceKind
    title: str | None = None
    url: str | None = None
    date: str | None = None
    text: str | None = None


@dataclass(frozen=True)
class NewOpinion:
    """One teacher's opinion as an importer or a teacher's run gives it."""

    teacher: str
    verdict: Answer
    rationale: str = ""
    confidence: float | None = None  # 0 to 1


@dataclass(frozen=True)
class NewCase:
    """A case as an importer found it; without an image it is kept but never trained on."""

    external_id: str
    caption: str
    image: NewImage | None = None
    gold: Verdict | None = None
    split: Split = Split.TRAIN
    group: str | None = None
    source: str | None = None
    url: str | None = None
    date: str | None = None
    place: str | None = None
    evidence: tuple[NewEvidence, ...] = ()
    opinions: tuple[NewOpinion, ...] = ()


@dataclass(frozen=True)
class Added:
    """What `add_cases` changed. `differing` cases are there with another caption, image or gold."""

    cases: int = 0
    opinions: int = 0  # new ones and new versions
    completed: int = 0  # got the image or gold verdict they lacked
    unchanged: int = 0  # nothing about them was new
    differing: int = 0  # left as they were

    def __add__(self, other: "Added") -> "Added":
        return Added(
            self.cases + other.cases,
            self.opinions + other.opinions,
            self.completed + other.completed,
            self.unchanged + other.unchanged,
            self.differing + other.differing,
        )


def add_cases(
    session: Session,
    dataset: str,
    records: Sequence[NewCase],
    *,
    teacher_kind: TeacherKind = TeacherKind.RECORDED,
    now: datetime | None = None,
) -> Added:
    """Add what is new in `records`; of two records with one id the later one counts as a re-import.

    Teachers met for the first time are added with `teacher_kind`. Wants a write session.
    """
    now = now or datetime.now(UTC)
    added = sum(
        (_add_batch(session, dataset, batch, teacher_kind, now) for batch in _batches(records)), Added()
    )
    if added.cases or added.opinions or added.completed:
        detail = {"dataset": dataset, "cases": added.cases, "opinions": added.opinions}
        session.execute(sa.insert(Event), {"at": now, "action": "add_cases", "detail": detail})
    return added


def opinion_counts(case_id: int | None = None) -> sa.Subquery:
    """Count each case's current opinions: `case_id`, `opinions`, `in_context`, `out_of_context`."""
    query = (
        sa.select(
            Opinion.case_id,
            sa.func.count().label("opinions"),
            _count_of(Answer.IN_CONTEXT).label("in_context"),
            _count_of(Answer.OUT_OF_CONTEXT).label("out_of_context"),
        )
        .where(Opinion.current)
        .group_by(Opinion.case_id)
    )
    if case_id is not None:
        query = query.where(Opinion.case_id == case_id)
    return query.subquery("counts")


def agree(counts: sa.Subquery) -> sa.ColumnElement[bool]:
    """Hold where all opinions of `opinion_counts` carry one verdict; `unsure` carries none."""
    columns = counts.c
    return sa.or_(columns.opinions == columns.in_context, columns.opinions == columns.out_of_context)


def _count_of(answer: Answer) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((Opinion.verdict == answer, 1), else_=0))


def _batches(records: Iterable[NewCase]) -> Iterator[dict[str, NewCase]]:
    """Cut `records` into batches by id; a repeated id opens a new batch, so that it meets the first."""
    batch: dict[str, NewCase] = {}
    for record in records:
        if len(batch) == BATCH or record.external_id in batch:
            yield batch
            batch = {}
        batch[record.external_id] = record
    if batch:
        yield batch


def _add_batch(
    session: Session, dataset: str, batch: dict[str, NewCase], teacher_kind: TeacherKind, now: datetime
) -> Added:
    _add_images(session, [record.image for record in batch.values() if record.image])
    known = _find(session, dataset, batch)
    new = [record for key, record in batch.items() if key not in known]
    _insert(session, Case, [_case_row(dataset, record, now) for record in new])
    ids = {key: row.id for key, row in (_find(session, dataset, batch) if new else known).items()}
    _insert(
        session,
        Evidence,
        [{"case_id": ids[record.external_id], **vars(found)} for record in new for found in record.evidence],
    )
    said = {
        (ids[key], opinion.teacher): opinion for key, record in batch.items() for opinion in record.opinions
    }
    fresh = _add_opinions(session, said, teacher_kind, now)
    completed = {key for key, row in known.items() if _complete(session, row, batch[key])}
    differing = {key for key, row in known.items() if _differs(row, batch[key])}
    touched = completed | differing | {key for key in known if ids[key] in set(fresh)}
    return Added(len(new), len(fresh), len(completed), len(known.keys() - touched), len(differing))


def _add_images(session: Session, images: list[NewImage]) -> None:
    new = {image.sha256: image for image in images}
    for sha256 in session.scalars(sa.select(Image.sha256).where(Image.sha256.in_(list(new)))).all():
        del new[sha256]
    _insert(session, Image, [vars(image) for image in new.values()])


def _find(session: Session, dataset: str, external_ids: Iterable[str]) -> dict[str, Row]:
    columns = (Case.id, Case.external_id, Case.caption, Case.image_sha256, Case.gold)
    query = sa.select(*columns).where(Case.dataset == dataset, Case.external_id.in_(list(external_ids)))
    return {row.external_id: row for row in session.execute(query)}


def _case_row(dataset: str, record: NewCase, now: datetime) -> dict[str, Any]:
    row = {column: getattr(record, column) for column in _AS_GIVEN}
    sha256 = record.image.sha256 if record.image else None
    return {**row, "dataset": dataset, "image_sha256": sha256, "group_key": record.group, "created_at": now}


def _add_opinions(
    session: Session, said: dict[tuple[int, str], NewOpinion], kind: TeacherKind, now: datetime
) -> list[int]:
    """Add what a teacher says anew or otherwise than before; return the case id of each opinion added."""
    teachers = _teacher_ids(session, {teacher for _, teacher in said}, kind)
    known = _current_opinions(session, {case_id for case_id, _ in said})
    rows: list[dict[str, Any]] = [
        {
            "case_id": case_id,
            "teacher_id": teachers[teacher],
            "verdict": opinion.verdict,
            "confidence": opinion.confidence,
            "rationale": opinion.rationale,
            "created_at": now,
        }
        for (case_id, teacher), opinion in said.items()
        if _says(known.get((case_id, teachers[teacher])))
        != (opinion.verdict, opinion.confidence, opinion.rationale)
    ]
    old = [known[place].id for row in rows if (place := (row["case_id"], row["teacher_id"])) in known]
    if old:
        session.execute(sa.update(Opinion).where(Opinion.id.in_(old)).values(current=False))
    _insert(session, Opinion, rows)
    return [row["case_id"] for row in rows]


def _current_opinions(session: Session, case_ids: Iterable[int]) -> dict[tuple[int, int], Row]:
    columns = (Opinion.id, Opinion.case_id, Opinion.teacher_id, Opinion.verdict, Opinion.confidence)
    query = sa.select(*columns, Opinion.rationale).where(Opinion.current, Opinion.case_id.in_(list(case_ids)))
    return {(row.case_id, row.teacher_id): row for row in session.execute(query)}


def _says(opinion: Row | None) -> tuple[Answer, float | None, str] | None:
    return (opinion.verdict, opinion.confidence, opinion.rationale) if opinion else None


def _teacher_ids(session: Session, names: set[str], kind: TeacherKind) -> dict[str, int]:
    """Return the ids of the teachers, adding those not met before in the order of their names."""
    query = sa.select(Teacher.name, Teacher.id).where(Teacher.name.in_(sorted(names)))
    known = {name: id_ for name, id_ in session.execute(query)}
    new = [{"name": name, "kind": kind} for name in sorted(names - known.keys())]
    _insert(session, Teacher, new)
    return {name: id_ for name, id_ in session.execute(query)} if new else known


def _complete(session: Session, row: Row, record: NewCase) -> bool:
    """Fill in the image or gold verdict that the case on the desk lacks; tell whether there was one."""
    missing: dict[str, Any] = {}
    if row.image_sha256 is None and record.image:
        missing["image_sha256"] = record.image.sha256
    if row.gold is None and record.gold:
        missing["gold"] = record.gold
    if missing:
        session.execute(sa.update(Case).where(Case.id == row.id).values(missing))
    return bool(missing)


def _differs(row: Row, record: NewCase) -> bool:
    if row.caption != record.caption:
        return True
    other_image = row.image_sha256 and record.image and row.image_sha256 != record.image.sha256
    return bool(other_image) or bool(row.gold and record.gold and row.gold != record.gold)


def _insert(session: Session, table: type[Base], rows: list[dict[str, Any]]) -> None:
    if rows:  # past the ORM, which would look at each of a million rows
        session.execute(sa.insert(table.metadata.tables[table.__tablename__]), rows)
