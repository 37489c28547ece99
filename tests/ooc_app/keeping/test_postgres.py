"""Backup and restore of a desk whose database is on PostgreSQL."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from db.models import Ruling
from ooc_app.auth import Person, local_person
from ooc_app.desk import Desk, open_desk
from ooc_app.keeping.backup import back_up
from ooc_app.keeping.daily import backup_if_due, daily_backups
from ooc_app.keeping.doctor import examine
from ooc_app.keeping.manifest import BackupError, read_manifest
from ooc_app.keeping.postgres import PostgresProgramError, rows_in
from ooc_app.keeping.restore import RestoreError, restore
from tests.ooc_app.keeping.conftest import pictures, rule_next
from tests.postgres import Server


def address(url: sa.URL) -> str:
    return url.render_as_string(hide_password=False)


@pytest.fixture
def desk(
    server: Server, empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Desk]:
    """Give an empty desk on PostgreSQL, in place of the one on SQLite."""
    url = server.new_database(template=empty_database)
    monkeypatch.setenv("OOC_DATABASE_URL", address(url))
    with open_desk(tmp_path / "data") as opened:
        yield opened
    server.drop(url)


@pytest.fixture
def empty_url(server: Server) -> Iterator[str]:
    """Give the address of an empty database."""
    url = server.new_database()
    yield address(url)
    server.drop(url)


def test_without_postgresqls_programs_the_backup_says_what_to_install(
    used_desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PostgresProgramError, match=r"pg_dump is not on the PATH: .*postgresql-client"):
        back_up(used_desk, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


def test_a_dump_that_fails_makes_no_backup(used_desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "backup.dump").write_bytes(b"no dump")
    with pytest.raises(PostgresProgramError, match="cannot be read"):
        rows_in(tmp_path / "backup.dump", ["cases"])


def test_a_restored_desk_is_the_one_that_was_backed_up(
    used_desk: Desk, person: Person, tmp_path: Path, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = back_up(used_desk, tmp_path / "backup")
    rule_next(used_desk, person, "after the backup")
    assert (made.database, made.rows["cases"], made.rows["rulings"]) == ("desk.dump", 4, 1)
    assert made.pictures.count == 4
    monkeypatch.setenv("OOC_DATABASE_URL", empty_url)
    restore(tmp_path / "backup", tmp_path / "new", database_url=empty_url)
    assert not (tmp_path / "new" / "desk.dump").exists()
    with open_desk(tmp_path / "new") as new, new.sessions() as session:
        assert session.scalars(sa.select(Ruling.submission_id)).all() == ["first"]
        assert [path.read_bytes() for path in pictures(new)] == [p.read_bytes() for p in pictures(used_desk)]
        rule_next(new, local_person(new), "in the restored desk")
    assert examine(tmp_path / "new", {"OOC_DATABASE_URL": empty_url}, read_all=True) == []


def test_a_backup_goes_into_an_empty_database_of_its_own_kind_only(used_desk: Desk, tmp_path: Path) -> None:
    back_up(used_desk, tmp_path / "backup")
    with pytest.raises(RestoreError, match="name an empty database in OOC_DATABASE_URL"):
        restore(tmp_path / "backup", tmp_path / "new")
    with pytest.raises(RestoreError, match="is not empty and nothing is overwritten"):
        restore(tmp_path / "backup", tmp_path / "new", database_url=address(used_desk.engine.url))
    assert not (tmp_path / "new").exists()


def test_a_damaged_dump_is_refused_and_the_database_stays_empty(
    used_desk: Desk, tmp_path: Path, empty_url: str
) -> None:
    back_up(used_desk, tmp_path / "backup")
    with (tmp_path / "backup" / "desk.dump").open("r+b") as file:
        file.seek(-200, 2)
        file.write(b"\x00" * 100)
    with pytest.raises(BackupError, match=r"desk\.dump is damaged"):
        restore(tmp_path / "backup", tmp_path / "new", database_url=empty_url)
    engine = sa.create_engine(sa.make_url(empty_url).set(drivername="postgresql+psycopg"))
    assert sa.inspect(engine).get_table_names() == []
    engine.dispose()


def test_daily_backups_and_doctor_work_there_too(used_desk: Desk, person: Person) -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    told = backup_if_due(used_desk, now, kept=7)
    assert told is not None
    assert told.problem is None
    newest = daily_backups(used_desk.data_dir)[0]
    assert read_manifest(newest).rows["rulings"] == 1
    pictures(used_desk)[0].unlink()
    environment = {"OOC_DATABASE_URL": address(used_desk.engine.url)}
    found = examine(used_desk.data_dir, environment, repair=True)
    assert [(one.finding.kind, one.wrong) for one in found] == [("pictures_missing", False)]
    assert examine(used_desk.data_dir, environment) == []
