import csv
import io
import zipfile
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.running_app import HOSTILE, RunningApp, drawn_picture


def week(path: Path) -> Path:
    """An archive of six pictures with their captions, of which the fourth is none."""
    table = io.StringIO()
    rows = csv.writer(table)
    rows.writerow(["Image", "Caption"])
    with zipfile.ZipFile(path, "w") as packed:
        for number in range(1, 7):
            rows.writerow([f"{number}.jpg", f"Flood water covers Town {number}. {HOSTILE}"])
            packed.writestr(f"{number}.jpg", b"no picture" if number == 4 else drawn_picture(number))
        packed.writestr("table.csv", table.getvalue())
    return path


def open_many(page: Page) -> None:
    page.get_by_role("tab", name="Check").click()
    summary = page.locator(".many > summary")
    expect(summary).to_be_visible()
    if page.locator(".many").get_attribute("open") is None:
        summary.click()


def test_an_archive_is_checked_sorted_and_downloaded(
    own_page: Page, own_app: RunningApp, tmp_path: Path
) -> None:
    page = own_page
    open_many(page)
    expect(page.locator(".many")).to_contain_text("No batch yet")
    page.locator(".many input[type=file]").set_input_files(week(tmp_path / "week.zip"))
    page.get_by_label("verdicts only").check()
    page.locator(".many").get_by_role("button", name="Start").click()
    expect(page.locator(".many-going, .many-head").first).to_be_visible()
    page.reload()  # it goes on without the page, which finds it again
    open_many(page)
    table = page.locator(".many-table")
    expect(page.locator(".many-head")).to_contain_text("1 refused", timeout=60_000)
    expect(table.locator("a")).to_have_count(5, timeout=60_000)
    expect(table.locator("tr.many-refused")).to_contain_text("refused: ")
    expect(page.locator(".many-going")).to_have_count(0)
    assert page.title() != "broken"

    page.get_by_role("button", name="probability").focus()
    page.keyboard.press("Enter")
    head = page.get_by_role("columnheader", name="probability")
    expect(head).to_have_attribute("aria-sort", "descending")
    shown = [
        float(text) for text in table.locator("tbody tr:not(.many-refused) td:nth-child(5)").all_inner_texts()
    ]
    assert shown == sorted(shown, reverse=True)
    assert page.evaluate("document.activeElement.dataset.order") == "probability"
    link = table.locator("a").first
    assert str(link.get_attribute("href")).startswith("/?check=")
    report = page.request.get(own_app.url + str(link.get_attribute("href")))
    assert report.status == 200
    assert "Flood water covers Town" in report.text()

    with page.expect_download() as waiting:
        page.locator(".many").get_by_role("link", name="CSV").click()
    rows = list(csv.DictReader(io.StringIO(waiting.value.path().read_text(encoding="utf-8-sig"))))
    assert [row["number"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert [bool(row["refused"]) for row in rows].index(True) == 3
    page.get_by_role("button", name="refused").click()
    expect(table.locator("tbody tr")).to_have_count(1)

    assert [one["id"] for one in Axe().run(page).response["violations"]] == []
    page.set_viewport_size({"width": 390, "height": 800})
    page.get_by_role("button", name="all").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
