"""How much memory a distillation needs, before anything is loaded, and what to set where it is too much.

An estimate from the student's shape and the configuration; torch-free, so that the desk can show it. What
is counted: weights, adapter with gradients and AdamW's two moments, what the backward pass keeps of the
tokens taken in at once, the scores of answers, pictures on their way through the vision tower, and the
libraries. `benchmarks/memory.py` holds it to a measured peak.
"""

import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from training.config import DistilConfig, StageConfig
from training.shapes import StudentShape

PROMPT_TOKENS, ANSWER_TOKENS = 150, 60
"""A question without its picture, and an answer, in tokens; *ours*, of news captions with some evidence."""
ENCODED_AT_ONCE = 16
"""Pictures that go through the vision tower at a time (training/features.py)."""
FOUR_BIT = 4.127 / 8
"""Bytes of a weight in NF4 with double quantization (Dettmers et al. 2023, section 3)."""
ADAM_BYTES = 16
"""Bytes of a trained value: itself, its gradient and two moments, all float32."""
LIBRARIES = {"cpu": 600e6, "gpu": 600e6}
"""Python with torch, transformers and TRL; a CUDA context. Measured, and as commonly seen."""
BESIDES = 1.5
"""What memory holds while a step goes, over what its backward pass keeps: gradients on their way and gaps of
the allocator. Measured: 1.1 with the tiny student, 1.6 with a LLaVA of 13 million parameters."""
SAFETY = 0.9
"""Share of the free memory that a run may plan with."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a run would be: `kind` is `cpu` or `gpu`, `free` its free memory in bytes."""

    kind: str
    free: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """Memory in bytes by what it is for; `disk` are the pictures' features, not part of `total`.

    Parts in `passing` are not needed at one time: the largest counts.
    """

    standing: dict[str, float]
    passing: dict[str, float]
    disk: float

    @property
    def total(self) -> float:
        """The peak, in bytes."""
        return sum(self.standing.values()) + max(self.passing.values())


def this_machine() -> Machine:
    """Ask the NVIDIA driver, else the system, for free memory; torch is not needed for it."""
    program = shutil.which("nvidia-smi")
    if program:
        asked = [program, "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
        said = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=False).stdout.split()
        if said and said[0].isdigit():
            return Machine("gpu", int(said[0]) * 2**20)
    return Machine("cpu", _available())


def estimate(
    config: DistilConfig,
    shape: StudentShape,
    machine: Machine,
    *,
    pictures: int,
    prompt_tokens: int = PROMPT_TOKENS,
    answer_tokens: int = ANSWER_TOKENS,
) -> Estimate:
    """Estimate the memory of a run that learns from so many pictures."""
    width = _bytes_of_a_value(config, machine)
    trained = config.lora.rank * shape.layers * sum(map(sum, shape.adapted))
    prompt = prompt_tokens + shape.image_tokens
    lengths = {
        "stage 1": (config.sft, prompt + answer_tokens, answer_tokens),
        "stage 2": (config.dpo, prompt + 2 * answer_tokens, 2 * answer_tokens),
    }
    passing = {
        name: _training(config, shape, stage, width, row, answers)
        for name, (stage, row, answers) in lengths.items()
    }
    passing["features"] = ENCODED_AT_ONCE * _seeing(shape, width)
    weights = _weights(config, shape, width)
    judging = _seeing(shape, width) + prompt * _passing_through(shape, width)
    passing["evaluation"] = config.judged_at_once * judging + shape.parameters * width - weights
    return Estimate(
        standing={
            "weights": weights,
            "adapter and optimizer": trained * (ADAM_BYTES + 4),  # and the reference's copy of the adapter
            "libraries": LIBRARIES[machine.kind],
        },
        passing=passing,
        disk=min(config.feature_bytes, pictures * shape.image_tokens * shape.width * width),
    )


def advice(config: DistilConfig, shape: StudentShape, machine: Machine, *, pictures: int) -> str:
    """Say in a sentence whether the run fits, and what to set where it does not."""
    needed = estimate(config, shape, machine, pictures=pictures).total
    where = "on the GPU" if machine.kind == "gpu" else "in this machine"
    room = f"{gigabytes(machine.free)} of memory free {where}"
    if fits(needed, machine.free):
        return f"Fits: needs about {gigabytes(needed)} of {room}."
    for changed, said in _ways_out(config, machine):
        if fits(estimate(changed, shape, machine, pictures=pictures).total, machine.free):
            return f"Does not fit: needs about {gigabytes(needed)} of {room}; set {said}."
    return (
        f"Does not fit: needs about {gigabytes(needed)} of {room}, and no setting makes it fit; "
        "choose a smaller student."
    )


def fits(needed: float, free: float) -> bool:
    """Whether a need that is estimated fits into what is free, in bytes."""
    return needed <= SAFETY * free


def gigabytes(size: float) -> str:
    """Write bytes as GB."""
    return f"{size / 1e9:.1f} GB"


def _available() -> float:
    """Return the memory this process may still take: the system's, or less where a container is bounded."""
    lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    free = float(next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))) * 1024
    group = Path("/sys/fs/cgroup")
    try:
        most = (group / "memory.max").read_text(encoding="utf-8").strip()
        used = (group / "memory.current").read_text(encoding="utf-8").strip()
    except OSError:
        return free
    return min(free, float(most) - float(used)) if most.isdigit() else free


def _ways_out(config: DistilConfig, machine: Machine) -> list[tuple[DistilConfig, str]]:
    """Return changed configurations and their settings in words, those that cost least first."""
    ways: list[tuple[DistilConfig, str]] = []
    if config.path == "fast":
        for size in (8192, 4096, 2048, 1024, 512):
            if size < config.tokens_per_pass:
                ways.append((replace(config, tokens_per_pass=size), f"tokens_per_pass = {size}"))
        least, said = ways[-1] if ways else (config, "")
    else:
        again = replace(config, activation_checkpointing=True)
        least = replace(again, sft=replace(config.sft, batch_size=1), dpo=replace(config.dpo, batch_size=1))
        said = "activation_checkpointing = true and batch_size = 1 with as much more accumulation"
        ways += [(again, "activation_checkpointing = true"), (least, said)]
    also = f"{said} and " if said else ""
    if machine.kind == "gpu":
        ways.append((replace(least, quantization="4bit"), f'{also}quantization = "4bit"'))
    elif config.dtype != "bfloat16":
        slow = 'dtype = "bfloat16", which a CPU is slow at'
        ways.append((replace(least, dtype="bfloat16"), f"{also}{slow}"))
    return ways


def _bytes_of_a_value(config: DistilConfig, machine: Machine) -> int:
    halved = config.dtype == "bfloat16" or (config.dtype == "auto" and machine.kind == "gpu")
    return 2 if halved else 4


def _weights(config: DistilConfig, shape: StudentShape, width: int) -> float:
    if config.quantization != "4bit":
        return shape.parameters * width
    linear = shape.vision_parameters + shape.layers * sum(a * b for a, b in shape.adapted)
    return linear * FOUR_BIT + (shape.parameters - linear) * width


def _training(
    config: DistilConfig, shape: StudentShape, stage: StageConfig, width: int, row: int, answers: int
) -> float:
    """Return what a step keeps for its backward pass, in bytes, of rows of so many tokens."""
    rows = stage.batch_size
    outside: float
    if config.path == "fast":
        rows_at_once = max(1, min(rows, config.tokens_per_pass // row))
        outside = rows * answers * shape.width * 4  # the scored states of all passes
    else:  # prompts are repeated for each answer, and pictures go through the vision tower at each step
        rows_at_once, outside = rows * max(1, answers // ANSWER_TOKENS), rows * _seeing(shape, width)
    tokens = rows_at_once * row
    layer = tokens * _kept_by_layer(config, shape, width)
    layers = shape.layers * tokens * shape.width * width + layer
    if config.path == "fast" or not config.activation_checkpointing:
        layers = shape.layers * layer
    masks = rows_at_once * row**2 * (width + 2)
    scores = 3 * rows * answers * shape.vocabulary * 4
    return BESIDES * (layers + masks + scores + outside)


def _kept_by_layer(config: DistilConfig, shape: StudentShape, width: int) -> float:
    """Return the bytes a layer of the language model keeps of one token.

    Two norms keep their input in float32; attention its queries, keys and values for all heads, what it
    gives and a copy; the inner layer four tensors; each of seven adapters its input and its rank.
    """
    asks = shape.heads * shape.head_width
    values = 2 * shape.width + 5 * asks + 4 * shape.inner_width + 7 * config.lora.rank
    return 8 * shape.width + width * values


def _seeing(shape: StudentShape, width: int) -> float:
    """Return the bytes one picture takes on its way through the vision tower, nothing being kept."""
    return shape.vision_tokens * (6 * shape.vision_width + 2 * shape.vision_inner_width) * width


def _passing_through(shape: StudentShape, width: int) -> float:
    """Return the bytes one token takes on its way through the language model, nothing being kept."""
    return (6 * shape.width + 3 * shape.inner_width) * width
