"""What somebody at the Adjudicate tab sees and does, and what the database says of it."""

import re
from typing import Any

import sqlalchemy as sa
from playwright.sync_api import BrowserContext, Page, expect

from db.models import Ruling, is_current
from ooc_app.desk import Desk
from tests.browser.running_app import PASSWORD, RunningApp

CAPTION, SAYS, NOTE, STRIP = ".adj-caption", ".adj-says", ".adj-note", ".adj-recent li"


def case_on(page: Page) -> int:
    """The number of the case on screen; the desk's cases come in the order of their numbers."""
    found = re.search(r"Town (\d+)\.", page.locator(CAPTION).inner_text())
    assert found
    return int(found[1])


def expect_case(page: Page, number: int) -> None:
    """Wait for a case."""
    expect(page.locator(CAPTION)).to_contain_text(f"Town {number}. ")


def press(page: Page, key: str, then: int) -> None:
    """Press a key and wait until that case is on screen."""
    page.keyboard.press(key)
    expect_case(page, then)


def go_on(page: Page, key: str) -> int:
    """Press a key that takes the case off the screen, wait until it is, and return its number."""
    before = case_on(page)
    page.keyboard.press(key)
    page.wait_for_function(
        "town => !document.querySelector('.adj-caption').textContent.includes(town)", arg=f"Town {before}. "
    )
    return before


def verdicts(desk: Desk, since: int = 1) -> dict[int, str]:
    """The current rulings from one case on: verdict by case id, which is the case's number."""
    return {one.case_id: str(one.verdict) for one in rulings(desk, since)}


def rulings(desk: Desk, since: int = 1) -> list[Ruling]:
    """The current rulings on the cases from one number on, in the order they were made."""
    with desk.sessions() as session:
        current = sa.select(Ruling).where(Ruling.case_id >= since, is_current())
        return list(session.scalars(current.order_by(Ruling.id)))


def chain(desk: Desk, case_id: int) -> list[Ruling]:
    """The rulings on a case since it was last taken back, each superseding the one before."""
    with desk.sessions() as session:
        made = list(session.scalars(sa.select(Ruling).where(Ruling.case_id == case_id).order_by(Ruling.id)))
    withdrawn = [place for place, one in enumerate(made, start=1) if one.verdict is None]
    return made[max(withdrawn, default=0) :]


def pressed(page: Page) -> dict[str, Any]:
    """What the page shows as said of the case on screen."""
    said: dict[str, Any] = page.evaluate(
        """() => {
        const on = (where) => [...document.querySelectorAll(where + ' [aria-pressed=true]')];
        const [best] = on('.adj-best');
        return {
            best: best ? best.dataset.letter : null,
            elements: on('.adj-reasons').map((node) => node.dataset.reason).sort(),
            flagged: on('.adj-actions').length > 0,
            note: document.querySelector('.adj-note').value,
        }; }"""
    )
    return said


def sign_in(window: BrowserContext, app: RunningApp, name: str) -> Page:
    """Sign in and wait until the desk has opened, at a case or at none."""
    page = window.new_page()
    page.goto(app.url)
    page.get_by_label("name").fill(name)
    page.get_by_label("password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_selector(".adj:not([data-state=loading])")
    return page
