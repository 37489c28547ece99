"""The measures of a student that memory depends on, from its own config.json or as a preset records them.

Torch-free: the desk asks before it loads anything. Nothing is downloaded; of a hub's student, config.json
is read where an earlier load has left it in the hub's cache.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.config import ConfigError, located


@dataclass(frozen=True, slots=True)
class StudentShape:
    """A student in numbers; widths are in values, `vision_tokens` and `image_tokens` per picture.

    `parameters` are all of them, `vision_parameters` those of vision tower and connector. The vision tower
    reads `vision_tokens` patches, the language model `image_tokens`.
    """

    parameters: int
    vision_parameters: int
    layers: int
    width: int
    inner_width: int
    heads: int
    key_value_heads: int
    head_width: int
    vocabulary: int
    image_tokens: int
    vision_layers: int
    vision_width: int
    vision_inner_width: int
    vision_tokens: int
    tied: bool = True

    def __post_init__(self) -> None:
        if min(self.parameters, self.layers, self.width, self.heads, self.vocabulary) < 1:
            raise ConfigError("A student has at least one parameter, layer, head and word.")

    @property
    def adapted(self) -> tuple[tuple[int, int], ...]:
        """The (inputs, outputs) of each linear layer that LoRA adapts in one layer of the language model."""
        asks, answers = self.heads * self.head_width, self.key_value_heads * self.head_width
        attention = ((self.width, asks), (self.width, answers), (self.width, answers), (asks, self.width))
        return (*attention, *[(self.width, self.inner_width)] * 2, (self.inner_width, self.width))

    @property
    def language_parameters(self) -> int:
        """The parameters of the language model as these measures give them, without norms and biases."""
        words = self.vocabulary * self.width * (1 if self.tied else 2)
        return words + self.layers * sum(inputs * outputs for inputs, outputs in self.adapted)


def shape_of(student: str, recorded: StudentShape | None = None) -> StudentShape | None:
    """Return a student's shape: from its folder, else as `recorded`, else from the hub's cache.

    None where nothing says it, or where it is a family of which these measures are not known.
    """
    folder = Path(located(student))
    if folder.is_dir():
        return _of_config(folder / "config.json", folder)
    if recorded is not None:
        return recorded
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(student, "config.json") if student.count("/") == 1 else None
    return _of_config(Path(cached), Path(cached).parent) if isinstance(cached, str) else None


def _of_config(path: Path, folder: Path) -> StudentShape | None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return _read(values, folder)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read(values: dict[str, Any], folder: Path) -> StudentShape:
    """Read a config.json of the common layout; raises KeyError for what it does not say."""
    text, vision = values["text_config"], values["vision_config"]
    width, heads = text["hidden_size"], text["num_attention_heads"]
    patches = (vision["image_size"] // vision["patch_size"]) ** 2
    shape = {
        "layers": text["num_hidden_layers"],
        "width": width,
        "inner_width": text["intermediate_size"],
        "heads": heads,
        "key_value_heads": text.get("num_key_value_heads") or heads,
        "head_width": text.get("head_dim") or width // heads,
        "vocabulary": text["vocab_size"],
        "image_tokens": _image_tokens(values, patches),
        "vision_layers": vision["num_hidden_layers"],
        "vision_width": vision["hidden_size"],
        "vision_inner_width": vision["intermediate_size"],
        "vision_tokens": patches,
        "tied": bool(values.get("tie_word_embeddings", text.get("tie_word_embeddings", True))),
    }
    language = StudentShape(parameters=1, vision_parameters=0, **shape).language_parameters
    total = _stored_parameters(folder)
    per_layer = 4 * shape["vision_width"] ** 2 + 2 * shape["vision_width"] * shape["vision_inner_width"]
    sight = total - language if total else shape["vision_layers"] * per_layer
    return StudentShape(parameters=total or language + sight, vision_parameters=max(0, sight), **shape)


def _image_tokens(values: dict[str, Any], patches: int) -> int:
    if "mm_tokens_per_image" in values:  # Gemma 3 pools to a fixed number
        return int(values["mm_tokens_per_image"])
    return patches // int(values.get("scale_factor", 1)) ** 2  # Idefics3 and SmolVLM shuffle pixels


def _stored_parameters(folder: Path) -> int:
    """Count the values in a folder's safetensors files by their headers; 0 where there are none."""
    total = 0
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        for name, tensor in header.items():
            if name != "__metadata__":
                size = 1
                for length in tensor["shape"]:
                    size *= length
                total += size
    return total
