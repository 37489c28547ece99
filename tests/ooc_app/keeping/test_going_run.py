"""A real run that is backed up while it learns, restored elsewhere, and gone on with there."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from db.vocabulary import RunStatus, Stage
from ooc_app import runner
from ooc_app.desk import Desk
from ooc_app.keeping.backup import back_up
from ooc_app.keeping.restore import restore
from tests.training.conftest import MakeRun, make_run, tiny_student
from training.__main__ import main
from training.stage import newest_checkpoint
from training.state import RunFolder

__all__ = ["make_run", "tiny_student"]  # fixtures of the trainer's tests

ROOT = Path(__file__).resolve().parents[3]
STEPS = 16


@pytest.mark.slow
@pytest.mark.parametrize("stage", Stage)
def test_a_run_backed_up_while_it_learns_goes_on_where_it_was(
    stage: Stage, desk: Desk, make_run: MakeRun, tmp_path: Path
) -> None:
    made = make_run(max_steps=STEPS)
    folder = RunFolder(made.rename(desk.runs_dir / "going"))
    command = [sys.executable, "-m", "training", str(folder.path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=-3, stderr=-3) as process:
        while not any(row["stage"] == stage and row["step"] >= 4 for row in folder.metrics()):
            assert process.poll() is None, "the run ended before it got there"
            time.sleep(0.02)
        back_up(desk, tmp_path / "backup")
        assert folder.report() is None, "the run was done before it was backed up"
        process.kill()
    restore(tmp_path / "backup", tmp_path / "new")
    restored = RunFolder(tmp_path / "new" / "runs" / "going")
    assert runner.view(restored.path).status is RunStatus.STOPPED
    assert newest_checkpoint(restored.checkpoints_dir(stage)) is not None
    begun = max(row["step"] for row in restored.metrics() if row["stage"] == stage)
    assert main([str(restored.path)]) == 0
    steps = [row["step"] for row in restored.metrics() if row["stage"] == stage]
    assert steps == list(range(1, STEPS + 1))
    assert begun >= 4
    assert restored.report() is not None
