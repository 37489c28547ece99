"""How fast and for how much a teacher is asked, by a clock that stands still."""

from training.teacher_budget import Budget, Pace, Room, Spend
from training.teachers import TeacherConfig, Turn


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_questions_go_out_as_far_apart_as_their_rate_says() -> None:
    clock = Clock()
    pace = Pace(120, clock)
    assert [pace.slot() for _ in range(3)] == [100.0, 100.5, 101.0]
    clock.now = 110.0
    assert [pace.slot() for _ in range(2)] == [110.0, 110.5]


def test_a_rest_holds_everybody_and_the_longest_asked_for_counts() -> None:
    clock = Clock()
    pace = Pace(None, clock)
    assert [pace.slot(), pace.slot()] == [100.0, 100.0]
    assert not pace.resting
    pace.hold(5)
    pace.hold(1)
    assert pace.resting
    assert [pace.slot(), pace.slot()] == [105.0, 105.0]
    clock.now = 105.0
    assert not pace.resting


def test_a_server_that_does_not_count_is_counted_for() -> None:
    config = TeacherConfig("Any", "endpoint", "any", max_tokens=100, price_out=10_000)
    budget = Budget(config, money=None, tokens=1_000)
    most = budget.most([Turn("user", "x" * 300)], shown=False)
    assert most == Spend(100, 100)
    assert budget.reserve(most) is Room.FITS
    assert budget.reserve(most) is Room.WAIT  # the first goes out alone
    budget.settle(most, Spend(200, 50), answered=True)
    assert budget.money == 0.5
    assert budget.most([Turn("user", "x" * 300)], shown=True) == Spend(200, 100)
    assert [budget.reserve(most) for _ in range(4)] == [Room.FITS] * 3 + [Room.WAIT]
