"""Other processes of a benchmark: one that measures its own memory, and servers that end with it."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import httpx

P = ParamSpec("P")
T = TypeVar("T")

SECONDS_TO_START: Final = 600  # the slowest tool reads all its items before it answers
SECONDS_TO_END: Final = 20


class ServerError(RuntimeError):
    """Raised for a server that ended, or did not answer in time; has the end of what it printed."""


def in_child(function: Callable[P, T], *given: P.args, **named: P.kwargs) -> tuple[T, float]:
    """Call a function in a fresh process; return its result and that process's peak memory in MiB."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        result = pool.submit(function, *given, **named).result()
        return result, pool.submit(peak_memory).result()


def peak_memory() -> float:
    """Return the most memory this process has held, in MiB.

    `ru_maxrss` is the fallback, because a process inherits it from the one that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024**2 if sys.platform == "darwin" else peak / 1024


def free_port() -> int:
    """Find a port of the loopback address that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def nice(command: Sequence[str]) -> list[str]:
    """Let a command that nobody waits for give way to everything else on the machine."""
    return ["nice", "-n", "19", *command] if os.name == "posix" else list(command)


@contextmanager
def server(
    command: Sequence[str],
    log: Path,
    *,
    answers: str | None = None,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server while the block does, once the URL `answers` answers; whatever happens, it ends.

    It runs in a session of its own, so that the workers it starts end with it, by its process id.
    """
    with log.open("ab") as printed:
        process = subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=printed, stderr=printed, start_new_session=True
        )
    try:
        if answers is not None:
            _wait(process, command[0], answers, log)
        yield process
    finally:
        _end(process)


def _wait(process: subprocess.Popen[bytes], command: str, url: str, log: Path) -> None:
    until = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < until:
        if process.poll() is not None:
            raise ServerError(f"{command} ended: {_tail(log)}")
        try:
            if httpx.get(url, timeout=30).status_code < 500:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise ServerError(f"{command} did not answer within {SECONDS_TO_START} s: {_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all it has started, gently first."""
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        if _reached(process.pid, signal_number) and _is_over(process):
            return
    process.wait()


def _is_over(process: subprocess.Popen[bytes]) -> bool:
    until = time.monotonic() + SECONDS_TO_END
    while time.monotonic() < until:
        if process.poll() is not None and not _reached(process.pid, 0):
            return True
        time.sleep(0.02)
    return False


def _reached(group: int, signal_number: int) -> bool:
    """Send a signal to a group of processes; tell whether it has any."""
    try:
        os.killpg(group, signal_number)
    except ProcessLookupError:
        return False
    return True
