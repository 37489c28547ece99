"""The fast path against TRL's own, in every family it feeds: the same numbers, only sooner."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor

from db.vocabulary import Stage, Verdict
from tests.training.tiny_families import build_family
from tests.training.tiny_video_families import BUILDERS
from training import dpo, drawing, sft, world
from training.base import load_base
from training.config import DistilConfig, DpoConfig, LoraSettings, StageConfig
from training.prompts import Evidence
from training.records import CaseInput, Preference, Target
from training.stage import StageInputs
from training.state import RunFolder

SAID = "Place: the picture shows the castle, the caption names the lighthouse. "
MUCH = tuple(Evidence(f"Title {n}", "https://example.org", "2024-05-01", SAID) for n in range(3))

MakeInputs = Callable[..., StageInputs]


@pytest.fixture(scope="module", params=list(BUILDERS))
def student(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of an untrained student of each family in turn."""
    return build_family(BUILDERS[request.param], tmp_path_factory.mktemp(request.param))


@pytest.fixture
def make_inputs(tmp_path: Path, student: Path) -> MakeInputs:
    """Give a function that makes a run folder with pictures and a stage-1 adapter that says something."""

    def make(path: str, **changes: Any) -> StageInputs:
        folder = RunFolder(tmp_path / path)
        (folder.path / "images").mkdir(parents=True, exist_ok=True)
        for number, case in enumerate(world.build_cases(0, train=3 * 2, validation=0, test=0)):
            picture = drawing.draw(case.scene, case.picture_seed, height=96, supersample=1)
            picture.save(folder.path / f"images/{number}.png")
        config = replace(_config(student), path=path, **changes)
        if not folder.adapter_dir(Stage.SFT).exists():
            _leave_stage1(config, folder.adapter_dir(Stage.SFT))
        return StageInputs(folder, config, lambda: False)

    return make


def _config(student: Path) -> DistilConfig:
    return DistilConfig(
        student=str(student),
        sft=StageConfig(learning_rate=1e-3, epochs=3, batch_size=2, accumulation=2, log_every=1),
        dpo=DpoConfig(learning_rate=1e-3, epochs=5, batch_size=6, log_every=1),
        lora=LoraSettings(rank=4, alpha=8),
        max_steps=5,
    )


def _leave_stage1(config: DistilConfig, directory: Path) -> None:
    base, _ = load_base(config.student, config.dtype)
    torch.manual_seed(1)
    lora = LoraConfig(r=4, lora_alpha=8, target_modules=config.lora.targets, init_lora_weights=False)
    get_peft_model(base, lora).save_pretrained(str(directory))


def _cases() -> list[CaseInput]:
    """Return cases of three pictures: bare, with a date and a place, and with much evidence."""
    return [
        CaseInput("a", "images/0.png", "A market by the sea."),
        CaseInput("b", "images/1.png", "The fair at the castle.", "2024-05-01", "Kyiv"),
        CaseInput("c", "images/2.png", "A flood.", evidence=MUCH),
        CaseInput("d", "images/2.png", "A parade.", "2024-06-01"),
    ]


def _preferences() -> list[Preference]:
    """Return pairs of which some are of one case, some say nothing, and some go on for long."""
    one, other = Verdict.OUT_OF_CONTEXT, Verdict.IN_CONTEXT
    a, b, c, d = _cases()
    return [
        Preference(a, one, SAID, "No reason."),
        Preference(b, other, "", SAID * 3),
        Preference(a, one, SAID, SAID * 2),
        Preference(c, other, SAID * 3, ""),
        Preference(c, other, "Event: a flood.", ""),
        Preference(d, one, "No reason.", "Yes."),
    ]


def _targets() -> list[Target]:
    return [Target(p.case, p.verdict, p.chosen, p.origin) for p in _preferences()]


def trainer_of(inputs: StageInputs, stage: Stage) -> Any:
    """Build the trainer of a stage on the cases above."""
    if stage is Stage.SFT:
        return sft.build_trainer(inputs, _targets())[0]
    return dpo.build_trainer(inputs, _preferences())[0]


def _batch(trainer: Any) -> Any:
    return next(iter(trainer.get_train_dataloader()))


def _stock_log_probabilities(trainer: Any, batch: dict[str, Tensor]) -> Tensor:
    """Return log-probabilities of answer tokens in TRL's layout, row after row."""
    asked = {name: values for name, values in batch.items() if name not in {"completion_mask", "labels"}}
    labels = batch.get("labels")
    if labels is None:
        labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
    with torch.no_grad():
        said = trainer.model(**asked, labels=labels, fused_lm_head=True)
    found: Tensor = said.log_probs[said.label_mask]
    return found


def _padded_on_the_left(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Move the padding of TRL's batch from the right of each row to its left."""
    shape = batch["attention_mask"].shape
    missing = (batch["attention_mask"] == 0).sum(1).tolist()

    def moved(values: Tensor) -> Tensor:
        return torch.stack([row.roll(count) for row, count in zip(values, missing, strict=True)])

    return {name: moved(values) if values.shape == shape else values for name, values in batch.items()}


def _gradients(trainer: Any) -> dict[str, Tensor]:
    trainer.model.train()
    trainer.compute_loss(trainer.model, _batch(trainer)).backward()
    return {name: values.grad for name, values in trainer.model.named_parameters() if values.grad is not None}


def _assert_same_gradients(fast: dict[str, Tensor], stock: dict[str, Tensor]) -> None:
    assert fast.keys() == stock.keys()
    assert all("lora_" in name and "vision" not in name for name in fast)
    for name, values in stock.items():
        assert float((fast[name] - values).norm() / values.norm()) <= 1e-5, name


def test_log_probabilities_are_those_of_two_rows(make_inputs: MakeInputs) -> None:
    stock = trainer_of(make_inputs("stock"), Stage.DPO)
    fast = trainer_of(make_inputs("fast"), Stage.DPO)
    theirs, batch = _batch(stock), _batch(fast)
    with torch.no_grad():
        ours = fast.model(**batch["packed"], fused_lm_head=True).log_probs[0]
    assert sum(len(one["input_ids"]) for one in batch["packed"]["passes"]) * 2 <= len(theirs["input_ids"])
    assert not theirs["attention_mask"][:, -1].all(), "some rows are padded on the right"
    for padded in (theirs, _padded_on_the_left(theirs)):
        torch.testing.assert_close(ours, _stock_log_probabilities(stock, padded), rtol=0, atol=1e-5)


def test_stage_1_log_probabilities_are_those_of_whole_rows(make_inputs: MakeInputs) -> None:
    stock = trainer_of(make_inputs("stock"), Stage.SFT)
    fast = trainer_of(make_inputs("fast"), Stage.SFT)
    for theirs, ours in zip(stock.get_train_dataloader(), fast.get_train_dataloader(), strict=True):
        with torch.no_grad():
            said = fast.model(**ours, fused_lm_head=True).log_probs[0]
        torch.testing.assert_close(said, _stock_log_probabilities(stock, theirs), rtol=0, atol=1e-5)


def test_gradients_of_every_lora_matrix_are_the_same(make_inputs: MakeInputs) -> None:
    stock = trainer_of(make_inputs("stock"), Stage.DPO)
    fast = trainer_of(make_inputs("fast"), Stage.DPO)
    _assert_same_gradients(_gradients(fast), _gradients(stock))


def test_stage_1_gradients_are_the_same(make_inputs: MakeInputs) -> None:
    stock = trainer_of(make_inputs("stock"), Stage.SFT)
    fast = trainer_of(make_inputs("fast"), Stage.SFT)
    for trainer in (stock, fast):
        torch.manual_seed(2)
        for name, values in trainer.model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(values, std=0.1)
    _assert_same_gradients(_gradients(fast), _gradients(stock))


@pytest.mark.slow
@pytest.mark.parametrize("student", ["idefics3", "gemma3", "qwen3_vl"], indirect=True)
@pytest.mark.parametrize("stage", [Stage.SFT, Stage.DPO])
def test_five_steps_go_the_same_way(make_inputs: MakeInputs, stage: Stage) -> None:
    logged = []
    for path in ("stock", "fast"):
        inputs = make_inputs(path)
        trainer_of(inputs, stage).train()
        logged.append(inputs.folder.metrics())
        assert (inputs.folder.state().path or "").startswith(f"{path}: ")
    for theirs, ours in zip(*logged, strict=True):
        assert ours["step"] == theirs["step"]
        for name in theirs.keys() - {"seconds", "stage", "reward_accuracy"}:  # at first, rounding breaks ties
            assert ours[name] == pytest.approx(theirs[name], rel=1e-3, abs=1e-3), (name, theirs["step"])
    assert len(logged[0]) == 5


def test_the_first_loss_is_ln_2_and_the_sft_loss(make_inputs: MakeInputs) -> None:
    fast = trainer_of(make_inputs("fast"), Stage.DPO)
    batch = _batch(fast)
    loss = float(fast.compute_loss(fast.model, batch).detach())
    fast.loss_weights = [0.0, 1.0]
    sft_loss = float(fast.compute_loss(fast.model, batch).detach())
    assert math.isclose(loss, math.log(2) + sft_loss, abs_tol=1e-5)
