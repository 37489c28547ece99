"""What a distillation is made of: plain data, checked when built, saved beside its results.

Values marked *ours* are this project's own choice: the two papers do not publish them where we could
read them. `training.presets` reads the settings that suit a student from a file.
"""

import json
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from db.vocabulary import PREFERENCES_PER_CASE, PreferenceOrigin

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


LOSSES = ("sigmoid", "sigmoid_norm", "ipo", "robust", "apo_zero", "apo_down", "hinge", "exo_pair", "nca_pair")
"""Losses on pairs by TRL's names; each pair counts for itself in them, so that a batch can be cut."""


@dataclass(frozen=True, slots=True)
class DpoConfig(StageConfig):
    """Stage 2: DPO plus the SFT loss on the chosen rationale, as MMKD pairs them.

    `loss` is TRL's name of the loss on pairs, `sigmoid` being DPO's own; `beta` is BPO's published 0.1.
    `sft_weight`, the factor of the SFT loss, is *ours*; 0 leaves it out. `label_smoothing`, 0 to 0.5, is
    the share of preferences taken to be the wrong way round, which `robust` needs. `ld_alpha`, 0 to 1, is
    the weight of what is longer in the longer of two answers (LD-DPO, arXiv 2409.06411); 1 is DPO.
    """

    beta: float = 0.1
    sft_weight: float = 1.0
    max_preferences_per_case: int = PREFERENCES_PER_CASE
    loss: str = "sigmoid"
    label_smoothing: float = 0.0
    ld_alpha: float = 1.0

    def __post_init__(self) -> None:
        StageConfig.__post_init__(self)
        if self.loss not in LOSSES:
            raise ConfigError(f"There is no loss {self.loss!r}; choose one of {', '.join(LOSSES)}.")
        if self.beta <= 0 or self.sft_weight < 0:
            raise ConfigError(f"beta {self.beta} must be above 0 and sft_weight {self.sft_weight} not below.")
        if not 0 <= self.label_smoothing < 0.5 or not 0 <= self.ld_alpha <= 1:
            raise ConfigError("label_smoothing is 0 to below 0.5, ld_alpha 0 to 1.")


NEGATIVES = (PreferenceOrigin.WEAKENED, PreferenceOrigin.INJECTED)
NEGATIVE_SETS: dict[str, tuple[PreferenceOrigin, ...]] = {
    "none": (),
    "weakened": (PreferenceOrigin.WEAKENED,),
    "injected": (PreferenceOrigin.INJECTED,),
    "both": NEGATIVES,
}
"""The negatives stage 2 may learn from besides the teachers' preferences, by the name they are asked for."""


@dataclass(frozen=True, slots=True)
class NegativesConfig:
    """Rejected rationales besides the teachers', after BPO (arXiv 2403.08730).

    `kinds`, of `weakened` and `injected`, are what stage 2 learns from besides the teachers' preferences.
    A share, 0 to 1, says for how many of the conflicts that yield a preference one negative of the kind is
    tried (*ours*; BPO released eight injected to one weakened). `noise_step`, 0 to 999, is BPO's published
    900. `temperature` is that of what the student says of a weakened picture, 0 for its likeliest words,
    and `max_new_tokens` where it is cut off; both are *ours*, as is `batch_size`, in pictures.
    """

    kinds: tuple[PreferenceOrigin, ...] = ()
    weakened_share: float = 1.0
    injected_share: float = 1.0
    noise_step: int = 900
    temperature: float = 0.0
    max_new_tokens: int = 128
    batch_size: int = 16

    def __post_init__(self) -> None:
        wrong = [kind for kind in self.kinds if kind not in NEGATIVES]
        if wrong:
            raise ConfigError(f"Negatives of the kind {wrong[0]!r} are unknown: weakened or injected.")
        object.__setattr__(self, "kinds", tuple(PreferenceOrigin(kind) for kind in self.kinds))
        for share in (self.weakened_share, self.injected_share):
            if not 0 <= share <= 1:
                raise ConfigError(f"A share of {share} of the conflicts is not between 0 and 1.")
        if not 0 <= self.noise_step <= 999:
            raise ConfigError(f"Noise step {self.noise_step} is not between 0 and 999.")
        if self.temperature < 0 or self.max_new_tokens < 1 or self.batch_size < 1:
            raise ConfigError("Temperature must not be negative; tokens and batch size are at least 1.")

    def share(self, kind: PreferenceOrigin) -> float:
        """The share of conflicts for which a negative of the kind is tried, 0 to 1."""
        return self.weakened_share if kind is PreferenceOrigin.WEAKENED else self.injected_share


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """How finely the student looks at a picture.

    Students that cut pictures into tiles (Idefics3, SmolVLM, InternVL, LLaVA-OneVision) cut one into at
    most `tiles`; 1 is the picture as one tile. Of students that take pictures of any size (Qwen-VL),
    `min_pixels` and `max_pixels` bound width times height; 0 leaves the student's own bound.
    """

    tiles: int = 1
    min_pixels: int = 0
    max_pixels: int = 0

    def __post_init__(self) -> None:
        if self.tiles < 1:
            raise ConfigError(f"A picture cannot be cut into {self.tiles} tiles: 1 leaves it whole.")
        if self.min_pixels < 0 or self.max_pixels < 0:
            raise ConfigError("min_pixels and max_pixels must not be below 0.")
        if 0 < self.max_pixels < self.min_pixels:
            raise ConfigError(f"max_pixels {self.max_pixels} is below min_pixels {self.min_pixels}.")


@dataclass(frozen=True, slots=True)
class DistilConfig:
    """One run: which student, both stages, and the seed of everything drawn at random.

    `student` is a folder or a hub id, `licence` what its hub page says; `dtype` is `float32`, `bfloat16`,
    or `auto`: bfloat16 on a GPU that has it, else float32. `quantization` is `none` or `4bit`, the latter
    for the untouched student while it is trained, on a GPU alone. `max_steps` caps each stage where it is
    above 0 (a trial of a long run). `path` is `fast`, which families that cannot take it leave for TRL's
    own, or `stock`; `feature_bytes` is how much of the disk the pictures' features
    may take on the fast path, in bytes; `tokens_per_pass` is how many the language model takes in at once
    there: the passes of a longer batch are computed again in the backward pass. With `ablation`, stage 2
    is also trained with each other set of negatives, to be compared in the report.
    `activation_checkpointing` computes activations again in the backward pass, layer by layer, on TRL's own
    path; on the fast one `tokens_per_pass` bounds the same memory.
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
    negatives: NegativesConfig = field(default_factory=NegativesConfig)
    ablation: bool = False
    tokens_per_pass: int = 16_384
    images: ImageSettings = field(default_factory=ImageSettings)
    quantization: str = "none"
    activation_checkpointing: bool = False
    licence: str = ""

    @property
    def judged_at_once(self) -> int:
        """How many cases are judged at a time: four times a step's, as nothing is kept, at most 64."""
        return min(64, 4 * self.sft.batch_size)

    def __post_init__(self) -> None:
        if self.dtype not in {"float32", "bfloat16", "auto"}:
            raise ConfigError(f"dtype {self.dtype!r} is neither float32, bfloat16 nor auto.")
        if self.quantization not in {"none", "4bit"}:
            raise ConfigError(f"quantization {self.quantization!r} is neither none nor 4bit.")
        if self.path not in {"fast", "stock"}:
            raise ConfigError(f"path {self.path!r} is neither fast nor stock.")
        if self.feature_bytes < 0:
            raise ConfigError(f"feature_bytes {self.feature_bytes} is below 0.")
        if self.tokens_per_pass < 1:
            raise ConfigError(f"tokens_per_pass {self.tokens_per_pass} is below 1.")


def located(source: str) -> str:
    """Find a student's folder relative to the project; a hub id or absolute path stays as it is."""
    folder = PROJECT_DIR / source
    return str(folder) if folder.is_dir() else source


def public_name(student: str) -> str:
    """Return a student's name without a path of this machine: of a folder elsewhere, its last part."""
    return Path(student).name if Path(student).is_absolute() else student


def save_config(config: DistilConfig, path: Path) -> None:
    """Write the configuration as JSON."""
    path.write_text(json.dumps(asdict(config), indent=2) + "\n", encoding="utf-8")


def load_config(path: Path) -> DistilConfig:
    """Read what `save_config` wrote. Raises ConfigError naming a setting that is missing or unknown."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"There is no configuration at {path}.") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not a distillation's configuration: {error}.") from error
    return from_values(DistilConfig, values, str(path))


T = TypeVar("T")


def from_values(kind: type[T], values: Any, where: str) -> T:
    """Build a dataclass of settings from plain values, as JSON and TOML give them.

    Raises ConfigError naming `where` and the setting that is unknown, missing, of another kind, or out of
    range.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{where} is not a distillation's configuration: it is no table of settings.")
    hints = get_type_hints(kind)
    known = {one.name: one for one in fields(cast(Any, kind))}
    unknown = next((name for name in values if name not in known), None)
    if unknown is not None:
        raise ConfigError(f"{where}: there is no setting {unknown!r}; the settings are {', '.join(known)}.")
    for name, one in known.items():
        if name not in values and one.default is MISSING and one.default_factory is MISSING:
            raise ConfigError(f"{where}: the setting {name!r} is missing.")
    given = {name: _value(hints[name], value, f"{where}, {name}") for name, value in values.items()}
    try:
        return kind(**given)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _value(hint: Any, value: Any, where: str) -> Any:
    if get_origin(hint) is UnionType:  # an optional table that is there
        hint = get_args(hint)[0]
    if is_dataclass(hint):
        return from_values(cast(type[Any], hint), value, where)
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: {value!r} is not a list.")
        return tuple(_value(get_args(hint)[0], item, where) for item in value)
    allowed: tuple[type, ...] = (
        (int, float) if hint is float else (str,) if issubclass(hint, str) else (hint,)
    )
    if not isinstance(value, allowed) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{where}: {value!r} is not a {hint.__name__}.")
    return float(value) if isinstance(value, int | float) and hint is float else value


def with_negatives(config: DistilConfig, asked: str | None = None, *, compare: bool = False) -> DistilConfig:
    """Return the configuration with one of `NEGATIVE_SETS`; None leaves its own.

    With `compare`, the report compares all sets. Raises ConfigError for a name that is none.
    """
    if asked is not None:
        if asked not in NEGATIVE_SETS:
            raise ConfigError(f"{asked!r} are no negatives; choose one of {', '.join(NEGATIVE_SETS)}.")
        kinds = NEGATIVE_SETS[asked]
        config = replace(config, negatives=replace(config.negatives, kinds=kinds))
    return replace(config, ablation=True) if compare else config
