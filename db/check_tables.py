"""The tables of checks: what analysts ask the student, one picture at a time or many.

A check may be deleted, by its owner or because its time is over; what else the desk keeps may not.
"""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, not_empty, one_of
from db.vocabulary import Verdict


class Check(Base):
    """An analyst's question to the student, and its answer; `token` is the permanent link of its report."""

    __tablename__ = "checks"
    __table_args__ = (
        one_of("verdict", Verdict),
        sa.CheckConstraint("probability >= 0 AND probability <= 1", name="probability"),
        sa.Index("ix_checks_annotator", "annotator_id", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(unique=True)
    image_sha256: Mapped[str] = mapped_column(sa.ForeignKey("images.sha256"), index=True)
    caption: Mapped[str]
    verdict: Mapped[Verdict]
    probability: Mapped[float]  # of the verdict
    rationale: Mapped[str]
    student: Mapped[str]
    annotator_id: Mapped[int | None] = mapped_column(sa.ForeignKey("annotators.id"))  # its owner
    created_at: Mapped[datetime]
    claimed_date: Mapped[str | None]
    claimed_place: Mapped[str | None]
    url: Mapped[str | None]  # where the picture was found
    cannot_tell: Mapped[bool] = mapped_column(default=False)  # too near a coin to be called an answer
    found: Mapped[dict[str, Any]] = mapped_column(default=dict)  # what else its report shows, as JSON
    expires_at: Mapped[datetime | None] = mapped_column(index=True)  # none: kept until deleted
    case_id: Mapped[int | None] = mapped_column(sa.ForeignKey("cases.id"), index=True)  # sent as this case


class Batch(Base):
    """Many pictures to check, asked for at once; it goes on with the rows that are not done."""

    __tablename__ = "batches"
    __table_args__ = (
        not_empty("name"),
        sa.CheckConstraint("row_count > 0", name="row_count"),
        sa.Index("ix_batches_annotator", "annotator_id", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    token: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]  # of the file or folder
    digest: Mapped[str] = mapped_column(sa.String(64), index=True)  # of all its rows: asked again, it goes on
    row_count: Mapped[int]
    annotator_id: Mapped[int] = mapped_column(sa.ForeignKey("annotators.id"))
    created_at: Mapped[datetime]


class BatchRow(Base):
    """One picture and caption of a batch; done once it has a time, with a check or a reason why not."""

    __tablename__ = "batch_rows"
    __table_args__ = (
        sa.CheckConstraint("number > 0", name="number"),
        sa.CheckConstraint("check_id IS NULL OR done_at IS NOT NULL", name="check_id_done"),
        sa.CheckConstraint("refused IS NULL OR done_at IS NOT NULL", name="refused_done"),
    )

    batch_id: Mapped[int] = mapped_column(sa.ForeignKey("batches.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)  # from 1, in the order they were given
    image: Mapped[str]  # the picture's name, as it was given
    caption: Mapped[str]
    claimed_date: Mapped[str | None]
    claimed_place: Mapped[str | None]
    refused: Mapped[str | None]  # why there is no answer
    check_id: Mapped[int | None] = mapped_column(sa.ForeignKey("checks.id"), index=True)
    done_at: Mapped[datetime | None]
