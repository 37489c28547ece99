"""`import`: cases from a data set's file."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from ooc_app.commands.terminal import Add, bar_of
from ooc_app.desk import Desk


def add_commands(add: Add) -> None:
    """Add `import`."""
    importing = add("import", import_command)
    importing.add_argument("format", choices=("native",))
    importing.add_argument("path", type=Path)
    importing.add_argument("--images", type=Path, help="where image paths start (default: the file's folder)")
    importing.add_argument(
        "--split", choices=("train", "validation", "test"), help="for cases that name none"
    )
    importing.add_argument("--name", help="name of the data set (default: the file's)")


def import_command(desk: Desk, given: argparse.Namespace) -> int:
    """Import cases."""
    from ooc_app.intake.native import import_native

    with bar_of("cases", given) as bar:

        def advance(lines: int, share: float) -> None:
            bar.update(lines - bar.n)

        report = import_native(desk, given.path, given.images, given.split, given.name, advance)
    for bad in report.bad:
        print(f"line {bad.line}: {bad.reason}", file=sys.stderr)
    if given.json:
        said = {**asdict(report), "bad": [{"line": bad.line, "reason": bad.reason} for bad in report.bad]}
        print(json.dumps(said))
        return 0
    print(
        f"{report.dataset}: {report.cases} new cases, {report.opinions} new opinions, "
        f"{report.unchanged} unchanged, {report.completed} completed, {report.differing} differing and "
        f"left as they were, {report.without_image} without image, {report.bad_count} bad lines."
    )
    return 0
