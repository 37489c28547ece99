"""The whole demo for several seeds: does each step of the method gain, and how long does it take?

    python benchmarks/demo_world.py [--seeds 0 1 2] [--json]

Each seed is `python -m ooc_app demo --json` in a process and a folder of its own.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Run the seeds and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    figures = [figure for seed in given.seeds for figure in _figures(seed, _demo(seed))]
    if given.json:
        machine = f"{platform.machine()}, {os.cpu_count()} cores"
        versions = {name: version(name) for name in ("torch", "transformers", "trl", "peft")}
        print(
            json.dumps(
                {"benchmark": "demo_world", "machine": machine, "versions": versions, "figures": figures}
            )
        )
        return
    for figure in figures:
        met = {True: "met", False: "missed", None: ""}[figure["met"]]
        print(
            f"{figure['what']:48}{figure['value']:>10} {figure['unit']:10}{figure['goal'] or '':>10}  {met}"
        )


def _demo(seed: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "ooc_app", "demo", "--json", "--seed", str(seed)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _figures(seed: int, report: dict[str, Any]) -> list[dict[str, Any]]:
    accuracy = {name: report[name]["accuracy"] for name in ("majority", "base", "stage1", "stage2")}
    gap = report["stage2"]["interval"][0] - report["base"]["interval"][1]

    def figure(what: str, value: float, unit: str, goal: str | None, is_met: bool | None) -> dict[str, Any]:
        return {"what": f"seed {seed}: {what}", "value": value, "unit": unit, "goal": goal, "met": is_met}

    return [
        *(
            figure(f"{name}", scored["accuracy"], "accuracy", None, None)
            for name, scored in report["teachers"].items()
        ),
        figure("majority", accuracy["majority"], "accuracy", None, None),
        figure("untouched student", accuracy["base"], "accuracy", None, None),
        figure(
            "stage 1",
            accuracy["stage1"],
            "accuracy",
            f"> {accuracy['majority']}",
            accuracy["stage1"] > accuracy["majority"],
        ),
        figure(
            "stage 2",
            accuracy["stage2"],
            "accuracy",
            f"> {accuracy['stage1']}",
            accuracy["stage2"] > accuracy["stage1"],
        ),
        figure("between the intervals of base and stage 2", round(gap, 4), "accuracy", "> 0", gap > 0),
        figure(
            "rulings per training case",
            report["rulings_share"],
            "share",
            "<= 0.1",
            report["rulings_share"] <= 0.1,
        ),
        figure(
            "held-out cases", report["held_out_cases"], "cases", ">= 400", report["held_out_cases"] >= 400
        ),
        figure("both stages", report["seconds"]["total"], "s", "<= 180", report["seconds"]["total"] <= 180),
    ]


if __name__ == "__main__":
    main()
