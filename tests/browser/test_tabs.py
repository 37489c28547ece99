from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Page, expect


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()
    expect(page.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")


def test_a_check_without_a_picture_or_a_caption_says_what_is_missing(page: Page, tmp_path: Path) -> None:
    open_tab(page, "Check")
    page.locator("#check-button").click()
    expect(page.locator("#check-panel")).to_contain_text("Add a picture first")


def test_a_file_that_is_no_picture_is_refused_in_the_page(page: Page, tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("This is no picture.")
    open_tab(page, "Check")
    page.locator("#check-picture input[type=file]").set_input_files(text)
    page.locator("#check-caption textarea").fill("Flood water covers the square.")
    expect(page.locator("#check-picture img")).to_be_attached()
    page.locator("#check-button").click()
    expect(page.locator("#check-panel .notice")).to_contain_text("picture")


def test_a_picture_is_shown_with_what_it_carries_and_without_barriers(page: Page, tmp_path: Path) -> None:
    picture = tmp_path / "picture.jpg"
    exif = Image.Exif()
    exif[0x0110] = "Camera <b>"
    Image.effect_noise((320, 240), 80).convert("RGB").save(picture, exif=exif)
    open_tab(page, "Check")
    page.locator("#check-picture input[type=file]").set_input_files(picture)
    page.locator("#check-caption textarea").fill("Flood water covers the square.")
    expect(page.locator("#check-picture img")).to_be_attached()
    page.locator("#check-button").click()
    said = page.locator("#check-provenance")
    expect(said).to_contain_text("Camera <b>", timeout=30_000)
    expect(said).to_contain_text("absence proves nothing")
    expect(said.get_by_role("link", name="Google Lens")).to_have_attribute("rel", "noopener noreferrer")
    expect(page.locator(".answer[aria-busy=false]")).to_be_visible(timeout=60_000)
    expect(page.locator("#check-panel .notice").last).to_contain_text("This student is untouched")
    assert [one["id"] for one in Axe().run(page).response["violations"]] == []


def test_a_run_without_anything_to_learn_from_is_refused_in_the_page(own_page: Page) -> None:
    open_tab(own_page, "Distil")
    expect(own_page.locator("#distil-summary")).to_contain_text("training cases")
    expect(own_page.locator("#distil-panel")).to_contain_text("No distillation yet")
    own_page.locator("#distil-start").click()
    expect(own_page.locator("#distil-notice .warning")).to_be_visible()
    expect(own_page.locator("#distil-stop")).to_be_disabled()
