from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.schema import CreateIndex, CreateTable

from db.engine import NewerDatabaseError, make_sessions, migrate, open_engine, write_session
from db.models import Event, NaiveTimeError, metadata

LOG = sa.insert(Event).values(at=datetime(2026, 3, 1, tzinfo=UTC), detail={})


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_engine(f"sqlite:///{tmp_path / 'new.db'}")
    yield engine
    engine.dispose()


def _tables(engine: sa.Engine) -> dict[str, set[str]]:
    """Describe tables and indexes by their SQL, whatever the order of columns' and constraints' lines."""
    query = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND type IN ('table', 'index')"
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(query).all()
    return {name: {line.strip(" ,\t") for line in sql.splitlines()} for name, sql in rows}


def test_the_migrations_make_exactly_the_tables_of_the_models(engine: sa.Engine, tmp_path: Path) -> None:
    migrate(engine)
    direct = open_engine(f"sqlite:///{tmp_path / 'direct.db'}")
    metadata.create_all(direct)
    migrated = _tables(engine)
    del migrated["alembic_version"]
    assert migrated == _tables(direct)
    direct.dispose()


def test_migrating_again_changes_nothing(engine: sa.Engine) -> None:
    migrate(engine)
    before = _tables(engine)
    migrate(engine)
    assert _tables(engine) == before


def test_four_that_migrate_at_once_all_find_it_done(engine: sa.Engine) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: migrate(engine), range(4)))
    assert "rulings" in _tables(engine)


def test_a_database_of_a_newer_version_is_refused_and_left_alone(engine: sa.Engine) -> None:
    migrate(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(NewerDatabaseError, match="newer version of OOC Desk") as refusal:
        migrate(engine)
    assert "9999" in str(refusal.value)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == "9999"


def test_a_folder_with_a_per_cent_sign_in_its_name_works(tmp_path: Path) -> None:
    (tmp_path / "50% done").mkdir()
    engine = open_engine(sa.URL.create("sqlite", database=str(tmp_path / "50% done" / "desk.db")))
    migrate(engine)
    engine.dispose()


def test_every_connection_is_durable_and_keeps_foreign_keys(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        pragmas = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        values = [connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() for pragma in pragmas]
    assert values == ["wal", 2, 1, 10_000]


def test_a_write_session_takes_the_lock_at_once_and_a_reader_does_not_wait(
    sessions: sessionmaker[Session],
) -> None:
    with write_session(sessions) as session:
        session.execute(LOG, {"action": "test"})
        with sessions() as reader:
            assert reader.scalars(sa.select(Event)).all() == []
        with sessions() as other:
            other.execute(sa.text("PRAGMA busy_timeout=1"))
            with pytest.raises(sa.exc.OperationalError, match="locked"):
                other.execute(LOG, {"action": "late"})


def test_a_failed_write_session_leaves_nothing(sessions: sessionmaker[Session]) -> None:
    def fail() -> None:
        with write_session(sessions) as session:
            session.execute(LOG, {"action": "test"})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with sessions() as session:
        assert session.scalars(sa.select(Event)).all() == []


def test_times_come_back_as_the_same_moment_in_utc(sessions: sessionmaker[Session]) -> None:
    at = datetime(2026, 3, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    with write_session(sessions) as session:
        session.execute(LOG, {"at": at, "action": "test"})
    with sessions() as session:
        stored = session.scalars(sa.select(Event.at)).one()
    assert stored == at
    assert stored.isoformat() == "2026-02-28T22:30:00+00:00"


def test_a_time_without_zone_is_refused(sessions: sessionmaker[Session]) -> None:
    with pytest.raises(sa.exc.StatementError) as refusal, write_session(sessions) as session:
        session.execute(LOG, {"at": datetime(2026, 3, 1), "action": "test"})
    assert isinstance(refusal.value.orig, NaiveTimeError)


def test_the_tables_can_be_created_on_postgresql() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    for table in metadata.sorted_tables:
        assert str(CreateTable(table).compile(dialect=dialect)).strip()
        for index in table.indexes:
            assert str(CreateIndex(index).compile(dialect=dialect)).strip()


def test_closing_an_engine_leaves_a_file_another_one_can_open(tmp_path: Path) -> None:
    for _ in range(2):
        engine = open_engine(f"sqlite:///{tmp_path / 'desk.db'}")
        migrate(engine)
        with write_session(make_sessions(engine)) as session:
            session.execute(LOG, {"action": "test"})
        engine.dispose()
    assert [path.name for path in tmp_path.iterdir()] == ["desk.db"]
