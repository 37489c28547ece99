"""What a run is said to need: less where it is saved, and a way out where it is too much."""

from dataclasses import replace

import pytest

from training import memory
from training.memory import Machine, advice, estimate
from training.presets import preset_names, preset_plan
from training.shapes import StudentShape, shape_of

CPU, GPU = Machine("cpu", 16e9), Machine("gpu", 24e9)
PLAN = preset_plan("smolvlm-500m")


def shape() -> StudentShape:
    assert PLAN.shape is not None
    return PLAN.shape


def test_a_run_too_large_is_told_what_to_set_and_then_fits() -> None:
    needed = estimate(PLAN.config, shape(), CPU, pictures=10).total
    tight = Machine("cpu", needed)
    said = advice(PLAN.config, shape(), tight, pictures=10)
    assert said.startswith("Does not fit")
    assert "set tokens_per_pass = " in said
    changed = replace(PLAN.config, tokens_per_pass=int(said.rsplit("= ", 1)[1].rstrip(".")))
    assert advice(changed, shape(), tight, pictures=10).startswith("Fits")


def test_where_nothing_helps_a_smaller_student_is_asked_for() -> None:
    assert "choose a smaller student" in advice(PLAN.config, shape(), Machine("cpu", 1e9), pictures=10)


def test_four_bits_are_never_proposed_without_a_gpu() -> None:
    for free in range(1, 40, 2):
        assert '"4bit"' not in advice(PLAN.config, shape(), Machine("cpu", free * 1e9), pictures=10)


def test_a_student_trained_in_four_bits_is_judged_whole() -> None:
    whole, packed = (
        estimate(replace(PLAN.config, quantization=name), shape(), GPU, pictures=10)
        for name in ("none", "4bit")
    )
    assert packed.standing["weights"] < 0.5 * whole.standing["weights"]
    assert sum(packed.standing.values()) + packed.passing["evaluation"] == pytest.approx(
        sum(whole.standing.values()) + whole.passing["evaluation"]
    )


@pytest.mark.parametrize(
    "saving",
    [
        {"path": "stock", "activation_checkpointing": True},
        {"tokens_per_pass": 1024},
        {"quantization": "4bit"},
        {"dtype": "bfloat16"},
        {"lora": replace(PLAN.config.lora, rank=8)},
    ],
)
def test_what_saves_memory_is_estimated_to(saving: dict[str, object]) -> None:
    config = replace(PLAN.config, dtype="float32")
    before = estimate(config, shape(), CPU, pictures=10)
    after = estimate(replace(config, **saving), shape(), CPU, pictures=10)  # type: ignore[arg-type]
    assert after.total < before.total


def test_the_stock_path_keeps_a_prompt_per_answer_and_its_pictures() -> None:
    fast = estimate(PLAN.config, shape(), CPU, pictures=10).passing["stage 2"]
    stock = estimate(replace(PLAN.config, path="stock"), shape(), CPU, pictures=10).passing["stage 2"]
    assert stock > 1.5 * fast


def test_features_take_their_size_times_the_pictures_up_to_the_budget() -> None:
    one = shape().image_tokens * shape().width * 4
    assert estimate(PLAN.config, shape(), CPU, pictures=1000).disk == 1000 * one
    assert estimate(PLAN.config, shape(), CPU, pictures=10**9).disk == PLAN.config.feature_bytes


def test_a_gpu_holds_weights_in_half_the_bytes() -> None:
    on_cpu, on_gpu = (estimate(PLAN.config, shape(), machine, pictures=1) for machine in (CPU, GPU))
    assert on_gpu.standing["weights"] * 2 == on_cpu.standing["weights"] == shape().parameters * 4


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_has_an_answer_for_a_large_machine(name: str) -> None:
    plan = preset_plan(name)
    measures = shape_of(plan.config.student, plan.shape)
    assert measures is not None
    assert advice(plan.config, measures, Machine("gpu", 80e9), pictures=1000).startswith("Fits")


def test_free_memory_of_this_machine_is_known() -> None:
    assert memory.this_machine().free > 1e8
