"""Negatives of a student that has hardly learnt anything: which are kept, and how making them resumes."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from db.vocabulary import PreferenceOrigin, Verdict
from tests.training.conftest import MakeRun
from training import distil, negatives, sft
from training.config import NEGATIVES, ConfigError, NegativesConfig, load_config, save_config, with_negatives
from training.negatives import Candidate, judged
from training.preferences import stage2_preferences
from training.records import CaseInput, Preference, Target, read_records
from training.stage import StageInputs, StageStopped
from training.state import RunFolder

pytestmark = pytest.mark.usefixtures("one_thread")
PROJECT = Path(__file__).resolve().parents[2]
IN, OUT = Verdict.IN_CONTEXT, Verdict.OUT_OF_CONTEXT
PREFERENCE = Preference(CaseInput("1", "images/1.jpg", "A caption."), IN, "It fits.", "It does not fit.")


def candidate(verdict: Verdict, rationale: str) -> Candidate:
    return Candidate(PREFERENCE, PreferenceOrigin.WEAKENED, verdict, rationale, "stage-1 student", 900)


def stage1(run_dir: Path, *, batch_size: int = 4, ablation: bool = False) -> StageInputs:
    """Train stage 1 of a folder for a step, with both kinds of negatives asked for."""
    folder = RunFolder(run_dir)
    config = with_negatives(load_config(folder.config_path), "both", compare=ablation)
    settings = NegativesConfig(NEGATIVES, batch_size=batch_size, max_new_tokens=8)
    object.__setattr__(config, "negatives", settings)
    save_config(config, folder.config_path)
    inputs = StageInputs(folder, load_config(folder.config_path), lambda: False)
    sft.run(inputs, read_records(run_dir / "sft.jsonl", Target))
    return inputs


@pytest.mark.parametrize(
    "wrong", [{"kinds": ("conflict",)}, {"weakened_share": 1.1}, {"noise_step": 1000}, {"max_new_tokens": 0}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        NegativesConfig(**wrong)  # type: ignore[arg-type]


def test_what_says_the_chosen_or_is_as_likely_is_no_negative() -> None:
    assert judged(candidate(IN, "It fits."), -1.0, -2.0) == (None, "says what was chosen")
    assert judged(candidate(IN, "It shows rain."), -1.0, -1.0) == (None, "as likely as the chosen")


def test_what_is_less_likely_on_the_clean_picture_keeps_its_own_verdict() -> None:
    kept, why = judged(candidate(IN, "It shows rain."), -1.0, -1.5)
    assert kept is not None
    assert (kept.verdict, kept.rejected_side, kept.chosen, kept.rejected) == (
        IN,
        IN,
        "It fits.",
        "It shows rain.",
    )
    assert kept.provenance is not None
    assert (why, kept.provenance.kept_because, kept.provenance.noise_step) == (
        "less likely",
        "less likely",
        900,
    )


def test_a_wrong_verdict_is_kept_however_likely() -> None:
    kept, why = judged(candidate(OUT, "It shows rain."), -1.0, -0.5)
    assert kept is not None
    assert (kept.rejected_side, why) == (OUT, "wrong verdict")


def test_preferences_of_older_versions_are_rejected_for_the_other_verdict() -> None:
    old = {"case": {"id": "1", "image": "a.jpg", "caption": ""}, "verdict": "in_context", "chosen": "a"}
    read = Preference.parse({**old, "rejected": "b", "origin": "conflict"})
    assert (read.rejected_side, read.provenance) == (OUT, None)


def test_a_stop_between_batches_loses_none_and_changes_nothing(make_run: MakeRun) -> None:
    inputs = stage1(make_run(max_steps=1))
    path = inputs.folder.path / "negatives.jsonl"
    negatives.run(inputs)
    whole = path.read_bytes()
    path.unlink()
    asked = iter([False, True])
    with pytest.raises(StageStopped):
        negatives.run(StageInputs(inputs.folder, inputs.config, lambda: next(asked)))
    assert not path.exists()
    begun = inputs.folder.path / "checkpoints" / "negatives.jsonl"
    begun.write_bytes(begun.read_bytes() + b'{"kept": [{"case"')
    negatives.run(inputs)
    assert path.read_bytes() == whole
    assert not begun.exists()
    counts = json.loads((inputs.folder.path / "negatives_counts.json").read_text())
    assert counts["weakened: tried"] == counts["injected: tried"] == 8
    outcomes = sum(count for what, count in counts.items() if "tried" not in what)
    assert outcomes == 16, "every candidate is kept or dropped, and counted"


def test_a_run_learns_from_its_negatives_and_compares_them(make_run: MakeRun) -> None:
    folder = RunFolder(make_run(max_steps=1))
    stage1(folder.path, ablation=True)
    report = distil.run(folder)
    made = read_records(folder.path / "negatives.jsonl", Preference)
    assert made, "hardly anything is likely to a student that has learnt nothing"
    assert len(stage2_preferences(folder.path, NEGATIVES)) == 8 + len(made)
    rows = report["ablation"]
    assert list(rows) == ["none", "weakened", "injected", "both"]
    assert rows["none"]["preferences"] == 8
    assert rows["both"]["by_origin"].keys() == {"conflict", *(one.origin.value for one in made)}
    assert rows["both"]["accuracy"] == report["stage2"]["accuracy"], (
        "the run's own variant is not trained twice"
    )
    for row in rows.values():
        low, high = row["interval"]
        assert low <= row["accuracy"] <= high
        assert row["margin"] is not None
    assert sorted(path.name for path in (folder.path / "ablation").iterdir()) == sorted(
        f"{n}.json" for n in rows
    )
    assert not (folder.path / "checkpoints").exists()
    assert "| + both |" in (folder.path / "report.md").read_text()

    before = {path: path.stat().st_mtime_ns for path in (folder.path / "ablation").iterdir()}
    (folder.path / "ablation" / "weakened.json").unlink()
    folder.report_path.unlink()
    again = distil.run(folder)
    assert again["ablation"] == rows, "what is missing is trained again, and comes out the same"
    kept = {path for path, when in before.items() if path.stat().st_mtime_ns == when}
    assert {path.stem for path in kept} == {"none", "injected", "both"}


def test_a_run_killed_while_it_compares_goes_on_with_the_sets_that_are_missing(make_run: MakeRun) -> None:
    folder = RunFolder(make_run(max_steps=2))
    stage1(folder.path, ablation=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "training", str(folder.path)],
        cwd=PROJECT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    begun = folder.path / "checkpoints" / "ablation" / "weakened" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not begun.exists():
        assert process.poll() is None, "the run ended before it got there"
        assert time.monotonic() < deadline, "the run never got there"
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert {path.name for path in (folder.path / "ablation").iterdir()} == {"none.json"}
    report = distil.run(folder)
    assert list(report["ablation"]) == ["none", "weakened", "injected", "both"]
    assert report["ablation"]["weakened"]["steps"] == 2
    assert not (folder.path / "checkpoints").exists()
