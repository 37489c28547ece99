"""Teachers in settings.toml: read, add, the usual places to ask, and whether one can be reached.

Each `[teachers.NAME]` is the settings of one teacher (`training.teachers.TeacherConfig`). They are read
anew whenever teachers are asked for, because the page and an editor's hands may change the file. A key's
value has no place there: `key_env` names the environment variable that holds it.
"""

import fcntl
import http.client
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

import tomlkit
from tomlkit.exceptions import TOMLKitError

from ooc_app.desk import Desk, SettingsError
from ooc_app.intake.images import write_whole
from training.config import located
from training.teacher_question import clean
from training.teachers import TeacherConfig, TeacherError, is_loopback, open_teacher

PRESETS_FILE: Final = Path(__file__).with_name("teacher_presets.toml")
OPENAI: Final = "https://api.openai.com/v1"
LIST_BYTES: Final = 4_000_000  # of a server's list of models; OpenRouter's has some hundred kB
TEST_S: Final = 10.0
MODELS_SHOWN: Final = 5
_SECRET: Final = re.compile("key|token|secret|password|bearer", re.IGNORECASE)


@dataclass(frozen=True)
class Preset:
    """A usual place to ask a teacher; `source` is who states its address."""

    config: TeacherConfig
    note: str
    source: str


@dataclass(frozen=True)
class Connection:
    """Whether a teacher can be asked, in one sentence, too."""

    works: bool
    says: str


@cache
def presets() -> dict[str, Preset]:
    """Return the usual places to ask a teacher, by name."""
    found: dict[str, Preset] = {}
    for name, values in tomllib.loads(PRESETS_FILE.read_text(encoding="utf-8")).items():
        note, source = values.pop("note"), values.pop("source")
        found[name] = Preset(TeacherConfig(name=name, **values), note, source)
    return found


def teacher_configs(desk: Desk) -> dict[str, TeacherConfig]:
    """Read the teachers of settings.toml, in its order. Raises SettingsError for the first wrong one."""
    return configs_in(_read(_path(desk)))


def teacher_config(desk: Desk, name: str) -> TeacherConfig:
    """Return one teacher's settings. Raises SettingsError where there are none, or they are wrong."""
    found = teacher_configs(desk)
    if name not in found:
        known = f"it has {', '.join(found)}" if found else "it has no [teachers.NAME] yet"
        raise SettingsError(f"settings.toml has no teacher {name!r}: {known}.")
    return found[name]


def configs_in(text: str) -> dict[str, TeacherConfig]:
    """Read the teachers of a settings.toml's text. Raises SettingsError."""
    try:
        tables = tomllib.loads(text).get("teachers", {})
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"settings.toml is not valid TOML ({error}): mend it.") from None
    if not isinstance(tables, dict):
        raise SettingsError("`teachers` in settings.toml is no table: write [teachers.NAME] for each.")
    return {name: _config(name, table) for name, table in tables.items()}


def add_teacher(desk: Desk, config: TeacherConfig) -> None:
    """Write a teacher into settings.toml, whole or not at all; comments and order stay.

    Raises SettingsError where there is one of this name already, or the file is wrong as it is.
    """
    path = _path(desk)
    with _alone(path):
        text = _read(path)
        if config.name in configs_in(text):
            raise SettingsError(f"settings.toml has a teacher {config.name!r} already: give another name.")
        try:
            document = tomlkit.parse(text)
        except TOMLKitError as error:
            raise SettingsError(f"settings.toml cannot be edited ({error}): mend it.") from None
        if "teachers" not in document:
            document["teachers"] = tomlkit.table(is_super_table=True)
        table = tomlkit.table()
        for name, value in _said(config).items():
            table[name] = value
        document["teachers"][config.name] = table  # type: ignore[index]
        written = tomlkit.dumps(document)
        if configs_in(written).get(config.name) != config:
            raise SettingsError(
                f"settings.toml cannot hold the teacher {config.name!r} as it is: add it by hand."
            )
        write_whole(path, written.encode("utf-8"))


def at_hand(desk: Desk, config: TeacherConfig) -> TeacherConfig:
    """Return the settings with paths of this machine; a replay's file is looked for in the data folder."""
    if config.path is not None:
        return replace(config, path=str(desk.data_dir / config.path))
    return replace(config, model=located(config.model)) if config.kind == "local" else config


def test_connection(config: TeacherConfig, environment: Mapping[str, str]) -> str:
    """Say in one sentence whether a teacher can be asked, and what is wrong where it cannot."""
    return connection(config, environment).says


def connection(config: TeacherConfig, environment: Mapping[str, str]) -> Connection:
    """Look whether a teacher can be asked, without asking it anything: at a server, which models it has.

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
    address = (config.base_url or OPENAI).rstrip("/")
    key = environment.get(config.key_env, "").strip() if config.key_env else ""
    if config.key_env and not key:
        return Connection(
            False, f"The environment variable {config.key_env} is not set: it should hold the key."
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        return Connection(False, f"The environment variable {config.key_env} holds something that is no key.")
    try:
        names = _models(f"{address}/models", key)
    except HTTPError as error:
        with error:
            return Connection(False, _refusal(config, address, error.code))
    except (OSError, http.client.HTTPException) as error:
        return Connection(False, _silence(address, error))
    except ValueError:
        return Connection(False, f"{address} answers with no list of models: base_url usually ends in /v1.")
    if config.model in names:
        return Connection(True, f"{address} answers and has the model {config.model}.")
    shown = ", ".join(sorted(names)[:MODELS_SHOWN]) or "none"
    more = f" and {len(names) - MODELS_SHOWN:,} more" if len(names) > MODELS_SHOWN else ""
    return Connection(False, f"{address} answers and has no model {config.model}: it has {shown}{more}.")


class _Stays(HTTPRedirectHandler):
    """Follows no redirect: the key is for the address it was given with."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _models(url: str, key: str) -> set[str]:
    """Ask a server for its models. Raises HTTPError, OSError, HTTPException, and ValueError for no list."""
    opener = build_opener(_Stays, *([ProxyHandler({})] if is_loopback(url) else []))
    headers = {"Accept": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    with opener.open(Request(url, headers=headers), timeout=TEST_S) as response:
        data = response.read(LIST_BYTES + 1)
    said = json.loads(data) if len(data) <= LIST_BYTES else None
    listed = said.get("data") if isinstance(said, dict) else None
    if not isinstance(listed, list):
        raise ValueError("no list of models")
    ids = (one.get("id") for one in listed if isinstance(one, dict))
    return {clean(name)[:200] for name in ids if isinstance(name, str)}


def _refusal(config: TeacherConfig, address: str, status: int) -> str:
    if status in (401, 403):
        whose = (
            f"the key in {config.key_env}"
            if config.key_env
            else "questions without a key: name one with key_env"
        )
        return f"{address} does not accept {whose} (status {status})."
    if status in (404, 405):
        return f"{address} lists no models (status {status}): base_url usually ends in /v1."
    if 300 <= status < 400:
        return f"{address} sends on to another address (status {status}): give that one as base_url."
    return f"{address} answers with status {status}: look at the server."


def _silence(address: str, error: Exception) -> str:
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, ConnectionRefusedError):
        return f"Nothing listens at {address}: start the server, or correct base_url."
    if isinstance(reason, TimeoutError):
        return f"{address} does not answer within {TEST_S:.0f} seconds."
    return f"{address} cannot be reached ({type(reason).__name__}): look at base_url and the network."


def _config(name: str, table: object) -> TeacherConfig:
    """Build one teacher's settings. Raises SettingsError, which names the table and never a key's value."""
    where = f"[teachers.{_quoted(name)}] in settings.toml"
    if not isinstance(table, dict):
        raise SettingsError(f"{where} is no table: write its settings below it.")
    types = {key: kind for key, kind in get_type_hints(TeacherConfig).items() if key != "name"}
    for key, value in table.items():
        if key not in types:
            if _SECRET.search(key):
                raise SettingsError(
                    f"{where} has a key itself under `{key}`: take it out, put it into an environment"
                    " variable, and give that variable's name as key_env."
                )
            raise SettingsError(f"{where} has the unknown key `{key}`: the keys are {', '.join(types)}.")
        if not _is_of(value, types[key]):
            raise SettingsError(f"`{key}` of {where} is {_kind(value)}: give {_wanted(types[key])}.")
    for field in fields(TeacherConfig):
        if field.default is MISSING and field.name not in (*table, "name"):
            raise SettingsError(f"{where} lacks `{field.name}`.")
    try:
        return TeacherConfig(name=name, **table)
    except TeacherError as error:
        raise SettingsError(f"{where}: {error}") from None


def _is_of(value: object, kind: Any) -> bool:
    kinds = set(get_args(kind) or (kind,))
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, tuple(kinds)) or (isinstance(value, int) and float in kinds)


def _kind(value: object) -> str:
    words = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list"}
    return words.get(type(value), "something else")


def _wanted(kind: Any) -> str:
    kinds = set(get_args(kind) or (kind,))
    if bool in kinds:
        return "true or false"
    if float in kinds:
        return "a number"
    return "a whole number" if int in kinds else "a text"


def _said(config: TeacherConfig) -> dict[str, Any]:
    """Return what is not the default, in the order of the fields; the name is the table's."""
    values = {field.name: (getattr(config, field.name), field.default) for field in fields(config)}
    return {name: value for name, (value, default) in values.items() if name != "name" and value != default}


def _quoted(name: str) -> str:
    shown = "".join(character if character.isprintable() else "?" for character in name[:80])
    return shown if re.fullmatch("[A-Za-z0-9_-]+", shown) else json.dumps(shown, ensure_ascii=False)


def _path(desk: Desk) -> Path:
    return desk.data_dir / "settings.toml"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is no UTF-8 text: mend it.") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from None


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until nobody else edits the settings; a lock beside them, because they are replaced whole."""
    with path.with_name(".settings.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
