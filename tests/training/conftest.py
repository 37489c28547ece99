"""A student that has learnt nothing, and a run folder of a few drawn cases."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from db.vocabulary import Answer, Split, Verdict
from training import drawing, scripted, world
from training.config import DistilConfig, DpoConfig, LoraSettings, StageConfig, save_config
from training.preferences import Opinion, SettledCase, preferences, settled_target
from training.records import CaseInput, GoldCase, write_records
from training.tiny import TinyShape, build_model, build_processor, build_tokenizer

SHAPE = TinyShape(32, 64, 2, 2, 32, 64, 1, 2)

MakeRun = Callable[..., Path]


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Run on one thread, which is faster for students as small as these."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny_student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of an untrained student of the shipped student's family."""
    directory = tmp_path_factory.mktemp("student")
    torch.manual_seed(0)
    tokenizer = build_tokenizer(random.Random(0), texts=300)
    build_model(tokenizer, SHAPE).save_pretrained(directory)
    build_processor(tokenizer).save_pretrained(directory)
    return directory


@pytest.fixture
def make_run(tmp_path: Path, tiny_student: Path) -> MakeRun:
    """Give a function that freezes a small run folder: eight targets, their preferences, eight held out."""

    return lambda **settings: freeze_run(tmp_path / "run", tiny_student, **settings)


def freeze_run(run_dir: Path, student: Path, *, max_steps: int = 3, cases: int = 16) -> Path:
    """Freeze a small run folder: eight targets, their preferences, eight held out."""
    (run_dir / "images").mkdir(parents=True)
    settled, held_out = [], []
    for number, case in enumerate(world.build_cases(0, train=cases, validation=0, test=0)):
        image = f"images/{case.group}.jpg"
        drawing.draw(case.scene, case.picture_seed, height=96, supersample=1).save(run_dir / image)
        asked = CaseInput(case.id, image, case.caption, case.dateline.date, case.dateline.town)
        said = tuple(Opinion(o.teacher, o.verdict, o.rationale) for o in scripted.opinions(case))
        if number % 2:
            held_out.append(GoldCase(asked, case.gold, {o.teacher: o.verdict for o in said}))
        else:
            settled.append(SettledCase(asked, case.gold, _both_sides(said, case.gold)))
    write_records(run_dir / "sft.jsonl", [settled_target(item) for item in settled])
    write_records(run_dir / "preferences.jsonl", preferences(settled, max_per_case=1))
    write_records(run_dir / f"{Split.VALIDATION.value}.jsonl", held_out)
    write_records(run_dir / f"{Split.TEST.value}.jsonl", held_out)
    save_config(_config(student, max_steps), run_dir / "config.json")
    counts = {"training_cases": len(settled), "rulings": len(settled)}
    right = {"name": "right", "kind": "endpoint", "model": "org/m", "prompt_version": "teach-2"}
    frozen = {"hash": "0", "counts": counts, "teachers": [{**right, "opinions": len(settled)}]}
    (run_dir / "snapshot.json").write_text(json.dumps(frozen))
    return run_dir


def _both_sides(said: tuple[Opinion, ...], gold: Verdict) -> tuple[Opinion, ...]:
    wrong = next(verdict for verdict in Verdict if verdict != gold)
    made_up = (
        Opinion("right", Answer(gold), "Place: the castle."),
        Opinion("wrong", Answer(wrong), "No reason."),
    )
    return (*said, *made_up)


def _config(student: Path, max_steps: int) -> DistilConfig:
    return DistilConfig(
        student=str(student),
        sft=StageConfig(learning_rate=1e-2, epochs=1, batch_size=4, save_every=1, log_every=1),
        dpo=DpoConfig(learning_rate=1e-2, epochs=1, batch_size=4, save_every=1, log_every=1),
        lora=LoraSettings(rank=4, alpha=8),
        max_steps=max_steps,
    )
