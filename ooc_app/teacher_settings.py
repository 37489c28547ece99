"""Teachers in settings.toml: read, add, change and remove them; the usual places to ask one.

Each `[teachers.NAME]` is the settings of one teacher (`training.teachers.TeacherConfig`). They are read
anew whenever teachers are asked for, because the page and an editor's hands may change the file. A key's
value has no place there: `key_env` names the environment variable that holds it.
"""

import fcntl
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

import tomlkit
from tomlkit import TOMLDocument
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Table

from ooc_app.desk import Desk, SettingsError
from ooc_app.intake.images import write_whole
from ooc_app.teach_board import busy, file_of
from ooc_app.turns import held
from training.config import located
from training.teachers import TeacherConfig, TeacherError

PRESETS_FILE: Final = Path(__file__).with_name("teacher_presets.toml")
_SECRET: Final = re.compile("key|token|secret|password|bearer", re.IGNORECASE)


@dataclass(frozen=True)
class Preset:
    """A usual place to ask a teacher; `source` is who states its address, `command` starts the server."""

    config: TeacherConfig
    note: str
    source: str
    command: str = ""


@cache
def presets() -> dict[str, Preset]:
    """Return the usual places to ask a teacher, by name."""
    found: dict[str, Preset] = {}
    for name, values in tomllib.loads(PRESETS_FILE.read_text(encoding="utf-8")).items():
        note, source, command = values.pop("note"), values.pop("source"), values.pop("command", "")
        found[name] = Preset(TeacherConfig(name=name, **values), note, source, command)
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
    tables = _plain(text).get("teachers", {})
    if not isinstance(tables, dict):
        raise SettingsError("`teachers` in settings.toml is no table: write [teachers.NAME] for each.")
    return {name: _config(name, table) for name, table in tables.items()}


def add_teacher(desk: Desk, config: TeacherConfig) -> None:
    """Write a teacher into settings.toml, whole or not at all; comments and order stay.

    Raises SettingsError where there is one of this name already, or the file is wrong as it is.
    """

    def added(document: TOMLDocument) -> None:
        if "teachers" not in document:
            document["teachers"] = tomlkit.table(is_super_table=True)
        table = tomlkit.table()
        for key, value in _said(config).items():
            table[key] = value
        document["teachers"][config.name] = table  # type: ignore[index]

    path = _path(desk)
    with _alone(path):
        text = _read(path)
        if config.name in configs_in(text):
            raise SettingsError(f"settings.toml has a teacher {config.name!r} already: give another name.")
        wanted = _plain(text)
        wanted.setdefault("teachers", {})[config.name] = _said(config)
        _write(path, _edited(text, added), wanted, config.name)


def change_teacher(desk: Desk, name: str, config: TeacherConfig) -> None:
    """Write a teacher's settings anew, whole or not at all; what stays the same keeps its line as it is.

    Raises SettingsError where there is none of this name, or it would get another one: what it said stands
    under its name. Raises TeachingError while something is done with it.
    """
    if config.name != name:
        raise SettingsError(
            f"What {name} said stands under this name: add a teacher {config.name!r} instead of renaming it."
        )

    def changed(document: TOMLDocument) -> None:
        table: Any = document["teachers"][name]  # type: ignore[index]
        said, body = _said(config), table.value.body if isinstance(table, Table) else []
        for key in [key for key in table if key not in said]:
            del table[key]
        behind: list[Any] = []  # blank lines and comments after the last key belong to what follows
        while body and body[-1][0] is None:
            behind.insert(0, body.pop())
        for key, value in said.items():
            if key not in table or table[key] != value:
                table[key] = value
        body.extend(behind)

    path = _path(desk)
    with held(file_of(desk, name, "lock"), busy(name)), _alone(path):
        text = _read(path)
        _known(text, name)
        wanted = _plain(text)
        wanted["teachers"][name] = _said(config)
        _write(path, _edited(text, changed), wanted, name)


def remove_teacher(desk: Desk, name: str) -> None:
    """Take a teacher out of settings.toml, whole or not at all; what it said stays on the desk.

    Comments stay. Raises SettingsError where there is none of this name, or it does not stand in a table
    of its own, and TeachingError while something is done with it.
    """
    path = _path(desk)
    with held(file_of(desk, name, "lock"), busy(name)), _alone(path):
        text = _read(path)
        _known(text, name)
        wanted = _plain(text)
        del wanted["teachers"][name]
        if not wanted["teachers"]:
            del wanted["teachers"]
        _write(path, _without(text, name), wanted, name)


def at_hand(desk: Desk, config: TeacherConfig) -> TeacherConfig:
    """Return the settings with paths of this machine; a replay's file is looked for in the data folder."""
    if config.path is not None:
        return replace(config, path=str(desk.data_dir / config.path))
    return replace(config, model=located(config.model)) if config.kind == "local" else config


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


def _edited(text: str, edit: Callable[[TOMLDocument], None]) -> str:
    """Return a settings.toml's text with an edit. Raises SettingsError where it cannot be edited."""
    try:
        document = tomlkit.parse(text)
        edit(document)
        return tomlkit.dumps(document)
    except TOMLKitError as error:
        raise SettingsError(f"settings.toml cannot be edited ({error}): mend it.") from None


def _without(text: str, name: str) -> str:
    """Take out the lines of one teacher's table, but not the comments after its last key."""
    lines = text.splitlines(keepends=True)
    heads = [number for number, line in enumerate(lines) if line.lstrip().startswith("[")]
    for head, end in zip(heads, [*heads[1:], len(lines)], strict=False):
        if _is_head(lines[head], name):
            while end > head + 1 and lines[end - 1].lstrip()[:1] in ("", "#"):
                end -= 1
            return "".join([*lines[:head], *lines[end:]])
    return text


def _is_head(line: str, name: str) -> bool:
    try:
        return tomllib.loads(line) == {"teachers": {name: {}}}
    except tomllib.TOMLDecodeError:
        return False


def _write(path: Path, text: str, wanted: dict[str, Any], name: str) -> None:
    """Write the settings, provided that they then say what is wanted and nothing else has changed."""
    if _plain(text) != wanted:
        raise SettingsError(f"settings.toml cannot be edited where the teacher {name!r} is: do it by hand.")
    configs_in(text)
    write_whole(path, text.encode("utf-8"))


def _plain(text: str) -> dict[str, Any]:
    """Read all of the settings. Raises SettingsError."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"settings.toml is not valid TOML ({error}): mend it.") from None


def _known(text: str, name: str) -> None:
    if name not in configs_in(text):
        raise SettingsError(f"settings.toml has no teacher {name!r} any more.")


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
