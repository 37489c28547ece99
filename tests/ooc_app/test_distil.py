import json
from dataclasses import replace
from pathlib import Path

import pytest

from db.vocabulary import RunStatus
from ooc_app.desk import Desk
from ooc_app.distil import _summary, default_preset, newest_run, resume, start, stop
from ooc_app.run_panel import run_panel
from ooc_app.runner import RunError, RunView
from ooc_app.snapshot import SnapshotError, recipe
from tests.ooc_app.conftest import AddConflict

FIGURES = {"accuracy": 0.912, "interval": [0.886, 0.938]}
REPORT = {
    "teachers": {"Anna": FIGURES},
    "majority": FIGURES,
    "base": FIGURES,
    "stage1": FIGURES,
    "stage2": FIGURES,
    "rulings": 160,
    "training_cases": 1600,
    "rulings_share": 0.1,
    "held_out_cases": 600,
    "seconds": {"sft": 62.0, "dpo": 48.0, "total": 130.0},
}
ROWS = [{"stage": "sft", "step": step, "steps": 40, "loss": 2.0 / step} for step in (1, 5, 10)]
RUNNING = RunView("run-1", RunStatus.RUNNING, "sft", 10, 40, None, 12.0, ROWS, None)


def test_a_desk_without_targets_starts_no_run_and_leaves_no_folder(desk: Desk) -> None:
    with pytest.raises(SnapshotError):
        start(desk, "demo", 0)
    assert list(desk.runs_dir.iterdir()) == []
    assert newest_run(desk) is None


@pytest.mark.parametrize("name", ["missing", "../images", ".", "", "a/b"])
def test_a_run_that_is_none_is_neither_stopped_nor_resumed(desk: Desk, name: str) -> None:
    for deed in (stop, resume):
        with pytest.raises(RunError, match="no run named"):
            deed(desk, name)


def test_a_run_folder_without_a_snapshot_is_refused(desk: Desk) -> None:
    (desk.runs_dir / "broken").mkdir()
    with pytest.raises(RunError):
        resume(desk, "broken")


def test_the_preset_offered_first_is_the_one_of_the_student(desk: Desk) -> None:
    assert default_preset(desk) == "demo"
    settings = replace(desk.settings, student="HuggingFaceTB/SmolVLM-500M-Instruct")
    assert default_preset(replace(desk, settings=settings)) == "smolvlm-500m"


def test_what_a_run_would_learn_from_names_the_teachers_it_goes_by(
    desk: Desk, add_conflict: AddConflict
) -> None:
    assert "No teacher&#x27;s opinion counts yet" in _summary(desk, recipe(desk, "demo"))
    add_conflict("one")
    summary = _summary(desk, recipe(desk, "demo"))
    assert "go by the opinions of Teacher One (recorded), Teacher Three (recorded) and Teacher Two" in summary


def test_a_run_that_goes_shows_its_stage_its_loss_and_what_is_left() -> None:
    panel = run_panel(RUNNING, "assets/student")
    assert "step 10 of 40" in panel
    assert "loss 0.200" in panel
    assert "12 s left" in panel
    assert panel.count("waiting") == 2
    assert "<polyline" in panel


def test_a_run_that_failed_says_why_as_text() -> None:
    failed = replace(RUNNING, status=RunStatus.FAILED, why="no <b>memory</b>", seconds_left=None)
    assert "no &lt;b&gt;memory" in run_panel(failed, "")


def test_a_complete_run_shows_its_report_and_whether_it_is_served() -> None:
    complete = replace(RUNNING, status=RunStatus.COMPLETE, stage=None, report=json.loads(json.dumps(REPORT)))
    panel = run_panel(complete, "run-1")
    assert "0.912" in panel
    assert "[0.886, 0.938]" in panel
    assert "600</b> held-out cases" in panel
    assert "160 (10.0 %)" in panel
    assert "served" in panel
    assert "served" not in run_panel(complete, "run-2")


def test_no_run_says_what_to_do_next(tmp_path: Path) -> None:
    assert "start the first run here" in run_panel(None, "assets/student")


@pytest.mark.parametrize(
    ("part", "shown"), [("features", "sft"), ("reference", "dpo"), ("ablation", "evaluate")]
)
def test_a_part_without_a_bar_shows_in_that_of_the_part_it_prepares(part: str, shown: str) -> None:
    panel = run_panel(replace(RUNNING, stage=part, step=30, steps=40), "")
    assert f"{part} 30 of 40" in panel
    bars = ["sft", "dpo", "evaluate"]
    assert panel.count("done") == bars.index(shown)
    assert panel.count("waiting") == len(bars) - 1 - bars.index(shown)


def test_alarms_are_shown_as_text_while_the_run_goes_on() -> None:
    panel = run_panel(replace(RUNNING, alarms=["The loss is <0>.", "Memory ended."]), "")
    assert "The loss is &lt;0&gt;." in panel
    assert "Memory ended." in panel
