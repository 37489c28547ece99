"""What `distil --dry-run` and the Distil tab say of a run before it starts."""

import json
from pathlib import Path

import pytest

from ooc_app import footprint, snapshot
from ooc_app.__main__ import main
from ooc_app.desk import Desk
from ooc_app.distil import memory_needed
from training.presets import RECIPES_DIR, preset_plan


def test_a_recipe_with_an_unknown_setting_is_refused_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text((RECIPES_DIR / "bpo.toml").read_text() + "\nnoise = 1\n")
    assert main(["distil", "--config", str(path), "--dry-run", "--data", str(tmp_path / "data")]) == 1
    said = capsys.readouterr().err
    assert "mine.toml, shape: there is no setting 'noise'" in said
    assert said.count("\n") == 1


def test_a_recipe_is_shown_whole_without_its_student(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(tmp_path / "data")]
    assert main(["distil", "--config", str(RECIPES_DIR / "mmkd.toml"), "--dry-run", *data]) == 0
    said = capsys.readouterr().out
    for part in (
        "Qwen2.5-VL-7B",
        "OpenGVLab/InternVL2_5-78B through vllm",
        "newsclippings",
        "0 training cases",
    ):
        assert part in said
    assert main(["distil", "--config", str(RECIPES_DIR / "bpo.toml"), "--dry-run", "--json", *data]) == 0
    plan = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert plan["config"]["negatives"]["kinds"] == ["weakened", "injected"]
    assert plan["memory"]["total"] > plan["memory"]["parts"]["weights"] > 1e10
    assert not (tmp_path / "data" / "runs").exists() or not list((tmp_path / "data" / "runs").iterdir())


def test_the_tab_says_before_the_start_whether_it_fits(desk: Desk) -> None:
    assert "Fits" in memory_needed(desk, "demo")
    assert "in all, at the most" in memory_needed(desk, "demo")


def test_a_student_of_unknown_size_is_said_to_be_unknown(desk: Desk) -> None:
    plan = snapshot.plan(desk, "demo", student="nobody/nothing")
    needed = footprint.footprint(plan, 10)
    assert "not known" in needed.advice
    assert footprint.rows(needed) == []
    assert "not known" in footprint.notice(needed)


def test_the_demo_s_plan_is_for_the_student_of_the_desk(desk: Desk) -> None:
    assert snapshot.plan(desk, "demo").config.student == desk.student_to_train()
    assert snapshot.plan(desk, "gemma-3-4b").shape == preset_plan("gemma-3-4b").shape
