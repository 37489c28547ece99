from concurrent.futures import ThreadPoolExecutor

import pytest

from ooc_app.wrong_tries import FORGOTTEN, FREE_TRIES, LONGEST_WAIT, NAMES_MAX, WrongTries, wait_after


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    """Give a clock."""
    return Clock()


@pytest.fixture
def tries(clock: Clock) -> WrongTries:
    """Give what counts tries by that clock."""
    return WrongTries(clock)


def test_after_some_free_tries_the_next_one_has_to_wait_longer_each_time(
    tries: WrongTries, clock: Clock
) -> None:
    assert [tries.begin("maria") for _ in range(FREE_TRIES)] == [0.0] * FREE_TRIES
    waits = []
    for _ in range(9):
        waits.append(tries.begin("maria"))
        clock.seconds += waits[-1]
        assert tries.begin("maria") == 0.0
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_try_that_comes_too_early_makes_the_wait_no_longer(tries: WrongTries, clock: Clock) -> None:
    for _ in range(FREE_TRIES):
        tries.begin("maria")
    assert [tries.begin("maria") for _ in range(50)] == [1.0] * 50
    clock.seconds += 1.0
    assert tries.begin("maria") == 0.0


def test_nobody_is_locked_out_for_good(clock: Clock) -> None:
    assert max(wait_after(count) for count in range(10_000)) == LONGEST_WAIT
    tries = WrongTries(clock)
    for _ in range(200):
        tries.begin("maria")
        clock.seconds += LONGEST_WAIT
    clock.seconds += FORGOTTEN + 1
    assert [tries.begin("maria") for _ in range(FREE_TRIES)] == [0.0] * FREE_TRIES


def test_tries_at_the_same_time_are_all_counted(tries: WrongTries) -> None:
    with ThreadPoolExecutor(16) as pool:
        waits = list(pool.map(lambda _: tries.begin("maria"), range(200)))
    assert waits.count(0.0) == FREE_TRIES


def test_another_name_does_not_wait_and_a_right_password_is_forgiven(tries: WrongTries) -> None:
    for _ in range(FREE_TRIES):
        tries.begin("maria")
    assert tries.begin("ben") == 0.0
    tries.forget("maria")
    tries.forget("nobody")
    assert tries.begin("maria") == 0.0


def test_names_made_up_on_the_fly_do_not_fill_the_memory(tries: WrongTries) -> None:
    for number in range(NAMES_MAX + 100):
        tries.begin(f"name {number}")
    assert len(tries._tries) == NAMES_MAX
