import asyncio
import base64
import json
import subprocess
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, TextContent, Tool

from db import people
from db.engine import write_session
from db.passwords import hash_password
from db.vocabulary import Role
from ooc_app.auth import now
from ooc_app.checks.typed import CheckedImage
from ooc_app.desk import Desk, open_desk
from tests.ooc_app.asked import examples
from tests.ooc_app.broken import BrokenServing
from tests.ooc_app.checks.fixed import FixedServing
from tests.ooc_app.conftest import drawn_picture
from tests.ooc_app.served import FIXED, program, served

MCP = "/gradio_api/mcp/"
NAME, PASSWORD = "vera", "flood tower quay"
PICTURE = base64.b64encode(drawn_picture()).decode()
TOOLS = ["check_image", "find_known_image"]
TAKES = {"accept": "application/json, text/event-stream"}


def asked(method: str, **given: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": given}


def posted(client: TestClient, method: str, **given: Any) -> dict[str, Any]:
    """Post one MCP request and return its result."""
    answer = client.post(MCP, json=asked(method, **given), headers=TAKES)
    assert answer.status_code == 200, answer.text
    said = next(line for line in answer.text.splitlines() if line.startswith("data: "))
    result: dict[str, Any] = json.loads(said.removeprefix("data: "))["result"]
    return result


# ---- who is let through ----


@pytest.fixture(scope="module")
def newsroom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Give a desk on which people sign in."""
    with open_desk(tmp_path_factory.mktemp("newsroom") / "data") as desk:
        with write_session(desk.sessions) as session:
            people.add_person(session, None, NAME, Role.ANNOTATOR, hash_password(PASSWORD), now())
        yield desk


@pytest.fixture(scope="module")
def stranger(newsroom: Desk) -> Iterator[TestClient]:
    """Give a program that has not signed in."""
    with program(newsroom, FixedServing()) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", ""),
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "http"),
        ("GET", "schema"),
        ("GET", "sse"),
        ("POST", "messages/"),
        ("POST", "../%6dcp/"),
    ],
)
def test_whoever_has_not_signed_in_sees_and_calls_no_tool(
    stranger: TestClient, method: str, path: str
) -> None:
    answer = stranger.request(method, MCP + path, json=asked("tools/list"), headers=TAKES)
    assert answer.status_code == 401
    assert "check_image" not in answer.text


def test_whoever_signs_in_is_answered_until_the_account_is_closed(
    stranger: TestClient, newsroom: Desk
) -> None:
    with write_session(newsroom.sessions) as session:
        people.add_person(session, None, "lea", Role.ANNOTATOR, hash_password(PASSWORD), now())
    form = {"username": "lea", "password": PASSWORD}
    assert stranger.post("/login", data=form).json() == {"success": True}
    assert [tool["name"] for tool in posted(stranger, "tools/list")["tools"]] == TOOLS
    given = {"image": PICTURE, "caption": "A caption."}
    told = posted(stranger, "tools/call", name="check_image", arguments=given)
    assert json.loads(told["content"][0]["text"])["report"]
    with write_session(newsroom.sessions) as session:
        people.close_person(session, None, "lea", now())
    assert stranger.post(MCP, json=asked("tools/list"), headers=TAKES).status_code == 401
    stranger.cookies.clear()


@pytest.mark.parametrize(
    "header", [{"origin": "https://evil.example"}, {"host": "evil.example"}, {"sec-fetch-site": "cross-site"}]
)
def test_another_sites_page_is_refused_at_a_desk_without_sign_in(
    tmp_path: Path, header: dict[str, str]
) -> None:
    with open_desk(tmp_path / "data") as desk, program(desk, FixedServing()) as client:
        answer = client.post(MCP, json=asked("tools/list"), headers={**TAKES, **header})
        assert answer.status_code == 403
        assert "check_image" not in answer.text
        assert posted(client, "tools/list")["tools"]


def test_a_demo_page_checks_for_visitors_and_finds_nothing_for_them(tmp_path: Path) -> None:
    with (
        open_desk(tmp_path / "data", mode="demo") as demo,
        program(demo, FixedServing(), "a-space.example") as visitor,
    ):
        given = {"image": PICTURE, "caption": "A caption."}
        told = posted(visitor, "tools/call", name="check_image", arguments=given)
        assert json.loads(told["content"][0]["text"])["report"] is None
        told = posted(visitor, "tools/call", name="find_known_image", arguments={"image": PICTURE})
        assert told["isError"]
        assert told["content"][0]["text"].startswith("A demo page tells nobody")


def test_a_failure_tells_a_client_one_sentence_and_no_path(desk: Desk) -> None:
    given = {"image": PICTURE, "caption": "A caption."}
    with program(desk, BrokenServing()) as client:
        told = posted(client, "tools/call", name="check_image", arguments=given)
    assert told["isError"]
    assert told["content"][0]["text"] == "The desk failed to answer this; its log says why."


# ---- a client, before a server ----


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a running desk on which people sign in.

    It was started at a console that cannot write the emoji of Gradio's announcement of the MCP server.
    """
    data_dir = tmp_path_factory.mktemp("running") / "data"
    with open_desk(data_dir) as desk, write_session(desk.sessions) as session:
        people.add_person(session, None, NAME, Role.ANNOTATOR, hash_password(PASSWORD), now())
    with served(data_dir, FIXED, PYTHONIOENCODING="latin-1") as address:
        yield address


@asynccontextmanager
async def connected(server: str) -> Any:
    """Connect as a desktop client does, with somebody's cookie."""
    signed_in = httpx.post(f"{server}/login", data={"username": NAME, "password": PASSWORD})
    async with (
        httpx.AsyncClient(timeout=60, cookies=signed_in.cookies) as http,
        streamable_http_client(server + MCP, http_client=http) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        yield session


def tools(server: str) -> list[Tool]:
    async def ask() -> list[Tool]:
        async with connected(server) as session:
            listed: list[Tool] = (await session.list_tools()).tools
            return listed

    return asyncio.run(ask())


def called(server: str, tool: str, **given: object) -> tuple[bool, str]:
    """Call a tool; return whether it was refused, and what it said."""

    async def ask() -> CallToolResult:
        async with connected(server) as session:
            told: CallToolResult = await session.call_tool(tool, given)
            return told

    result = asyncio.run(ask())
    (said,) = result.content
    assert isinstance(said, TextContent)
    return bool(result.isError), said.text


def test_there_are_two_tools_and_a_model_is_told_how_to_use_them(server: str) -> None:
    check, find = tools(server)
    assert [check.name, find.name] == TOOLS
    for tool in (check, find):
        assert len(tool.description or "") > 200
        for given in tool.inputSchema["properties"].values():
            assert given["type"] == "string"
            assert len(given["description"]) > 40
    assert list(check.inputSchema["properties"]) == ["image", "caption", "date", "place", "url"]
    assert check.inputSchema["required"] == ["image", "caption"]
    assert list(find.inputSchema["properties"]) == ["image"]
    assert "cannot_tell" in (check.description or "")


def test_a_client_is_answered_in_json_with_the_documented_keys(server: str) -> None:
    refused, said = called(server, "check_image", image=PICTURE, caption="A caption.")
    assert not refused
    assert set(json.loads(said)) == CheckedImage.__required_keys__


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        ("http://127.0.0.1/picture.png", "127.0.0.1 is not on the public web"),
        ("/etc/hostname", "Give the picture as"),
        (PICTURE, "There is too little in this picture"),
        (base64.b64encode(b"no picture").decode(), ""),
    ],
)
def test_a_client_is_refused_in_one_sentence(server: str, image: str, sentence: str) -> None:
    refused, said = called(server, "find_known_image", image=image)
    assert refused
    assert said.startswith(sentence)
    assert "Traceback" not in said


def test_no_other_tool_can_be_called(server: str) -> None:
    refused, said = called(server, "look_")
    assert refused
    assert "look_" in said


# ---- the examples of docs/api.md that sign in, as they stand ----


def test_the_documented_python_signs_in(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "picture.jpg").write_bytes(drawn_picture())
    exec(
        compile(
            examples("python", signing_in=True)[0].replace("http://127.0.0.1:7860", server),
            "docs/api.md",
            "exec",
        ),
        {},
    )
    assert capsys.readouterr().out.startswith("?check=")


def test_the_documented_curl_signs_in(server: str, tmp_path: Path) -> None:
    command = [
        "bash",
        "-eu",
        "-c",
        examples("bash", signing_in=True)[0].replace("http://127.0.0.1:7860", server),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert '"name":"vera"' in done.stdout
