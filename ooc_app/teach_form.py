"""What is typed on the Teach tab, checked field by field: a teacher's settings, and the limits of a run.

A key has no field: what is typed is the name of the environment variable that holds it. The page takes only
names that end in `_API_KEY`, because whoever may name any variable and any address could have the desk send
out whatever its environment holds; another name is given in settings.toml, by whoever has the machine.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

from db.vocabulary import Split
from ooc_app.teach_board import Deed
from ooc_app.teach_process import Order
from training.teachers import TeacherConfig, TeacherError

Typed = Mapping[str, Any]

TYPED_MAX: Final = 2_000  # characters of a field
KEY_END: Final = "_API_KEY"
KINDS: Final = ("endpoint", "local")  # what the page can add; a replay is a line in settings.toml
WHOLE: Final = ("image_edge", "max_tokens", "concurrency")
DECIMAL: Final = ("temperature", "requests_per_minute", "timeout_s", "price_in", "price_out")
TEXTS: Final = ("base_url", "key_env")
WORDS: Final = {
    "image_edge": "picture edge",
    "max_tokens": "tokens of an answer",
    "concurrency": "questions at once",
    "temperature": "temperature",
    "requests_per_minute": "questions a minute",
    "timeout_s": "seconds to wait",
    "price_in": "price of a million tokens asked",
    "price_out": "price of a million tokens answered",
    "limit": "cases",
    "budget": "money",
    "tokens": "tokens",
    "minutes": "minutes",
}


class FormError(Exception):
    """Raised for what cannot be meant; says in one sentence which field and what is wanted."""


def config_of(typed: Typed, before: TeacherConfig | None = None) -> TeacherConfig:
    """Return the settings that are typed; those of `before` are changed, where it is given.

    Raises FormError, whose sentence repeats no field that may hold a key.
    """
    kind = before.kind if before else text_of(typed, "kind")
    if before is None and kind not in KINDS:
        raise FormError("Choose where the teacher runs first.")
    values: dict[str, Any] = {name: text_of(typed, name) or None for name in TEXTS}
    if kind != "endpoint":
        values = dict.fromkeys(TEXTS)
    values |= {name: _number(typed, name, whole=True) for name in WHOLE}
    values |= {name: _number(typed, name, whole=False) for name in DECIMAL}
    given = {name: value for name, value in values.items() if value is not None}
    name, path = (before.name, before.path) if before else (text_of(typed, "name"), None)
    try:
        config = TeacherConfig(
            name, kind, text_of(typed, "model"), path=path, text_only=typed.get("text_only") is True, **given
        )
    except TeacherError as error:
        raise FormError(str(error)) from None
    _check_key(config, before)
    return config


def order_of(deed: Deed, typed: Typed, config: TeacherConfig | None) -> Order:
    """Return what is to be done, and how much at most. Raises FormError."""
    if deed is not Deed.RUN:
        return Order(deed)
    limits: dict[str, Any] = {name: _limit(typed, name, whole=True) for name in ("limit", "tokens")}
    limits |= {name: _limit(typed, name, whole=False) for name in ("budget", "minutes")}
    if limits["budget"] is not None and not (config and config.price_in + config.price_out):
        raise FormError("A limit of money needs prices: give them under Change first.")
    split = text_of(typed, "split")
    if split and split not in tuple(Split):
        raise FormError(f"There is no such split: choose {', '.join(Split)}, or all of them.")
    return Order(deed, split=Split(split) if split else None, go_on=typed.get("go_on") is True, **limits)


def text_of(typed: Typed, name: str) -> str:
    """Return what is typed into a field, without the blanks around it. Raises FormError where it is long."""
    value = typed.get(name)
    if not isinstance(value, str):
        return ""
    if len(value) > TYPED_MAX:
        raise FormError(f"What is typed as {name} is too long.")
    return value.encode(errors="replace").decode().strip()


def _number(typed: Typed, name: str, *, whole: bool) -> float | int | None:
    value = text_of(typed, name)
    if not value:
        return None
    try:
        return int(value) if whole else _finite(value)
    except ValueError:
        raise FormError(f"{WORDS[name]}: give a {'whole ' if whole else ''}number.".capitalize()) from None


def _finite(value: str) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


def _limit(typed: Typed, name: str, *, whole: bool) -> float | int | None:
    number = _number(typed, name, whole=whole)
    if number is not None and not 0 < number < 10**12:
        raise FormError(f"{WORDS[name]}: give a number above 0, or nothing for no limit.".capitalize())
    return number


def _check_key(config: TeacherConfig, before: TeacherConfig | None) -> None:
    if config.key_env is None or config.key_env.endswith(KEY_END):
        return
    if before is not None and (before.key_env, before.base_url) == (config.key_env, config.base_url):
        return
    raise FormError(
        f"Here the variable of a key ends in {KEY_END}, such as OPENAI_API_KEY: "
        "another name goes into settings.toml by hand."
    )
