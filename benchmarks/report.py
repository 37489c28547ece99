"""What every benchmark prints: one JSON object, or a table for people.

    {"benchmark", "machine", "versions", "figures": [{"what", "value", "unit", "goal", "met"}]}

A goal is written as it is read, `<= 5` or `> 0.87`, and whether it is met is worked out from it. A
figure that is compared with another tool has its figure too, `theirs`, and `ratio`: how many times
better ours is, so that more than 1 is better whichever way the unit counts.
"""

import json
import operator
import os
import platform
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, Final

_COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
_MET: Final = {True: "met", False: "missed", None: ""}


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing measured; `value` is None where it could not be."""

    what: str
    value: float | None
    unit: str
    goal: str | None = None
    met: bool | None = None
    theirs: float | None = None
    ratio: float | None = None


def figure(what: str, value: float | None, unit: str, goal: str | None = None) -> Figure:
    """Make a figure, and say whether it meets its goal; one that could not be measured does not."""
    value = None if value is None else _rounded(value)
    return Figure(what, value, unit, goal, None if goal is None else _meets(value, goal))


def compared(
    what: str, ours: float | None, theirs: float | None, unit: str, *, more_is_better: bool
) -> Figure:
    """Make a figure whose goal is to be ahead of what another tool reached."""
    if ours is None or theirs is None:
        ours, theirs = (None if one is None else _rounded(one) for one in (ours, theirs))
        return Figure(what, ours, unit, theirs=theirs)
    ours, theirs = _rounded(ours), _rounded(theirs)
    better, worse = (ours, theirs) if more_is_better else (theirs, ours)
    goal = f"{'>' if more_is_better else '<'} {theirs:g}"
    ratio = _rounded(better / worse) if worse else None
    return Figure(what, ours, unit, goal, _meets(ours, goal), theirs, ratio)


def show(
    benchmark: str, packages: Iterable[str], figures: list[Figure], *, as_json: bool, **more: str
) -> None:
    """Print the figures; `packages` are named with their versions, `more` is versions found elsewhere."""
    versions = {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{name: version(name) for name in packages},
        **more,
    }
    if as_json:
        listed = [_without_blanks(one) for one in figures]
        print(
            json.dumps(
                {"benchmark": benchmark, "machine": machine(), "versions": versions, "figures": listed}
            )
        )
        return
    print(machine() + "; " + ", ".join(f"{name} {number}" for name, number in versions.items()))
    for line in table(figures):
        print(line)


def table(figures: list[Figure]) -> Iterator[str]:
    """Write one line per figure, under a heading where there is another tool to tell from."""
    widest = max((len(one.what) for one in figures), default=0)
    is_compared = any(one.theirs is not None for one in figures)
    if is_compared:
        yield f"{'':{widest}} {'ours':>10} {'theirs':>10} {'unit':9}{'ratio':>10}"
    for one in figures:
        ratio = "" if one.ratio is None else f"{one.ratio:g} x"
        theirs = f" {_number(one.theirs):>10}" if is_compared else ""
        beside = f"{ratio:>10}" if is_compared else f"{one.goal or '':>12}"
        line = f"{one.what:{widest}} {_number(one.value):>10}{theirs} {one.unit:9}{beside}  {_MET[one.met]}"
        yield line.rstrip()


def machine() -> str:
    """Say what the figures were measured on, and how busy it was."""
    return f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


def percentile(values: Iterable[float], share: float) -> float | None:
    """Return the value that `share` (0 to 1) of the values do not exceed, None of no values."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}" if abs(value) < 1e5 else f"{value:.0f}"


def _rounded(value: float) -> float:
    """Keep four digits that count, or every whole one."""
    return float(f"{value:.4g}") if abs(value) < 1e4 else float(round(value))


def _meets(value: float | None, goal: str) -> bool:
    comparison, limit = goal.split()
    return value is not None and _COMPARISONS[comparison](value, float(limit))


def _without_blanks(one: Figure) -> dict[str, Any]:
    fields = asdict(one)
    return {
        key: value for key, value in fields.items() if value is not None or key not in ("theirs", "ratio")
    }
