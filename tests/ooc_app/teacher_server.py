"""A teacher of its own on a loopback port: OpenAI's chat completions, answered by a rule, and counted.

The verdict goes by the number in the caption, and is `unsure` where the picture is noise. `free` holds every
answer back until it is set, so that a test knows what is on its way.
"""

import base64
import io
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image, ImageStat

MODEL = "ruled-1"
KEY = "sk-neither-in-files-nor-in-words"
VERDICTS = ("in_context", "out_of_context", "unsure")
UNSURE = '{"rationale": "There is nothing to see.", "elements": [], "verdict": "unsure", "confidence": 0.1}'


def verdict_of(number: int) -> str:
    """Say what this teacher says of the case with that number."""
    return VERDICTS[number % 3]


class TeacherServer(ThreadingHTTPServer):
    """Counts what it was asked about, and what it answered."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: Counter[str] = Counter()  # captions, with pictures that are not noise
        self.noise: Counter[str] = Counter()  # captions, with noise for a picture
        self.noise_answered: Counter[str] = Counter()
        self.looks = True  # else noise is answered by the caption, too
        self.answered: Counter[str] = Counter()  # captions whose answer was sent
        self.keys: set[str] = set()
        self.texts: list[str] = []
        self.models = {MODEL: "listed", "other-1": "listed"}
        self.list_status = 200
        self.status = 200
        self.raw: str | None = None  # answered instead of what the rule says
        self.seconds = 0.0
        self.free = threading.Event()
        self.free.set()
        self.lock = threading.Lock()

    @property
    def base_url(self) -> str:
        """Where it is asked."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing where the other side was killed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: TeacherServer

    def log_message(self, *_: object) -> None:
        """Keep the output of the tests free of it."""

    def do_GET(self) -> None:
        listed = [{"id": name} for name, how in self.server.models.items() if how == "listed"]
        self._send(self.server.list_status, {"object": "list", "data": listed})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if asked["model"] not in self.server.models:
            self._send(404, {"error": {"message": "no such model"}})
            return
        if asked.get("max_tokens") == 1:  # does it say anything?
            self._send(200, _completion("yes"))
            return
        text = _text(asked["messages"][0])
        caption = str(json.loads(text.split("The case: ")[1].split("\n")[0])["caption"])
        is_noise = _is_noise(asked["messages"][0])
        with self.server.lock:
            (self.server.noise if is_noise else self.server.asked)[caption] += 1
            self.server.keys.add(self.headers.get("Authorization", ""))
            self.server.texts.append(text)
        self.server.free.wait(30)
        time.sleep(self.server.seconds)
        if self.server.status != 200:
            self._send(self.server.status, {"error": {"message": "said no"}})
            return
        said = UNSURE if is_noise and self.server.looks else _said(caption)
        self._send(200, _completion(self.server.raw or said))
        with self.server.lock:
            (self.server.noise_answered if is_noise else self.server.answered)[caption] += 1

    def _send(self, status: int, said: dict[str, Any]) -> None:
        if self.headers.get("Authorization") == "Bearer wrong":
            status, said = 401, {"error": {"message": "no such key"}}
        data = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def serving() -> Iterator[TeacherServer]:
    """Answer on a thread until the block ends."""
    with TeacherServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.free.set()
            server.shutdown()
            thread.join()


def _text(message: dict[str, Any]) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _is_noise(message: dict[str, Any]) -> bool:
    """Look at the picture that came; the tests' own have one colour."""
    content = message["content"]
    parts = [] if isinstance(content, str) else content
    for url in (part["image_url"]["url"] for part in parts if "image_url" in part):
        with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as picture:
            return max(ImageStat.Stat(picture).stddev) > 20
    return False


def _said(caption: str) -> str:
    found = re.search(r"\d+", caption)
    number = int(found[0]) if found else 0
    said = {
        "rationale": f"By the rule of number {number}.",
        "elements": ["place"] if number % 3 == 1 else [],
        "verdict": verdict_of(number),
        "confidence": 0.75,
    }
    return json.dumps(said)


def _completion(content: str) -> dict[str, Any]:
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": f"{MODEL}-2026",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050},
    }
