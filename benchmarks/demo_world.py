"""The whole demo for several seeds: does each step of the method gain, and how long does it take?

    python benchmarks/demo_world.py [--seeds 0 1 2] [--json]

Each seed is `python -m ooc_app demo --json` in a process and a folder of its own.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script finds its own folder only

from benchmarks.report import Figure, figure, show
from training.report import PARTS, stage_seconds

PROJECT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Run the seeds and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    figures = [one for seed in given.seeds for one in _figures(seed, _demo(seed))]
    show("demo_world", ("torch", "transformers", "trl", "peft"), figures, as_json=given.json)


def _demo(seed: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "ooc_app", "demo", "--json", "--seed", str(seed)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _figures(seed: int, report: dict[str, Any]) -> list[Figure]:
    accuracy = {name: report[name]["accuracy"] for name in ("majority", "base", "stage1", "stage2")}
    gap = report["stage2"]["interval"][0] - report["base"]["interval"][1]

    def of_seed(what: str, value: float, unit: str, goal: str | None = None) -> Figure:
        return figure(f"seed {seed}: {what}", value, unit, goal)

    return [
        *(of_seed(name, scored["accuracy"], "accuracy") for name, scored in report["teachers"].items()),
        of_seed("majority", accuracy["majority"], "accuracy"),
        of_seed("untouched student", accuracy["base"], "accuracy"),
        of_seed("stage 1", accuracy["stage1"], "accuracy", f"> {accuracy['majority']}"),
        of_seed("stage 2", accuracy["stage2"], "accuracy", f"> {accuracy['stage1']}"),
        of_seed("between the intervals of base and stage 2", gap, "accuracy", "> 0"),
        of_seed("rulings per training case", report["rulings_share"], "share", "<= 0.1"),
        of_seed("held-out cases", report["held_out_cases"], "cases", ">= 400"),
        of_seed("both stages", sum(stage_seconds(report, stage) for stage in PARTS), "s", "<= 180"),
    ]


if __name__ == "__main__":
    main()
