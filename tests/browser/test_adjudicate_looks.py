"""The page can be seen, read and reached: in any size, by Tab, in three languages, with any text on it."""

import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from db.engine import write_session
from db.rulings import NewRuling, ensure_annotator, rule
from db.vocabulary import Answer, Role
from ooc_app.auth import now
from ooc_app.desk import Desk, open_desk
from ooc_app.language import texts
from tests.browser.at_page import CAPTION, NOTE, SAYS, STRIP, rulings
from tests.browser.running_app import RunningApp, add_odd_cases

Opened = Callable[..., Page]

PLAIN = "A bridge over the river at dawn."
ARABIC, HEBREW = "جسر فوق النهر عند الفجر", "גשר מעל הנהר עם שחר"
OVERRIDE, ZALGO = "\u202eTurned around\u202d", "Z\u0334\u0321\u033b" + "\u0336\u0300" * 200
LONG = "x" * 50_000
HOSTILE = (
    "<script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\"> "
    f"{OVERRIDE} {ZALGO} **bold** [link](javascript:alert(1)) {{{{template}}}} ${{x}} {{count}} "
)
FITS = """() => { const html = document.documentElement;
    return html.scrollHeight <= innerHeight && html.scrollWidth <= innerWidth; }"""


def fill(desk: Desk) -> None:
    """Put plain conflicts of four teachers on the desk, and odd ones behind them."""
    plain = "The bridge was built in 2019, not in 1987."
    add_odd_cases(desk, [f"{PLAIN} {n}" for n in range(5)], plain, "Bridge opened")
    add_odd_cases(
        desk, [ARABIC, HEBREW, OVERRIDE, HOSTILE, HOSTILE + LONG], HOSTILE + LONG, HOSTILE, "hostile"
    )


@pytest.fixture(scope="module")
def odd_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with open_desk(tmp_path_factory.mktemp("odd") / "data") as desk:
        fill(desk)
        yield desk


@pytest.fixture(scope="module")
def odd_app(odd_desk: Desk) -> Iterator[RunningApp]:
    with RunningApp(odd_desk.data_dir) as app:
        yield app


@pytest.fixture
def opened(browser: Browser, odd_app: RunningApp) -> Iterator[Opened]:
    """Give a function that opens the page in a window of its own kind."""
    windows = []

    def at(app: RunningApp = odd_app, width: int = 1280, height: int = 800, **kind: Any) -> Page:
        windows.append(browser.new_context(viewport={"width": width, "height": height}, **kind))
        windows[-1].set_default_timeout(20_000)
        page = windows[-1].new_page()
        page.goto(app.url)
        page.wait_for_selector(".adj:not([data-state=loading])")
        return page

    yield at
    for window in windows:
        window.close()


# ---- sizes ----


OUTSIDE = """() => [...document.querySelectorAll('.adj-card header *')].filter((node) =>
    node.getBoundingClientRect().right > node.closest('.adj-card').getBoundingClientRect().right)
    .map((node) => node.textContent)"""


@pytest.mark.parametrize("locale", ["en-GB", "es-ES"])
def test_the_page_fits_a_laptop_with_four_teachers_and_everything_open(opened: Opened, locale: str) -> None:
    page = opened(locale=locale)
    expect(page.locator(".adj-card")).to_have_count(4)
    assert page.evaluate(OUTSIDE) == []
    for key in ("a", "e", "r", "Escape"):
        page.keyboard.press(key)
        assert page.evaluate(FITS), key
    for part in (".adj-bar", ".adj-foot", CAPTION, ".adj-picture"):
        expect(page.locator(part)).to_be_in_viewport(ratio=1)
    for card in page.locator(".adj-card .adj-says-why").all():
        box = card.bounding_box()
        assert box
        assert box["height"] >= 40  # two lines of a rationale, whatever else is open
        assert box["width"] >= 120


CUT = """() => [...document.querySelectorAll('#adjudicate :is(button, input, summary)')]
    .filter((node) => node.offsetParent && !node.closest('dialog, .adj-recent, .adj-cards'))
    .map((node) => [node.getBoundingClientRect(), node])
    .filter(([box]) => box.left < 0 || box.right > innerWidth)
    .map(([, node]) => node.textContent)"""


def test_on_a_tablet_nothing_is_cut_horizontally(opened: Opened) -> None:
    page = opened(width=820, height=1180, locale="es-ES")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(CUT) == []
    for selector in (CAPTION, ".adj-cards", ".adj-bar", ".adj-foot", ".adj-picture"):
        box = page.locator(selector).bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 820


REACHABLE = """() => [...document.querySelectorAll(
    '#adjudicate :is(button, input, textarea, summary, select, a[href], [tabindex="0"])')]
    .filter((node) => node.checkVisibility() && !node.closest('dialog'))"""
FOCUSED = """() => { const node = document.activeElement;
    const look = getComputedStyle(node), box = node.getBoundingClientRect();
    const at = (%s)().indexOf(node);
    const outlined = look.outlineStyle !== 'none' && parseFloat(look.outlineWidth) >= 1;
    return { at, name: node.className + ' ' + node.textContent.slice(0, 30),
        marked: outlined || look.boxShadow !== 'none',
        inside: box.top < innerHeight && box.bottom > 0 && box.left < innerWidth && box.right > 0 }; }"""


@pytest.mark.parametrize("zoomed", [False, True])
def test_everything_is_reached_by_tab_in_reading_order_and_seen_to_be(opened: Opened, zoomed: bool) -> None:
    page = opened(width=640, height=400, device_scale_factor=2) if zoomed else opened()
    page.keyboard.press("e")
    page.keyboard.press("r")
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    page.locator("#desk-tabs [role=tab]").last.focus()
    wanted = page.evaluate(f"({REACHABLE})().length")
    order: list[int] = []
    for _ in range(wanted + 15):
        page.keyboard.press("Tab")
        focus = page.evaluate(FOCUSED % REACHABLE)
        if focus["at"] < 0:
            if order:
                break
            continue
        order.append(focus["at"])
        assert focus["marked"], focus
        assert focus["inside"], focus
    assert order == list(range(wanted))


# ---- words ----


WORDS = """() => [...document.querySelectorAll('#adjudicate, #adjudicate *')].flatMap((node) => [
    ...[...node.childNodes].filter((one) => one.nodeType === 3).map((one) => one.textContent),
    ...(node.matches('button, u, span') ? [node.textContent] : []),
    ...['aria-label', 'placeholder', 'title', 'alt'].map((name) => node.getAttribute(name) || ''),
]).map((one) => one.trim()).filter(Boolean)"""


def patterns(language: str) -> list[str]:
    """The texts of a language as patterns, without those that are equal in English."""
    own, english = texts(language), texts("en")
    found = []
    for name, text in english.items():
        forms = [text] if isinstance(text, str) else text.values()
        same = own[name]
        if text != same and name != "language":  # each language is picked by its own name
            found += [re.sub(r"\\\{\w+\\\}", ".+", re.escape(form)) for form in forms]
    return found


@pytest.mark.parametrize(
    ("locale", "language", "tabs"),
    [
        ("es-ES", "es", ["Dictaminar", "Comprobar", "Casos", "Enseñar", "Destilar"]),
        ("zh-CN", "zh", ["裁定", "核查", "案例", "教学", "蒸馏"]),
    ],
)
def test_no_english_sentence_is_left_in_another_language(
    opened: Opened, locale: str, language: str, tabs: list[str]
) -> None:
    page = opened(locale=locale)
    expect(page.locator("#desk-tabs [role=tab]")).to_have_text(tabs)
    page.keyboard.press("2")
    expect(page.locator(SAYS)).not_to_have_text("")
    seen = set(page.evaluate(WORDS))
    page.locator(f"{STRIP} button").first.click()
    page.wait_for_selector(".adj[data-state=correcting]")
    seen |= set(page.evaluate(WORDS))
    page.keyboard.press("Escape")
    page.wait_for_selector(".adj[data-state=case]")
    page.keyboard.press("d")
    page.keyboard.press("d")
    page.keyboard.press("g")
    expect(page.locator(".adj-guidelines")).to_be_visible()
    seen |= set(page.evaluate(WORDS))
    page.keyboard.press("Escape")
    page.keyboard.press("z")
    expect(page.locator(STRIP)).to_have_count(1)
    seen |= set(page.evaluate(WORDS)) | {page.locator("#desk-progress").inner_text()}
    english = [one for one in seen if any(re.fullmatch(pattern, one) for pattern in patterns(language))]
    assert english == []
    assert page.locator(".adj").get_attribute("lang") == language


def test_a_language_that_is_picked_holds_after_a_reload(opened: Opened) -> None:
    page = opened()
    page.keyboard.press("?")
    page.locator(".adj-language").select_option("zh")
    expect(page.locator("[data-verdict=unsure]")).to_contain_text("无法判断")
    page.reload()
    expect(page.locator("[data-verdict=unsure]")).to_contain_text("无法判断")
    page.keyboard.press("?")
    expect(page.locator(".adj-language")).to_have_value("zh")
    page.keyboard.press("Escape")
    page.evaluate("document.querySelector('[data-action=toDistil]').click()")  # of an empty desk
    expect(page.get_by_role("tab", name="Distil")).to_have_attribute("aria-selected", "true")


# ---- guidelines ----


def test_guidelines_are_edited_stored_with_the_ruling_and_shown_without_foreign_markup(
    opened: Opened, odd_desk: Desk
) -> None:
    page = opened()
    page.keyboard.press("g")
    page.get_by_role("button", name="Edit").click()
    written = (
        f"# Look twice\n\n- one\n- **two** {HOSTILE}\n\n[bad](javascript:document.title='broken') "
        "[data](data:text/html,x) [good](https://wire.example/a) ![out](https://wire.example/a.png)\n\n"
        "<iframe src=https://wire.example></iframe>\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    )
    page.get_by_label("Guidelines as Markdown").fill(written)
    page.get_by_role("button", name="Save as a new version").click()
    expect(page.locator(SAYS)).to_have_text("Saved as version 1 of the guidelines.")
    page.keyboard.press("g")
    shown = page.locator(".adj-guidelines-text")
    expect(page.locator(".adj-guidelines-version")).to_contain_text("version 1, in force since")
    expect(shown.locator("li strong").first).to_have_text("two")
    expect(shown).to_contain_text("<script>document.title='broken'</script>")
    assert shown.locator("a").evaluate_all("links => links.map(link => link.href)") == [
        "https://wire.example/a"
    ]
    assert shown.locator("img, script, iframe").count() == 0
    assert page.title() == "OOC Desk"
    page.keyboard.press("Escape")
    before = page.locator(CAPTION).inner_text()
    page.keyboard.press("1")
    expect(page.locator(CAPTION)).not_to_have_text(before)
    assert rulings(odd_desk)[-1].guidelines == 1


# ---- odd texts ----


def walk(page: Page) -> Iterator[str]:
    """Rule on one case after the other; give each one's caption."""
    while page.locator(".adj[data-state=case]").count():
        caption = page.locator(CAPTION).inner_text()
        yield caption.strip("“” ")
        page.keyboard.press("2")
        page.wait_for_function(
            "before => document.querySelector('.adj-caption').innerText !== before"
            " || document.querySelector('.adj').dataset.state === 'empty'",
            arg=caption,
        )


def test_text_of_any_kind_is_shown_as_that_text_and_breaks_nothing(opened: Opened, odd_desk: Desk) -> None:
    page = opened()
    seen: dict[str, str] = {}
    for caption in walk(page):
        place, source = page.locator(".adj-meta bdi").nth(1), page.locator(".adj-meta bdi").nth(2)
        boxes = place.bounding_box(), source.bounding_box()
        assert boxes[0]
        assert boxes[1]
        assert boxes[0]["x"] < boxes[1]["x"]  # an override in the place ends with it
        seen[caption] = page.locator(CAPTION).evaluate("node => getComputedStyle(node).direction")
        if caption.startswith(("<script>", OVERRIDE)):
            look_at_hostile(page)
    assert seen[ARABIC] == seen[HEBREW] == "rtl"
    assert seen[OVERRIDE] == "ltr"
    assert {HOSTILE.strip(), HOSTILE + LONG} <= seen.keys()
    noted = {one.note for one in rulings(odd_desk)}
    assert (HOSTILE + LONG)[:2000] in noted
    assert page.title() == "OOC Desk"
    assert page.locator("img[src=x], #adjudicate script").count() == 0


def look_at_hostile(page: Page) -> None:
    rationale = page.locator(".adj-card .adj-says-why").first
    assert (HOSTILE + LONG) in rationale.inner_text().replace("\n", " ")
    page.locator(NOTE).fill((HOSTILE + LONG)[:2000])
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    page.keyboard.press("r")
    page.keyboard.press("Escape")
    expect(page.locator(".adj-bar")).to_be_in_viewport(ratio=1)
    expect(page.locator(".adj-foot")).to_be_in_viewport(ratio=1)
    assert page.evaluate(FITS)
    page.keyboard.press("e")
    evidence = page.locator(".adj-evidence li")
    expect(evidence.first).to_contain_text("<script>document.title='broken'</script>")
    assert evidence.first.locator("a").count() == 0  # a script is no address
    expect(evidence.last.locator("a")).to_have_attribute("href", "https://wire.example/report")
    page.keyboard.press("r")
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    page.keyboard.press("Escape")


# ---- for everybody ----


@pytest.fixture(scope="module")
def axe() -> str:
    """Give axe-core, as a package brings it."""
    package = find_spec("axe_playwright_python")
    assert package is not None
    assert package.origin is not None
    return (Path(package.origin).parent / "axe.min.js").read_text(encoding="utf-8")


def violations(page: Page, axe: str) -> list[str]:
    """What axe-core has against the page as it stands, light and dark."""
    page.evaluate(f"window.axe || (() => {{ {axe}; }})()")
    page.add_style_tag(content="*, *::before { transition: none !important; animation: none !important; }")
    found = []
    for scheme in ("light", "dark"):
        page.evaluate("isDark => document.body.classList.toggle('dark', isDark)", scheme == "dark")
        only = {"runOnly": ["color-contrast"]} if scheme == "dark" else {}  # nothing else differs
        said = page.evaluate("how => axe.run(document, how)", {"resultTypes": ["violations"], **only})
        assert "color-contrast" in {one["id"] for one in said["passes"]}  # it did look
        for one in said["violations"]:
            nodes = [f"{node['target']} {node['any'][:1]}"[:300] for node in one["nodes"][:3]]
            found.append(f"{scheme}: {one['id']}: {nodes}")
    return found


def test_nobody_is_shut_out_of_any_state_of_the_page(opened: Opened, axe: str, tmp_path: Path) -> None:
    with open_desk(tmp_path / "data") as desk:
        add_odd_cases(desk, [PLAIN, f"{ARABIC} 2"], "Built in 2019, not in 1987.", "Bridge opened")
        with write_session(desk.sessions) as session:
            for number, verdict in enumerate((Answer.IN_CONTEXT, Answer.OUT_OF_CONTEXT)):
                person = ensure_annotator(session, f"annotator {number}", Role.ANNOTATOR)
                rule(session, person, NewRuling(f"split-{number}", 1, verdict, note="look", seconds=9), now())
        with RunningApp(desk.data_dir) as app:
            page = opened(app)
            found = {state: violations(page, axe) for state in states(page, app)}
    assert {state: said for state, said in found.items() if said} == {}


def states(page: Page, app: RunningApp) -> Iterator[str]:
    """Bring the page into one state after the other."""
    page.wait_for_selector(".adj[data-state=split]")
    yield "split"
    page.keyboard.press("k")
    yield "send back"
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    page.wait_for_selector(".adj[data-state=case]")
    yield "case"
    for key in ("a", "f", "Shift+P", "e"):
        page.keyboard.press(key)
    yield "evidence"
    page.keyboard.press("r")
    yield "rationale"
    page.keyboard.press("Escape")
    page.locator(f"{STRIP} button").first.click()
    page.wait_for_selector(".adj[data-state=correcting]")
    yield "correction"
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    yield "help"
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    expect(page.locator(".adj-guidelines")).to_be_visible()
    yield "guidelines"
    page.get_by_role("button", name="Edit").click()
    yield "guidelines, edited"
    page.keyboard.press("Escape")
    page.keyboard.press("s")
    page.wait_for_selector(".adj[data-state=empty]")
    yield "empty"
    page.get_by_role("button", name="Go to Distil").click()
    page.get_by_role("tab", name="Adjudicate").click()
    app.kill()
    page.get_by_role("button", name="Look again").click()
    expect(page.locator(".adj-empty-title")).to_have_text("The desk does not answer", timeout=15_000)
    yield "unreachable"
