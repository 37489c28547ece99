"""A stage of training on the fast path and on TRL's own: same student, rows, batch, seed, one thread.

Steps are timed in seconds of processor time, from one step's end to the next one's, so collating and
the optimizer count and a busy machine does not. TRL is measured at its defaults, which recompute
activations in the backward pass, and without that. It is given its pictures decoded and shrunk.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script finds its own folder only

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    SiglipImageProcessorPil,
    SiglipVisionConfig,
    TrainerCallback,
    set_seed,
)
from transformers.models.idefics3.configuration_idefics3 import Idefics3VisionConfig

from benchmarks.processes import in_child, peak_memory
from benchmarks.report import Figure, figure, show
from db.vocabulary import Answer, Stage, Verdict
from training import dpo, drawing, scripted, sft, world
from training.config import DistilConfig, DpoConfig, ImageSettings, StageConfig
from training.preferences import Opinion, SettledCase, preferences, settled_target
from training.records import CaseInput, Preference, Target
from training.stage import StageInputs
from training.state import RunFolder
from training.tiny import CHAT_TEMPLATE, build_processor, build_tokenizer

STEPS, STEPS_AT_DEFAULTS = 20, 6
DEFAULTS, BEST, FAST = "TRL's defaults", "TRL, no recomputing", "fast"
GOALS = {Stage.DPO: ">= 4", Stage.SFT: ">= 2"}


@dataclass(frozen=True, slots=True)
class Model:
    """A student to train, made in the folder given, and the rows of one step."""

    name: str
    batch: int
    make: Callable[[Path], Path]
    tiles: int = 1


@dataclass(frozen=True, slots=True)
class Measured:
    """A trained stage: seconds of processor time and FLOPs of a step, and what was done once before.

    `once` has seconds of processor time by what they were spent on; `memory` is what the process held at
    most, in MiB, beyond what it held before it loaded the student.
    """

    once: dict[str, float]
    memory: float
    seconds: float
    flops: int
    losses: list[float]
    gradient_norms: list[float]


def shipped(_: Path) -> Path:
    """Return the tiny student that ships: 3 million parameters, 16 image tokens."""
    return Path(__file__).resolve().parents[1] / "assets/student"


def llava(folder: Path) -> Path:
    """Make a LLaVA of 13 million parameters with 196 image tokens and a vocabulary of 16,384."""
    tokenizer = build_tokenizer(random.Random(0), texts=300)
    ids = tokenizer.get_vocab()
    side, patch = 224, 16
    config = LlavaConfig(
        vision_config=SiglipVisionConfig(
            hidden_size=192, intermediate_size=768, num_hidden_layers=6, num_attention_heads=4,
            image_size=side, patch_size=patch, vision_use_head=False,
        ),
        text_config=LlamaConfig(
            vocab_size=16_384, hidden_size=256, intermediate_size=1024, num_hidden_layers=6,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=2048,
            pad_token_id=ids["<pad>"], eos_token_id=ids["<end_of_utterance>"], bos_token_id=None,
            tie_word_embeddings=True,
        ),
        image_token_index=ids["<image>"], vision_feature_layer=-1, vision_feature_select_strategy="full",
        image_seq_length=(side // patch) ** 2, tie_word_embeddings=True,
    )  # fmt: skip
    processor = LlavaProcessor(
        image_processor=SiglipImageProcessorPil(size={"height": side, "width": side}),
        tokenizer=tokenizer,
        patch_size=patch,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        chat_template=CHAT_TEMPLATE,
        image_token="<image>",
    )
    set_seed(0)
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def smolvlm(folder: Path) -> Path:
    """Make an Idefics3 of SmolVLM-256M's shape with drawn weights: 64 image tokens of 512 pixels."""
    tokenizer = build_tokenizer(random.Random(0), texts=300)
    ids = tokenizer.get_vocab()
    config = Idefics3Config(
        vision_config=Idefics3VisionConfig(
            hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
            image_size=512, patch_size=16,
        ),
        text_config=LlamaConfig(
            vocab_size=49_280, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
            num_attention_heads=9, num_key_value_heads=3, max_position_embeddings=8192,
            pad_token_id=ids["<pad>"], bos_token_id=ids["<|im_start|>"],
            eos_token_id=ids["<end_of_utterance>"],
        ),
        image_token_id=ids["<image>"], scale_factor=4,
    )  # fmt: skip
    processor = build_processor(tokenizer)
    processor.image_seq_len = 64
    processor.image_processor.size = {"longest_edge": 768}
    processor.image_processor.max_image_size = {"longest_edge": 512}
    set_seed(0)
    Idefics3ForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


MODELS = (Model("tiny student", 16, shipped), Model("13 M LLaVA", 4, llava))
LARGE = (
    Model("SmolVLM-256M's shape", 2, smolvlm),
    Model("SmolVLM-256M's shape, 17 tiles", 1, smolvlm, tiles=17),
)


def main(stage: Stage, description: str) -> None:
    """Measure the stage on each student and print its figures."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true")
    warnings.filterwarnings("ignore", ".*_checkpointing", FutureWarning)  # TRL uses the old name
    names = [model.name for model in (*MODELS, *LARGE)]
    parser.add_argument("--large", action="store_true", help=f"measure {LARGE[0].name} too; takes long")
    parser.add_argument("--only", choices=names, help="measure one student")
    parser.add_argument("--steps", type=int, default=STEPS, help="optimizer steps that are compared")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rate = multiplication_rate()
    figures = [figure("machine, matrix products", rate / 1e9, "GFLOP/s")]
    for model in (*MODELS, *LARGE):
        if model.name == given.only or (not given.only and (given.large or model in MODELS)):
            figures += _figures(stage, model, given.steps, rate)
    packages = ("torch", "transformers", "trl", "peft")
    show(stage.value, packages, figures, as_json=given.json)


def multiplication_rate() -> float:
    """Return the FLOP/s of this machine's matrix products in float32, the best of a few."""
    size = 1024
    left, right = torch.rand(size, size), torch.rand(size, size)
    best = min(_seconds(lambda: torch.mm(left, right)) for _ in range(8))
    return 2 * size**3 / best


def _seconds(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _figures(stage: Stage, model: Model, steps: int, rate: float) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(Path(folder), model, stage)
        fast, _ = in_child(bench.train, FAST, steps)
        best, _ = in_child(bench.train, BEST, steps)
        defaults, _ = in_child(bench.train, DEFAULTS, min(steps, STEPS_AT_DEFAULTS))
    name = model.name
    for what, one in ((FAST, fast), (BEST, best), (DEFAULTS, defaults)):
        yield figure(f"{name}, {what}", 1 / one.seconds, "steps/s")
        yield figure(f"{name}, {what}, work of a step", one.flops / 1e9, "GFLOP")
        yield figure(f"{name}, {what}, of the machine's rate", one.flops / one.seconds / rate, "share")
        yield figure(f"{name}, {what}, peak memory", one.memory, "MiB")
    yield figure(f"{name}, fast over TRL's defaults", defaults.seconds / fast.seconds, "x", GOALS[stage])
    yield figure(f"{name}, fast over TRL without recomputing", best.seconds / fast.seconds, "x")
    yield figure(f"{name}, memory of TRL's defaults over fast", defaults.memory / fast.memory, "x")
    yield figure(f"{name}, fast over TRL's defaults, once included", _whole(defaults) / _whole(fast), "x")
    for what, ours, theirs in (
        ("loss", fast.losses, best.losses),
        ("gradient norm", fast.gradient_norms, best.gradient_norms),
    ):
        furthest = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
        yield figure(f"{name}, largest difference of the {what}", furthest, "", "<= 0.001")
    for what, seconds in fast.once.items():
        yield figure(f"{name}, fast, once: {what}", seconds, "s")


def _whole(one: Measured) -> float:
    """Return the seconds of `STEPS` steps, an epoch of the benchmark's rows, with what is done once."""
    return STEPS * one.seconds + sum(one.once.values())


class _Bench:
    """A run folder of drawn cases and the stage that is trained in it, once per variant."""

    def __init__(self, folder: Path, model: Model, stage: Stage) -> None:
        self.folder = folder
        self.stage = stage
        (folder / "images").mkdir()
        settled = list(_settled_cases(folder, model.batch * STEPS))
        self.preferences: list[Preference] = list(preferences(settled, max_per_case=1))
        self.targets: list[Target] = [settled_target(case) for case in settled]
        shared: dict[str, Any] = {
            "learning_rate": 1e-4,
            "epochs": 1,
            "batch_size": model.batch,
            "save_every": 10_000,
            "log_every": 1,
        }
        self.config = DistilConfig(
            student=str(model.make(folder / "student")),
            sft=StageConfig(**shared),
            dpo=DpoConfig(**shared),
            images=ImageSettings(tiles=model.tiles),
        )
        if stage is Stage.DPO:
            with _quiet():
                sft.run(self._inputs("stage1", replace(self.config, max_steps=2)), self.targets)

    def train(self, variant: str, steps: int) -> Measured:
        """Train a new run of the variant and measure it."""
        torch.set_num_threads(1)
        warnings.filterwarnings("ignore", ".*_checkpointing", FutureWarning)
        before = peak_memory()
        config = replace(self.config, max_steps=steps, path="fast" if variant == FAST else "stock")
        inputs = self._inputs(variant, config)
        clock = _Clock()
        with _quiet():
            trainer, once = self._build(inputs)
            if variant == DEFAULTS:
                trainer.args.activation_checkpointing = trainer.args.gradient_checkpointing = True
                trainer.model.enable_input_require_grads()
            trainer.add_callback(clock)
            trainer.train()
            flops = _flops(trainer)
        rows = inputs.folder.metrics()
        return Measured(
            once,
            peak_memory() - before,
            clock.seconds(),
            flops,
            [row["loss"] for row in rows],
            [row["gradient_norm"] for row in rows],
        )

    def _inputs(self, variant: str, config: DistilConfig) -> StageInputs:
        """Return a run folder of its own that shares pictures, and stage 1 where there is one."""
        folder = RunFolder(self.folder / variant)
        folder.path.mkdir()
        (folder.path / "images").symlink_to(self.folder / "images")
        stage1 = self.folder / "stage1" / Stage.SFT.value
        if stage1.exists():
            folder.adapter_dir(Stage.SFT).symlink_to(stage1)
        return StageInputs(folder, config, lambda: False)

    def _build(self, inputs: StageInputs) -> tuple[Any, dict[str, float]]:
        """Build the trainer, with nothing kept, with features kept, and with all kept; say what each cost."""
        kept = inputs.folder.checkpoints_dir(self.stage) / "reference.safetensors"
        seconds = [_seconds(lambda: self._trainer(inputs))]
        kept.unlink(missing_ok=True)
        seconds.append(_seconds(lambda: self._trainer(inputs)))
        began = time.process_time()
        trainer = self._trainer(inputs)
        seconds.append(time.process_time() - began)
        features, reference = seconds[0] - seconds[1], seconds[1] - seconds[2]
        once = {"features": features, "reference": reference, "tokens and loading": seconds[2]}
        if self.stage is Stage.SFT:
            del once["reference"]
        return trainer, once

    def _trainer(self, inputs: StageInputs) -> Any:
        if self.stage is Stage.DPO:
            return dpo.build_trainer(inputs, self.preferences)[0]
        return sft.build_trainer(inputs, self.targets)[0]


def _settled_cases(folder: Path, count: int) -> Iterator[SettledCase]:
    for case in world.build_cases(0, train=count, validation=0, test=0):
        image = f"images/{case.group}.jpg"
        if not (folder / image).exists():
            drawing.draw(case.scene, case.picture_seed, height=480, supersample=1).save(folder / image)
        asked = CaseInput(case.id, image, case.caption, case.dateline.date, case.dateline.town)
        said = [Opinion(o.teacher, o.verdict, o.rationale) for o in scripted.opinions(case)]
        other = next(verdict for verdict in Verdict if verdict is not case.gold)
        right = Opinion("right", Answer(case.gold), said[0].rationale)
        wrong = Opinion("wrong", Answer(other), said[-1].rationale)
        yield SettledCase(asked, case.gold, (right, wrong))


class _Clock(TrainerCallback):
    """Notes the processor time at the end of each step."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Note it."""
        self.ends.append(time.process_time())

    def seconds(self) -> float:
        """Return the median from one step's end to the next one's."""
        return statistics.median(b - a for a, b in zip(self.ends, self.ends[1:], strict=False))


def _flops(trainer: Any) -> int:
    batches, items = trainer.get_batch_samples(iter(trainer.get_train_dataloader()), 1, trainer.args.device)
    with FlopCounterMode(display=False) as counter:
        trainer.training_step(trainer.model, batches[0], items)
    return int(counter.get_total_flops())


@contextmanager
def _quiet() -> Iterator[None]:
    """Send what trainers print to nowhere."""
    said = sys.stdout
    with Path("/dev/null").open("w", encoding="utf-8") as nowhere:
        sys.stdout = nowhere
        try:
            yield
        finally:
            sys.stdout = said
