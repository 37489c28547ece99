"""Read what nobody vouches for in a process of its own, one process for each reading.

The process has no key in its environment, may use a bounded amount of memory and writes no file. It is
given the bytes on stdin and answers with one JSON object; whatever it does instead of that within the
time limit (crash, hang, print megabytes) is one ApartError. It ends with this process's wait.
"""

import json
import resource
import subprocess
import sys
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
    try:
        done = subprocess.run(
            [sys.executable, "-m", module],
            input=json.dumps(options).encode() + b"\n" + data,
            capture_output=True,
            cwd=PROJECT_DIR,
            env={},
            timeout=seconds_max,
        )
    except subprocess.TimeoutExpired as error:
        raise ApartError(f"it takes more than {seconds_max:g} seconds to read") from error
    if done.returncode != 0 or len(done.stdout) > ANSWER_MAX:
        raise ApartError("it makes the reader crash")
    try:
        answer = json.loads(done.stdout)
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
