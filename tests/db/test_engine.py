import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from db.base import NaiveTimeError
from db.engine import (
    NewerDatabaseError,
    UnusableDatabaseError,
    make_sessions,
    migrate,
    open_engine,
    where,
    write_session,
)
from db.models import Event, metadata
from tests.postgres import Server

LOG = sa.insert(Event).values(at=datetime(2026, 3, 1, tzinfo=UTC), detail={})
SECRET = "hunter2/of:mine"


@pytest.fixture
def engine(new_url: sa.URL) -> Iterator[sa.Engine]:
    """Give a database without tables."""
    engine = open_engine(new_url)
    yield engine
    engine.dispose()


def _tables(engine: sa.Engine) -> dict[str, Any]:
    """Describe the desk's tables as the database itself does, whatever the order of columns."""
    inspector = sa.inspect(engine)
    return {
        name: _described(inspector, name) for name in inspector.get_table_names() if name in metadata.tables
    }


def _described(inspector: sa.Inspector, table: str) -> list[Any]:
    columns = [(one["name"], str(one["type"]), one["nullable"]) for one in inspector.get_columns(table)]
    references = [
        (
            one["name"]
            or f"fk_{table}_{one['constrained_columns'][0]}",  # SQLite tells no name of an added one
            one["constrained_columns"],
            one["referred_table"],
            one["referred_columns"],
        )
        for one in inspector.get_foreign_keys(table)
    ]
    unique = [(one["name"], one["column_names"]) for one in inspector.get_unique_constraints(table)]
    checks = [(one["name"], one["sqltext"]) for one in inspector.get_check_constraints(table)]
    indexes = [
        (
            one["name"],
            one["column_names"],
            one["unique"],
            [str(how) for how in one["dialect_options"].values()],
        )
        for one in inspector.get_indexes(table)
    ]
    key = inspector.get_pk_constraint(table)["constrained_columns"]
    return [key, *(sorted(part, key=str) for part in (columns, references, unique, checks, indexes))]


def _open(url: str | sa.URL) -> None:
    engine = open_engine(url)
    try:
        migrate(engine)
    finally:
        engine.dispose()


def _refused(url: str | sa.URL) -> str:
    """Say why a database is not opened, without a word of the password anywhere in it."""
    with pytest.raises(UnusableDatabaseError) as refusal:
        _open(url)
    told = str(refusal.value)
    assert SECRET not in told
    assert "hunter2" not in told
    assert "\n" not in told
    return told


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://desk:{SECRET}@localhost/desk",
        "postgresql://desk:hunter2@localhost:hunter2/desk",
        "host=localhost password=hunter2",
        "hunter2",
        "",
    ],
)
def test_what_is_no_address_of_a_database_is_refused_without_repeating_it(url: str) -> None:
    assert "postgresql://USER:PASSWORD@HOST/NAME" in _refused(url)


def test_a_server_that_does_not_answer_is_one_sentence(server: Server) -> None:
    told = _refused(server.url.set(port=1, password=SECRET))
    assert told == (
        "The database postgres at 127.0.0.1:1 cannot be opened: Connection refused. "
        "Check the address, and that the server is running."
    )


def test_a_wrong_password_is_one_sentence(server: Server) -> None:
    assert "password authentication failed" in _refused(server.url.set(password=SECRET))


def test_a_database_that_is_missing_is_one_sentence(server: Server) -> None:
    assert 'database "nowhere" does not exist' in _refused(server.url.set(database="nowhere"))


def test_a_user_who_may_make_no_tables_is_told_what_to_do(server: Server) -> None:
    url = server.new_database()
    server.execute("CREATE ROLE guest LOGIN PASSWORD 'welcome'")
    assert "make the user its owner" in _refused(url.set(username="guest", password="welcome"))
    server.drop(url)


def test_a_database_that_cannot_hold_every_script_is_refused(server: Server) -> None:
    server.execute(
        "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc"
    )
    assert "LATIN1" in _refused(server.url.set(database="latin"))


def test_a_file_that_is_no_database_or_in_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("not a database, but a longer text " * 99)
    assert "notes.db cannot be opened: file is not a database" in _refused(f"sqlite:///{tmp_path}/notes.db")
    assert "unable to open database file" in _refused(f"sqlite:///{tmp_path}/nowhere/desk.db")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_every_usual_form_of_a_postgresql_address_is_taken(scheme: str) -> None:
    engine = open_engine(f"{scheme}://desk:{SECRET}@db.example:6543/news?sslmode=require")
    assert (engine.dialect.name, engine.dialect.driver) == ("postgresql", "psycopg")
    assert where(engine.url) == "news at db.example:6543"
    assert engine.url.query == {"sslmode": "require"}


def test_the_migrations_make_exactly_the_tables_of_the_models(
    engine: sa.Engine, new_database: Callable[[], sa.URL]
) -> None:
    migrate(engine)
    direct = open_engine(new_database())
    metadata.create_all(direct)
    assert _tables(engine) == _tables(direct)
    assert _tables(engine).keys() == metadata.tables.keys()
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


def test_a_desk_opens_while_another_process_writes(sessions: sessionmaker[Session]) -> None:
    engine = sessions.kw["bind"]
    with write_session(sessions):
        _open(engine.url)


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


def test_every_sqlite_connection_is_durable_keeps_foreign_keys_and_has_the_memory_that_a_million_cases_want(
    tmp_path: Path,
) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/desk.db")
    with engine.connect() as connection:
        durable = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        pragmas = (*durable, "cache_size", "wal_autocheckpoint")
        values = [connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() for pragma in pragmas]
    assert values == ["wal", 2, 1, 10_000, -32_768, 4_000]
    engine.dispose()


def test_every_postgresql_connection_is_durable_whatever_the_server_says_and_waits_for_nobody_forever(
    server: Server,
) -> None:
    url = server.new_database()
    server.execute(f"ALTER DATABASE {url.database} SET synchronous_commit = off")
    engine = open_engine(url.update_query_dict({"options": "-c lock_timeout=3s"}))
    shown = ["synchronous_commit", "transaction_isolation", "lock_timeout", "statement_timeout", "TimeZone"]
    shown.append("idle_in_transaction_session_timeout")

    def values(session: Session) -> list[str]:
        return [session.scalar(sa.text(f"SHOW {name}")) for name in shown]

    with make_sessions(engine)() as session:
        assert values(session) == ["on", "repeatable read", "3s", "1min", "UTC", "10min"]
    with write_session(make_sessions(engine)) as session:
        assert values(session) == ["on", "read committed", "3s", "0", "UTC", "1min"]
    engine.dispose()
    server.drop(url)


def test_a_connection_that_the_server_cut_is_replaced_unnoticed(server: Server) -> None:
    url = server.new_database()
    engine = open_engine(url)
    with engine.connect() as connection:
        process_id = connection.scalar(sa.text("SELECT pg_backend_pid()"))
    server.execute(f"SELECT pg_terminate_backend({process_id})")
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT pg_backend_pid()")) != process_id
    engine.dispose()
    server.drop(url)


def test_what_is_read_in_one_session_is_of_one_moment(sessions: sessionmaker[Session]) -> None:
    with sessions() as reader:
        assert reader.scalars(sa.select(Event)).all() == []
        with write_session(sessions) as session:
            session.execute(LOG, {"action": "test"})
        assert reader.scalars(sa.select(Event)).all() == []
    with sessions() as reader:
        assert len(reader.scalars(sa.select(Event)).all()) == 1


def test_a_write_session_takes_the_lock_at_once_and_a_reader_does_not_wait(
    sessions: sessionmaker[Session],
) -> None:
    impatient = open_engine(sessions.kw["bind"].url, busy_ms=1)
    with write_session(sessions) as session:
        session.execute(LOG, {"action": "test"})
        with sessions() as reader:
            assert reader.scalars(sa.select(Event)).all() == []
        with (
            pytest.raises(sa.exc.OperationalError, match=r"locked|lock timeout"),
            write_session(make_sessions(impatient)),
        ):
            raise AssertionError("two writers at a time")
    with write_session(make_sessions(impatient)) as session:
        assert len(session.scalars(sa.select(Event)).all()) == 1
    impatient.dispose()


def test_threads_that_write_wait_for_each_other_and_not_for_the_database(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/desk.db")
    migrate(engine)
    engine.dispose()
    said: list[str] = []
    sa.event.listen(engine, "connect", lambda connection, record: connection.set_trace_callback(said.append))
    ours = make_sessions(engine)

    def add(number: int) -> None:
        with write_session(ours) as session:
            session.execute(LOG, {"action": f"test {number}"})
            time.sleep(0.01)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(16)))
    assert said.count("BEGIN IMMEDIATE") == 16  # nobody had to try twice
    with ours() as session:
        assert len(session.scalars(sa.select(Event.id)).all()) == 16
    engine.dispose()


def test_a_writer_sees_all_that_the_one_before_it_left(sessions: sessionmaker[Session]) -> None:
    def count_and_add(number: int) -> int:
        with write_session(sessions) as session:
            before = len(session.scalars(sa.select(Event.id)).all())
            session.execute(LOG, {"action": f"test {number}"})
            return before

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(count_and_add, range(24))) == list(range(24))


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


def test_closing_an_engine_leaves_a_file_another_one_can_open(tmp_path: Path) -> None:
    for _ in range(2):
        engine = open_engine(f"sqlite:///{tmp_path / 'desk.db'}")
        migrate(engine)
        with write_session(make_sessions(engine)) as session:
            session.execute(LOG, {"action": "test"})
        engine.dispose()
    assert [path.name for path in tmp_path.iterdir()] == ["desk.db"]
