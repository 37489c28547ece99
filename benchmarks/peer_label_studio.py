"""Label Studio, as `pip install label-studio` and `label-studio start` give it: SQLite, one process.

A person's page posts the annotation and gets the project's next task, which it locks for them. What
it would send to its makers (usage, errors, a look for newer versions) is switched off.
"""

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.clients import Loop, NothingLeftError, Together, browser, checked, looping
from benchmarks.desk_cases import TEACHERS, read_cases
from benchmarks.package import Package
from benchmarks.processes import free_port, server
from benchmarks.side_by_side import PEOPLE, Exported

PATIENCE: Final = 3600  # seconds for an import or export of everything
AT_ONCE: Final = 50_000  # tasks in one upload; it takes 250,000 or 200 MB
CONFIG: Final = (
    '<View><Image name="image" value="$image"/><Text name="caption" value="$caption"/>'
    + "".join(f'<Text name="{teacher}" value="${teacher}"/>' for teacher in TEACHERS)
    + '<Choices name="verdict" toName="image"><Choice value="in_context"/><Choice value="out_of_context"/>'
    '<Choice value="unsure"/></Choices></View>'
)
ANSWER: Final = {
    "from_name": "verdict",
    "to_name": "image",
    "type": "choices",
    "value": {"choices": ["in_context"]},
}


class LabelStudio:
    """The tool."""

    name = "Label Studio"
    ways = ("",)

    def __init__(self) -> None:
        self.package = Package("label-studio")
        self.bin = Path()

    def install(self, cache: Path) -> str:
        """Install it."""
        self.bin = self.package.folder(cache) / "bin"
        return self.package.install(cache)

    @contextmanager
    def opened(self, items: Path, folder: Path) -> Iterator["OpenLabelStudio"]:
        """Start it, sign everybody up, load the items."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        command = [
            str(self.bin / "label-studio"),
            "start",
            "--no-browser",
            "--data-dir",
            str(folder / "data"),
        ]
        command += ["--internal-host", "127.0.0.1", "--port", str(port)]
        command += ["--username", address(0), "--password", password(0)]
        silent = {"COLLECT_ANALYTICS": "false", "LATEST_VERSION_CHECK": "false", "SENTRY_DSN": ""}
        environment = {**os.environ, "HOME": str(folder), "FRONTEND_SENTRY_DSN": "", **silent}
        with server(command, folder / "log", answers=f"{url}/health", environment=environment):
            for number in range(1, PEOPLE + 1):
                signed_in(url, number, new=True).close()
            with closing(signed_in(url, 0)) as owner:
                owner.timeout = httpx.Timeout(PATIENCE)
                made = owner.post("/api/projects", json={"title": "desk", "label_config": CONFIG})
                made.raise_for_status()
                yield OpenLabelStudio(url, owner, made.json()["id"], items)


class OpenLabelStudio:
    """It runs, and holds the items."""

    def __init__(self, url: str, owner: httpx.Client, project: int, items: Path) -> None:
        self.url, self.owner, self.project = url, owner, project
        tasks = [task(case) for case in read_cases(items)]
        files = [json.dumps(tasks[first : first + AT_ONCE]) for first in range(0, len(tasks), AT_ONCE)]
        began = time.perf_counter()
        for file in files:
            upload = {"file": ("tasks.json", file, "application/json")}
            owner.post(f"/api/projects/{project}/import", files=upload).raise_for_status()
        self.load_seconds = time.perf_counter() - began

    def seat(self, number: int, way: str) -> "LabelStudioSeat":
        """The seat of a person."""
        return LabelStudioSeat(self.url, self.project, number)

    def beyond_wanted(self, together: Together) -> int:
        """One answer is wanted of each item."""
        return together.shared_items

    def export(self) -> Exported:
        """Export all tasks as JSON."""
        began = time.perf_counter()
        asked = {"exportType": "JSON", "download_all_tasks": "true"}
        answer = self.owner.get(f"/api/projects/{self.project}/export", params=asked).raise_for_status()
        seconds = time.perf_counter() - began
        tasks = answer.json()
        return Exported(seconds, len(tasks), "caption" in tasks[0]["data"])


@dataclass(frozen=True)
class LabelStudioSeat:
    """A person at a project."""

    url: str
    project: int
    number: int

    def sit(self) -> Loop:
        """Sign in and fetch a task."""
        client = signed_in(self.url, self.number)

        def fetch() -> str:
            found = client.get(f"/api/projects/{self.project}/next")
            if found.status_code == 404:
                raise NothingLeftError
            return str(checked("next", found).json()["id"])

        def answer(task: str) -> None:
            said = {"lead_time": 3.0, "result": [ANSWER], "draft_id": 0, "project": str(self.project)}
            address = f"/api/tasks/{task}/annotations?project={self.project}"
            checked("save", client.post(address, json=said), 201)

        return looping(fetch, answer)


def task(case: dict[str, Any]) -> dict[str, str]:
    """Turn a case into a task."""
    rationales = {said["teacher"]: said["rationale"] for said in case["opinions"]}
    return {"image": f"http://127.0.0.1/{case['image']}", "caption": case["caption"], **rationales}


def signed_in(url: str, number: int, *, new: bool = False) -> httpx.Client:
    """Sign a person in by the form of the page, or up where they are new."""
    client = browser(url)
    path = "/user/signup/" if new else "/user/login/"
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', client.get(path).text)
    form = {
        "csrfmiddlewaretoken": token[1] if token else "",
        "email": address(number),
        "password": password(number),
    }
    client.post(path, data=form, headers={"Referer": url + path}).raise_for_status()
    client.get("/api/current-user/whoami").raise_for_status()
    client.headers.update({"X-CSRFToken": client.cookies["csrftoken"], "Referer": url})
    return client


def address(number: int) -> str:
    """The e-mail address of a person."""
    return f"person-{number}@desk.example"


def password(number: int) -> str:
    """The password of a person."""
    return f"benchmark-{number}-benchmark"
