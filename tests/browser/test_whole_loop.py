"""From conflicts to a promoted student and its answer, by keyboard and mouse, on the shipped student."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, Page, expect

from db.models import Case, Check, Event, Promotion, Ruling, Run, is_current
from ooc_app import demo
from ooc_app.desk import Desk, open_desk
from ooc_app.intake.images import stored_path
from tests.browser.conftest import opened_page
from tests.browser.running_app import RunningApp

MINUTES = 60_000


@pytest.fixture
def demo_desk(tmp_path: Path) -> Iterator[Desk]:
    """Give a demo desk of eighty training cases."""
    with open_desk(tmp_path / "data") as desk:
        demo.fill(desk, size=demo.DemoSize(train=80, validation=8, test=16))
        yield desk


@pytest.fixture
def demo_page(browser: Browser, demo_desk: Desk) -> Iterator[Page]:
    with RunningApp(demo_desk.data_dir) as app:
        yield from opened_page(browser, app)


def rule_on_screen(page: Page, key: str) -> None:
    before = page.locator(".adj-caption").inner_text()
    page.keyboard.press(key)
    expect(page.locator(".adj-caption")).not_to_have_text(before)


@pytest.mark.slow
def test_rule_undo_distil_promote_and_check(demo_page: Page, demo_desk: Desk) -> None:
    for key in "212":
        rule_on_screen(demo_page, key)
    rule_on_screen(demo_page, "z")

    demo_page.get_by_role("tab", name="Distil").click()
    demo_page.locator("#distil-steps input").fill("3")
    demo_page.locator("#distil-start").click()
    run = demo_page.locator(".run")
    expect(run).to_have_attribute("data-status", "complete", timeout=4 * MINUTES)
    name = str(run.get_attribute("data-run"))
    expect(demo_page.locator(".report")).to_contain_text("student, stage 2")
    demo_page.locator("#distil-promote").click()
    expect(demo_page.locator(".run-head")).to_contain_text("served")

    with demo_desk.sessions() as session:
        case = session.scalars(sa.select(Case).where(Case.split == "test")).first()
        assert case is not None
        assert case.image_sha256 is not None
    demo_page.get_by_role("tab", name="Check").click()
    picture = stored_path(case.image_sha256, demo_desk.images_dir).read_bytes()
    demo_page.locator("#check-picture input[type=file]").set_input_files(
        {"name": "suspect.jpg", "mimeType": "image/jpeg", "buffer": picture}
    )
    demo_page.locator("#check-caption textarea").fill(case.caption)
    demo_page.locator("#check-button").click()
    expect(demo_page.locator("#check-panel .answer")).to_be_visible(timeout=2 * MINUTES)
    expect(demo_page.locator("#check-panel")).to_contain_text("probability")

    with demo_desk.sessions() as session:
        made = session.scalars(sa.select(Ruling).order_by(Ruling.id)).all()
        standing = session.scalars(sa.select(Ruling.verdict).where(is_current()).order_by(Ruling.id)).all()
        assert [ruling.verdict for ruling in made] == ["out_of_context", "in_context", "out_of_context", None]
        assert standing == ["out_of_context", "in_context"]
        runs = session.scalars(sa.select(Run)).all()
        assert [(one.name, one.rulings) for one in runs] == [(name, 2)]
        assert session.scalars(sa.select(Promotion.run_id)).all() == [runs[0].id]
        assert "promote" in session.scalars(sa.select(Event.action)).all()
    for _ in range(50):
        with demo_desk.sessions() as session:
            checks = session.scalars(sa.select(Check)).all()
        if checks:
            break
        demo_page.wait_for_timeout(200)
    (check,) = checks
    assert (check.caption, check.image_sha256) == (case.caption, case.image_sha256)
    assert check.student == f"runs/{name}"
