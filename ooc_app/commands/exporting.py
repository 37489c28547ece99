"""`export`: cases into a file or folder."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from db.vocabulary import Split
from ooc_app.commands.terminal import Add, bar_of
from ooc_app.desk import Desk
from ooc_app.export.formats import FORMATS


def add_commands(add: Add) -> None:
    """Add `export`."""
    exporting = add("export", export_command)
    exporting.formatter_class = argparse.RawDescriptionHelpFormatter
    exporting.epilog = "\n".join(f"{name:14}{given.about}" for name, given in FORMATS.items())
    exporting.add_argument("format", choices=tuple(FORMATS))
    exporting.add_argument("path", type=Path, help="a new file; for hf a new folder")
    exporting.add_argument("--split", type=Split, choices=tuple(Split), help="cases of this split only")
    exporting.add_argument("--dataset", help="cases of this data set only")
    exporting.add_argument("--settled", action="store_true", help="settled cases only")
    exporting.add_argument("--images", type=Path, metavar="DIR", help="copy the pictures there, too")
    exporting.add_argument("--names", action="store_true", help="name annotators (default: by number)")
    exporting.add_argument("--overwrite", action="store_true", help="replace an earlier export")


def export_command(desk: Desk, given: argparse.Namespace) -> int:
    """Export cases, all or selected ones, in one of the formats below."""
    from db.views import Selection
    from ooc_app.export.exporting import export_cases

    with bar_of("cases", given) as bar:

        def advance(done: int, of: int) -> None:
            bar.total = of
            bar.update(done - bar.n)

        report = export_cases(
            desk,
            given.format,
            given.path,
            selection=Selection(split=given.split, dataset=given.dataset, settled=given.settled),
            images_dir=given.images,
            names=given.names,
            overwrite=given.overwrite,
            progress=advance,
        )
    if given.json:
        print(json.dumps(asdict(report)))
        return 0
    missing = f", {report.missing_images} pictures missing" if report.missing_images else ""
    print(f"{report.path}: {report.records} records of {report.cases} cases{missing}.")
    if report.pictures:
        print(report.pictures)
    return 0
