"""The same work at any annotation tool: bring the items in, rule alone, rule together, bring them out.

`Tool` is what a tool must be able to do for that; ours (`tool_desk.py`) and the others
(`peer_*.py`) are measured by the same lines, on the same items, in the same run.
"""

import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from benchmarks.clients import Seat, Together, work
from benchmarks.processes import nice
from benchmarks.report import Figure, compared, figure

PEOPLE: Final = 8
LOOPS: Final = 200  # of the one person, at most
SECONDS: Final = 15.0  # of work, alone and together


@dataclass(frozen=True, slots=True)
class Exported:
    """What came out of a tool."""

    seconds: float
    items: int
    has_item_data: bool  # the caption is in it, not the answers alone


class Open(Protocol):
    """A tool that holds the items and is ready for people."""

    load_seconds: float

    def seat(self, number: int, way: str) -> Seat:
        """The seat of person `number`, 0 to `PEOPLE`, who works in one of the tool's `ways`."""

    def beyond_wanted(self, together: Together) -> int:
        """Count the items that more people answered than were wanted."""

    def export(self) -> Exported:
        """Bring everything out."""


class Tool(Protocol):
    """A tool to measure."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def ways(self) -> tuple[str, ...]:
        """Ways of going from item to item."""

    def install(self, cache: Path) -> str:
        """Make the tool ready to start, in a folder of its own; return its version."""

    def opened(self, items: Path, folder: Path) -> AbstractContextManager[Open]:
        """Start it in an empty folder and load the items, timing that; whatever happens, it ends."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a tool did, going from item to item in one way; times in ms."""

    alone_p50: float | None
    alone_p95: float | None
    per_second: float
    failed: float  # percent of the loops of all together
    saved: int  # answers of all together
    beyond_wanted: int  # items that more people answered than were wanted


@dataclass(frozen=True, slots=True)
class Work:
    """How a tool did at one size."""

    items: int
    loaded: float  # items per second
    ways: dict[str, Way]
    exported: Exported


def measure(tool: Tool, items: Path, number: int, folder: Path) -> Work:
    """Do the whole work at one tool, with `number` items."""
    with tool.opened(items, folder) as opened:
        ways = {way: work_in(opened, way, number) for way in tool.ways}
        return Work(number, number / opened.load_seconds, ways, opened.export())


def work_in(opened: Open, way: str, number: int) -> Way:
    """Let one person work, then eight, on a fifth of the items at most, so that they do not run out."""
    alone = work([opened.seat(0, way)], seconds=SECONDS, loops=min(LOOPS, number // 50))
    seats = [opened.seat(number, way) for number in range(1, PEOPLE + 1)]
    together = work(seats, seconds=SECONDS, loops=number // 100)
    say_failures(alone, together)
    return Way(
        alone.milliseconds(0.5),
        alone.milliseconds(0.95),
        together.per_second,
        together.failed,
        together.saved,
        opened.beyond_wanted(together),
    )


def say_failures(*done: Together) -> None:
    """Show on stderr why loops failed."""
    for reason in {reason for one in done for account in one.accounts for reason in account.reasons}:
        print(reason, file=sys.stderr)


def ratios(ours: Work, theirs: Work, peer: str) -> list[Figure]:
    """Compare, row by row."""
    rows = [compared("import", ours.loaded, theirs.loaded, "items/s", more_is_better=True)]
    [our_way] = ours.ways.values()
    for name, way in theirs.ways.items():
        how = f" ({name})" if name else ""
        rows += [
            compared(f"one person, p50{how}", our_way.alone_p50, way.alone_p50, "ms", more_is_better=False),
            compared(f"one person, p95{how}", our_way.alone_p95, way.alone_p95, "ms", more_is_better=False),
            compared(
                f"eight people{how}", our_way.per_second, way.per_second, "loops/s", more_is_better=True
            ),
            _beside(f"loops that failed{how}", our_way.failed, way.failed, "%"),
            _beside(f"answers of the eight{how}", our_way.saved, way.saved, "answers"),
            _beside(f"items answered too often{how}", our_way.beyond_wanted, way.beyond_wanted, "items"),
        ]
    rows += [
        compared("export", ours.exported.seconds, theirs.exported.seconds, "s", more_is_better=False),
        _beside(
            "export has the item data", ours.exported.has_item_data, theirs.exported.has_item_data, "0 or 1"
        ),
    ]
    return [replace(row, what=f"{ours.items:,} items, {peer}: {row.what}") for row in rows]


def _beside(what: str, ours: float, theirs: float, unit: str) -> Figure:
    return replace(figure(what, float(ours), unit), theirs=float(theirs))


@dataclass(frozen=True, slots=True)
class Package:
    """A tool's package, in a virtual environment of its own."""

    name: str
    held_back: Sequence[str] = ()  # constraints without which its newest version does not run

    def install(self, cache: Path) -> str:
        """Install the newest version where there is none; return which one is there."""
        venv = self.folder(cache)
        if not (venv / "complete").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
            pip = [
                str(venv / "bin" / "python"),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ]
            constraints = venv / "constraints.txt"
            constraints.write_text("".join(f"{one}\n" for one in self.held_back))
            subprocess.run(
                nice([*pip, "--constraint", str(constraints), self.name]), check=True, stdout=sys.stderr
            )
            (venv / "complete").touch()
        asking = f"from importlib.metadata import version; print(version({self.name!r}))"
        python = [str(venv / "bin" / "python"), "-c", asking]
        return subprocess.run(python, check=True, capture_output=True, text=True).stdout.strip()

    def folder(self, cache: Path) -> Path:
        """Where the virtual environment is."""
        return (cache / self.name).absolute()
