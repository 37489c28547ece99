"""Why a run ended, in one sentence for a person, with the way out; and what to do when memory ends.

An error is known by its type, by its number where the system gave one, and else by what the libraries
write: they wrap the system's refusals in errors of their own. Torch-free, so that a run whose torch is
broken can say so.
"""

import errno
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from training.config import ConfigError
from training.records import RecordError
from training.state import DISK_NUMBERS, RunFolderError

OUT_OF_MEMORY = (
    "DefaultCPUAllocator", "out of memory", "Cannot allocate memory", "std::bad_alloc",
    "CUBLAS_STATUS_ALLOC_FAILED",
)  # fmt: skip
"""What PyTorch's allocators, the C++ library and cuBLAS write where memory ends."""

DISK_FULL = (
    "No space left on device", "File too large", "Disk quota exceeded", "PytorchStreamWriter failed",
    "unexpected pos",
)  # fmt: skip
"""What the system and PyTorch's writer of zip files say where a file cannot grow; the latter compares how
much it wrote with how much it wanted to, and does not say why they differ."""

PEER_LOST = (
    "Connection closed by peer", "Connection reset by peer", "Broken pipe", "Socket closed",
    "NCCL communicator was aborted", "ncclRemoteError", "Timed out waiting",
)  # fmt: skip
"""What gloo and NCCL say where a process on the other side is gone."""

WORKER_LOST = ("DataLoader worker", "exited unexpectedly", "killed by signal")


class NotFiniteError(RuntimeError):
    """A loss or a gradient is no number; says at which step and on which cases."""


class SmallestBatchError(RuntimeError):
    """Memory ends even with one row at a time."""


class SmallerNextTimeError(RuntimeError):
    """Memory ended in one of several processes; the smaller size is kept for when the run is resumed."""


IN_THEIR_OWN_WORDS = (
    RunFolderError, ConfigError, RecordError, NotFiniteError, SmallestBatchError, SmallerNextTimeError,
)  # fmt: skip
"""Errors whose own message says all a person needs."""


def reason(error: BaseException) -> str:
    """Say why a run ended, and how it goes on."""
    if isinstance(error, IN_THEIR_OWN_WORDS):
        return str(error)
    if is_disk_full(error):
        return "The disk is full: make room, then resume; the run goes on from the last save."
    if is_out_of_memory(error):
        return (
            "Memory ran out: close what else needs it or choose a smaller student, then resume;"
            " the run goes on from the last save."
        )
    if is_lost_peer(error):
        return (
            "One of the processes that share this run was lost, killed by somebody or by the system where"
            " memory ran out: resume goes on from the last save."
        )
    if is_lost_worker(error):
        return f"A process that the run needs was lost ({_line(error)}): resume goes on from the last save."
    return f"{type(error).__name__}: {_line(error)}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ended, on the GPU or beside it."""
    return any(
        isinstance(one, MemoryError)
        or (isinstance(one, OSError) and one.errno == errno.ENOMEM)
        or (isinstance(one, RuntimeError) and any(said in str(one) for said in OUT_OF_MEMORY))
        for one in _chain(error)
    )


def is_disk_full(error: BaseException) -> bool:
    """Whether a file could not be written for want of room, or grew beyond what is allowed."""
    return any(
        (isinstance(one, OSError) and one.errno in DISK_NUMBERS)
        or any(said in str(one) for said in DISK_FULL)
        for one in _chain(error)
    )


def is_lost_peer(error: BaseException) -> bool:
    """Whether a process that shares the run is gone."""
    return any(
        isinstance(one, RuntimeError) and any(s in str(one) for s in PEER_LOST) for one in _chain(error)
    )


def is_lost_worker(error: BaseException) -> bool:
    """Whether a process that worked for the run is gone."""
    return any(
        isinstance(one, ChildProcessError | BrokenProcessPool | BrokenPipeError | ConnectionResetError)
        or (WORKER_LOST[0] in str(one) and any(said in str(one) for said in WORKER_LOST[1:]))
        for one in _chain(error)
    )


Given = TypeVar("Given")
Made = TypeVar("Made")


def in_halves(work: Callable[[Sequence[Given]], list[Made]], given: Sequence[Given]) -> list[Made]:
    """Work on all that is given at once, or where memory ends on one half after the other, and so on.

    Raises what ended the work on a single one.
    """
    try:
        return work(given)
    except (MemoryError, RuntimeError, OSError) as error:
        if len(given) < 2 or not is_out_of_memory(error):
            raise
    half = len(given) // 2  # outside the except, where what filled the memory is let go
    return in_halves(work, given[:half]) + in_halves(work, given[half:])


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was raised from or while handling."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def _line(error: BaseException) -> str:
    """Return the first line of what an error says, cut where it is too long for a state."""
    return (str(error).strip().splitlines() or ["it says no more"])[0][:300]
