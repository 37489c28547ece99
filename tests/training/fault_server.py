"""An OpenAI-compatible endpoint on loopback that answers as a test says, wrongly where it says so."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

GOOD = {"rationale": "Another tower.", "elements": ["place"], "verdict": "out_of_context", "confidence": 0.9}


@dataclass(frozen=True)
class Got:
    """A question that came in; `number` counts from 0 in the order they came, `at` is the loop's time."""

    number: int
    headers: dict[str, str]
    body: dict[str, Any]
    at: float

    @property
    def text(self) -> str:
        """What is asked, without the picture."""
        parts = self.body["messages"][0]["content"]
        return "".join(part.get("text", "") for part in parts)

    @property
    def case(self) -> int:
        """The number in the caption of the tests' cases."""
        return int(self.text.partition('"caption": "Case ')[2].partition(".")[0])

    @property
    def is_second(self) -> bool:
        """Whether it comes with an answer that could not be read."""
        return len(self.body["messages"]) > 1


@dataclass(frozen=True)
class Sent:
    """What goes back: after `wait` seconds, whole or, with `cut`, only so many bytes and no more.

    `endless` sends the body again and again until the other side has had enough, `hang_up` sends nothing.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    wait: float = 0.0
    cut: int | None = None
    endless: bool = False
    hang_up: bool = False


Answer = Callable[[Got], Sent]


def says(text: str | None, *, wait: float = 0.0, **more: Any) -> Sent:
    """Answer with a completion."""
    message = {"role": "assistant", "content": text, "refusal": more.pop("refusal", None)}
    choice = {"index": 0, "message": message, "finish_reason": more.pop("finish", "stop")}
    usage = {"prompt_tokens": 1_000, "completion_tokens": 50, "total_tokens": 1_050}
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "served", "choices": [choice]}
    return Sent(body=json.dumps({**body, "usage": usage, **more}).encode(), wait=wait)


def opines(**fields: Any) -> Sent:
    """Answer with an opinion as it should be."""
    wait = fields.pop("wait", 0.0)
    return says(json.dumps({**GOOD, **fields}), wait=wait)


def fails(status: int, message: str = "no", *, code: str | None = None, **headers: str) -> Sent:
    """Answer with an error; a header's name has _ for -."""
    body = json.dumps({"error": {"message": message, "type": "test", "param": None, "code": code}}).encode()
    return Sent(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def one_after_another(answers: Sequence[Sent]) -> Answer:
    """Give each answer once, in order, and the last one ever after."""
    return lambda got: answers[min(got.number, len(answers) - 1)]


@dataclass
class FaultServer:
    """The running endpoint: what it got, and how many questions it had at once at most."""

    answer: Answer
    url: str = ""
    got: list[Got] = field(default_factory=list)
    count: int = 0
    at_once: int = 0
    most_at_once: int = 0
    keep_got: bool = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the questions of one connection."""
        try:
            while (got := await self._received(reader)) is not None:
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                sent = self.answer(got)
                await asyncio.sleep(sent.wait)
                self.at_once -= 1
                if not await self._send(sent, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return  # the other side has gone, or the test is over
        finally:
            writer.close()

    async def _received(self, reader: asyncio.StreamReader) -> Got | None:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")[1:]
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
        }
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        got = Got(self.count, headers, body, asyncio.get_running_loop().time())
        self.count += 1
        if self.keep_got:
            self.got.append(got)
        return got

    async def _send(self, sent: Sent, writer: asyncio.StreamWriter) -> bool:
        """Send an answer; returns whether the connection goes on."""
        if sent.hang_up:
            return False
        headers = {"Content-Type": "application/json", **sent.headers}
        if not sent.endless:
            headers["Content-Length"] = str(len(sent.body))
        lines = [f"HTTP/1.1 {sent.status} Said", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode() + sent.body[: sent.cut])
        await writer.drain()
        while sent.endless:
            writer.write(sent.body)
            await writer.drain()
        return sent.cut is None


@asynccontextmanager
async def fault_server(answer: Answer, *, keep_got: bool = True) -> AsyncIterator[FaultServer]:
    """Serve on a free port of this machine."""
    faults = FaultServer(answer, keep_got=keep_got)
    server = await asyncio.start_server(faults.serve, "127.0.0.1", 0, limit=2**24)
    faults.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield faults
    finally:
        server.close()
