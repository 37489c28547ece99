"""Judge held-out cases with one student after another: pictures are prepared once, whoever looks at them.

Stages adapt the language model alone, so the students of a run see the same features. Where a family is on
the fast path these come from the run folder, and a verdict is one pass of the language model; elsewhere
every student looks at the pictures itself.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate.utils import send_to_device

from training.config import DistilConfig
from training.families import Family, route
from training.fast import model_inputs
from training.faults import in_halves
from training.features import Pictures
from training.passes import lay_out
from training.pictures import load_pictures
from training.records import CaseInput
from training.shared_prefix import Row, share_prefixes
from training.state import RunFolder
from training.student import Student


class Judges:
    """Keeps what the students of one run share; `progress` is told how many cases come next."""

    def __init__(
        self, folder: RunFolder, config: DistilConfig, progress: Callable[[int], None] = lambda _: None
    ) -> None:
        self.folder = folder
        self.config = config
        self.progress = progress
        self.images: dict[str, Any] = {}
        self.features: Pictures | None = None
        self.prompts: dict[str, tuple[int, ...]] = {}  # tokens by case id

    def margins(self, student: Student, cases: Sequence[CaseInput]) -> list[float]:
        """Return log-odds, in nats, that each case is out of context, before any temperature."""
        judged = self._by_sight(student, cases)
        family = route(self.config, student.model).family
        if family is not None:
            judged = self._by_features(student, family)
        margins: list[float] = []
        for start in range(0, len(cases), self.config.judged_at_once):
            part = cases[start : start + self.config.judged_at_once]
            self.progress(len(part))
            margins += in_halves(judged, part)
        return margins

    def _by_sight(
        self, student: Student, cases: Sequence[CaseInput]
    ) -> Callable[[Sequence[CaseInput]], list[float]]:
        def judged(part: Sequence[CaseInput]) -> list[float]:
            wanted = [case.image for case in cases if case.image not in self.images]
            self.images |= load_pictures(self.folder.path, wanted, student.edge)
            return student.margins([self.images[case.image] for case in part], part)

        return judged

    def _by_features(self, student: Student, family: Family) -> Callable[[Sequence[CaseInput]], list[float]]:
        share_prefixes(student.model, family)
        pictures = self._pictures(student, family)
        common, (in_context, out_of_context) = student.deciding_tokens
        answer = (*common, in_context)  # what is read off is where its last token is due

        @torch.inference_mode()
        def judged(part: Sequence[CaseInput]) -> list[float]:
            self._prepare(student, pictures, part)
            rows = [Row(case.image, self.prompts[case.id], (answer,)) for case in part]
            passes = lay_out(
                rows,
                [(row, 0) for row in range(len(rows))],
                padding_id=student.processor.tokenizer.pad_token_id,
                most_tokens=self.config.tokens_per_pass,
            )
            given = send_to_device(model_inputs(passes, pictures), student.model.device)
            hidden = student.model.base_model(**given).last_hidden_state[0, len(answer) - 1 :: len(answer)]
            logits = student.model.get_output_embeddings()(hidden).float()
            return [float(odds) for odds in logits[:, out_of_context] - logits[:, in_context]]

        return judged

    def _pictures(self, student: Student, family: Family) -> Pictures:
        """Return the run's features; a picture beyond the budget is looked at by the student at hand."""
        if self.features is None:
            self.features = Pictures(
                self.folder.path,
                student.model,
                student.processor,
                family,
                folder=self.folder.features_dir,
                budget=self.config.feature_bytes,
            )
        self.features.model = student.model.base_model
        return self.features

    def _prepare(self, student: Student, pictures: Pictures, cases: Sequence[CaseInput]) -> None:
        """Have features and tokens of the cases there are none of yet."""
        new = [case for case in cases if case.id not in self.prompts]
        if not new:
            return
        asked = [(case.image, text) for case, text in zip(new, student.prompts(new), strict=True)]
        tokens = pictures.prepare(asked)
        self.prompts |= {case.id: tokens[one] for case, one in zip(new, asked, strict=True)}
