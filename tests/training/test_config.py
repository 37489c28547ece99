import json
from pathlib import Path

import pytest

from training.config import PRESETS, ConfigError, StageConfig, load_config, preset, save_config
from training.records import RecordError, Target, read_records


def test_settings_that_cannot_be_are_refused_when_built() -> None:
    for bad in (
        {"learning_rate": 0, "epochs": 1, "batch_size": 1},
        {"learning_rate": 1e-3, "epochs": 0, "batch_size": 1},
        {"learning_rate": 1e-3, "epochs": 1, "batch_size": 0},
    ):
        with pytest.raises(ConfigError):
            StageConfig(**bad)
    with pytest.raises(ConfigError, match="float16"):
        preset("demo", dtype="float16")
    with pytest.raises(ConfigError, match="no preset"):
        preset("demos")


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_saved_configuration_comes_back(name: str, tmp_path: Path) -> None:
    save_config(PRESETS[name], tmp_path / "config.json")
    assert load_config(tmp_path / "config.json") == PRESETS[name]


def test_an_unknown_setting_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with pytest.raises(ConfigError, match="no configuration"):
        load_config(path)
    save_config(PRESETS["demo"], path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "speed": 9}))
    with pytest.raises(ConfigError, match="speed"):
        load_config(path)


def test_a_bad_record_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "sft.jsonl"
    path.write_text('{"case": {}}\n')
    with pytest.raises(RecordError, match=r"sft\.jsonl, line 1"):
        read_records(path, Target)
