"""Several people at one desk: nobody gets what is another's, and nobody is told who before they ruled."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Response, expect

from db.vocabulary import Role
from ooc_app.desk import Desk, open_desk
from tests.browser.at_page import (
    CAPTION,
    SAYS,
    STRIP,
    case_on,
    chain,
    expect_case,
    go_on,
    press,
    rulings,
    sign_in,
)
from tests.browser.running_app import RunningApp, add_conflicts, add_people

TEACHERS = ("Teacher One", "Teacher Two", "Teacher Three")
EMPTY, SPLIT = ".adj[data-state=empty]", ".adj[data-state=split]"
SignIn = Callable[[RunningApp, str], Page]


@pytest.fixture
def comes(browser: Browser) -> Iterator[SignIn]:
    """Give a function by which somebody signs in at a browser of their own."""
    windows = []

    def at(app: RunningApp, name: str) -> Page:
        windows.append(browser.new_context(viewport={"width": 1280, "height": 800}))
        windows[-1].set_default_timeout(20_000)
        return sign_in(windows[-1], app, name)

    yield at
    for window in windows:
        window.close()


def people_at(folder: Path, cases: int, second_opinions: float) -> Iterator[tuple[Desk, RunningApp]]:
    with open_desk(folder / "data") as desk:
        roles = {"Anahit": Role.ANNOTATOR, "Benedikt": Role.ANNOTATOR, "Iphigenia": Role.ADJUDICATOR}
        add_people(desk, second_opinions, Verena=Role.EDITOR, **roles)
        add_conflicts(desk, cases)
        with RunningApp(desk.data_dir) as app:
            yield desk, app


@pytest.fixture
def single(tmp_path: Path) -> Iterator[tuple[Desk, RunningApp]]:
    """Give a desk of twelve cases that one person each rules on."""
    yield from people_at(tmp_path, 12, 0)


@pytest.fixture
def double(tmp_path: Path) -> Iterator[tuple[Desk, RunningApp]]:
    """Give a desk of four cases that two people rule on."""
    yield from people_at(tmp_path, 4, 1)


def names_in(page: Page, *names: str) -> list[str]:
    """Those of the names that the page has anywhere, shown or not."""
    everything = page.locator("#adjudicate").inner_html()
    return [name for name in names if name in everything]


def listened(page: Page) -> list[str]:
    """Collect what the desk answers from now on."""
    heard: list[str] = []

    def hear(answer: Response) -> None:
        if "component_server" in answer.url:
            heard.append(answer.text())

    page.on("response", hear)
    return heard


def test_two_people_never_have_the_same_case_and_an_undo_or_a_sign_out_is_ones_own(
    single: tuple[Desk, RunningApp], comes: SignIn
) -> None:
    desk, app = single
    anahit, benedikt = comes(app, "Anahit"), comes(app, "Benedikt")
    for page, colleague in ((anahit, "Benedikt"), (benedikt, "Anahit")):
        assert names_in(page, *TEACHERS, colleague, "Iphigenia", "Verena") == []
    people = {anahit: 2, benedikt: 3}  # by the order in which they were added
    by: dict[int, Page] = {}
    for page in (anahit, benedikt, benedikt, anahit, benedikt, anahit):
        assert case_on(anahit) != case_on(benedikt)
        by[go_on(page, "2")] = page
        assert case_on(anahit) != case_on(benedikt)
    assert len(by) == 6
    ids = {one.case_id: one.annotator_id for one in rulings(desk)}
    assert [ids[case] for case in by] == [people[page] for page in by.values()]

    shown = case_on(benedikt)
    last = [case for case, page in by.items() if page is anahit][-1]
    press(anahit, "z", last)
    assert case_on(benedikt) == shown
    expect(benedikt.locator(STRIP)).to_have_count(3)
    assert sorted(one.case_id for one in rulings(desk)) == sorted(set(by) - {last})
    benedikt.keyboard.press("z")
    expect(anahit.locator(CAPTION)).to_contain_text(f"Town {last}. ")
    expect(benedikt.locator(SAYS)).to_contain_text("withdrawn")

    anahit.get_by_role("button", name="sign out").click()
    expect(anahit).to_have_title("Sign in · OOC Desk")
    rule_on_all(benedikt, "1")
    assert [one.case_id for one in sorted(rulings(desk), key=lambda one: one.case_id)] == [*range(1, 13)]


def rule_on_all(page: Page, key: str) -> None:
    """Rule alike on everything the desk has for this person."""
    while page.locator(EMPTY).count() == 0:
        before = page.locator(CAPTION).inner_text()
        page.keyboard.press(key)
        page.wait_for_function(
            "before => document.querySelector('.adj-caption').innerText !== before"
            " || document.querySelector('.adj').dataset.state === 'empty'",
            arg=before,
        )


def split_all(anahit: Page, benedikt: Page) -> None:
    """Let two people rule on everything, each otherwise than the other."""
    rule_on_all(anahit, "1")
    rule_on_all(benedikt, "2")
    anahit.get_by_role("button", name="Look again").click()
    anahit.wait_for_selector(".adj[data-state=case]")
    rule_on_all(anahit, "1")


def test_split_rulings_are_settled_blind_or_sent_back_and_looked_at_again(
    double: tuple[Desk, RunningApp], comes: SignIn
) -> None:
    desk, app = double
    anahit, benedikt = comes(app, "Anahit"), comes(app, "Benedikt")
    split_all(anahit, benedikt)
    assert len(rulings(desk)) == 8
    judge = comes(app, "Iphigenia")
    settle_one(judge, desk)
    agreed, stood = send_back(judge, "Look at the tower"), send_back(judge, "")
    left = case_on(judge)
    for page in (anahit, benedikt):
        page.reload()
        expect(page.locator(".adj-returned")).to_have_count(2)
        expect(page.locator(".adj-returned").first).to_contain_text("Sent back to you: look again")
    look_again(anahit, agreed, "2", "An adjudicator asks you to look again: Look at the tower")
    look_again(benedikt, agreed, "2", "Look at the tower")
    look_again(anahit, stood, "1", "colleagues ruled otherwise")
    expect(judge.locator(CAPTION)).to_contain_text(f"Town {left}. ")
    look_again(benedikt, stood, "2", "colleagues ruled otherwise")
    for page in (anahit, benedikt):
        expect(page.locator(".adj-returned")).to_have_count(0)
    go_on(judge, "2")
    expect_case(judge, stood)
    expect(judge.locator(".adj-ruling")).to_have_count(2)
    judge.keyboard.press("3")
    judge.wait_for_selector(EMPTY)
    standing = {case: [one for one in rulings(desk) if one.case_id == case] for case in (agreed, stood)}
    assert {one.verdict for one in standing[agreed]} == {"out_of_context"}
    assert sorted((str(one.verdict), one.settles) for one in standing[stood]) == [
        ("in_context", False),
        ("out_of_context", False),
        ("unsure", True),
    ]


def settle_one(judge: Page, desk: Desk) -> None:
    """Settle a split without knowing whose it is; then it is told."""
    judge.wait_for_selector(SPLIT)
    heard = listened(judge)
    judge.reload()
    judge.wait_for_selector(SPLIT)
    case = case_on(judge)
    expect(judge.locator(".adj-ruling .adj-letter")).to_have_text(["Person 1", "Person 2"])
    expect(judge.locator(".adj-ruling .chip")).to_contain_text(["context", "context"])
    assert names_in(judge, *TEACHERS, "Anahit", "Benedikt") == []
    assert heard
    for name in (*TEACHERS, "Anahit", "Benedikt"):
        assert not any(name in answer for answer in heard)
    for place, cause in ((1, "ambiguous_caption"), (3, "slip"), (5, "judgement"), (2, "guideline_gap")):
        judge.keyboard.press(f"Shift+Digit{place}")
        expect(judge.locator(".adj-causes [aria-pressed=true]")).to_have_attribute("data-cause", cause)
    go_on(judge, "1")
    expect(judge.locator(SAYS)).to_contain_text("the case is settled")
    told = judge.locator(STRIP).first.locator(".adj-reveal")
    expect(told).to_contain_text("Anahit: in context")
    expect(told).to_contain_text("Benedikt: out of context")
    last = chain(desk, case)[-1]
    assert (last.settles, last.cause, last.verdict) == (True, "guideline_gap", "in_context")


def test_a_second_opinion_is_given_without_knowing_the_first(
    double: tuple[Desk, RunningApp], comes: SignIn
) -> None:
    desk, app = double
    anahit, benedikt = comes(app, "Anahit"), comes(app, "Benedikt")
    heard = listened(benedikt)
    for key in ("b", "n"):
        anahit.keyboard.press(key)
    anahit.keyboard.type("a tower that fell in 2019")
    anahit.keyboard.press("Enter")
    rule_on_all(anahit, "1")
    seen = []
    for case in (go_on(benedikt, "2"), go_on(benedikt, "2")):
        seen.append(case)  # they were his from the start
    benedikt.wait_for_selector(".adj[data-state=case]")
    second = case_on(benedikt)
    assert [one.annotator_id for one in chain(desk, second)] == [2]
    benedikt.reload()
    expect_case(benedikt, second)
    before_his_ruling = f"Town {second}. "
    about = [answer for answer in heard if before_his_ruling in answer]
    assert about
    for answer in about:
        assert "a tower that fell" not in answer
        assert "Anahit" not in answer
    benedikt.keyboard.press("1")
    expect(benedikt.locator(".adj-reveal").first).to_contain_text("Anahit: in context")


def send_back(judge: Page, note: str) -> int:
    """Send the case on screen back, wait for the next one, and return its number."""
    sent = case_on(judge)
    judge.keyboard.press("k")
    judge.locator("#adj-back-note").fill(note)
    judge.get_by_role("button", name="Send back", exact=True).click()
    expect(judge.locator(SAYS)).to_have_text("Sent back to 2 people.")
    expect(judge.locator(CAPTION)).not_to_contain_text(f"Town {sent}. ")
    expect(judge.locator("#adj-back-note")).to_have_value("")
    return sent


def look_again(page: Page, case: int, verdict: str, told: str) -> None:
    """Open the oldest ruling that was sent back, and rule again."""
    before = page.locator(".adj-returned").count()
    page.keyboard.press("k")
    expect_case(page, case)
    expect(page.locator(".adj-notice")).to_contain_text(told)
    page.keyboard.press(verdict)
    expect(page.locator(SAYS)).to_contain_text("it replaces ruling")
    expect(page.locator(".adj-returned")).to_have_count(before - 1)
