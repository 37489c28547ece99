"""Teachers: models whose opinions the student learns from, behind one small interface.

A teacher is asked with the turns of a conversation and one picture, and replies with text; what the text
means is read elsewhere (`teacher_question.py`), and how often to ask, how fast and for how much money is
decided elsewhere too (`teaching.py`). So a new kind of teacher is one class with `ask`, `close` and `takes`,
and one line in `KINDS`. Nothing is loaded before a teacher of its kind is opened.
"""

import ipaddress
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from training.records import CaseInput
from training.teacher_question import SCHEMA

ROLES = ("user", "assistant")
KEY_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
OPENAI = "https://api.openai.com/v1"
NAME_MAX = 100
MODEL_MAX = 200  # characters


class TeacherError(Exception):
    """A teacher cannot be asked at all; one sentence says why and what to do. It ends a run."""


class BusyError(Exception):
    """A teacher may answer if it is asked again; `wait` is how many seconds it asks for, if it does.

    `billed` says that an answer may have been written, and be charged for, though none came.
    """

    def __init__(self, reason: str, wait: float | None = None, *, billed: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait
        self.billed = billed


class CaseFailedError(Exception):
    """A teacher cannot answer this one case; `reason` is short, for counting, the message says more."""

    def __init__(self, reason: str, said: str = "") -> None:
        super().__init__(f"{reason}: {said}" if said else reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class TeacherConfig:
    """A teacher's settings, which hold no secret: `key_env` names the environment variable with the key.

    `kind` is one of `KINDS`. `model` is what an endpoint calls it, or the folder or hub id of a local one.
    `base_url` is an endpoint's address up to `/v1`; None is OpenAI's own. A picture is shrunk to
    `image_edge` pixels; with `text_only` none is sent. `max_tokens` bounds one answer. `concurrency` is how
    many questions are out at once, for a local teacher how many it answers in one batch; `timeout_s` is for
    one answer, in seconds. Prices are in USD per million tokens. `path` is the JSON lines of a `replay`.
    """

    name: str
    kind: str
    model: str
    base_url: str | None = None
    key_env: str | None = None
    image_edge: int = 1024
    max_tokens: int = 400
    temperature: float = 0.0
    text_only: bool = False
    concurrency: int = 8
    requests_per_minute: float | None = None
    timeout_s: float = 120.0
    price_in: float = 0.0
    price_out: float = 0.0
    path: str | None = None

    def __post_init__(self) -> None:
        fits = self.name == self.name.strip() and self.name.isprintable() and 0 < len(self.name) <= NAME_MAX
        if not fits:
            raise TeacherError(f"A teacher needs a name of up to {NAME_MAX} characters that can be printed.")
        if self.kind not in KINDS:
            raise TeacherError(
                f"There is no kind of teacher {self.kind!r}; choose one of {', '.join(KINDS)}."
            )
        if not self.model.strip() or not self.model.isprintable() or len(self.model) > MODEL_MAX:
            raise TeacherError("A teacher's model is a name or a folder, in one line.")
        if self.kind == "replay" and not self.path:
            raise TeacherError("A replay needs a path: the JSON lines with its opinions.")
        if self.kind == "local" and self.temperature:
            raise TeacherError("A local teacher says what is likeliest: leave its temperature 0.")
        if self.key_env is not None and not KEY_NAME.fullmatch(self.key_env):
            raise TeacherError(
                "key_env is the name of an environment variable, such as OPENAI_API_KEY, and never the key."
            )
        _check_address(self.base_url)
        _check_numbers(self)

    @property
    def address(self) -> str:
        """Where an endpoint is asked, without a slash at the end."""
        return (self.base_url or OPENAI).rstrip("/")

    def cost(self, tokens_in: int, tokens_out: int) -> float:
        """Return what so many tokens cost, in USD."""
        return (tokens_in * self.price_in + tokens_out * self.price_out) / 1_000_000


_RANGES: dict[str, tuple[float, float]] = {
    "image_edge": (64, 4096),
    "max_tokens": (16, 32_768),
    "temperature": (0, 2),
    "concurrency": (1, 512),
    "requests_per_minute": (0.1, 1_000_000),
    "timeout_s": (0.1, 3_600),
    "price_in": (0, 10_000),
    "price_out": (0, 10_000),
}


def _check_numbers(config: TeacherConfig) -> None:
    for name, (least, most) in _RANGES.items():
        value = getattr(config, name)
        if value is not None and not least <= value <= most:
            raise TeacherError(f"{name} {value!r} is not between {least:g} and {most:g}.")


def _check_address(base_url: str | None) -> None:
    """See to it that no key goes out in the clear, and that none stands in the address, which is shown."""
    if base_url is None:
        return
    try:
        parts = urlsplit(base_url)
        host, _ = parts.hostname, parts.port  # a port that is no number raises here
    except ValueError:
        host = None
    if not host or not base_url.isprintable() or " " in base_url:
        raise TeacherError("The address, base_url, is none: give one such as https://api.example.org/v1.")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise TeacherError(
            "The address, base_url, ends with its path: a key belongs in the variable key_env names."
        )
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(base_url)):
        raise TeacherError(
            "The address, base_url, must begin with https:// unless it is this machine: keys and pictures"
            " go there."
        )


def is_loopback(base_url: str) -> bool:
    """Say whether an address is one of this machine, by what it says: nothing is looked up."""
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class Asked:
    """A case and its picture: the copy that may be shown, a JPEG without metadata; None where it has none."""

    case: CaseInput
    picture: Path | None


@dataclass(frozen=True, slots=True)
class Turn:
    """One side's turn in a conversation; the picture goes with the first, which is the user's."""

    role: str
    text: str

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"A turn is the {' or the '.join(ROLES)}'s, not the {self.role!r}'s.")


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; tokens are None where they were not counted, `finish` is why the text ends.

    `finish` is the server's word (`stop`, `length`, `content_filter`), or `refusal` where the server says
    that the model declined, or `too_long` where reading was broken off.
    """

    text: str
    model: str
    tokens_in: int | None = None
    tokens_out: int | None = None
    seconds: float = 0.0
    finish: str | None = None


class Teacher(Protocol):
    """What can be asked for opinions.

    `ask` raises BusyError, CaseFailedError or TeacherError, and nothing else that is foreseen. It may be
    awaited `takes` times at once, always from one event loop.
    """

    takes: int

    async def ask(self, asked: Asked, turns: Sequence[Turn]) -> Reply:
        """Reply to a conversation about a case."""
        ...

    async def close(self) -> None:
        """Let go of connections and memory."""
        ...


Open = Callable[[TeacherConfig, Mapping[str, str], Mapping[str, Any]], Teacher]


def open_teacher(
    config: TeacherConfig, environment: Mapping[str, str], schema: Mapping[str, Any] = SCHEMA
) -> Teacher:
    """Open the teacher; a local model is loaded here. Raises TeacherError where it cannot be asked.

    `schema` is that of its answers, which a server may hold it to: that of the wording it will be asked in.
    """
    return KINDS[config.kind](config, environment, schema)


def _endpoint(config: TeacherConfig, environment: Mapping[str, str], schema: Mapping[str, Any]) -> Teacher:
    from training.teacher_endpoint import EndpointTeacher

    return EndpointTeacher(config, environment, schema)


def _local(config: TeacherConfig, environment: Mapping[str, str], schema: Mapping[str, Any]) -> Teacher:
    from training.teacher_local import LocalTeacher

    return LocalTeacher(config)


def _replay(config: TeacherConfig, environment: Mapping[str, str], schema: Mapping[str, Any]) -> Teacher:
    return ReplayTeacher(config)


KINDS: dict[str, Open] = {"endpoint": _endpoint, "local": _local, "replay": _replay}


class ReplayTeacher:
    """Says again what was recorded: JSON lines with `id` and `raw`, or with the fields of the opinion.

    Of lines with one id, the last counts. Where each line begins is kept in memory, not what it says.
    """

    def __init__(self, config: TeacherConfig) -> None:
        self.takes = config.concurrency
        self._model = config.model
        self._path = Path(config.path or "")
        self._begins: dict[str, int] = {}
        try:
            with self._path.open("rb") as file:
                at = 0
                for number, line in enumerate(file, 1):
                    if line.strip():
                        self._begins[_recorded(line, f"{self._path.name}, line {number}")[0]] = at
                    at += len(line)
        except OSError as error:
            raise TeacherError(f"{self._path} cannot be read: {error.strerror}.") from None

    async def ask(self, asked: Asked, turns: Sequence[Turn]) -> Reply:
        """Reply with what was recorded of the case, whatever is asked."""
        started = time.monotonic()
        at = self._begins.get(asked.case.id)
        if at is None:
            raise CaseFailedError("not recorded", asked.case.id)
        with self._path.open("rb") as file:
            file.seek(at)
            _, text = _recorded(file.readline(), self._path.name)
        return Reply(text, self._model, 0, 0, time.monotonic() - started, "stop")

    async def close(self) -> None:
        """Forget where the lines begin."""
        self._begins.clear()


def _recorded(line: bytes, where: str) -> tuple[str, str]:
    """Return the id of a recorded line, and its answer as a teacher would have given it."""
    try:
        said: dict[str, Any] = json.loads(line)
        raw = said.get("raw")
        return str(said["id"]), raw if isinstance(raw, str) else json.dumps(said, ensure_ascii=False)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise TeacherError(f"{where} is no recorded opinion: a JSON object with an id is wanted.") from None
