"""Whatever is done by keyboard is in the database as it was typed, or not at all."""
# ruff: noqa: RUF001 - letters of a Cyrillic keyboard are meant

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, Page, expect

from db.models import Ruling, Skip
from ooc_app.desk import Desk, open_desk
from tests.browser.at_page import (
    CAPTION,
    NOTE,
    SAYS,
    STRIP,
    case_on,
    chain,
    expect_case,
    go_on,
    press,
    pressed,
    rulings,
    verdicts,
)
from tests.browser.conftest import opened_page
from tests.browser.running_app import RunningApp, add_conflicts

VERDICTS = {"1": "in_context", "2": "out_of_context", "3": "unsure"}
REASONS = {"P": "person", "L": "place", "T": "time", "E": "event", "O": "object", "H": "other"}


@dataclass
class Said:
    """What was typed of one case."""

    best: str | None = None
    elements: set[str] = field(default_factory=set)
    flagged: bool = False
    note: str = ""

    def shown(self) -> dict[str, object]:
        """The same as the page shows it."""
        elements = sorted(self.elements)
        return {"best": self.best, "elements": elements, "flagged": self.flagged, "note": self.note}


class Typist:
    """Rules at random, and remembers what was typed."""

    def __init__(self, page: Page, seed: int) -> None:
        self.page = page
        self.dice = random.Random(seed)
        self.drafts: dict[int, Said] = {}  # by case
        self.ruled: list[tuple[int, str, Said]] = []  # what stands, in order
        self.skipped: list[int] = []
        self.withdrawn = 0

    def say_something(self) -> None:
        """Say what belongs to a ruling before its verdict."""
        said = self.drafts.setdefault(case_on(self.page), Said())
        if self.dice.random() < 0.6:
            letter = self.dice.choice("ABC")
            self.page.keyboard.press(letter.lower())
            said.best = None if said.best == letter else letter
        for key in self.dice.sample(sorted(REASONS), self.dice.choice((0, 0, 1, 2, 6))):
            self.page.keyboard.press(f"Shift+{key}")
            said.elements ^= {REASONS[key]}
        if self.dice.random() < 0.2:
            self.page.keyboard.press("f")
            said.flagged = not said.flagged
        if self.dice.random() < 0.2:
            self.page.keyboard.press("n")
            typed = f"123 zs? {self.dice.random()} "
            self.page.keyboard.type(typed)
            self.page.keyboard.press(self.dice.choice(("Enter", "Escape")))
            said.note += typed
        if self.dice.random() < 0.2:
            assert pressed(self.page) == said.shown()

    def go_on(self) -> None:
        """Rule, or skip the case, or undo the ruling before."""
        chance = self.dice.random()
        if chance < 0.08:
            self.skipped.append(go_on(self.page, "s"))
        elif chance < 0.16 and self.ruled and self.withdrawn < len(self.ruled):
            case, _, said = self.ruled.pop()
            go_on(self.page, "z")
            assert case_on(self.page) == case
            self.drafts[case] = said
            self.withdrawn += 1
        else:
            key = self.dice.choice("123")
            case = go_on(self.page, key)
            self.ruled.append((case, VERDICTS[key], self.drafts.pop(case)))


def as_typed(ruling: Ruling) -> tuple[int, str, dict[str, object]]:
    """A ruling in the words of the typist."""
    seen = ruling.shown or []
    letter = None if ruling.opinion_id is None else "ABC"[seen.index(ruling.opinion_id)]
    elements = {str(one) for one in ruling.elements}
    return ruling.case_id, str(ruling.verdict), Said(letter, elements, ruling.flagged, ruling.note).shown()


def type_and_compare(page: Page, desk: Desk, count: int, seed: int) -> None:
    first = case_on(page)
    with desk.sessions() as session:
        before = session.scalar(sa.select(sa.func.max(Ruling.id))) or 0
    typist = Typist(page, seed)
    while len(typist.ruled) < count:
        typist.say_something()
        typist.go_on()
    standing = rulings(desk, first)
    assert [as_typed(one) for one in standing] == [(n, v, said.shown()) for n, v, said in typist.ruled]
    assert len({one.case_id for one in standing}) == count
    with desk.sessions() as session:
        skips = session.scalars(sa.select(Skip.case_id).where(Skip.case_id >= first)).all()
        made = session.scalars(sa.select(Ruling.id).where(Ruling.id > before)).all()
    assert len(made) == count + 2 * typist.withdrawn  # the ruling and its withdrawal, each once
    assert sorted(skips) == sorted(typist.skipped)
    assert typist.skipped
    assert typist.withdrawn


def test_forty_rulings_typed_at_random_are_in_the_database_as_typed(page: Page, shared_desk: Desk) -> None:
    type_and_compare(page, shared_desk, 40, seed=7)


@pytest.fixture
def long_desk(tmp_path: Path) -> Iterator[Desk]:
    """Give a desk with as many conflicts as the long run rules on or skips."""
    with open_desk(tmp_path / "data") as desk:
        add_conflicts(desk, 300)
        yield desk


@pytest.mark.soak
def test_two_hundred_rulings_typed_at_random_are_in_the_database_as_typed(
    browser: Browser, long_desk: Desk
) -> None:
    with RunningApp(long_desk.data_dir) as app:
        for page in opened_page(browser, app):
            type_and_compare(page, long_desk, 200, seed=11)


def test_keys_pressed_faster_than_the_desk_answers_rule_once_each_or_not_at_all(
    page: Page, shared_desk: Desk
) -> None:
    first = case_on(page)
    for key in "2131231":
        page.keyboard.press(key)
    page.wait_for_selector(".adj[aria-busy=false]")
    last = case_on(page)
    assert first < last <= first + 7
    assert sorted(verdicts(shared_desk, first)) == list(range(first, last))
    assert [len(chain(shared_desk, case)) for case in range(first, last)] == [1] * (last - first)
    assert verdicts(shared_desk, first)[first] == "out_of_context"


# ---- keys that are none ----


def send(page: Page, key: str, code: str, **modifiers: bool) -> None:
    """Send a key as a keyboard of another layout does."""
    page.evaluate(
        """([key, code, modifiers]) => document.body.dispatchEvent(
        new KeyboardEvent('keydown', { key, code, bubbles: true, cancelable: true, ...modifiers }))""",
        [key, code, modifiers],
    )


def test_held_keys_keys_of_the_system_and_keys_of_an_open_dialog_do_nothing(
    page: Page, shared_desk: Desk
) -> None:
    first = case_on(page)
    nothing: dict[str, object] = {"best": None, "elements": [], "flagged": False, "note": ""}
    for modifier in ("ctrlKey", "altKey", "metaKey"):
        for key, code in (("1", "Digit1"), ("s", "KeyS"), ("f", "KeyF"), ("a", "KeyA"), ("z", "KeyZ")):
            send(page, key, code, **{modifier: True})
    send(page, "2", "Digit2", repeat=True)
    send(page, "2", "Digit2", isComposing=True)
    for opener, dialog in (("?", ".adj-help"), ("g", ".adj-guidelines")):
        page.keyboard.press(opener)
        expect(page.locator(dialog)).to_be_visible()
        for key in ("1", "s", "f", "b", "Shift+P", "z"):
            page.keyboard.press(key)
        page.keyboard.press("Escape")
        expect(page.locator(dialog)).to_be_hidden()
    assert case_on(page) == first
    assert pressed(page) == nothing
    page.keyboard.down("f")
    for _ in range(5):
        page.keyboard.down("f")
    page.keyboard.up("f")
    page.keyboard.press("9")
    page.keyboard.press("x")
    assert pressed(page) == {**nothing, "flagged": True}
    page.keyboard.press("d")
    expect(page.locator(SAYS)).to_have_text("There is no rationale D.")
    assert verdicts(shared_desk, first) == {}


def test_a_field_takes_every_key_and_escape_leaves_it(page: Page, shared_desk: Desk) -> None:
    first = case_on(page)
    page.keyboard.press("b")
    page.keyboard.press("r")
    page.keyboard.press("Control+a")
    page.keyboard.type("123 szfgmk?PL+-0")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Escape")
    expect(page.locator(".adj-rationale")).not_to_be_focused()
    page.keyboard.press("n")
    page.keyboard.type("321 Szf")
    assert page.locator(".adj-rationale").input_value() == "123 szfgmk?PL+-0"
    page.keyboard.press("Escape")
    assert verdicts(shared_desk, first) == {}
    press(page, "1", first + 1)
    (ruling,) = rulings(shared_desk, first)
    assert (ruling.rationale, ruling.note, ruling.flagged) == ("123 szfgmk?PL+-0", "321 Szf", False)


def test_caps_lock_and_a_cyrillic_keyboard_change_nothing(page: Page) -> None:
    send(page, "B", "KeyB")  # caps lock: a capital without Shift
    assert pressed(page)["best"] == "B"
    send(page, "ф", "KeyA")
    assert pressed(page)["best"] == "A"
    send(page, "З", "KeyP", shiftKey=True)
    send(page, "l", "KeyL", shiftKey=True)  # caps lock and Shift: a small letter
    assert pressed(page)["elements"] == ["person", "place"]
    send(page, "а", "KeyF")
    assert pressed(page)["flagged"] is True
    before = case_on(page)
    send(page, "ы", "KeyS")
    expect_case(page, before + 1)
    send(page, "Ы", "KeyS")
    expect_case(page, before + 2)


# ---- what is looked at ----


def test_arrows_go_through_the_strip_and_enter_opens_a_ruling(page: Page) -> None:
    first = case_on(page)
    for number in range(first + 1, first + 4):
        press(page, "1", number)
    strip = page.locator(f"{STRIP} button")
    for key, at in (("ArrowRight", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1)):
        page.keyboard.press(key)
        expect(strip.nth(at)).to_be_focused()
    focused = strip.nth(1).get_attribute("aria-label") or ""
    press(page, "1", first + 4)
    expect(strip.nth(2)).to_have_attribute("aria-label", focused)  # the same ruling, which is third by now
    expect(strip.nth(2)).to_be_focused()
    page.keyboard.press("Enter")
    expect_case(page, first + 1)
    page.keyboard.press("Escape")
    expect_case(page, first + 4)


def test_m_steps_through_the_marks_and_lights_caption_and_rationales_alike(page: Page) -> None:
    page.keyboard.press("m")
    page.wait_for_selector(".adj-mark:focus")
    points = set(page.locator(".adj-mark:focus").get_attribute("data-points") or "")
    lit = page.locator(".adj-mark[data-lit=true]")
    assert page.locator(f"{CAPTION} [data-lit=true]").count()
    assert page.locator(".adj-card [data-lit=true]").count()
    for one in lit.all():
        assert set(one.get_attribute("data-points") or "") & points
    assert page.locator(CAPTION).inner_text().count("Town") == 1  # marks leave the text as it is
    page.locator(".adj-mark:focus").evaluate("mark => mark.blur()")
    expect(lit).to_have_count(0)


def test_the_picture_is_zoomed_moved_turned_and_lit_and_the_next_is_fitted(page: Page) -> None:
    image = page.locator(".adj-img")

    def placed() -> tuple[str, str]:
        transform, light = image.evaluate("image => [image.style.transform, image.style.filter]")
        return transform, light

    fitted = ("", "")
    assert placed() == fitted
    page.keyboard.press("Shift+ArrowRight")  # nothing to see beyond a picture that is shown whole
    assert placed() == fitted
    steps = ("+", "Shift+ArrowRight", "Shift+ArrowDown", "-", "=", "t", "l")
    seen = [placed()]
    for key in steps:
        page.keyboard.press(key)
        assert placed() != seen[-1], key
        seen.append(placed())
    page.keyboard.press("0")
    assert placed() == fitted
    for _ in range(4):
        page.keyboard.press("t")
        page.keyboard.press("l")
    assert placed() == fitted
    page.mouse.dblclick(100, 260)
    assert "scale(3)" in placed()[0]
    page.mouse.dblclick(100, 260)
    assert placed() == fitted
    page.mouse.wheel(0, -400)
    expect(page.locator(".adj-picture")).to_have_attribute("data-zoomed", "true")
    before = placed()
    page.mouse.down()
    page.mouse.move(150, 260, steps=3)
    page.mouse.up()
    assert placed() != before
    page.get_by_role("button", name="turn by a quarter").click()
    assert "rotate(90deg)" in placed()[0]
    page.keyboard.press("l")
    go_on(page, "1")
    assert placed() == fitted


def test_e_opens_the_evidence_and_the_next_case_has_it_closed(page: Page) -> None:
    box = page.locator(".adj-evidence")
    page.keyboard.press("e")
    expect(box).to_have_attribute("open", "")
    go_on(page, "2")
    expect(box).not_to_have_attribute("open", "")
    page.locator(NOTE).focus()
    page.keyboard.press("e")
    expect(box).not_to_have_attribute("open", "")
