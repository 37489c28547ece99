import json
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ooc_app.auth import Person
from ooc_app.desk import Desk
from ooc_app.intake.images import admit
from ooc_app.keeping.backup import back_up, in_words
from ooc_app.keeping.manifest import VERSION, BackupError, is_whole, read_manifest
from ooc_app.keeping.whole import PathTakenError
from tests.ooc_app.conftest import drawn_picture
from tests.ooc_app.keeping.conftest import pictures, rule_next

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def other_disk() -> Iterator[Path]:
    """Give a folder on another file system than the desk's."""
    if not Path("/dev/shm").is_dir():
        pytest.skip("no second file system here")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def rows(database: Path, query: str) -> list[Any]:
    connection = sqlite3.connect(f"{database.as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def test_a_path_that_is_taken_is_refused_and_left_as_it_is(used_desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "backup").mkdir()
    with pytest.raises(PathTakenError, match="nothing is overwritten"):
        back_up(used_desk, tmp_path / "backup")
    assert list((tmp_path / "backup").iterdir()) == []


def test_a_path_inside_the_data_folder_is_refused(used_desk: Desk) -> None:
    with pytest.raises(BackupError, match="inside the data folder"):
        back_up(used_desk, used_desk.runs_dir / "backup")
    assert list(used_desk.runs_dir.iterdir()) == []


def test_a_damaged_database_makes_no_backup_that_could_push_out_a_good_one(
    used_desk: Desk, tmp_path: Path
) -> None:
    with used_desk.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        root = connection.exec_driver_sql("SELECT rootpage FROM sqlite_master WHERE name = 'cases'").scalar()
    used_desk.close()
    with (used_desk.data_dir / "desk.db").open("r+b") as file:
        file.seek((int(root or 0) - 1) * 4096 + 8)
        file.write(b"\xff" * 64)
    with pytest.raises(BackupError, match=r"cannot be copied whole \(.+\), so no backup was made: .* doctor"):
        back_up(used_desk, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()
    assert not (tmp_path / ".backup.partial").exists()


def test_a_reference_to_a_row_that_is_gone_makes_no_backup(used_desk: Desk, tmp_path: Path) -> None:
    connection = sqlite3.connect(used_desk.data_dir / "desk.db")
    connection.execute("DELETE FROM teachers")
    connection.commit()
    connection.close()
    with pytest.raises(BackupError, match="of opinions refers to a row of teachers that is gone"):
        back_up(used_desk, tmp_path / "backup")


def test_a_disk_without_room_is_said_before_anything_is_copied(
    used_desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ooc_app.keeping.backup.RESERVE", shutil.disk_usage(tmp_path).total)
    said: list[str] = []
    with pytest.raises(BackupError, match=r"has .* left, and the backup needs .* make room"):
        back_up(used_desk, tmp_path / "backup", say=lambda what, figures: said.append(what))
    assert said == []
    assert not (tmp_path / "backup").exists()


FULL = """
import resource, sys
from pathlib import Path
from ooc_app.desk import open_desk
from ooc_app.keeping.backup import back_up
with open_desk(Path(sys.argv[1])) as desk:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
    back_up(desk, Path(sys.argv[2]))
"""


@pytest.mark.parametrize("limit", [1_000, 100_000])
def test_a_disk_that_fills_up_meanwhile_leaves_nothing(used_desk: Desk, tmp_path: Path, limit: int) -> None:
    used_desk.close()
    command = [sys.executable, "-c", FULL, str(used_desk.data_dir), str(tmp_path / "backup"), str(limit)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "BackupError" in done.stderr.splitlines()[-1]
    assert not [path for path in tmp_path.iterdir() if "backup" in path.name]


def test_pictures_the_desk_lost_itself_are_left_out_and_named(used_desk: Desk, tmp_path: Path) -> None:
    first, second, third, fourth = pictures(used_desk)
    first.unlink()
    second.write_bytes(b"cut off")
    third.write_bytes(bytes(third.stat().st_size))
    made = back_up(used_desk, tmp_path / "backup")
    assert made.pictures.missing == (f"{first.parent.name}{first.name}",)
    assert sorted(made.pictures.damaged) == sorted(f"{p.parent.name}{p.name}" for p in (second, third))
    assert (made.pictures.count, made.pictures.size) == (1, fourth.stat().st_size)
    kept = [path for path in (tmp_path / "backup" / "images").glob("??/*")]
    assert [path.name for path in kept] == [fourth.name]


def test_a_backup_holds_all_and_its_manifest_says_what(used_desk: Desk, tmp_path: Path) -> None:
    (used_desk.data_dir / "demo.json").write_text("{}")
    (used_desk.data_dir / "images" / "shown").mkdir()
    (used_desk.data_dir / "images" / "shown" / "derived.jpg").write_text("")
    nameless = admit(drawn_picture(7), used_desk.images_dir)
    made = back_up(used_desk, tmp_path / "backup")
    folder = tmp_path / "backup"
    assert is_whole(folder)
    assert read_manifest(folder) == made
    assert sorted(path.name for path in folder.iterdir()) == [
        "demo.json", "desk.db", "images", "manifest.json", "runs", "settings.toml",
    ]  # fmt: skip
    named = [path for path in pictures(used_desk) if path.name != nameless.sha256[2:]]
    assert [path.relative_to(folder) for path in sorted(folder.glob("images/*/*"))] == [
        path.relative_to(used_desk.data_dir) for path in named
    ]
    said = json.loads((folder / "manifest.json").read_text())
    assert (said["version"], said["database"], said["rows"]["cases"], said["rows"]["rulings"]) == (
        VERSION, "desk.db", 4, 1,
    )  # fmt: skip
    for name, number in said["rows"].items():
        assert rows(folder / "desk.db", f"SELECT count(*) FROM {name}") == [(number,)]
    assert said["files"].keys() == {"demo.json", "desk.db", "settings.toml"}
    assert said["pictures"]["count"] == 4


def test_the_copied_database_is_one_file_with_the_rulings_of_the_log(
    used_desk: Desk, person: Person, tmp_path: Path
) -> None:
    rule_next(used_desk, person, "in the log")
    assert (used_desk.data_dir / "desk.db-wal").stat().st_size > 0
    back_up(used_desk, tmp_path / "backup")
    found = rows(tmp_path / "backup" / "desk.db", "SELECT submission_id FROM rulings ORDER BY id")
    assert found == [("first",), ("in the log",)]
    assert rows(tmp_path / "backup" / "desk.db", "PRAGMA journal_mode") == [("delete",)]
    assert sorted(path.name for path in (tmp_path / "backup").glob("desk.db*")) == ["desk.db"]


def test_a_backup_costs_the_pictures_nothing_on_the_same_disk(used_desk: Desk, tmp_path: Path) -> None:
    back_up(used_desk, tmp_path / "backup")
    for path in pictures(used_desk):
        assert (tmp_path / "backup" / path.relative_to(used_desk.data_dir)).samefile(path)
    assert not (tmp_path / "backup" / "settings.toml").samefile(used_desk.data_dir / "settings.toml")


def test_on_another_disk_pictures_are_copied_and_those_runs_share_are_copied_once(
    used_desk: Desk, add_run: Any, other_disk: Path
) -> None:
    add_run("first")
    add_run("second")
    made = back_up(used_desk, other_disk / "backup")
    assert made.run_pictures == 8
    for path in pictures(used_desk):
        copy = other_disk / "backup" / path.relative_to(used_desk.data_dir)
        assert copy.read_bytes() == path.read_bytes()
        assert copy.stat().st_dev != path.stat().st_dev
    for copy in (other_disk / "backup" / "runs" / "first" / "images").iterdir():
        assert copy.samefile(other_disk / "backup" / "runs" / "second" / "images" / copy.name)


def test_a_backup_is_no_more_open_to_others_than_the_desk(used_desk: Desk, tmp_path: Path) -> None:
    used_desk.data_dir.chmod(0o700)
    (used_desk.data_dir / "desk.db").chmod(0o600)
    back_up(used_desk, tmp_path / "backup")
    assert (tmp_path / "backup").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "backup" / "desk.db").stat().st_mode & 0o777 == 0o600


RULING = """
import sys
from itertools import count
from db.models import Event
from datetime import UTC, datetime
from db.engine import make_sessions, open_engine, write_session
sessions = make_sessions(open_engine(sys.argv[1]))
for number in count():
    with write_session(sessions) as session:
        session.add(Event(at=datetime.now(UTC), action="rule", detail={"number": number}))
    print(number, flush=True)
"""


def test_a_backup_is_of_one_moment_and_ends_however_much_is_written_meanwhile(
    used_desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ooc_app.keeping.database.PAGES_AT_ONCE", 1)
    url = str(used_desk.engine.url)
    with subprocess.Popen([sys.executable, "-c", RULING, url], cwd=ROOT, stdout=-1, text=True) as process:
        assert process.stdout is not None
        left: list[int] = []
        try:
            before = [int(process.stdout.readline()) for _ in range(20)][-1]

            def say(what: str, figures: dict[str, Any]) -> None:
                if what == "copy database":
                    left.append(figures["of"] - figures["done"])
                    process.stdout and process.stdout.readline()  # another commit between any two pages

            back_up(used_desk, tmp_path / "backup", say=say)
        finally:
            process.kill()
    assert left == sorted(left, reverse=True)  # it never began anew
    assert len(left) > 50
    kept = [json.loads(row[0])["number"] for row in rows(
        tmp_path / "backup" / "desk.db",
        "SELECT detail FROM events WHERE action = 'rule' AND detail LIKE '%number%' ORDER BY id",
    )]  # fmt: skip
    assert kept == list(range(len(kept)))  # no hole
    assert len(kept) > before


def test_a_size_is_written_for_a_person() -> None:
    assert (in_words(1_234_567), in_words(2_345_000_000)) == ("1.2 MB", "2.3 GB")


def test_the_version_is_the_changelogs() -> None:
    headings = re.findall(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == VERSION


def test_a_folder_without_manifest_or_with_half_of_one_is_no_backup(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match=r"no whole backup, because it has no manifest\.json"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 1,')
    with pytest.raises(BackupError, match="damaged"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 1}')
    with pytest.raises(BackupError, match="damaged"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 2, "version": "9.0.0"}')
    with pytest.raises(BackupError, match=r"newer version of OOC Desk \(9\.0\.0\)"):
        read_manifest(tmp_path)


def test_a_picture_that_is_a_link_itself_is_kept_as_its_bytes(used_desk: Desk, tmp_path: Path) -> None:
    source = pictures(used_desk)[0]
    target = source.with_name("real")
    source.rename(target)
    source.symlink_to(target)
    made = back_up(used_desk, tmp_path / "backup")
    assert made.pictures.count == 4
    copy = tmp_path / "backup" / source.relative_to(used_desk.data_dir)
    assert not copy.is_symlink()
    assert copy.read_bytes() == target.read_bytes()
