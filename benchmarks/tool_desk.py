"""OOC Desk itself, as any tool: its importer, its page as a process, its export."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Final

from benchmarks.clients import Together
from benchmarks.desk_database import Check, add_people, check, export_all, import_cases
from benchmarks.desk_seat import PASSWORD, DeskSeat, name
from benchmarks.processes import free_port, in_child, server
from benchmarks.side_by_side import PEOPLE, Exported

PROJECT: Final = Path(__file__).resolve().parents[1]


class OocDesk:
    """The tool."""

    name = "OOC Desk"
    ways = ("",)

    def install(self, cache: Path) -> str:
        """It is here."""
        return "this one"

    @contextmanager
    def opened(self, items: Path, folder: Path) -> Iterator["OpenDesk"]:
        """Import the items, start the page."""
        took, _ = in_child(import_cases, folder / "data", items)
        with running(folder / "data") as opened:
            opened.load_seconds = took.seconds
            yield opened


@contextmanager
def running(data_dir: Path) -> Iterator["OpenDesk"]:
    """Add people to a desk and start its page."""
    in_child(add_people, data_dir, [name(number) for number in range(PEOPLE + 1)], PASSWORD)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "app.py", "--data", str(data_dir), "--port", str(port), "--empty"]
    with server(command, data_dir.parent / "page.log", answers=f"{url}/login", cwd=PROJECT):
        yield OpenDesk(url, data_dir)


class OpenDesk:
    """Its page runs, and its desk holds the cases."""

    def __init__(self, url: str, data_dir: Path) -> None:
        self.url, self.data_dir = url, data_dir
        self.load_seconds = 0.0

    def seat(self, number: int, way: str = "") -> "DeskSeat":
        """The seat of a person."""
        return DeskSeat(self.url, number)

    def check(self, *done: Together) -> Check:
        """Look up in the database what people were told is saved."""
        accounts = list(chain.from_iterable(one.accounts for one in done))
        acknowledged: dict[str, tuple[str, ...]] = {}
        for account in accounts:
            who = name(account.number)
            acknowledged[who] = (*acknowledged.get(who, ()), *account.items)
        return in_child(check, self.data_dir, acknowledged)[0]

    def beyond_wanted(self, together: Together) -> int:
        """Count what the database has; some cases are for two people."""
        return self.check(together).beyond_wanted

    def export(self) -> Exported:
        """Export all cases in the desk's own format."""
        path = self.data_dir.parent / "export.jsonl"
        took, _ = in_child(export_all, self.data_dir, path)
        with path.open(encoding="utf-8") as file:
            first = next(file)
            return Exported(took.seconds, 1 + sum(1 for _ in file), '"caption"' in first)
