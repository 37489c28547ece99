"""The open desk: data folder, settings, database sessions and the student that is served.

`open_desk` is the one place that builds these; every tab and command receives the Desk. Nothing a
person or a run makes lives outside `data_dir`:

    desk.db (or the PostgreSQL URL in OOC_DATABASE_URL), images/, runs/, backups/, settings.toml
"""

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from sqlalchemy import URL, Engine, select
from sqlalchemy.orm import Session, sessionmaker

from db.engine import NewerDatabaseError, UnusableDatabaseError, make_sessions, migrate, open_engine
from db.models import Promotion, Run
from training.config import PROJECT_DIR, located

Mode = Literal["desk", "demo"]
SETTINGS_VERSION = 1
DEMO_RUN = PROJECT_DIR / "assets" / "demo-run"  # a finished run on the demo desk, served to visitors


class SettingsError(ValueError):
    """Raised for a settings.toml that cannot be read or holds a wrong value."""


class DataFolderError(OSError):
    """Raised where the data folder cannot be made or written."""


class NewerDataFolderError(DataFolderError):
    """Raised for a data folder that a newer version has written; this one would damage it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What settings.toml says; every key may be left out."""

    student: str = "assets/student"  # a folder or a hub id; served while no run is promoted
    annotator: str = "editor"  # the name under which the one local person rules
    budget: float = 0.10  # rulings the desk may spend, as a share of training cases, 0 to 1
    backups_kept: int = 7  # daily backups in the data folder; 0 makes none
    forced_student: str | None = None  # OOC_STUDENT; served whatever is promoted

    def __post_init__(self) -> None:
        for name in ("student", "annotator"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise SettingsError(f"`{name}` in settings.toml is {value!r}: give a text that is not empty.")
        if (
            isinstance(self.budget, bool)
            or not isinstance(self.budget, int | float)
            or not 0 <= self.budget <= 1
        ):
            raise SettingsError(f"`budget` in settings.toml is {self.budget!r}: give a share from 0 to 1.")
        if (
            isinstance(self.backups_kept, bool)
            or not isinstance(self.backups_kept, int)
            or self.backups_kept < 0
        ):
            raise SettingsError(
                f"`backups_kept` in settings.toml is {self.backups_kept!r}: give a whole number from 0."
            )


@dataclass(frozen=True, slots=True)
class Desk:
    """What every tab and command works with; a context manager that closes the database."""

    data_dir: Path
    settings: Settings
    sessions: sessionmaker[Session]
    engine: Engine
    mode: Mode

    @property
    def images_dir(self) -> Path:
        """Where `intake.images` keeps pictures by their SHA-256."""
        return self.data_dir / "images"

    @property
    def runs_dir(self) -> Path:
        """Where each distillation has its folder."""
        return self.data_dir / "runs"

    def student_source(self) -> str:
        """Say what is served: OOC_STUDENT, else the run promoted last, else the student of the settings.

        A run is given as the path of its folder. A folder named relative to the project is found
        from any working directory; anything else is handed on as it is, as a hub id.
        """
        if self.settings.forced_student is not None:
            return located(self.settings.forced_student)
        with self.sessions() as session:
            newest = select(Run.path).select_from(Promotion).outerjoin(Run, Run.id == Promotion.run_id)
            promoted = session.scalar(newest.order_by(Promotion.id.desc()).limit(1))
        if promoted is not None:
            return str(self.data_dir / promoted)
        if self.mode == "demo" and DEMO_RUN.is_dir() and self.settings.student == Settings().student:
            return str(DEMO_RUN)
        return located(self.settings.student)

    def student_to_train(self) -> str:
        """Say which untouched student a new run starts from, as it was set: no path of this machine."""
        return self.settings.forced_student or self.settings.student

    def close(self) -> None:
        """Give back every database connection."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_desk(data_dir: Path, *, mode: Mode = "desk") -> Desk:
    """Open the data folder, made where it is missing, and bring its database up to date.

    Raises SettingsError, DataFolderError, and NewerDataFolderError before anything is changed.
    """
    data_dir = data_dir.absolute()
    make_folders(data_dir)
    settings = read_settings(data_dir / "settings.toml", os.environ)
    file = URL.create("sqlite", database=str(data_dir / "desk.db"))
    engine = open_engine(os.environ.get("OOC_DATABASE_URL") or file)
    try:
        migrate(engine)
    except NewerDatabaseError as error:
        engine.dispose()
        if engine.dialect.name != "sqlite":
            raise NewerDataFolderError(str(error)) from error
        raise NewerDataFolderError(
            f"The data folder {data_dir} was made by a newer version of OOC Desk: update this one, "
            "or give another folder with --data."
        ) from error
    except UnusableDatabaseError as error:
        engine.dispose()
        raise DataFolderError(str(error)) from error
    except BaseException:
        engine.dispose()
        raise
    return Desk(data_dir, settings, make_sessions(engine), engine, mode)


def make_folders(data_dir: Path) -> None:
    """Make what is missing of the data folder, with a settings.toml of the defaults."""
    try:
        for folder in (data_dir, data_dir / "images", data_dir / "runs", data_dir / "backups"):
            folder.mkdir(parents=True, exist_ok=True)
        settings_path = data_dir / "settings.toml"
        if not settings_path.exists():
            settings_path.write_text(default_settings(), encoding="utf-8")
    except OSError as error:
        raise DataFolderError(
            f"The data folder {data_dir} cannot be made or written ({error.strerror}): "
            "give another one with --data."
        ) from error


def default_settings() -> str:
    """The settings.toml of a new data folder."""
    defaults = Settings()
    return (
        f"version = {SETTINGS_VERSION}\n\n"
        "# The student served while no run is promoted: a folder, or a model hub's id such as\n"
        '# "HuggingFaceTB/SmolVLM-500M-Instruct". OOC_STUDENT in the environment goes before it.\n'
        f"student = {json.dumps(defaults.student)}\n\n"
        "# The name under which the one local person rules.\n"
        f"annotator = {json.dumps(defaults.annotator)}\n\n"
        "# Rulings the desk may spend, as a share of its training cases.\n"
        f"budget = {defaults.budget:.2f}\n\n"
        "# How many daily backups are kept in backups/; 0 makes none.\n"
        f"backups_kept = {defaults.backups_kept}\n"
    )


def read_settings(path: Path, environment: Mapping[str, str]) -> Settings:
    """Read settings.toml and OOC_STUDENT; raises SettingsError or NewerDataFolderError."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{path} is not valid TOML ({error}): mend it, or delete it for the defaults."
        ) from error
    version = values.pop("version", SETTINGS_VERSION)
    if not isinstance(version, int) or version < 1:
        raise SettingsError(f"`version` in {path} is {version!r}: it is {SETTINGS_VERSION} in this version.")
    if version > SETTINGS_VERSION:
        raise NewerDataFolderError(
            f"The data folder {path.parent} was made by a newer version of OOC Desk (settings "
            f"version {version}, this one knows {SETTINGS_VERSION}): update this one, or give another folder "
            "with --data."
        )
    values.pop("teachers", None)  # checked by `teacher_settings.py` when they are asked for
    known = {field.name for field in fields(Settings)} - {"forced_student"}
    if unknown := sorted(set(values) - known):
        raise SettingsError(
            f"{path} has the unknown key `{unknown[0]}`: the keys are {', '.join(sorted(known))}; "
            "teachers stand in [teachers.NAME]."
        )
    return Settings(**values, forced_student=environment.get("OOC_STUDENT") or None)
