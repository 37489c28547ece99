"""Seconds from `python app.py` until the page answers, on a new demo desk and on one that is there.

python benchmarks/start.py [--json]
"""

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from importlib.metadata import version
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
GOAL_SECONDS = 5.0


def main() -> None:
    """Start the page three times and print how long each took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        taken = {what: _seconds_to_answer(data) for what in ("new demo desk", "again", "and again")}
    figures: list[dict[str, Any]] = [
        {"what": what, "value": round(seconds, 2), "unit": "s", "goal": f"<= {GOAL_SECONDS:.0f}"}
        | {"met": seconds <= GOAL_SECONDS}
        for what, seconds in taken.items()
    ]
    if given.json:
        machine = f"{platform.machine()}, {os.cpu_count()} cores"
        versions = {"gradio": version("gradio")}
        print(
            json.dumps({"benchmark": "start", "machine": machine, "versions": versions, "figures": figures})
        )
        return
    for figure in figures:
        print(f"{figure['what']:16}{figure['value']:6.2f} s  goal {figure['goal']}")


def _seconds_to_answer(data: Path) -> float:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = time.monotonic()
    command = [sys.executable, "app.py", "--data", str(data), "--port", str(port)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL) as process:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1) as answer:
                    answer.read()
                break
            except (urllib.error.URLError, TimeoutError):
                if process.poll() is not None:
                    raise SystemExit("app.py ended before it answered") from None
                time.sleep(0.02)
        seconds = time.monotonic() - started
        process.terminate()
    return seconds


if __name__ == "__main__":
    main()
