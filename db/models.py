"""The tables, with a named constraint for every rule the database can guard.

Five tables are insert-only: `rulings`, `returns`, `promotions`, `queue_rules` and `events`. Triggers made
by the migrations refuse an UPDATE or DELETE there, so undo and correction are new rows that supersede old
ones. For one case and one annotator the rulings form a single chain: only its first row supersedes nothing
(`uq_rulings_first`), each other row supersedes a row of the same case and annotator
(`fk_rulings_superseded`), and no row is superseded twice (`uq_rulings_supersedes_id`). The end of
the chain is the annotator's current ruling, unless its verdict is null: then it is withdrawn.

The tables of checks stand in `check_tables.py`, those of asking teachers in `teacher_tables.py`, the
derived ones in `derived_tables.py`. This module describes and does not act: `engine.py` opens and
migrates a database.
"""

from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, not_empty, one_of, table_of
from db.check_tables import Batch as Batch, BatchRow as BatchRow, Check as Check
from db.derived_tables import Bucket as Bucket, Kind as Kind, Queued as Queued, Stratum as Stratum
from db.teacher_tables import TeacherAnswer as TeacherAnswer, TeachRun as TeachRun
from db.vocabulary import (
    Answer,
    Cause,
    Element,
    EvidenceKind,
    QueueReason,
    Role,
    Split,
    TeacherKind,
    Verdict,
)

metadata = Base.metadata


class Image(Base):
    """One picture in the data folder, known by the SHA-256 of its original bytes."""

    __tablename__ = "images"
    __table_args__ = (
        sa.CheckConstraint("length(sha256) = 64", name="sha256_length"),
        sa.CheckConstraint("width > 0 AND height > 0 AND byte_size > 0", name="size"),
    )

    sha256: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    format: Mapped[str] = mapped_column(sa.String(20))
    width: Mapped[int]  # pixels, before orientation is applied
    height: Mapped[int]
    byte_size: Mapped[int]


class Case(Base):
    """An image with the caption it was found under; without an image it is kept but never trained on."""

    __tablename__ = "cases"
    __table_args__ = (
        sa.UniqueConstraint("dataset", "external_id"),
        not_empty("caption"),
        one_of("gold", Verdict),
        one_of("split", Split),
        sa.Index("ix_cases_kind", "kind_id", "id"),
        sa.Index("ix_cases_source", "source", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset: Mapped[str]
    external_id: Mapped[str]
    image_sha256: Mapped[str | None] = mapped_column(sa.ForeignKey("images.sha256"), index=True)
    caption: Mapped[str]
    gold: Mapped[Verdict | None]
    split: Mapped[Split]
    group_key: Mapped[str | None]  # "group" in files: cases that share a caption or an image
    source: Mapped[str | None]
    url: Mapped[str | None]
    date: Mapped[str | None]  # as claimed, in the source's own wording
    place: Mapped[str | None]
    note: Mapped[str | None]  # for people: which half of a pair it is; never shown to a model
    kind_id: Mapped[int | None] = mapped_column(sa.ForeignKey("kinds.id"))  # null only before it is counted
    created_at: Mapped[datetime]


class Evidence(Base):
    """Text found on the web with the image or the caption of a case."""

    __tablename__ = "evidence"
    __table_args__ = (one_of("kind", EvidenceKind),)

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(sa.ForeignKey("cases.id"), index=True)
    kind: Mapped[EvidenceKind]
    title: Mapped[str | None]
    url: Mapped[str | None]
    date: Mapped[str | None]
    text: Mapped[str | None]


class Teacher(Base):
    """A model whose opinions we learn from."""

    __tablename__ = "teachers"
    __table_args__ = (not_empty("name"), one_of("kind", TeacherKind))

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[TeacherKind]
    active: Mapped[bool] = mapped_column(default=True)  # retired: its opinions stay and do not count


class Opinion(Base):
    """What one teacher said of one case; a changed opinion is a new row and the old one is not current."""

    __tablename__ = "opinions"
    __table_args__ = (
        one_of("verdict", Answer),
        sa.CheckConstraint("confidence >= 0 AND confidence <= 1", name="confidence"),
        sa.Index(
            "uq_opinions_current",
            "case_id",
            "teacher_id",
            unique=True,
            sqlite_where=sa.text("current = 1"),
            postgresql_where=sa.text("current"),
        ),
        sa.Index(
            "ix_opinions_former",
            "case_id",
            sqlite_where=sa.text("current = 0"),
            postgresql_where=sa.text("NOT current"),
        ),
        sa.Index(
            "ix_opinions_asked",
            "teacher_id",
            "prompt_version",
            "model",
            "case_id",
            sqlite_where=sa.text("current = 1 AND model IS NOT NULL"),
            postgresql_where=sa.text("current AND model IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(sa.ForeignKey("cases.id"))
    teacher_id: Mapped[int] = mapped_column(sa.ForeignKey("teachers.id"))
    prompt_version: Mapped[str] = mapped_column(default="recorded")
    model: Mapped[str | None]  # that was asked; null for what was recorded or scripted
    verdict: Mapped[Answer]
    confidence: Mapped[float | None]  # 0 to 1
    rationale: Mapped[str]
    elements: Mapped[list[Element] | None]  # what does not fit; null where it was not asked
    current: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime]


class Annotator(Base):
    """A person who rules, or the demo's script standing in for one."""

    __tablename__ = "annotators"
    __table_args__ = (not_empty("name"), one_of("role", Role))

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    role: Mapped[Role]
    scripted: Mapped[bool] = mapped_column(default=False)
    active: Mapped[bool] = mapped_column(default=True)  # may sign in
    password_hash: Mapped[str | None]  # null: cannot sign in with a password


class QueueRule(Base):
    """How the queue is ordered and how many people a case gets; the newest row holds. Insert-only."""

    __tablename__ = "queue_rules"
    __table_args__ = (
        sa.CheckConstraint("second_opinions >= 0 AND second_opinions <= 1", name="second_opinions"),
        sa.CheckConstraint("audit_turns >= 0 AND audit_turns <= 1", name="audit_turns"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    split: Mapped[float]  # what an even split of the teachers is worth
    doubt: Mapped[float]  # what a student that cannot tell is worth
    rarity: Mapped[float]  # what the rarest sources and elements are worth
    second_opinions: Mapped[float]  # share of cases that two people rule on, 0 to 1
    audit_turns: Mapped[float]  # share of claims that look for an audit case first, 0 to 1
    annotator_id: Mapped[int | None] = mapped_column(sa.ForeignKey("annotators.id"))  # who set it
    created_at: Mapped[datetime]


class Audit(Base):
    """An agreed case drawn at random, with what its teachers said of it then."""

    __tablename__ = "audits"
    __table_args__ = (one_of("pseudo_label", Verdict),)

    case_id: Mapped[int] = mapped_column(sa.ForeignKey("cases.id"), primary_key=True)
    pseudo_label: Mapped[Verdict]
    drawn_at: Mapped[datetime]


class Request(Base):
    """A wish for a person's ruling that does not come from the teachers."""

    __tablename__ = "requests"
    __table_args__ = (
        one_of("why", QueueReason),
        sa.CheckConstraint("rulings_wanted >= 1", name="rulings_wanted"),
    )

    case_id: Mapped[int] = mapped_column(sa.ForeignKey("cases.id"), primary_key=True)
    why: Mapped[QueueReason]
    rulings_wanted: Mapped[int] = mapped_column(default=1)
    annotator_id: Mapped[int | None] = mapped_column(sa.ForeignKey("annotators.id"))  # who asks
    requested_at: Mapped[datetime]


class Skip(Base):
    """An annotator's wish not to see a case again today."""

    __tablename__ = "skips"

    case_id: Mapped[int] = mapped_column(sa.ForeignKey("cases.id"), primary_key=True)
    annotator_id: Mapped[int] = mapped_column(sa.ForeignKey("annotators.id"), primary_key=True)
    skipped_at: Mapped[datetime]


class Ruling(Base):
    """One annotator's answer to one case, or (verdict null) its withdrawal. Insert-only."""

    __tablename__ = "rulings"
    __table_args__ = (
        one_of("verdict", Answer),
        sa.CheckConstraint("length(submission_id) BETWEEN 1 AND 64", name="submission_id_length"),
        sa.CheckConstraint("verdict IS NOT NULL OR supersedes_id IS NOT NULL", name="withdrawn"),
        sa.CheckConstraint("seconds >= 0", name="seconds"),
        one_of("cause", Cause),
        sa.CheckConstraint("cause IS NULL OR settles", name="cause_settles"),
        sa.UniqueConstraint("case_id", "annotator_id", "id"),
        sa.ForeignKeyConstraint(
            ["supersedes_id", "case_id", "annotator_id"],
            ["rulings.id", "rulings.case_id", "rulings.annotator_id"],
            name="fk_rulings_superseded",
        ),
        sa.Index(
            "uq_rulings_first",
            "case_id",
            "annotator_id",
            unique=True,
            sqlite_where=sa.text("supersedes_id IS NULL"),
            postgresql_where=sa.text("supersedes_id IS NULL"),
        ),
        sa.Index("ix_rulings_annotator", "annotator_id", "id"),
        sa.Index("ix_rulings_time", "annotator_id", "created_at"),
        sa.Index("ix_rulings_annotator_case", "annotator_id", "case_id"),
        sa.Index(
            "ix_rulings_flagged",
            "case_id",
            sqlite_where=sa.text("flagged = 1"),
            postgresql_where=sa.text("flagged"),
        ),
        sa.Index(
            "ix_rulings_cause",
            "cause",
            sqlite_where=sa.text("cause IS NOT NULL"),
            postgresql_where=sa.text("cause IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    submission_id: Mapped[str] = mapped_column(sa.String(64), unique=True)  # sent twice, ruled once
    case_id: Mapped[int] = mapped_column(sa.ForeignKey("cases.id"))
    annotator_id: Mapped[int] = mapped_column(sa.ForeignKey("annotators.id"))
    verdict: Mapped[Answer | None]
    opinion_id: Mapped[int | None] = mapped_column(sa.ForeignKey("opinions.id"))  # whose rationale is best
    rationale: Mapped[str | None]  # the annotator's own, or an edited one
    elements: Mapped[list[Element]]
    note: Mapped[str] = mapped_column(default="")
    flagged: Mapped[bool] = mapped_column(default=False)
    seconds: Mapped[float]  # from the case on screen to the ruling
    rushed: Mapped[bool]
    settles: Mapped[bool] = mapped_column(default=False)  # an adjudicator's answer to split rulings
    supersedes_id: Mapped[int | None] = mapped_column(unique=True)
    created_at: Mapped[datetime]
    shown: Mapped[list[int] | None]  # the opinions in the order in which the annotator saw them: A, B, C ...
    guidelines: Mapped[int | None]  # the version of the guidelines in force
    cause: Mapped[Cause | None]  # why people were split; only where it settles


@cache
def is_current() -> sa.ColumnElement[bool]:
    """Hold for a row of `Ruling` that gives an answer and that no later row supersedes."""
    rulings = table_of(Ruling)
    later = rulings.alias()
    superseded = sa.select(later.c.id).where(later.c.supersedes_id == rulings.c.id).correlate(rulings)
    return sa.and_(rulings.c.verdict.is_not(None), ~superseded.exists())


class Return(Base):
    """A ruling sent back to who made it, to look again; open until a row supersedes it. Insert-only."""

    __tablename__ = "returns"
    __table_args__ = (
        sa.ForeignKeyConstraint(
            ["case_id", "ruled_by", "ruling_id"],
            ["rulings.case_id", "rulings.annotator_id", "rulings.id"],
            name="fk_returns_ruling",
        ),
        sa.Index("ix_returns_ruled_by", "ruled_by", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    ruling_id: Mapped[int] = mapped_column(unique=True)  # a ruling is sent back at most once
    case_id: Mapped[int]  # the ruling's, as is the next: what somebody is to look at is found by index
    ruled_by: Mapped[int]
    annotator_id: Mapped[int] = mapped_column(sa.ForeignKey("annotators.id"))  # who sends it back
    note: Mapped[str]
    created_at: Mapped[datetime]


class Run(Base):
    """One distillation; all else about it stands in its run folder."""

    __tablename__ = "runs"
    __table_args__ = (not_empty("name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    path: Mapped[str]
    snapshot_hash: Mapped[str]
    rulings: Mapped[int]
    training_cases: Mapped[int]
    annotator_id: Mapped[int | None] = mapped_column(sa.ForeignKey("annotators.id"))  # who started it
    created_at: Mapped[datetime]


class Promotion(Base):
    """A run's student made the served one; without a run, back to the settings' student. Insert-only."""

    __tablename__ = "promotions"

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int | None] = mapped_column(sa.ForeignKey("runs.id"))
    is_rollback: Mapped[bool] = mapped_column(default=False)  # went back to what was served before
    annotator_id: Mapped[int | None] = mapped_column(sa.ForeignKey("annotators.id"))
    created_at: Mapped[datetime]


class Event(Base):
    """The audit trail: who did what, when. Insert-only."""

    __tablename__ = "events"
    __table_args__ = (not_empty("action"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    annotator_id: Mapped[int | None] = mapped_column(sa.ForeignKey("annotators.id"))
    action: Mapped[str] = mapped_column(sa.String(40))
    case_id: Mapped[int | None] = mapped_column(sa.ForeignKey("cases.id"), index=True)
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)
