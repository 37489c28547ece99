"""Presets and recipes: what cannot be is named, every value says where it is from, shapes add up."""

import re
from pathlib import Path

import pytest

from training.config import ConfigError
from training.presets import PRESETS_DIR, RECIPES_DIR, preset_names, preset_of, preset_plan, read_plan
from training.shapes import shape_of

FILES = sorted([*PRESETS_DIR.glob("*.toml"), *RECIPES_DIR.glob("*.toml")])
STUDENTS = ("smolvlm-256m", "smolvlm-500m", "smolvlm-2.2b", "qwen2.5-vl-3b", "qwen3-vl-2b",
            "llava-onevision-0.5b", "internvl3-1b", "gemma-3-4b")  # fmt: skip


def changed(tmp_path: Path, old: str, new: str) -> Path:
    text = (RECIPES_DIR / "mmkd.toml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "recipe.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("[sft]", "[sft]\nlearning_speed = 1", "recipe.toml, config, sft: .*learning_speed"),
        ("student = ", "pupil = ", "pupil"),
        ("learning_rate = 1e-4 ", "learning_rate = 7.0 ", "recipe.toml, config, sft: .*7.0"),
        ("epochs = 2", "", "'epochs' is missing"),
        ('endpoint = "vllm"', 'endpoint = "post"', "endpoint 'post'"),
        ("tied = false", "tied = false\nears = 2", "ears"),
        ("[sft]", "[sft", "not TOML"),
    ],
)
def test_what_a_recipe_may_not_say_is_named_with_its_file(
    old: str, new: str, named: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=named):
        read_plan(changed(tmp_path, old, new))


def test_a_recipe_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no configuration"):
        read_plan(tmp_path / "none.toml")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_value_says_where_it_is_from(path: Path) -> None:
    values = [line for line in path.read_text(encoding="utf-8").splitlines() if re.match(r"\w+ = ", line)]
    assert len(values) > 5
    assert [line for line in values if not re.search(r"  # (published|hub|ours)\b", line)] == []


def test_there_is_a_preset_for_each_student_and_the_demo_comes_first() -> None:
    assert preset_names()[0] == "demo"
    assert set(preset_names()) == {"demo", *STUDENTS}
    assert preset_of("Qwen/Qwen3-VL-2B-Instruct") == "qwen3-vl-2b"
    assert preset_of("nobody/nothing") is None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_a_shape_records_adds_up_to_the_parameters(path: Path) -> None:
    plan = read_plan(path)
    if plan.shape is None:
        assert plan.config.student == "assets/student"
        return
    counted = plan.shape.language_parameters + plan.shape.vision_parameters
    assert counted == pytest.approx(plan.shape.parameters, rel=0.02)
    layer = 4 * plan.shape.vision_width**2 + 2 * plan.shape.vision_width * plan.shape.vision_inner_width
    assert 0.7 < plan.shape.vision_layers * layer / plan.shape.vision_parameters < 1.1


def test_the_shape_of_a_student_on_this_machine_is_read_from_its_folder() -> None:
    shape = shape_of("assets/student")
    assert shape is not None
    assert shape.image_tokens == 16
    assert shape.parameters > shape.vision_parameters > 0
    recorded = preset_plan("gemma-3-4b").shape
    assert shape_of("google/gemma-3-4b-it", recorded) is recorded
    assert shape_of("nobody/nothing") is None


def test_the_recipes_name_what_the_papers_publish() -> None:
    mmkd, bpo = (read_plan(RECIPES_DIR / f"{name}.toml") for name in ("mmkd", "bpo"))
    assert [teacher.model for teacher in mmkd.teachers] == [
        "Qwen/Qwen2-VL-72B-Instruct",
        "OpenGVLab/InternVL2_5-78B",
    ]
    assert (bpo.config.lora.rank, bpo.config.lora.alpha) == (32, 256)
    assert (bpo.config.dpo.learning_rate, bpo.config.dpo.beta, bpo.config.dpo.epochs) == (2e-6, 0.1, 2)
    assert bpo.config.negatives.noise_step == 900
