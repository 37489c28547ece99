import json
from pathlib import Path

import pytest

from training.config import ConfigError, ImageSettings, StageConfig, load_config, save_config
from training.presets import preset, preset_names
from training.records import RecordError, Target, read_records


def test_settings_that_cannot_be_are_refused_when_built() -> None:
    for bad in (
        {"learning_rate": 0, "epochs": 1, "batch_size": 1},
        {"learning_rate": 1e-3, "epochs": 0, "batch_size": 1},
        {"learning_rate": 1e-3, "epochs": 1, "batch_size": 0},
    ):
        with pytest.raises(ConfigError):
            StageConfig(**bad)
    for wrong in ({"tiles": 0}, {"min_pixels": -1}, {"min_pixels": 2, "max_pixels": 1}):
        with pytest.raises(ConfigError):
            ImageSettings(**wrong)
    with pytest.raises(ConfigError, match="float16"):
        preset("demo", dtype="float16")
    with pytest.raises(ConfigError, match="8bit"):
        preset("demo", quantization="8bit")
    with pytest.raises(ConfigError, match="no preset"):
        preset("demos")


@pytest.mark.parametrize("name", preset_names())
def test_a_saved_configuration_comes_back(name: str, tmp_path: Path) -> None:
    save_config(preset(name), tmp_path / "config.json")
    assert load_config(tmp_path / "config.json") == preset(name)


def test_a_setting_that_is_unknown_missing_or_of_another_kind_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with pytest.raises(ConfigError, match="no configuration"):
        load_config(path)
    save_config(preset("demo"), path)
    good = json.loads(path.read_text())
    for changed, named in (
        ({**good, "speed": 9}, "speed"),
        ({**good, "dpo": {**good["dpo"], "gamma": 1}}, "config.json, dpo: .*gamma"),
        ({name: value for name, value in good.items() if name != "student"}, "student"),
        ({**good, "sft": {**good["sft"], "epochs": "3"}}, "sft, epochs: '3' is not a float"),
        ({**good, "lora": 16}, "lora"),
        ({**good, "ablation": 1}, "ablation"),
    ):
        path.write_text(json.dumps(changed))
        with pytest.raises(ConfigError, match=named):
            load_config(path)
    path.write_text("{")
    with pytest.raises(ConfigError, match="not a distillation's configuration"):
        load_config(path)


def test_a_configuration_of_an_earlier_version_still_loads(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    save_config(preset("demo"), path)
    values = json.loads(path.read_text())
    for added in ("images", "quantization", "activation_checkpointing", "licence", "negatives"):
        del values[added]
    path.write_text(json.dumps(values))
    earlier = load_config(path)
    assert earlier.images.tiles == 1
    assert earlier.quantization == "none"


def test_a_bad_record_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "sft.jsonl"
    path.write_text('{"case": {}}\n')
    with pytest.raises(RecordError, match=r"sft\.jsonl, line 1"):
        read_records(path, Target)
