"""The tables of asking teachers: what they answered word for word, and the runs in which they were asked.

No import touches them: a recorded opinion has no answer here.
"""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base


class TeacherAnswer(Base):
    """What a teacher wrote, from which its opinion was read, and what that took."""

    __tablename__ = "teacher_answers"

    opinion_id: Mapped[int] = mapped_column(sa.ForeignKey("opinions.id"), primary_key=True)
    raw: Mapped[str]
    parsed: Mapped[bool]  # false: nothing could be read from it, so the opinion is unsure
    revision: Mapped[str]  # of the model, as the server names what answered
    tokens_in: Mapped[int | None]  # null where the server does not count
    tokens_out: Mapped[int | None]
    seconds: Mapped[float]
    cost: Mapped[float]  # in USD
    tries: Mapped[int]


class TeachRun(Base):
    """One run in which a teacher was asked; without an end it goes on, or was cut off."""

    __tablename__ = "teach_runs"
    __table_args__ = (
        sa.CheckConstraint("(ended_at IS NULL) = (why IS NULL)", name="why_ended"),
        sa.Index("ix_teach_runs_teacher", "teacher_id", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    teacher_id: Mapped[int] = mapped_column(sa.ForeignKey("teachers.id"))
    prompt_version: Mapped[str]
    model: Mapped[str]
    annotator_id: Mapped[int | None] = mapped_column(sa.ForeignKey("annotators.id"))  # who started it
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    why: Mapped[str | None]  # it ended
    asked: Mapped[int] = mapped_column(default=0)  # counted when it ends
    kept: Mapped[int] = mapped_column(default=0)  # with its tokens and cost, counted with every opinion
    tokens_in: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    tokens_out: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    cost: Mapped[float] = mapped_column(default=0.0)  # in USD
    found: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True))  # what it measured
