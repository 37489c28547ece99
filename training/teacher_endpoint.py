"""A teacher behind an OpenAI-compatible endpoint: a hosted API, vLLM, SGLang, llama.cpp, Ollama.

Servers differ in what they take, so the first ones to answer teach us: a setting that is refused by name is
left out or put another way from then on (`Dialect`). The client's own retries are off: `teaching.py` counts
them. An answer is broken off at `ANSWER_BYTES`, also where an error's text is what does not end. Nothing
raised here has the client's exceptions behind it, because their request carries the key.
"""

import asyncio
import base64
import io
import json
import math
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx2  # what openai talks through, and brings along
import openai
from PIL import Image

from training.teacher_question import SCHEMA, clean
from training.teachers import (
    Asked,
    BusyError,
    CaseFailedError,
    Reply,
    TeacherConfig,
    TeacherError,
    Turn,
    is_loopback,
)

ANSWER_BYTES = 1_000_000
TOKENS_MAX = 1_000_000_000  # more in one answer is no count
SAID_MAX = 200  # characters of a server's message that are passed on
CONNECT_S = 10.0
JPEG_QUALITY = 90
METADATA = {"exif", "xmp", "comment", "photoshop"}  # as Pillow names what a JPEG may carry
PICTURES_KEPT = 32  # as they go out, for a picture's other caption and for another try; up to 1 MB each

FORMATS = ("json_schema", "json_object", "none")
FORMAT_WORDS = ("response_format", "json_schema", "json_object", "structured", "schema", "grammar", "guided")
FILTERED = ("content_filter", "content_policy_violation", "responsible_ai_policy_violation")
BUSY = (408, 409, 425, 429)
ENDS = {
    401: "does not accept the key: look at the variable that key_env names",
    402: "wants to be paid first",
    403: "does not allow this key to ask this model",
    404: "knows no such model or address",
    405: "takes no questions there: an address usually ends in /v1",
}


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a server takes what not every server takes."""

    format: str = FORMATS[0]
    length: str = "max_tokens"  # OpenAI's newer models want max_completion_tokens
    temperature: bool = True  # reasoning models take none

    def after(self, said: str) -> "Dialect | None":
        """Return the next dialect to try by what a server refuses; None where it is not about that."""
        told = said.lower()
        if "max_completion_tokens" in told and self.length == "max_tokens":
            return replace(self, length="max_completion_tokens")
        if self.format != "none" and any(word in told for word in FORMAT_WORDS):
            return replace(self, format=FORMATS[FORMATS.index(self.format) + 1])
        if "temperature" in told and self.temperature:
            return replace(self, temperature=False)
        return None


class EndpointTeacher:
    """Asks an endpoint; remembers its dialect. Holds the key, and shows it nowhere."""

    def __init__(
        self, config: TeacherConfig, environment: Mapping[str, str], schema: Mapping[str, Any] = SCHEMA
    ) -> None:
        self.takes = config.concurrency
        self.dialect = Dialect()
        self._config = config
        self._schema = schema
        self._key = _key(config, environment)
        address = config.address
        self._client = openai.AsyncOpenAI(
            api_key=self._key or "none",
            base_url=address,
            max_retries=0,
            default_headers={"Accept-Encoding": "identity"},  # so that bytes read are bytes kept
            http_client=openai.DefaultAsyncHttpxClient(
                timeout=httpx2.Timeout(config.timeout_s, connect=min(CONNECT_S, config.timeout_s)),
                follow_redirects=False,
                trust_env=not is_loopback(address),  # no proxy between this machine and itself
                event_hooks={"response": [_bound]},
            ),
        )
        self._client.organization = self._client.project = None  # OpenAI's own business, not every server's

    async def ask(self, asked: Asked, turns: Sequence[Turn]) -> Reply:
        """Reply with what the endpoint answers."""
        messages = await asyncio.to_thread(self._messages, asked, turns)
        while True:
            used = self.dialect
            started = time.monotonic()
            outcome = await self._sent(messages, used)
            if outcome is None:  # refused for its dialect, and there is another
                continue
            if isinstance(outcome, Exception):
                raise outcome
            return replace(outcome, seconds=time.monotonic() - started)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _messages(self, asked: Asked, turns: Sequence[Turn]) -> list[Any]:
        first, *others = turns
        parts: list[dict[str, Any]] = [{"type": "text", "text": first.text}]
        if asked.picture is not None and not self._config.text_only:
            url = data_url(asked.picture, self._config.image_edge)
            parts.insert(0, {"type": "image_url", "image_url": {"url": url}})
        return [
            {"role": first.role, "content": parts},
            *({"role": turn.role, "content": turn.text} for turn in others),
        ]

    async def _sent(self, messages: list[Any], used: Dialect) -> Reply | Exception | None:
        """Return the reply, or what is to be raised: outside of any handler, so that nothing hangs on it."""
        try:
            response = await self._client.chat.completions.with_raw_response.create(
                **self._settings(used), messages=messages
            )
            return self._reply(response.content)
        except _TooLongError:
            return Reply("", self._config.model, finish="too_long")
        except openai.APITimeoutError:
            return BusyError("time-out", billed=True)
        except openai.APIConnectionError:
            return BusyError("no connection", billed=True)
        except openai.APIStatusError as error:
            return self._refused(error, used)

    def _refused(self, error: openai.APIStatusError, used: Dialect) -> Reply | Exception | None:
        status, told = error.status_code, self._without_key(str(error.body or ""))
        if status in (400, 422):
            simpler = used.after(told)
            if simpler is not None:
                self.dialect = simpler if self.dialect == used else self.dialect
                return None
        said = _in_short(told)
        if "insufficient_quota" in (error.code, error.type):
            return TeacherError(f"The quota of {self._where} is used up: {said}")
        if status in ENDS:
            return TeacherError(f"{self._where} {ENDS[status]} (status {status}): {said}")
        if status < 400:
            return TeacherError(f"{self._where} sends on to another address: give that one.")
        if status in BUSY or status >= 500:
            return BusyError(f"status {status}", retry_after(error.response.headers, datetime.now(UTC)))
        if any(word in told for word in FILTERED):
            return Reply(said, self._config.model, finish="content_filter")
        return CaseFailedError(f"status {status}", said)

    def _reply(self, body: bytes) -> Reply | Exception:
        """Read a completion; servers leave out what they like, and some send errors with status 200."""
        try:
            said = json.loads(body)
            choice = said["choices"][0]
            message = choice["message"]
            usage = said.get("usage") or {}
            text, refusal = _text(message.get("content")), message.get("refusal")
            counted = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
            model, finish = said.get("model"), choice.get("finish_reason")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return BusyError("no completion", billed=True)
        tokens_in, tokens_out = (n if type(n) is int and 0 <= n <= TOKENS_MAX else None for n in counted)
        if not text and isinstance(refusal, str) and refusal:
            text, finish = refusal, "refusal"
        return Reply(
            self._without_key(text),
            clean(self._without_key(model))[:SAID_MAX] if isinstance(model, str) else self._config.model,
            tokens_in,
            tokens_out,
            finish=finish if isinstance(finish, str) else None,
        )

    def _settings(self, dialect: Dialect) -> dict[str, Any]:
        settings: dict[str, Any] = {"model": self._config.model, dialect.length: self._config.max_tokens}
        if dialect.temperature:
            settings["temperature"] = self._config.temperature
        if dialect.format == "json_schema":
            schema = {"name": "opinion", "strict": True, "schema": self._schema}
            settings["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif dialect.format == "json_object":
            settings["response_format"] = {"type": "json_object"}
        return settings

    @property
    def _where(self) -> str:
        return f"{self._config.model} at {self._config.address}"

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text


def _key(config: TeacherConfig, environment: Mapping[str, str]) -> str:
    """Return the key, empty where none is named. Raises TeacherError, which does not say it."""
    if config.key_env is None:
        return ""
    key = environment.get(config.key_env, "").strip()
    if not key:
        raise TeacherError(f"The environment variable {config.key_env} is not set: it should hold the key.")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise TeacherError(f"The environment variable {config.key_env} holds something that is no key.")
    return key


def data_url(picture: Path, edge: int) -> str:
    """Return the picture, its longest edge at most `edge` pixels, without metadata, as a JPEG in a data URL.

    Raises CaseFailedError where it cannot be read.
    """
    try:
        stands = picture.stat()
        return _data_url(picture, edge, stands.st_size, stands.st_mtime_ns)
    except (OSError, Image.DecompressionBombError) as error:
        raise CaseFailedError("picture cannot be read", type(error).__name__) from None


@lru_cache(maxsize=PICTURES_KEPT)
def _data_url(picture: Path, edge: int, size: int, changed: int) -> str:
    data = picture.read_bytes()
    with Image.open(io.BytesIO(data)) as opened:
        if opened.format != "JPEG" or max(opened.size) > edge or METADATA & opened.info.keys():
            opened.thumbnail((edge, edge), Image.Resampling.HAMMING)  # half of what Lanczos takes
            written = io.BytesIO()
            opened.convert("RGB").save(written, "JPEG", quality=JPEG_QUALITY, comment=b"")
            data = written.getvalue()
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return for how many seconds a server asks to be left alone; None where it does not ask.

    RFC 9110, section 10.2.3. A date is taken by the server's own clock where it tells the time.
    """
    milliseconds, said = headers.get("retry-after-ms"), headers.get("retry-after")
    try:
        seconds = float(milliseconds) / 1_000 if milliseconds else float(said or "nan")
    except ValueError:
        until, told = _date(said or ""), _date(headers.get("date", ""))
        seconds = (until - (told or now)).total_seconds() if until else math.nan
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _date(said: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(said)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _text(content: object) -> str:
    """Return the text of a message, which some servers send in parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (part.get("text") for part in content if isinstance(part, dict))
    return "".join(part for part in parts if isinstance(part, str))


def _in_short(text: str) -> str:
    line = clean(text)
    return line if len(line) <= SAID_MAX else f"{line[:SAID_MAX]} ..."


class _TooLongError(Exception):
    """Raised while an answer is read that is longer than `ANSWER_BYTES`."""


async def _bound(response: httpx2.Response) -> None:
    """Have the answer broken off where it is too long, or packed so that its length cannot be known."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise _TooLongError
    response.stream = _BoundStream(response)


class _BoundStream(httpx2.AsyncByteStream):
    """The bytes of a response, up to `ANSWER_BYTES` of them."""

    def __init__(self, response: httpx2.Response) -> None:
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        self._whole = response.stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        taken = 0
        async for chunk in self._whole:
            taken += len(chunk)
            if taken > ANSWER_BYTES:
                raise _TooLongError
            yield chunk

    async def aclose(self) -> None:
        await self._whole.aclose()
