"""Read cases back whole: with their evidence, the current opinion of every teacher, and rulings.

`case_views` is for the page: these cases, now. `whole_cases` is for what reads them all, an export or
a snapshot: it streams, 500 cases in memory at a time, and everything it gives is of one moment,
because one transaction holds it. Rows come as they are stored, past the types that SQLAlchemy would
look up for each of some ten million values.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from db.base import table_of
from db.models import Annotator, Case, Evidence, Kind, Opinion, Ruling, Teacher, is_current
from db.vocabulary import Answer, Element, EvidenceKind, Split, TeacherKind, Verdict

if TYPE_CHECKING:
    from db.cases import NewEvidence

Row = sa.Row[*tuple[Any, ...]]

BATCH: Final = 500  # cases looked up in one statement; SQLite takes at most 32,766 parameters
RECORDED: Final = "recorded"  # the version of opinions that nobody here asked for
_ANSWERS: Final = {answer.value: answer for answer in Answer}
_VERDICTS: Final[dict[str | None, Verdict]] = {verdict.value: verdict for verdict in Verdict}
_ELEMENTS: Final[dict[str, Element]] = {element.value: element for element in Element}
_TEACHER_KINDS: Final = {kind.value: kind for kind in TeacherKind}
_SPLITS: Final = {split.value: split for split in Split}


class UnknownCaseError(LookupError):
    """Raised when there is no case with the id asked for."""


class OpinionView(NamedTuple):
    """A current opinion, with who gave it."""

    id: int
    teacher: str
    teacher_kind: TeacherKind
    verdict: Answer
    confidence: float | None
    rationale: str
    elements: tuple[Element, ...] | None = None  # what does not fit; None where the teacher was not asked
    prompt_version: str = RECORDED
    model: str | None = None  # that was asked; None for what was recorded or scripted


class CaseView(NamedTuple):
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
    note: str | None
    evidence: "tuple[NewEvidence, ...]"
    opinions: tuple[OpinionView, ...]


@dataclass(frozen=True)
class RulingView:
    """A current ruling, with who gave it and what the opinion says that it picked as best."""

    id: int
    annotator_id: int
    annotator: str
    verdict: Answer
    rationale: str | None  # the annotator's own, or an edited one
    picked_teacher: str | None
    picked_verdict: Answer | None
    picked_rationale: str | None
    note: str
    flagged: bool
    seconds: float
    rushed: bool
    settles: bool  # as an adjudicator
    created_at: datetime
    elements: tuple[Element, ...]


class GivenAnswer(NamedTuple):
    """What somebody currently says of a case."""

    annotator_id: int
    annotator: str
    verdict: Answer
    settles: bool  # as an adjudicator


class WholeCase(NamedTuple):
    """A case with the rulings on it, oldest first, and the human verdict if it is settled."""

    view: CaseView
    settled: Verdict | None
    shares_held_out: bool  # its group or picture is a held-out case's, too; worked out where asked for
    rulings: tuple[RulingView, ...]


@dataclass(frozen=True)
class Selection:
    """Which cases are read; all of them by default."""

    split: Split | None = None
    dataset: str | None = None
    settled: bool = False  # settled ones only
    with_image: bool = False  # those with a picture only


def case_view(session: Session, case_id: int) -> CaseView:
    """Return the case whole. Raises UnknownCaseError where there is none."""
    return case_views(session, [case_id])[0]


def case_views(session: Session, case_ids: Sequence[int]) -> list[CaseView]:
    """Return the cases whole, in the order asked for. Raises UnknownCaseError for an id without a case."""
    views: dict[int, CaseView] = {}
    for start in range(0, len(case_ids), BATCH):
        rows = session.execute(_CASES, {"case_ids": case_ids[start : start + BATCH]}).all()
        views.update((view.id, view) for view in _views(session, rows))
    for case_id in case_ids:
        if case_id not in views:
            raise UnknownCaseError(f"There is no case {case_id} on this desk; it may belong to another one.")
    return [views[case_id] for case_id in case_ids]


def count_cases(session: Session, selection: Selection) -> int:
    """Count the cases selected."""
    return session.scalar(_selected(selection, sa.func.count())) or 0


def whole_cases(session: Session, selection: Selection, *, sharing: bool = False) -> Iterator[WholeCase]:
    """Read the cases selected in the order they were added, all as they are when the first is read.

    With `sharing`, training cases are told apart that share a group or picture with a held-out case
    by which students are measured: one with a picture and a gold verdict.
    """
    groups, images = _held_out_groups(), _held_out_images()
    shares = sa.or_(groups.c.name.is_not(None), images.c.sha256.is_not(None)) if sharing else sa.false()
    query = _selected(selection, *_CASE, _raw(_KIND.human), shares).order_by(_TABLE.id)
    if sharing:  # one join for all cases, no look-up for each
        own_group = sa.func.coalesce(_TABLE.group_key, _TABLE.external_id)
        query = query.outerjoin(
            groups, sa.and_(groups.c.dataset == _TABLE.dataset, groups.c.name == own_group)
        ).outerjoin(images, images.c.sha256 == _TABLE.image_sha256)
    for rows in session.execute(query.execution_options(yield_per=BATCH)).partitions():
        rulings = rulings_on(session, [row[0] for row in rows])
        for row, view in zip(rows, _views(session, rows), strict=True):
            *_, human, is_shared = row
            yield WholeCase(view, _VERDICTS.get(human), bool(is_shared), tuple(rulings.get(view.id, ())))


def _views(session: Session, rows: Sequence[Row]) -> Iterator[CaseView]:
    """Add to rows that begin as `_CASE` what belongs to them."""
    asked = {"case_ids": [row[0] for row in rows]}
    evidence, opinions = _evidence(session, asked), _opinions(session, asked)
    for row in rows:
        id_, dataset, external_id, caption, image_sha256, gold, split = row[:7]
        group, source, url, date, place, note = row[7 : len(_CASE)]
        yield CaseView(
            id_,
            dataset,
            external_id,
            caption,
            image_sha256,
            _VERDICTS.get(gold),
            _SPLITS[split],
            group,
            source,
            url,
            date,
            place,
            note,
            tuple(evidence.get(id_, ())),
            tuple(opinions[id_]),
        )


def _evidence(session: Session, asked: dict[str, Any]) -> "dict[int, list[NewEvidence]]":
    from db.cases import NewEvidence  # at the top it would be a circle: cases, queue, views, cases

    found: dict[int, list[NewEvidence]] = {}
    for case_id, kind, *texts in session.execute(_EVIDENCE, asked):
        found.setdefault(case_id, []).append(NewEvidence(EvidenceKind(kind), *texts))
    return found


def _opinions(session: Session, asked: dict[str, Any]) -> dict[int, list[OpinionView]]:
    found: dict[int, list[OpinionView]] = {case_id: [] for case_id in asked["case_ids"]}
    rows = session.execute(_OPINIONS, asked).all()
    for case_id, id_, teacher, kind, verdict, confidence, rationale, elements, version, model in rows:
        view = OpinionView(
            id_,
            teacher,
            _TEACHER_KINDS[kind],
            _ANSWERS[verdict],
            confidence,
            rationale,
            None if elements is None else _elements(elements),
            version,
            model,
        )
        found[case_id].append(view)
    return found


def opinion_ids(session: Session, case_id: int) -> list[int]:
    """Return the ids of the current opinions on a case."""
    return list(session.scalars(_OPINION_IDS, {"case_id": case_id}))


def answers_on(session: Session, case_ids: Sequence[int]) -> dict[int, list[GivenAnswer]]:
    """Return who currently says what of cases, by case id, oldest first: sooner than `rulings_on`."""
    found: dict[int, list[GivenAnswer]] = {}
    for case_id, annotator_id, name, verdict, settles in session.execute(
        _answers(), {"case_ids": list(case_ids)}
    ):
        found.setdefault(case_id, []).append(GivenAnswer(annotator_id, name, _ANSWERS[verdict], settles))
    return found


def rulings_on(session: Session, case_ids: Sequence[int]) -> dict[int, list[RulingView]]:
    """Return the current rulings on cases, by case id, oldest first."""
    found: dict[int, list[RulingView]] = {}
    for row in session.execute(_current_rulings(), {"case_ids": case_ids}):
        said = dict(row._mapping)
        elements = tuple(Element(element) for element in said["elements"])
        found.setdefault(said.pop("case_id"), []).append(RulingView(**{**said, "elements": elements}))
    return found


def _elements(stored: Iterable[str]) -> tuple[Element, ...]:
    return tuple(_ELEMENTS[element] for element in stored)


def _selected(selection: Selection, *columns: Any) -> sa.Select[*tuple[Any, ...]]:
    cases, kinds = table_of(Case), table_of(Kind)
    query = sa.select(*columns).select_from(cases).outerjoin(kinds, _KIND.id == _TABLE.kind_id)
    if selection.split is not None:
        query = query.where(_TABLE.split == selection.split)
    if selection.dataset is not None:
        query = query.where(_TABLE.dataset == selection.dataset)
    if selection.settled:
        query = query.where(_raw(_KIND.human).in_(list(Verdict)))
    if selection.with_image:
        query = query.where(_TABLE.image_sha256.is_not(None))
    return query


def _raw(column: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """Read a word of the vocabulary as the text it is stored as."""
    return sa.type_coerce(column, sa.String)


_TABLE: Final = table_of(Case).c
_KIND: Final = table_of(Kind).c
_FOUND: Final = table_of(Evidence).c
_SAID: Final = table_of(Opinion).c
_TEACHER: Final = table_of(Teacher).c
_ASKED: Final[sa.BindParameter[int]] = sa.bindparam("case_ids", expanding=True)

_CASE: Final = (
    _TABLE.id,
    _TABLE.dataset,
    _TABLE.external_id,
    _TABLE.caption,
    _TABLE.image_sha256,
    _raw(_TABLE.gold),
    _raw(_TABLE.split),
    _TABLE.group_key,
    _TABLE.source,
    _TABLE.url,
    _TABLE.date,
    _TABLE.place,
    _TABLE.note,
)
_OPINION_IDS: Final = sa.select(_SAID.id).where(_SAID.case_id == sa.bindparam("case_id"), _SAID.current)
_CASES: Final = sa.select(*_CASE).where(_TABLE.id.in_(_ASKED))
_EVIDENCE: Final = (
    sa.select(_FOUND.case_id, _raw(_FOUND.kind), _FOUND.title, _FOUND.url, _FOUND.date, _FOUND.text)
    .where(_FOUND.case_id.in_(_ASKED))
    .order_by(_FOUND.id)
)
_OPINIONS: Final = (
    sa.select(_SAID.case_id, _SAID.id, _TEACHER.name, _raw(_TEACHER.kind))
    .add_columns(_raw(_SAID.verdict), _SAID.confidence, _SAID.rationale, _SAID.elements)
    .add_columns(_SAID.prompt_version, _SAID.model)
    .join(table_of(Teacher), _TEACHER.id == _SAID.teacher_id)
    .where(_SAID.case_id.in_(_ASKED), _SAID.current)
    .order_by(_SAID.case_id, _SAID.teacher_id)
)


@cache
def _answers() -> sa.Select[*tuple[Any, ...]]:
    ruling, people = table_of(Ruling), table_of(Annotator)
    return (
        sa.select(ruling.c.case_id, ruling.c.annotator_id, people.c.name, _raw(ruling.c.verdict))
        .add_columns(ruling.c.settles)
        .join_from(ruling, people, people.c.id == ruling.c.annotator_id)
        .where(ruling.c.case_id.in_(_ASKED), is_current())
        .order_by(ruling.c.id)
    )


@cache
def _current_rulings() -> sa.Select[*tuple[Any, ...]]:
    """Select the case's id and the fields of RulingView under their names."""
    named = {
        "annotator": Annotator.name,
        "picked_teacher": Teacher.name,
        "picked_verdict": Opinion.verdict,
        "picked_rationale": Opinion.rationale,
    }
    own = [field.name for field in fields(RulingView) if field.name not in named]
    return (
        sa.select(Ruling.case_id, *(getattr(Ruling, name) for name in own))
        .add_columns(*(column.label(name) for name, column in named.items()))
        .join(Annotator, Annotator.id == Ruling.annotator_id)
        .outerjoin(Opinion, Opinion.id == Ruling.opinion_id)
        .outerjoin(Teacher, Teacher.id == Opinion.teacher_id)
        .where(Ruling.case_id.in_(_ASKED), is_current())
        .order_by(Ruling.id)
    )


def _measures(held_out: type[Case]) -> sa.ColumnElement[bool]:
    return sa.and_(
        held_out.split != Split.TRAIN, held_out.gold.is_not(None), held_out.image_sha256.is_not(None)
    )


@cache
def _held_out_groups() -> sa.Subquery:
    held_out = aliased(Case)
    name = sa.func.coalesce(held_out.group_key, held_out.external_id).label("name")
    return sa.select(held_out.dataset, name).where(_measures(held_out)).distinct().subquery()


@cache
def _held_out_images() -> sa.Subquery:
    held_out = aliased(Case)
    sha256 = held_out.image_sha256.label("sha256")
    return sa.select(sha256).where(_measures(held_out)).distinct().subquery()
