import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ooc_app.intake import decode, worker as worker_module
from ooc_app.intake.worker import PROJECT_DIR, Worker

Picture = Callable[..., bytes]


@pytest.fixture
def worker() -> Iterator[Worker]:
    """A worker whose process is up."""
    started = Worker()
    started.ask(decode.EXAMINE, b"")
    yield started
    started.close()


def process_of(worker: Worker) -> int:
    assert worker.process_id is not None
    return worker.process_id


def test_a_picture_that_takes_too_long_is_refused_and_the_next_one_is_not(
    worker: Worker, picture: Picture
) -> None:
    os.kill(process_of(worker), signal.SIGSTOP)
    worker.seconds_max = 0.2
    answer, _ = worker.ask(decode.EXAMINE, picture())
    assert "more than 0.2 seconds" in answer["refused"]
    worker.seconds_max = 10.0
    assert worker.ask(decode.EXAMINE, picture())[0]["format"] == "JPEG"


def test_a_picture_that_kills_the_decoder_is_refused_and_the_next_one_is_not(
    worker: Worker, picture: Picture
) -> None:
    doomed = process_of(worker)
    os.kill(doomed, signal.SIGSTOP)
    answers: list[dict[str, Any]] = []
    asking = threading.Thread(target=lambda: answers.append(worker.ask(decode.EXAMINE, picture())[0]))
    asking.start()
    time.sleep(0.1)
    os.kill(doomed, signal.SIGKILL)
    asking.join()
    assert "crash" in answers[0]["refused"]
    assert worker.ask(decode.EXAMINE, picture())[0]["format"] == "JPEG"
    assert process_of(worker) != doomed


def test_a_picture_larger_than_a_pipe_is_refused_where_the_decoder_reads_nothing(worker: Worker) -> None:
    os.kill(process_of(worker), signal.SIGSTOP)
    worker.seconds_max = 0.2
    answer, _ = worker.ask(decode.EXAMINE, bytes(4_000_000))
    assert "more than 0.2 seconds" in answer["refused"]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("REPLY.pack(2, 100) + b'{}' + b'half'", "more than 1 seconds"),
        ("b'half'", "more than 1 seconds"),
        ("REPLY.pack(2, 1 << 60) + b'{}'", "crash"),
        ("REPLY.pack(1 << 30, 0)", "crash"),
        ("REPLY.pack(2, 0) + b'no'", "crash"),
        ("REPLY.pack(2, 0) + b'[]'", "crash"),
        ("REPLY.pack(1, 0) + b'\\xff'", "crash"),
    ],
)
def test_a_decoder_that_a_picture_has_taken_over_cannot_stall_or_fill_the_desk(reply: str, said: str) -> None:
    code = (
        "import struct, sys, time\nREPLY = struct.Struct('>IQ')\n"
        f"sys.stdout.buffer.write({reply})\nsys.stdout.flush()\ntime.sleep(60)"
    )
    worker = Worker(1.0, (sys.executable, "-c", code))
    answer, body = worker.ask(decode.EXAMINE, b"")
    assert said in answer["refused"]
    assert (body, worker.process_id) == (b"", None)


def test_a_decoder_that_died_between_pictures_is_replaced_unnoticed(worker: Worker, picture: Picture) -> None:
    os.kill(process_of(worker), signal.SIGKILL)
    os.waitid(os.P_PID, process_of(worker), os.WEXITED | os.WNOWAIT)
    assert worker.ask(decode.EXAMINE, picture())[0]["format"] == "JPEG"


def test_threads_share_one_process_and_get_their_own_answers(worker: Worker, picture: Picture) -> None:
    first = process_of(worker)
    answers: dict[int, list[int]] = {}

    def ask(width: int) -> None:
        data = picture(side=(width, 10))
        answers[width] = [worker.ask(decode.EXAMINE, data)[0]["width"] for _ in range(20)]

    threads = [threading.Thread(target=ask, args=(width,)) for width in range(10, 18)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {width: [width] * 20 for width in range(10, 18)}
    assert process_of(worker) == first


def test_the_process_has_a_memory_limit_and_no_keys(
    monkeypatch: pytest.MonkeyPatch, picture: Picture
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    fresh = Worker()
    fresh.ask(decode.EXAMINE, picture())
    process = Path("/proc") / str(process_of(fresh))
    if not process.exists():
        fresh.close()
        pytest.skip("this system has no /proc")
    limits = process.joinpath("limits").read_text()
    environment = process.joinpath("environ").read_bytes()
    fresh.close()
    address_space = next(line for line in limits.splitlines() if line.startswith("Max address space"))
    assert address_space.split()[3] == str(decode.MEMORY_LIMIT)
    assert environment == b""


def test_the_process_ends_when_its_parent_is_killed() -> None:
    code = (
        "import os, signal\nfrom ooc_app.intake.worker import Worker\n"
        "worker = Worker()\nworker.ask(b'E', b'')\nprint(worker.process_id, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_DIR, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL
    assert ended(int(done.stdout))


def test_the_process_ends_with_its_parent_without_a_word() -> None:
    code = (
        "from ooc_app.intake.worker import Worker\n"
        "worker = Worker()\nworker.ask(b'E', b'')\nprint(worker.process_id, flush=True)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=PROJECT_DIR, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert ended(int(done.stdout))


def ended(process_id: int) -> bool:
    """Wait up to ten seconds for a process that is not ours to be gone, or dead and not yet reaped."""
    stat = Path("/proc") / str(process_id) / "stat"
    for _ in range(100):
        try:
            if stat.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.1)
    return False


def test_both_ends_speak_the_same_protocol() -> None:
    assert worker_module.REQUEST.format == decode.REQUEST.format
    assert worker_module.REPLY.format == decode.REPLY.format
