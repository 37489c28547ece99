"""Put cases with their opinions on the desk.

An import is idempotent: what is there already is left alone, a changed opinion becomes a new
version of it, and what an earlier import lacked (a picture, a gold verdict, a source ...) is filled
in. A caption never changes under rulings that were made on it: give the case another id instead.
Everything derived from cases and opinions (`derived.py`) is right when the transaction commits.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db import kinds, queue, texts
from db.bulk import insert_all, insert_missing, new_ids, stored
from db.derived import restanding, strata_of
from db.models import Case, Event, Evidence, Image, Opinion, Teacher
from db.standing import Standing
from db.vocabulary import Answer, Element, EvidenceKind, Split, TeacherKind, Verdict

Row = sa.Row[*tuple[Any, ...]]

BATCH: Final = 500  # cases looked up in one statement; SQLite takes at most 32,766 parameters
_FILLED_IN: Final = ("gold", "group", "source", "url", "date", "place", "note")  # where an import lacked them
_OPINIONS_AT_ONCE: Final = 50  # rows of one statement
_NO_ELEMENTS: Final = frozenset[str]()
_TEXTS: Final = {"source", "place"}  # those of them that are searched


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


@dataclass(slots=True)
class NewOpinion:
    """One teacher's opinion as an importer or a teacher's run gives it."""

    teacher: str
    verdict: Answer
    rationale: str = ""
    confidence: float | None = None  # 0 to 1
    elements: tuple[Element, ...] | None = None  # what does not fit; None where the teacher was not asked


@dataclass(slots=True)
class NewCase:
    """A case as an importer found it; without an image it is kept but never trained on.

    Not frozen, as `NewOpinion` is not: an import of a million cases makes four million of them, and a
    frozen one takes three times as long to make.
    """

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
    note: str | None = None  # for people; never shown to a model
    evidence: tuple[NewEvidence, ...] = ()
    opinions: tuple[NewOpinion, ...] = ()


@dataclass(frozen=True)
class Added:
    """What `add_cases` changed. `differing` cases are there with another caption, image, split or fact."""

    cases: int = 0
    opinions: int = 0  # new ones and new versions
    completed: int = 0  # got an image, a gold verdict or another fact they lacked
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


@dataclass(frozen=True)
class OpinionsAdded:
    """What `add_opinions` did."""

    added: int = 0  # new ones and new versions
    unchanged: int = 0
    unknown: tuple[str, ...] = ()  # ids that no case of the data set has


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


def add_opinions(
    session: Session,
    dataset: str,
    opinions: Mapping[str, NewOpinion],
    *,
    prompt_version: str = "recorded",
    teacher_kind: TeacherKind = TeacherKind.RECORDED,
    now: datetime | None = None,
) -> OpinionsAdded:
    """Add what a teacher said of cases that are on the desk, by their external ids. Wants a write session."""
    now = now or datetime.now(UTC)
    teachers = teacher_ids(session, {opinion.teacher for opinion in opinions.values()}, teacher_kind)
    added, ids = 0, dict[str, int]()
    external_ids = sorted(opinions)
    for start in range(0, len(external_ids), BATCH):
        found = _find(session, dataset, external_ids[start : start + BATCH])
        said = {
            (row.id, teachers[opinions[key].teacher]): opinions[key]
            for key, row in found.items()
            if opinions[key].teacher in teachers
        }
        fresh = _fresh(session, said, prompt_version)
        _change(session, {case_id for case_id, _ in fresh}, {}, fresh, prompt_version, now)
        ids.update({key: row.id for key, row in found.items()})
        added += len(fresh)
    if added:
        detail = {"dataset": dataset, "opinions": added}
        session.execute(sa.insert(Event), {"at": now, "action": "add_opinions", "detail": detail})
    return OpinionsAdded(added, len(ids) - added, tuple(key for key in external_ids if key not in ids))


def say(
    session: Session, case_id: int, teacher_id: int, opinion: NewOpinion, prompt_version: str, now: datetime
) -> None:
    """Let a teacher say something else of a case than before, and all that follows. Wants a write session."""
    _change(session, [case_id], {}, {(case_id, teacher_id): opinion}, prompt_version, now)


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
    images = {record.image.sha256: vars(record.image) for record in batch.values() if record.image}
    insert_missing(session, Image, list(images.values()))
    known = _find(session, dataset, batch)
    named = {opinion.teacher for record in batch.values() for opinion in record.opinions}
    teachers = teacher_ids(session, named, teacher_kind)
    new = [record for key, record in batch.items() if key not in known]
    said = _add_new(session, dataset, new, teachers, now)
    repeated = {
        (known[key].id, teachers[opinion.teacher]): opinion
        for key, record in batch.items()
        if key in known
        for opinion in record.opinions
        if opinion.teacher in teachers
    }
    fresh = _fresh(session, repeated, "recorded") if repeated else {}
    missing = {row.id: facts for key, row in known.items() if (facts := _missing(row, batch[key]))}
    touched = missing.keys() | {case_id for case_id, _ in fresh}
    _change(session, touched, missing, fresh, "recorded", now)
    differing = {row.id for key, row in known.items() if _differs(row, batch[key])}
    unchanged = len({row.id for row in known.values()} - touched - differing)
    return Added(len(new), said + len(fresh), len(missing), unchanged, len(differing))


def _add_new(
    session: Session, dataset: str, new: Sequence[NewCase], teachers: Mapping[str, int], now: datetime
) -> int:
    """Add cases that are not there with all that belongs to them; return how many opinions they have."""
    if not new:
        return 0
    ids = new_ids(session, Case, len(new))
    said = [
        {teachers[opinion.teacher]: opinion for opinion in record.opinions if opinion.teacher in teachers}
        for record in new
    ]
    stand = [_new_standing(*one) for one in zip(ids, new, said, strict=True)]
    kind_ids = kinds.kind_ids(session, {one.traits for one in stand})
    created_at = stored(session, Case.created_at, now)
    rows = [
        (
            case_id, dataset, record.external_id, record.image.sha256 if record.image else None,
            record.caption, record.gold, record.split, record.group, record.source, record.url, record.date,
            record.place, record.note, kind_ids[one.traits], created_at,
        )
        for case_id, record, one in zip(ids, new, stand, strict=True)
    ]  # fmt: skip
    insert_all(session, Case, _CASE, rows)
    found = [
        (case_id, one.kind, one.title, one.url, one.date, one.text)
        for case_id, record in zip(ids, new, strict=True)
        for one in record.evidence
    ]
    insert_all(session, Evidence, ("case_id", "kind", "title", "url", "date", "text"), found)
    opinions = {(case_id, who): one for case_id, by in zip(ids, said, strict=True) for who, one in by.items()}
    _insert_opinions(session, opinions, "recorded", now)
    texts.index(
        session,
        [(case_id, (one.caption, one.place, one.source)) for case_id, one in zip(ids, new, strict=True)],
    )
    kinds.count_kinds(session, Counter(kind_ids[one.traits] for one in stand))
    kinds.count_strata(session, strata_of(stand))
    queue.place(session, stand, now)
    return len(opinions)


_CASE: Final = (
    "id", "dataset", "external_id", "image_sha256", "caption", "gold", "split", "group_key", "source", "url",
    "date", "place", "note", "kind_id", "created_at",
)  # fmt: skip


def _new_standing(case_id: int, record: NewCase, said: Mapping[int, NewOpinion]) -> Standing:
    pattern = kinds.pattern_of({teacher: opinion.verdict for teacher, opinion in said.items()})
    traits = kinds.Traits(record.split, record.image is not None, record.gold or "", pattern)
    named = [opinion.elements for opinion in said.values() if opinion.elements]
    return Standing(case_id, traits, record.source, frozenset().union(*named) if named else _NO_ELEMENTS)


def _change(
    session: Session,
    case_ids: Iterable[int],
    missing: Mapping[int, dict[str, Any]],
    fresh: Mapping[tuple[int, int], NewOpinion],
    prompt_version: str,
    now: datetime,
) -> None:
    """Fill in facts and add new versions of opinions, and all that follows for these cases."""
    changed = sorted(case_ids)
    if not changed:
        return
    with restanding(session, changed, now):
        for case_id, facts in missing.items():
            _fill_in(session, case_id, facts)
        if fresh:
            superseded = sa.tuple_(Opinion.case_id, Opinion.teacher_id).in_(list(fresh))
            session.execute(
                sa.update(Opinion).where(superseded, Opinion.current).values(current=False),
                execution_options={"synchronize_session": False},
            )
            _insert_opinions(session, fresh, prompt_version, now)


def _fill_in(session: Session, case_id: int, facts: dict[str, Any]) -> None:
    query = sa.select(Case.caption, Case.place, Case.source).where(Case.id == case_id)
    before = tuple(session.execute(query).one())
    session.execute(
        sa.update(Case).where(Case.id == case_id).values(facts),
        execution_options={"synchronize_session": False},
    )
    if _TEXTS & facts.keys():
        texts.index_again(session, case_id, before, tuple(session.execute(query).one()))


def _fresh(
    session: Session, said: Mapping[tuple[int, int], NewOpinion], prompt_version: str
) -> dict[tuple[int, int], NewOpinion]:
    """Return the opinions, by case and teacher, that are not on the desk as they are."""
    said_now = (
        Opinion.verdict,
        Opinion.confidence,
        Opinion.rationale,
        Opinion.elements,
        Opinion.prompt_version,
    )
    query = sa.select(Opinion.case_id, Opinion.teacher_id, *said_now).where(
        Opinion.current, Opinion.case_id.in_(sorted({case_id for case_id, _ in said}))
    )
    known = {
        (case_id, teacher_id): (verdict, confidence, rationale, elements and tuple(elements), version)
        for case_id, teacher_id, verdict, confidence, rationale, elements, version in session.execute(query)
    }
    return {
        key: one
        for key, one in said.items()
        if known.get(key)
        != (one.verdict, one.confidence, one.rationale, one.elements or None, prompt_version)
    }


def _insert_opinions(
    session: Session, said: Mapping[tuple[int, int], NewOpinion], prompt_version: str, now: datetime
) -> None:
    created_at = stored(session, Opinion.created_at, now)
    named = {one.elements for one in said.values() if one.elements}
    elements = {names: stored(session, Opinion.elements, list(names)) for names in named}
    rows = [
        (
            case_id, teacher_id, prompt_version, one.verdict, one.confidence, one.rationale,
            elements[one.elements] if one.elements else None, True, created_at,
        )
        for (case_id, teacher_id), one in said.items()
    ]  # fmt: skip
    columns = ("case_id", "teacher_id", "prompt_version", "verdict", "confidence", "rationale")
    insert_all(session, Opinion, (*columns, "elements", "current", "created_at"), rows, _OPINIONS_AT_ONCE)


def _find(session: Session, dataset: str, external_ids: Iterable[str]) -> dict[str, Row]:
    columns = (
        Case.id, Case.external_id, Case.caption, Case.image_sha256, Case.gold, Case.split,
        Case.group_key.label("group"), Case.source, Case.url, Case.date, Case.place, Case.note,
    )  # fmt: skip
    query = sa.select(*columns).where(Case.dataset == dataset, Case.external_id.in_(list(external_ids)))
    return {row.external_id: row for row in session.execute(query)}


def teacher_ids(session: Session, names: set[str], kind: TeacherKind) -> dict[str, int]:
    """Return the ids of the teachers, adding those not met before in the order of their names.

    Retired ones are left out: what a file says again in their name does not make them count again.
    """
    if not names:
        return {}
    query = sa.select(Teacher.name, Teacher.id).where(Teacher.name.in_(sorted(names)), Teacher.active)
    known = {name: id_ for name, id_ in session.execute(query)}
    new = [{"name": name, "kind": kind} for name in sorted(names - known.keys())]
    insert_missing(session, Teacher, new)
    return {name: id_ for name, id_ in session.execute(query)} if new else known


def _missing(row: Row, record: NewCase) -> dict[str, Any]:
    """Return what the case on the desk lacks and the record has, by column."""
    facts = {
        "group_key" if name == "group" else name: getattr(record, name)
        for name in _FILLED_IN
        if getattr(row, name) is None and getattr(record, name) is not None
    }
    if row.image_sha256 is None and record.image:
        facts["image_sha256"] = record.image.sha256
    return facts


def _differs(row: Row, record: NewCase) -> bool:
    """Tell whether the case on the desk has a fact that the record has otherwise."""
    if (row.caption, row.split) != (record.caption, record.split):
        return True
    if row.image_sha256 and record.image and row.image_sha256 != record.image.sha256:
        return True
    pairs = ((getattr(row, name), getattr(record, name)) for name in _FILLED_IN)
    return any(None not in pair and pair[0] != pair[1] for pair in pairs)
