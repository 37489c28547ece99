"""What goes wrong on the way loses no ruling, makes none twice, and is said."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from ooc_app.desk import Desk, open_desk
from tests.browser.at_page import (
    NOTE,
    SAYS,
    STRIP,
    case_on,
    chain,
    expect_case,
    go_on,
    press,
    pressed,
    rulings,
    verdicts,
)
from tests.browser.running_app import RunningApp, add_conflicts

KEPT = "Object.keys(localStorage).filter(key => key.includes('kept')).length"
DESK_CALLS = "**/component_server/**"


@pytest.fixture(scope="module")
def frail_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Give a desk for an app that is killed again and again."""
    with open_desk(tmp_path_factory.mktemp("frail") / "data") as desk:
        add_conflicts(desk, 60)
        yield desk


@pytest.fixture(scope="module")
def started(frail_desk: Desk) -> Iterator[RunningApp]:
    with RunningApp(frail_desk.data_dir) as app:
        yield app


@pytest.fixture
def app(started: RunningApp) -> RunningApp:
    """Give the app, running, whatever the test before did to it."""
    if started.process is None:
        started.start()
    return started


def opened(window: BrowserContext, app: RunningApp) -> Page:
    page = window.new_page()
    page.goto(app.url)
    page.wait_for_selector(".adj[data-state=case]")
    return page


def test_a_desk_killed_before_it_answers_has_the_ruling_once_it_is_back(
    window: BrowserContext, app: RunningApp, frail_desk: Desk
) -> None:
    page = opened(window, app)
    first = case_on(page)

    died: list[Route] = []

    def answer_nothing(route: Route) -> None:
        if died or "before the power cut" not in (route.request.post_data or ""):
            route.fallback()  # another pane may ask how far it is
            return
        died.append(route)
        route.fetch()  # the desk does it, and dies before the page hears of it
        app.kill()
        route.abort()

    page.keyboard.press("b")
    page.locator(NOTE).fill("before the power cut")
    page.keyboard.press("Escape")
    page.route(DESK_CALLS, answer_nothing)
    page.keyboard.press("1")
    expect(page.locator(SAYS)).to_contain_text("kept in this browser", timeout=15_000)
    for key in ("2", "s", "z", "f"):
        page.keyboard.press(key)
    assert len(chain(frail_desk, first)) == 1  # it came through, and the page does not know
    app.start()
    expect_case(page, first + 1)
    (ruling,) = chain(frail_desk, first)
    assert (ruling.verdict, ruling.note, ruling.flagged) == ("in_context", "before the power cut", False)
    assert pressed(page) == {"best": None, "elements": [], "flagged": False, "note": ""}
    assert page.evaluate(KEPT) == 0


def test_two_tabs_closed_while_the_desk_is_dead_lose_neither_of_their_rulings(
    window: BrowserContext, app: RunningApp, frail_desk: Desk
) -> None:
    one, other = opened(window, app), opened(window, app)
    first = case_on(one)
    press(one, "2", first + 1)
    assert case_on(other) == first
    other.keyboard.press("1")
    expect_case(other, first + 1)
    press(other, "2", first + 2)
    app.kill()
    other.keyboard.press("3")
    one.keyboard.press("r")
    one.keyboard.type("Of the other tab.")
    one.keyboard.press("Escape")
    one.keyboard.press("1")
    for page in (one, other):
        expect(page.locator(SAYS)).to_contain_text("kept in this browser", timeout=15_000)
    assert one.evaluate(KEPT) == 2
    again = window.new_page()
    one.close()
    other.close()
    app.start()
    again.goto(app.url)
    again.wait_for_selector(".adj[data-state=case]")
    again.wait_for_function(f"{KEPT} === 0")
    again.wait_for_selector(".adj[data-state=case][aria-busy=false]")
    expect_case(again, first + 3)
    assert verdicts(frail_desk, first) == {
        first: "out_of_context",
        first + 1: "out_of_context",  # the first tab's came second, and is refused
        first + 2: "unsure",
    }
    expect(again.locator(STRIP)).to_have_count(min(10, len(rulings(frail_desk))))


def test_what_is_typed_while_the_desk_is_dead_goes_with_the_ruling_and_guidelines_say_they_cannot_come(
    window: BrowserContext, app: RunningApp, frail_desk: Desk
) -> None:
    page = opened(window, app)
    first = case_on(page)
    app.kill()
    page.keyboard.press("s")
    page.keyboard.press("n")
    page.keyboard.type("typed meanwhile")
    page.keyboard.press("Escape")
    expect(page.locator(SAYS)).to_contain_text("nothing was changed", timeout=15_000)
    page.evaluate("document.querySelector('.adj-says').textContent = ''")
    page.keyboard.press("g")
    expect(page.locator(SAYS)).to_contain_text("nothing was changed", timeout=15_000)
    app.start()
    press(page, "2", first + 1)
    (ruling,) = chain(frail_desk, first)
    assert (ruling.verdict, ruling.note) == ("out_of_context", "typed meanwhile")


def test_an_answer_slower_than_the_page_waits_for_makes_one_ruling(
    window: BrowserContext, app: RunningApp, frail_desk: Desk
) -> None:
    page = opened(window, app)
    first = case_on(page)
    held: list[Route] = []
    page.route(DESK_CALLS, lambda route: held.append(route), times=1)
    page.keyboard.press("2")
    expect(page.locator(SAYS)).to_contain_text("kept in this browser", timeout=15_000)
    expect_case(page, first + 1)  # sent again, which is answered at once
    with page.expect_response(DESK_CALLS):
        held[0].continue_()
    press(page, "1", first + 2)
    assert [one.verdict for one in chain(frail_desk, first)] == ["out_of_context"]
    assert verdicts(frail_desk, first) == {first: "out_of_context", first + 1: "in_context"}


def test_leaving_a_correction_while_it_is_being_sent_does_not_say_that_nothing_happened(
    window: BrowserContext, app: RunningApp, frail_desk: Desk
) -> None:
    page = opened(window, app)
    first = case_on(page)
    press(page, "2", first + 1)
    page.locator(f"{STRIP} button").first.click()
    expect_case(page, first)
    held: list[Route] = []
    page.route(DESK_CALLS, lambda route: held.append(route), times=1)
    page.keyboard.press("1")
    for key in ("z", "Escape"):
        page.keyboard.press(key)
    expect_case(page, first)
    held[0].continue_()
    expect_case(page, first + 1)
    expect(page.locator(SAYS)).to_contain_text("it replaces ruling")
    assert verdicts(frail_desk, first) == {first: "in_context"}


def test_a_case_that_is_gone_is_said_in_one_sentence_and_the_next_one_comes(
    window: BrowserContext, app: RunningApp, frail_desk: Desk
) -> None:
    page = opened(window, app)
    first = case_on(page)
    page.keyboard.press("b")
    forget(frail_desk.data_dir / "desk.db", first)
    press(page, "2", first + 1)
    expect(page.locator(SAYS)).to_have_text("This case is not on the desk any more; here is the next one.")
    assert pressed(page)["best"] is None
    assert verdicts(frail_desk, first) == {}
    forget(frail_desk.data_dir / "desk.db", first + 2)  # which is loaded ahead
    press(page, "2", first + 3)
    forget(frail_desk.data_dir / "desk.db", first + 3)
    press(page, "s", first + 4)
    expect(page.locator(SAYS)).to_contain_text("not on the desk any more")
    assert verdicts(frail_desk, first) == {first + 1: "out_of_context"}


def forget(path: Path, case_id: int) -> None:
    """Take a case out of the database as no program of ours would."""
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA foreign_keys = OFF")
        for table in ("queue", "evidence", "opinions", "skips"):
            database.execute(f"DELETE FROM {table} WHERE case_id = ?", (case_id,))
        database.execute("DELETE FROM cases WHERE id = ?", (case_id,))
    database.close()


def test_a_browser_that_keeps_nothing_rules_all_the_same(
    window: BrowserContext, app: RunningApp, frail_desk: Desk
) -> None:
    window.add_init_script(
        "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }"
    )
    page = opened(window, app)
    first = case_on(page)
    page.keyboard.press("c")
    page.locator(NOTE).fill("not kept here")
    page.keyboard.press("Escape")
    press(page, "1", first + 1)
    assert [(one.verdict, one.note) for one in chain(frail_desk, first)] == [("in_context", "not kept here")]
    app.kill()
    page.keyboard.press("2")
    expect(page.locator(SAYS)).to_contain_text("on this page only: do not close it")
    app.start()
    expect_case(page, first + 2)
    assert verdicts(frail_desk, first) == {first: "in_context", first + 1: "out_of_context"}


def test_a_browser_without_any_storage_opens_the_desk(
    window: BrowserContext, app: RunningApp, frail_desk: Desk
) -> None:
    window.add_init_script(
        "Object.defineProperty(window, 'localStorage',"
        " { get() { throw new DOMException('no', 'SecurityError'); } })"
    )
    page = opened(window, app)
    first = go_on(page, "2")
    assert verdicts(frail_desk, first) == {first: "out_of_context"}
