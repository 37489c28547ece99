"""The command line: `python -m ooc_app COMMAND`.

Exit status 0 done, 2 wrong use, 1 failed with one clear line on stderr (a traceback only with
`--debug`).
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from db.engine import UnusableDatabaseError
from db.passwords import WeakPasswordError
from db.people import PersonError
from db.teaching import TeachingError
from db.worth import WrongRuleError
from ooc_app import promotion, runner, snapshot
from ooc_app.checks.question import CheckRefusedError
from ooc_app.commands import (
    checking,
    copying,
    distilling,
    exporting,
    figures,
    importing,
    inspecting,
    keeping,
    people,
    publishing,
    queueing,
    teaching,
)
from ooc_app.commands.terminal import DeskCommand, FolderCommand, UsageError
from ooc_app.copying import CopyError
from ooc_app.desk import DataFolderError, SettingsError, open_desk
from ooc_app.desk_work import BusyError
from ooc_app.export.destination import ExportError
from ooc_app.intake.entries import ImportFileError
from ooc_app.intake.images import ImageRefusedError
from ooc_app.keeping.whole import KeepingError
from ooc_app.launchers import LaunchError
from ooc_app.serving import ServingError
from training.config import ConfigError
from training.publishing import PublishingError
from training.state import RunFolderError
from training.teachers import TeacherError

GROUPS = (
    importing, exporting, figures, queueing, people, distilling, publishing, checking, inspecting, keeping,
    copying, teaching,
)  # fmt: skip
EXPECTED = (
    BusyError, CheckRefusedError, ConfigError, CopyError, DataFolderError, ExportError, ImageRefusedError,
    ImportFileError, KeepingError, LaunchError, PersonError, promotion.PromotionError, PublishingError,
    runner.RunError, RunFolderError, ServingError, SettingsError, snapshot.SnapshotError, TeacherError,
    TeachingError, UnusableDatabaseError, UsageError, WeakPasswordError, WrongRuleError,
)  # fmt: skip
"""Failures whose own message says all a person needs."""


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    given = _parser().parse_args(argv)
    try:
        status = _in_folder(given)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("Interrupted; what was done so far is kept.", file=sys.stderr)
    except BrokenPipeError:  # as `... | head` leaves it: nobody reads what is still to be printed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (*EXPECTED, FileNotFoundError) as error:
        if given.debug:
            raise
        print(_sentence(error), file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except Exception as error:
        if given.debug:
            raise
        print(
            f"{given.command} failed: {type(error).__name__}: {error}. Try again with --debug.",
            file=sys.stderr,
        )
    return 1


def _in_folder(given: argparse.Namespace) -> int:
    """Run the command on its data folder; the demo has a folder of its own unless one is named."""
    if given.data is None and given.command == "demo":
        with tempfile.TemporaryDirectory(prefix="ooc-demo-") as folder, open_desk(Path(folder)) as desk:
            return int(given.run(desk, given))
    data_dir = given.data or Path(os.environ.get("OOC_DATA", "data"))
    if given.on_folder:
        return int(given.run(data_dir, given))
    with open_desk(data_dir) as desk:
        return int(given.run(desk, given))


def _sentence(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"There is no file {error.filename}."
    return str(error)


class _Adding:
    """Adds commands to the parser, each with the options that all have."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        self._shared = argparse.ArgumentParser(add_help=False)
        self._shared.add_argument("--data", type=Path, help="data folder (default: OOC_DATA, else ./data)")
        self._shared.add_argument("--debug", action="store_true", help="show a traceback on failure")
        self._shared.add_argument("--json", action="store_true", help="print JSON")

    def __call__(self, name: str, run: DeskCommand) -> argparse.ArgumentParser:
        return self._added(name, run, on_folder=False)

    def on_folder(self, name: str, run: FolderCommand) -> argparse.ArgumentParser:
        return self._added(name, run, on_folder=True)

    def _added(
        self, name: str, run: DeskCommand | FolderCommand, *, on_folder: bool
    ) -> argparse.ArgumentParser:
        added = self._commands.add_parser(
            name, parents=[self._shared], help=run.__doc__, description=run.__doc__
        )
        added.set_defaults(run=run, on_folder=on_folder)
        return added


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ooc_app", description="OOC Desk on the command line.")
    adding = _Adding(parser)
    for group in GROUPS:
        group.add_commands(adding)
    return parser


if __name__ == "__main__":
    sys.exit(main())
