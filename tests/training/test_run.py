"""A real two-stage run of a few steps, and what it leaves on disk."""

import hashlib
import json
import math
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from db.vocabulary import RunStatus, Stage
from tests.training.conftest import MakeRun
from training import distil, dpo, fast, sft
from training.__main__ import main
from training.config import load_config
from training.records import Preference, Target, read_records
from training.scripted import TEACHERS
from training.stage import StageInputs, StageStopped, newest_checkpoint, train
from training.state import RunFolder, RunFolderError

pytestmark = pytest.mark.usefixtures("one_thread")

PROJECT = Path(__file__).resolve().parents[2]


def spawn(run_dir: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "training", str(run_dir)],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for_step(folder: RunFolder, process: "subprocess.Popen[bytes]", stage: Stage, step: int) -> None:
    deadline = time.monotonic() + 120
    while not any(row["stage"] == stage and row["step"] >= step for row in folder.metrics()):
        assert process.poll() is None, "the run ended before it got there"
        assert time.monotonic() < deadline, "the run never got there"
        time.sleep(0.02)


def test_a_folder_without_snapshot_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "no snapshot.json" in said
    assert said.count("\n") == 1


def test_a_folder_somebody_runs_is_not_run_twice(make_run: MakeRun) -> None:
    folder = RunFolder(make_run())
    with folder.locked():
        assert folder.is_busy()
        with pytest.raises(RunFolderError, match="another process"):
            distil.run(folder)
    assert not folder.is_busy()


def test_a_run_leaves_adapters_a_report_and_the_base_as_it_was(make_run: MakeRun, tiny_student: Path) -> None:
    before = hashlib.sha256((tiny_student / "model.safetensors").read_bytes()).hexdigest()
    folder = RunFolder(make_run(max_steps=2))
    report = distil.run(folder)

    assert folder.state().status is RunStatus.COMPLETE
    assert folder.report() == json.loads(json.dumps(report))
    assert set(report["teachers"]) == {teacher.name for teacher in TEACHERS}
    assert report["held_out_cases"] == 8
    for scored in (report["base"], report["stage1"], report["stage2"], report["majority"]):
        low, high = scored["interval"]
        assert low <= scored["accuracy"] <= high
    adapters = [
        load_file(folder.adapter_dir(stage) / "adapter_model.safetensors") for stage in (Stage.SFT, Stage.DPO)
    ]
    assert adapters[0].keys() == adapters[1].keys()
    assert all("vision" not in name for name in adapters[0])
    assert any((adapters[0][name] != adapters[1][name]).any() for name in adapters[0])
    assert any(values.any() for name, values in adapters[0].items() if "lora_B" in name)
    assert hashlib.sha256((tiny_student / "model.safetensors").read_bytes()).hexdigest() == before
    assert not (folder.path / "checkpoints" / "sft").exists()
    folder.say(stage="report")  # as a kill leaves it that comes right behind the report
    assert distil.run(folder) == folder.report(), "a complete run is not run again"
    assert folder.state().status is RunStatus.COMPLETE


def test_the_first_dpo_loss_is_ln_2(make_run: MakeRun) -> None:
    folder = RunFolder(make_run(max_steps=1))
    distil.run(folder)
    preferences = read_records(folder.path / "preferences.jsonl", Preference)
    inputs = StageInputs(folder, load_config(folder.config_path), lambda: False)
    trainer, _ = dpo.build_trainer(inputs, preferences)
    trainer.loss_weights = [1.0, 0.0]  # the SFT loss has no part in this
    batch = next(iter(trainer.get_train_dataloader()))
    loss = trainer.compute_loss(trainer.model, batch).detach()
    assert math.isclose(float(loss), math.log(2), abs_tol=1e-4)


def test_a_stopped_run_has_saved_and_goes_on(make_run: MakeRun) -> None:
    folder = RunFolder(make_run(max_steps=200))
    process = spawn(folder.path)
    wait_for_step(folder, process, Stage.SFT, 2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    assert folder.state().status is RunStatus.STOPPED
    saved = newest_checkpoint(folder.checkpoints_dir(Stage.SFT))
    assert saved is not None
    assert int(saved.name.split("-")[1]) >= 2


def test_a_checkpoint_that_was_cut_off_is_passed_over(tmp_path: Path) -> None:
    whole, cut_off, empty = (tmp_path / f"checkpoint-{step}" for step in (2, 10, 11))
    for folder in (whole, cut_off, empty):
        folder.mkdir()
    (whole / "trainer_state.json").write_text('{"global_step": 2}')
    (cut_off / "trainer_state.json").write_text('{"global_step": ')
    assert newest_checkpoint(tmp_path) == whole
    assert not cut_off.exists()


def test_a_failed_run_says_why_in_its_state(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    folder = RunFolder(make_run())
    (folder.path / "sft.jsonl").write_text("not json\n")
    assert main([str(folder.path)]) == 1
    assert "sft.jsonl, line 1" in capsys.readouterr().err
    assert folder.state().status is RunStatus.FAILED


def test_a_run_says_every_part_it_is_in_and_how_long_each_took(make_run: MakeRun) -> None:
    folder = RunFolder(make_run(max_steps=1))
    said: list[str | None] = []
    say = folder.say

    def heard(**given: Any) -> None:
        said.append(given.get("stage"))
        say(**given)

    folder.say = heard  # type: ignore[method-assign]
    distil.run(folder)
    parts = ["snapshot", "features", "sft", "reference", "dpo", "evaluate", "report"]
    assert list(dict.fromkeys(part for part in said if part)) == parts
    assert set(json.loads((folder.path / "seconds.json").read_text())) == set(parts)
    assert (folder.report() or {})["alarms"] == []


def test_a_half_asked_reference_goes_on_where_it_was(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(make_run(max_steps=1))
    inputs = StageInputs(folder, load_config(folder.config_path), lambda: False)
    sft.run(inputs, read_records(folder.path / "sft.jsonl", Target))
    pairs = read_records(folder.path / "preferences.jsonl", Preference)
    kept = folder.checkpoints_dir(Stage.DPO) / "reference.safetensors"
    monkeypatch.setattr(fast, "KEEP_EVERY", 0.0)
    with pytest.raises(StageStopped):
        dpo.build_trainer(replace(inputs, stop_requested=kept.exists), pairs)
    assert load_file(kept)["log_probabilities"].shape == (2, 4), "one batch"
    asked: list[int] = []
    ask: Any = fast.SharedPrefixDpoTrainer.compute_ref_log_probs

    def counted(trainer: Any, *given: Any) -> Any:
        asked.append(1)
        return ask(trainer, *given)

    monkeypatch.setattr(fast.SharedPrefixDpoTrainer, "compute_ref_log_probs", counted)
    dpo.build_trainer(inputs, pairs)
    assert len(asked) == math.ceil(len(pairs) / 4) - 1
    assert load_file(kept)["log_probabilities"].shape == (2, len(pairs))


@pytest.mark.parametrize("path", ["fast", "stock"])
def test_a_checkpoint_is_the_adapter_three_times_and_little_else(make_run: MakeRun, path: str) -> None:
    folder = RunFolder(make_run(max_steps=4))
    inputs = StageInputs(folder, replace(load_config(folder.config_path), path=path), lambda: False)
    sft.run(inputs, read_records(folder.path / "sft.jsonl", Target))
    pairs = read_records(folder.path / "preferences.jsonl", Preference)
    trainer, progress = dpo.build_trainer(inputs, pairs)
    train(trainer, progress, folder.checkpoints_dir(Stage.DPO))
    left = sorted(folder.checkpoints_dir(Stage.DPO).glob("checkpoint-*"))
    assert [checkpoint.name for checkpoint in left] == ["checkpoint-3", "checkpoint-4"]
    assert not (left[-1] / "ref").exists(), "TRL's copy of the adapter it began with"
    adapter = (folder.adapter_dir(Stage.SFT) / "adapter_model.safetensors").stat().st_size
    taken = sum(one.stat().st_size for one in left[-1].rglob("*") if one.is_file())
    assert taken <= 3 * adapter + 60_000
    for name in ("optimizer.pt", "adapter_model.safetensors"):
        newest = newest_checkpoint(folder.checkpoints_dir(Stage.DPO))
        assert newest is not None
        cut_off = newest / name
        cut_off.write_bytes(cut_off.read_bytes()[:-100])
        assert newest_checkpoint(folder.checkpoints_dir(Stage.DPO)) != newest


def test_what_a_kill_left_half_written_goes_when_the_run_goes_on(make_run: MakeRun) -> None:
    folder = RunFolder(make_run(max_steps=1))
    for partial in ("sft.partial", "checkpoints/sft/checkpoint-3"):
        (folder.path / partial).mkdir(parents=True)
    (folder.path / "state.json.partial").write_text("{")
    folder.append_metrics({"stage": "sft", "step": 7})
    with folder.metrics_path.open("ab") as file:
        file.write(b'{"stage": "s')
    folder.append_metrics({"stage": "sft", "step": 8})
    assert [row["step"] for row in folder.metrics()] == [7, 8]
    folder.clear()
    assert not list(folder.path.glob("**/*.partial"))
    assert not list(folder.path.glob("checkpoints/*/*"))
