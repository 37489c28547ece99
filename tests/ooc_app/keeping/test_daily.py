import logging
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ooc_app.auth import Person
from ooc_app.desk import Desk
from ooc_app.keeping import daily
from ooc_app.keeping.daily import (
    DailyBackup,
    backup_if_due,
    daily_backups,
    last_attempt,
    start_daily_backups,
)
from ooc_app.keeping.doctor import examine
from ooc_app.keeping.manifest import read_manifest
from ooc_app.keeping.restore import restore
from ooc_app.keeping.whole import appearing
from tests.ooc_app.keeping.conftest import pictures, rule_next

ROOT = Path(__file__).resolve().parents[3]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def made(desk: Desk) -> list[str]:
    return [path.name for path in daily_backups(desk.data_dir)]


def test_a_backup_that_fails_is_logged_and_told_and_harms_nobody(
    used_desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    assert backup_if_due(used_desk, NOON, kept=7) is not None
    (used_desk.data_dir / "runs").rmdir()
    (used_desk.data_dir / "runs").symlink_to("runs")  # leads to itself
    with caplog.at_level(logging.WARNING):
        failed = backup_if_due(used_desk, NOON + DAY, kept=7)
    assert failed is not None
    assert "cannot be made" in (failed.problem or "")
    assert "No daily backup was made" in caplog.text
    assert last_attempt(used_desk.data_dir) == failed
    assert made(used_desk) == ["2026-03-01"]
    assert [path.name for path in (used_desk.data_dir / "backups").iterdir() if path.is_dir()] == [
        "2026-03-01"
    ]
    kinds = [one.finding.kind for one in examine(used_desk.data_dir, {})]
    assert kinds == ["daily_backup_failed"]


FULL = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from ooc_app.desk import open_desk
from ooc_app.keeping.daily import backup_if_due
with open_desk(Path(sys.argv[1])) as desk:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
    print(backup_if_due(desk, datetime(2026, 3, 1, tzinfo=UTC), kept=7).problem)
"""


@pytest.mark.parametrize("limit", [0, 100_000])
def test_a_disk_that_fills_up_is_told_and_harms_nobody(used_desk: Desk, limit: int) -> None:
    used_desk.close()
    command = [sys.executable, "-c", FULL, str(used_desk.data_dir), str(limit)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "no backup was made" in done.stdout or "nothing was left of it" in done.stdout
    assert made(used_desk) == []
    assert not [path for path in (used_desk.data_dir / "backups").iterdir() if path.is_dir()]


def test_a_damaged_database_pushes_no_good_backup_out(used_desk: Desk) -> None:
    for day in range(3):
        backup_if_due(used_desk, NOON + day * DAY, kept=3)
    with used_desk.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.exec_driver_sql("DELETE FROM teachers")
    for day in range(3, 8):
        told = backup_if_due(used_desk, NOON + day * DAY, kept=3)
        assert told is not None
        assert "teachers that is gone" in (told.problem or "")
    assert made(used_desk) == ["2026-03-03", "2026-03-02", "2026-03-01"]


def test_one_backup_a_day_and_the_newest_are_kept(used_desk: Desk) -> None:
    assert backup_if_due(used_desk, NOON, kept=2) == DailyBackup("2026-03-01", NOON.isoformat())
    assert backup_if_due(used_desk, NOON + timedelta(hours=11), kept=2) is None
    (used_desk.data_dir / "backups" / "before the move").mkdir()
    (used_desk.data_dir / "backups" / "2025-01-01").mkdir()  # no whole backup, and none of ours
    for day in (1, 2, 5):
        told = backup_if_due(used_desk, NOON + day * DAY, kept=2)
    assert told is not None
    assert (told.problem, told.dropped) == (None, ("2026-03-02",))
    assert made(used_desk) == ["2026-03-06", "2026-03-03"]
    left = {path.name for path in (used_desk.data_dir / "backups").iterdir()}
    assert left == {"2026-03-06", "2026-03-03", "2025-01-01", "before the move", "last.json"}


def test_none_is_made_and_none_dropped_where_none_are_wanted(used_desk: Desk) -> None:
    backup_if_due(used_desk, NOON, kept=1)
    assert backup_if_due(used_desk, NOON + DAY, kept=0) is None
    assert made(used_desk) == ["2026-03-01"]
    assert last_attempt(used_desk.data_dir / "elsewhere") is None


def test_what_a_kill_left_is_removed_and_what_somebody_writes_is_not(used_desk: Desk) -> None:
    backups_dir = used_desk.data_dir / "backups"
    (backups_dir / ".2026-02-28.partial" / "images").mkdir(parents=True)
    with appearing(backups_dir / "by hand") as folder:
        backup_if_due(used_desk, NOON, kept=7)
        assert folder.exists()
    assert {path.name for path in backups_dir.iterdir()} == {"2026-03-01", "by hand", "last.json"}


def test_a_day_costs_the_database_alone_and_can_be_restored(
    used_desk: Desk, person: Person, tmp_path: Path
) -> None:
    backup_if_due(used_desk, NOON, kept=7)
    rule_next(used_desk, person, "second")
    backup_if_due(used_desk, NOON + DAY, kept=7)
    first, second = (used_desk.data_dir / "backups" / day for day in ("2026-03-01", "2026-03-02"))
    for path in pictures(used_desk):
        name = path.relative_to(used_desk.data_dir)
        assert (first / name).samefile(path)
        assert (second / name).samefile(path)
    assert (read_manifest(first).rows["rulings"], read_manifest(second).rows["rulings"]) == (1, 2)
    assert restore(first, tmp_path / "new").rows["rulings"] == 1


def test_the_page_makes_the_backup_in_the_background(
    used_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daily, "FIRST_LOOK_SECONDS", 0.0)
    told: list[DailyBackup] = []
    came = threading.Event()

    def tell(done: DailyBackup) -> None:
        told.append(done)
        came.set()

    ended = start_daily_backups(used_desk, kept=7, clock=lambda: NOON, tell=tell)
    assert came.wait(60)
    ended.set()
    assert [(done.day, done.problem) for done in told] == [("2026-03-01", None)]
    assert made(used_desk) == ["2026-03-01"]


def test_no_thread_is_begun_where_no_backups_are_wanted(used_desk: Desk) -> None:
    before = threading.active_count()
    assert start_daily_backups(used_desk, kept=0).is_set()
    assert threading.active_count() == before
