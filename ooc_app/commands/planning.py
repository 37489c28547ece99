"""What `distil --dry-run` shows: the settings of a plan, its teachers, and what it needs of this machine."""

import argparse
import json
from dataclasses import asdict

from ooc_app.footprint import Footprint, rows
from training.config import StageConfig, public_name
from training.presets import Plan


def show_plan(plan: Plan, needed: Footprint, given: argparse.Namespace) -> None:
    """Print the plan; with `--json` as one line."""
    if given.json:
        said = {
            "config": asdict(plan.config),
            "teachers": [asdict(teacher) for teacher in plan.teachers],
            "data_set": plan.data_set,
            "memory": needed.as_dict(),
        }
        print(json.dumps({"event": "plan", **said}), flush=True)
        return
    for name, text in _settings(plan):
        print(f"{name:12}{text}")
    for name, size in rows(needed):
        print(f"{'memory':12}{size:>10}  {name}")
    print(needed.advice)


def _settings(plan: Plan) -> list[tuple[str, str]]:
    config = plan.config
    licence = f", {config.licence}" if config.licence else ""
    quantized = ", in 4 bits" if config.quantization == "4bit" else ""
    images, negatives = config.images, config.negatives
    pixels = f", up to {images.max_pixels:,} pixels" if images.max_pixels else ""
    kinds = " and ".join(negatives.kinds) or "none besides the teachers' rationales"
    lines = [
        ("student", f"{public_name(config.student)}{licence}, {config.dtype}{quantized}"),
        ("lora", f"rank {config.lora.rank}, alpha {config.lora.alpha}, on {config.lora.targets}"),
        ("pictures", f"{images.tiles} tile{'' if images.tiles == 1 else 's'}{pixels}"),
        ("stage 1", _stage(config.sft)),
        ("stage 2", f"{_stage(config.dpo)}, beta {config.dpo.beta:g}, sft weight {config.dpo.sft_weight:g}"),
        ("negatives", kinds),
        *(("teacher", f"{one.name}: {one.model} through {one.endpoint}") for one in plan.teachers),
    ]
    return [*lines, *([("data set", plan.data_set)] if plan.data_set else [])]


def _stage(stage: StageConfig) -> str:
    return (
        f"learning rate {stage.learning_rate:g}, {stage.epochs:g} epoch{'s' if stage.epochs != 1 else ''}, "
        f"{stage.batch_size} x {stage.accumulation} rows a step, warm-up {stage.warmup:g}"
    )
