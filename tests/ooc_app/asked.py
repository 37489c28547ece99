"""What tests of the API ask with, and what they hold the answers against."""

import base64
import io
import random
import re
from pathlib import Path
from typing import Any, Final, get_type_hints

import httpx
from fastapi.testclient import TestClient

from training import drawing, world

DOC: Final = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
LONGEST_SIDE: Final = 800


def as_data(picture: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(picture).decode()


def scene(seed: int, side: int = LONGEST_SIDE) -> bytes:
    """Draw a picture with enough in it to be known again by."""
    file = io.BytesIO()
    picture = drawing.draw(world.sample_scene(random.Random(seed)), seed)
    picture.thumbnail((side, side))
    picture.save(file, "JPEG")
    return file.getvalue()


def call(page: httpx.Client | TestClient, function: str | int, *data: object) -> Any:
    name = function if isinstance(function, str) else "predict"
    index = {} if isinstance(function, str) else {"fn_index": function}
    asked = {"data": list(data), "session_hash": "s", **index}
    return page.post(f"/gradio_api/run/{name}", json=asked)


def assert_keys(told: Any, kind: Any) -> None:
    """Hold an answer against its type, and the type against what docs/api.md lists."""
    assert set(told) == kind.__required_keys__ == set(get_type_hints(kind))


def examples(language: str, *, signing_in: bool) -> list[str]:
    """Return the examples of docs/api.md in a language, those that sign in or those that do not."""
    found = re.findall(rf"```{language}\n(.*?)```", DOC, re.DOTALL)
    return [example for example in found if ("auth=" in example or "/login" in example) is signing_in]
