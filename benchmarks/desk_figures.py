"""The desk's own figures, and the goal of each.

All desks are made first; then the database is measured in rounds that go through the sizes in turn,
because a ratio between two sizes means something only where both were measured on a machine as busy.
"""

import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.clients import Together, work
from benchmarks.desk_cases import write_cases
from benchmarks.desk_database import (
    Loops,
    export_all,
    import_cases,
    read_all_ways,
    rule_in_loops,
)
from benchmarks.processes import in_child
from benchmarks.report import Figure, figure, percentile
from benchmarks.side_by_side import LOOPS, PEOPLE, SECONDS, say_failures
from benchmarks.tool_desk import OpenDesk, running

IMPORTED_MEANWHILE: Final = 20_000  # cases, while people rule
RULING_MS, READING_MS, HTTP_MS = "<= 5", "<= 200", "<= 10"
TIMES_THE_SMALLEST: Final = "<= 2"
PER_SECOND: Final = ">= 150"
IMPORTED: Final = ">= 15000"
FLAT: Final = "<= 1.2"
EXPORTED: Final = {100_000: "<= 5"}


@dataclass(frozen=True, slots=True)
class Effort:
    """How often things are done."""

    rounds: int  # through the sizes
    rulings: int  # per round and way
    readings: int  # of each kind


THOROUGH: Final = Effort(rounds=3, rulings=100, readings=40)
QUICK: Final = Effort(rounds=1, rulings=3, readings=2)


def own_figures(sizes: list[int], cache: Path, effort: Effort) -> list[Figure]:
    """Measure everything at every size; the desks are made below `cache`, and go."""
    items = {size: write_cases(cache / "items" / f"{size}.jsonl", size) for size in sizes}
    with TemporaryDirectory(dir=cache, prefix="desks-") as folder:
        desks = {size: Path(folder) / str(size) / "data" for size in sizes}
        return [
            *_imported(items, desks),
            *_ruled(desks, effort),
            *_read(items, desks, effort.readings),
            *_exported(desks),
            *(one for size in sizes for one in _in_use(size, desks[size], cache)),
        ]


def _imported(items: dict[int, Path], desks: dict[int, Path]) -> list[Figure]:
    figures, peaks = [], {}
    for size, path in items.items():
        _say("import", size)
        took, peaks[size] = in_child(import_cases, desks[size], path)
        told = _of(size, "import")
        figures.append(figure(told, size / took.seconds, "cases/s", IMPORTED))
        figures.append(figure(f"{told}, by processor time", size / took.processor, "cases/s"))
    return figures + _flat("import", peaks)


def _exported(desks: dict[int, Path]) -> list[Figure]:
    figures, peaks = [], {}
    for size, data_dir in desks.items():
        _say("export", size)
        path = data_dir.parent / "export.jsonl"
        took, peaks[size] = in_child(export_all, data_dir, path)
        path.unlink()
        told = _of(size, "export")
        figures.append(figure(told, took.seconds, "s", EXPORTED.get(size)))
        figures.append(figure(f"{told}, processor time", took.processor, "s"))
    return figures + _flat("export", peaks)


def _flat(what: str, peaks: dict[int, float]) -> list[Figure]:
    """Compare the peak memory of the two largest sizes."""
    figures = [figure(_of(size, f"{what}, peak memory"), peak, "MiB") for size, peak in peaks.items()]
    for smaller, larger in list(zip(peaks, list(peaks)[1:], strict=False))[-1:]:
        told = f"{what}, peak memory of {larger:,} to {smaller:,} cases"
        figures.append(figure(told, peaks[larger] / peaks[smaller], "times", FLAT))
    return figures


def _ruled(desks: dict[int, Path], effort: Effort) -> list[Figure]:
    """Claim and rule in the database, a few hundred times at each size."""
    done: dict[int, Loops] = {size: Loops([], []) for size in desks}
    for _ in range(effort.rounds):
        for size, data_dir in desks.items():
            _say("claim and rule", size)
            loops, _ = in_child(rule_in_loops, data_dir, min(effort.rulings, size // 120))
            done[size].apart.extend(loops.apart)
            done[size].at_once.extend(loops.at_once)
    figures = []
    smallest = _milliseconds(done[min(done)].apart, 0.95)
    for size, loops in done.items():
        p95 = _milliseconds(loops.apart, 0.95)
        figures += [
            figure(_of(size, "claim + ruling, p50"), _milliseconds(loops.apart, 0.5), "ms"),
            figure(_of(size, "claim + ruling, p95"), p95, "ms", RULING_MS),
            figure(
                _of(size, "ruling + next at once, p95"), _milliseconds(loops.at_once, 0.95), "ms", RULING_MS
            ),
        ]
        if size != min(done):
            times = p95 / smallest if p95 and smallest else None
            told = f"claim + ruling, p95, to that of {min(done):,}"
            figures.append(figure(_of(size, told), times, "times", TIMES_THE_SMALLEST))
    return figures


def _read(items: dict[int, Path], desks: dict[int, Path], readings: int) -> list[Figure]:
    figures = []
    for size, data_dir in desks.items():
        _say("read", size)
        timed, _ = in_child(read_all_ways, data_dir, items[size], readings)
        figures += [
            figure(_of(size, f"{what}, p95"), _milliseconds(seconds, 0.95), "ms", READING_MS)
            for what, seconds in timed.items()
        ]
    return figures


def _in_use(size: int, data_dir: Path, cache: Path) -> list[Figure]:
    """Let people rule on the page: one, eight, and eight while cases are imported."""
    _say("people at the page", size)
    each = max(3, size // 100)
    with running(data_dir) as desk:
        alone = work([desk.seat(0)], seconds=SECONDS, loops=max(3, min(LOOPS, size // 50)))
        everybody = [desk.seat(number) for number in range(1, PEOPLE + 1)]
        together = work(everybody, seconds=SECONDS, loops=each)
        more = write_cases(cache / "items" / "more.jsonl", min(IMPORTED_MEANWHILE, size))
        with ThreadPoolExecutor(1) as thread:
            importing = thread.submit(in_child, import_cases, data_dir, more)
            busy = work(everybody, seconds=SECONDS, loops=max(3, each // 2))
            importing.result()
        say_failures(alone, together, busy)
        return [
            figure(_of(size, "page, one person, p50"), alone.milliseconds(0.5), "ms", HTTP_MS),
            figure(_of(size, "page, one person, p95"), alone.milliseconds(0.95), "ms"),
            figure(_of(size, "page, eight people"), together.per_second, "rulings/s", PER_SECOND),
            figure(_of(size, "page, eight people, p95"), together.milliseconds(0.95), "ms"),
            figure(_of(size, "page, eight people during an import"), busy.per_second, "rulings/s"),
            *_kept(size, desk, (alone, together, busy)),
        ]


def _kept(size: int, desk: OpenDesk, done: Iterable[Together]) -> list[Figure]:
    """Say whether all rulings are there, and none twice."""
    done = tuple(done)
    found = desk.check(*done)
    failed = sum(account.failed for one in done for account in one.accounts)
    return [
        figure(_of(size, "page, requests that failed"), failed, "requests", "= 0"),
        figure(_of(size, "page, acknowledged rulings"), sum(one.saved for one in done), "rulings"),
        figure(_of(size, "page, of these not in the database"), found.missing, "rulings", "= 0"),
        figure(_of(size, "page, cases ruled on too often"), found.beyond_wanted, "cases", "= 0"),
    ]


def _milliseconds(seconds: Iterable[float], share: float) -> float | None:
    found = percentile(seconds, share)
    return None if found is None else found * 1000


def _of(size: int, what: str) -> str:
    return f"{size:,} cases: {what}"


def _say(what: str, size: int) -> None:
    """Show on stderr how far it is."""
    print(f"{what}: {size:,} cases", file=sys.stderr)
