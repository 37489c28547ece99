"""`stats` and `audit`: what the desk holds, and how often its teachers agree on a mistake."""

import argparse
import json
from datetime import UTC, datetime
from typing import Any

from db import audits
from db.engine import write_session
from db.stats import stats
from ooc_app.commands.terminal import Add, UsageError
from ooc_app.desk import Desk
from ooc_app.render import interval, percent


def add_commands(add: Add) -> None:
    """Add `stats` and `audit`."""
    add("stats", stats_command)
    audit = add("audit", audit_command)
    audit.add_argument("--sample", type=int, metavar="N", help="draw N more agreed cases into the queue")
    audit.add_argument("--seed", type=int, help="make the draw repeatable")


def stats_command(desk: Desk, given: argparse.Namespace) -> int:
    """Say what the desk holds, and how far teachers and people agree."""
    with desk.sessions() as session:
        figures = stats(session)
    if given.json:
        print(json.dumps(figures))
        return 0
    for name in ("cases", "cases_without_image", "opinions", "agreed", "agreed_wrong", "rulings", "queued"):
        print(f"{name.replace('_', ' '):24}{figures[name]:>12,}")
    for name in ("by_split", "by_gold", "conflicts", "queue"):
        print(f"{name.replace('_', ' '):24}" + ", ".join(f"{key} {n:,}" for key, n in figures[name].items()))
    for teacher in figures["teachers"]:
        print(f"teacher {teacher['name']}: {teacher['opinions']:,} opinions, {_of_teacher(teacher)}")
    _show_agreement("teachers", figures["agreement"])
    _show_agreement("annotators", figures["agreement"]["annotators"])
    _show_audit(figures["audit"])
    for odd in figures["called_out"]:
        print(f"! {odd['sentence']}")
    return 0


def audit_command(desk: Desk, given: argparse.Namespace) -> int:
    """Draw agreed cases for people to rule on blind, and report the error of the pseudo-labels."""
    if given.sample is not None and given.sample < 1:
        raise UsageError(f"--sample {given.sample} draws nothing: give a number from 1.")
    drawn = 0
    if given.sample:
        with write_session(desk.sessions) as session:
            drawn = audits.draw(session, given.sample, datetime.now(UTC), seed=given.seed)
    with desk.sessions() as session:
        estimate = audits.estimate(session)
    if given.json:
        print(json.dumps({"drawn": drawn, **estimate}))
        return 0
    if given.sample:
        fewer = "" if drawn == given.sample else "; no more agreed training cases with a picture are left"
        print(f"{drawn:,} cases drawn into the queue{fewer}.")
    _show_audit(estimate)
    for source in estimate["by_source"]:
        print(f"  {source['source'] or 'no source':40}{_error(source)}")
    return 0


def _of_teacher(teacher: dict[str, Any]) -> str:
    accuracy, kappa = teacher["accuracy"], teacher["kappa_with_rulings"]
    right = "accuracy unknown without gold verdicts" if accuracy is None else f"accuracy {accuracy:.3f}"
    return right + (f", kappa with rulings {kappa:.2f}" if kappa is not None else "")


def _show_agreement(whose: str, agreement: dict[str, Any]) -> None:
    alpha = agreement["krippendorff_alpha"]
    said = agreement["why"] if alpha is None else f"Krippendorff's alpha {alpha:.3f}"
    print(f"agreement of {whose}: {said}")
    for pair in agreement["pairs"]:
        kappa = pair["why"] if pair["kappa"] is None else f"kappa {pair['kappa']:.3f}"
        differ = percent(pair["conflict_rate"])
        print(f"  {pair['a']} and {pair['b']}: {kappa}, differ on {differ} of {pair['cases']:,} cases")


def _show_audit(estimate: dict[str, Any]) -> None:
    if estimate["sampled"]:
        print(f"audit of agreed cases: {_error(estimate)}")
    else:
        print("audit of agreed cases: none drawn yet; begin with `audit --sample 200`.")


def _error(estimate: dict[str, Any]) -> str:
    ruled = f"{estimate['ruled']:,} of {estimate['sampled']:,} ruled on"
    if estimate["error"] is None:
        return ruled
    return f"{ruled}, {estimate['wrong']:,} wrong: {estimate['error']:.3f} {interval(estimate['interval'])}"
