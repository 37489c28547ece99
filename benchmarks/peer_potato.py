"""Potato, as `pip install potato-annotation` and `potato start` give it: files, one process.

It has no import: it reads its items when it starts, so what is timed is a start with the items less
a start with one. A person's page posts the answer, posts that it wants the next item, and loads the
page anew. With its defaults everybody gets every item; the way that is compared gives each item to
one person and each person a number of items, as its documentation says for dividing work.
"""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.clients import Loop, LoopFailedError, NothingLeftError, Together, browser, checked, looping
from benchmarks.desk_cases import TEACHERS, read_cases
from benchmarks.package import Package
from benchmarks.processes import free_port, server
from benchmarks.side_by_side import PEOPLE, Exported

DIVIDED: Final = "one person per item"
DEFAULTS: Final = "its defaults"
ITEMS_EACH: Final = 1000  # more than anybody manages while measured
AT_HAND: Final = re.compile(r'<input id="instance_id"[^>]*value="([^"]*)"')
ANSWER: Final = {
    "annotations": {"verdict:in_context": "in_context"},
    "span_annotations": [],
    "cleared_schemas": [],
}


class Potato:
    """The tool."""

    name = "Potato"
    ways = (DIVIDED, DEFAULTS)

    def __init__(self) -> None:
        self.package = Package("potato-annotation")
        self.bin = Path()

    def install(self, cache: Path) -> str:
        """Install it."""
        self.bin = self.package.folder(cache) / "bin"
        return self.package.install(cache)

    @contextmanager
    def opened(self, items: Path, folder: Path) -> Iterator["OpenPotato"]:
        """Start it with one item, then with all of them."""
        opened = OpenPotato(self.bin, items, folder)
        try:
            yield opened
        finally:
            opened.stop()


class OpenPotato:
    """It runs in one of its ways, and holds the items; it starts anew for another way."""

    def __init__(self, bin_dir: Path, items: Path, folder: Path) -> None:
        self.bin, self.folder = bin_dir, folder
        self.url, self.way = "", ""
        self.running = ExitStack()
        lines = [json.dumps(item(case)) + "\n" for case in read_cases(items)]
        each = min(ITEMS_EACH, len(lines) // (PEOPLE + 1))
        divided = {"num_annotators_per_item": 1, "max_annotations_per_user": each}
        self._project("one item", lines[:1], {})
        self._project(DEFAULTS, lines, {})
        self._project(DIVIDED, lines, divided)
        self.caption = json.loads(lines[0])["caption"]
        self.load_seconds = -self._start("one item")
        self.load_seconds += self._start(DIVIDED)

    def seat(self, number: int, way: str) -> "PotatoSeat":
        """The seat of a person."""
        if way != self.way:
            self._start(way)
        return PotatoSeat(self.url, number)

    def beyond_wanted(self, together: Together) -> int:
        """One answer is wanted of each item."""
        return together.shared_items

    def export(self) -> Exported:
        """Export the answers as JSON lines, which is all that it exports of a text."""
        project = self.folder / DIVIDED
        command = [str(self.bin / "python"), "-m", "potato.export", "--config", "config.yaml"]
        began = time.perf_counter()
        subprocess.run(
            [*command, "--format", "jsonl", "--output", "export"],
            cwd=project, env=self._environment(), check=True, capture_output=True,
        )  # fmt: skip
        seconds = time.perf_counter() - began
        written = (project / "export" / "annotations.jsonl").read_text(encoding="utf-8")
        return Exported(seconds, written.count("\n"), self.caption in written)

    def stop(self) -> None:
        """End its server."""
        self.running.close()

    def _project(self, way: str, lines: list[str], division: dict[str, int]) -> None:
        folder = self.folder / way
        folder.mkdir()
        (folder / "items.jsonl").write_text("".join(lines), encoding="utf-8")
        (folder / "config.yaml").write_text(json.dumps(config(division)), encoding="utf-8")  # JSON is YAML

    def _start(self, way: str) -> float:
        """Start it in another way; return the seconds until it answers."""
        self.running.close()
        port = free_port()
        self.url, self.way = f"http://127.0.0.1:{port}", way
        command = [
            str(self.bin / "potato"),
            "start",
            "config.yaml",
            "--port",
            str(port),
            "--host",
            "127.0.0.1",
        ]
        began = time.perf_counter()
        self.running.enter_context(
            server(
                command,
                self.folder / "log",
                answers=self.url,
                cwd=self.folder / way,
                environment=self._environment(),
            )
        )
        return time.perf_counter() - began

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "HOME": str(self.folder)}


@dataclass(frozen=True)
class PotatoSeat:
    """A person."""

    url: str
    number: int

    def sit(self) -> Loop:
        """Sign in and load the page."""
        client = browser(self.url)
        form = {"action": "login", "email": f"person-{self.number}", "pass": ""}
        checked("sign-in", client.post("/auth", data=form))
        answered: str | None = None

        def fetch() -> str:
            nonlocal answered
            if answered is not None:
                move = {"action": "next_instance", "instance_id": answered}
                answered = None
                checked("next", client.post("/annotate", json=move))
            found = AT_HAND.search(checked("page", client.get("/annotate")).text)
            if found is None:
                raise NothingLeftError
            return found[1]

        def answer(item: str) -> None:
            nonlocal answered
            said = {"instance_id": item, "response_time_seconds": 3.0, **ANSWER}
            saved = checked("save", client.post("/updateinstance", json=said))
            if saved.json().get("status") == "error":
                raise LoopFailedError(f"save: {saved.text[:100]}")
            answered = item

        return looping(fetch, answer)


def item(case: dict[str, Any]) -> dict[str, str]:
    """Turn a case into an item."""
    rationales = {said["teacher"]: said["rationale"] for said in case["opinions"]}
    image = f"http://127.0.0.1/{case['image']}"
    return {"id": case["id"], "image": image, "caption": case["caption"], **rationales}


def config(division: dict[str, int]) -> dict[str, Any]:
    """The project: picture, caption and rationales, and one choice."""
    shown = [{"key": "image", "type": "image"}] + [
        {"key": key, "type": "text"} for key in ("caption", *TEACHERS)
    ]
    choice = {"annotation_type": "radio", "name": "verdict", "description": "Is the picture in context?"}
    return {
        "annotation_task_name": "desk",
        "task_dir": ".",
        "output_annotation_dir": "answers",
        "data_files": ["items.jsonl"],
        "item_properties": {"id_key": "id", "text_key": "caption"},
        "require_password": False,
        "annotation_schemes": [{**choice, "labels": ["in_context", "out_of_context", "unsure"]}],
        "instance_display": {"fields": shown},
        **division,
    }
