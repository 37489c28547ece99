"""Copy a desk's database into an empty one: from SQLite to PostgreSQL, and by the same way back.

Every table is read in one transaction of the old database and written in one of the new, so the copy
is whole or not there at all, and shows the desk at one moment. Ids stay, and new rows go on after
them. What was written is read again and compared, by number of rows and by content, before it is
committed. The full-text index, which each database keeps in a form of its own, is made anew.

Pictures, runs and settings stay in the data folder; only the database moves.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db import texts
from db.engine import bring_up, is_current, where, write_connection
from db.models import Case, metadata

BATCH = 2_000  # rows read, or texts indexed, at a time
HASH_BYTES = 16

Progress = Callable[[int, int], None]  # rows copied, indexed or compared so far, of how many
Row = tuple[object, ...]


class CopyError(Exception):
    """Raised where a database cannot be copied; nothing was changed."""


@dataclass
class Contents:
    """What a table holds: its number of rows, and a hash that does not depend on their order."""

    rows: int = 0
    digest: int = 0

    def passed(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Hand the rows on, taking each into account."""
        for row in rows:
            content = hashlib.blake2b(repr(row).encode(), digest_size=HASH_BYTES).digest()
            self.rows += 1
            self.digest = (self.digest + int.from_bytes(content)) % 256**HASH_BYTES
            yield row


@dataclass
class _Count:
    """Counts what is done, and tells."""

    of: int
    tell: Progress | None
    done: int = 0

    def advance(self, rows: int) -> None:
        self.done += rows
        if self.tell is not None:
            self.tell(self.done, self.of)


@dataclass(frozen=True)
class Copied:
    """A finished copy: the rows of each table."""

    tables: Mapping[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """All rows of all tables."""
        return sum(self.tables.values())


def copy_database(source: sa.Engine, target: sa.Engine, progress: Progress | None = None) -> Copied:
    """Copy every row of `source`, whose tables are this version's, into `target`, which must be empty.

    Raises CopyError where the target is not empty or cannot hold a row, where somebody wrote to the
    source meanwhile, or where the copy differs; UnusableDatabaseError where the target cannot be
    reached. The target is then as it was.
    """
    is_current(target)
    with write_connection(target) as new:
        _refuse_strangers(new)
        bring_up(new)
        _refuse_rows(new)
        with source.connect() as old:
            newest = _newest(old)
            rows = {table.name: _count(old, table) for table in metadata.sorted_tables}
            count = _Count(2 * sum(rows.values()) + rows[Case.__tablename__], progress)
            read = {table.name: _copy_table(old, new, table, count) for table in metadata.sorted_tables}
        _index_texts(new, count)
        for table in metadata.sorted_tables:
            _compare(new, table, read[table.name], count)
        if new.dialect.name == "postgresql":
            new.exec_driver_sql(f"ANALYZE {', '.join(read)}")  # else the first hour's plans are guesses
        with source.connect() as now:
            _refuse_changes(newest, _newest(now))
    return Copied({name: contents.rows for name, contents in read.items()})


def _refuse_strangers(connection: sa.Connection) -> None:
    """Refuse a database with tables that are not the desk's."""
    strangers = set(sa.inspect(connection).get_table_names()) - metadata.tables.keys()
    for name in sorted(strangers):
        if name != "alembic_version" and not name.startswith("case_texts"):
            raise CopyError(
                f"The database {where(connection.engine.url)} is not empty, it has a table {name}: "
                "give a new one."
            )


def _refuse_rows(connection: sa.Connection) -> None:
    """Refuse a database with a desk in it."""
    for table in metadata.sorted_tables:
        if rows := _count(connection, table):
            raise CopyError(
                f"The database {where(connection.engine.url)} is not empty, "
                f"its table {table.name} has {rows:,} rows: give a new one."
            )


def _refuse_changes(before: Mapping[str, int], after: Mapping[str, int]) -> None:
    changed = sorted(name for name, newest in after.items() if newest != before[name])
    if changed:
        raise CopyError(
            f"Somebody worked on the desk while it was copied (there is more in {', '.join(changed)}), "
            "and that would be lost: stop the page and all commands, then copy again."
        )


def _newest(connection: sa.Connection) -> dict[str, int]:
    """Find the last id of every table that numbers its rows."""
    numbered = [table for table in metadata.sorted_tables if "id" in table.c]
    return {table.name: connection.scalar(sa.select(sa.func.max(table.c.id))) or 0 for table in numbered}


def _count(connection: sa.Connection, table: sa.Table) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def _copy_table(old: sa.Connection, new: sa.Connection, table: sa.Table, count: _Count) -> Contents:
    contents = Contents()
    rows = contents.passed(_rows(old, table, count))
    if new.dialect.name == "postgresql":
        _write_postgresql(new, table, rows)
    else:
        _write(new, table, rows)
    return contents


def _compare(new: sa.Connection, table: sa.Table, read: Contents, count: _Count) -> None:
    """Read a table again. Raises CopyError where it does not hold what was read from the old one."""
    written = Contents()
    for _ in written.passed(_rows(new, table, count)):
        continue
    if written != read:
        raise CopyError(
            f"The table {table.name} of {where(new.engine.url)} came out differently "
            f"({written.rows:,} of {read.rows:,} rows); nothing was kept there."
        )


def _rows(connection: sa.Connection, table: sa.Table, count: _Count) -> Iterator[Row]:
    """Read a table in the order of its key; words and lists as the texts they are stored as."""
    columns = [
        sa.cast(column, sa.Text)
        if isinstance(column.type, sa.JSON)
        else sa.type_coerce(column, _plain(column))
        for column in table.columns
    ]
    query = sa.select(*columns).order_by(*table.primary_key.columns)
    for batch in connection.execute(query, execution_options={"yield_per": BATCH}).partitions():
        yield from (tuple(row) for row in batch)
        count.advance(len(batch))


def _plain(column: sa.Column[Any]) -> sa.types.TypeEngine[Any]:
    """Say how a column's values are read and written, where its own type would look at each of them."""
    return sa.Text() if isinstance(column.type, sa.Enum | sa.JSON) else column.type


def _write(connection: sa.Connection, table: sa.Table, rows: Iterator[Row]) -> None:
    names = [column.name for column in table.columns]
    plain = sa.table(table.name, *(sa.column(column.name, _plain(column)) for column in table.columns))
    batch: list[dict[str, object]] = []
    for row in rows:
        batch.append(dict(zip(names, row, strict=True)))
        if len(batch) == BATCH:
            connection.execute(sa.insert(plain), batch)
            batch = []
    if batch:
        connection.execute(sa.insert(plain), batch)


def _write_postgresql(connection: sa.Connection, table: sa.Table, rows: Iterator[Row]) -> None:
    """Stream the rows in, and let new rows go on after their ids."""
    import psycopg  # only here, so that a desk on SQLite starts without it

    quote = connection.dialect.identifier_preparer.quote
    columns = ", ".join(quote(column.name) for column in table.columns)
    cursor = connection.connection.cursor()
    row: Row = ()
    try:
        with cursor.copy(f"COPY {quote(table.name)} ({columns}) FROM STDIN") as stream:
            for row in rows:
                stream.write_row(row)
    except psycopg.DataError as error:
        reason = str(error).partition("\n")[0]
        raise CopyError(
            f"PostgreSQL cannot hold a row of {table.name}, "
            f"at or before the one with {_key(table, row)}: {reason}."
        ) from error
    finally:
        cursor.close()
    for column in table.primary_key.columns:
        sequence = connection.scalar(sa.select(sa.func.pg_get_serial_sequence(table.name, column.name)))
        if sequence is not None:
            last = sa.select(sa.func.setval(sequence, sa.func.max(column))).having(sa.func.max(column) > 0)
            connection.execute(last)


def _key(table: sa.Table, row: Row) -> str:
    values = dict(zip((column.name for column in table.columns), row, strict=False))
    return ", ".join(f"{column.name} {values.get(column.name)!r}" for column in table.primary_key.columns)


def _index_texts(connection: sa.Connection, count: _Count) -> None:
    with Session(connection) as session:
        last = session.scalar(sa.select(sa.func.max(Case.id))) or 0
        for first in range(1, last + 1, BATCH):
            found = texts.texts_of(session, first, first + BATCH - 1)
            texts.index(session, found)
            count.advance(len(found))
