"""Insert many rows at once.

SQLAlchemy looks at every value of every row; an import of a million cases has twenty million values,
so here the rows go to SQLite's driver as they are, after what has a form of its own there (times,
lists) was converted column by column. Words of the vocabulary are texts already.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from db.base import Base, UtcDateTime, table_of


def insert_all(
    session: Session, table: type[Base], columns: Sequence[str], rows: list[tuple[Any, ...]]
) -> None:
    """Insert `rows`, whose values stand in the order of `columns`."""
    if not rows:
        return
    connection = session.connection()
    if connection.dialect.name != "sqlite":
        named = [dict(zip(columns, row, strict=True)) for row in rows]
        session.execute(sa.insert(table_of(table)), named)
        return
    converted: Sequence[tuple[Any, ...]] = rows
    for place, convert in _conversions(table, tuple(columns), connection.dialect):
        stored = {None: None}  # a time is the same in every row, lists are few
        converted = [
            (*row[:place], _stored(row[place], convert, stored), *row[place + 1 :]) for row in converted
        ]
    places = ", ".join("?" * len(columns))
    connection.exec_driver_sql(
        f"INSERT INTO {table.__tablename__} ({', '.join(columns)}) VALUES ({places})", converted
    )


def insert_missing(session: Session, table: type[Base], rows: Collection[Mapping[str, Any]]) -> None:
    """Insert those of `rows` that are not there yet, also while another process inserts them."""
    if rows:
        insert = sqlite.insert if session.connection().dialect.name == "sqlite" else postgresql.insert
        session.execute(insert(table).on_conflict_do_nothing(), [dict(row) for row in rows])


def new_ids(session: Session, table: type[Base], number: int) -> list[int]:
    """Set `number` ids aside for rows to come."""
    if session.connection().dialect.name == "sqlite":  # the write lock is ours, so nobody else takes them
        id_column = table_of(table).c.id
        last = session.scalar(sa.select(sa.func.coalesce(sa.func.max(id_column), 0))) or 0
        return list(range(last + 1, last + 1 + number))
    sequence = sa.func.nextval(sa.func.pg_get_serial_sequence(table.__tablename__, "id"))
    return list(session.scalars(sa.select(sequence).select_from(sa.func.generate_series(1, number).alias())))


@cache
def _conversions(table: type[Base], columns: tuple[str, ...], dialect: sa.Dialect) -> list[tuple[int, Any]]:
    types = [(place, table_of(table).c[name].type) for place, name in enumerate(columns)]
    return [
        (place, kind.dialect_impl(dialect).bind_processor(dialect))
        for place, kind in types
        if isinstance(kind, UtcDateTime | sa.JSON)
    ]


def _stored(value: Any, convert: Any, stored: dict[Any, Any]) -> Any:
    key = tuple(value) if isinstance(value, list) else value
    if key not in stored:
        stored[key] = convert(value)
    return stored[key]
