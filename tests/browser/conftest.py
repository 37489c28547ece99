"""A real app on a real desk, and a real browser before it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from ooc_app.desk import Desk, open_desk
from tests.browser.running_app import RunningApp, add_conflicts

BROWSER_ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here as wanting a browser."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Give the browser: Debian's chromium where there is one, else playwright's own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=BROWSER_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def shared_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Give a desk with more conflicts than the tests rule on; each goes on where the last one left it."""
    with open_desk(tmp_path_factory.mktemp("shared") / "data") as opened:
        add_conflicts(opened, 300)
        yield opened


@pytest.fixture(scope="session")
def shared_app(shared_desk: Desk) -> Iterator[RunningApp]:
    """Give the app on the shared desk; a test that kills it wants `own_app`."""
    with RunningApp(shared_desk.data_dir) as running:
        yield running


@pytest.fixture
def page(browser: Browser, shared_app: RunningApp) -> Iterator[Page]:
    """Give the page of the shared app in a browser without memory, open at a case."""
    yield from opened_page(browser, shared_app)


@pytest.fixture
def own_desk(tmp_path: Path) -> Iterator[Desk]:
    """Give a desk with four conflicts to one test alone."""
    with open_desk(tmp_path / "data") as opened:
        add_conflicts(opened, 4)
        yield opened


@pytest.fixture
def own_app(own_desk: Desk) -> Iterator[RunningApp]:
    """Give the app on that desk."""
    with RunningApp(own_desk.data_dir) as running:
        yield running


@pytest.fixture
def own_page(browser: Browser, own_app: RunningApp) -> Iterator[Page]:
    """Give the page of that app."""
    yield from opened_page(browser, own_app)


@pytest.fixture
def window(browser: Browser) -> Iterator[BrowserContext]:
    """Give a browser window without memory, of page.md's size."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(20_000)
    yield context
    context.close()


def opened_page(browser: Browser, app: RunningApp) -> Iterator[Page]:
    """Open the page in a browser window of page.md's size, and close it again."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(20_000)
    opened = context.new_page()
    opened.goto(app.url)
    opened.wait_for_selector(".adj[data-state=case]")
    yield opened
    context.close()
