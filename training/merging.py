"""Merge a run's adapter into its untouched student: a whole model that needs no PEFT to load.

The folder holds what `AutoModelForImageTextToText` and `AutoProcessor` read, and beside it what the desk
does: the temperature, how finely pictures are looked at, and the tiny student's domain.
"""

import shutil
from pathlib import Path

from db.vocabulary import Stage
from training.adapter_card import adapter_card
from training.base import StudentError, load_configured
from training.config import load_config, located
from training.resolution import write_settings
from training.state import RunFolder, RunFolderError
from training.student import with_adapter

BESIDE_THE_STUDENT = ("domain.json", "domain.safetensors")


def merge(run_dir: Path, target: Path, stage: Stage | None = None) -> Stage:
    """Write the merged model of a stage, by default the last, and return the stage.

    The folder appears whole or not at all. Raises RunFolderError where the target is there already, the run
    is not complete, or the untouched student cannot be loaded.
    """
    if target.exists():
        raise RunFolderError(f"{target} is there already: give a folder that is not.")
    folder = RunFolder(run_dir)
    folder.check()
    report = folder.report()
    if report is None:
        raise RunFolderError(f"The run {run_dir.name} is not complete: let it finish, then merge it.")
    merged_stage = stage or folder.newest_stage() or Stage.SFT
    config = load_config(folder.config_path)
    try:
        base, processor = load_configured(config, to_train=False)
        model = with_adapter(base, run_dir, merged_stage)
    except StudentError as error:
        raise RunFolderError(str(error)) from error
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        model.save_pretrained(partial)
        processor.save_pretrained(partial)
        write_settings(config.images, partial)
        _copy_beside(Path(located(config.student)), run_dir, partial)
        card = adapter_card(folder, report, merged_stage, merged=True)
        (partial / "README.md").write_text(card, encoding="utf-8")
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return merged_stage


def _copy_beside(student: Path, run_dir: Path, target: Path) -> None:
    beside = [student / name for name in BESIDE_THE_STUDENT]
    for path in (*beside, run_dir / "calibration.json"):
        if path.is_file():
            shutil.copyfile(path, target / path.name)
