"""Questions and texts of many threads through the one that owns the model."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from ooc_app.model_thread import Kept, ModelThread


class Doubling:
    """Doubles numbers; 13 fails every batch it is in. The first batch waits for `may_go`."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[str] = set()
        self.may_go = threading.Event()
        self.has_begun = threading.Event()

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.has_begun.set()
        assert self.may_go.wait(10)
        self.batches.append(list(numbers))
        self.threads.add(threading.current_thread().name)
        if 13 in numbers:
            raise ValueError("13 is refused")
        return [2 * number for number in numbers]


@pytest.fixture
def doubling() -> Doubling:
    return Doubling()


@pytest.fixture
def model(doubling: Doubling) -> Iterator[ModelThread[int, int]]:
    thread = ModelThread(doubling, at_once=8)
    yield thread
    doubling.may_go.set()
    thread.close()


def asked_together(model: ModelThread[int, int], doubling: Doubling, numbers: Sequence[int]) -> list[object]:
    """Ask while the model is busy with a first question, so that the others wait together."""

    def ask(number: int) -> object:
        try:
            return model.ask(number)
        except ValueError as error:
            return error

    with ThreadPoolExecutor(len(numbers) + 1) as pool:
        first = pool.submit(ask, 0)
        assert doubling.has_begun.wait(10)
        others = [pool.submit(ask, number) for number in numbers]
        while len(model._waiting) < len(numbers):
            threading.Event().wait(0.001)
        doubling.may_go.set()
        assert first.result() == 0
        return [one.result() for one in others]


def test_a_question_that_fails_fails_alone(model: ModelThread[int, int], doubling: Doubling) -> None:
    *good, bad = asked_together(model, doubling, [1, 2, 3, 13])
    assert good == [2, 4, 6]
    assert isinstance(bad, ValueError)
    assert [13] in doubling.batches


def test_what_waits_is_read_together_and_no_more_than_fits(
    model: ModelThread[int, int], doubling: Doubling
) -> None:
    assert asked_together(model, doubling, range(1, 13)) == [2 * number for number in range(1, 13)]
    assert [len(batch) for batch in doubling.batches] == [1, 8, 4]
    assert doubling.threads == {"model"}


def test_a_question_is_answered_while_a_text_is_written(
    model: ModelThread[int, int], doubling: Doubling
) -> None:
    doubling.may_go.set()
    endless = model.write(lambda: iter(lambda: "more ", None))
    assert next(endless) == "more "
    assert model.ask(4) == 8
    assert model.run(lambda: threading.current_thread().name) == "model"
    endless.close()  # type: ignore[attr-defined]  # it is a generator
    assert model.ask(5) == 10


def test_a_text_that_fails_says_so_and_the_next_is_written(
    model: ModelThread[int, int], doubling: Doubling
) -> None:
    def broken() -> Iterator[str]:
        yield "one"
        raise ValueError("no more")

    text = model.write(broken)
    assert next(text) == "one"
    with pytest.raises(ValueError, match="no more"):
        next(text)
    assert "".join(model.write(lambda: iter(["a", "b"]))) == "ab"


def test_a_closed_thread_refuses(doubling: Doubling) -> None:
    model = ModelThread(doubling)
    doubling.may_go.set()
    assert model.ask(1) == 2
    model.close()
    with pytest.raises(RuntimeError, match="ended"):
        model.ask(2)


def test_what_still_waits_when_the_thread_is_closed_fails(doubling: Doubling) -> None:
    model = ModelThread(doubling, at_once=1)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(model.ask, 1)
        assert doubling.has_begun.wait(10)
        waiting = [pool.submit(model.ask, 2), pool.submit(model.run, lambda: 3)]
        while len(model._waiting) + len(model._tasks) < 2:
            time.sleep(0.001)
        closing = pool.submit(model.close)
        while not model._is_closed:
            time.sleep(0.001)
        doubling.may_go.set()
        closing.result(10)
        assert first.result(10) == 2
        for one in waiting:
            with pytest.raises(RuntimeError, match="ended"):
                one.result(10)


def test_what_was_not_used_for_longest_is_dropped() -> None:
    kept: Kept[str, bytes] = Kept(10, len)
    kept.put("a", b"1234")
    kept.put("b", b"1234")
    assert kept.get("a") == b"1234"
    kept.put("c", b"1234")
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (b"1234", None, b"1234")
    kept.put("d", b"12345678901")
    assert kept.get("d") is None
    kept.clear()
    assert kept.get("a") is None
