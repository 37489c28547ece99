"""The student at work: a verdict from one forward pass, and a rationale that goes on from that pass.

A student is a folder or hub id of a vision-language model, or a run folder: then the base its
configuration names, with the newest stage's adapter merged in. The two verdicts' texts part at one
token; the softmax of the two logits there, divided by the run's temperature, is the probability.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from peft import PeftModel
from PIL import Image
from torch import Tensor

from db.vocabulary import Stage, Verdict
from training.base import StudentError, load_base, load_configured
from training.calibrate import Fit, sigmoid
from training.config import DistilConfig, load_config, located
from training.conversations import question_turn, with_image
from training.domain import Domain
from training.pictures import longest_edge, shrink
from training.prefill import Prefill, read, write
from training.prompts import VERDICT_TEXT
from training.records import CaseInput
from training.sight import TOKEN_INPUTS as TOKEN_INPUTS, Sight, see
from training.state import RunFolder


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict on one case; `probability` is that of the verdict, from 0.5 to 1."""

    verdict: Verdict
    probability: float


class Student:
    """A loaded model and its processor; not safe for two threads at once."""

    def __init__(
        self, model: Any, processor: Any, *, name: str, fit: Fit | None = None, domain: Domain | None = None
    ) -> None:
        self.model = model.to(_device()).eval()
        self.processor = processor
        self.processor.tokenizer.padding_side = "left"
        self.name = name
        self.fit = fit or Fit()
        self.domain = domain
        self.edge = longest_edge(processor)
        self.snapshot: str | None = None  # the hash of what it was distilled from

    @classmethod
    def load(cls, source: str, *, stage: Stage | None = None) -> Self:
        """Load from a folder, a hub id or a run folder; `stage` picks one stage of a run.

        Raises StudentError where nothing loadable is there.
        """
        run_dir = Path(source)
        if (run_dir / "snapshot.json").exists():
            return cls._load_run(run_dir, stage)
        dtype = "float32" if not torch.cuda.is_available() else "auto"
        model, processor = load_base(source, dtype)
        folder = Path(located(source))
        return cls(model, processor, name=source, fit=Fit.load(folder), domain=Domain.load(folder))

    @classmethod
    def untouched(cls, config: DistilConfig) -> Self:
        """Load what a run starts from, looking at pictures as the run does."""
        model, processor = load_configured(config, to_train=False)
        return cls(model, processor, name=config.student, domain=Domain.load(Path(located(config.student))))

    @classmethod
    def _load_run(cls, run_dir: Path, stage: Stage | None) -> Self:
        config = load_config(run_dir / "config.json")
        stage = stage or RunFolder(run_dir).newest_stage()
        if stage is None:
            raise StudentError(f"The run {run_dir.name} has left no adapter yet; let it finish first.")
        base, processor = load_configured(config, to_train=False)
        model = with_adapter(base, run_dir, stage)
        name = f"{config.student} + {run_dir.name}/{stage.value}"
        domain = Domain.load(Path(located(config.student)))
        student = cls(model, processor, name=name, fit=Fit.load(run_dir), domain=domain)
        student.snapshot = json.loads((run_dir / "snapshot.json").read_text(encoding="utf-8")).get("hash")
        return student

    @torch.inference_mode()
    def margins(self, pictures: Sequence[Image.Image], cases: Sequence[CaseInput]) -> list[float]:
        """Return log-odds, in nats, that each case is out of context, before any temperature."""
        inputs, (in_context, out_of_context) = self._inputs(pictures, cases)
        logits: Tensor = self.model(**inputs, logits_to_keep=1).logits[:, -1].float()
        return [float(odds) for odds in logits[:, out_of_context] - logits[:, in_context]]

    @property
    def temperature(self) -> float:
        """Return what log-odds are divided by before they are a probability."""
        return self.fit.temperature

    def see(self, pictures: Sequence[Image.Image]) -> list[Sight]:
        """Return what the student takes from pictures of any size, to be asked about more than once."""
        return see(self, [shrink(picture, self.edge) for picture in pictures])

    def read(self, sights: Sequence[Sight], cases: Sequence[CaseInput]) -> list[Prefill]:
        """Read prompts in one pass; each gives a verdict (`judgement`) and can be gone on from (`write`)."""
        return read(self, sights, cases)

    def judgement(self, margin: float) -> Judgement:
        """Return the verdict and its probability of log-odds before temperature."""
        out = sigmoid(margin / self.temperature)
        verdict = Verdict.OUT_OF_CONTEXT if out >= 0.5 else Verdict.IN_CONTEXT
        return Judgement(verdict, max(out, 1 - out))

    def judge(self, picture: Image.Image, case: CaseInput) -> Judgement:
        """Return the verdict on one case and its probability."""
        return self.judgement(self.read(self.see([picture]), [case])[0].margin)

    def write(self, begun: Prefill, verdict: Verdict, *, max_tokens: int = 160) -> Iterator[str]:
        """Yield the rationale that follows the verdict, piece by piece, without reading the prompt again."""
        return write(self, begun, verdict, max_tokens=max_tokens)

    def rationale(
        self, picture: Image.Image, case: CaseInput, verdict: Verdict, *, max_tokens: int = 160
    ) -> Iterator[str]:
        """Yield the rationale that follows the verdict, piece by piece, as it is written."""
        yield from self.write(self.read(self.see([picture]), [case])[0], verdict, max_tokens=max_tokens)

    def strangeness(self, sight: Sight) -> bool | None:
        """Return whether a picture is unlike what the student was trained on; None where unknown."""
        if self.domain is None or sight.summary is None:
            return None
        return bool(self.domain.distances(sight.summary[None])[0] > self.domain.threshold)

    def prompts(self, cases: Sequence[CaseInput]) -> list[str]:
        """Return what the student is asked of each case, up to where its answer is due."""
        turns = [with_image(question_turn(case)) for case in cases]
        return list(self.processor.apply_chat_template(turns, add_generation_prompt=True))

    def encoded(self, pictures: Sequence[Image.Image], cases: Sequence[CaseInput]) -> Any:
        """Return model inputs that end where the answers are due, a case a row, padded on the left."""
        return self.processor(
            text=self.prompts(cases),
            images=[[picture] for picture in pictures],
            padding=True,
            return_tensors="pt",
            add_special_tokens=False,  # the template has written them, and training adds none
        )

    def _inputs(
        self, pictures: Sequence[Image.Image], cases: Sequence[CaseInput]
    ) -> tuple[dict[str, Tensor], tuple[int, int]]:
        """Return model inputs that end where the verdict's deciding token is due."""
        common, deciding = self.deciding_tokens
        inputs = self.encoded(pictures, cases)
        for name in TOKEN_INPUTS & inputs.keys():
            kinds = {"input_ids": common, "attention_mask": [1] * len(common)}
            inputs[name] = _appended(inputs[name], kinds.get(name, [0] * len(common)))
        return dict(inputs.to(self.model.device, self.model.dtype)), deciding

    @cached_property
    def empty_prompt(self) -> tuple[list[int], int]:
        """Return the tokens of a prompt without a caption, and how many of its last ones are its text's."""
        empty = CaseInput("", "", "")
        text = question_turn(empty)[0]["content"]
        return self.tokens(self.prompts([empty])[0]), len(self.tokens(text))

    @cached_property
    def deciding_tokens(self) -> tuple[list[int], tuple[int, int]]:
        """Return the tokens both verdicts begin with, and the first that differs, in context first."""
        first, second = (self.tokens(self._verdict_text(verdict)) for verdict in Verdict)
        for position, (a, b) in enumerate(zip(first, second, strict=False)):
            if a != b:
                return first[:position], (a, b)
        raise StudentError(f"The tokenizer of {self.name} cannot tell the two verdicts apart.")

    def _verdict_text(self, verdict: Verdict) -> str:
        """Return the verdict as the chat template writes it after the assistant's cue."""
        question = with_image(question_turn(CaseInput("", "", "")))
        said = {"role": "assistant", "content": [{"type": "text", "text": VERDICT_TEXT[verdict]}]}
        cue = self.processor.apply_chat_template([question], add_generation_prompt=True)[0]
        whole = self.processor.apply_chat_template([[*question, said]])[0]
        text: str = whole[len(cue) : whole.rindex(VERDICT_TEXT[verdict])] + VERDICT_TEXT[verdict]
        return text

    def answer_start(self, verdict: Verdict) -> str:
        """Return what an answer begins with before its rationale."""
        return f"{self._verdict_text(verdict)}."

    def tokens(self, text: str) -> list[int]:
        """Return a text's tokens, none added."""
        ids: list[int] = self.processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def with_adapter(base: Any, run_dir: Path, stage: Stage) -> Any:
    """Merge a stage's adapter into the untouched model, so that it answers at the model's own speed.

    Raises StudentError where the stage has left none.
    """
    folder = run_dir / stage.value
    if not folder.is_dir():
        raise StudentError(
            f"The run {run_dir.name} has left no adapter of {stage.value} yet; let it finish first."
        )
    return PeftModel.from_pretrained(base, folder).merge_and_unload()


def _appended(rows: Tensor, values: list[int]) -> Tensor:
    tail = torch.tensor(values, dtype=rows.dtype).expand(len(rows), len(values))
    return torch.cat([rows, tail], dim=1)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
