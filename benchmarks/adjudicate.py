"""Milliseconds from a key press to the next case painted, in a browser, on a desk of demo cases.

python benchmarks/adjudicate.py [--json] [--cases 10000] [--rulings 200] [--cache FOLDER]

What is timed runs from the browser's own time stamp of the key press to the frame after the next
caption stands on the page and its picture is decoded. The desk is drawn once and kept in the cache.
"""

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script finds its own folder only

from playwright.sync_api import Page, sync_playwright

from benchmarks.processes import free_port, server
from benchmarks.report import Figure, figure, percentile, show
from ooc_app import demo
from ooc_app.desk import open_desk

PROJECT: Final = Path(__file__).resolve().parents[1]
ARGUMENTS: Final = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
GOAL: Final = "<= 50"
KEYS: Final = ("1", "2", "3")
THINKS: Final = (500, 1_000)  # ms a person looks at a case here, from and to; the next one loads meanwhile

WATCH: Final = """() => {
  const caption = document.querySelector('.adj-caption'), picture = document.querySelector('.adj-img');
  window.taken = [];
  let pressed = 0;
  document.addEventListener('keydown', (event) => (pressed = event.timeStamp), true);
  new MutationObserver(async () => {
    const since = pressed;
    if (!since) return;
    pressed = 0;
    await picture.decode();
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => window.taken.push(performance.now() - since);
      channel.port2.postMessage(0);
    });
  }).observe(caption, { childList: true, characterData: true, subtree: true });
}"""


def main() -> None:
    """Rule by keyboard and print how long each next case took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--rulings", type=int, default=200)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "ooc-desk-benchmarks")
    given = parser.parse_args()
    drawn = given.cache / f"demo-{given.cases}"
    if not (drawn / "demo.json").exists() or '"done": false' in (drawn / "demo.json").read_text():
        print(f"drawing {given.cases:,} demo cases", file=sys.stderr)
        with open_desk(drawn) as desk:
            demo.fill(desk, size=demo.DemoSize(train=given.cases, validation=0, test=0))
    with tempfile.TemporaryDirectory(dir=given.cache) as folder:
        data_dir = Path(folder) / "data"
        shutil.copytree(drawn, data_dir)
        figures = _measured(data_dir, given.rulings)
    show("adjudicate", ["gradio", "playwright"], figures, as_json=given.json)


def _measured(data_dir: Path, rulings: int) -> list[Figure]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "app.py", "--data", str(data_dir), "--port", str(port)]
    with (
        server(command, data_dir.parent / "page.log", answers=url, cwd=PROJECT),
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(url)
        page.wait_for_selector(".adj[data-state=case]")
        page.evaluate(WATCH)
        taken = _rule(page, rulings)
        browser.close()
    return [
        figure("key press to next case, p50", percentile(taken, 0.5), "ms"),
        figure("key press to next case, p95", percentile(taken, 0.95), "ms", GOAL),
        figure("key press to next case, slowest", max(taken), "ms"),
        figure("rulings", len(taken), "rulings", f"= {rulings}"),
    ]


def _rule(page: Page, rulings: int) -> list[float]:
    drawn = random.Random(0)
    for made in range(rulings):
        page.wait_for_timeout(drawn.uniform(*THINKS))
        page.keyboard.press(drawn.choice(KEYS))
        page.wait_for_function("made => window.taken.length > made", arg=made, timeout=10_000)
    taken: list[float] = page.evaluate("() => window.taken")
    return taken


if __name__ == "__main__":
    main()
