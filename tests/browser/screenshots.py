"""Make the pictures that docs/guide.md and README.md show, but for that of a run: `make screenshots`.

A small demo desk is drawn in a temporary folder, three people are added, and every state is brought
about the way people do it; the shipped demo run answers checks. Wants a browser, and a font with Chinese
letters. `make screenshots ARGS="teach check"` makes some alone.
"""

import argparse
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import sqlalchemy as sa
from PIL import Image, ImageOps
from playwright.sync_api import Browser, Page, sync_playwright

from db import people
from db.derived import place_all
from db.engine import write_session
from db.models import Case, Queued
from db.passwords import hash_password
from db.vocabulary import Role, Split, Verdict
from db.worth import Order, change_order
from ooc_app import demo
from ooc_app.desk import Desk, open_desk
from ooc_app.intake.images import stored_path
from tests.browser.conftest import BROWSER_ARGUMENTS
from tests.browser.running_app import PROJECT_DIR, RunningApp

FOLDER: Final = PROJECT_DIR / "assets" / "screenshots"
PASSWORD: Final = "a password for pictures"
SIZE: Final = demo.DemoSize(train=160, validation=40, test=20)
SUSPECT: Final = 1  # which out-of-context case of the test split is checked
WINDOW, TABLET, TALL = (1280, 800), (820, 1180), (1280, 1180)


def main() -> int:
    """Make them; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("groups", nargs="*", help=f"some of {', '.join(GROUPS)} (default: all)")
    wanted = parser.parse_args().groups or list(GROUPS)
    os.environ["OOC_STUDENT"] = "assets/demo-run"
    listed = subprocess.run(["fc-list", ":lang=zh"], capture_output=True, text=True, check=False).stdout
    if not listed:
        print("No font here has Chinese letters: apt-get install fonts-wqy-zenhei.", file=sys.stderr)
        return 1
    with TemporaryDirectory() as folder:
        data_dir = Path(folder) / "data"
        with open_desk(data_dir) as desk:
            demo.fill(desk, size=SIZE)
            _add_people(desk)
        with RunningApp(data_dir) as app, sync_playwright() as playwright:
            found = shutil.which("chromium")
            browser = playwright.chromium.launch(executable_path=found, args=BROWSER_ARGUMENTS)
            for group in wanted:
                GROUPS[group](browser, app)
            browser.close()
    return 0


def _add_people(desk: Desk) -> None:
    kept, now = hash_password(PASSWORD), datetime.now(UTC)
    roles = {"maria": Role.ANNOTATOR, "tom": Role.ANNOTATOR, "ada": Role.EDITOR}
    with write_session(desk.sessions) as session:
        change_order(session, Order(second_opinions=0.0, audit_turns=0.0), None, now)
        for name, role in roles.items():
            people.add_person(session, None, name, role, kept, now)


def _adjudicate(browser: Browser, app: RunningApp) -> None:
    _annotator(browser, app)
    _split(browser, app)


def _annotator(browser: Browser, app: RunningApp) -> None:
    """What one annotator meets in the course of a morning."""
    with _page(browser, app, "maria") as page:
        page.keyboard.press("Shift+T")
        page.keyboard.press("n")
        page.keyboard.type("the light is that of an evening")
        page.keyboard.press("Enter")
        for keys in ("a2", "b1", "2", "c2", "3"):
            for key in keys:
                page.keyboard.press(key)
            page.wait_for_selector(".adj[aria-busy=false]")
            page.wait_for_timeout(300)
        _lit(page)
        _save(page, "adjudicate")
        page.keyboard.press("?")
        _save(page, "adjudicate-keys")
        page.keyboard.press("Escape")
        page.keyboard.press("g")
        page.wait_for_selector(".adj-guidelines[open]")
        page.locator(".adj-guidelines-text img").first.scroll_into_view_if_needed()
        page.wait_for_timeout(500)
        _save(page, "adjudicate-guidelines")
        page.keyboard.press("Escape")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")
        page.wait_for_selector(".adj[data-state=correcting]")
        _save(page, "adjudicate-correction")
    with _page(browser, app, "maria", scheme="dark") as page:
        _lit(page)
        _save(page, "adjudicate-dark")
    with _page(browser, app, "maria", size=TABLET) as page:
        _lit(page)
        _save(page, "adjudicate-tablet")
    with _page(browser, app, "maria", locale="zh-CN") as page:
        _lit(page)
        _save(page, "adjudicate-chinese")


def _split(browser: Browser, app: RunningApp) -> None:
    """Two people rule otherwise on one case, and an adjudicator gets it."""
    with open_desk(app.data_dir) as desk, write_session(desk.sessions) as session:
        change_order(session, Order(second_opinions=1.0, audit_turns=0.0), None, datetime.now(UTC))
        place_all(session, datetime.now(UTC))
    with _page(browser, app, "tom") as page:  # is handed what maria ruled on first
        page.keyboard.press("a")
        page.keyboard.press("1")
        page.wait_for_selector(".adj-recent img")
    with _page(browser, app, "ada") as page:
        page.wait_for_selector(".adj[data-state=split]")
        _save(page, "adjudicate-split")

    with open_desk(app.data_dir) as desk, write_session(desk.sessions) as session:
        session.execute(sa.delete(Queued))
    with _page(browser, app, "maria", until=".adj[data-state=empty]") as page:
        _save(page, "adjudicate-empty")


def _cases(browser: Browser, app: RunningApp) -> None:
    """The list of cases, as an editor has it."""
    with _page(browser, app, "ada") as page:
        page.get_by_role("tab", name="Cases").click()
        page.locator("#cases img").first.wait_for()
        page.wait_for_timeout(1_500)
        _save(page, "cases")


def _teach(browser: Browser, app: RunningApp) -> None:
    """A teacher's figures, and one that is added before its server is started."""
    with _page(browser, app, "ada", size=TALL) as page:
        page.get_by_role("tab", name="Teach").click()
        page.get_by_role("link", name="Atlas (scripted)").click()
        page.locator("[data-part=figures] svg").first.wait_for()
        page.wait_for_timeout(500)
        _save(page, "teach")
        page.get_by_role("button", name="Add a teacher").click()
        page.get_by_role("button", name="Ollama").click()
        page.locator("[data-form] [data-deed=try]").click()
        page.locator(".teach-result").wait_for()
        page.wait_for_timeout(500)
        _save(page, "teach-add")


def _check(browser: Browser, app: RunningApp) -> None:
    """A picture of the desk, mirrored, under another picture's caption, and the report of its check."""
    with open_desk(app.data_dir) as desk, desk.sessions() as session:
        chosen = sa.select(Case).where(Case.gold == Verdict.OUT_OF_CONTEXT, Case.split == Split.TEST)
        case = session.scalars(chosen.order_by(Case.id).offset(SUSPECT)).first()
        assert case is not None
        assert case.image_sha256 is not None
        caption = case.caption
        suspect = app.data_dir.parent / "suspect.jpg"
        with Image.open(stored_path(case.image_sha256, desk.images_dir)) as drawn:
            ImageOps.mirror(drawn.convert("RGB")).save(suspect, quality=70)
    with _page(browser, app, "ada", size=TALL) as page:
        page.get_by_role("tab", name="Check").click()
        page.locator("#check-picture input[type=file]").set_input_files(suspect)
        page.locator("#check-caption textarea").fill(caption)
        page.locator("#check-picture img").wait_for()
        page.locator("#check-button").click()
        page.locator("#check-panel .answer[aria-busy=false]").wait_for(timeout=90_000)
        page.wait_for_timeout(2_000)
        _save(page, "check", colours=None)
        page.goto(f"{app.url}/{page.locator('#check-report a').first.get_attribute('href')}")
        page.wait_for_timeout(500)
        _save(page, "report", colours=None)


def _lit(page: Page) -> None:
    """Light the first contradiction, where the case has one."""
    page.keyboard.press("m")
    page.wait_for_timeout(200)


@contextmanager
def _page(
    browser: Browser,
    app: RunningApp,
    name: str,
    *,
    size: tuple[int, int] = WINDOW,
    scheme: str = "light",
    locale: str = "en-GB",
    until: str = ".adj:not([data-state=loading])",
) -> Iterator[Page]:
    """Sign in and open the page at a case."""
    viewport = {"width": size[0], "height": size[1]}
    context = browser.new_context(viewport=viewport, locale=locale, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"{app.url}/login")
    page.fill("input[name=username]", name)
    page.fill("input[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "login" not in url)
    if scheme == "dark":
        page.goto(f"{app.url}/?__theme=dark")
    page.wait_for_selector(until)
    page.wait_for_timeout(1_500)  # pictures and figures come after the page
    yield page
    context.close()


def _save(page: Page, name: str, colours: int | None = 256) -> None:
    """Save the page as a person sees it; with few colours it is a third of the size."""
    taken = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    if colours:  # unlike a median cut this keeps the verdicts' colours
        taken = taken.quantize(colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    taken.save(FOLDER / f"{name}.png", optimize=True)
    print(name)


GROUPS: Final[dict[str, Callable[[Browser, RunningApp], None]]] = {
    "cases": _cases,
    "teach": _teach,
    "check": _check,
    "adjudicate": _adjudicate,
}

if __name__ == "__main__":
    sys.exit(main())
