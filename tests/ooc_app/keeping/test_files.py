"""What a backup keeps of a run while the run's process goes on."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from db.vocabulary import RunStatus, Stage
from ooc_app.desk import Desk
from ooc_app.keeping import files
from ooc_app.keeping.backup import back_up
from ooc_app.keeping.files import copy_files
from ooc_app.keeping.whole import place
from tests.ooc_app.keeping.conftest import AddRun, add_checkpoint


def silent(what: str, figures: dict[str, Any]) -> None:
    """Say nothing."""


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_what_is_on_its_way_to_its_place_is_left_where_it_is(
    used_desk: Desk, add_run: AddRun, tmp_path: Path
) -> None:
    run = add_run("going", status=RunStatus.RUNNING)
    (used_desk.runs_dir / ".next.partial").mkdir()
    (used_desk.runs_dir / ".next.partial" / "sft.jsonl").write_text("")
    (run.path / "sft.partial").mkdir()
    (run.path / "sft.partial" / "adapter_model.safetensors").write_text("")
    (run.path / "state.json.partial").write_text("")
    (used_desk.data_dir / "demo.json.partial").write_text("")
    back_up(used_desk, tmp_path / "backup")
    assert [name for name in names(tmp_path / "backup") if "partial" in name or name.endswith("lock")] == []
    assert (tmp_path / "backup" / "runs" / "going" / "state.json").exists()


def test_a_checkpoint_that_is_being_written_is_left_out_and_the_one_before_it_kept(
    used_desk: Desk, add_run: AddRun, tmp_path: Path
) -> None:
    run = add_run("going", status=RunStatus.RUNNING)
    add_checkpoint(run, "sft", 20)
    add_checkpoint(run, "sft", 40, whole=False)
    back_up(used_desk, tmp_path / "backup")
    kept = tmp_path / "backup" / "runs" / "going" / "checkpoints" / "sft"
    assert [path.name for path in kept.iterdir()] == ["checkpoint-20"]
    assert len(list((kept / "checkpoint-20").iterdir())) == 2


def test_a_checkpoint_that_goes_while_it_is_copied_is_dropped_whole(
    used_desk: Desk, add_run: AddRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = add_run("going", status=RunStatus.RUNNING)
    going = add_checkpoint(run, "sft", 20)
    listed = files._listed

    def listed_and_gone(folder: Path) -> list[Path]:
        found = listed(folder)
        if folder == going:  # the trainer makes room right after this look
            for path in found:
                path.unlink()
            folder.rmdir()
        return found

    monkeypatch.setattr(files, "_listed", listed_and_gone)
    made = back_up(used_desk, tmp_path / "backup")
    assert [name for name in made.files if "checkpoint" in name] == []
    assert [name for name in names(tmp_path / "backup") if "checkpoint" in name] == []


@pytest.mark.parametrize("moment", range(12))
def test_whenever_a_run_ends_its_copy_never_claims_more_than_it_holds(
    moment: int, used_desk: Desk, add_run: AddRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let a run that is in stage 2 come to its end after so many files were copied."""
    run = add_run("going", status=RunStatus.RUNNING)
    run.adapter_dir(Stage.SFT).mkdir()
    (run.adapter_dir(Stage.SFT) / "adapter_model.safetensors").write_bytes(b"stage 1")
    checkpoint = add_checkpoint(run, "dpo", 20)
    copied = 0

    def end() -> None:
        run.adapter_dir(Stage.DPO).mkdir()
        (run.adapter_dir(Stage.DPO) / "adapter_model.safetensors").write_bytes(b"stage 2")
        for path in checkpoint.iterdir():
            path.unlink()
        checkpoint.rmdir()
        (run.path / "calibration.json").write_text("{}")
        (run.path / "report.md").write_text("")
        run.report_path.write_text("{}")
        run.say(status=RunStatus.COMPLETE)

    def place_and_count(source: Path, target: Path, *, link: bool = True) -> bool:
        nonlocal copied
        if "runs" in source.parts:
            if copied == moment:
                end()
            copied += 1
        return place(source, target, link=link)

    monkeypatch.setattr(files, "place", place_and_count)
    (tmp_path / "backup").mkdir()
    stamps = copy_files(used_desk.data_dir, tmp_path / "backup", silent).stamps
    kept = tmp_path / "backup" / "runs" / "going"
    assert copied > moment
    has = {name: (kept / name).exists() for name in ("report.json", "calibration.json", "dpo", "sft")}
    said = json.loads((kept / "state.json").read_text())["status"]
    assert has["sft"]
    assert said != RunStatus.COMPLETE or has["report.json"]
    assert not has["report.json"] or (has["calibration.json"] and has["dpo"])
    whole = kept / "checkpoints" / "dpo" / "checkpoint-20"
    assert not whole.exists() or len(list(whole.iterdir())) == 2
    assert has["dpo"] or whole.exists()  # nothing is learnt twice
    assert {f"runs/going/{name}" for name in names(kept) if not name.startswith("images/")} == {
        name for name in stamps if name.startswith("runs/")
    }


def test_what_a_run_appends_to_is_copied_and_what_it_writes_once_is_shared(
    used_desk: Desk, add_run: AddRun, tmp_path: Path
) -> None:
    run = add_run("going", status=RunStatus.RUNNING)
    run.adapter_dir(Stage.SFT).mkdir()
    (run.adapter_dir(Stage.SFT) / "adapter_model.safetensors").write_bytes(b"stage 1")
    made = back_up(used_desk, tmp_path / "backup")
    before = (tmp_path / "backup" / "runs" / "going" / "metrics.jsonl").read_text()
    run.append_metrics({"stage": "sft", "step": 2})
    assert (tmp_path / "backup" / "runs" / "going" / "metrics.jsonl").read_text() == before
    adapter = Path("runs/going/sft/adapter_model.safetensors")
    assert (tmp_path / "backup" / adapter).samefile(used_desk.data_dir / adapter)
    assert made.files[str(adapter)].size == 7
    assert made.run_pictures == 4


def test_what_is_no_file_is_passed_over(used_desk: Desk, tmp_path: Path) -> None:
    os.mkfifo(used_desk.data_dir / "pipe")
    (used_desk.data_dir / "unplugged").symlink_to(tmp_path / "nowhere")
    assert set(back_up(used_desk, tmp_path / "backup").files) == {"desk.db", "settings.toml"}


def test_what_people_add_to_the_data_folder_is_kept_too(used_desk: Desk, tmp_path: Path) -> None:
    (used_desk.data_dir / "guidelines").mkdir()
    (used_desk.data_dir / "guidelines" / "house style.md").write_text("Read twice.")
    made = back_up(used_desk, tmp_path / "backup")
    assert "guidelines/house style.md" in made.files
    assert (tmp_path / "backup" / "guidelines" / "house style.md").read_text() == "Read twice."


def test_what_a_run_computes_anew_is_not_copied(tmp_path: Path) -> None:
    run_dir = tmp_path / "data" / "runs" / "going"
    for folder in ("features", "images"):
        (run_dir / folder).mkdir(parents=True)
        (run_dir / folder / "one").write_bytes(b"bytes")
    (tmp_path / "backup").mkdir()
    copy_files(tmp_path / "data", tmp_path / "backup", lambda what, figures: None)
    copied = tmp_path / "backup" / "runs" / "going"
    assert (copied / "images" / "one").exists()
    assert not (copied / "features").exists()
