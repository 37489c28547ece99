import threading

import pytest

from ooc_app.desk_work import BusyError, DeskWork, Outcome, Watch
from ooc_app.export.destination import ExportError


class Steps:
    """Work that goes on step by step, as the test lets it."""

    def __init__(self) -> None:
        self.may_go = threading.Semaphore(0)
        self.has_gone = threading.Semaphore(0)
        self.error: Exception | None = None

    def run(self, watch: Watch) -> Outcome:
        for step in range(1, 5):
            self.may_go.acquire()
            if self.error is not None:
                raise self.error
            self.has_gone.release()
            watch.advance(100 * step, step / 4)
        return Outcome("All of it.", [("400", "lines")])

    def go(self) -> None:
        self.may_go.release()
        assert self.has_gone.acquire(timeout=20)

    def finish(self, work: DeskWork) -> None:
        for _ in range(4):
            self.may_go.release()
        work.wait()


def started(work: DeskWork) -> Steps:
    steps = Steps()
    work.start("import", "Import of wire", "line", steps.run)
    return steps


def test_work_that_has_a_reason_to_fail_says_it() -> None:
    work = DeskWork()
    steps = started(work)
    steps.error = ExportError("There is no case to export.")
    steps.finish(work)
    shown = work.shown()
    assert shown is not None
    assert (shown["status"], shown["says"]) == ("failed", "There is no case to export.")


def test_work_that_breaks_says_where_to_look_and_not_what_broke(caplog: pytest.LogCaptureFixture) -> None:
    work = DeskWork()
    steps = started(work)
    steps.error = RuntimeError("password=hunter2")
    steps.finish(work)
    shown = work.shown()
    assert shown is not None
    assert (shown["status"], "log" in shown["says"], "hunter2" in shown["says"]) == ("failed", True, False)
    assert "Import of wire failed" in caplog.text


def test_two_things_do_not_go_on_at_once() -> None:
    work = DeskWork()
    steps = started(work)
    with pytest.raises(BusyError, match="Import of wire goes on"):
        work.start("export", "Export as csv", "case", steps.run)
    work.forget()
    assert work.shown() is not None
    steps.finish(work)
    started(work).finish(work)


def test_a_stop_ends_the_work_after_its_batch_and_says_what_stays() -> None:
    work = DeskWork()
    steps = started(work)
    steps.go()
    work.stop()
    shown = work.shown()
    assert shown is not None
    assert shown["status"] == "stopping"
    steps.go()
    work.wait()
    shown = work.shown()
    assert shown is not None
    assert shown["status"] == "stopped"
    assert shown["says"].startswith("Stopped after 200 lines. What was imported stays")
    work.stop()
    assert work.shown() == shown


def test_what_goes_on_is_seen_by_whoever_looks_and_what_came_of_it_until_it_is_put_away() -> None:
    work = DeskWork()
    assert work.shown() is None
    steps = started(work)
    steps.go()
    steps.go()
    shown = work.shown()
    assert shown is not None
    assert (shown["kind"], shown["title"], shown["status"]) == ("import", "Import of wire", "running")
    steps.finish(work)
    shown = work.shown()
    assert shown is not None
    assert (shown["status"], shown["says"], shown["facts"]) == ("done", "All of it.", [("400", "lines")])
    assert (shown["share"], shown["words"].startswith("400 lines in ")) == (1.0, True)
    work.forget()
    assert work.shown() is None
