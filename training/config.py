"""What a distillation is made of: plain data, checked when built, saved beside its results.

Values marked *ours* are this project's own choice: the two papers do not publish them where we could
read them. `PRESETS` name a student with the settings that suit it.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from db.vocabulary import PREFERENCES_PER_CASE

LANGUAGE_MODEL = (
    r".*(?:text_model|language_model)\..*(?:q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
)
"""Linear layers of the language model only: vision tower and connector stay as they were, so an
adapter can be served by every engine. Idefics3 and SmolVLM say text_model, the others language_model."""


PROJECT_DIR = Path(__file__).resolve().parents[1]


class ConfigError(ValueError):
    """A setting is out of range or unknown; says which and what is allowed."""


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """The shape of the adapter; *ours*, but for `targets`, after BPO, which adapts linear layers."""

    rank: int = 16
    alpha: int = 32
    targets: str = LANGUAGE_MODEL

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha < 1:
            raise ConfigError(f"LoRA rank {self.rank} and alpha {self.alpha} must be at least 1.")


@dataclass(frozen=True, slots=True)
class StageConfig:
    """One stage. `save_every` and `log_every` count optimizer steps."""

    learning_rate: float
    epochs: float
    batch_size: int
    accumulation: int = 1
    warmup: float = 0.05
    save_every: int = 50
    log_every: int = 5

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < 1:
            raise ConfigError(f"A learning rate of {self.learning_rate} is not between 0 and 1.")
        if self.epochs <= 0 or self.batch_size < 1 or self.accumulation < 1:
            raise ConfigError("Epochs, batch size and accumulation must be positive.")


@dataclass(frozen=True, slots=True)
class DpoConfig(StageConfig):
    """Stage 2: DPO plus the SFT loss on the chosen rationale, as MMKD pairs them.

    `beta` is BPO's published 0.1; `sft_weight`, the factor of the SFT loss, is *ours*.
    """

    beta: float = 0.1
    sft_weight: float = 1.0
    max_preferences_per_case: int = PREFERENCES_PER_CASE


@dataclass(frozen=True, slots=True)
class DistilConfig:
    """One run: which student, both stages, and the seed of everything drawn at random.

    `student` is a folder or a hub id; `dtype` is `float32` or `bfloat16`; `max_steps` caps each
    stage where it is above 0 (a trial of a long run). `path` is `fast`, which families that cannot take
    it leave for TRL's own, or `stock`; `feature_bytes` is how much of the disk the pictures' features
    may take on the fast path, in bytes.
    """

    student: str
    sft: StageConfig
    dpo: DpoConfig
    lora: LoraSettings = field(default_factory=LoraSettings)
    dtype: str = "float32"
    seed: int = 0
    max_steps: int = 0
    path: str = "fast"
    feature_bytes: int = 8_000_000_000

    def __post_init__(self) -> None:
        if self.dtype not in {"float32", "bfloat16"}:
            raise ConfigError(f"dtype {self.dtype!r} is neither float32 nor bfloat16.")
        if self.path not in {"fast", "stock"}:
            raise ConfigError(f"path {self.path!r} is neither fast nor stock.")
        if self.feature_bytes < 0:
            raise ConfigError(f"feature_bytes {self.feature_bytes} is below 0.")


PRESETS: dict[str, DistilConfig] = {
    "demo": DistilConfig(
        student="assets/student",
        sft=StageConfig(learning_rate=1e-3, epochs=3, batch_size=32),
        dpo=DpoConfig(learning_rate=3e-4, epochs=4, batch_size=16),
    ),
    "smolvlm-500m": DistilConfig(
        student="HuggingFaceTB/SmolVLM-500M-Instruct",
        sft=StageConfig(learning_rate=1e-4, epochs=2, batch_size=8, accumulation=4),
        dpo=DpoConfig(learning_rate=1e-5, epochs=2, batch_size=4, accumulation=8),
        lora=LoraSettings(rank=32, alpha=64),
        dtype="bfloat16",
    ),
}


def located(source: str) -> str:
    """Find a student's folder relative to the project; a hub id or absolute path stays as it is."""
    folder = PROJECT_DIR / source
    return str(folder) if folder.is_dir() else source


def preset(name: str, **changes: Any) -> DistilConfig:
    """Return the preset of that name with fields replaced. Raises ConfigError for an unknown name."""
    if name not in PRESETS:
        raise ConfigError(f"There is no preset {name!r}; choose one of {', '.join(PRESETS)}.")
    return replace(PRESETS[name], **changes)


def save_config(config: DistilConfig, path: Path) -> None:
    """Write the configuration as JSON."""
    path.write_text(json.dumps(asdict(config), indent=2) + "\n", encoding="utf-8")


def load_config(path: Path) -> DistilConfig:
    """Read what `save_config` wrote. Raises ConfigError naming a setting that is missing or unknown."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return DistilConfig(
            **{
                **values,
                "sft": StageConfig(**values["sft"]),
                "dpo": DpoConfig(**values["dpo"]),
                "lora": LoraSettings(**values.get("lora", {})),
            }
        )
    except FileNotFoundError as error:
        raise ConfigError(f"There is no configuration at {path}.") from error
    except (json.JSONDecodeError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{path} is not a distillation's configuration: {error}.") from error
