import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, BrowserContext, Page, expect

from db import people
from db.engine import write_session
from db.models import Queued, Ruling
from db.passwords import hash_password
from db.vocabulary import Role
from db.worth import Order, change_order
from ooc_app.auth import now
from ooc_app.desk import Desk, open_desk
from tests.browser.running_app import RunningApp, add_conflicts

PASSWORD = "flood tower quay"
CASE, ACCOUNT = ".adj[data-state=case]", "#desk-account"


@pytest.fixture
def newsroom(tmp_path: Path) -> Iterator[Desk]:
    """Give a desk with six conflicts, and three people who sign in."""
    kept = hash_password(PASSWORD)
    with open_desk(tmp_path / "data") as desk:
        add_conflicts(desk, 6)
        with write_session(desk.sessions) as session:
            change_order(session, Order(second_opinions=0), None, now())
            for name, role in (("Vera", Role.EDITOR), ("maria v", Role.ANNOTATOR), ("Ben", Role.ANNOTATOR)):
                people.add_person(session, None, name, role, kept, now())
        yield desk


@pytest.fixture
def app(newsroom: Desk) -> Iterator[RunningApp]:
    """Give the app on that desk."""
    with RunningApp(newsroom.data_dir) as running:
        yield running


@pytest.fixture
def windows(browser: Browser) -> Iterator[list[BrowserContext]]:
    """Give two browsers that know nothing of each other."""
    opened = [browser.new_context(viewport={"width": 1280, "height": 800}) for _ in range(2)]
    for one in opened:
        one.set_default_timeout(20_000)
    yield opened
    for one in opened:
        one.close()


def fill_in(page: Page, name: str, password: str = PASSWORD) -> None:
    page.get_by_label("name").fill(name)
    page.get_by_label("password").fill(password)
    page.keyboard.press("Enter")


def signed_in(window: BrowserContext, app: RunningApp, name: str) -> Page:
    """Sign in and wait for a case."""
    page = window.new_page()
    page.goto(app.url)
    fill_in(page, name)
    page.wait_for_selector(CASE)
    return page


def town(page: Page) -> int:
    """The number of the case on screen."""
    found = re.search(r"Town (\d+)", page.locator(".adj-caption").inner_text())
    assert found
    return int(found[1])


def rule(page: Page) -> int:
    """Rule on the case on screen, wait for the next one, and return the number ruled on."""
    before = town(page)
    page.keyboard.press("2")
    expect(page.locator(".adj-caption")).not_to_contain_text(f"Town {before}. ")
    return before


def test_a_wrong_password_is_said_on_the_form_and_a_right_one_opens_the_desk(
    windows: list[BrowserContext], app: RunningApp
) -> None:
    page = windows[0].new_page()
    page.goto(f"{app.url}/?seen=3")
    expect(page).to_have_title("Sign in · OOC Desk")
    fill_in(page, "Vera", "a wrong password")
    expect(page.get_by_role("alert")).to_have_text("This name and password do not belong together.")
    expect(page.get_by_label("name")).to_have_value("Vera")
    fill_in(page, "VERA")
    page.wait_for_selector(CASE)
    assert page.url.endswith("/?seen=3")
    expect(page.locator(ACCOUNT)).to_have_text("Verasign out")


def test_two_people_at_once_rule_on_different_cases_and_signing_out_frees_what_is_held(
    windows: list[BrowserContext], app: RunningApp, newsroom: Desk
) -> None:
    maria, ben = (
        signed_in(window, app, name) for window, name in zip(windows, ("Maria V", "ben"), strict=True)
    )
    ruled = [rule(page) for _ in range(2) for page in (maria, ben)]
    assert len(set(ruled)) == 4
    with newsroom.sessions() as session:
        who = {one.case_id: one.annotator_id for one in session.scalars(sa.select(Ruling))}
    assert [who[case] for case in ruled] == [2, 3, 2, 3]
    left = town(maria)
    maria.get_by_role("button", name="sign out").click()
    expect(maria).to_have_title("Sign in · OOC Desk")
    with newsroom.sessions() as session:
        assert 2 not in session.scalars(sa.select(Queued.annotator_id)).all()
    while town(ben) != left:
        rule(ben)


def test_whoever_is_signed_out_meanwhile_is_told_and_their_ruling_is_sent_once_they_are_back(
    windows: list[BrowserContext], app: RunningApp, newsroom: Desk
) -> None:
    maria = signed_in(windows[0], app, "maria v")
    expect(maria.locator(ACCOUNT)).to_contain_text("maria v")
    with write_session(newsroom.sessions) as session:
        people.sign_out(session, 2, now())
    case = town(maria)
    maria.keyboard.press("1")
    expect(maria.locator(".adj-says")).to_contain_text("kept in this browser")
    expect(maria.locator(ACCOUNT)).to_contain_text("You are signed out")
    maria.get_by_role("link", name="sign in").click()
    fill_in(maria, "maria v")
    maria.wait_for_selector(CASE)
    expect(maria.locator(".adj-caption")).not_to_contain_text(f"Town {case}. ")
    with newsroom.sessions() as session:
        kept = session.scalars(sa.select(Ruling).where(Ruling.case_id == case)).one()
    assert (kept.annotator_id, kept.verdict) == (2, "in_context")


def test_when_somebody_else_signs_in_at_the_same_browser_nothing_of_the_first_stays(
    windows: list[BrowserContext], app: RunningApp
) -> None:
    maria = signed_in(windows[0], app, "maria v")
    expect(maria.locator(ACCOUNT)).to_contain_text("maria v")
    other_tab = windows[0].new_page()
    other_tab.goto(f"{app.url}/logout")
    fill_in(other_tab, "Ben")
    other_tab.wait_for_selector(CASE)
    maria.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(maria.locator(ACCOUNT)).to_contain_text("Ben")


def test_without_sign_in_the_name_stands_there_and_no_way_out(own_page: Page) -> None:
    expect(own_page.locator(ACCOUNT)).to_have_text("editor")
    expect(own_page.get_by_text("editor", exact=True)).to_have_count(1)
