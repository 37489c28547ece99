"""The memory estimate against the measured peak of real stages, each in a process of its own.

The peak is the kernel's own (VmHWM of /proc/self/status, resident memory), libraries included, while the
steps go. The estimate is given the lengths of the longest row as they are, in tokens.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script finds its own folder only

import torch

from benchmarks.report import figure, show
from benchmarks.stages import MODELS, Model, _Bench, _quiet
from db.vocabulary import Stage
from training import memory
from training.shapes import shape_of

STEPS = 3


def main() -> None:
    """Measure both stages of each student and print estimate, peak and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--one", nargs=2, metavar=("MODEL", "STAGE"), help="train one stage and print its peak"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.one:
        name, stage = given.one
        print(json.dumps(_trained(next(model for model in MODELS if model.name == name), Stage(stage))))
        return
    figures = []
    for model in MODELS:
        for stage in Stage:
            asked = [sys.executable, __file__, "--one", model.name, stage.value]
            said = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
            what = f"{model.name}, {stage.value}"
            figures += [
                figure(f"{what}, measured peak", said["peak"] / 1e9, "GB"),
                figure(f"{what}, estimate", said["estimate"] / 1e9, "GB"),
                figure(f"{what}, estimate over peak", said["estimate"] / said["peak"], "x"),
            ]
    show("memory", ("torch", "transformers", "trl", "peft"), figures, as_json=given.json)


def _trained(model: Model, stage: Stage) -> dict[str, float]:
    """Train a few steps and return the peak of training alone and the estimate, in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(Path(folder), model, stage)
        with _quiet():
            trainer = bench._trainer(bench._inputs("fast", replace(bench.config, max_steps=STEPS)))
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
            trainer.train()
        peak = _status("VmHWM:")
        rows = trainer.data_collator.inner.rows
        shape = shape_of(bench.config.student)
        if shape is None:
            raise ValueError(f"The shape of {bench.config.student} cannot be read.")
        made = memory.estimate(
            bench.config,
            shape,
            memory.Machine("cpu", 0),
            pictures=len(rows),
            prompt_tokens=max(len(row.prompt) for row in rows) - shape.image_tokens,
            answer_tokens=max(len(answer) for row in rows for answer in row.answers),
        )
    training = made.passing["stage 1" if stage is Stage.SFT else "stage 2"]
    total = sum(made.standing.values()) + training
    return {"peak": peak, "estimate": total}


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(name))) * 1024


if __name__ == "__main__":
    main()
