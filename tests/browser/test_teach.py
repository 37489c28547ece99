import re
import socket
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from ooc_app.desk import Desk, open_desk
from ooc_app.teacher_settings import add_teacher, remove_teacher
from tests.browser.running_app import HOSTILE, RunningApp
from tests.ooc_app.teacher_server import MODEL, TeacherServer, serving
from tests.ooc_app.test_teaching import put_cases
from training.teachers import TeacherConfig

WORK, CARD, SAYS = "[data-part=work]", "[data-part=card]", ".teach-says"
PATIENCE = 90_000  # ms; a process that asks a teacher begins on a busy machine


@pytest.fixture(scope="module")
def server() -> Iterator[TeacherServer]:
    """Give a teacher's server."""
    with serving() as running:
        yield running


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Give a desk with twenty cases that one recorded teacher finds in context."""
    with open_desk(tmp_path_factory.mktemp("teach") / "data") as opened:
        put_cases(opened, 20)
        yield opened


@pytest.fixture(scope="module")
def app(desk: Desk) -> Iterator[RunningApp]:
    """Give the app on that desk."""
    with RunningApp(desk.data_dir) as running:
        yield running


@pytest.fixture
def page(browser: Browser, app: RunningApp) -> Iterator[Page]:
    """Give the page with the Teach tab open."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(20_000)
    opened = context.new_page()
    opened.goto(app.url)
    opened.get_by_role("tab", name="Teach").click()
    opened.wait_for_selector(".teach[data-state=ready]")
    yield opened
    context.close()


def nowhere() -> str:
    """An address at which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


def tried(page: Page, words: str) -> None:
    """Test the connection, and wait for what it says."""
    page.locator("[data-form] [data-deed=try]").click()
    expect(page.locator("[data-part=form] .teach-result")).to_contain_text(words)


def barriers(page: Page) -> list[str]:
    return [one["id"] for one in Axe().run(page).response["violations"]]


def add(page: Page, server: TeacherServer) -> None:
    """Add the server's teacher from a preset, with an address and then a model that are wrong at first."""
    page.get_by_role("button", name="vLLM").click()
    expect(page.get_by_label("address")).to_have_value("http://localhost:8000/v1")
    page.get_by_label("address").fill(nowhere())
    tried(page, "Nothing listens at")
    page.get_by_label("address").fill(server.base_url)
    tried(page, "has no model Qwen/Qwen2.5-VL-7B-Instruct: it has")
    assert barriers(page) == []
    page.get_by_role("button", name=MODEL).click()
    expect(page.get_by_label("model")).to_have_value(MODEL)
    tried(page, "answers and has the model")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator(SAYS)).to_contain_text("vLLM is added")
    expect(page.get_by_role("button", name="Dry run")).to_be_focused()
    expect(page).to_have_url(re.compile(r"\?teach=vLLM$"))


def rehearse(page: Page) -> None:
    """Press Enter on the dry run, and read it."""
    page.keyboard.press("Enter")
    expect(page.locator(".teach-case")).to_have_count(3, timeout=PATIENCE)
    first = page.locator(".teach-case").first
    for words in ("Read as", "Came back", "Was sent", "POST http://127.0.0.1", "By the rule of number"):
        expect(first).to_contain_text(words)
    expect(first.locator("img")).to_have_js_property("complete", True)
    assert first.locator("img").evaluate("image => image.naturalWidth") > 0
    expect(page.locator(WORK)).to_contain_text("All 20 missing cases would take")
    assert barriers(page) == []


def ask_and_stop(page: Page, server: TeacherServer) -> None:
    """Ask with a limit, reload in the middle, and stop what the page has found again."""
    server.free.clear()
    page.locator("[name=limit]").fill("15")
    page.get_by_role("button", name="Ask about the 20 missing cases").click()
    expect(page.locator(f"{WORK} progress[max]")).to_be_visible(timeout=PATIENCE)
    page.reload()
    expect(page.get_by_role("tab", name="Teach")).to_have_attribute("aria-selected", "true")
    expect(page.locator(f"{WORK} progress[max]")).to_be_visible()
    expect(page.locator("[name=limit]")).to_have_value("15")
    expect(page.locator("[data-of=vLLM] [data-cell=state]")).to_contain_text("asking")
    assert barriers(page) == []
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(SAYS)).to_contain_text("Stops when")
    server.free.set()
    expect(page.locator(WORK)).to_contain_text("It was stopped", timeout=PATIENCE)
    expect(page.locator(SAYS)).to_contain_text("vLLM has ended")


def test_a_newcomer_adds_a_teacher_tries_it_asks_stops_and_goes_on(
    page: Page, server: TeacherServer, app: RunningApp
) -> None:
    add(page, server)
    rehearse(page)
    ask_and_stop(page, server)
    page.locator("[name=limit]").fill("")
    page.get_by_role("button", name=re.compile("Go on with the")).click()
    expect(page.locator(WORK)).to_contain_text("Every case has been asked about.", timeout=PATIENCE)
    expect(page.locator("[data-of=vLLM] [data-cell=opinions]")).to_have_text("20")
    expect(page.locator("[data-part=counts]")).to_contain_text(re.compile(r"1[0-9] conflicts open"))
    expect(page.locator("[data-part=figures]")).to_contain_text("What it says")
    expect(page.locator("[data-part=runs] tbody tr")).to_have_count(2)
    assert max(server.asked.values()) <= 2  # once in the dry run, once in earnest
    assert barriers(page) == []

    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.emulate_media(color_scheme="dark")
    page.goto(f"{app.url}/?__theme=dark&teach=vLLM")
    expect(page.locator("[data-part=runs] tbody tr")).to_have_count(2)
    assert barriers(page) == []


def test_a_pasted_key_is_refused_in_the_form(page: Page, server: TeacherServer) -> None:
    page.get_by_role("button", name="Add a teacher").click()
    page.get_by_role("button", name="OpenAI", exact=True).click()
    expect(page.locator("[data-part=form]")).to_contain_text("OPENAI_API_KEY")
    page.get_by_label("variable of the key").fill("sk-proj-123")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("[data-part=form] .teach-tested")).to_contain_text("never the key")
    expect(page.get_by_label("variable of the key")).to_have_value("sk-proj-123")
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("button", name="Add a teacher")).to_be_focused()


def test_a_teacher_of_any_name_is_opened_changed_and_removed_with_the_keyboard(
    page: Page, desk: Desk
) -> None:
    add_teacher(desk, TeacherConfig(HOSTILE, "endpoint", "m", nowhere()))
    page.reload()
    page.get_by_role("tab", name="Teach").click()
    link = page.locator("[data-part=list] a").filter(has_text="of Halden")
    link.focus()
    page.keyboard.press("Enter")
    expect(page.locator(f"{CARD} h2")).to_be_focused()
    expect(page.locator(f"{CARD} h2")).to_contain_text("<img src=x")
    page.get_by_role("button", name="Change").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Change")).to_be_focused()
    page.get_by_label("model").fill("other")
    page.keyboard.press("Enter")
    expect(page.locator(".teach-settings")).to_contain_text("other")
    page.get_by_role("button", name="Test connection").click()
    expect(page.locator("[data-part=deeds] .teach-result")).to_contain_text("Nothing listens at")
    page.locator("summary").filter(has_text="Remove from settings").click()
    page.get_by_role("button", name="Remove from settings now").click()
    expect(page.locator(SAYS)).to_contain_text("is removed; it had said nothing here.")
    expect(page.locator(CARD)).to_be_hidden()
    expect(link).to_have_count(0)
    expect(page).not_to_have_url(re.compile("teach="))
    assert page.title() != "broken"


def test_what_is_typed_and_where_the_keyboard_is_stay_while_something_goes_on(
    page: Page, desk: Desk, server: TeacherServer
) -> None:
    add_teacher(desk, TeacherConfig("slow", "endpoint", MODEL, server.base_url, concurrency=1))
    server.seconds = 0.2
    page.reload()
    page.get_by_role("tab", name="Teach").click()
    page.locator("[data-of=slow]").click()
    page.locator("[name=limit]").fill("12")
    page.locator("[name=minutes]").fill("3")
    page.get_by_role("button", name="Ask about").click()
    expect(page.locator(f"{WORK} progress[max]")).to_be_visible(timeout=PATIENCE)
    page.locator("[name=tokens]").focus()
    before = page.locator(f"{WORK} .teach-words").inner_text()
    expect(page.locator(f"{WORK} .teach-words")).not_to_have_text(before)
    expect(page.locator("[name=tokens]")).to_be_focused()
    expect(page.locator("[name=minutes]")).to_have_value("3")
    page.get_by_role("tab", name="Cases").click()
    expect(page).not_to_have_url(re.compile("teach="))
    page.get_by_role("tab", name="Teach").click()
    expect(page).to_have_url(re.compile(r"\?teach=slow$"))
    expect(page.locator(WORK)).to_contain_text("As many cases", timeout=PATIENCE)
    expect(page.locator("[name=minutes]")).to_have_value("3")
    server.seconds = 0.0
    remove_teacher(desk, "slow")
