import json
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from db.models import Case, Event, Ruling
from db.vocabulary import RunStatus, Stage
from ooc_app import runner
from ooc_app.auth import Person
from ooc_app.desk import Desk, open_desk
from ooc_app.keeping.backup import back_up
from ooc_app.keeping.doctor import examine
from ooc_app.keeping.manifest import MANIFEST, BackupError
from ooc_app.keeping.restore import RestoreError, restore
from tests.ooc_app.keeping.conftest import AddRun, add_checkpoint, pictures, rule_next


@pytest.fixture
def backup(used_desk: Desk, add_run: AddRun, tmp_path: Path) -> Path:
    """Give a backup of a used desk with a complete run."""
    run = add_run("done", status=RunStatus.COMPLETE)
    run.adapter_dir(Stage.SFT).mkdir()
    (run.adapter_dir(Stage.SFT) / "adapter_model.safetensors").write_bytes(b"stage 1")
    run.report_path.write_text("{}")
    back_up(used_desk, tmp_path / "backup")
    return tmp_path / "backup"


def replace_bytes(path: Path, data: bytes) -> None:
    """Write other bytes under the name, leaving those that others share."""
    path.unlink()
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("desk.db", "desk.db is damaged"),
        ("settings.toml", "settings.toml is damaged"),
        ("runs/done/sft/adapter_model.safetensors", "adapter_model.safetensors is damaged"),
    ],
)
def test_a_backup_with_one_changed_byte_is_refused_and_nothing_is_made(
    name: str, said: str, backup: Path, tmp_path: Path
) -> None:
    changed = bytearray((backup / name).read_bytes())
    changed[-1] ^= 1
    replace_bytes(backup / name, bytes(changed))
    with pytest.raises(BackupError, match=f"is damaged: .*{said}.*another backup"):
        restore(backup, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / ".new.partial").exists()


def test_a_backup_with_a_damaged_or_missing_picture_is_refused(backup: Path, tmp_path: Path) -> None:
    picture = next(backup.glob("images/??/*"))
    data = picture.read_bytes()
    replace_bytes(picture, data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(BackupError, match=f"the picture {picture.parent.name}{picture.name} is damaged"):
        restore(backup, tmp_path / "new")
    picture.unlink()
    with pytest.raises(BackupError, match="is missing"):
        restore(backup, tmp_path / "new")


@pytest.mark.parametrize("name", ["settings.toml", "runs/done/report.json", "desk.db"])
def test_a_backup_that_lost_a_file_is_refused(name: str, backup: Path, tmp_path: Path) -> None:
    (backup / name).unlink()
    with pytest.raises(BackupError, match="is missing"):
        restore(backup, tmp_path / "new")


def test_a_backup_that_lost_a_picture_of_a_run_is_refused(backup: Path, tmp_path: Path) -> None:
    next((backup / "runs" / "done" / "images").iterdir()).unlink()
    with pytest.raises(BackupError, match="1 pictures of its runs are missing"):
        restore(backup, tmp_path / "new")


def test_a_database_that_is_not_the_manifests_is_refused_however_sound(backup: Path, tmp_path: Path) -> None:
    said = json.loads((backup / MANIFEST).read_text())
    said["rows"]["rulings"] += 1
    (backup / MANIFEST).write_text(json.dumps(said))
    with pytest.raises(BackupError, match="other rows than it ought to"):
        restore(backup, tmp_path / "new")


def test_a_folder_that_is_no_backup_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday").mkdir()
    with pytest.raises(BackupError, match="no whole backup"):
        restore(tmp_path / "holiday", tmp_path / "new")


def test_a_backup_of_newer_tables_is_refused_and_left_alone(backup: Path, tmp_path: Path) -> None:
    said = json.loads((backup / MANIFEST).read_text())
    (backup / MANIFEST).write_text(json.dumps({**said, "revision": "9999"}))
    with pytest.raises(BackupError, match=r"newer version .*9999.* update this one"):
        restore(backup, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_folder_in_use_is_never_restored_into(backup: Path, used_desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(RestoreError, match="is not empty and nothing is overwritten"):
        restore(backup, used_desk.data_dir)
    (tmp_path / "file").write_text("")
    with pytest.raises(RestoreError, match="is a file"):
        restore(backup, tmp_path / "file")
    (tmp_path / "cut off" / ".restore.partial").mkdir(parents=True)
    with pytest.raises(RestoreError, match="was cut off or is going on"):
        restore(backup, tmp_path / "cut off")


def test_a_database_elsewhere_is_not_mixed_with_one_in_the_folder(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    with pytest.raises(RestoreError, match=r"OOC_DATABASE_URL is set, .* copy-database"):
        restore(backup, tmp_path / "new", database_url=url)
    assert not (tmp_path / "elsewhere.db").exists()


@pytest.mark.parametrize("is_there", [False, True])
def test_a_restored_desk_is_the_one_that_was_backed_up(
    is_there: bool, backup: Path, used_desk: Desk, person: Person, tmp_path: Path
) -> None:
    rule_next(used_desk, person, "after the backup")
    new = tmp_path / "new"
    if is_there:
        new.mkdir()
    made = restore(backup, new)
    assert made.rows["rulings"] == 1
    assert sorted(path.name for path in new.iterdir() if path.name[:7] != "desk.db") == [
        "backups", "images", "runs", "settings.toml",
    ]  # fmt: skip
    with open_desk(new) as desk, desk.sessions() as session:
        assert session.scalars(sa.select(Ruling.submission_id)).all() == ["first"]
        assert session.scalar(sa.select(sa.func.count()).select_from(Case)) == 4
        event = session.scalars(sa.select(Event).where(Event.action == "restore")).one()
        assert event.detail == {"backup": "backup", "made_at": made.made_at}
        assert [path.read_bytes() for path in pictures(desk)] == [p.read_bytes() for p in pictures(used_desk)]
        assert runner.view(desk.runs_dir / "done").status is RunStatus.COMPLETE
        rule_next(desk, person, "in the restored desk")
    assert [one.finding.kind for one in examine(new, {}, read_all=True)] == []


def test_what_is_done_on_a_restored_desk_leaves_the_backup_as_it_was(
    backup: Path, person: Person, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in backup.rglob("*") if path.is_file()}
    restore(backup, tmp_path / "new")
    with open_desk(tmp_path / "new") as desk:
        rule_next(desk, person, "second")
        (desk.data_dir / "settings.toml").write_text("budget = 0.2\n")
        with (desk.runs_dir / "done" / "metrics.jsonl").open("a") as file:
            file.write('{"stage": "sft", "step": 2}\n')
    assert {path: path.read_bytes() for path in backup.rglob("*") if path.is_file()} == before
    restore(backup, tmp_path / "again")


def test_a_run_whose_state_was_damaged_does_not_stop_a_restore(
    used_desk: Desk, add_run: AddRun, tmp_path: Path
) -> None:
    add_run("strange").state_path.write_text("{")
    back_up(used_desk, tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "new")
    assert (tmp_path / "new" / "runs" / "strange" / "state.json").read_text() == "{"


def test_a_run_that_was_going_is_stopped_in_the_restored_desk_and_can_be_resumed(
    used_desk: Desk, add_run: AddRun, tmp_path: Path
) -> None:
    run = add_run("going", status=RunStatus.RUNNING)
    add_checkpoint(run, "sft", 20)
    with run.locked():
        back_up(used_desk, tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "new")
    view = runner.view(tmp_path / "new" / "runs" / "going")
    assert (view.status, view.stage, view.step) == (RunStatus.STOPPED, "sft", 3)
    assert "the backup was made while it was going" in (view.why or "")
    assert (tmp_path / "new" / "runs" / "going" / "checkpoints" / "sft" / "checkpoint-20").is_dir()


def test_a_backup_of_an_older_version_is_brought_up_to_date(tmp_path: Path, used_desk: Desk) -> None:
    """The oldest tables, as the first version made them, in a backup of their time."""
    from alembic import command
    from alembic.config import Config

    from db.engine import open_engine
    from ooc_app.desk import Settings
    from training.config import PROJECT_DIR

    (tmp_path / "old").mkdir()
    engine = open_engine(f"sqlite:///{tmp_path / 'old' / 'desk.db'}")
    with engine.connect() as connection:
        config = Config()
        config.set_main_option("script_location", str(PROJECT_DIR / "db" / "migrations"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.commit()
    old = Desk(tmp_path / "old", Settings(), used_desk.sessions, engine, "desk")
    assert back_up(old, tmp_path / "backup").revision == "0001"
    engine.dispose()
    restore(tmp_path / "backup", tmp_path / "new")
    assert examine(tmp_path / "new", {}) == []
    connection2 = sqlite3.connect(tmp_path / "new" / "desk.db")
    assert connection2.execute("SELECT version_num FROM alembic_version").fetchall() != [("0001",)]
    connection2.close()
