"""Draw what a teacher is added or changed with, and what a test of its connection says.

Pure; every text goes through `escape`. There is no field for a key.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Final

from ooc_app.teacher_connection import Connection
from ooc_app.teacher_settings import Preset
from training.teachers import TeacherConfig

BUTTONS_MAX: Final = 8  # models offered by name; the field's list has them all
LISTED_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class Filled:
    """The form as it is opened; `key_is_set` says whether the desk's environment has that variable."""

    config: TeacherConfig
    note: str = ""
    command: str = ""
    is_new: bool = True
    key_is_set: bool = False


def places_panel(presets: Mapping[str, Preset], chosen: str = "", *, has_teachers: bool = True) -> str:
    """Draw the usual places to ask a teacher as buttons."""
    buttons = "".join(
        f'<button type="button" data-place="{escape(name)}" aria-pressed="{str(name == chosen).lower()}">'
        f"{escape(name)}</button>"
        for name in presets
    )
    close = '<button type="button" data-deed="close">Close</button>' if has_teachers else ""
    return (
        f'<div class="teach-title"><h2 tabindex="-1">Add a teacher</h2>{close}</div>'
        '<p class="teach-soft">Where does it run?</p>'
        f'<div class="teach-places" role="group" aria-label="Where it runs">{buttons}</div>'
    )


def form_panel(filled: Filled) -> str:
    """Draw the fields, filled in."""
    config = filled.config
    deed = "add" if filled.is_new else "change"
    submit = "Add" if filled.is_new else "Save"
    name = "" if filled.is_new else ' readonly aria-readonly="true"'
    close = "" if filled.is_new else '<button type="button" data-deed="close">Close</button>'
    fields = [
        _field("name", "name", config.name, more=f'required maxlength="80"{name}', hint="as people see it"),
        _field(
            "model", "model", config.model, hint="as the server calls it" if config.kind == "endpoint" else
            "a folder or a hub id", more='required list="teach-models"',
        ),
    ]  # fmt: skip
    if config.kind == "endpoint":
        address = config.address
        fields.insert(
            1, _field("base_url", "address", address, kind="url", hint="up to /v1", more="required")
        )
    title = (
        ""
        if filled.is_new
        else f'<div class="teach-title"><h2 tabindex="-1">Change {escape(config.name)}</h2></div>'
    )
    return (
        f'{title}{_about(filled)}<form class="teach-form" data-form="{deed}" aria-label="{submit} a teacher">'
        f'<input type="hidden" name="kind" value="{escape(config.kind)}">'
        f'<div class="teach-fields">{"".join(fields)}</div><datalist id="teach-models"></datalist>'
        f"{_key(filled)}{_rest(config)}"
        '<p class="teach-deeds"><button type="button" data-deed="try">Test connection</button>'
        f'<button type="submit" class="teach-main">{submit}</button>{close}</p>'
        '<div class="teach-tested" role="status"></div></form>'
    )


def _about(filled: Filled) -> str:
    if not filled.note:
        return ""
    command = ""
    if filled.command:
        command = (
            f'<p class="teach-command"><code>{escape(filled.command)}</code>'
            '<button type="button" data-deed="copy">Copy</button></p>'
        )
    return f'<div class="teach-about"><p>{escape(filled.note)}</p>{command}</div>'


def _key(filled: Filled) -> str:
    config = filled.config
    if config.kind != "endpoint":
        return ""
    field = _field(
        "key_env", "variable of the key", config.key_env or "", hint="empty where no key is needed",
        more='maxlength="200" placeholder="none"',
    )  # fmt: skip
    name = config.key_env or "SOME_API_KEY"
    state = ""
    if config.key_env:
        state = f"{config.key_env} is set. " if filled.key_is_set else f"{config.key_env} is not set. "
    prices = _number("price_in", "price asked, USD a million tokens", config.price_in, "any") + _number(
        "price_out", "price answered, USD a million tokens", config.price_out, "any"
    )
    return (
        f'<div class="teach-fields">{field}{prices}</div>'
        f'<p class="teach-soft">{escape(state)}A key never comes here: set it before the desk is started, '
        f"<code>export {escape(name)}=&hellip;</code> in the same terminal.</p>"
    )


def _rest(config: TeacherConfig) -> str:
    """Draw what seldom has to be changed."""
    checked = " checked" if config.text_only else ""
    numbers = [
        _number("concurrency", "questions at once", config.concurrency, "1"),
        _number("max_tokens", "tokens of an answer", config.max_tokens, "1"),
        _number("image_edge", "picture edge, pixels", config.image_edge, "1"),
        _number("requests_per_minute", "questions a minute", config.requests_per_minute, "any", "no limit"),
        _number("timeout_s", "seconds to wait", config.timeout_s, "any"),
    ]
    if config.kind == "endpoint":
        numbers.append(_number("temperature", "temperature", config.temperature, "any"))
    return (
        '<details class="teach-rest" data-fold="rest"><summary>Everything else</summary>'
        f'<div class="teach-fields">{"".join(numbers)}</div><label class="teach-tick">'
        f'<input type="checkbox" name="text_only"{checked}> text only: send no picture</label></details>'
    )


def _field(name: str, words: str, value: str, *, kind: str = "text", hint: str = "", more: str = "") -> str:
    small = f"<small>{escape(hint)}</small>" if hint else ""
    return (
        f'<label><span>{escape(words)} {small}</span><input type="{kind}" name="{name}" '
        f'value="{escape(value)}" autocomplete="off" spellcheck="false" autocapitalize="off" {more}></label>'
    )


def _number(name: str, words: str, value: float | None, step: str, placeholder: str = "") -> str:
    shown = "" if value is None else f"{value:.12g}"
    return (
        f'<label class="teach-short"><span>{escape(words)}</span><input type="number" name="{name}" min="0" '
        f'step="{step}" value="{shown}" placeholder="{placeholder}" autocomplete="off"></label>'
    )


def connection_panel(found: Connection) -> str:
    """Draw what came of a test; the models a server has instead can be picked."""
    kind = "works" if found.works else "fails"
    mark = "reached" if found.works else "not yet"
    models = "".join(
        f'<button type="button" data-model="{escape(name)}">{escape(name)}</button>'
        for name in found.models[:BUTTONS_MAX]
    )
    offered = ""
    if models:
        options = "".join(f'<option value="{escape(name)}">' for name in found.models[:LISTED_MAX])
        offered = (
            f'<div class="teach-models" role="group" aria-label="Models it has">{models}</div>'
            f"<template>{options}</template>"
        )
    return f'<p class="teach-result {kind}"><b>{mark}</b> {escape(found.says)}</p>{offered}'
