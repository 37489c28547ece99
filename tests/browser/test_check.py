"""The Check tab with the shipped run's student: every way a picture comes in, and the answer as it comes."""

import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from db.models import Check
from ooc_app.desk import Desk, open_desk
from ooc_app.teacher_settings import add_teacher
from tests.browser.running_app import RunningApp
from tests.ooc_app.teacher_server import MODEL, serving
from training import drawing, world
from training.teachers import TeacherConfig

CAPTION = "A market by the castle in Norvik."
SENT = "A flood by the bridge in Halden."
SECONDS = 60_000
WATCH_ANSWERS = """() => {
  window.answers = [];
  const look = () => {
    const said = document.querySelector("#check-panel .answer-rationale");
    if (said && window.answers.at(-1) !== said.textContent) window.answers.push(said.textContent);
  };
  new MutationObserver(look).observe(document.body, {childList: true, subtree: true, characterData: true});
}"""
COPY_PICTURE = """async () => {
  const canvas = new OffscreenCanvas(64, 48);
  canvas.getContext("2d").fillRect(8, 8, 20, 20);
  const blob = await canvas.convertToBlob({type: "image/png"});
  await navigator.clipboard.write([new ClipboardItem({"image/png": blob})]);
}"""


@pytest.fixture(scope="module")
def check_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Give an empty desk that serves the shipped run's student."""
    with pytest.MonkeyPatch.context() as setting:
        setting.setenv("OOC_STUDENT", "assets/demo-run")
        with open_desk(tmp_path_factory.mktemp("check") / "data") as desk:
            yield desk


@pytest.fixture(scope="module")
def check_app(check_desk: Desk) -> Iterator[RunningApp]:
    with RunningApp(check_desk.data_dir) as running:
        yield running


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    path = tmp_path / "drawn.jpg"
    drawing.draw(world.sample_scene(random.Random(4)), 4).save(path, "JPEG", quality=90)
    return path


@pytest.fixture
def phone(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    context.set_default_timeout(20_000)
    yield context
    context.close()


def at_check(window: BrowserContext, app: RunningApp) -> Page:
    page = window.new_page()
    page.goto(app.url)
    page.get_by_role("tab", name="Check").click()
    expect(page.locator("#check-caption textarea")).to_be_visible()
    return page


def upload(page: Page, picture: Path) -> None:
    page.locator("#check-picture input[type=file]").set_input_files(picture)
    expect(page.locator("#check-picture img")).to_be_visible()


def ask(page: Page, caption: str = CAPTION) -> None:
    page.locator("#check-caption textarea").fill(caption)
    page.locator("#check-button").click()


def expect_answer(page: Page) -> None:
    expect(page.locator("#check-panel .answer[aria-busy=false]")).to_be_visible(timeout=SECONDS)


def test_an_address_that_is_no_web_site_is_refused_before_anything_is_fetched(
    window: BrowserContext, check_app: RunningApp
) -> None:
    page = at_check(window, check_app)
    for address, says in (("ftp://example.org/a.jpg", "http://"), ("http://127.0.0.1/a.jpg", "127.0.0.1")):
        page.locator("#check-url textarea, #check-url input").fill(address)
        ask(page)
        expect(page.locator("#check-panel .notice")).to_contain_text(says)


def test_an_uploaded_picture_is_answered_word_by_word_and_kept(
    window: BrowserContext, check_app: RunningApp, check_desk: Desk, drawn: Path
) -> None:
    page = at_check(window, check_app)
    upload(page, drawn)
    page.evaluate(WATCH_ANSWERS)
    ask(page)
    expect_answer(page)
    grown = page.evaluate("window.answers")
    assert len(grown) >= 2, "the verdict stands before its rationale is whole"
    assert all(whole.startswith(part) for part, whole in pairwise(grown))
    with check_desk.sessions() as session:
        kept = session.scalars(sa.select(Check).order_by(Check.id.desc())).first()
    assert kept is not None
    assert kept.caption == CAPTION
    assert kept.rationale == grown[-1]


def test_a_picture_is_pasted(window: BrowserContext, check_app: RunningApp) -> None:
    window.grant_permissions(["clipboard-read", "clipboard-write"], origin=check_app.url)
    page = at_check(window, check_app)
    page.evaluate(COPY_PICTURE)
    page.locator("#check-picture").get_by_label("Paste from clipboard").click()
    expect(page.locator("#check-picture img")).to_be_visible()
    ask(page)
    expect_answer(page)


def test_what_an_answer_rests_on_stands_under_it_and_others_are_asked_the_same(
    window: BrowserContext, check_app: RunningApp, drawn: Path
) -> None:
    page = at_check(window, check_app)
    upload(page, drawn)
    ask(page)
    expect_answer(page)
    answer = page.locator("#check-panel .answer")
    for heading in ("Does it see?", "Words that carry it", "Parts of the picture that carry it"):
        expect(answer.get_by_role("heading", name=heading)).to_be_visible()
    page.locator("#check-compare").click()
    compared = page.locator("#check-more .compared[aria-busy=false]")
    expect(compared.locator("li")).to_have_count(3, timeout=SECONDS)
    expect(compared).to_contain_text("untouched")
    assert [one["id"] for one in Axe().run(page).response["violations"]] == []


def test_a_live_teacher_is_asked_where_somebody_chooses_it_and_answers_beside_the_students(
    window: BrowserContext, phone: BrowserContext, check_app: RunningApp, check_desk: Desk, drawn: Path
) -> None:
    with serving() as teacher:
        teacher.looks = False
        add_teacher(check_desk, TeacherConfig("rule", "endpoint", MODEL, base_url=teacher.base_url))
        page = at_check(window, check_app)
        expect(page.locator("#check-teachers")).to_be_hidden()
        upload(page, drawn)
        ask(page, "Case 1 of the castle in Norvik.")
        expect_answer(page)
        choice = page.get_by_label(f"rule ({MODEL}): stays on this machine")
        expect(choice).not_to_be_checked()
        choice.focus()
        page.keyboard.press("Space")
        expect(choice).to_be_checked()
        page.locator("#check-compare").click()
        compared = page.locator("#check-more .compared[aria-busy=false]")
        expect(compared.locator("li")).to_have_count(4, timeout=SECONDS)
        expect(compared).to_contain_text("says it is 75 % sure, uncalibrated · does not fit: place")
        expect(compared).to_contain_text("By the rule of number 1.")
        assert [one["id"] for one in Axe().run(page).response["violations"]] == []
        ask(page, "Another caption.")
        expect(choice).not_to_be_checked()
        mine = page.locator("#check-own li").first
        expect(mine).to_contain_text("Another caption.", timeout=SECONDS)
        assert len(teacher.texts) == 1

        teacher.free.clear()
        choice.check()
        page.locator("#check-compare").click()
        expect(page.locator("#check-more")).to_contain_text("asked for ", timeout=SECONDS)
        ask(page, "A third caption, while a teacher is waited for.")
        expect(mine).to_contain_text("A third caption", timeout=SECONDS)
        expect(page.locator("#check-more .compared")).to_have_count(0)
        teacher.free.set()

        small = at_check(phone, check_app)
        upload(small, drawn)
        ask(small)
        expect_answer(small)
        expect(small.get_by_label(f"rule ({MODEL})")).to_be_visible()
        assert small.evaluate("document.documentElement.scrollWidth") <= 390
        assert [one["id"] for one in Axe().run(small).response["violations"]] == []


def test_a_check_that_is_sent_is_ruled_on_next_and_its_report_and_list_say_how(
    window: BrowserContext, check_app: RunningApp, drawn: Path
) -> None:
    page = at_check(window, check_app)
    upload(page, drawn)
    ask(page, SENT)
    expect_answer(page)
    mine = page.locator("#check-own li").first
    expect(mine).to_contain_text(SENT)
    expect(mine).to_contain_text("not sent")
    page.locator("#check-send").click()
    expect(page.locator("#check-more")).to_contain_text("Sent")
    expect(mine).to_contain_text("waits for a ruling")
    report = window.new_page()
    report.goto(f"{check_app.url}/{page.locator('#check-report a').first.get_attribute('href')}")
    expect(report.locator("body")).to_contain_text("waits for a ruling")

    page.goto(check_app.url)
    expect(page.locator(".adj-caption")).to_contain_text(SENT)
    page.keyboard.press("2")
    expect(page.locator(".adj-recent li")).to_have_count(1)
    report.reload()
    expect(report.locator("body")).to_contain_text("out of context")
    page.get_by_role("tab", name="Check").click()
    expect(page.locator("#check-own li").first).to_contain_text("settled", timeout=20_000)


def test_everything_is_in_reach_on_a_phone_and_nothing_is_wider_than_it(
    phone: BrowserContext, check_app: RunningApp, drawn: Path
) -> None:
    page = at_check(phone, check_app)
    upload(page, drawn)
    ask(page)
    expect_answer(page)
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390
    assert [one["id"] for one in Axe().run(page).response["violations"]] == []


def test_a_visitor_tries_a_drawing_that_is_offered_and_leaves_nothing_behind(
    window: BrowserContext, tmp_path: Path
) -> None:
    with open_desk(tmp_path / "data"):
        pass
    with RunningApp(tmp_path / "data", mode="demo") as app:
        page = window.new_page()
        page.goto(app.url)
        page.locator("#check-examples tbody tr").nth(2).click()
        expect(page.locator("#check-picture img")).to_be_visible()
        expect(page.locator("#check-caption textarea")).not_to_have_value("")
        page.locator("#check-button").click()
        expect_answer(page)
        expect(page.locator("#check-panel")).to_contain_text("out of context")
        expect(page.locator("#check-send")).to_be_hidden()
        assert [one["id"] for one in Axe().run(page).response["violations"]] == []
    assert [path for path in (tmp_path / "data" / "images").rglob("*") if path.is_file()] == []
