"""Start, stop and watch `python -m training RUN_DIR` as a process of its own.

The run folder is the truth: a page that reloads, or a server that restarts, sees the same run. One
run at a time on a desk, because two would share its cores. What the process prints is in `run.log`.
The process may be a launcher of several that share the run; the main one of these speaks for it.
"""

import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from db.vocabulary import RunStatus
from ooc_app.desk import Desk
from ooc_app.launchers import LOCAL, Launch, keep, kept
from ooc_app.rented import FILE_NAME as OF_A_JOB
from training.config import PROJECT_DIR
from training.state import RunFolder, RunFolderError, RunState

START_SECONDS = 20.0
LAUNCH_SECONDS = 180.0
"""How long a started process may take to hold its folder before it counts as failed: one that runs it, and
one that launches others, each of which loads torch before they can meet."""


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


def start(desk: Desk, run_dir: Path, launch: Launch | None = None) -> None:
    """Start or resume the run and return once its process has the folder.

    Without `launch` it is started as it was last. Raises RunError where another run is going, the folder
    holds no snapshot, or the process ends at once, and ConfigError for batches that cannot be shared.
    """
    folder = RunFolder(run_dir)
    try:
        folder.check()
    except RunFolderError as error:
        raise RunError(str(error)) from error
    busy = [path.name for path in _run_dirs(desk) if RunFolder(path).is_busy()]
    if busy:
        raise RunError(f"The run {busy[0]} is going: stop it or wait until it is done.")
    if launch is not None:
        keep(run_dir, launch)
    chosen = kept(run_dir)
    with (run_dir / "run.log").open("ab") as log:
        process = subprocess.Popen(
            chosen.command(run_dir),
            cwd=PROJECT_DIR,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    patience = START_SECONDS if chosen == LOCAL else LAUNCH_SECONDS
    deadline = time.monotonic() + patience
    while not (folder.is_busy() and process.pid in (folder.state().pid, folder.state().launcher)):
        if process.poll() is not None:
            if process.returncode == 0:
                return
            raise RunError(f"The run ended at once: {_why_ended(folder, process.pid)}")
        if time.monotonic() > deadline:
            raise RunError(f"The run has not begun within {patience:.0f} s; see {run_dir / 'run.log'}.")
        time.sleep(0.05)
    threading.Thread(target=process.wait, daemon=True).start()  # or it would be a zombie once it ends


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
        state = replace(state, status=RunStatus.FAILED, why=_why_silent(folder))
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


def run_dir_of(desk: Desk, run_name: str) -> Path:
    """Return a run's folder. Raises RunError for a name that is none of this desk's."""
    run_dir = desk.runs_dir / run_name
    if run_dir.parent != desk.runs_dir or not run_dir.is_dir():
        raise RunError(f"There is no run named {run_name} on this desk.")
    return run_dir


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


def _why_silent(folder: RunFolder) -> str:
    """Say what became of a run that says it is going and is not."""
    words = folder.last_words()
    if words:
        return words[0].why
    if (folder.path / OF_A_JOB).exists():
        return "it was going on a rented machine when it was fetched; fetch it again, or resume it here"
    return (
        "its process was killed, by somebody or by the system where memory ran out;"
        " resume goes on from the last save"
    )


def _why_ended(folder: RunFolder, process_id: int) -> str:
    """Say why a process ended at once: by the state, if it came that far, else by what it printed last."""
    state = folder.state()
    if process_id in (state.pid, state.launcher) and state.why:
        return state.why
    return _last_line(folder.path / "run.log")


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it left no message"
