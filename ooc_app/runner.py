"""Start, stop and watch `python -m training RUN_DIR` as a process of its own.

The run folder is the truth: a page that reloads, or a server that restarts, sees the same run. One
run at a time on a desk, because two would share its cores. What the process prints is in `run.log`.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from db.vocabulary import RunStatus
from ooc_app.desk import Desk
from training.config import PROJECT_DIR
from training.state import RunFolder, RunFolderError, RunState

START_SECONDS = 20.0
"""How long a started process may take to hold its folder before it counts as failed."""


class RunError(Exception):
    """A run cannot be started or stopped; says why and what to do."""


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as the page shows it; `seconds_left` is of the stage it is in, `alarms` are sentences."""

    name: str
    status: RunStatus
    stage: str | None
    step: int
    steps: int
    why: str | None
    seconds_left: float | None
    metrics: list[dict[str, Any]] = field(default_factory=list)
    report: dict[str, Any] | None = None
    alarms: list[str] = field(default_factory=list)


def start(desk: Desk, run_dir: Path) -> None:
    """Start or resume the run and return once its process has the folder.

    Raises RunError where another run is going, the folder holds no snapshot, or the process ends at once.
    """
    folder = RunFolder(run_dir)
    try:
        folder.check()
    except RunFolderError as error:
        raise RunError(str(error)) from error
    busy = [path.name for path in _run_dirs(desk) if RunFolder(path).is_busy()]
    if busy:
        raise RunError(f"The run {busy[0]} is going: stop it or wait until it is done.")
    with (run_dir / "run.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "training", str(run_dir)],
            cwd=PROJECT_DIR,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while not (folder.is_busy() and folder.state().pid == process.pid):
        if process.poll() is not None:
            if process.returncode == 0:
                return
            raise RunError(f"The run ended at once: {_last_line(run_dir / 'run.log')}")
        if time.monotonic() > deadline:
            raise RunError(f"The run has not begun within {START_SECONDS:.0f} s; see {run_dir / 'run.log'}.")
        time.sleep(0.05)


def stop(run_dir: Path) -> None:
    """Ask the run to save and stop after the step it is in. Raises RunError where it is not going."""
    folder = RunFolder(run_dir)
    state = folder.state()
    if not folder.is_busy() or state.pid is None:
        raise RunError(f"The run {run_dir.name} is not going, so there is nothing to stop.")
    os.kill(state.pid, signal.SIGTERM)


def wait(run_dir: Path, *, poll_seconds: float = 0.2) -> RunView:
    """Wait until nobody works in the folder and return how it ended."""
    folder = RunFolder(run_dir)
    while folder.is_busy():
        time.sleep(poll_seconds)
    return view(run_dir)


def view(run_dir: Path) -> RunView:
    """Read how a run stands. A run whose process is gone without a word has failed; it can be resumed."""
    folder = RunFolder(run_dir)
    state = folder.state()
    report = folder.report()
    if report is not None:
        state = replace(state, status=RunStatus.COMPLETE)
    elif state.status is RunStatus.RUNNING and not folder.is_busy():
        state = replace(
            state,
            status=RunStatus.FAILED,
            why="its process was killed, by somebody or by the system where memory ran out;"
            " resume goes on from the last save",
        )
    metrics = folder.metrics()
    return RunView(
        name=run_dir.name,
        status=state.status,
        stage=state.stage,
        step=state.step,
        steps=state.steps,
        why=state.why,
        seconds_left=_seconds_left(state, metrics),
        metrics=metrics,
        report=report,
        alarms=[alarm.said for alarm in folder.alarms()],
    )


def all_runs(desk: Desk) -> list[RunView]:
    """Return every run of the desk, newest first."""
    return [view(path) for path in _run_dirs(desk)]


def _run_dirs(desk: Desk) -> list[Path]:
    found = [path for path in desk.runs_dir.iterdir() if (path / "snapshot.json").exists()]
    return sorted(found, key=lambda path: (path / "snapshot.json").stat().st_mtime, reverse=True)


def _seconds_left(state: RunState, metrics: list[dict[str, Any]]) -> float | None:
    """Estimate from the rate of the stage since its process started."""
    rows = [row for row in metrics if row["stage"] == state.stage]
    if state.status is not RunStatus.RUNNING or len(rows) < 2:
        return None
    last, first = rows[-1], next(row for row in rows if row["seconds"] <= rows[-1]["seconds"])
    steps, seconds = last["step"] - first["step"], last["seconds"] - first["seconds"]
    return seconds / steps * (state.steps - state.step) if steps > 0 else None


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it left no message"
