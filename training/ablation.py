"""What negatives bring: stage 2 from the same stage 1, with and without each kind of them.

Every variant has the settings of the run, so one with more preferences takes more steps. It is trained in
`checkpoints/ablation/NAME`, a run folder of its own that borrows all but its preferences, judged on the
run's held-out cases, and written to `ablation/NAME.json`; then the folder goes. The variant the run itself
trained is not trained again.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from db.vocabulary import PreferenceOrigin, Stage
from training import dpo
from training.config import NEGATIVE_SETS, save_config
from training.evaluate import Score
from training.preferences import stage2_preferences
from training.report import first_and_last
from training.stage import StageInputs, StageStopped
from training.state import RunFolder, write_whole

BORROWED = ("snapshot.json", "images", "features", Stage.SFT.value)


def run(inputs: StageInputs, judged: Callable[[Path], Score]) -> None:
    """Train and judge every variant that has no result yet. Raises StageStopped where it was asked to stop.

    `judged` scores the student of a run folder's stage 2 on the held-out cases.
    """
    folder = inputs.folder
    for number, (name, kinds) in enumerate(NEGATIVE_SETS.items()):
        result_path = folder.path / "ablation" / f"{name}.json"
        if result_path.exists():
            continue
        if inputs.stop_requested():
            raise StageStopped
        folder.say(stage="ablation", step=number, steps=len(NEGATIVE_SETS))
        own = set(kinds) == set(inputs.config.negatives.kinds)
        variant = folder if own else _trained(inputs, name, kinds)
        result = {
            **judged(variant.path).as_dict(),
            **_learnt_from(folder.path, kinds),
            **_training(variant),
        }
        result_path.parent.mkdir(exist_ok=True)
        write_whole(result_path, json.dumps(result, indent=2) + "\n")
        if not own:
            shutil.rmtree(variant.path)
    folder.say(stage="ablation", step=len(NEGATIVE_SETS), steps=len(NEGATIVE_SETS))
    shutil.rmtree(folder.path / "checkpoints", ignore_errors=True)  # by now only what was begun here


def _trained(inputs: StageInputs, name: str, kinds: tuple[PreferenceOrigin, ...]) -> RunFolder:
    """Return the variant's folder, its stage 2 trained; one that was begun goes on where it was."""
    root = inputs.folder.path
    variant = RunFolder(root / "checkpoints" / "ablation" / name)
    variant.path.mkdir(parents=True, exist_ok=True)
    inputs.folder.features_dir.mkdir(exist_ok=True)
    for borrowed in BORROWED:
        link = variant.path / borrowed
        if not link.is_symlink():
            link.symlink_to(os.path.relpath(root / borrowed, variant.path))
    save_config(inputs.config, variant.config_path)
    if not variant.adapter_dir(Stage.DPO).is_dir():
        dpo.run(replace(inputs, folder=variant), stage2_preferences(root, kinds))
    return variant


def _learnt_from(run_dir: Path, kinds: tuple[PreferenceOrigin, ...]) -> dict[str, Any]:
    origins = Counter(one.origin.value for one in stage2_preferences(run_dir, kinds))
    return {"preferences": origins.total(), "by_origin": dict(origins)}


def _training(variant: RunFolder) -> dict[str, Any]:
    """Return how many steps stage 2 took, and how margin and chosen log-probability went."""
    rows = [row for row in variant.metrics() if row["stage"] == Stage.DPO]
    return {
        "steps": rows[-1]["steps"] if rows else 0,
        **{name: first_and_last(rows, name) for name in ("margin", "logp_chosen")},
    }
