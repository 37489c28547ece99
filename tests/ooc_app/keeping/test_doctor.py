import json
import os
import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from db.engine import write_session
from db.models import Event, Promotion, Queued, Run
from db.queue import claim
from db.vocabulary import RunStatus
from ooc_app import runner
from ooc_app.auth import Person
from ooc_app.desk import Desk, open_desk
from ooc_app.intake.images import admit, shown_copy, stored_path
from ooc_app.keeping.backup import back_up
from ooc_app.keeping.daily import backup_if_due
from ooc_app.keeping.doctor import examine
from ooc_app.keeping.folder_findings import room_finding, unwritable
from ooc_app.keeping.whole import appearing
from tests.ooc_app.conftest import drawn_picture
from tests.ooc_app.keeping.conftest import AddRun, add_row, pictures


def age(path: Path, hours: float = 2) -> None:
    """Make a file as old as that."""
    then = (datetime.now(UTC) - timedelta(hours=hours)).timestamp()
    os.utime(path, (then, then), follow_symlinks=False)


def kinds(folder: Path, *, repair: bool = False, read_all: bool = False) -> dict[str, bool]:
    """Say what is found, and whether it is wrong still."""
    return {one.finding.kind: one.wrong for one in examine(folder, {}, repair=repair, read_all=read_all)}


def repairs(desk: Desk) -> list[str]:
    """Say which repairs were noted as events."""
    with desk.sessions() as session:
        events = session.scalars(sa.select(Event).where(Event.action == "repair").order_by(Event.id))
        return [event.detail["kind"] for event in events]


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("desk.db-")
    }


# The folder as a whole.


def test_a_folder_that_is_not_there_is_named_and_not_made(tmp_path: Path) -> None:
    assert kinds(tmp_path / "data") == {"folder_missing": True}
    assert not (tmp_path / "data").exists()


def test_a_folder_without_database_is_told_which_backup_to_restore(used_desk: Desk) -> None:
    used_desk.close()
    backup_if_due(used_desk, datetime.now(UTC), kept=7)
    used_desk.close()
    for path in used_desk.data_dir.glob("desk.db*"):
        path.unlink()
    found = examine(used_desk.data_dir, {})
    assert [one.finding.kind for one in found] == ["database_missing"]
    newest = next(path for path in (used_desk.data_dir / "backups").iterdir() if path.is_dir())
    assert f"restore {newest} --data NEW_FOLDER" in found[0].finding.do
    assert not (used_desk.data_dir / "desk.db").exists()


def test_an_empty_folder_is_no_desk_and_stays_empty(tmp_path: Path) -> None:
    assert kinds(tmp_path) == {"database_missing": True}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [("budget = ", "settings_wrong"), ("version = 99", "settings_newer"), ("colour = 1", "settings_wrong")],
)
def test_settings_that_keep_the_desk_closed_are_named_and_the_rest_is_examined(
    text: str, kind: str, used_desk: Desk
) -> None:
    (used_desk.data_dir / "settings.toml").write_text(text)
    pictures(used_desk)[0].unlink()
    assert kinds(used_desk.data_dir) == {kind: True, "pictures_missing": True}
    assert (used_desk.data_dir / "settings.toml").read_text() == text


def test_settings_that_are_a_folder_are_named(used_desk: Desk) -> None:
    (used_desk.data_dir / "settings.toml").unlink()
    (used_desk.data_dir / "settings.toml").mkdir()
    assert kinds(used_desk.data_dir) == {"settings_unreadable": True}


def test_a_restore_that_was_cut_off_is_named(used_desk: Desk) -> None:
    (used_desk.data_dir / ".restore.partial" / "runs").mkdir(parents=True)
    assert kinds(used_desk.data_dir, repair=True) == {"restore_cut_off": True}
    (used_desk.data_dir / ".restore.partial" / "runs").rmdir()  # all was in place
    assert kinds(used_desk.data_dir, repair=True) == {"restore_cut_off": False}
    assert kinds(used_desk.data_dir) == {}


def test_what_may_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images").chmod(0o555)
    if os.geteuid() == 0:  # who may write everywhere; so look as somebody who may not
        inside = tmp_path
        while inside != inside.parent:
            if inside.stat().st_uid == 0 and any("pytest" in part for part in inside.parts):
                inside.chmod(0o755)
            inside = inside.parent
        tmp_path.chmod(0o777)
        os.seteuid(65534)
        try:
            assert unwritable(tmp_path) == [str(tmp_path / "images")]
        finally:
            os.seteuid(0)
    else:
        assert unwritable(tmp_path) == [str(tmp_path / "images")]


def test_a_disk_on_which_the_next_backup_does_not_fit_is_named() -> None:
    assert [finding.kind for finding in room_finding(1_100_000_000, 1_000_000_000)] == ["disk_nearly_full"]
    assert list(room_finding(1_300_000_000, 1_000_000_000)) == []


def test_a_sound_desk_in_use_has_nothing_wrong_and_looking_changes_nothing(
    used_desk: Desk, add_run: AddRun, person: Person
) -> None:
    add_run("done", status=RunStatus.COMPLETE)
    backup_if_due(used_desk, datetime.now(UTC), kept=7)
    with write_session(used_desk.sessions) as session:
        claim(session, person.annotator_id, datetime.now(UTC))
    admit(drawn_picture(7), used_desk.images_dir)  # by an import that is about to name it
    before = files(used_desk.data_dir)
    assert kinds(used_desk.data_dir, read_all=True) == {}
    assert kinds(used_desk.data_dir, repair=True) == {}
    assert files(used_desk.data_dir) == before
    assert repairs(used_desk) == []


# The database.


def test_a_database_that_is_none_is_told_from_one_that_cannot_be_opened(used_desk: Desk) -> None:
    used_desk.close()
    (used_desk.data_dir / "desk.db").write_bytes(b"not a database, but long enough to be read as one" * 100)
    found = examine(used_desk.data_dir, {}, repair=True)
    assert [one.finding.kind for one in found] == ["database_damaged"]
    assert "file is not a database" in found[0].finding.says
    elsewhere = used_desk.data_dir / "elsewhere.db"
    found = examine(used_desk.data_dir, {"OOC_DATABASE_URL": f"sqlite:///{elsewhere}"})
    assert [one.finding.kind for one in found] == ["database_missing"]
    assert not elsewhere.exists()
    elsewhere.mkdir()
    found = examine(used_desk.data_dir, {"OOC_DATABASE_URL": f"sqlite:///{elsewhere}/desk.db"})
    assert [one.finding.kind for one in found] == ["database_missing"]
    found = examine(used_desk.data_dir, {"OOC_DATABASE_URL": "mysql://localhost"})
    assert [one.finding.kind for one in found] == ["database_unusable"]


def test_what_cannot_be_examined_keeps_nobody_from_examining_the_rest(used_desk: Desk) -> None:
    connection = sqlite3.connect(used_desk.data_dir / "desk.db")
    connection.execute("DROP TABLE promotions")
    connection.close()
    pictures(used_desk)[0].unlink()
    found = examine(used_desk.data_dir, {}, repair=True)
    assert [one.finding.kind for one in found] == ["not_examined", "pictures_missing"]
    assert found[0].finding.says == "Not examined (rows of runs): no such table: promotions."


def test_a_damaged_page_is_found_and_nothing_in_the_database_is_touched(used_desk: Desk) -> None:
    with used_desk.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        root = connection.exec_driver_sql("SELECT rootpage FROM sqlite_master WHERE name = 'cases'").scalar()
    used_desk.close()
    path = used_desk.data_dir / "desk.db"
    with path.open("r+b") as file:
        file.seek((int(root or 0) - 1) * 4096 + 8)
        file.write(b"\xff" * 64)
    before = path.read_bytes()
    found = examine(used_desk.data_dir, {}, repair=True)
    assert [(one.finding.kind, one.wrong, one.repaired) for one in found] == [
        ("database_damaged", True, None)
    ]
    assert "There is no daily backup" in found[0].finding.do
    assert path.read_bytes() == before


def test_a_newer_version_is_left_alone_and_an_older_one_is_brought_up_by_repair(used_desk: Desk) -> None:
    with write_session(used_desk.sessions) as session:
        session.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    assert kinds(used_desk.data_dir, repair=True) == {"database_newer": True}
    with write_session(used_desk.sessions) as session:
        session.execute(sa.text("DELETE FROM alembic_version"))
    assert kinds(used_desk.data_dir, repair=True) == {"database_strange": True}


def test_tables_of_an_older_version_are_brought_up_by_repair_alone(tmp_path: Path) -> None:
    from alembic import command
    from alembic.config import Config

    from db.engine import open_engine
    from training.config import PROJECT_DIR

    engine = open_engine(f"sqlite:///{tmp_path / 'desk.db'}")
    with engine.connect() as connection:
        config = Config()
        config.set_main_option("script_location", str(PROJECT_DIR / "db" / "migrations"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.commit()
    engine.dispose()
    assert kinds(tmp_path) == {"database_older": False}
    assert kinds(tmp_path) == {"database_older": False}
    assert kinds(tmp_path, repair=True) == {"database_older": False}
    assert kinds(tmp_path) == {}
    with open_desk(tmp_path) as desk:
        assert repairs(desk) == ["database_older"]


def test_leases_that_ran_out_are_freed(used_desk: Desk, person: Person) -> None:
    then = datetime.now(UTC) - timedelta(hours=3)
    with write_session(used_desk.sessions) as session:
        assert len(claim(session, person.annotator_id, then, count=2)) == 2
    found = examine(used_desk.data_dir, {})
    assert [(one.finding.kind, one.wrong) for one in found] == [("stale_leases", False)]
    assert found[0].finding.says == "2 leases have run out and were not given back."
    assert kinds(used_desk.data_dir, repair=True) == {"stale_leases": False}
    assert kinds(used_desk.data_dir) == {}
    with used_desk.sessions() as session:
        assert session.scalars(sa.select(Queued).where(Queued.annotator_id.is_not(None))).all() == []
    assert repairs(used_desk) == ["stale_leases"]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE kinds SET cases = cases + 1",
        "UPDATE cases SET kind_id = NULL WHERE id = 2",
        "DELETE FROM queue",
        "INSERT INTO case_texts (case_texts) VALUES ('delete-all')",
    ],
)
def test_counts_queue_and_index_that_differ_from_the_facts_are_made_anew(
    damage: str, used_desk: Desk
) -> None:
    connection = sqlite3.connect(used_desk.data_dir / "desk.db")
    connection.execute(damage)
    connection.commit()
    connection.close()
    assert kinds(used_desk.data_dir) == {"derived_differ": True}
    assert kinds(used_desk.data_dir, repair=True) == {"derived_differ": False}
    assert kinds(used_desk.data_dir) == {}


# Pictures.


def test_a_missing_picture_comes_back_from_a_backup_and_without_one_is_asked_for(used_desk: Desk) -> None:
    first, second = pictures(used_desk)[:2]
    data = first.read_bytes()
    first.unlink()
    backup_if_due(used_desk, datetime.now(UTC), kept=7)  # has all but the first
    second.unlink()
    found = examine(used_desk.data_dir, {}, repair=True)
    assert [(one.finding.kind, one.wrong) for one in found] == [
        ("pictures_missing", False),
        ("pictures_missing", True),
    ]
    assert second.exists()
    assert not first.exists()
    assert f"{first.parent.name}{first.name}"[:12] in found[1].finding.says
    assert "Import the data set" in found[1].finding.do
    admit(data, used_desk.images_dir)
    assert kinds(used_desk.data_dir, read_all=True) == {}


def test_a_damaged_picture_is_replaced_from_a_backup_that_does_not_share_its_bytes(
    used_desk: Desk, tmp_path: Path
) -> None:
    picture = pictures(used_desk)[0]
    data = picture.read_bytes()
    back_up(used_desk, used_desk.data_dir / "backups" / "before")
    copy = used_desk.data_dir / "backups" / "before" / picture.relative_to(used_desk.data_dir)
    picture.write_bytes(data[:-1] + b"\x00")  # and with it the backup's, which is the same file
    assert kinds(used_desk.data_dir) == {}  # its size is right
    assert kinds(used_desk.data_dir, read_all=True, repair=True) == {"pictures_damaged": True}
    copy.unlink()
    copy.write_bytes(data)
    assert kinds(used_desk.data_dir, read_all=True, repair=True) == {"pictures_damaged": False}
    assert picture.read_bytes() == data
    picture.unlink()
    picture.write_bytes(data[:10])
    assert kinds(used_desk.data_dir) == {"pictures_damaged": True}


def test_pictures_of_no_case_are_removed_once_nobody_can_be_about_to_name_them(used_desk: Desk) -> None:
    old, new = (admit(drawn_picture(shade), used_desk.images_dir) for shade in (7, 8))
    old_path, new_path = (stored_path(image.sha256, used_desk.images_dir) for image in (old, new))
    shown = shown_copy(old.sha256, used_desk.images_dir)
    age(old_path)
    found = examine(used_desk.data_dir, {})
    assert [(one.finding.kind, one.wrong) for one in found] == [("pictures_nameless", False)]
    assert found[0].finding.says.startswith("1 picture of no case")
    assert old_path.exists()
    assert kinds(used_desk.data_dir, repair=True) == {"pictures_nameless": False}
    assert (old_path.exists(), shown.exists(), new_path.exists()) == (False, False, True)
    assert len(pictures(used_desk)) == 5
    assert kinds(used_desk.data_dir) == {}


def test_pictures_of_cases_are_never_removed_however_old(used_desk: Desk) -> None:
    for picture in pictures(used_desk):
        age(picture, hours=10_000)
    assert kinds(used_desk.data_dir, repair=True) == {}
    assert len(pictures(used_desk)) == 4


def test_files_cut_off_on_their_way_are_removed_when_they_are_old(used_desk: Desk) -> None:
    folder = pictures(used_desk)[0].parent
    (used_desk.images_dir / "shown" / "ab").mkdir(parents=True)
    shown = used_desk.images_dir / "shown" / "ab" / ".tmp2"
    cut_off = [folder / ".tmp1", shown, used_desk.data_dir / "demo.json.partial"]
    for path in cut_off:
        path.write_text("half")
    assert kinds(used_desk.data_dir, repair=True) == {}
    for path in cut_off:
        age(path)
    assert kinds(used_desk.data_dir) == {"files_cut_off": False}
    assert kinds(used_desk.data_dir, repair=True) == {"files_cut_off": False}
    assert [path for path in cut_off if path.exists()] == []


# Runs.


def test_a_run_that_claims_to_be_going_and_is_dead_is_stopped(used_desk: Desk, add_run: AddRun) -> None:
    run = add_run("dead", status=RunStatus.RUNNING)
    with run.locked():
        assert kinds(used_desk.data_dir) == {}
    found = examine(used_desk.data_dir, {})
    assert [(one.finding.kind, one.wrong) for one in found] == [("run_dead", True)]
    assert "distil --resume dead" in found[0].finding.do
    assert kinds(used_desk.data_dir, repair=True) == {"run_dead": False}
    assert kinds(used_desk.data_dir) == {}
    view = runner.view(run.path)
    assert (view.status, view.stage, view.step, view.steps) == (RunStatus.STOPPED, "sft", 3, 9)
    assert "ended without a word" in (view.why or "")


def test_a_run_that_began_again_meanwhile_is_not_stopped(used_desk: Desk, add_run: AddRun) -> None:
    run = add_run("back", status=RunStatus.RUNNING)
    found = examine(used_desk.data_dir, {})
    repair = found[0].finding.repair
    assert repair is not None
    with run.locked(), pytest.raises(Exception, match="being run by another process"):
        repair()
    assert run.state().status is RunStatus.RUNNING


def test_a_complete_run_that_claims_to_be_going_is_complete(used_desk: Desk, add_run: AddRun) -> None:
    run = add_run("done", status=RunStatus.RUNNING)
    run.report_path.write_text("{}")
    assert kinds(used_desk.data_dir, repair=True) == {"run_dead": False}
    assert run.state().status is RunStatus.COMPLETE


def test_what_a_run_says_of_itself_may_be_damaged(used_desk: Desk, add_run: AddRun) -> None:
    add_run("first").state_path.write_text("{")
    add_run("second").report_path.write_text("{")
    add_run("third").state_path.write_text('{"status": "asleep"}')
    found = examine(used_desk.data_dir, {}, repair=True)
    assert [(one.finding.kind, one.wrong) for one in found] == [
        ("run_dead", False), ("run_report_damaged", True), ("run_dead", False),
    ]  # fmt: skip
    assert runner.view(used_desk.runs_dir / "first").status is RunStatus.STOPPED


def test_a_run_folder_without_row_is_registered(used_desk: Desk, add_run: AddRun) -> None:
    add_run("whole", row=False)
    add_run("strange", row=False).snapshot_path.write_text("{}")
    found = examine(used_desk.data_dir, {}, repair=True)
    assert [(one.finding.kind, one.repaired) for one in found] == [
        ("run_snapshot_damaged", None),
        ("runs_unregistered", "Added 1 row of runs (whole)."),
    ]
    with used_desk.sessions() as session:
        assert session.scalars(sa.select(Run.name)).all() == ["whole"]


def test_a_run_whose_folder_is_gone_is_named_and_the_served_one_first(
    used_desk: Desk, add_run: AddRun
) -> None:
    add_run("kept")
    for name in ("gone", "served"):
        add_run(name, row=False)
        run_id = add_row(used_desk, name)
        shutil.rmtree(used_desk.runs_dir / name)
    with write_session(used_desk.sessions) as session:
        session.add(Promotion(run_id=run_id, created_at=datetime.now(UTC)))
    found = examine(used_desk.data_dir, {}, repair=True)
    assert [(one.finding.kind, one.wrong) for one in found] == [
        ("served_run_gone", True),
        ("runs_gone", True),
    ]
    assert "rollback" in found[0].finding.do
    assert "(gone)" in found[1].finding.says


def test_half_frozen_runs_are_removed_when_nobody_can_be_at_it(used_desk: Desk) -> None:
    half = used_desk.runs_dir / ".half.partial"
    (half / "images").mkdir(parents=True)
    (half / "sft.jsonl").write_text("")
    assert kinds(used_desk.data_dir, repair=True) == {}
    for path in (half / "sft.jsonl", half / "images", half):
        age(path)
    assert kinds(used_desk.data_dir, repair=True) == {"runs_half_frozen": False}
    assert not half.exists()


# Backups.


def test_backups_that_were_cut_off_are_removed_and_those_being_made_are_not(used_desk: Desk) -> None:
    cut_off = used_desk.data_dir / "backups" / ".2026-03-01.partial"
    (cut_off / "images").mkdir(parents=True)
    with appearing(used_desk.data_dir / "backups" / "by hand"):
        found = examine(used_desk.data_dir, {}, repair=True)
    assert [(one.finding.kind, one.wrong) for one in found] == [("backups_cut_off", False)]
    assert "1 backup was cut off (2026-03-01)" in found[0].finding.says
    assert not cut_off.exists()
    assert kinds(used_desk.data_dir) == {}


def test_a_repair_that_fails_is_told_and_the_others_are_done(used_desk: Desk, add_run: AddRun) -> None:
    run = add_run("dead", status=RunStatus.RUNNING)
    run.lock_path.unlink()
    run.state_path.with_name("state.json.partial").mkdir()  # where the state is to be written first
    (used_desk.data_dir / "backups" / ".cut.partial").mkdir()
    found = examine(used_desk.data_dir, {}, repair=True)
    assert [(one.finding.kind, one.wrong, bool(one.problem)) for one in found] == [
        ("run_dead", True, True),
        ("backups_cut_off", False, False),
    ]
    assert repairs(used_desk) == ["backups_cut_off"]
    assert json.loads(run.state_path.read_text())["status"] == "running"
