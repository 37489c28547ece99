"""The run folder: where its files are, what state it is in, and who may work in it.

Torch-free, so that the page can watch a run without loading a trainer. `state.json` is replaced
whole, `metrics.jsonl` and `alarms.jsonl` are appended to, `report.json` is written last: it exists
exactly when the run is complete.
"""

import errno
import fcntl
import json
import os
import shutil
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from db.vocabulary import RunStatus, Stage
from training.alarms import Alarm, AlarmKind

LOCK_ATTEMPTS = 20
DISK_NUMBERS = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
"""What the system answers where a file cannot grow."""


class RunFolderError(Exception):
    """The folder cannot be run as it is; says why and what to do."""


class StageStopped(Exception):  # noqa: N818 - not an error: somebody asked for it
    """The stage was asked to stop and has saved; running the folder again goes on from there."""


@dataclass(frozen=True, slots=True)
class RunState:
    """What `state.json` says.

    `stage` is the part of the run it is in, by name. In `sft` and `dpo`, `step` counts optimizer steps; in
    the other parts, what there is to do: pictures, preferences, cases. `why` is set when it ended. `path` is
    a sentence: whether the stage trains on the fast path or on the stock one, and why. `alarm` is the
    newest of `alarms.jsonl`, as a sentence. `launcher` is the process that started this one, where it
    started others beside it.
    """

    status: RunStatus
    stage: str | None = None
    step: int = 0
    steps: int = 0
    pid: int | None = None
    why: str | None = None
    updated_at: str = ""
    path: str | None = None
    alarm: str | None = None
    launcher: int | None = None


@dataclass(frozen=True, slots=True)
class LastWord:
    """Why a process beside the main one ended; `micro_batch`, if any, is the size its stage goes on with."""

    why: str
    stage: str = ""
    step: int = 0
    micro_batch: int = 0


class RunFolder:
    """A run's files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_path = path / "config.json"
        self.snapshot_path = path / "snapshot.json"
        self.state_path = path / "state.json"
        self.metrics_path = path / "metrics.jsonl"
        self.alarms_path = path / "alarms.jsonl"
        self.report_path = path / "report.json"
        self.features_dir = path / "features"
        self.lock_path = path / "lock"
        self.stop_path = path / "stop"
        self.launcher: int | None = None

    def adapter_dir(self, stage: Stage) -> Path:
        """Where the adapter of a stage is, once the stage is complete."""
        return self.path / stage.value

    def newest_stage(self) -> Stage | None:
        """Return the last stage that has left its adapter; None where none has."""
        return next((stage for stage in reversed(Stage) if self.adapter_dir(stage).is_dir()), None)

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
        """Replace the state. Raises OSError where the disk is full and there is none yet."""
        stage = stage.value if isinstance(stage, Stage) else stage
        now = datetime.now(UTC).isoformat(timespec="seconds")
        alarms = self.alarms()
        alarm = alarms[-1].said if alarms else None
        said = RunState(status, stage, step, steps, os.getpid(), why, now, path, alarm, self.launcher)
        text = json.dumps(asdict(said))
        try:
            write_whole(self.state_path, text)
        except OSError as error:
            if error.errno not in DISK_NUMBERS:
                raise
            write_over(self.state_path, text)  # a full disk has room where the last state is

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Append one logged step."""
        append_line(self.metrics_path, row)

    def metrics(self) -> list[dict[str, Any]]:
        """Read the logged steps in order; of a step logged twice (before and after a kill) the later."""
        rows = {(row["stage"], row["step"]): row for row in read_lines(self.metrics_path)}
        return sorted(rows.values(), key=lambda row: (row["stage"] == Stage.DPO, row["step"]))

    def append_alarm(self, alarm: Alarm) -> None:
        """Append an alarm."""
        append_line(self.alarms_path, asdict(alarm))

    def alarms(self) -> list[Alarm]:
        """Read the alarms, the newest last."""
        return [Alarm.parse(values) for values in read_lines(self.alarms_path)]

    def micro_batch(self, stage: Stage) -> int | None:
        """Return how many rows of a stage fit into memory at once, where more did not."""
        halved = [
            alarm.micro_batch
            for alarm in self.alarms()
            if alarm.kind is AlarmKind.OUT_OF_MEMORY and alarm.stage == stage
        ]
        return halved[-1] if halved else None

    def leave_word(self, rank: int, word: LastWord) -> None:
        """Keep why the process `rank` ends, for whoever speaks for the run."""
        write_whole(self.path / f"ended-{rank}.json", json.dumps(asdict(word)))

    def last_words(self) -> list[LastWord]:
        """Read why processes beside the main one ended, until `heed` was called."""
        found = sorted(self.path.glob("ended-*.json"))
        return [LastWord(**json.loads(path.read_text(encoding="utf-8"))) for path in found]

    def heed(self) -> str | None:
        """Take over what the processes beside the main one left, and return why the first one ended.

        Only for who holds the folder.
        """
        words = self.last_words()
        for word in words:
            if word.micro_batch:
                kind = AlarmKind.OUT_OF_MEMORY
                self.append_alarm(Alarm(word.stage, word.step, kind, word.why, word.micro_batch))
        for path in self.path.glob("ended-*.json"):
            path.unlink()
        self.stop_path.unlink(missing_ok=True)
        return words[0].why if words else None

    def clear(self) -> None:
        """Delete what a kill or a full disk left half-written, and checkpoints of complete stages.

        Only for who holds the folder.
        """
        for partial in (*self.path.glob("*.partial"), *self.features_dir.glob("*.partial")):
            if partial.is_dir():
                shutil.rmtree(partial)
            else:
                partial.unlink()
        for stage in Stage:
            working_dir = self.checkpoints_dir(stage)
            if self.adapter_dir(stage).is_dir():
                shutil.rmtree(working_dir, ignore_errors=True)
            for checkpoint in working_dir.glob("checkpoint-*"):
                if not is_whole_checkpoint(checkpoint):
                    shutil.rmtree(checkpoint)

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


class SideFolder(RunFolder):
    """The run folder as the processes beside the main one see it: they write nothing that it writes."""

    def say(self, **_: Any) -> None:
        """Leave the state to the main process."""

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Leave the metrics to the main process."""

    def append_alarm(self, alarm: Alarm) -> None:
        """Leave the alarms to the main process; it is told of memory by a last word."""

    def clear(self) -> None:
        """Leave what is half-written to the main process."""


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader or a kill sees the old one or the new one, never half."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    partial.replace(path)


def write_over(path: Path, text: str) -> None:
    """Write JSON over a file's content in one piece, followed by spaces where the old one was longer."""
    with path.open("r+b", buffering=0) as file:
        file.write(text.encode().ljust(path.stat().st_size))


def is_whole_checkpoint(folder: Path) -> bool:
    """Whether a checkpoint was written to its end.

    The trainer's state is its last file, which tells after a kill. Where power was lost, files that were
    written before it may be shorter than they should be: zip files end with their table of contents, and
    safetensors begin with it.
    """
    try:
        json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
        return all(zipfile.is_zipfile(path) for path in folder.glob("*.pt*")) and all(
            _is_whole_safetensors(path) for path in folder.glob("*.safetensors")
        )
    except (OSError, ValueError):
        return False


def _is_whole_safetensors(path: Path) -> bool:
    """Whether a file has the length its header says (safetensors format: 8 bytes of length, JSON, data)."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            return False
        tensors = json.loads(file.read(length))
    data = max((one["data_offsets"][1] for name, one in tensors.items() if name != "__metadata__"), default=0)
    return path.stat().st_size == 8 + length + int(data)


def append_line(path: Path, values: dict[str, Any]) -> None:
    """Append one JSON object as a line of its own, also where a kill or a full disk cut the last one off."""
    line = json.dumps(values).encode() + b"\n"
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line
        file.write(line)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read what `append_line` wrote, without lines that were cut off; nothing where there is no file."""
    found: list[dict[str, Any]] = []
    if not path.exists():
        return found
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found
