"""Seconds from `python app.py` until the page answers, on a new demo desk and on one that is there.

python benchmarks/start.py [--json]
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script finds its own folder only

from benchmarks.processes import free_port, server
from benchmarks.report import figure, show

PROJECT = Path(__file__).resolve().parents[1]
GOAL = "<= 5"


def main() -> None:
    """Start the page three times and print how long each took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        figures = [
            figure(what, _seconds_to_answer(data), "s", GOAL)
            for what in ("new demo desk", "again", "and again")
        ]
    show("start", ["gradio"], figures, as_json=given.json)


def _seconds_to_answer(data: Path) -> float:
    port = free_port()
    command = [sys.executable, "app.py", "--data", str(data), "--port", str(port)]
    began = time.monotonic()
    with server(command, data.parent / "log", answers=f"http://127.0.0.1:{port}/", cwd=PROJECT):
        return time.monotonic() - began


if __name__ == "__main__":
    main()
