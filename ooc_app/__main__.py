"""The command line: `python -m ooc_app COMMAND`.

Exit status 0 done, 2 wrong use, 1 failed with one clear line on stderr (a traceback only with
`--debug`). Long work shows a bar on a terminal, and with `--json` one JSON line per event.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from db.stats import stats
from ooc_app import demo, promotion, runner, snapshot
from ooc_app.desk import DataFolderError, Desk, SettingsError, open_desk
from ooc_app.intake.images import ImageRefusedError, admit_file, shown_copy
from ooc_app.intake.importing import ImportFileError
from ooc_app.serving import Serving, ServingError
from training.config import PRESETS, ConfigError, load_config
from training.prompts import VERDICT_TEXT
from training.report import table_rows
from training.state import RunFolderError

EXPECTED = (
    ConfigError, DataFolderError, ImageRefusedError, ImportFileError, promotion.PromotionError,
    runner.RunError, RunFolderError, ServingError, SettingsError, snapshot.SnapshotError,
)  # fmt: skip
"""Failures whose own message says all a person needs."""

Command = Callable[[Desk, argparse.Namespace], int]


class UsageError(Exception):
    """The command line asks for what cannot be; says what is wrong."""


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    given = _parser().parse_args(argv)
    try:
        return _in_folder(given)
    except KeyboardInterrupt:
        print("Interrupted; what was done so far is kept.", file=sys.stderr)
    except (*EXPECTED, UsageError, FileNotFoundError) as error:
        if given.debug:
            raise
        print(_sentence(error), file=sys.stderr)
    except Exception as error:
        if given.debug:
            raise
        print(
            f"{given.command} failed: {type(error).__name__}: {error}. Try again with --debug.",
            file=sys.stderr,
        )
    return 1


def _in_folder(given: argparse.Namespace) -> int:
    """Open the data folder and run the command; the demo has a folder of its own unless one is named."""
    command: Command = given.run
    if given.data is None and given.command == "demo":
        with tempfile.TemporaryDirectory(prefix="ooc-demo-") as folder, open_desk(Path(folder)) as desk:
            return command(desk, given)
    with open_desk(given.data or Path(os.environ.get("OOC_DATA", "data"))) as desk:
        return command(desk, given)


def import_command(desk: Desk, given: argparse.Namespace) -> int:
    """Import cases."""
    from ooc_app.intake.native import import_native

    with _bar("cases", given) as bar:

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


def stats_command(desk: Desk, given: argparse.Namespace) -> int:
    """Say what the desk holds."""
    with desk.sessions() as session:
        figures = stats(session)
    if given.json:
        print(json.dumps(figures))
        return 0
    for name, value in figures.items():
        if isinstance(value, dict):
            print(f"{name}: " + ", ".join(f"{key} {part}" for key, part in value.items() if key != "pairs"))
        elif not isinstance(value, list):
            print(f"{name}: {value}")
    for teacher in figures["teachers"]:
        print(f"teacher {teacher['name']}: {teacher['opinions']} opinions, accuracy {teacher['accuracy']}")
    return 0


def distil_command(desk: Desk, given: argparse.Namespace) -> int:
    """Freeze a snapshot and run both stages on it, or resume a run."""
    run_dir = desk.runs_dir / given.resume if given.resume else None
    if run_dir is None:
        config = load_config(given.config) if given.config else snapshot.recipe(desk, given.preset)
        summary = snapshot.preview(desk)
        _tell(given, "snapshot", asdict(summary))
        if given.dry_run:
            return 0
        run_dir = snapshot.freeze(desk, name=given.run_name, config=config)
    runner.start(desk, run_dir)
    view = demo.watched(run_dir, _saying(given))
    if view.report is None:
        print(f"The run {view.name} is {view.status}: {view.why}.", file=sys.stderr)
        return 1
    _show_report(view.report, given)
    return 0


def check_command(desk: Desk, given: argparse.Namespace) -> int:
    """Ask the served student about one picture and its caption."""
    caption = given.caption.strip()
    if not caption:
        raise UsageError("The caption is empty: give the text the picture was found under with --caption.")
    with tempfile.TemporaryDirectory(prefix="ooc-check-") as folder:
        picture = shown_copy(admit_file(given.image, Path(folder)).sha256, Path(folder))
        serving = Serving(desk)
        answer = serving.check(picture, caption, given.date, given.place)
        pieces = serving.rationale(picture, caption, given.date, given.place, answer.verdict)
        if given.json:
            rationale = "".join(list(pieces)[-1:])
            print(json.dumps({**asdict(answer), "rationale": rationale}))
            return 0
        if answer.warning:
            print(f"Warning: {answer.warning}")
        verdict = VERDICT_TEXT[answer.verdict]
        print(f"{verdict}, probability {answer.probability:.2f}. {answer.words}")
        _print_growing(pieces)
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
    report = demo.run_loop(desk, seed=given.seed, say=_saying(given, quiet=given.json))
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
        low, high = scored["interval"]
        print(f"{label:34}{scored['accuracy']:8.3f}   {low:.3f} to {high:.3f}")
    seconds = report["seconds"]
    print(
        f"\n{report['rulings']} rulings on {report['training_cases']} training cases "
        f"({report['rulings_share']:.1%}), {report['held_out_cases']} held-out cases; "
        f"stage 1 {seconds.get('sft', 0):.0f} s, "
        f"stage 2 {seconds.get('dpo', 0):.0f} s."
    )


def _tell(given: argparse.Namespace, what: str, figures: dict[str, Any]) -> None:
    if given.json:
        print(json.dumps({"event": what, **figures}), flush=True)
    else:
        print(f"{what}: " + ", ".join(f"{value} {key.replace('_', ' ')}" for key, value in figures.items()))


def _saying(given: argparse.Namespace, *, quiet: bool = False) -> demo.Say:
    """Show events as JSON lines, or as one bar per thing that is going on."""
    bar: tqdm[Any] | None = None

    def say(what: str, figures: dict[str, Any]) -> None:
        nonlocal bar
        if quiet:
            return
        if given.json:
            print(json.dumps({"event": what, **figures}), flush=True)
            return
        name = str(figures.get("stage") or what)
        if bar is None or bar.desc != f"{name}: ":
            if bar is not None:
                bar.close()
            bar = _bar(name, given)
        bar.total = figures.get("of") or bar.total
        bar.update(figures.get("done", figures.get("step", 0)) - bar.n)
        if figures.get("loss") is not None:
            bar.set_postfix(loss=f"{figures['loss']:.3f}")

    return say


def _bar(name: str, given: argparse.Namespace) -> "tqdm[Any]":
    hidden = given.json or not sys.stderr.isatty()
    return tqdm(desc=name, disable=hidden, leave=True, file=sys.stderr)


def _print_growing(texts: Any) -> None:
    shown = 0
    for text in texts:
        print(text[shown:], end="", flush=True)
        shown = len(text)
    print()


def _sentence(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"There is no file {error.filename}."
    return str(error)


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--data", type=Path, help="data folder (default: OOC_DATA, else ./data)")
    shared.add_argument("--debug", action="store_true", help="show a traceback on failure")
    shared.add_argument("--json", action="store_true", help="print JSON")
    parser = argparse.ArgumentParser(prog="python -m ooc_app", description="OOC Desk on the command line.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: Command) -> argparse.ArgumentParser:
        added = commands.add_parser(name, parents=[shared], help=run.__doc__, description=run.__doc__)
        added.set_defaults(run=run)
        return added

    importing = add("import", import_command)
    importing.add_argument("format", choices=("native",))
    importing.add_argument("path", type=Path)
    importing.add_argument("--images", type=Path, help="where image paths start (default: the file's folder)")
    importing.add_argument(
        "--split", choices=("train", "validation", "test"), help="for cases that name none"
    )
    importing.add_argument("--name", help="name of the data set (default: the file's)")
    add("stats", stats_command)
    distil = add("distil", distil_command)
    chosen = distil.add_mutually_exclusive_group()
    chosen.add_argument("--config", type=Path, help="a config.json as run folders hold it")
    chosen.add_argument("--preset", choices=tuple(PRESETS), default="demo")
    distil.add_argument("--run", dest="run_name", help="name of the run (default: the time)")
    distil.add_argument("--resume", metavar="RUN", help="go on with a run that was stopped or killed")
    distil.add_argument("--dry-run", action="store_true", help="say what would be frozen, and stop")
    checking = add("check", check_command)
    checking.add_argument("image", type=Path)
    checking.add_argument("--caption", required=True)
    checking.add_argument("--date", help="the date the caption claims")
    checking.add_argument("--place", help="the place the caption claims")
    add("promote", promote_command).add_argument("promoted", metavar="RUN")
    add("rollback", rollback_command)
    add("demo", demo_command).add_argument("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    sys.exit(main())
