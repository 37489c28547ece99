"""The whole page with a serving of the test's own: in this process without a port, or as a process with one.

python -m tests.ooc_app.served DATA PORT MODULE:SERVING
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from fastapi.testclient import TestClient
from gradio.routes import App

from ooc_app.desk import Desk, open_desk
from ooc_app.page import build_page, launch_options
from ooc_app.serving import Serving
from tests.browser.running_app import PROJECT_DIR, SECONDS_TO_START

FIXED = "tests.ooc_app.checks.fixed:FixedServing"
REAL = "ooc_app.serving:Serving"


@contextmanager
def program(desk: Desk, serving: Serving, host: str = "127.0.0.1:7860") -> Iterator[TestClient]:
    """Give a program on this machine, before a desk's whole page, which it calls by this host."""

    async def app() -> App:  # Gradio leaves a loop of its own open where none runs
        page, options = build_page(desk, serving), launch_options(desk)
        door = {name: options[name] for name in ("app_kwargs", "auth_dependency") if name in options}
        return App.create_app(page, mcp_server=options["mcp_server"], **door)

    with TestClient(asyncio.run(app()), base_url=f"http://{host}", client=("127.0.0.1", 5)) as client:
        yield client


@contextmanager
def served(data_dir: Path, serving: str, **settings: str) -> Iterator[str]:
    """Serve a desk's page on a free port of this machine; give its address, without a slash at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "tests.ooc_app.served", str(data_dir), str(port), serving]
    log = data_dir.parent / f"{data_dir.name}-{port}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=PROJECT_DIR, stdout=out, stderr=out, env={**os.environ, **settings}
        )
    try:
        _wait(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(30)


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except urllib.error.URLError:
            time.sleep(0.1)
    raise RuntimeError(log.read_text(errors="replace"))


def main() -> None:
    """Serve until killed."""
    data_dir, port, serving = sys.argv[1:]
    module, _, name = serving.partition(":")
    with open_desk(Path(data_dir)) as desk:
        page = build_page(desk, getattr(import_module(module), name)(*([desk] if serving == REAL else [])))
        page.launch(server_name="127.0.0.1", server_port=int(port), **launch_options(desk))


if __name__ == "__main__":
    main()
