"""Do something with a teacher in a process of its own, so that it goes on whatever becomes of the page.

The process is `python -m ooc_app teach`; what it does stands on the teacher's board (`teach_board.py`).
It also keeps a local model out of the app's memory. Keys come to it from the app's environment.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from db.teaching import TeachingError
from db.vocabulary import Split
from ooc_app.desk import Desk
from ooc_app.teach_board import Deed, busy, file_of, standing
from training.config import PROJECT_DIR

START_S: Final = 60.0  # until a process has said that it began
FLAGS: Final = {
    Deed.RUN: (),
    Deed.REHEARSE: ("--dry-run",),
    Deed.FLIP: ("--flipped",),
    Deed.RETIRE: ("--retire",),
    Deed.REINSTATE: ("--reinstate",),
}


@dataclass(frozen=True)
class Order:
    """What is to be done, and how much at most; None is no limit. `budget` is in USD."""

    deed: Deed = Deed.RUN
    split: Split | None = None
    limit: int | None = None
    budget: float | None = None
    tokens: int | None = None
    minutes: float | None = None
    go_on: bool = False

    def flags(self) -> list[str]:
        """Return the options of the command."""
        options = {
            "--split": self.split,
            "--limit": self.limit,
            "--budget": self.budget,
            "--tokens": self.tokens,
            "--minutes": self.minutes,
        }
        given = [f"{name}={value}" for name, value in options.items() if value is not None]
        return [*FLAGS[self.deed], *given, *(["--go-on"] if self.go_on else [])]


def begin(desk: Desk, name: str, order: Order, annotator_id: int | None) -> None:
    """Begin, and return when the process has. Raises TeachingError, saying why, where it ends at once."""
    before = standing(desk, name)
    if before is not None and before.going:
        raise busy(name)
    who = [] if annotator_id is None else [f"--annotator={annotator_id}"]
    command = [
        sys.executable, "-m", "ooc_app", "teach", f"--data={desk.data_dir}", "--json",
        *order.flags(), *who, "--", name,
    ]  # fmt: skip
    log_path = file_of(desk, name, "log")
    log_path.parent.mkdir(exist_ok=True)
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=PROJECT_DIR,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )
    threading.Thread(target=process.wait, daemon=True).start()  # or it would be a zombie once it ends
    _wait_for(desk, name, process, log_path)


def stop(desk: Desk, name: str) -> None:
    """Ask what goes on to end when the answers on their way are back; asked twice, at once.

    Raises TeachingError where nothing goes on.
    """
    going = standing(desk, name)
    if going is None or not going.going:
        raise TeachingError(f"Nothing goes on with {name}, so there is nothing to stop.")
    if going.ended is not None:  # what has the teacher now has not said yet who it is
        raise busy(name)
    os.kill(going.pid, signal.SIGTERM)


def _wait_for(desk: Desk, name: str, process: "subprocess.Popen[bytes]", log_path: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        found = standing(desk, name)
        if found is not None and found.pid == process.pid:
            return
        if ended:
            said = log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise TeachingError(said[-1] if said else f"Asking {name} ended at once, without a word.")
        time.sleep(0.05)
    raise TeachingError(f"Asking {name} has not begun within {START_S:.0f} seconds; {log_path} may say why.")
