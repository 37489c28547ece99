"""Pictures' features: kept once, read back bit for bit, and never half."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import set_seed

from tests.training.conftest import MakeRun
from tests.training.tiny_video_families import BUILDERS
from training.base import load_base
from training.config import ImageSettings
from training.conversations import with_image
from training.families import FAMILIES
from training.features import FeatureStore, Pictures
from training.resolution import set_resolution

PROMPT = "<|im_start|>User:<image> Which?<end_of_utterance>\nAssistant:"


def pictures_of(run_dir: Path, student: Path, *, budget: int = 10**9) -> Pictures:
    model, processor = load_base(str(student), "float32")
    return Pictures(
        run_dir, model, processor, FAMILIES["idefics3"], folder=run_dir / "features", budget=budget
    )


def names_in(run_dir: Path) -> list[str]:
    return sorted(str(path.relative_to(run_dir)) for path in (run_dir / "images").iterdir())


def test_features_come_back_bit_for_bit(make_run: MakeRun, tiny_student: Path) -> None:
    run_dir = make_run()
    pictures = pictures_of(run_dir, tiny_student)
    names = names_in(run_dir)
    pictures.prepare([(name, PROMPT) for name in names])
    live = pictures.compute([pictures.encode(name, PROMPT) for name in names])
    for name, features in zip(names, live, strict=True):
        assert torch.equal(pictures.features(name), features)
        assert not features.requires_grad


def test_a_picture_is_computed_once_whatever_it_is_called(make_run: MakeRun, tiny_student: Path) -> None:
    run_dir = make_run()
    name = names_in(run_dir)[0]
    (run_dir / "images/again.jpg").write_bytes((run_dir / name).read_bytes())
    pictures = pictures_of(run_dir, tiny_student)
    pictures.prepare([(name, PROMPT), ("images/again.jpg", PROMPT), (name, PROMPT + " In")])
    assert len(list((run_dir / "features").iterdir())) == 1
    written = (run_dir / "features").stat().st_mtime_ns
    pictures_of(run_dir, tiny_student).prepare([(name, PROMPT)])
    assert (run_dir / "features").stat().st_mtime_ns == written, "the second stage finds what the first left"


def test_beyond_the_budget_features_are_computed_live(make_run: MakeRun, tiny_student: Path) -> None:
    run_dir = make_run()
    names = names_in(run_dir)[:3]
    kept = pictures_of(run_dir, tiny_student)
    kept.prepare([(name, PROMPT) for name in names])
    size = next((run_dir / "features").iterdir()).stat().st_size
    for path in (run_dir / "features").iterdir():
        path.unlink()
    tight = pictures_of(run_dir, tiny_student, budget=2 * size)
    tight.prepare([(name, PROMPT) for name in names])
    assert len(list((run_dir / "features").iterdir())) == 2
    live = tight.compute([tight.encode(names[2], PROMPT)])[0]
    assert torch.equal(tight.features(names[2]), live)


def test_what_a_kill_left_is_not_read(make_run: MakeRun, tiny_student: Path) -> None:
    run_dir = make_run()
    asked = [(name, PROMPT) for name in names_in(run_dir)]
    pictures = pictures_of(run_dir, tiny_student)
    pictures.prepare(asked)
    whole = {path.name: path.read_bytes() for path in (run_dir / "features").iterdir()}
    first, second, *_ = whole
    (run_dir / "features" / first).write_bytes(whole[first][:-8])
    (run_dir / "features" / second).rename(run_dir / "features" / f"{second}.partial")
    pictures_of(run_dir, tiny_student).prepare(asked)
    found = {path.name: path.read_bytes() for path in (run_dir / "features").iterdir()}
    assert found.keys() == whole.keys()
    torch.testing.assert_close(_numbers(found[first]), _numbers(whole[first]))


@pytest.mark.parametrize("name", ["idefics3", "internvl", "llava_onevision", "qwen3_vl"])
def test_pictures_of_any_shape_have_the_features_the_model_gives_them(name: str, tmp_path: Path) -> None:
    """Several tiles of a picture, patches of any number, and what an inner layer takes besides."""
    set_seed(0)
    model, processor = BUILDERS[name]()
    set_resolution(model, processor, ImageSettings(tiles=4))
    for number, size in enumerate([(96, 64), (64, 96), (64, 64), (96, 64)]):
        Image.linear_gradient("L").rotate(90 * number).resize(size).convert("RGB").save(
            tmp_path / f"{number}.png"
        )
    pictures = Pictures(tmp_path, model, processor, FAMILIES[name], folder=tmp_path / "kept", budget=10**9)
    names = [f"{number}.png" for number in range(4)]
    turns = with_image([{"role": "user", "content": "Which?"}])
    cue = processor.apply_chat_template([turns], add_generation_prompt=True)[0]
    pictures.prepare([(one, cue) for one in names])
    assert len(list((tmp_path / "kept").iterdir())) == 4
    differ = len({len(pictures.features(one)) for one in names}) > 1
    assert differ or name == "idefics3", "a square of tiles, whatever the picture's shape"
    for one in names:
        encoded = pictures.encode(one, cue)
        with torch.no_grad():
            given = model.eval().base_model.get_image_features(**encoded.pixels)
        layers = [given.pooler_output, *(given.get("deepstack_features") or [])]
        expected = torch.cat([torch.cat(list(layer)) for layer in layers], dim=-1)
        torch.testing.assert_close(pictures.features(one), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_store_keeps_the_dtype(tmp_path: Path, dtype: torch.dtype) -> None:
    store = FeatureStore(tmp_path / "features", width=4, dtype=dtype, budget=10**6)
    features = torch.randn(3, 4).to(dtype)
    store.put("one", features)
    kept = store.get("one", 3)
    assert kept is not None
    assert torch.equal(kept, features)
    assert store.get("one", 2) is None
    assert store.get("two", 3) is None


def _numbers(stored: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(stored), dtype=torch.float32)
