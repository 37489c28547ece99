"""`import`: cases from a data set. `opinions`: a teacher's recorded opinions on cases that are there."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from db.vocabulary import Split
from ooc_app.commands.terminal import Add, bar_of
from ooc_app.desk import Desk, open_desk
from ooc_app.intake.entries import BadLine, Source
from ooc_app.intake.formats import FORMATS, import_file, rehearse_file
from ooc_app.intake.importing import ImportReport, Progress
from ooc_app.intake.opinions import KEY, OpinionsReport, import_opinions, opinions_source

SHOWN = 20  # bad lines on a terminal; --json has more
NO_BYTES = 0.01  # of the file read, before the time left can be told


def add_commands(add: Add) -> None:
    """Add `import` and `opinions`."""
    importing = add.on_folder("import", import_command)
    importing.formatter_class = argparse.RawDescriptionHelpFormatter
    importing.epilog = "formats:\n" + "\n".join(f"  {one.name:<15}{one.about}" for one in FORMATS.values())
    importing.add_argument("format", choices=tuple(FORMATS), metavar="FORMAT")
    importing.add_argument("path", type=Path, help="the data set's file; for hf also a folder or a hub id")
    importing.add_argument("--images", type=Path, help="where image paths start (default: the file's folder)")
    importing.add_argument("--split", choices=tuple(Split), help="for cases whose file names none")
    importing.add_argument("--name", help="name of the data set (default: the format's, else the file's)")
    add_rehearsal(importing)
    options = {option.name: option for one in FORMATS.values() for option in one.options}
    for option in options.values():
        having = ", ".join(one.name for one in FORMATS.values() if option in one.options)
        importing.add_argument(
            f"--{option.name}", choices=option.choices or None, help=f"{having}: {option.help}"
        )
    importing.set_defaults(parser=importing)

    opinions = add("opinions", opinions_command)
    opinions.add_argument("action", choices=("import",))
    opinions.add_argument("path", type=Path, help="JSON lines, a JSON list or CSV")
    opinions.add_argument("--teacher", required=True, help="whose opinions they are")
    opinions.add_argument(
        "--map",
        help="verdict:COLUMN,VALUE=WORD,...,*=unsure and where wanted rationale:COLUMN,confidence:COLUMN",
    )
    opinions.add_argument(
        "--key", default=KEY, help="the case's id, made of columns: '{id}-{image_id}' (default: '{id}')"
    )
    opinions.add_argument("--dataset", help="whose cases they are of (default: the desk's only data set)")
    opinions.add_argument(
        "--prompt-version", default="recorded", help="of the prompt the teacher was asked with"
    )
    add_rehearsal(opinions)


def add_rehearsal(parser: argparse.ArgumentParser) -> None:
    """Add --dry-run."""
    parser.add_argument("--dry-run", action="store_true", help="read all and report, but write nothing")


def import_command(data_dir: Path, given: argparse.Namespace) -> int:
    """Import cases."""
    said = {name.replace("_", "-"): value for name, value in vars(given).items()}
    names = {option.name for one in FORMATS.values() for option in one.options}
    options = {name: value for name, value in said.items() if name in names and value is not None}
    own = {option.name for option in FORMATS[given.format].options}
    for name in sorted(options.keys() - own):
        given.parser.error(f"--{name} is no option of {given.format}")
    split = Split(given.split) if given.split else None
    source = Source(given.path, split, options, given.name)
    with bar_of("cases", given) as bar:
        if given.dry_run:
            report = rehearse_file(given.format, source, given.images, advancing(bar))
        else:
            with open_desk(data_dir) as desk:
                report = import_file(desk, given.format, source, given.images, advancing(bar))
    show_lines(report.bad, report.bad_count, FORMATS[given.format].unit, given)
    print(json.dumps(report.figures()) if given.json else import_summary(report, dry_run=given.dry_run))
    return nothing_good(report.read, report.bad_count)


def opinions_command(desk: Desk, given: argparse.Namespace) -> int:
    """Import a teacher's recorded opinions."""
    source = opinions_source(given.path, given.teacher, given.map, given.key, given.prompt_version)
    with bar_of("opinions", given) as bar:
        report = import_opinions(desk, source, given.dataset, advancing(bar), rehearse=given.dry_run)
    show_lines(report.bad, report.bad_count, "line", given)
    show_lines(report.unmatched, report.unmatched_count, "line", given)
    print(json.dumps(report.figures()) if given.json else opinions_summary(report, dry_run=given.dry_run))
    return nothing_good(report.matched, report.bad_count + report.unmatched_count)


def advancing(bar: Any) -> Progress:
    """Return what moves the bar on; its end, and so the time left, is told by the share of the file read."""

    def advance(lines: int, share: float) -> None:
        if share > NO_BYTES:
            bar.total = round(lines / share)
        bar.update(lines - bar.n)

    return advance


def show_lines(lines: Sequence[BadLine], count: int, unit: str, given: argparse.Namespace) -> None:
    """Print the first bad lines; with --json all that were kept."""
    shown = lines if given.json else lines[:SHOWN]
    for bad in shown:
        print(f"{unit} {bad.line}: {bad.reason}", file=sys.stderr)
    if count > len(shown):
        print(f"and {count - len(shown):,} more", file=sys.stderr)


def nothing_good(good: int, bad: int) -> int:
    """Return the exit status: 1 where there were lines and not one of them was good."""
    if bad and not good:
        print("Nothing was taken: see the lines above.", file=sys.stderr)
        return 1
    return 0


def import_summary(report: ImportReport, *, dry_run: bool) -> str:
    """Say in a few lines what an import did."""
    names = ", ".join(sorted(report.by_dataset)) or report.dataset
    lines = [
        f"{names}: {report.cases} new cases, {report.opinions} new opinions, {report.unchanged} unchanged, "
        f"{report.completed} completed, {report.differing} differing and left as they were, "
        f"{report.without_image} without image, {report.bad_count} bad.",
        f"gold: {counted(report.by_gold)}; split: {counted(report.by_split)}",
        *(f"left out: {count}, {reason}" for reason, count in report.left_out.items()),
    ]
    return "\n".join(["Nothing was written; on an empty desk this would be", *lines] if dry_run else lines)


def opinions_summary(report: OpinionsReport, *, dry_run: bool) -> str:
    """Say in a few lines what an import of opinions did."""
    lines = [
        f"{report.teacher} on {report.dataset}: {report.matched} matched, {report.new} new, "
        f"{report.changed} changed, {report.unchanged} unchanged, {report.unmatched_count} without a case, "
        f"{report.bad_count} bad.",
        f"verdict: {counted(report.by_verdict)}",
    ]
    return "\n".join(["Nothing was written; this would be", *lines] if dry_run else lines)


def counted(counts: dict[str, int]) -> str:
    """Say how many there are of each."""
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing"
