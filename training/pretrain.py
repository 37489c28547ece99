"""Pretrain the tiny student on the demo world: `python -m training.pretrain assets/student`.

The student is an Idefics3, the class that also loads SmolVLM-256M/500M-Instruct, small enough to
learn its world on two CPU cores in about an hour. Pictures are drawn once at the student's own size
(64 px) and kept in memory; questions about them (`curriculum`) are new in every batch.

It is deliberately not a recipe for a useful photograph model: it has seen nothing but drawings.

Three phases. First the vision tower and the connector learn to tell the facts (linear heads on the mean
image feature, thrown away after). Then they are frozen, every picture's features are computed once,
and the language model learns from exercises. Truth is the skill that comes last, so it is taught twice
more: an exercise's judging word counts `JUDGEMENT_WEIGHT` times an ordinary token, and where a phrase
of a question states a fact, a linear head on the middle of the model (thrown away after, too) must
tell at the phrase's last token whether it is so. Last, once it can compare, it also learns to say what
the caption says beside what the picture shows, which a rationale will need.
"""

import argparse
import json
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from training import curriculum, drawing, world
from training.curriculum import Exercise
from training.domain import Domain, picture_features
from training.model_card import model_card
from training.tiny import IMAGE_SIZE, IMAGE_TOKENS, TinyShape, build_model, build_processor, build_tokenizer
from training.world import FACTS, Scene

JUDGEMENT_WEIGHT = 4.0
CLAIM_LAYER = 4
"""After how many layers of the language model the claim head reads; two more are left to sum up."""
HELD_OUT_SEED = 10**9
"""Pictures with seeds from here on are never drawn in training."""


@dataclass(frozen=True, slots=True)
class PretrainConfig:
    """How long and how hard; defaults are what made the shipped student."""

    seed: int = 0
    pictures: int = 24_000
    vision_steps: int = 900
    vision_batch: int = 64
    steps: int = 4_000
    both_sides_steps: int = 1_200
    batch: int = 64
    learning_rate: float = 1.5e-3
    both_sides_learning_rate: float = 8e-4
    warmup: float = 0.04
    threads: int = 2


@dataclass(frozen=True, slots=True)
class Pictures:
    """Drawn scenes: `pixels` is (N, 3, 64, 64) uint8, in the order of `scenes`."""

    scenes: list[Scene]
    pixels: Tensor


def _small_picture(picture_seed: int, height: int) -> tuple[Scene, np.ndarray]:
    scene = world.sample_scene(random.Random(picture_seed))
    picture = drawing.draw(scene, picture_seed, height=height, supersample=1)
    wide = picture.resize((IMAGE_SIZE * 3 // 2, IMAGE_SIZE), Image.Resampling.LANCZOS)
    small = wide.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.LANCZOS)
    return scene, np.asarray(small).transpose(2, 0, 1)


def draw_pictures(first_seed: int, count: int, *, processes: int, height: int = 256) -> Pictures:
    """Draw `count` pictures with consecutive seeds, at the student's size."""
    with get_context("spawn").Pool(processes) as pool:
        seeds = range(first_seed, first_seed + count)
        drawn = pool.map(partial(_small_picture, height=height), seeds, chunksize=200)
    pixels = torch.from_numpy(np.stack([pixels for _, pixels in drawn]))
    return Pictures([scene for scene, _ in drawn], pixels)


def normalised(pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Scale uint8 pixels to [-1, 1]; with a generator, also vary contrast, brightness and grain."""
    values = pixels.float() / 127.5 - 1
    if generator is None:
        return values
    contrast = 1 + 0.16 * (torch.rand(len(values), 1, 1, 1, generator=generator) - 0.5)
    brightness = 0.12 * (torch.rand(len(values), 3, 1, 1, generator=generator) - 0.5)
    grain = 0.03 * torch.randn(values.shape, generator=generator)
    return (values * contrast + brightness + grain).clamp(-1, 1)


@dataclass(frozen=True, slots=True)
class Rows:
    """Tokenised exercises, (B, T) each; `weights` is 0 except on answer tokens, `mask` on padding.

    `claims` lists row, column of the phrase's last token, and whether the claim is so.
    """

    ids: Tensor
    mask: Tensor
    weights: Tensor
    claims: list[tuple[int, int, bool]]


class Pretraining:
    """One pretraining: the model, its pictures, and the two phases."""

    def __init__(self, config: PretrainConfig) -> None:
        torch.manual_seed(config.seed)
        torch.set_num_threads(config.threads)
        self.config = config
        self.rng = random.Random(config.seed)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.tokenizer = build_tokenizer(self.rng)
        shape = TinyShape()
        self.model = build_model(self.tokenizer, shape)
        self.pad: int = self.tokenizer.get_vocab()["<pad>"]
        self.prefix: list[int] = self.tokenizer(
            f"<|im_start|>User:<fake_token_around_image><global-img>{'<image>' * IMAGE_TOKENS}"
            "<fake_token_around_image>"
        )["input_ids"]
        self.pictures = draw_pictures(0, config.pictures, processes=config.threads)
        self.held_out = draw_pictures(HELD_OUT_SEED, 2_000, processes=config.threads, height=512)
        self.claim_head = torch.nn.Linear(shape.text_size, 1)
        self.heads = torch.nn.ModuleDict(
            {name: torch.nn.Linear(shape.text_size, len(values)) for name, values in FACTS.items()}
        )

    def image_features(self, pixels: Tensor) -> Tensor:
        """Return what the language model sees of each picture, (N, IMAGE_TOKENS, text size)."""
        patches = self.model.model.vision_model(pixel_values=pixels).last_hidden_state
        features: Tensor = self.model.model.connector(patches)
        return features

    def fact_loss(self, pictures: Pictures, indices: list[int], features: Tensor) -> Tensor:
        """Cross-entropy of the five facts told from the mean image feature."""
        pooled = features.mean(1)
        losses = []
        for name, values in FACTS.items():
            target = torch.tensor([values.index(pictures.scenes[i].fact(name)) for i in indices])
            losses.append(functional.cross_entropy(self.heads[name](pooled), target))
        return torch.stack(losses).sum()

    def rows(self, exercises: list[Exercise]) -> Rows:
        """Tokenise exercises behind the image prefix."""
        asked = [f" {made.question}<end_of_utterance>\nAssistant:" for made in exercises]
        questions = self.tokenizer(asked)
        answers = self.tokenizer([f" {made.answer}<end_of_utterance>\n" for made in exercises])["input_ids"]
        lengths = [len(q) + len(a) for q, a in zip(questions["input_ids"], answers, strict=True)]
        ids = torch.full((len(exercises), len(self.prefix) + max(lengths)), self.pad)
        weights = torch.zeros(ids.shape)
        claims: list[tuple[int, int, bool]] = []
        for row, made in enumerate(exercises):
            start = len(self.prefix) + len(questions["input_ids"][row])
            end = len(self.prefix) + lengths[row]
            ids[row, :end] = torch.tensor(self.prefix + questions["input_ids"][row] + answers[row])
            weights[row, start:end] = 1.0
            weights[row, start] = JUDGEMENT_WEIGHT if made.judges else 1.0
            for text, is_so in made.claims:
                last = asked[row].lower().index(text.lower()) + len(text) - 1
                claims.append((row, len(self.prefix) + questions.char_to_token(row, last), is_so))
        return Rows(ids, (ids != self.pad).long(), weights, claims)

    def hidden_states(self, rows: Rows, features: Tensor) -> tuple[Tensor, Tensor]:
        """Run the language model; return its states after CLAIM_LAYER layers and at the end."""
        embeddings = self.model.get_input_embeddings()(rows.ids)
        image = rows.ids == self.model.config.image_token_id
        embeddings = embeddings.masked_scatter(image[..., None], features.to(embeddings.dtype))
        output = self.model.model.text_model(
            inputs_embeds=embeddings,
            attention_mask=rows.mask,
            use_cache=False,
            output_hidden_states=True,
        )
        return output.hidden_states[CLAIM_LAYER], output.last_hidden_state

    def answer_logits(self, rows: Rows, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits, targets and weights of the answer tokens only, flat."""
        scored = rows.weights[:, 1:] > 0
        return (
            self.model.lm_head(hidden[:, :-1][scored]),
            rows.ids[:, 1:][scored],
            rows.weights[:, 1:][scored],
        )

    def loss(self, rows: Rows, features: Tensor, *, with_claims: bool) -> Tensor:
        """Weighted mean cross-entropy of the answers, in nats; on demand plus that of the claims."""
        middle, hidden = self.hidden_states(rows, features)
        logits, targets, weights = self.answer_logits(rows, hidden)
        losses = functional.cross_entropy(logits, targets, reduction="none")
        loss = (losses * weights).sum() / weights.sum()
        if not (with_claims and rows.claims):
            return loss
        row, column, is_so = (torch.tensor(part) for part in zip(*rows.claims, strict=True))
        judged = self.claim_head(middle[row, column])[:, 0]
        return loss + functional.binary_cross_entropy_with_logits(judged, is_so.float())

    def train_vision(self) -> None:
        """Phase one: tell the facts from the picture."""
        parameters = [
            *self.model.model.vision_model.parameters(),
            *self.model.model.connector.parameters(),
            *self.heads.parameters(),
        ]
        for _ in self._steps(parameters, self.config.vision_steps, "vision", self.config.learning_rate):
            indices = self.rng.sample(range(self.config.pictures), self.config.vision_batch)
            features = self.image_features(normalised(self.pictures.pixels[indices], self.generator))
            loss = self.fact_loss(self.pictures, indices, features)
            loss.backward()
            self.last_loss = float(loss.detach())

    def train(self, directory: Path, *, both_sides: bool = False) -> None:
        """Phase two or three: exercises on frozen features, saved on the way every 500 steps."""
        config = self.config
        features, held_out = self.features(self.pictures), self.features(self.held_out)
        parameters = [*self.model.model.text_model.parameters(), *self.claim_head.parameters()]
        steps = config.both_sides_steps if both_sides else config.steps
        rate = config.both_sides_learning_rate if both_sides else config.learning_rate
        for step in self._steps(parameters, steps, "both sides" if both_sides else "exercises", rate):
            self.last_loss = 0.0
            indices = self.rng.sample(range(config.pictures), config.batch)
            made = [
                curriculum.exercise(self.pictures.scenes[i], self.rng, both_sides=both_sides) for i in indices
            ]
            for share, chosen in self._by_length(made):
                rows = self.rows([made[i] for i in chosen])
                seen = features[[indices[i] for i in chosen]]
                loss = share * self.loss(rows, seen, with_claims=not both_sides)
                loss.backward()
                self.last_loss += float(loss.detach())
            if step % 500 == 499:
                print(json.dumps({"step": step + 1, **self.evaluate(held_out, 500)}), flush=True)
                self.save(directory)

    def _by_length(self, made: list[Exercise]) -> Iterator[tuple[float, list[int]]]:
        """Split a batch into thirds of like length, so that little is spent on padding."""
        order = sorted(range(len(made)), key=lambda i: len(made[i].question) + len(made[i].answer))
        size = -(-len(made) // 3)
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            yield len(chosen) / len(made), chosen

    @torch.no_grad()
    def features(self, pictures: Pictures) -> Tensor:
        """Return the image features of all pictures, (N, IMAGE_TOKENS, text size)."""
        return torch.cat([self.image_features(normalised(part)) for part in pictures.pixels.split(256)])

    def _steps(
        self, parameters: list[torch.nn.Parameter], steps: int, name: str, rate: float
    ) -> Iterator[int]:
        optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: _cosine(step / steps, self.config.warmup)
        )
        started = time.monotonic()
        for step in range(steps):
            yield step
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            schedule.step()
            if step % 100 == 0:
                seconds = round(time.monotonic() - started, 1)
                print(f"{name} {step}/{steps} loss {self.last_loss:.3f} {seconds} s", flush=True)

    @torch.no_grad()
    def fact_accuracy(self) -> dict[str, float]:
        """Return how often the heads tell each fact of a held-out picture."""
        pooled = self.features(self.held_out).mean(1)
        accuracy = {}
        for name, values in FACTS.items():
            target = torch.tensor([values.index(scene.fact(name)) for scene in self.held_out.scenes])
            accuracy[name] = round((self.heads[name](pooled).argmax(-1) == target).float().mean().item(), 4)
        return accuracy

    @torch.no_grad()
    def evaluate(self, features: Tensor, questions: int = 2_000) -> dict[str, float]:
        """Return held-out accuracy per skill, on pictures never drawn in training."""
        rng = random.Random(1)
        self.model.eval()
        kinds = (
            curriculum.describe, curriculum.ask_fact, curriculum.judge_fact,
            curriculum.check_facts, curriculum.judge_caption, curriculum.ask_claim, curriculum.compare,
        )  # fmt: skip
        scores = {kind.__name__: round(self._score(kind, features, questions, rng), 4) for kind in kinds}
        self.model.train()
        return scores

    def _score(
        self,
        kind: Callable[[Scene, random.Random], Exercise],
        features: Tensor,
        questions: int,
        rng: random.Random,
    ) -> float:
        right = 0.0
        for start in range(0, questions, 100):
            indices = [(start + i) % len(self.held_out.scenes) for i in range(100)]
            exercises = [kind(self.held_out.scenes[i], rng) for i in indices]
            rows = self.rows(exercises)
            _, hidden = self.hidden_states(rows, features[indices])
            logits, targets, _ = self.answer_logits(rows, hidden)
            hits = (logits.argmax(-1) == targets).float()
            lengths = (rows.weights > 0).sum(1).tolist()
            for made, hit in zip(exercises, hits.split(lengths), strict=True):
                right += float(hit[0]) if made.judges else float(hit.mean())
        return right / questions

    @torch.no_grad()
    def domain_features(self) -> tuple[Tensor, Tensor]:
        """Return the features of 4,000 training pictures and of all held-out ones."""
        training, held_out = (
            torch.cat([picture_features(self.model, normalised(part)) for part in pixels.split(256)])
            for pixels in (self.pictures.pixels[:4_000], self.held_out.pixels)
        )
        return training, held_out

    def save(self, directory: Path) -> None:
        """Write model (16-bit) and processor so that the Auto classes load them."""
        half = {name: value.detach().half() for name, value in self.model.state_dict().items()}
        self.model.save_pretrained(directory, state_dict=half)
        build_processor(self.tokenizer).save_pretrained(directory)


def _cosine(progress: float, warmup: float) -> float:
    if progress < warmup:
        return (progress + 1e-3) / warmup
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def main() -> None:
    """Pretrain into the folder named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.pretrain", description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, nargs="?", default=Path("assets/student"))
    parser.add_argument("--steps", type=int, default=PretrainConfig().steps)
    arguments = parser.parse_args()
    started = time.monotonic()
    config = PretrainConfig(steps=arguments.steps)
    pretraining = Pretraining(config)
    pretraining.train_vision()
    pretraining.train(arguments.directory)
    pretraining.train(arguments.directory, both_sides=True)
    print(json.dumps(finish(pretraining, arguments.directory, time.monotonic() - started)))


def finish(pretraining: Pretraining, directory: Path, seconds: float) -> dict[str, Any]:
    """Save the student with its domain, figures and model card, and return the figures."""
    pretraining.save(directory)
    Domain.fit("demo world", *pretraining.domain_features()).save(directory)
    report = {
        "config": asdict(pretraining.config),
        "parameters": sum(p.numel() for p in pretraining.model.parameters()),
        "seconds": round(seconds),
        "held_out_pictures": len(pretraining.held_out.scenes),
        "held_out_facts": pretraining.fact_accuracy(),
        "held_out": pretraining.evaluate(pretraining.features(pretraining.held_out)),
    }
    (directory / "pretraining.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (directory / "README.md").write_text(model_card(report), encoding="utf-8")
    return report


if __name__ == "__main__":
    main()
