"""The fast path in a run: its losses, its reference file, its route, and going on after a stop."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.numpy import load_file

from db.vocabulary import Stage
from tests.training.conftest import MakeRun
from training import distil, dpo, sft
from training.base import load_base
from training.config import LoraSettings, load_config, save_config
from training.families import route
from training.fast import SharedPrefixDpoTrainer, read_reference, write_reference
from training.presets import preset
from training.records import Preference, Target, read_records
from training.stage import StageInputs, StageStopped, newest_checkpoint
from training.state import RunFolder


def changed(run_dir: Path, **changes: Any) -> StageInputs:
    """Return what a stage works with, its configuration changed."""
    config = load_config(run_dir / "config.json")
    save_config(preset("demo", **{"student": config.student, "sft": config.sft, "dpo": config.dpo,
        "lora": config.lora, "max_steps": config.max_steps, **changes}), run_dir / "config.json")  # fmt: skip
    return StageInputs(RunFolder(run_dir), load_config(run_dir / "config.json"), lambda: False)


def preferences_in(run_dir: Path) -> list[Preference]:
    return read_records(run_dir / "preferences.jsonl", Preference)


def targets_in(run_dir: Path) -> list[Target]:
    return read_records(run_dir / "sft.jsonl", Target)


@pytest.fixture
def after_stage_1(make_run: MakeRun) -> Path:
    run_dir = make_run(max_steps=4)
    sft.run(changed(run_dir), targets_in(run_dir))
    return run_dir


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "ipo"},
        {"loss": "robust", "label_smoothing": 0.1},
        {"loss": "apo_zero"},
        {"loss": "sigmoid_norm"},
        {"loss": "hinge", "sft_weight": 0.0},
        {"ld_alpha": 0.5},
    ],
)
def test_trls_other_losses_are_the_same(after_stage_1: Path, settings: dict[str, Any]) -> None:
    stage = replace(load_config(after_stage_1 / "config.json").dpo, **settings)
    losses = []
    for path in ("stock", "fast"):
        trainer = moved(changed(after_stage_1, path=path, dpo=stage))
        batch = next(iter(trainer.get_train_dataloader()))
        losses.append(float(trainer.compute_loss(trainer.model, batch).detach()))
    assert losses[1] == pytest.approx(losses[0], rel=1e-4, abs=1e-5)


def moved(inputs: StageInputs) -> Any:
    """Return stage 2's trainer of an adapter that is no longer its reference."""
    trainer: Any = dpo.build_trainer(inputs, preferences_in(inputs.folder.path))[0]
    torch.manual_seed(3)
    for name, values in trainer.model.named_parameters():
        if ".default." in name:
            values.data += 0.02 * torch.randn_like(values)
    return trainer


def test_a_batch_in_parts_takes_the_same_step(after_stage_1: Path) -> None:
    """In three micro-batches of uneven answers, in recomputed passes of one sequence, and whole."""
    stage = replace(load_config(after_stage_1 / "config.json").dpo, batch_size=6)
    gradients = []
    for changes in (
        {"dpo": stage},
        {"dpo": replace(stage, batch_size=2, accumulation=3)},
        {"dpo": stage, "tokens_per_pass": 1},
    ):
        trainer = moved(changed(after_stage_1, **changes))
        trainer.model.train()
        batches, items = trainer.get_batch_samples(
            iter(trainer.get_train_dataloader()),
            trainer.args.gradient_accumulation_steps,
            torch.device("cpu"),
        )
        trainer.current_gradient_accumulation_steps = len(batches)
        for batch in batches:
            trainer.training_step(trainer.model, batch, items)
        gradients.append({n: v.grad for n, v in trainer.model.named_parameters() if v.grad is not None})
    for other in gradients[1:]:
        for name, values in gradients[0].items():
            assert float((other[name] - values).norm() / values.norm()) <= 1e-5, name


def test_the_reference_is_asked_once_and_a_broken_file_again(
    after_stage_1: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, pairs = changed(after_stage_1), preferences_in(after_stage_1)
    kept = inputs.folder.checkpoints_dir(Stage.DPO) / "reference.safetensors"
    features = {path.name: path.stat().st_mtime_ns for path in inputs.folder.features_dir.iterdir()}
    first: Any = dpo.build_trainer(inputs, pairs)[0]
    assert {path.name: path.stat().st_mtime_ns for path in inputs.folder.features_dir.iterdir()} == features
    assert list(first.model.peft_config) == ["default"]
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-4])
    again: Any = dpo.build_trainer(inputs, pairs)[0]
    assert kept.read_bytes() == whole
    assert torch.equal(again.references, first.references)

    def refuse(*_: Any) -> None:
        raise AssertionError("the reference was asked again")

    monkeypatch.setattr(SharedPrefixDpoTrainer, "compute_ref_log_probs", refuse)
    dpo.build_trainer(inputs, pairs)
    with pytest.raises(AssertionError, match="asked again"):
        dpo.build_trainer(inputs, pairs[1:])


def test_a_reference_of_something_else_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "reference.safetensors"
    assert read_reference(path, "a") is None
    write_reference(path, "a", torch.zeros(2, 3))
    assert read_reference(path, "b") is None
    kept = read_reference(path, "a")
    assert kept is not None
    assert kept.shape == (2, 3)
    assert [one.name for one in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("stage", [Stage.SFT, Stage.DPO])
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(after_stage_1: Path, stage: Stage) -> None:
    ends = []
    for stops in (False, True):
        inputs = changed(after_stage_1)
        if stage is Stage.SFT and inputs.folder.adapter_dir(stage).exists():
            inputs.folder.adapter_dir(stage).rename(after_stage_1 / f"before-{stops}")
        if stops:
            saved = inputs.folder.checkpoints_dir(stage)
            with pytest.raises(StageStopped):
                run(stage, StageInputs(inputs.folder, inputs.config, partial(_has_checkpoint, saved)))
            assert _has_checkpoint(saved)
        run(stage, inputs)
        adapter = inputs.folder.adapter_dir(stage)
        ends.append(load_file(adapter / "adapter_model.safetensors"))
        if stage is Stage.DPO:
            adapter.rename(after_stage_1 / f"after-{stops}")
    for name, values in ends[0].items():
        assert ends[1][name] == pytest.approx(values, rel=1e-5, abs=1e-7), name


def run(stage: Stage, inputs: StageInputs) -> None:
    if stage is Stage.SFT:
        sft.run(inputs, targets_in(inputs.folder.path))
    else:
        dpo.run(inputs, preferences_in(inputs.folder.path))


def _has_checkpoint(directory: Path) -> bool:
    return newest_checkpoint(directory) is not None


def test_a_stop_does_not_wait_for_the_first_step(after_stage_1: Path) -> None:
    inputs = changed(after_stage_1)
    stopping = StageInputs(inputs.folder, inputs.config, lambda: True)
    with pytest.raises(StageStopped):
        dpo.build_trainer(stopping, preferences_in(after_stage_1))
    assert not inputs.folder.checkpoints_dir(Stage.DPO).exists()


def test_both_paths_draw_rows_and_adapters_alike(after_stage_1: Path) -> None:
    drawn, adapters = [], []
    for path in ("stock", "fast"):
        trainer: Any = sft.build_trainer(changed(after_stage_1, path=path), targets_in(after_stage_1))[0]
        loader: Any = trainer.get_train_dataloader()
        drawn.append(list(loader.sampler if loader.sampler is not None else loader.batch_sampler))
        adapters.append(
            {name: values for name, values in trainer.model.named_parameters() if "lora_A" in name}
        )
    assert drawn[0] == drawn[1]
    for name, values in adapters[0].items():
        assert torch.equal(values, adapters[1][name])


def test_without_room_a_stage_has_the_same_features_live(after_stage_1: Path) -> None:
    shutil.rmtree(after_stage_1 / "features")
    given = []
    for room in (0, 10**9):
        inputs = changed(after_stage_1, feature_bytes=room)
        trainer: Any = dpo.build_trainer(inputs, preferences_in(after_stage_1))[0]
        assert any(inputs.folder.features_dir.iterdir()) == (room > 0)
        given.append(next(iter(trainer.get_train_dataloader()))["packed"]["passes"][0]["image_features"])
    torch.testing.assert_close(given[0], given[1], rtol=0, atol=1e-6)


def test_features_go_when_the_run_is_complete(make_run: MakeRun) -> None:
    folder = RunFolder(make_run(max_steps=1))
    sft.run(changed(folder.path), targets_in(folder.path))
    assert any(folder.features_dir.iterdir())
    assert (folder.state().path or "").startswith("fast: ")
    distil.run(folder)
    assert not folder.features_dir.exists()


def test_layers_are_computed_again_on_trls_path_alone_also_where_a_family_falls_back_to_it(
    make_run: MakeRun,
) -> None:
    run_dir = make_run()
    inputs = changed(run_dir, activation_checkpointing=True)
    assert not sft.build_trainer(inputs, targets_in(run_dir))[0].args.activation_checkpointing
    inputs = changed(run_dir, activation_checkpointing=True, lora=LoraSettings(targets="all-linear"))
    assert sft.build_trainer(inputs, targets_in(run_dir))[0].args.activation_checkpointing


def test_the_route_says_why_in_a_sentence(tiny_student: Path) -> None:
    config = preset("demo", student=str(tiny_student))
    model, _ = load_base(config.student, config.dtype)
    assert route(config, model).family is not None
    for given, why in (
        ({"path": "stock"}, "asks for it"),
        ({"lora": LoraSettings(targets="all-linear")}, "all linear layers"),
        ({"lora": LoraSettings(targets=r".*connector.*proj")}, "connector"),
    ):
        taken = route(preset("demo", student=config.student, **given), model)
        assert taken.family is None
        assert taken.why.startswith("stock: ")
        assert why in taken.why
    model.config.text_config._attn_implementation = "flash_attention_2"
    assert "flash_attention_2" in route(config, model).why
    model.config.model_type = "paligemma"
    assert "paligemma" in route(config, model).why
