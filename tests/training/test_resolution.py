"""Image settings reach the processor, in training and serving; LoRA reaches the language model alone."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from tests.training.tiny_video_families import BUILDERS
from training.base import load_base, precision
from training.config import LANGUAGE_MODEL, ConfigError, ImageSettings
from training.presets import preset_plan
from training.quantization import four_bit
from training.resolution import FILE_NAME, set_resolution, write_settings

PRESET_OF = {
    "idefics3": "smolvlm-500m", "smolvlm": "smolvlm-2.2b", "gemma3": "gemma-3-4b",
    "qwen2_5_vl": "qwen2.5-vl-3b", "qwen3_vl": "qwen3-vl-2b", "llava_onevision": "llava-onevision-0.5b",
    "internvl": "internvl3-1b",
}  # fmt: skip


def set_on(images: SimpleNamespace, model: Any = None, **settings: int) -> SimpleNamespace:
    set_resolution(model, SimpleNamespace(image_processor=images), ImageSettings(**settings))
    return images


def tiles_of(processor: Any) -> int:
    picture = Image.new("RGB", (128, 128))
    taken = processor(images=[[picture]], text=["<image>"], return_tensors="pt")
    return int(taken["pixel_values"].shape[1])


def test_bounds_on_pixels_are_refused_where_pictures_have_a_fixed_size(tiny_student: Path) -> None:
    with pytest.raises(ConfigError, match="max_pixels are no settings of Idefics3"):
        load_base(str(tiny_student), "float32", images=ImageSettings(max_pixels=1000))


def test_four_bits_without_a_gpu_are_refused_with_a_way_out(tiny_student: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    for refused in (four_bit, lambda: load_base(str(tiny_student), "float32", quantization="4bit")):
        with pytest.raises(ConfigError, match=r"bitsandbytes==0\.50\.2"):
            refused()


def test_a_picture_is_one_tile_unless_settings_say_otherwise(tiny_student: Path) -> None:
    _, whole = load_base(str(tiny_student), "float32")
    _, cut = load_base(str(tiny_student), "float32", images=ImageSettings(tiles=4))
    assert (tiles_of(whole), tiles_of(cut)) == (1, 5)


def test_a_merged_model_keeps_the_settings_it_was_made_with(tmp_path: Path, tiny_student: Path) -> None:
    model, processor = load_base(str(tiny_student), "float32", images=ImageSettings(tiles=4))
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    write_settings(ImageSettings(tiles=4), tmp_path)
    assert tiles_of(load_base(str(tmp_path), "float32")[1]) == 5
    (tmp_path / FILE_NAME).unlink()
    assert tiles_of(load_base(str(tmp_path), "float32")[1]) == 1


def test_settings_speak_each_family_s_own_words() -> None:
    areas = set_on(SimpleNamespace(size={"shortest_edge": 1, "longest_edge": 9}, merge_size=2), max_pixels=4)
    assert areas.size == {"shortest_edge": 1, "longest_edge": 4}
    crops = set_on(SimpleNamespace(max_patches=12, crop_to_patches=True))
    assert (crops.max_patches, crops.crop_to_patches) == (1, False)
    model = SimpleNamespace(config=SimpleNamespace(image_grid_pinpoints=[[384, 384], [384, 768]]))
    grids = set_on(SimpleNamespace(image_grid_pinpoints=[[384, 384], [384, 768]]), model, tiles=2)
    assert grids.image_grid_pinpoints == [[384, 384], [384, 768], [768, 384]]
    assert model.config.image_grid_pinpoints == grids.image_grid_pinpoints
    assert set_on(SimpleNamespace(do_pan_and_scan=False), tiles=3).do_pan_and_scan is True
    untouched = SimpleNamespace(size={"height": 336, "width": 336})
    assert set_on(untouched).__dict__ == {"size": {"height": 336, "width": 336}}


def test_auto_is_float32_without_a_gpu() -> None:
    assert precision("bfloat16") == "bfloat16"
    if not torch.cuda.is_available():
        assert precision("auto") == "float32"


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_lora_reaches_the_linear_layers_of_the_language_model_alone(name: str) -> None:
    model, _ = BUILDERS[name]()
    ours = "text_model" if name in {"idefics3", "smolvlm"} else "language_model"
    linear = {n for n, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    wanted = {n for n in linear if f".{ours}." in n}
    targets = [LANGUAGE_MODEL]
    if name in PRESET_OF:
        targets.append(preset_plan(PRESET_OF[name]).config.lora.targets)
    for pattern in targets:
        assert {n for n, _ in model.named_modules() if re.fullmatch(pattern, n)} == wanted
    assert wanted
    assert wanted < linear
