"""The one thread that owns the model: waiting questions are read together, rationales written in turns.

A round answers the questions that wait, oldest first and as many as fit in one batch, then lets every
rationale under way write one piece. So a question never waits for a rationale to end, only for the round
that is under way, and nothing waits for company: a batch is what came while the model was at work.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")
T = TypeVar("T")

AT_ONCE = 16
"""Questions in one batch at most; more gain little on a CPU and would keep rationales waiting."""


class Kept(Generic[Q, A]):
    """What was used last, by key, up to a budget in bytes; safe for several threads."""

    def __init__(self, budget: int, size: Callable[[A], int]) -> None:
        self._budget = budget
        self._size = size
        self._kept: dict[Q, A] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Q) -> A | None:
        """Return what is kept under the key, as used last."""
        with self._lock:
            value = self._kept.pop(key, None)
            if value is not None:
                self._kept[key] = value
            return value

    def put(self, key: Q, value: A) -> None:
        """Keep a value, and drop what was not used for longest until all fit."""
        with self._lock:
            before = self._kept.pop(key, None)
            self._bytes -= 0 if before is None else self._size(before)
            self._kept[key] = value
            self._bytes += self._size(value)
            while self._bytes > self._budget:
                oldest = next(iter(self._kept))
                self._bytes -= self._size(self._kept.pop(oldest))

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0


@dataclass(slots=True, eq=False)
class _Writing:
    """A text under way: its pieces, once begun on the model's thread, and where they go."""

    begin: Callable[[], Iterator[str]]
    pieces: Iterator[str] | None = None
    out: "queue.SimpleQueue[str | BaseException | None]" = field(default_factory=queue.SimpleQueue)
    is_wanted: bool = True


class ModelThread(Generic[Q, A]):
    """Asks a model's questions on a thread of its own; `answer` gives one answer a question, in order.

    The thread ends after `close`, and with the process.
    """

    def __init__(self, answer: Callable[[Sequence[Q]], Sequence[A]], *, at_once: int = AT_ONCE) -> None:
        self._answer = answer
        self._at_once = at_once
        self._waiting: deque[tuple[Q, Future[A]]] = deque()
        self._tasks: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._writings: list[_Writing] = []
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def ask(self, question: Q) -> A:
        """Return the answer to a question, or raise what it failed with."""
        future: Future[A] = Future()
        with self._changed:
            self._start()
            self._waiting.append((question, future))
            self._changed.notify()
        return future.result()

    def run(self, task: Callable[[], T]) -> T:
        """Return what a task gives that needs the model for itself; it waits its turn behind questions."""
        future: Future[T] = Future()
        with self._changed:
            self._start()
            self._tasks.append((task, future))
            self._changed.notify()
        return future.result()

    def write(self, begin: Callable[[], Iterator[str]]) -> Iterator[str]:
        """Yield the pieces of a text, written in turns with others; stop listening, and it is not gone on."""
        writing = _Writing(begin)
        with self._changed:
            self._start()
            self._writings.append(writing)
            self._changed.notify()
        try:
            while (said := writing.out.get()) is not None:
                if isinstance(said, BaseException):
                    raise said
                yield said
        finally:
            writing.is_wanted = False

    def close(self) -> None:
        """End the thread; what still waits fails."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _start(self) -> None:
        if self._is_closed:
            raise RuntimeError("The model's thread has ended.")
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True, name="model")
            self._thread.start()

    def _work(self) -> None:
        while self._round():
            continue

    def _round(self) -> bool:
        """Wait for work and do some; return whether to go on. Nothing done is held while waiting again."""
        with self._changed:
            self._changed.wait_for(self._has_work)
            if self._is_closed:
                self._refuse_all()
                return False
            batch = [self._waiting.popleft() for _ in range(min(self._at_once, len(self._waiting)))]
            task = self._tasks.popleft() if self._tasks else None
            writings = list(self._writings)
        if batch:
            self._answer_batch(batch)
        if task is not None:
            _settle(*task)
        done = [writing for writing in writings if not _write_on(writing)]
        with self._changed:
            self._writings = [writing for writing in self._writings if writing not in done]
        return True

    def _has_work(self) -> bool:
        return bool(self._is_closed or self._waiting or self._tasks or self._writings)

    def _answer_batch(self, batch: Sequence[tuple[Q, "Future[A]"]]) -> None:
        """Answer together; where that fails each alone, so that one question fails no other."""
        try:
            answers = self._answer([question for question, _ in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0][1].set_exception(error)
                return
            for one in batch:
                self._answer_batch([one])
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            future.set_result(answer)

    def _refuse_all(self) -> None:
        ended = RuntimeError("The model's thread has ended.")
        for _, future in (*self._waiting, *self._tasks):
            future.set_exception(ended)
        for writing in self._writings:
            writing.out.put(ended)
        self._waiting.clear()
        self._tasks.clear()
        self._writings.clear()


def _settle(task: Callable[[], T], future: "Future[T]") -> None:
    try:
        future.set_result(task())
    except Exception as error:  # it is raised where the task was asked for
        future.set_exception(error)


def _write_on(writing: _Writing) -> bool:
    """Write one piece; return whether there may be more."""
    try:
        if not writing.is_wanted:
            return False
        writing.pieces = writing.pieces or writing.begin()
        piece = next(writing.pieces, None)
    except Exception as error:  # it is raised where the text is read
        writing.out.put(error)
        return False
    writing.out.put(piece)
    return piece is not None
