from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from db.models import Annotator, Check
from db.vocabulary import Role
from ooc_app.checks.report_page import GONE
from ooc_app.desk import Desk, open_desk
from tests.browser.running_app import HOSTILE, PASSWORD, RunningApp, add_people, drawn_picture
from tests.ooc_app.checks.kept import CAPTION, keep_check

WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
CURVE = [[0, 0.86], [500, 0.7], [999, 0.5]]
GROUNDS = {
    "warning": f"This picture is no drawing. {HOSTILE}",
    "snapshot": "41c9" * 16,
    "reliance": {
        "verdict": "out_of_context", "probability": 0.86, "curve": CURVE, "blank": 0.5, "number": 0.9,
        "depends": True, "sentence": "It depends on the picture.", "forwards": 8,
    },
    "word_grounds": {
        "verdict": "out_of_context", "forwards": 2,
        "words": [{"span": {"start": 0, "end": 5, "kind": "word"}, "change": 2.0}],
    },
    "part_grounds": {"verdict": "out_of_context", "changes": [[0.1, 2.5], [0.0, 4.5]], "forwards": 5},
}  # fmt: skip

Windows = Callable[..., Page]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Give a desk on which two annotators sign in."""
    with open_desk(tmp_path_factory.mktemp("reports") / "data") as opened:
        add_people(opened, 0, vera=Role.EDITOR, maria=Role.ANNOTATOR, ben=Role.ANNOTATOR)
        yield opened


@pytest.fixture(scope="module")
def app(desk: Desk) -> Iterator[RunningApp]:
    with RunningApp(desk.data_dir) as running:
        yield running


@pytest.fixture
def window(browser: Browser) -> Iterator[Windows]:
    """Give a function that opens a page in a browser of its own."""
    opened = []

    def open_window(**options: Any) -> Page:
        context = browser.new_context(**{"viewport": WIDE, **options})
        context.set_default_timeout(20_000)
        opened.append(context)
        return context.new_page()

    yield open_window
    for context in opened:
        context.close()


def owner_id(desk: Desk, name: str = "maria") -> int:
    with desk.sessions() as session:
        return session.scalars(sa.select(Annotator.id).where(Annotator.name == name)).one()


def read(page: Page, app: RunningApp, token: str, name: str | None = None) -> None:
    """Open a report, as somebody who signs in on the way or as nobody."""
    if name is None:
        page.goto(f"{app.url}/?check={token}")
        return
    page.goto(f"{app.url}/?check={token}")
    page.get_by_role("link", name="Sign in").click()
    page.get_by_label("name").fill(name)
    page.get_by_label("password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator(".sheet-caption")).to_be_visible()


def test_a_report_is_read_by_whoever_has_its_link_until_its_owner_deletes_it(
    desk: Desk, app: RunningApp, window: Windows
) -> None:
    token = keep_check(desk, owner_id(desk), drawn_picture(1), 1)
    stranger, ben, maria = window(), window(), window()
    read(stranger, app, token)
    expect(stranger.locator(".sheet-caption")).to_have_text(CAPTION)
    assert stranger.evaluate("document.querySelector('.sheet-picture img').naturalWidth") == 480
    expect(stranger.locator("form")).to_have_count(0)
    read(ben, app, token, "ben")
    expect(ben.locator("form")).to_have_count(0)
    read(maria, app, token, "maria")
    maria.get_by_label("keep this report").select_option("7")
    maria.get_by_role("button", name="Save").click()
    expect(maria.locator(".sheet-deeds")).to_contain_text("It ends on")
    maria.get_by_role("button", name="Send to the desk").click()
    expect(maria.locator(".sheet-ruled")).to_contain_text("waits for a ruling")
    assert maria.url == f"{app.url}/?check={token}"
    maria.get_by_text("Delete this report").click()
    maria.get_by_role("button", name="Delete for good").click()
    expect(maria.locator("main")).to_contain_text("The report is deleted")
    answer = stranger.reload()
    assert answer
    assert answer.status == 404
    expect(stranger.locator("main")).to_contain_text(GONE)
    with desk.sessions() as session:
        assert session.scalars(sa.select(Check.token).where(Check.token == token)).all() == []


def test_hostile_texts_stay_texts_and_nobody_is_shut_out(
    desk: Desk, app: RunningApp, window: Windows
) -> None:
    said = dict.fromkeys(("caption", "rationale", "claimed_place"), f"A flood. {HOSTILE}")
    token = keep_check(desk, owner_id(desk), drawn_picture(2), 2, with_provenance=True, found=GROUNDS, **said)
    for scheme in ("light", "dark"):
        for size in (WIDE, NARROW):
            page = window(color_scheme=scheme, viewport=size)
            read(page, app, token, "maria" if size is NARROW else None)
            assert HOSTILE in page.locator(".sheet-caption").inner_text()
            assert "broken" not in page.title().partition("<")[0]
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
            assert [one["id"] for one in Axe().run(page).response["violations"]] == [], (scheme, size)
    assert page.locator(".sheet-deeds form").count() == 3
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="OOC Desk")).to_be_focused()


def test_on_paper_a_report_is_a_clean_document(desk: Desk, app: RunningApp, window: Windows) -> None:
    token = keep_check(desk, owner_id(desk), drawn_picture(3), 3, with_provenance=True, found=GROUNDS)
    page = window(color_scheme="dark")
    read(page, app, token, "maria")
    written = page.pdf(prefer_css_page_size=True)
    assert written.startswith(b"%PDF")
    assert b"MediaBox [0 0 594.95996 841.91998]" in written  # A4, in points
    page.emulate_media(media="print")
    for hidden in (".sheet-deeds", ".sheet-foot", ".parts-switch"):
        expect(page.locator(hidden)).to_be_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    expect(page.locator(".sheet-facts")).to_contain_text(f"?check={token}")
