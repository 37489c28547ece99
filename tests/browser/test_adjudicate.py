import re

import sqlalchemy as sa
from playwright.sync_api import Page, expect

from db.models import Ruling, is_current
from ooc_app.desk import Desk
from tests.browser.running_app import HOSTILE, RunningApp

CAPTION, SAYS, NOTE = ".adj-caption", ".adj-says", ".adj-note"
PICTURES_LOADED = "performance.getEntriesByType('resource').filter(one => one.name.includes('desk/images/'))"


def case_on(page: Page) -> int:
    """The number of the case on screen; the desk's cases come in the order of their numbers."""
    found = re.search(r"Town (\d+)", page.locator(CAPTION).inner_text())
    assert found
    return int(found[1])


def expect_case(page: Page, number: int) -> None:
    expect(page.locator(CAPTION)).to_contain_text(f"Town {number}. ")


def press(page: Page, key: str, then: int) -> None:
    """Press a key and wait until that case is on screen."""
    page.keyboard.press(key)
    expect_case(page, then)


def verdicts(desk: Desk, since: int) -> dict[int, str]:
    """The current rulings from one case on: verdict by case id, which is the case's number."""
    with desk.sessions() as session:
        rows = session.execute(sa.select(Ruling.case_id, Ruling.verdict).where(is_current()))
        return {case_id: str(verdict) for case_id, verdict in rows if case_id >= since}


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
    expect(progress).to_contain_text("budget 25.0 %")


def test_best_rationale_reasons_note_and_flag_go_with_the_ruling(page: Page, shared_desk: Desk) -> None:
    first = case_on(page)
    page.keyboard.press("b")
    page.keyboard.press("f")
    page.get_by_role("button", name="place", exact=True).click()
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
    expect(second.locator(SAYS)).to_contain_text("already ruled")
    expect_case(second, first + 1)
    assert verdicts(shared_desk, first) == {first: "in_context"}
