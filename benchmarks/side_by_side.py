"""The same work at any annotation tool: bring the items in, rule alone, rule together, bring them out.

`Tool` is what a tool must be able to do for that; ours (`tool_desk.py`) and the others
(`peer_*.py`) are measured by the same lines, on the same items, in the same run.
"""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from benchmarks.clients import Seat, Together, added_up, work
from benchmarks.report import Figure, compared, figure

PEOPLE: Final = 8
ROUNDS: Final = 2  # through the tools
LOOPS: Final = 100  # of the one person in a round, at most
SECONDS: Final = 10.0  # of work in a round, alone and together


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
    """How a tool did, going from item to item in one way: one person, and eight."""

    alone: Together
    together: Together
    beyond_wanted: int  # items that more of the eight answered than were wanted


@dataclass(frozen=True, slots=True)
class Work:
    """How a tool did."""

    loaded: float  # items per second
    ways: dict[str, Way]
    exported: Exported


def measure(tools: Sequence[Tool], items: Path, number: int, folder: Path) -> list[Work]:
    """Do the whole work, with `number` items, at each of the tools."""
    with ExitStack() as stack:
        running: list[Open] = []
        for place, tool in enumerate(tools):
            print(f"{tool.name}: {number:,} items", file=sys.stderr)
            own = folder / str(place)
            own.mkdir()
            running.append(stack.enter_context(tool.opened(items, own)))
        ways = _work_in_turn(tools, running, number)
        return [
            Work(number / opened.load_seconds, did, opened.export())
            for opened, did in zip(running, ways, strict=True)
        ]


def _work_in_turn(tools: Sequence[Tool], running: Sequence[Open], number: int) -> list[dict[str, Way]]:
    """Let people work a little at each tool in turn, over and over, so that all meet the same machine."""
    done: list[dict[str, list[tuple[Together, Together]]]] = [{} for _ in tools]
    for _ in range(ROUNDS):
        for tool, opened, did in zip(tools, running, done, strict=True):
            for way in tool.ways:
                did.setdefault(way, []).append(_work_in(opened, way, number))
    return [
        {way: _added_up(opened, rounds) for way, rounds in did.items()}
        for opened, did in zip(running, done, strict=True)
    ]


def _work_in(opened: Open, way: str, number: int) -> tuple[Together, Together]:
    """Let one person work, then eight, on a tenth of the items at most, so that they do not run out."""
    alone = work([opened.seat(0, way)], seconds=SECONDS, loops=min(LOOPS, number // 100))
    seats = [opened.seat(number, way) for number in range(1, PEOPLE + 1)]
    together = work(seats, seconds=SECONDS, loops=number // 200)
    say_failures(alone, together)
    return alone, together


def _added_up(opened: Open, rounds: Sequence[tuple[Together, Together]]) -> Way:
    alone = added_up([one for one, _ in rounds])
    together = added_up([several for _, several in rounds])
    return Way(alone, together, opened.beyond_wanted(together))


def say_failures(*done: Together) -> None:
    """Show on stderr why loops failed."""
    for reason in {reason for one in done for account in one.accounts for reason in account.reasons}:
        print(reason, file=sys.stderr)


def ratios(ours: Work, theirs: Work) -> list[Figure]:
    """Compare, row by row; an export of the answers alone is no match for one of everything."""
    rows = [compared("import", ours.loaded, theirs.loaded, "items/s", more_is_better=True)]
    [way] = ours.ways.values()
    for name, other in theirs.ways.items():
        rows += [
            replace(row, what=f"{row.what} ({name})" if name else row.what) for row in _ratios(way, other)
        ]
    out, other_out = ours.exported, theirs.exported
    if out.has_item_data == other_out.has_item_data:
        rows.append(compared("export", out.seconds, other_out.seconds, "s", more_is_better=False))
    else:
        rows.append(_beside("export (theirs: the answers alone)", out.seconds, other_out.seconds, "s"))
    rows.append(_beside("exported", out.items, other_out.items, "items"))
    return rows


def _ratios(ours: Way, theirs: Way) -> list[Figure]:
    we, they = ours.together, theirs.together
    rows = []
    for told, share in (("p50", 0.5), ("p95", 0.95)):
        times = (ours.alone.milliseconds(share), theirs.alone.milliseconds(share))
        rows.append(compared(f"one person, {told}", *times, "ms", more_is_better=False))
    return [
        *rows,
        compared("eight people", we.per_second, they.per_second, "loops/s", more_is_better=True),
        _beside("loops that failed", we.failed, they.failed, "%"),
        _beside("answers of the eight", we.saved, they.saved, "answers"),
        _beside("items answered too often", ours.beyond_wanted, theirs.beyond_wanted, "items"),
    ]


def _beside(what: str, ours: float, theirs: float, unit: str) -> Figure:
    return replace(figure(what, float(ours), unit), theirs=float(theirs))
