from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from db.engine import write_session
from db.models import Promotion, Run
from ooc_app.desk import DataFolderError, Desk, NewerDataFolderError, SettingsError, open_desk


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OOC_STUDENT", raising=False)
    monkeypatch.delenv("OOC_DATABASE_URL", raising=False)


def add_run(desk: Desk, name: str) -> int:
    with write_session(desk.sessions) as session:
        run = Run(
            name=name,
            path=f"runs/{name}",
            snapshot_hash="0",
            rulings=0,
            training_cases=0,
            created_at=datetime.now(UTC),
        )
        session.add(run)
        session.flush()
        return run.id


def promote(desk: Desk, run_id: int | None) -> None:
    with write_session(desk.sessions) as session:
        session.add(Promotion(run_id=run_id, created_at=datetime.now(UTC)))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("student = ", SettingsError, "not valid TOML"),
        ("version = 'x'", SettingsError, "`version`"),
        ("version = 2", NewerDataFolderError, "newer version"),
        ("studnet = 'a'", SettingsError, "unknown key `studnet`"),
        ("forced_student = 'a'", SettingsError, "unknown key `forced_student`"),
        ("student = ''", SettingsError, "`student`"),
        ("student = 3", SettingsError, "`student`"),
        ("annotator = ' '", SettingsError, "`annotator`"),
        ("budget = 10", SettingsError, "`budget` .* 10"),
        ("budget = '0.1'", SettingsError, "`budget`"),
        ("budget = nan", SettingsError, "`budget`"),
    ],
)
def test_wrong_settings_are_named_and_no_database_is_made(
    text: str, error: type[Exception], message: str, tmp_path: Path
) -> None:
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(error, match=message):
        open_desk(tmp_path)
    assert not (tmp_path / "desk.db").exists()


def test_a_data_folder_of_a_newer_version_is_left_as_it_is(tmp_path: Path) -> None:
    with open_desk(tmp_path) as desk, write_session(desk.sessions) as session:
        session.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(NewerDataFolderError, match="newer version"):
        open_desk(tmp_path)


def test_a_data_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(DataFolderError, match=r"data cannot be made .* --data"):
        open_desk(tmp_path / "data")


def test_a_new_data_folder_has_everything_and_opens_again(tmp_path: Path) -> None:
    with open_desk(tmp_path / "new" / "data") as desk:
        assert (desk.settings.student, desk.settings.annotator, desk.settings.budget) == (
            "assets/student",
            "editor",
            0.10,
        )
        assert desk.images_dir.is_dir()
        assert desk.runs_dir.is_dir()
        assert (desk.data_dir / "backups").is_dir()
    before = (tmp_path / "new" / "data" / "settings.toml").read_text()
    with open_desk(tmp_path / "new" / "data", mode="demo") as desk:
        assert desk.mode == "demo"
    assert (tmp_path / "new" / "data" / "settings.toml").read_text() == before


def test_the_database_may_be_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OOC_DATABASE_URL", f"sqlite:///{tmp_path / 'elsewhere.db'}")
    open_desk(tmp_path / "data").close()
    assert (tmp_path / "elsewhere.db").exists()
    assert not (tmp_path / "data" / "desk.db").exists()


def test_the_student_is_the_promoted_run_until_rolled_back(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('student = "some/hub-id"')
    with open_desk(tmp_path) as desk:
        assert desk.student_source() == "some/hub-id"
        first, second = add_run(desk, "first"), add_run(desk, "second")
        promote(desk, second)
        promote(desk, first)
        assert desk.student_source() == str(tmp_path / "runs" / "first")
        promote(desk, None)
        assert desk.student_source() == "some/hub-id"


def test_the_environment_goes_before_what_is_promoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OOC_STUDENT", "other/hub-id")
    with open_desk(tmp_path) as desk:
        promote(desk, add_run(desk, "first"))
        assert desk.student_source() == "other/hub-id"


def test_a_student_in_the_project_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.toml").write_text('student = "assets"')
    with open_desk(Path()) as desk:
        assert Path(desk.student_source()) == Path(__file__).parents[2] / "assets"
        assert desk.data_dir == tmp_path
