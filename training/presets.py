"""Presets and recipes: TOML files that say all there is to a distillation, and where each value is from.

A preset, `training/presets/NAME.toml`, holds the settings that suit one student. A recipe,
`training/recipes/NAME.toml`, also names the teachers and the data of a whole pipeline. The dataclasses of
`training.config` are the schema of both, and every value carries a comment: `published` with its source,
`hub` for what the student's page or its config.json says, or `ours`.
"""

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from training.config import ConfigError, DistilConfig, from_values, load_config
from training.shapes import StudentShape

PRESETS_DIR = Path(__file__).resolve().parent / "presets"
RECIPES_DIR = Path(__file__).resolve().parent / "recipes"
DEMO = "demo"
ENDPOINTS = ("vllm", "openai", "transformers", "replay")
"""How a teacher is asked: a vLLM server, another OpenAI-compatible one, in this process, from a file."""


@dataclass(frozen=True, slots=True)
class NamedTeacher:
    """A teacher as a recipe names it; `model` is a hub id, and nothing here asks it."""

    name: str
    model: str
    endpoint: str

    def __post_init__(self) -> None:
        if self.endpoint not in ENDPOINTS:
            raise ConfigError(f"endpoint {self.endpoint!r} is none of {', '.join(ENDPOINTS)}.")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a preset or recipe says: the settings, and for a recipe the teachers and the data set.

    `shape` is the student's as its file records it, for estimates where the student is not at hand.
    """

    config: DistilConfig
    teachers: tuple[NamedTeacher, ...] = ()
    data_set: str = ""
    shape: StudentShape | None = None


def preset_names() -> tuple[str, ...]:
    """Return the names of the presets, the demo's first."""
    names = sorted(path.stem for path in PRESETS_DIR.glob("*.toml"))
    return tuple(sorted(names, key=lambda name: name != DEMO))


def preset_plan(name: str) -> Plan:
    """Read a preset whole. Raises ConfigError for an unknown name."""
    if name not in preset_names():
        raise ConfigError(f"There is no preset {name!r}; choose one of {', '.join(preset_names())}.")
    return read_plan(PRESETS_DIR / f"{name}.toml")


def preset(name: str, **changes: Any) -> DistilConfig:
    """Return a preset's settings with fields replaced. Raises ConfigError for an unknown name."""
    return replace(preset_plan(name).config, **changes)


def preset_of(student: str) -> str | None:
    """Return the name of the preset that is made for a student; None where there is none."""
    return next((name for name in preset_names() if preset(name).student == student), None)


def read_plan(path: Path) -> Plan:
    """Read a preset, a recipe, or a run's `config.json`.

    Raises ConfigError naming the file and the setting that is missing, unknown or out of range.
    """
    if path.suffix != ".toml":
        return Plan(load_config(path))
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"There is no configuration at {path}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from error
    own = {name: values.pop(name) for name in ("teachers", "data_set", "shape") if name in values}
    return from_values(Plan, {"config": values, **own}, str(path))
