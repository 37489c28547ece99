"""What the language model gets in place of a picture's image tokens, computed once per picture.

Vision tower and connector are frozen, so their output is a constant of the picture. It is kept in the
dtype of the model, so nothing is lost, one memory-mapped file per picture in the run folder, and both
stages read it; what inner layers take besides (Qwen3-VL) stands beside it, row by row. A file's name is the
hash of everything its content depends on: the model's configuration, the weights outside the language
model, the processor's settings and the picture.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.families import Family
from training.faults import in_halves
from training.pictures import load_picture, longest_edge
from training.ranks import ALONE, Ranks
from training.student import TOKEN_INPUTS

BATCH = 16
"""Pictures that go through the vision tower at a time; enough to keep it busy, small beside a batch."""


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A prompt as its processor gives it: token ids, and by name the tensors that are the picture's.

    Their first axis is what pictures are joined along: pictures, tiles of one, or patches of one.
    """

    ids: tuple[int, ...]
    pixels: dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """Under which key a picture's features are, how many, and a prompt to encode it with anew.

    `grid`, (1, 3), are its times, rows and columns in patches, where the processor says them.
    """

    key: str
    prompt: str
    tokens: int
    grid: Tensor | None


class FeatureStore:
    """Files of features in a folder, up to a budget in bytes.

    A file is written beside its place and renamed, and one whose length is not that of its tensor is
    not read, so a kill leaves nothing that is mistaken for features. Several processes share the budget.
    """

    def __init__(
        self, folder: Path, *, width: int, dtype: torch.dtype, budget: int, ranks: Ranks = ALONE
    ) -> None:
        self.folder = folder
        self.width = width
        self.dtype = dtype
        self.ending = f".{ranks.rank}.partial"  # two pictures may be equal, and have one name
        folder.mkdir(exist_ok=True)
        for partial in folder.glob("*.partial" if ranks.count == 1 else f"*{self.ending}"):
            partial.unlink()
        kept = [path.stat().st_size for path in folder.iterdir() if path.suffix != ".partial"]
        self.room = max(0, budget - sum(kept)) // ranks.count

    def get(self, key: str, tokens: int) -> Tensor | None:
        """Return the features, (tokens, width), mapped from their file; None where there are none."""
        path = self.folder / key
        if not path.exists() or path.stat().st_size != self.size(tokens):
            return None
        flat = torch.from_file(str(path), shared=False, size=tokens * self.width, dtype=self.dtype)
        return flat.view(tokens, self.width)

    def put(self, key: str, features: Tensor) -> None:
        """Keep features, (tokens, width), unless they are beyond the budget."""
        size = self.size(len(features))
        if size > self.room:
            return
        partial = self.folder / f"{key}{self.ending}"
        partial.write_bytes(as_bytes(features))
        partial.replace(self.folder / key)
        self.room -= size

    def size(self, tokens: int) -> int:
        """Return the bytes of one picture's features."""
        return tokens * self.width * self.dtype.itemsize


class Pictures:
    """The pictures of a run folder as prompts and features; those beyond the budget are computed anew.

    `pause` is called now and then in long work, and may raise to end it; what is kept stays. Several
    processes share the pictures, and know of each other's.
    """

    def __init__(
        self, root: Path, model: Any, processor: Any, family: Family, *, folder: Path, budget: int,
        pause: Callable[[], None] = lambda: None, ranks: Ranks = ALONE,
    ) -> None:  # fmt: skip
        self.root = root
        self.pause = pause
        self.ranks = ranks
        self.model = model.base_model
        self.processor = processor
        self.image_token_id: int = model.config.image_token_id
        self.edge = longest_edge(processor)
        self.identity = _identity(model, family, processor, self.edge)
        width = model.get_input_embeddings().embedding_dim * (1 + _inner_layers_fed(model))
        self.store = FeatureStore(folder, width=width, dtype=model.dtype, budget=budget, ranks=ranks)
        self.prepared: dict[str, _Prepared] = {}

    def encode(self, name: str, prompt: str) -> EncodedPrompt:
        """Return prompt and picture as the processor encodes them together, image tokens among the ids."""
        picture = load_picture(self.root / name, self.edge)
        encoded = self.processor(
            images=[[picture]], text=[prompt], return_tensors="pt", add_special_tokens=False
        )
        pixels = {name: values for name, values in encoded.items() if name not in TOKEN_INPUTS}
        return EncodedPrompt(tuple(encoded["input_ids"][0].tolist()), pixels)

    def prepare(self, asked: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[int, ...]]:
        """Return the token ids of every (picture, prompt), having computed the features there are not.

        A picture is decoded once per prompt it is in, and goes through the vision tower once, with
        others of its shape. Raises ValueError where it has not as many features as image tokens.
        """
        wanted = list(dict.fromkeys(asked))
        mine = {*self.ranks.share(list(dict.fromkeys(name for name, _ in wanted)))}
        own = [(name, prompt) for name, prompt in wanted if name in mine]
        ids: dict[tuple[str, str], tuple[int, ...]] = {}
        for some_ids, some_prepared in self.ranks.all_do(lambda: (self._prepare(own), self.prepared)):
            ids |= some_ids
            self.prepared |= some_prepared
        return ids

    def _prepare(self, asked: Sequence[tuple[str, str]]) -> dict[tuple[str, str], tuple[int, ...]]:
        ids: dict[tuple[str, str], tuple[int, ...]] = {}
        waiting: dict[str, EncodedPrompt] = {}
        for name, prompt in asked:
            self.pause()
            encoded = self.encode(name, prompt)
            ids[name, prompt] = encoded.ids
            if name in self.prepared:
                continue
            key, tokens = self._key(name), encoded.ids.count(self.image_token_id)
            self.prepared[name] = _Prepared(key, prompt, tokens, encoded.pixels.get("image_grid_thw"))
            if key in waiting or self.store.get(key, tokens) is not None:
                continue
            if waiting and (len(waiting) == BATCH or not _alike(encoded, next(iter(waiting.values())))):
                self._keep(waiting)
            waiting[key] = encoded
        self._keep(waiting)
        return ids

    def features(self, name: str) -> Tensor:
        """Return a prepared picture's features, (image tokens, width), from its file or the vision tower.

        The width is the language model's, times one more than the inner layers that take a share.
        """
        prepared = self.prepared[name]
        kept = self.store.get(prepared.key, prepared.tokens)
        return kept if kept is not None else self.compute([self.encode(name, prepared.prompt)])[0]

    def grids(self, names: Sequence[str]) -> dict[str, Tensor]:
        """Return prepared pictures' grids, (names, 3), as the model takes them; nothing where it has none."""
        found = [grid for name in names if (grid := self.prepared[name].grid) is not None]
        return {"image_grid_thw": torch.cat(found)} if found else {}

    @torch.no_grad()
    def compute(self, encoded: Sequence[EncodedPrompt]) -> list[Tensor]:
        """Return the features of pictures of one shape, each (image tokens, width)."""
        device = self.model.device
        together = {
            name: torch.cat([one.pixels[name] for one in encoded]).to(device) for name in encoded[0].pixels
        }
        was_training = self.model.training
        self.model.eval()
        given = self.model.get_image_features(**together)
        self.model.train(was_training)
        layers = [given.pooler_output, *(getattr(given, "deepstack_features", None) or [])]
        rows = torch.cat([_rows(layer) for layer in layers], dim=-1)
        counts = [one.ids.count(self.image_token_id) for one in encoded]
        if len(rows) != sum(counts):
            raise ValueError(
                f"{len(encoded)} pictures have {len(rows)} features and {sum(counts)} image tokens in their "
                "prompts; train on the stock path."
            )
        return list(rows.split(counts))

    def _keep(self, waiting: dict[str, EncodedPrompt]) -> None:
        """Compute and keep the features of what waits and has room, and empty it."""
        fitting: dict[str, EncodedPrompt] = {}
        room = self.store.room
        for key, encoded in waiting.items():
            room -= self.store.size(encoded.ids.count(self.image_token_id))
            if room >= 0:
                fitting[key] = encoded
        if fitting:
            for key, features in zip(fitting, in_halves(self.compute, list(fitting.values())), strict=True):
                self.store.put(key, features)
        waiting.clear()

    def _key(self, name: str) -> str:
        with (self.root / name).open("rb") as file:
            picture = hashlib.file_digest(file, "sha256").hexdigest()
        return hashlib.sha256(f"{self.identity} {picture}".encode()).hexdigest()


def as_bytes(values: Tensor) -> bytes:
    """Return a tensor's content, row after row, in its own dtype."""
    return values.detach().cpu().flatten().view(torch.uint8).numpy().tobytes()


def _rows(features: Tensor | Sequence[Tensor]) -> Tensor:
    """Return features of pictures, however they are nested, one image token a row."""
    return torch.cat([one.reshape(-1, one.shape[-1]) for one in features])


def _inner_layers_fed(model: Any) -> int:
    """Return how many layers of the language model take features of a picture besides its input."""
    return len(getattr(model.config.vision_config, "deepstack_visual_indexes", ()))


def _alike(one: EncodedPrompt, other: EncodedPrompt) -> bool:
    return all(values.shape == other.pixels[name].shape for name, values in one.pixels.items())


def _identity(model: Any, family: Family, processor: Any, edge: int) -> str:
    """Hash what features depend on besides the picture."""
    digest = hashlib.sha256(model.config.to_json_string(use_diff=False).encode())
    digest.update(json.dumps(processor.image_processor.to_dict(), sort_keys=True, default=str).encode())
    digest.update(f"{edge} {model.dtype}".encode())
    inside = f"{family.language_model}."
    for name, values in sorted(model.base_model.state_dict().items()):
        if not name.startswith(inside):
            digest.update(name.encode())
            digest.update(as_bytes(values))
    return digest.hexdigest()
