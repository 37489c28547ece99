"""`distil`, `promote`, `rollback` and `demo`: runs, and whose student is served."""

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ooc_app import demo, promotion, runner, snapshot
from ooc_app.commands import launching
from ooc_app.commands.planning import show_plan
from ooc_app.commands.terminal import Add, saying, tell
from ooc_app.desk import Desk
from ooc_app.footprint import footprint
from training.config import NEGATIVE_SETS, with_negatives
from training.presets import DEMO, preset_names, read_plan
from training.prompts import VERDICT_TEXT
from training.report import ablation_rows, stage_seconds, table_rows


def add_commands(add: Add) -> None:
    """Add `distil`, `promote`, `rollback` and `demo`."""
    distil = add("distil", distil_command)
    chosen = distil.add_mutually_exclusive_group()
    chosen.add_argument("--config", type=Path, help="a recipe (TOML), or a run's config.json")
    chosen.add_argument("--preset", choices=preset_names(), default=DEMO)
    distil.add_argument("--run", dest="run_name", help="name of the run (default: the time)")
    distil.add_argument("--resume", metavar="RUN", help="go on with a run that was stopped or killed")
    distil.add_argument("--fetch", metavar="RUN", help="bring back what a rented machine made of a run")
    launching.add_options(distil)
    _add_negatives(distil)
    distil.add_argument("--dry-run", action="store_true", help="say what would be done and needed, and stop")
    add("promote", promote_command).add_argument("promoted", metavar="RUN")
    add("rollback", rollback_command)
    shown = add("demo", demo_command)
    shown.add_argument("--seed", type=int, default=0)
    _add_negatives(shown)


def _add_negatives(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--negatives",
        choices=tuple(NEGATIVE_SETS),
        help="rejected rationales besides the teachers' (default: as the configuration says)",
    )
    command.add_argument("--ablation", action="store_true", help="train stage 2 with each set, and compare")


def distil_command(desk: Desk, given: argparse.Namespace) -> int:
    """Freeze a snapshot and run both stages on it, or resume a run."""
    if given.fetch:
        return launching.fetch(runner.run_dir_of(desk, given.fetch), given)
    launch = launching.chosen_launch(given)
    run_dir = runner.run_dir_of(desk, given.resume) if given.resume else None
    if run_dir is None:
        plan = read_plan(given.config) if given.config else snapshot.plan(desk, given.preset)
        config = with_negatives(plan.config, given.negatives, compare=given.ablation)
        launching.check_shares(config, launch)
        summary = snapshot.preview(desk)
        tried = snapshot.negatives_tried(summary, config)
        negatives = {f"{kind}_negatives_tried": count for kind, count in tried.items()}
        tell(given, "snapshot", {**asdict(summary), **negatives})
        needed = footprint(replace(plan, config=config), summary.cases)
        if given.dry_run:
            show_plan(replace(plan, config=config), needed, given)
            return 0
        if not needed.advice.startswith("Fits"):
            print(needed.advice, file=sys.stderr)
        run_dir = snapshot.freeze(desk, name=given.run_name, config=config)
    if given.launcher == launching.RENTED:
        return launching.rent(run_dir, given)
    runner.start(desk, run_dir, launch)
    view = demo.watched(run_dir, saying(given))
    if view.report is None:
        print(f"The run {view.name} is {view.status}: {view.why}.", file=sys.stderr)
        return 1
    _show_report(view.report, given)
    return 0


def promote_command(desk: Desk, given: argparse.Namespace) -> int:
    """Serve a run's student."""
    promotion.promote(desk, given.promoted)
    print(f"{given.promoted} is served now; `rollback` goes back.")
    return 0


def rollback_command(desk: Desk, given: argparse.Namespace) -> int:
    """Serve again what was served before."""
    promotion.rollback(desk)
    print(f"{promotion.served(desk)} is served again.")
    return 0


def demo_command(desk: Desk, given: argparse.Namespace) -> int:
    """Run the whole loop on the demo desk."""
    report = demo.run_loop(
        desk,
        seed=given.seed,
        say=saying(given, quiet=given.json),
        negatives=given.negatives,
        compare=given.ablation,
    )
    if given.json:
        print(json.dumps(report))
        return 0
    _show_report(report, given)
    answer = report["check"]
    verdict = VERDICT_TEXT[answer["verdict"]]
    print(f'\nOne check: "{answer["caption"]}"')
    print(f"  {verdict} ({answer['probability']:.2f}). {answer['rationale']}")
    return 0


def _show_report(report: dict[str, Any], given: argparse.Namespace) -> None:
    if given.json:
        print(json.dumps(report))
        return
    print(f"{'':34}accuracy   95 % interval")
    for label, scored in table_rows(report):
        _show_score(label, scored)
    compared = ablation_rows(report)
    if compared:
        print("\nstage 2 learns from")
    for label, scored in compared:
        _show_score(label, scored)
    print(
        f"\n{report['rulings']} rulings on {report['training_cases']} training cases "
        f"({report['rulings_share']:.1%}), {report['held_out_cases']} held-out cases; "
        f"stage 1 {stage_seconds(report, 'sft'):.0f} s, "
        f"stage 2 {stage_seconds(report, 'dpo'):.0f} s."
    )


def _show_score(label: str, scored: dict[str, Any]) -> None:
    low, high = scored["interval"]
    print(f"{label:34}{scored['accuracy']:8.3f}   {low:.3f} to {high:.3f}")
