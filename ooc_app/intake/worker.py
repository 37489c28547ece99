"""Keep one decoding process alive and ask it, from any thread, about one picture at a time.

Starting a process costs 150 ms and asking it about a small picture 1 ms, so the process stays
(`decode.py` runs in it). A picture that takes longer than `SECONDS_MAX`, or that makes the process
die, costs that process its life and is refused; the next picture gets a new one. What a picture may
have made of the decoder is not trusted either: a reply that stalls, or that is none, ends it too. The
process ends with this one: its stdin closes however this one dies.
"""

import atexit
import contextlib
import json
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SECONDS_MAX = 10.0  # 64 megapixels of progressive JPEG take 5 s to show on a busy core
REPLY_MAX = 1 << 26  # bytes; a shown copy has at most 8 MB
PROJECT_DIR = Path(__file__).resolve().parents[2]
DECODER = (sys.executable, "-m", "ooc_app.intake.decode")
REQUEST = struct.Struct(">cQ")  # as in decode.py, which is not imported here: it loads Pillow
REPLY = struct.Struct(">IQ")


class Worker:
    """The decoding process; started by the first request."""

    def __init__(self, seconds_max: float = SECONDS_MAX, command: Sequence[str] = DECODER) -> None:
        self.seconds_max = seconds_max
        self._command = command
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, command: bytes, data: bytes) -> tuple[dict[str, Any], bytes]:
        """Send one request and wait for its reply: an object and a body of bytes.

        The object has only `refused`, a sentence, where the picture was not accepted.
        """
        with self._lock:
            process = self._running()
            late = threading.Event()

            def end_late() -> None:
                late.set()
                process.kill()

            limit = threading.Timer(self.seconds_max, end_late)
            limit.daemon = True
            limit.start()
            try:
                return self._exchange(process, command, data)
            except (OSError, struct.error, ValueError):
                self._end(process)
                if late.is_set():
                    seconds = f"{self.seconds_max:g} seconds"
                    return refused(f"The picture takes more than {seconds} to open: save a simpler copy.")
                return refused(
                    "The picture makes the decoder crash, so it is damaged: get the original file."
                )
            finally:
                limit.cancel()
                limit.join()
                if late.is_set() and self._process is process:  # it answered as its time ended
                    self._end(process)

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
                self._command,
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
        answer_length, body_length = REPLY.unpack(process.stdout.read(REPLY.size))
        if answer_length + body_length > REPLY_MAX:
            raise ValueError("the reply is larger than any picture gives")
        answer = json.loads(process.stdout.read(answer_length))
        body = process.stdout.read(body_length)
        if len(body) < body_length or not isinstance(answer, dict):
            raise ValueError("the reply is not whole")
        return answer, body

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
