"""What every command shares: how it is added, and how it shows its work on a terminal.

Long work shows a bar on a terminal, and with `--json` one JSON line per event.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from ooc_app.demo import Say
from ooc_app.desk import Desk

DeskCommand = Callable[[Desk, argparse.Namespace], int]
FolderCommand = Callable[[Path, argparse.Namespace], int]


class UsageError(Exception):
    """The command line asks for what cannot be; says what is wrong."""


class Add(Protocol):
    """Adds one command to the command line; its docstring is its help."""

    def __call__(self, name: str, run: DeskCommand) -> argparse.ArgumentParser:
        """Add a command that is given the open desk and returns the exit status."""

    def on_folder(self, name: str, run: FolderCommand) -> argparse.ArgumentParser:
        """Add a command that is given the data folder, unopened, because it may be broken or missing."""


def tell(given: argparse.Namespace, what: str, figures: dict[str, Any]) -> None:
    """Print an event and its figures."""
    if given.json:
        print(json.dumps({"event": what, **figures}), flush=True)
    else:
        print(f"{what}: " + ", ".join(f"{value} {key.replace('_', ' ')}" for key, value in figures.items()))


def saying(given: argparse.Namespace, *, quiet: bool = False) -> Say:
    """Show events as JSON lines, or as one bar per thing that is going on."""
    bar: tqdm[Any] | None = None
    shown: str | None = None  # what the bar is about; a hidden one forgets its name

    def say(what: str, figures: dict[str, Any]) -> None:
        nonlocal bar, shown
        if quiet:
            return
        if given.json:
            print(json.dumps({"event": what, **figures}), flush=True)
            return
        name = str(figures.get("stage") or what)
        if bar is None or shown != name:
            if bar is not None:
                bar.close()
            bar, shown = bar_of(name, given), name
        bar.total = figures.get("of") or bar.total
        bar.update(figures.get("done", figures.get("step", 0)) - bar.n)
        if figures.get("loss") is not None:
            bar.set_postfix(loss=f"{figures['loss']:.3f}")

    return say


def bar_of(name: str, given: argparse.Namespace) -> "tqdm[Any]":
    """Begin a bar, hidden where nobody sees it."""
    hidden = given.json or not sys.stderr.isatty()
    return tqdm(desc=name, disable=hidden, leave=True, file=sys.stderr)
