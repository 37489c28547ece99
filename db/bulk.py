"""Insert many rows at once.

SQLAlchemy looks at every value of every row; an import of a million cases has twenty million values,
so here the rows go to the driver as they are, on PostgreSQL in one COPY. Words of the vocabulary are
texts already; what has a form of its own there (times, lists) is converted by the caller with
`stored`, once per value and not once per row.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.base import Base, table_of


def insert_all(
    session: Session,
    table: type[Base],
    columns: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
    at_once: int = 1,
) -> None:
    """Insert `rows`, whose values stand in the order of `columns` and as `stored` gives them.

    `at_once` rows go into one statement of SQLite, which keeps a journal of each statement of several
    rows: that pays where there are thousands of rows with few columns.
    """
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        _insert(connection, table.__tablename__, columns, rows, at_once)
    elif rows:
        _copy(connection, table.__tablename__, columns, rows)


def _insert(
    connection: sa.Connection,
    table: str,
    columns: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
    at_once: int,
) -> None:
    into, row = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ", f"({', '.join('?' * len(columns))})"
    whole = len(rows) - len(rows) % at_once if at_once > 1 else 0
    together = [tuple(chain.from_iterable(rows[at : at + at_once])) for at in range(0, whole, at_once)]
    if together:
        connection.exec_driver_sql(into + ", ".join([row] * at_once), together)
    if whole < len(rows):
        connection.exec_driver_sql(into + row, list(rows[whole:]))


def _copy(
    connection: sa.Connection, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]
) -> None:
    cursor = connection.connection.cursor()
    with cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as stream:
        for row in rows:
            stream.write_row(row)
    cursor.close()


def stored(session: Session, column: InstrumentedAttribute[Any], value: Any) -> Any:
    """Return a value of a column in the form that `insert_all` wants."""
    dialect = session.connection().dialect
    convert = column.type.dialect_impl(dialect).bind_processor(dialect)
    return convert(value) if convert else value


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
