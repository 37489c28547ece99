"""Read what nobody vouches for in a process of its own, one process for each reading.

The process has no key in its environment, may use a bounded amount of memory and writes no file. It is
given the bytes on stdin and answers with one JSON object; whatever it does instead of that within the
time limit (crash, hang, print without end) is one ApartError.
"""

import contextlib
import json
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Final

SECONDS_MAX: Final = 10.0
ANSWER_MAX: Final = 1 << 20  # bytes
MEMORY_LIMIT: Final = 2 << 30  # bytes of address space
PROJECT_DIR: Final = Path(__file__).resolve().parents[2]


class ApartError(Exception):
    """Raised where the process gave no answer; says what it did instead."""


def read_apart(
    module: str, options: dict[str, Any], data: bytes, *, seconds_max: float = SECONDS_MAX
) -> dict[str, Any]:
    """Run `python -m module` on some bytes and return the object it answers with. Raises ApartError."""
    process = subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=PROJECT_DIR,
        env={},
    )
    is_late = threading.Event()

    def end_late() -> None:
        is_late.set()
        process.kill()

    limit = threading.Timer(seconds_max, end_late)
    giving = threading.Thread(target=_give, args=(process, json.dumps(options).encode() + b"\n" + data))
    limit.start()
    giving.start()
    try:
        assert process.stdout is not None
        said = process.stdout.read(ANSWER_MAX + 1)  # never more, whatever it would print
        if len(said) > ANSWER_MAX:
            process.kill()
        process.stdout.close()
        status = process.wait()
    finally:
        limit.cancel()
        giving.join()
        limit.join()
    if is_late.is_set():
        raise ApartError(f"it takes more than {seconds_max:g} seconds to read")
    return _answer(said if status == 0 else b"")


def _give(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin:  # it may have ended without reading all
        process.stdin.write(data)


def _answer(said: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(said)
    except ValueError as error:
        raise ApartError("it makes the reader crash") from error
    if not isinstance(answer, dict):
        raise ApartError("it makes the reader crash")
    return answer


def limit_this_process() -> None:
    """Bound what this process, the reader, may take; called first in it."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def given_to_this_process() -> tuple[dict[str, Any], bytes]:
    """Read what `read_apart` was given, in the reader."""
    options = json.loads(sys.stdin.buffer.readline())
    return options, sys.stdin.buffer.read()
