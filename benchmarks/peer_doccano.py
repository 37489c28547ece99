"""doccano, as `pip install doccano` gives it: SQLite, its own number of gunicorn workers, its task queue.

The project shares its annotations among all members, so that eight people can divide the items. A
person's page posts the category and confirms, then gets the next example and its categories: by
page number, which is its default, or by its filter of examples nobody has confirmed. It shows no
picture beside a text, so the picture's address is a field of the item.

Its own `doccano webserver` listens on every address of the machine; the same gunicorn is started
here on loopback only.
"""

import io
import json
import os
import subprocess
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.clients import Loop, NothingLeftError, Together, browser, checked, looping
from benchmarks.desk_cases import read_cases
from benchmarks.package import Package
from benchmarks.processes import free_port, server
from benchmarks.side_by_side import LOOPS, PEOPLE, ROUNDS, Exported

PATIENCE: Final = 3600  # seconds for an import or export of everything
POLL: Final = 0.1  # seconds between two looks at whether its task queue is done
BY_PAGE: Final = "by page"
BY_FILTER: Final = "by its unconfirmed filter"
PROJECT: Final = {
    "name": "desk",
    "description": "desk",
    "project_type": "DocumentClassification",
    "resourcetype": "TextClassificationProject",
    "collaborative_annotation": True,
    "single_class_classification": True,
    "random_order": False,
    "guideline": "",
    "tags": [],
}


class Doccano:
    """The tool. Its 1.8.4 was made for the marshmallow and numpy of 2023."""

    name = "doccano"
    ways = (BY_PAGE, BY_FILTER)

    def __init__(self) -> None:
        self.package = Package("doccano", ("marshmallow<4", "numpy<2"))
        self.venv = Path()

    def install(self, cache: Path) -> str:
        """Install it."""
        self.venv = self.package.folder(cache)
        return self.package.install(cache)

    @contextmanager
    def opened(self, items: Path, folder: Path) -> Iterator["OpenDoccano"]:
        """Make its database, start its web server and its task queue, load the items."""
        command = str(self.venv / "bin" / "doccano")
        environment = {**os.environ, "HOME": str(folder), "DOCCANO_HOME": str(folder)}
        first = ["createuser", "--username", name(0), "--password", password(0)]
        for asked in (["init"], first):
            done = subprocess.run([command, *asked], env=environment, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"doccano {asked[0]} failed: {done.stderr[-2000:]}")
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        web = server(
            self._web_server(port),
            folder / "log",
            answers=f"{url}/v1/me",
            cwd=self._backend(),
            environment={**environment, **_as_its_web_server_sets(folder)},
        )
        with (
            web,
            server([command, "task"], folder / "task.log", environment=environment),
            closing(signed_in(url, 0)) as owner,
        ):
            owner.timeout = httpx.Timeout(PATIENCE)
            yield OpenDoccano(url, owner, items)

    def _web_server(self, port: int) -> list[str]:
        workers = 2 * (os.cpu_count() or 1) + 1
        gunicorn = [str(self.venv / "bin" / "gunicorn"), "--bind", f"127.0.0.1:{port}"]
        return [*gunicorn, "--workers", str(workers), "--chdir", str(self._backend()), "config.wsgi"]

    def _backend(self) -> Path:
        return next(self.venv.glob("lib/python*/site-packages/backend"))


class OpenDoccano:
    """It runs, and holds the items."""

    def __init__(self, url: str, owner: httpx.Client, items: Path) -> None:
        self.url, self.owner = url, owner
        self.turns = Counter[tuple[int, str]]()
        self.project = made(owner, "/v1/projects", PROJECT)["id"]
        category = {"text": "in_context", "suffix_key": "1", "background_color": "#009E73"}
        self.category = made(owner, f"/v1/projects/{self.project}/category-types", category)["id"]
        self._let_in()
        lines = "\n".join(json.dumps(example(case)) for case in read_cases(items))
        began = time.perf_counter()
        upload = owner.post(
            "/v1/fp/process/", files={"filepond": ("items.jsonl", lines, "application/jsonl")}
        )
        asked = {"format": "JSONL", "task": "DocumentClassification", "uploadIds": [upload.text.strip('"')]}
        columns = {"column_data": "text", "column_label": "label"}
        self._wait(owner.post(f"/v1/projects/{self.project}/upload", json={**asked, **columns}))
        self.load_seconds = time.perf_counter() - began

    def seat(self, number: int, way: str) -> "DoccanoSeat":
        """The seat of a person, who goes on at the page they left; all of the eight see the same pages."""
        turn = self.turns[number, way]
        self.turns[number, way] += 1
        first_page = LOOPS * (turn + (ROUNDS if number else 0))
        return DoccanoSeat(self.url, self.project, self.category, number, way, first_page)

    def beyond_wanted(self, together: Together) -> int:
        """One answer is wanted of each item."""
        return together.shared_items

    def export(self) -> Exported:
        """Export all examples as JSON lines."""
        address = f"/v1/projects/{self.project}/download"
        began = time.perf_counter()
        task = self._wait(self.owner.post(address, json={"format": "JSONL", "exportApproved": False}))
        answer = self.owner.get(address, params={"taskId": task}).raise_for_status()
        seconds = time.perf_counter() - began
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            lines = archive.read(archive.namelist()[0]).splitlines()
        return Exported(seconds, len(lines), "text" in json.loads(lines[0]))

    def _let_in(self) -> None:
        """Make everybody a member of the project."""
        roles = {role["name"]: role["id"] for role in self.owner.get("/v1/roles").json()}
        for number in range(1, PEOPLE + 1):
            secrets = {"password1": password(number), "password2": password(number)}
            person = made(self.owner, "/v1/users/create", {"username": name(number), **secrets})
            member = {"user": person["id"], "role": roles["annotator"]}
            made(self.owner, f"/v1/projects/{self.project}/members", member)

    def _wait(self, answer: httpx.Response) -> str:
        task = str(answer.raise_for_status().json()["task_id"])
        while True:
            state = self.owner.get(f"/v1/tasks/status/{task}").raise_for_status().json()
            if state["ready"]:
                if state["error"] or (isinstance(state["result"], dict) and state["result"].get("error")):
                    raise RuntimeError(f"doccano's task failed: {state}"[:2000])
                return task
            time.sleep(POLL)


@dataclass(frozen=True)
class DoccanoSeat:
    """A person at a project."""

    url: str
    project: int
    category: int
    number: int
    way: str
    first_page: int

    def sit(self) -> Loop:
        """Sign in and fetch an example."""
        client = signed_in(self.url, self.number)
        examples = f"/v1/projects/{self.project}/examples"
        pages = count(self.first_page)

        def fetch() -> str:
            asked = {"limit": "1", "offset": str(next(pages)), "q": "", "confirmed": "", "ordering": ""}
            if self.way == BY_FILTER:
                asked |= {"offset": "0", "confirmed": "false"}
            found = checked("next", client.get(examples, params=asked)).json()["results"]
            if not found:
                raise NothingLeftError
            checked("categories", client.get(f"{examples}/{found[0]['id']}/categories"))
            return str(found[0]["id"])

        def answer(example: str) -> None:
            said = {"label": self.category}
            checked("category", client.post(f"{examples}/{example}/categories", json=said), 201)
            checked("state", client.post(f"{examples}/{example}/states", json={}), 201)

        return looping(fetch, answer)


def example(case: dict[str, Any]) -> dict[str, Any]:
    """Turn a case into an example: caption and rationales are its text."""
    text = "\n\n".join([case["caption"], *(said["rationale"] for said in case["opinions"])])
    return {"text": text, "image": f"http://127.0.0.1/{case['image']}", "case": case["id"], "label": []}


def made(client: httpx.Client, path: str, what: dict[str, Any]) -> dict[str, Any]:
    """Make something; return it as doccano has it."""
    answer = client.post(path, json=what)
    if answer.status_code != 201:
        raise RuntimeError(f"doccano did not take {path}: {answer.status_code} {answer.text[:500]}")
    there: dict[str, Any] = answer.json()
    return there


def signed_in(url: str, number: int) -> httpx.Client:
    """Sign a person in."""
    client = browser(url)
    said = {"username": name(number), "password": password(number)}
    client.post("/v1/auth/login/", json=said).raise_for_status()
    client.headers.update({"X-CSRFToken": client.cookies["csrftoken"], "Referer": url})
    return client


def name(number: int) -> str:
    """The name of a person."""
    return f"person-{number}"


def password(number: int) -> str:
    """The password of a person."""
    return f"benchmark-{number}-benchmark"


def _as_its_web_server_sets(folder: Path) -> dict[str, str]:
    """What `doccano webserver` puts into its environment."""
    return {
        "STANDALONE": "True",
        "DJANGO_SETTINGS_MODULE": "config.settings.production",
        "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
        "MEDIA_ROOT": str(folder / "media"),
    }
