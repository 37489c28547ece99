"""The run folder: where its files are, what state it is in, and who may work in it.

Torch-free, so that the page can watch a run without loading a trainer. `state.json` is replaced
whole, `metrics.jsonl` is appended to, `report.json` is written last: it exists exactly when the run
is complete.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from db.vocabulary import RunStatus, Stage

LOCK_ATTEMPTS = 20


class RunFolderError(Exception):
    """The folder cannot be run as it is; says why and what to do."""


@dataclass(frozen=True, slots=True)
class RunState:
    """What `state.json` says. `step` counts optimizer steps of the stage; `why` is set when it ended.

    `path` is a sentence: whether the stage trains on the fast path or on the stock one, and why.
    """

    status: RunStatus
    stage: str | None = None
    step: int = 0
    steps: int = 0
    pid: int | None = None
    why: str | None = None
    updated_at: str = ""
    path: str | None = None


class RunFolder:
    """A run's files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_path = path / "config.json"
        self.snapshot_path = path / "snapshot.json"
        self.state_path = path / "state.json"
        self.metrics_path = path / "metrics.jsonl"
        self.report_path = path / "report.json"
        self.features_dir = path / "features"
        self.lock_path = path / "lock"

    def adapter_dir(self, stage: Stage) -> Path:
        """Where the adapter of a stage is, once the stage is complete."""
        return self.path / stage.value

    def checkpoints_dir(self, stage: Stage) -> Path:
        """Where a stage keeps what it needs to go on after a kill."""
        return self.path / "checkpoints" / stage.value

    def state(self) -> RunState:
        """Read the state; a folder that was never run is waiting."""
        try:
            values = json.loads(self.state_path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return RunState(RunStatus.WAITING)
        return RunState(**{**values, "status": RunStatus(values["status"])})

    def say(
        self,
        *,
        status: RunStatus = RunStatus.RUNNING,
        stage: str | None = None,
        step: int = 0,
        steps: int = 0,
        why: str | None = None,
        path: str | None = None,
    ) -> None:
        """Replace the state."""
        stage = stage.value if isinstance(stage, Stage) else stage
        now = datetime.now(UTC).isoformat(timespec="seconds")
        said = RunState(status, stage, step, steps, os.getpid(), why, now, path)
        write_whole(self.state_path, json.dumps(asdict(said)))

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Append one logged step."""
        with self.metrics_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """Read the logged steps in order; of a step logged twice (before and after a kill) the later."""
        rows: dict[tuple[str, int], dict[str, Any]] = {}
        if not self.metrics_path.exists():
            return []
        for line in self.metrics_path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue  # the line a kill cut off
            rows[row["stage"], row["step"]] = row
        return sorted(rows.values(), key=lambda row: (row["stage"] == Stage.DPO, row["step"]))

    def report(self) -> dict[str, Any] | None:
        """Read the report; None while the run is not complete."""
        if not self.report_path.exists():
            return None
        report: dict[str, Any] = json.loads(self.report_path.read_text(encoding="utf-8"))
        return report

    def is_busy(self) -> bool:
        """Whether a process is working in the folder right now."""
        if not self.lock_path.exists():
            return False
        with self.lock_path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; the system lets go of it however the process ends.

        Raises RunFolderError where another process holds it.
        """
        with self.lock_path.open("ab") as file:
            for attempt in range(LOCK_ATTEMPTS):
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    if attempt == LOCK_ATTEMPTS - 1:
                        raise RunFolderError(
                            f"{self.path} is being run by another process; stop it or wait."
                        ) from error
                    time.sleep(0.02)  # a look of `is_busy` is over sooner
                else:
                    break
            yield

    def check(self) -> None:
        """Raise RunFolderError unless the folder holds a frozen snapshot."""
        if not self.path.is_dir():
            raise RunFolderError(f"There is no run folder at {self.path}.")
        if not self.snapshot_path.exists():
            raise RunFolderError(
                f"{self.path} has no snapshot.json: freeze a snapshot first (`python -m ooc_app distil`)."
            )


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader or a kill sees the old one or the new one, never half."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
