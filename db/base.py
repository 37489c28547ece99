"""What all tables have in common: how values are stored, and how constraints are named."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase

from db.vocabulary import (
    Answer,
    Cause,
    Element,
    EvidenceKind,
    HumanAnswer,
    QueueReason,
    Role,
    Split,
    TeacherKind,
    Verdict,
)


class NaiveTimeError(ValueError):
    """Raised when a time without a time zone is about to be stored."""


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """Store times as UTC and give them back as UTC, also on SQLite, which knows no time zones."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn `value` to UTC. Raises NaiveTimeError where its zone is unknown."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise NaiveTimeError(f"The time {value.isoformat()} has no time zone; give datetime.now(UTC).")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Say again that a stored time is UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _word(words: type[StrEnum]) -> sa.Enum:
    """Store a word of the vocabulary as its value, in a plain text column."""
    return sa.Enum(
        words, native_enum=False, length=20, values_callable=lambda _: [word.value for word in words]
    )


_WORDS = (Answer, Cause, EvidenceKind, HumanAnswer, QueueReason, Role, Split, TeacherKind, Verdict)
_TYPES: dict[Any, Any] = {
    datetime: UtcDateTime(),
    list[Element]: sa.JSON(none_as_null=True),
    list[int]: sa.JSON(none_as_null=True),
    dict[str, Any]: sa.JSON(),
    **{words: _word(words) for words in _WORDS},
}


def one_of(column: str, words: type[StrEnum]) -> sa.CheckConstraint:
    """Let a column hold the given words only."""
    allowed = ", ".join(f"'{word.value}'" for word in words)
    return sa.CheckConstraint(f"{column} IN ({allowed})", name=column)


def not_empty(column: str) -> sa.CheckConstraint:
    """Let a column hold no empty text."""
    return sa.CheckConstraint(f"{column} <> ''", name=f"{column}_not_empty")


class Base(DeclarativeBase):
    """Common to all tables: how Python types are stored and how constraints are named."""

    metadata = sa.MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
        }
    )
    type_annotation_map = _TYPES


def table_of(model: type[Base]) -> sa.Table:
    """Return the table itself, for statements that go past the ORM."""
    return Base.metadata.tables[model.__tablename__]
