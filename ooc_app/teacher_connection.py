"""Whether a teacher can be asked, in one sentence, without asking it about a case.

A server is asked for its list of models, and for one word where that does not tell: `transformers serve` has
no list of what it serves from a folder. A folder is looked into. No redirect is followed with a key, and a
server that answers endlessly or too slowly is given up.
"""

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from training.teacher_question import clean
from training.teachers import TeacherConfig, TeacherError, is_loopback, open_teacher

LIST_BYTES: Final = 4_000_000  # of a server's list of models; OpenRouter's has some hundred kB
READ_BYTES: Final = 65_536  # at once
TEST_S: Final = 10.0  # until a server answers, and again until all of its list is there
WORD_S: Final = 30.0  # until it has said one word, for which it may have to load the model
MODELS_SHOWN: Final = 5


@dataclass(frozen=True)
class Connection:
    """Whether a teacher can be asked, in one sentence, too.

    `models` are those its server has, where that is asked and the one wanted is not among them.
    """

    works: bool
    says: str
    models: tuple[str, ...] = ()


def connection(config: TeacherConfig, environment: Mapping[str, str]) -> Connection:
    """Look whether a teacher can be asked: at a server, which models it has, else whether it says a word.

    Paths are those of this machine, as `at_hand` gives them.
    """
    if config.kind == "endpoint":
        return _endpoint(config, environment)
    if config.kind == "local":
        folder = Path(config.model)
        if folder.is_dir():
            has = (folder / "config.json").is_file()
            return Connection(
                has, f"{config.model} {'is a model' if has else 'is a folder without config.json'}."
            )
        if folder.is_absolute() or config.model.startswith("."):
            return Connection(False, f"There is no folder {config.model}.")
        return Connection(
            True, f"{config.model} is fetched from the hub when it is asked first, or lies here already."
        )
    try:
        open_teacher(config, environment)
    except TeacherError as error:
        return Connection(False, str(error))
    return Connection(True, f"{config.path} can be read.")


def _endpoint(config: TeacherConfig, environment: Mapping[str, str]) -> Connection:
    address = config.address
    key = environment.get(config.key_env, "").strip() if config.key_env else ""
    if config.key_env and not key:
        return Connection(
            False, f"The environment variable {config.key_env} is not set: it should hold the key."
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        return Connection(False, f"The environment variable {config.key_env} holds something that is no key.")
    server = _Server(address, key)
    try:
        names = server.models()
    except HTTPError as error:
        with error:
            refused = Connection(False, _refusal(config, address, error.code))
        lists_none = error.code in (404, 405) or error.code >= 500
        return _spoken(server, config, refused) if lists_none else refused
    except (OSError, http.client.HTTPException) as error:
        return Connection(False, _silence(address, error))
    except ValueError:
        says = f"{address} answers with no list of models: an address usually ends in /v1."
        return _spoken(server, config, Connection(False, says))
    if config.model in names:
        return Connection(True, f"{address} answers and has the model {config.model}.")
    shown = ", ".join(sorted(names)[:MODELS_SHOWN]) or "none"
    more = f" and {len(names) - MODELS_SHOWN:,} more" if len(names) > MODELS_SHOWN else ""
    says = f"{address} answers and has no model {config.model}: it has {shown}{more}."
    models = tuple(sorted(names, key=lambda one: _unlike(one, config.model)))
    return _spoken(server, config, Connection(False, says, models))


def _spoken(server: "_Server", config: TeacherConfig, otherwise: Connection) -> Connection:
    """Ask for one word; `otherwise` is what is said where that is refused, too."""
    try:
        server.word(config.model)
    except HTTPError as error:
        error.close()
        return otherwise
    except TimeoutError:
        says = (
            f"{server.address} says nothing as {config.model} within {WORD_S:.0f} seconds: it may be loading"
        )
        return Connection(False, f"{says} the model, so test again.", otherwise.models)
    except (OSError, http.client.HTTPException, ValueError):
        return otherwise
    says = f"{server.address} answers as {config.model}, though its list of models does not have it."
    return Connection(True, says, otherwise.models)


def _unlike(name: str, wanted: str) -> tuple[int, str]:
    """Order names by how far they begin as the one wanted does."""
    pairs = zip(name.casefold(), wanted.casefold(), strict=False)
    return -len(list(takewhile(lambda pair: pair[0] == pair[1], pairs))), name


class _Stays(HTTPRedirectHandler):
    """Follows no redirect: the key is for the address it was given with."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True)
class _Server:
    """A server that is asked as `openai`'s client would, but for redirects and sizes.

    Its methods raise HTTPError, OSError (TimeoutError among them), HTTPException, and ValueError for an
    answer that is not one.
    """

    address: str
    key: str

    def models(self) -> set[str]:
        """Ask for the names of its models."""
        listed = self._asked("models", None, TEST_S).get("data")
        if not isinstance(listed, list):
            raise ValueError("no list of models")
        ids = (one.get("id") for one in listed if isinstance(one, dict))
        return {clean(name)[:200] for name in ids if isinstance(name, str)}

    def word(self, model: str) -> None:
        """Have a model say one word."""
        turn = {"role": "user", "content": "Say yes."}
        question = {"model": model, "messages": [turn], "max_tokens": 1}
        if not self._asked("chat/completions", question, WORD_S).get("choices"):
            raise ValueError("no answer")

    def _asked(self, what: str, question: Mapping[str, Any] | None, seconds: float) -> dict[str, Any]:
        url = f"{self.address}/{what}"
        opener = build_opener(_Stays, *([ProxyHandler({})] if is_loopback(url) else []))
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        body = None if question is None else json.dumps(question).encode()
        with opener.open(Request(url, body, headers), timeout=seconds) as response:
            until, data = time.monotonic() + seconds, b""
            while len(data) <= LIST_BYTES and (read := response.read1(READ_BYTES)):
                data += read
                if time.monotonic() > until:
                    raise TimeoutError("the answer comes too slowly")
        said = json.loads(data) if len(data) <= LIST_BYTES else None
        if not isinstance(said, dict):
            raise ValueError("no JSON object")
        return said


def _refusal(config: TeacherConfig, address: str, status: int) -> str:
    if status in (401, 403):
        whose = (
            f"the key in {config.key_env}"
            if config.key_env
            else "questions without a key: name one with key_env"
        )
        return f"{address} does not accept {whose} (status {status})."
    if status in (404, 405):
        return f"{address} lists no models (status {status}): an address usually ends in /v1."
    if 300 <= status < 400:
        return f"{address} sends on to another address (status {status}): give that one."
    return f"{address} answers with status {status}: look at the server."


def _silence(address: str, error: Exception) -> str:
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, ConnectionRefusedError):
        return f"Nothing listens at {address}: start the server, or correct the address."
    if isinstance(reason, TimeoutError):
        return f"{address} does not answer within {TEST_S:.0f} seconds."
    return f"{address} cannot be reached ({type(reason).__name__}): look at the address and the network."
