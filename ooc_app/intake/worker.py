"""Keep one decoding process alive and ask it, from any thread, about one picture at a time.

Starting a process costs 150 ms and asking it about a small picture 1 ms, so the process stays
(`decode.py` runs in it). A picture that takes longer than `SECONDS_MAX`, or that makes the process
die, costs that process its life and is refused; the next picture gets a new one. The process ends
with this one: its stdin closes however this one dies.
"""

import atexit
import contextlib
import json
import select
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

SECONDS_MAX = 20.0  # 64 megapixels of AVIF take about 3 s on one slow core
PROJECT_DIR = Path(__file__).resolve().parents[2]
REQUEST = struct.Struct(">cQ")  # as in decode.py, which is not imported here: it loads Pillow
REPLY = struct.Struct(">IQ")


class Worker:
    """The decoding process; started by the first request."""

    def __init__(self, seconds_max: float = SECONDS_MAX) -> None:
        self.seconds_max = seconds_max
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, command: bytes, data: bytes) -> tuple[dict[str, Any], bytes]:
        """Send one request and wait for its reply: an object and a body of bytes.

        The object has only `refused`, a sentence, where the picture was not accepted.
        """
        with self._lock:
            process = self._running()
            try:
                return self._exchange(process, command, data)
            except TimeoutError:
                self._end(process)
                return refused(
                    f"The picture takes more than {self.seconds_max:g} seconds to open: save a simpler copy."
                )
            except (OSError, struct.error):
                self._end(process)
                return refused(
                    "The picture makes the decoder crash, so it is damaged: get the original file."
                )

    def close(self) -> None:
        """End the process, if one runs; the next request starts another."""
        with self._lock:
            if self._process is not None:
                self._end(self._process)

    @property
    def process_id(self) -> int | None:
        """The running process, or None."""
        return self._process.pid if self._process is not None else None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._end(self._process)
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ooc_app.intake.decode"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=PROJECT_DIR,
                env={},  # no key of this process is within the decoder's reach
            )
            atexit.register(self.close)
        return self._process

    def _exchange(
        self, process: subprocess.Popen[bytes], command: bytes, data: bytes
    ) -> tuple[dict[str, Any], bytes]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(REQUEST.pack(command, len(data)))
        process.stdin.write(data)
        process.stdin.flush()
        waiting = select.poll()
        waiting.register(process.stdout, select.POLLIN)
        if not waiting.poll(self.seconds_max * 1000):
            raise TimeoutError
        answer_length, body_length = REPLY.unpack(process.stdout.read(REPLY.size))
        answer = json.loads(process.stdout.read(answer_length))
        return answer, process.stdout.read(body_length)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # what was not sent yet has nobody to read it
                    pipe.close()
        process.wait()
        self._process = None
        atexit.unregister(self.close)


def refused(sentence: str) -> tuple[dict[str, Any], bytes]:
    """A reply that refuses the picture."""
    return {"refused": sentence}, b""
