import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from db.teaching import TeachingError
from ooc_app.desk import Desk, open_desk
from ooc_app.teach_board import Deed, Standing, doing, file_of, forget, standing
from ooc_app.teach_process import Order, begin, stop
from ooc_app.turns import held, is_held
from tests.ooc_app.teacher_server import KEY, TeacherServer, serving
from tests.ooc_app.test_teaching_command import kept, made

PATIENCE_S = 60.0


@pytest.fixture
def server() -> Iterator[TeacherServer]:
    """Give a teacher's server."""
    with serving() as running:
        yield running


@pytest.fixture
def desk(tmp_path: Path, server: TeacherServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """Give a desk with twelve cases and the server's teacher."""
    monkeypatch.setenv("DESK_KEY", KEY)
    with open_desk(made(tmp_path / "data", server, 12)) as opened:
        yield opened


def until(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ended(desk: Desk, name: str = "rule") -> Standing:
    def over() -> bool:
        found = standing(desk, name)
        return found is not None and not found.going

    until(over)
    found = standing(desk, name)
    assert found is not None
    return found


def test_what_cannot_begin_says_why(desk: Desk) -> None:
    with pytest.raises(TeachingError, match=r"settings\.toml has no teacher 'nobody': it has rule\."):
        begin(desk, "nobody", Order(), None)
    with pytest.raises(TeachingError, match="--limit is 0: give a number above 0"):
        begin(desk, "rule", Order(limit=0), None)
    with pytest.raises(TeachingError, match=r"no teacher '--flipped'"):
        begin(desk, "--flipped", Order(), None)
    with pytest.raises(TeachingError, match="Nothing goes on with rule"):
        stop(desk, "rule")


def test_a_teacher_that_cannot_be_opened_has_begun_and_failed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DESK_KEY")
    begin(desk, "rule", Order(), None)
    found = ended(desk)
    assert (found.why, found.outcome) == ("failed", None)
    assert "DESK_KEY" in str(found.said)


def test_a_run_goes_on_in_its_own_process_and_its_figures_can_be_read(
    desk: Desk, server: TeacherServer
) -> None:
    begin(desk, "rule", Order(limit=5), None)
    found = ended(desk)
    assert found.pid != os.getpid()
    assert (found.deed, found.why) == (Deed.RUN, "cases")
    assert found.figures is not None
    assert found.outcome is not None
    assert (found.figures["kept"], found.figures["total"]) == (5, 5)
    assert (found.outcome["kept"], found.outcome["left"]) == (5, 7)
    assert found.ended is not None
    assert found.ended >= found.began
    assert len(kept(desk.data_dir)) == 5
    assert KEY not in file_of(desk, "rule", "json").read_text()


def test_a_run_is_stopped_when_the_answers_on_their_way_are_back(desk: Desk, server: TeacherServer) -> None:
    server.free.clear()
    begin(desk, "rule", Order(), None)
    until(lambda: sum(server.asked.values()) == 4)
    with pytest.raises(TeachingError, match="being done with"):
        begin(desk, "rule", Order(), None)
    stop(desk, "rule")
    server.free.set()
    found = ended(desk)
    assert (found.why, found.outcome and found.outcome["left"]) == ("stopped", 8)
    assert len(kept(desk.data_dir)) == 4


def test_a_killed_run_is_known_as_cut_off_and_goes_on(desk: Desk, server: TeacherServer) -> None:
    server.free.clear()
    begin(desk, "rule", Order(), None)
    until(lambda: sum(server.asked.values()) == 4)
    going = standing(desk, "rule")
    assert going is not None
    assert going.going
    os.kill(going.pid, signal.SIGKILL)
    server.free.set()
    cut = ended(desk)
    assert (cut.why, cut.outcome) == ("cut off", None)
    begin(desk, "rule", Order(), None)
    assert ended(desk).why == "all"
    assert len(kept(desk.data_dir)) == 12


def test_a_dry_run_leaves_what_was_sent_and_said_and_nothing_else(desk: Desk) -> None:
    begin(desk, "rule", Order(Deed.REHEARSE), None)
    shown = ended(desk).outcome
    assert shown is not None
    assert [case["case_id"] for case in shown["cases"]] == [1, 2, 3]
    assert all(case["image"] and case["answer"]["parsed"] for case in shown["cases"])
    assert "<the key in DESK_KEY>" in shown["cases"][0]["sent"]
    assert kept(desk.data_dir) == set()


def test_a_teacher_is_retired_and_reinstated_by_a_process(desk: Desk) -> None:
    begin(desk, "A", Order(Deed.RETIRE), None)
    assert ended(desk, "A").outcome == {"opinions": 0}
    begin(desk, "A", Order(Deed.REINSTATE), None)
    assert ended(desk, "A").outcome == {"opinions": 12}


def test_what_fails_unforeseen_stands_on_the_board(desk: Desk) -> None:
    with pytest.raises(ZeroDivisionError), doing(desk, "A", Deed.RUN, dict):
        _ = 1 / 0
    found = standing(desk, "A")
    assert found is not None
    assert (found.why, found.going) == ("failed", False)
    assert "ZeroDivisionError" in str(found.said)


def test_stop_reaches_nobody_where_the_board_is_still_that_of_the_deed_before(desk: Desk) -> None:
    with doing(desk, "A", Deed.RUN, dict):
        before = standing(desk, "A")
    assert before is not None
    with (
        held(file_of(desk, "A", "lock"), RuntimeError("busy")),
        pytest.raises(TeachingError, match="being done with A"),
    ):
        stop(desk, "A")  # would have ended this process


def test_a_board_that_is_damaged_is_as_good_as_none(desk: Desk) -> None:
    with doing(desk, "A", Deed.RUN, dict):
        forget(desk, "A")  # something goes on
    assert standing(desk, "A") is not None
    for damaged in ("", "[]", '{"deed": "sing"}', '{"deed": "run", "began": 3}'):
        file_of(desk, "A", "json").write_text(damaged)
        assert standing(desk, "A") is None, damaged
    forget(desk, "A")
    assert not file_of(desk, "A", "json").exists()


def test_a_board_that_cannot_be_read_or_written_hinders_nobody(desk: Desk, tmp_path: Path) -> None:
    board = file_of(desk, "A", "json")
    with doing(desk, "A", Deed.RUN, dict):
        board.unlink()
        board.mkdir()  # whoever writes at the end cannot
    assert standing(desk, "A") is None
    (tmp_path / "teachers").write_text("no folder")
    assert not is_held(tmp_path / "teachers" / "lock")


def test_a_turn_is_one_holders_at_a_time_and_looks_do_not_take_it(tmp_path: Path) -> None:
    lock = tmp_path / "there" / "lock"
    assert not is_held(lock)
    with held(lock, RuntimeError("busy")):
        assert is_held(lock)
        with pytest.raises(RuntimeError, match="busy"), held(lock, RuntimeError("busy")):
            pytest.fail("both hold it")
    assert not is_held(lock)
    looking = threading.Event()

    def look() -> None:
        while not looking.is_set():
            is_held(lock)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for _ in range(200):
            with held(lock, RuntimeError("a look took the turn")):
                looking.wait(0.0)
    finally:
        looking.set()
        looker.join()
