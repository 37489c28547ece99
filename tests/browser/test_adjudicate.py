from typing import Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import Page, expect

from db.models import Ruling, is_current
from ooc_app.desk import Desk
from tests.browser.at_page import (
    CAPTION,
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
from tests.browser.running_app import HOSTILE, RunningApp

PICTURES_LOADED = "performance.getEntriesByType('resource').filter(one => one.name.includes('desk/images/'))"


def test_three_conflicts_are_ruled_on_by_keyboard_and_one_is_undone(page: Page, shared_desk: Desk) -> None:
    first = case_on(page)
    press(page, "2", first + 1)
    press(page, "1", first + 2)
    press(page, "3", first + 3)
    press(page, "z", first + 2)
    assert verdicts(shared_desk, first) == {first: "out_of_context", first + 1: "in_context"}
    expect(page.locator(SAYS)).to_contain_text("withdrawn")


def test_progress_counts_what_is_left_and_what_was_ruled_today(own_page: Page) -> None:
    progress = own_page.locator("#desk-progress")
    expect(progress).to_contain_text("4 left")
    expect(progress).to_contain_text("0 today")
    press(own_page, "2", 2)
    expect(progress).to_contain_text("3 left")
    expect(progress).to_contain_text("1 today")
    expect(progress).to_contain_text("budget 25%")


def test_best_rationale_reasons_note_and_flag_go_with_the_ruling(page: Page, shared_desk: Desk) -> None:
    first = case_on(page)
    page.keyboard.press("b")
    page.keyboard.press("f")
    page.locator("[data-reason=place]").click()
    page.keyboard.press("n")
    page.keyboard.type("1 2 3 zs")
    page.keyboard.press("Enter")
    page.keyboard.press("r")
    page.keyboard.type(" And more.")
    page.keyboard.press("Escape")
    card = page.locator(".adj-card").nth(1).locator(".adj-says-why").inner_text()
    press(page, "2", first + 1)
    with shared_desk.sessions() as session:
        ruling = session.scalars(sa.select(Ruling).where(Ruling.case_id == first, is_current())).one()
    assert (ruling.note, ruling.flagged, ruling.elements) == ("1 2 3 zs", True, ["place"])
    assert ruling.rationale == f"{card} And more."
    assert ruling.opinion_id is not None
    assert ruling.seconds > 0


def test_a_key_held_down_rules_once_and_a_key_in_a_field_never(page: Page, shared_desk: Desk) -> None:
    first = case_on(page)
    for _ in range(8):
        page.keyboard.down("2")  # from the second on, a repeat of the key held down
    page.keyboard.up("2")
    expect_case(page, first + 1)
    page.locator(NOTE).press("1")
    page.keyboard.press("Control+2")
    page.get_by_role("tab", name="Check").click()
    page.keyboard.press("1")
    page.get_by_role("tab", name="Adjudicate").click()
    expect(page.locator(NOTE)).to_have_value("1")
    assert verdicts(shared_desk, first) == {first: "out_of_context"}


def test_hostile_text_stays_text(page: Page) -> None:
    first = case_on(page)
    assert HOSTILE in page.locator(CAPTION).inner_text()
    assert HOSTILE in page.locator(".adj-cards").inner_text()
    page.locator(".adj-evidence summary").click()
    assert HOSTILE in page.locator(".adj-evidence").inner_text()
    press(page, "1", first + 1)
    expect(page.locator(".adj-recent li img").first).to_be_visible()
    assert page.title() == "OOC Desk"
    assert page.locator('img[src="x"]').count() == 0


def test_teachers_are_named_only_after_the_ruling(own_page: Page) -> None:
    assert "Teacher One" not in own_page.locator("#adjudicate").inner_html()
    press(own_page, "2", 2)
    expect(own_page.locator(".adj-recent li").first).to_contain_text("Teacher One")


def test_the_next_picture_is_loaded_before_it_is_shown(own_page: Page) -> None:
    own_page.wait_for_function(f"{PICTURES_LOADED}.length === 2")
    asked: list[str] = []
    own_page.on("request", lambda request: asked.append(request.url))
    press(own_page, "1", 2)
    shown = own_page.locator(".adj-img").evaluate("image => image.naturalWidth > 0 && image.src")
    assert shown
    assert shown not in asked


def test_a_draft_survives_a_reload(page: Page, shared_desk: Desk) -> None:
    first = case_on(page)
    page.keyboard.press("c")
    page.locator(NOTE).fill("look at the tower")
    page.reload()
    expect(page.locator(NOTE)).to_have_value("look at the tower")
    expect(page.locator(".adj-best [data-letter=C]")).to_have_attribute("aria-pressed", "true")
    assert verdicts(shared_desk, first) == {}


def test_a_ruling_made_while_the_desk_is_dead_is_kept_and_sent_once(
    own_page: Page, own_app: RunningApp, own_desk: Desk
) -> None:
    own_app.kill()
    own_page.keyboard.press("2")
    expect(own_page.locator(SAYS)).to_contain_text("kept in this browser")
    own_page.keyboard.press("1")
    assert case_on(own_page) == 1
    own_app.start()
    expect_case(own_page, 2)
    assert verdicts(own_desk, 1) == {1: "out_of_context"}


def test_a_ruling_kept_when_the_page_was_closed_is_sent_by_the_next_page(
    own_page: Page, own_app: RunningApp, own_desk: Desk
) -> None:
    press(own_page, "1", 2)
    own_app.kill()
    assert verdicts(own_desk, 1) == {1: "in_context"}
    own_page.keyboard.press("3")
    expect(own_page.locator(SAYS)).to_contain_text("kept in this browser")
    context = own_page.context
    own_page.close()
    own_app.start()
    again = context.new_page()
    again.goto(own_app.url)
    expect_case(again, 3)
    assert verdicts(own_desk, 1) == {1: "in_context", 2: "unsure"}


def test_an_empty_queue_says_what_to_do_next(own_page: Page) -> None:
    for number in (2, 3, 4):
        press(own_page, "s", number)
    own_page.keyboard.press("s")
    expect(own_page.locator(".adj-empty")).to_contain_text("Nothing left to rule on")
    own_page.keyboard.press("1")
    expect(own_page.get_by_role("button", name="Look again")).to_be_visible()


def test_the_keys_are_listed_and_nothing_is_ruled_meanwhile(page: Page, shared_desk: Desk) -> None:
    first = case_on(page)
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    page.keyboard.press("1")
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="Keys")).to_be_hidden()
    assert verdicts(shared_desk, first) == {}


def test_the_page_fits_its_window_without_scrolling(page: Page) -> None:
    page.keyboard.press("r")
    page.keyboard.press("Escape")
    fits = page.evaluate(
        """() => { const html = document.documentElement;
        return html.scrollHeight <= innerHeight && html.scrollWidth <= innerWidth; }"""
    )
    assert fits
    expect(page.locator(".adj-foot")).to_be_in_viewport(ratio=1)


def test_two_pages_of_one_person_do_not_rule_twice(
    page: Page, shared_app: RunningApp, shared_desk: Desk
) -> None:
    first = case_on(page)
    second = page.context.new_page()
    second.goto(shared_app.url)
    expect_case(second, first)
    press(page, "1", first + 1)
    second.keyboard.press("2")
    expect(second.locator(SAYS)).to_contain_text("You have ruled on this case already")
    expect_case(second, first + 1)
    assert verdicts(shared_desk, first) == {first: "in_context"}


# ---- undo and correction ----


def test_the_strip_shows_the_last_ten_with_their_pictures_and_a_click_opens_one(
    page: Page, shared_desk: Desk
) -> None:
    first = case_on(page)
    page.keyboard.press("b")
    page.keyboard.press("Shift+L")
    page.locator(NOTE).fill("the tower")
    page.keyboard.press("Escape")
    for number in range(first + 1, first + 13):
        press(page, "2", number)
    items = page.locator(STRIP)
    expect(items).to_have_count(10)
    for image in page.locator(f"{STRIP} img").all():
        image.evaluate("image => (image.loading = 'eager', image.decode())")
    items.nth(3).locator("button").click()
    expect_case(page, first + 8)
    expect(page.locator(".adj-notice")).to_contain_text("(out of context) is open: rule again to replace it")
    page.keyboard.press("Escape")
    expect_case(page, first + 12)
    expect(page.locator(".adj-notice")).to_be_hidden()
    expect(page.locator(SAYS)).to_contain_text("stays as it is")
    for number in range(first + 11, first + 1, -1):
        press(page, "z", number)
    assert list(verdicts(shared_desk, first)) == [first, first + 1]
    page.keyboard.press("z")
    expect(page.locator(SAYS)).to_contain_text("can be undone")
    assert list(verdicts(shared_desk, first)) == [first, first + 1]


def test_a_correction_shows_what_was_said_and_supersedes_it_while_the_case_on_screen_waits(
    page: Page, shared_desk: Desk
) -> None:
    first = case_on(page)
    page.keyboard.press("b")
    page.keyboard.press("Shift+L")
    page.keyboard.press("f")
    page.locator(NOTE).fill("the tower")
    page.keyboard.press("Escape")
    said: dict[str, Any] = pressed(page)
    press(page, "2", first + 1)
    page.keyboard.press("c")
    page.locator(NOTE).fill("of the second case")
    page.keyboard.press("Escape")
    page.locator(f"{STRIP} button").first.click()
    expect_case(page, first)
    assert pressed(page) == said == {"best": "B", "elements": ["place"], "flagged": True, "note": "the tower"}
    page.keyboard.press("f")
    press(page, "1", first + 1)
    assert pressed(page) == {"best": "C", "elements": [], "flagged": False, "note": "of the second case"}
    expect(page.locator(SAYS)).to_contain_text("it replaces ruling")
    expect(page.locator(STRIP).first.locator(".chip")).to_contain_text("in context")
    expect(page.locator(".adj-former")).to_have_text("was out of context")
    before, after = chain(shared_desk, first)
    assert (after.supersedes_id, after.verdict, after.flagged) == (before.id, "in_context", False)
    assert (after.note, after.elements, after.opinion_id) == (before.note, before.elements, before.opinion_id)
    press(page, "z", first)
    assert verdicts(shared_desk, first) == {}


@pytest.mark.parametrize("leave", ["Escape", "z"])
def test_a_correction_that_is_left_changes_nothing(page: Page, shared_desk: Desk, leave: str) -> None:
    first = case_on(page)
    press(page, "2", first + 1)
    page.locator(f"{STRIP} button").first.click()
    expect_case(page, first)
    for key in ("a", "Shift+T", "f", "s"):  # a ruling cannot be skipped
        page.keyboard.press(key)
    press(page, leave, first + 1)
    assert pressed(page) == {"best": None, "elements": [], "flagged": False, "note": ""}
    page.locator(f"{STRIP} button").first.click()
    expect_case(page, first)
    assert pressed(page)["flagged"] is False
    assert len(chain(shared_desk, first)) == 1


def test_a_reload_leaves_a_correction_and_keeps_what_was_changed_for_when_it_is_opened_again(
    page: Page, shared_desk: Desk
) -> None:
    first = case_on(page)
    press(page, "2", first + 1)
    page.keyboard.press("a")
    page.locator(f"{STRIP} button").first.click()
    expect_case(page, first)
    page.locator(NOTE).fill("on second thoughts")
    page.reload()
    expect_case(page, first + 1)
    assert pressed(page)["best"] == "A"
    page.locator(f"{STRIP} button").first.click()
    expect_case(page, first)
    expect(page.locator(NOTE)).to_have_value("on second thoughts")
    press(page, "3", first + 1)
    before, after = chain(shared_desk, first)
    assert (before.verdict, after.verdict, after.note) == ("out_of_context", "unsure", "on second thoughts")


def test_the_time_on_screen_goes_on_after_a_correction(page: Page, shared_desk: Desk) -> None:
    first = case_on(page)
    press(page, "2", first + 1)
    page.wait_for_timeout(2_500)
    page.locator(f"{STRIP} button").first.click()
    expect_case(page, first)
    press(page, "1", first + 1)
    go_on(page, "1")
    assert rulings(shared_desk, first + 1)[0].seconds >= 2.5


# ---- memory ----


def grown(page: Page) -> tuple[int, float, float]:
    """Elements of the page, and what the browser keeps: nodes and listeners, after it has tidied up."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("HeapProfiler.enable")
    devtools.send("HeapProfiler.collectGarbage")
    devtools.send("Performance.enable")
    measured = devtools.send("Performance.getMetrics")["metrics"]
    kept = {one["name"]: one["value"] for one in measured}
    devtools.detach()
    elements: int = page.evaluate("document.querySelectorAll('*').length")
    return elements, kept["Nodes"], kept["JSEventListeners"]


@pytest.mark.parametrize("more", [40, pytest.param(160, marks=pytest.mark.soak)])
def test_nothing_grows_with_the_rulings(page: Page, more: int) -> None:
    for _ in range(20):
        go_on(page, "2")
    elements, nodes, listeners = grown(page)
    for _ in range(more):
        go_on(page, "2")
    elements_then, nodes_then, listeners_then = grown(page)
    assert abs(elements_then - elements) <= 10
    assert nodes_then - nodes < 5 * more  # a case has some eighty nodes
    assert listeners_then - listeners < more  # and ten listeners
