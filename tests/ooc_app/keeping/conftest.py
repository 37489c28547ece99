"""A used desk made small, with a run in its folder, and what kills and damages it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from db.engine import write_session
from db.models import Run
from db.queue import claim
from db.rulings import NewRuling, rule
from db.vocabulary import Answer, RunStatus
from ooc_app.auth import Person
from ooc_app.desk import Desk
from ooc_app.intake.images import shown_copy, stored_path
from training.state import RunFolder

AddConflict = Callable[..., int]
AddRun = Callable[..., RunFolder]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OOC_STUDENT", raising=False)
    monkeypatch.delenv("OOC_DATABASE_URL", raising=False)


@pytest.fixture
def used_desk(desk: Desk, add_conflict: AddConflict, person: Person) -> Desk:
    """Give a desk with four conflicts, their pictures and one ruling."""
    for name in ("Lisbon", "Porto", "Faro", "Braga"):
        add_conflict(name)
    rule_next(desk, person, "first")
    return desk


def rule_next(desk: Desk, person: Person, submission_id: str) -> None:
    """Rule on the next case."""
    now = datetime.now(UTC)
    with write_session(desk.sessions) as session:
        case_id = claim(session, person.annotator_id, now, count=1)[0]
        rule(
            session,
            person.annotator_id,
            NewRuling(submission_id, case_id, Answer.IN_CONTEXT, seconds=3.0),
            now,
        )


def pictures(desk: Desk) -> list[Path]:
    """The original pictures of the desk."""
    return sorted(path for path in desk.images_dir.glob("??/*") if path.is_file())


@pytest.fixture
def add_run(used_desk: Desk) -> AddRun:
    """Give a function that writes a run's folder, and its row unless told not to."""

    def add(name: str, *, status: RunStatus | None = None, row: bool = True) -> RunFolder:
        folder = RunFolder(used_desk.runs_dir / name)
        (folder.path / "images").mkdir(parents=True)
        for picture in pictures(used_desk):
            sha256 = f"{picture.parent.name}{picture.name}"
            assert stored_path(sha256, used_desk.images_dir) == picture
            (folder.path / "images" / f"{sha256}.jpg").hardlink_to(shown_copy(sha256, used_desk.images_dir))
        counts = {"rulings": 1, "training_cases": 4}
        folder.config_path.write_text("{}")
        (folder.path / "sft.jsonl").write_text('{"a": 1}\n')
        folder.append_metrics({"stage": "sft", "step": 1})
        folder.snapshot_path.write_text(json.dumps({"hash": "0", "counts": counts}))
        folder.lock_path.touch()
        if status is not None:
            folder.say(status=status, stage="sft", step=3, steps=9)
        if row:
            add_row(used_desk, name)
        return folder

    return add


def add_row(desk: Desk, name: str) -> int:
    """Add a run's row and return its id."""
    with write_session(desk.sessions) as session:
        now = datetime.now(UTC)
        run = Run(
            name=name, path=f"runs/{name}", snapshot_hash="0", rulings=1, training_cases=4, created_at=now
        )
        session.add(run)
        session.flush()
        return run.id


def add_checkpoint(folder: RunFolder, stage: str, step: int, *, whole: bool = True) -> Path:
    """Write what a trainer writes when it saves; its own state is the last file."""
    checkpoint = folder.path / "checkpoints" / stage / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "adapter_model.safetensors").write_bytes(b"weights")
    (checkpoint / "trainer_state.json").write_text('{"global_step": 3}' if whole else '{"global_')
    return checkpoint
