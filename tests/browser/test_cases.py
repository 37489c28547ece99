import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, Locator, Page, expect

from db.cases import NewCase, NewEvidence, NewImage, NewOpinion, add_cases
from db.engine import write_session
from db.models import Case, Request
from db.rulings import NewRuling, ensure_annotator, rule
from db.vocabulary import Answer, EvidenceKind, Role
from ooc_app.auth import now
from ooc_app.desk import Desk, open_desk
from ooc_app.intake.images import admit
from tests.browser.running_app import HOSTILE, RunningApp, add_conflicts, drawn_picture

Opened = Callable[..., Page]

COUNT, CAPTION, PANEL, SAYS = ".cases-count", ".cases-row .cases-caption", ".cases-case", ".cases-says"
NUMBER = re.compile(r"Town (\d+)")


def fill(desk: Desk) -> None:
    """Put 30 conflicts on the desk, then three agreed cases, one of them without a picture."""
    add_conflicts(desk, 30)
    image = admit(drawn_picture(77), desk.images_dir)
    stored = NewImage(image.sha256, image.format, image.width, image.height, image.byte_size)
    said = (
        NewOpinion("Teacher One", Answer.IN_CONTEXT, "It fits."),
        NewOpinion("Teacher Two", Answer.IN_CONTEXT),
    )
    found = NewEvidence(EvidenceKind.CAPTION, "Click me", "javascript:document.title='broken'", None, HOSTILE)
    plain = NewCase(
        "a", "洪水淹没了市场广场", stored, source="evening.example", opinions=said, evidence=(found,)
    )
    held = replace(plain, external_id="b", caption="שיטפון בכיכר השוק", group="g", evidence=())
    without = replace(held, external_id="c", caption="Nothing to see here", image=None)
    with write_session(desk.sessions) as session:
        add_cases(session, "wire", [plain, held, without])
        maria = ensure_annotator(session, "maria", Role.ANNOTATOR)
        said_of = NewRuling("a", 3, Answer.OUT_OF_CONTEXT, note=HOSTILE, flagged=True, seconds=1)
        first = rule(session, maria, said_of, now())
        rule(session, maria, NewRuling("b", 3, Answer.IN_CONTEXT, seconds=9, corrects=first.id), now())


@pytest.fixture(scope="module")
def cases_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Give a desk of 33 cases that the tests only look at."""
    with open_desk(tmp_path_factory.mktemp("cases") / "data") as opened:
        fill(opened)
        yield opened


@pytest.fixture(scope="module")
def cases_app(cases_desk: Desk) -> Iterator[RunningApp]:
    """Give the app on it."""
    with RunningApp(cases_desk.data_dir) as running:
        yield running


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opened]:
    """Give a function that opens the page of an app at an address, in a browser without memory."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(20_000)
    context.grant_permissions(["clipboard-read", "clipboard-write"])

    def open_at(app: RunningApp, query: str = "?q=") -> Page:
        page = context.new_page()
        page.goto(f"{app.url}/{query}")
        return page

    yield open_at
    context.close()


@pytest.fixture
def page(opened: Opened, cases_app: RunningApp) -> Page:
    """Give the Cases tab, with every case listed."""
    shown = opened(cases_app)
    expect(shown.locator(COUNT)).to_have_text("33 cases")
    return shown


def rows(page: Page) -> Locator:
    return page.locator(".cases-list .cases-row")


def towns(page: Page) -> list[int]:
    """The numbers of the towns listed."""
    return [
        int(found[1]) for text in page.locator(CAPTION).all_inner_texts() if (found := NUMBER.search(text))
    ]


# ---- finding ----


def test_what_is_typed_is_looked_for_as_it_is_typed(page: Page) -> None:
    page.keyboard.press("/")
    page.keyboard.type("town 1")
    expect(page.locator(COUNT)).to_have_text("1 case")
    page.keyboard.type("2")
    expect(page.locator(CAPTION)).to_contain_text(["Town 12."])
    assert page.url.endswith("?q=town+12")
    page.get_by_role("searchbox").fill("洪水")
    expect(page.locator(CAPTION)).to_contain_text(["洪水淹没了市场广场"])


def test_filters_are_chips_and_stand_in_the_address(page: Page) -> None:
    page.get_by_label("State").select_option("agreed")
    expect(page.locator(COUNT)).to_have_text("3 cases")
    page.get_by_label("Picture", exact=True).select_option("without")
    expect(page.locator(COUNT)).to_have_text("1 case")
    expect(page.locator(".cases-chip")).to_have_text(["agreed", "without picture"])
    assert page.url.endswith("?state=agreed&picture=without")
    page.get_by_role("button", name="Take away: agreed").click()
    expect(page.locator(".cases-chip")).to_have_text(["without picture"])
    page.get_by_role("button", name="clear").click()
    expect(page.locator(COUNT)).to_have_text("33 cases")
    assert "?" not in page.url


def test_every_filter_finds_its_cases(page: Page) -> None:
    for label, value, cases in (
        ("State", "conflict", "29 cases"),
        ("Verdict", "in_context", "4 cases"),
        ("Source", "evening.example", "3 cases"),
        ("Teacher", "Teacher Three", "30 cases"),
        ("What the teacher says", "unsure", "0 cases"),
        ("Gold verdict of the data set", "in_context", "0 cases"),
        ("Split", "train", "33 cases"),
        ("Ruled on by", "maria", "1 case"),
        ("came since", "2020-01-01", "33 cases"),
        ("until", "2020-01-01", "0 cases"),
    ):
        control = page.get_by_label(label, exact=True)
        control.fill(value) if "-" in value else control.select_option(value)
        expect(page.locator(COUNT)).to_have_text(cases)
        page.locator(".cases-clear").click()
    page.get_by_label("flagged").check()
    expect(page.locator(COUNT)).to_have_text("0 cases")  # the flagged ruling was corrected


def test_the_back_button_takes_back_what_was_done(page: Page) -> None:
    page.get_by_label("State").select_option("settled")
    expect(page.locator(COUNT)).to_have_text("1 case")
    rows(page).first.click()
    expect(page.locator(PANEL)).to_contain_text("Case 3")
    page.go_back()
    expect(page.locator(PANEL)).to_be_hidden()
    expect(page.locator(COUNT)).to_have_text("1 case")
    page.go_back()
    expect(page.locator(COUNT)).to_have_text("33 cases")
    page.go_forward()
    page.go_forward()
    expect(page.locator(PANEL)).to_contain_text("Case 3")


def test_a_reload_brings_back_filter_page_and_case(page: Page) -> None:
    page.get_by_label("State").select_option("conflict")
    expect(page.locator(COUNT)).to_have_text("29 cases")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="older").click()
    expect(rows(page)).to_have_count(5)
    rows(page).nth(1).click()
    expect(page.locator(PANEL)).to_contain_text("Case 5")
    page.reload()
    expect(page.locator(PANEL)).to_contain_text("Case 5")
    expect(page.get_by_label("State")).to_have_value("conflict")
    expect(rows(page)).to_have_count(5)
    expect(page.locator(".cases-row[aria-current]")).to_contain_text("Town 5")


def test_pages_forth_and_back_show_each_case_once(page: Page) -> None:
    page.locator(".cases-left").click(position={"x": 5, "y": 5}, modifiers=["Control"], trial=True)
    newest = rows(page).evaluate_all("links => links.map(link => link.dataset.id)")
    page.keyboard.press("]")
    expect(rows(page)).to_have_count(9)
    oldest = rows(page).evaluate_all("links => links.map(link => link.dataset.id)")
    assert sorted(map(int, newest + oldest)) == list(range(1, 34))
    page.keyboard.press("[")
    expect(rows(page)).to_have_count(24)
    assert rows(page).evaluate_all("links => links.map(link => link.dataset.id)") == newest
    expect(page.get_by_role("button", name="newer")).to_be_disabled()


def test_no_case_found_says_so_and_offers_the_way_out(page: Page) -> None:
    page.get_by_role("searchbox").fill("nothing like this")
    expect(page.locator(".cases-empty")).to_contain_text("No case is found")
    page.get_by_role("button", name="Clear the search").click()
    expect(rows(page)).to_have_count(24)


def test_an_old_link_with_nonsense_in_it_says_what_is_wrong(opened: Opened, cases_app: RunningApp) -> None:
    page = opened(cases_app, "?state=unheard&since=never&from=x")
    expect(page.locator(".cases-empty")).to_contain_text("There is no state 'unheard'")
    page.get_by_role("button", name="Clear the search").click()
    expect(rows(page)).to_have_count(24)


# ---- one case ----


def test_a_link_opens_its_case(opened: Opened, cases_app: RunningApp) -> None:
    page = opened(cases_app, "?case=3")
    panel = page.locator(PANEL)
    expect(panel).to_contain_text("Case 3")
    expect(panel.locator("blockquote")).to_contain_text("Town 3.")
    expect(panel.locator(".cases-opinion")).to_contain_text(["Teacher", "Teacher", "Teacher"])
    expect(panel.locator(".cases-ruling").nth(1)).to_contain_text("corrected since")
    expect(panel.locator(".cases-ruling.superseded .cases-tag")).to_contain_text(
        ["corrected since", "rushed", "flagged"]
    )
    expect(panel.locator(".cases-happening").last).to_contain_text("maria corrected the ruling: in context")
    assert panel.locator("img").first.evaluate("image => image.decode().then(() => image.naturalWidth > 0)")
    moment = panel.locator(".cases-ruling time").first
    expect(moment).to_have_attribute("title", re.compile(r"\d{4} at \d\d:\d\d:\d\d"))


def test_a_case_that_is_not_there_says_so(opened: Opened, cases_app: RunningApp) -> None:
    page = opened(cases_app, "?case=4711")
    expect(page.locator(PANEL)).to_contain_text("There is no case 4711 on this desk")
    page.keyboard.press("Escape")
    expect(page.locator(PANEL)).to_be_hidden()
    assert "?" not in page.url


def test_the_link_copied_opens_the_case_again(page: Page, opened: Opened, cases_app: RunningApp) -> None:
    rows(page).nth(4).click()
    expect(page.locator(PANEL)).to_contain_text("Case 29")
    page.keyboard.press("l")
    expect(page.locator(SAYS)).to_contain_text("Copied: ")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == f"{cases_app.url}/?case=29"
    expect(opened(cases_app, link.rpartition("/")[2]).locator(PANEL)).to_contain_text("Case 29")


def test_hostile_text_stays_text(page: Page) -> None:
    expect(page.locator(CAPTION).filter(has_text=HOSTILE)).to_have_count(21)
    page.goto(page.url.partition("?")[0] + "?case=3")
    panel = page.locator(PANEL)
    expect(panel.locator("blockquote")).to_contain_text(HOSTILE)
    panel.locator("summary").click()
    expect(panel.locator(".cases-evidence")).to_contain_text(HOSTILE)
    expect(panel.locator(".cases-ruling.superseded")).to_contain_text(HOSTILE)
    page.goto(page.url.partition("?")[0] + "?case=31")
    panel.locator("summary").click()
    expect(panel.locator(".cases-evidence li")).to_contain_text("Click me")
    assert panel.locator(".cases-evidence a").count() == 0  # a script is no address
    assert page.title() == "OOC Desk"
    assert page.locator('img[src="x"]').count() == 0


def test_cases_of_the_same_group_or_picture_lead_to_each_other(opened: Opened, cases_app: RunningApp) -> None:
    page = opened(cases_app, "?case=32")
    alike = page.locator(".cases-relative")
    expect(alike).to_contain_text(["same picture", "same group"])
    alike.last.locator("a").click()
    expect(page.locator(PANEL)).to_contain_text("Case 33")
    expect(page.locator(PANEL)).to_contain_text("This case has no picture.")
    assert page.url.endswith("?case=33")


# ---- by keyboard ----


def test_a_case_is_found_opened_followed_and_closed_by_keyboard_alone(page: Page) -> None:
    page.keyboard.press("/")
    page.keyboard.type("market square")
    expect(page.locator(COUNT)).to_have_text("30 cases")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    heading = page.locator(PANEL).get_by_role("heading", name="Case 29")
    expect(heading).to_be_focused()
    page.keyboard.press("j")
    expect(page.locator(PANEL)).to_contain_text("Case 28")
    page.keyboard.press("k")
    page.keyboard.press("k")
    expect(page.locator(PANEL)).to_contain_text("Case 30")
    page.keyboard.press("Escape")
    expect(page.locator(PANEL)).to_be_hidden()
    expect(rows(page).first).to_be_focused()


def test_moving_past_the_last_case_goes_to_the_next_page(page: Page) -> None:
    rows(page).last.focus()
    page.keyboard.press("j")
    expect(rows(page)).to_have_count(9)
    expect(rows(page).first).to_be_focused()
    page.keyboard.press("k")
    expect(rows(page)).to_have_count(24)
    expect(rows(page).last).to_be_focused()


def test_arrows_move_by_line_and_by_column(page: Page) -> None:
    columns = page.locator(".cases-list").evaluate(
        "list => getComputedStyle(list).gridTemplateColumns.split(' ').length"
    )
    assert columns > 1
    rows(page).first.focus()
    page.keyboard.press("ArrowDown")
    expect(rows(page).nth(columns)).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(rows(page).nth(columns - 1)).to_be_focused()


def test_keys_in_a_field_are_text_and_keys_of_another_tab_are_nothing(page: Page) -> None:
    page.keyboard.press("/")
    page.keyboard.type("j/k]l")
    expect(page.get_by_role("searchbox")).to_have_value("j/k]l")
    page.get_by_role("tab", name="Check").click()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name !== 'q'")


# ---- the frame ----


def test_another_tab_has_the_address_to_itself(page: Page) -> None:
    rows(page).first.click()
    expect(page.locator(PANEL)).to_contain_text("Case 33")
    page.get_by_role("tab", name="Check").click()
    expect(page).not_to_have_url(re.compile("case="))
    page.get_by_role("tab", name="Cases").click()
    expect(page).to_have_url(re.compile(r"\?case=33$"))
    expect(page.locator(PANEL)).to_contain_text("Case 33")


def test_the_list_does_not_move_while_its_pictures_come(opened: Opened, cases_app: RunningApp) -> None:
    page = opened(cases_app)
    held: list[object] = []
    page.route("**/desk/thumbs/**", lambda route: held.append(route))
    page.goto(f"{cases_app.url}/?q=town")
    expect(rows(page)).to_have_count(24)
    tops = "links => links.map(link => link.getBoundingClientRect().top)"
    before = rows(page).evaluate_all(tops)
    page.unroute("**/desk/thumbs/**")
    page.reload()
    page.wait_for_function("document.querySelector('.cases-thumb img')?.naturalWidth > 0")
    assert rows(page).evaluate_all(tops) == before
    sizes = page.locator(".cases-thumb img").first.evaluate(
        "image => [image.naturalWidth, image.clientWidth]"
    )
    assert sizes == [240, 112]


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (820, 1180)])
def test_the_tab_fits_its_window_without_scrolling(page: Page, width: int, height: int) -> None:
    page.set_viewport_size({"width": width, "height": height})
    fits = """() => { const html = document.documentElement;
        return html.scrollHeight <= innerHeight && html.scrollWidth <= innerWidth; }"""
    assert page.evaluate(fits)
    rows(page).first.click()
    expect(page.locator(PANEL)).to_contain_text("Case 33")
    assert page.evaluate(fits)


def test_a_desk_that_does_not_answer_is_said_to(opened: Opened, own_app: RunningApp) -> None:
    page = opened(own_app)
    expect(page.locator(COUNT)).to_have_text("4 cases")
    own_app.kill()
    page.get_by_label("State").select_option("settled")
    expect(page.locator(SAYS)).to_contain_text("The desk does not answer", timeout=30_000)
    own_app.start()
    page.get_by_label("State").select_option("conflict")
    expect(page.locator(CAPTION)).to_have_count(4)


# ---- what changes something ----


def test_a_ruling_is_asked_for_once_it_is_confirmed(
    opened: Opened, own_app: RunningApp, own_desk: Desk
) -> None:
    image = admit(drawn_picture(9), own_desk.images_dir)
    stored = NewImage(image.sha256, image.format, image.width, image.height, image.byte_size)
    agreed = NewCase("agreed", "All agree", stored, opinions=(NewOpinion("Teacher One", Answer.IN_CONTEXT),))
    with write_session(own_desk.sessions) as session:
        add_cases(session, "test", [agreed])
    page = opened(own_app, "?case=5")
    page.get_by_role("button", name="ask for a ruling").click()
    expect(page.locator(".cases-confirm")).to_contain_text("cannot be taken back")
    page.get_by_role("button", name="Leave it").click()
    expect(page.locator(".cases-confirm")).to_be_hidden()
    page.get_by_role("button", name="ask for a ruling").click()
    page.get_by_role("button", name="Ask for a ruling", exact=True).last.click()
    expect(page.locator(".cases-standing")).to_contain_text("a ruling was asked for")
    expect(page.get_by_role("button", name="ask for a ruling")).to_be_hidden()
    with own_desk.sessions() as session:
        assert session.scalars(sa.select(Request.case_id)).all() == [5]


def test_an_annotator_sees_waiting_cases_blind_and_cannot_import(
    opened: Opened, own_app: RunningApp, own_desk: Desk
) -> None:
    with write_session(own_desk.sessions) as session:
        ensure_annotator(session, "maria", Role.ANNOTATOR)
    settings = own_desk.data_dir / "settings.toml"
    settings.write_text(re.sub("annotator = .*", 'annotator = "maria"', settings.read_text()))
    own_app.kill()
    own_app.start()
    page = opened(own_app, "?case=2")
    expect(page.locator(PANEL)).to_contain_text("Shown blind, as in Adjudicate")
    expect(page.locator(".cases-who > b")).to_have_text(["A", "B", "C"])
    assert "Teacher One" not in page.locator(".cases-body").inner_html()
    expect(page.get_by_role("button", name="Import")).to_be_hidden()
    page.get_by_label("Teacher", exact=True).select_option("Teacher One")
    expect(page.locator(".cases-hidden")).to_contain_text("4 cases are left out here")


def test_a_file_is_looked_at_imported_and_what_came_of_it_is_there_after_a_reload(
    opened: Opened, own_app: RunningApp, own_desk: Desk, tmp_path: Path
) -> None:
    path = tmp_path / "wire.jsonl"
    lines = [{"caption": f"Caption {HOSTILE} {n}", "gold": "in_context"} for n in range(1_200)]
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"caption": ""}]))
    page = opened(own_app)
    expect(page.locator(COUNT)).to_have_text("4 cases")
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_label("file or folder on the desk's machine").fill("/nowhere/wire.jsonl")
    page.get_by_role("button", name="Look at the first rows").click()
    expect(page.locator(".cases-preview")).to_contain_text("There is no file /nowhere/wire.jsonl")
    expect(page.get_by_role("button", name="Import all")).to_be_disabled()
    page.get_by_label("or a file from here").set_input_files(path)
    expect(page.locator(SAYS)).to_contain_text("is on the desk's machine now")
    page.get_by_role("button", name="Look at the first rows").click()
    expect(page.locator(".cases-rows li")).to_have_count(5)
    expect(page.locator(".cases-preview .notice")).to_contain_text("gold: gold, in the desk's own words")
    page.get_by_role("button", name="Import all").click()
    expect(page.locator(".cases-result")).to_contain_text("1,200 new cases")
    expect(page.locator(".cases-lines")).to_contain_text("line 1201: caption is missing or empty")
    expect(page.locator(COUNT)).to_have_text("1,204 cases")
    page.reload()
    page.get_by_role("tab", name="Cases").click()
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.locator(".cases-result")).to_contain_text("1,200 new cases")
    page.get_by_role("button", name="Put away").click()
    expect(page.locator(".cases-result")).to_be_hidden()
    with own_desk.sessions() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Case)) == 1_204


def test_an_export_is_downloaded_and_removed(opened: Opened, own_app: RunningApp, own_desk: Desk) -> None:
    page = opened(own_app)
    page.get_by_role("button", name="Export", exact=True).click()
    page.get_by_label("preferences").check()
    expect(page.locator(".cases-form select[name=split]")).to_be_disabled()
    page.get_by_label("native").check()
    page.locator(".cases-form").get_by_role("button", name="Export").click()
    expect(page.locator(".cases-result")).to_contain_text("4 records of 4 cases are written")
    with page.expect_download() as started:
        page.locator(".cases-result .cases-download").click()
    lines = started.value.path().read_text().splitlines()
    assert len([json.loads(line) for line in lines]) == 4
    page.locator(".cases-earlier").get_by_role("button", name="Remove").click()
    expect(page.locator(".cases-earlier")).to_be_hidden()
    assert list((own_desk.data_dir / "exports").iterdir()) == []


def test_an_empty_desk_says_what_to_do_next(opened: Opened, tmp_path: Path) -> None:
    with open_desk(tmp_path / "data"), RunningApp(tmp_path / "data") as app:
        page = opened(app)
        expect(page.locator(".cases-empty")).to_contain_text("This desk has no cases yet")
        page.get_by_role("button", name="Import cases").click()
        expect(page.get_by_role("heading", name="Import cases")).to_be_focused()
