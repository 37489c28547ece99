"""Negatives: rejected rationales that no teacher wrote, after BPO (arXiv 2403.08730).

*Image weakening*: the stage-1 student answers a settled conflict from the picture under diffusion noise,
so what it says is what it believes without seeing. *Error injection*: the chosen rationale with one fact
exchanged (`training.injection`). Stage 2 sees the clean picture with either.

BPO's released sampler contrasts clean with noisy logits in the direction that removes hallucination, so
its negatives are better grounded than plain answers. Here the student answers from the weakened picture
alone, and every negative is checked on the clean one. It is kept only where it reaches the wrong verdict,
or the stage-1 student finds it less likely than the chosen answer (`training.answering`). For injected
errors that check is *ours*: it drops exchanges that happen to mean the same or to be true. What was cut
off, names no verdict or gives no reason is dropped; counts say how much of what.
"""

import json
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor

from db.vocabulary import Answer, PreferenceOrigin, Stage, Verdict
from training.answering import likelihoods, whole_answers
from training.config import NEGATIVES, DistilConfig
from training.diffusion import weaken
from training.injection import Rewriter, Rewriting, Swaps
from training.pictures import load_pictures
from training.preferences import is_tried
from training.prompts import parse_answer
from training.records import CaseInput, Preference, Provenance, Target, parsed_lines, read_records
from training.stage import StageInputs, StageStopped
from training.state import append_line, read_lines, write_whole
from training.student import Student

PHRASES_FROM = 20_000
"""Targets whose phrases may come into others' rationales; more would take longer and add little."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An answer that may become a negative of `preference`, if it is worse than the chosen one."""

    preference: Preference
    origin: PreferenceOrigin
    verdict: Verdict
    rationale: str
    made_by: str
    noise_step: int | None = None
    rewriting: Rewriting | None = None


@dataclass(slots=True)
class Batch:
    """What came of some of the cases: the negatives kept, and how many were tried or dropped, by why."""

    kept: list[Preference] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def drop(self, origin: PreferenceOrigin, why: str) -> None:
        """Count a candidate that is no negative."""
        self.counts[f"{origin.value}: {why}"] += 1


def run(inputs: StageInputs) -> None:
    """Make the negatives of a run, and leave them in `negatives.jsonl` and their counts beside it.

    Batches that are done are kept in the checkpoints and not made again. Raises StageStopped between
    two batches where it was asked to stop.
    """
    folder, settings = inputs.folder, inputs.config.negatives
    chosen = _cases(read_records(folder.path / "preferences.jsonl", Preference), inputs.config)
    work = _Work(inputs, Swaps(_told(folder.path)))
    batches = _done(work.path)
    for start in range(len(batches) * settings.batch_size, len(chosen), settings.batch_size):
        folder.say(stage="negatives", step=start, steps=len(chosen))
        if inputs.stop_requested():
            raise StageStopped
        batches.append(work.batch(chosen[start : start + settings.batch_size]))
        kept = [asdict(one) for one in batches[-1].kept]
        append_line(work.path, {"kept": kept, "counts": batches[-1].counts})
    counts = sum((batch.counts for batch in batches), Counter[str]())
    write_whole(folder.path / "negatives_counts.json", json.dumps(counts, indent=2))
    lines = (json.dumps(asdict(one), ensure_ascii=False) + "\n" for batch in batches for one in batch.kept)
    write_whole(folder.path / "negatives.jsonl", "".join(lines))
    work.path.unlink(missing_ok=True)


def _cases(preferences: Sequence[Preference], config: DistilConfig) -> list[Preference]:
    """Return the first preference, which has the most preferred rationale, of each case drawn."""
    first: dict[str, Preference] = {}
    for one in preferences:
        first.setdefault(one.case.id, one)
    return [one for one in first.values() if any(is_tried(one.case.id, kind, config) for kind in NEGATIVES)]


def _told(run_dir: Path) -> Iterator[tuple[CaseInput, str]]:
    for target in islice(parsed_lines(run_dir / "sft.jsonl", Target), PHRASES_FROM):
        yield target.case, target.rationale


class _Work:
    """Makes negatives of a few cases at a time with the stage-1 student, loaded when first needed."""

    def __init__(self, inputs: StageInputs, rewriter: Rewriter) -> None:
        self.root = inputs.folder.path
        self.config = inputs.config
        self.rewriter = rewriter
        self.path = inputs.folder.checkpoints_dir(Stage.DPO).parent / "negatives.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.student: Student | None = None

    def batch(self, chosen: Sequence[Preference]) -> Batch:
        """Make and check the negatives of these cases."""
        if self.student is None:
            self.student = Student.load(str(self.root), stage=Stage.SFT)
        made = Batch()
        pictures = load_pictures(self.root, [one.case.image for one in chosen], self.student.edge)
        candidates = [
            *self._weakened(self.student, pictures, self._drawn(chosen, PreferenceOrigin.WEAKENED), made),
            *self._injected(self._drawn(chosen, PreferenceOrigin.INJECTED), made),
        ]
        if candidates:
            self._keep(self.student, pictures, candidates, made)
        return made

    def _drawn(self, chosen: Sequence[Preference], kind: PreferenceOrigin) -> list[Preference]:
        return [one for one in chosen if is_tried(one.case.id, kind, self.config)]

    def _weakened(
        self, student: Student, pictures: dict[str, Any], drawn: list[Preference], made: Batch
    ) -> list[Candidate]:
        settings, found = self.config.negatives, []
        origin = PreferenceOrigin.WEAKENED
        if not drawn:
            return []

        def alter(pixels: Tensor, case: CaseInput) -> Tensor:
            return weaken(pixels, settings.noise_step, seed=_seed(self.config.seed, "noise", case.id))

        said = whole_answers(
            student,
            [pictures[one.case.image] for one in drawn],
            [one.case for one in drawn],
            alter=alter,
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            seed=_seed(self.config.seed, "words", drawn[0].case.id),
        )
        for one, text in zip(drawn, said, strict=True):
            made.counts[f"{origin.value}: tried"] += 1
            answer = parse_answer(text or "")
            if text is None:
                made.drop(origin, "cut off")
            elif answer.verdict is Answer.UNSURE:
                made.drop(origin, "names no verdict")
            elif not answer.rationale:
                made.drop(origin, "gives no reason")
            else:
                verdict = Verdict(answer.verdict.value)
                found.append(
                    Candidate(one, origin, verdict, answer.rationale, "stage-1 student", settings.noise_step)
                )
        return found

    def _injected(self, drawn: list[Preference], made: Batch) -> list[Candidate]:
        found = []
        origin = PreferenceOrigin.INJECTED
        for one in drawn:
            made.counts[f"{origin.value}: tried"] += 1
            written = self.rewriter.rewrite(one, seed=_seed(self.config.seed, "error", one.case.id))
            if written is None:
                made.drop(origin, "nothing to exchange")
            else:
                text, name = written.rationale, self.rewriter.name
                found.append(Candidate(one, origin, one.verdict, text, name, rewriting=written))
        return found

    def _keep(
        self, student: Student, pictures: dict[str, Any], candidates: list[Candidate], made: Batch
    ) -> None:
        """Keep the candidates that are wrong, or less likely on the clean picture than the chosen answer."""
        firsts = {one.preference.case.id: one.preference for one in candidates}
        asked = [
            *((one.case, one.verdict, one.chosen) for one in firsts.values()),
            *((one.preference.case, one.verdict, one.rationale) for one in candidates),
        ]
        likely: list[float] = []
        for start in range(0, len(asked), self.config.negatives.batch_size):
            part = asked[start : start + self.config.negatives.batch_size]
            cases = [case for case, _, _ in part]
            answers = [(verdict, text) for _, verdict, text in part]
            likely += likelihoods(student, [pictures[case.image] for case in cases], cases, answers)
        of_chosen = dict(zip(firsts, likely[: len(firsts)], strict=True))
        for one, own in zip(candidates, likely[len(firsts) :], strict=True):
            kept, why = judged(one, of_chosen[one.preference.case.id], own)
            if kept is None:
                made.drop(one.origin, why)
            else:
                made.counts[f"{one.origin.value}: kept"] += 1
                made.kept.append(kept)


def judged(one: Candidate, of_chosen: float, own: float) -> tuple[Preference | None, str]:
    """Return the negative a candidate makes, or None, and why; likelihoods are on the clean picture."""
    preference, written = one.preference, one.rewriting
    if one.verdict is not preference.verdict:
        why = "wrong verdict"
    elif one.rationale == preference.chosen:
        return None, "says what was chosen"
    elif own < of_chosen:
        why = "less likely"
    else:
        return None, "as likely as the chosen"
    provenance = Provenance(
        made_by=one.made_by,
        kept_because=why,
        logp_chosen=round(of_chosen, 4),
        logp_rejected=round(own, 4),
        noise_step=one.noise_step,
        element=written.element.value if written else None,
        replaced=written.replaced if written else None,
        replacement=written.replacement if written else None,
    )
    kept = Preference(
        preference.case,
        preference.verdict,
        preference.chosen,
        one.rationale,
        one.origin,
        one.verdict,
        provenance,
    )
    return kept, why


def _seed(seed: int, what: str, case_id: str) -> int:
    return zlib.crc32(f"{seed}/{what}/{case_id}".encode())


def _done(path: Path) -> list[Batch]:
    """Read the batches a run was through before it ended."""
    return [
        Batch([Preference.parse(one) for one in values["kept"]], Counter(values["counts"]))
        for values in read_lines(path)
    ]
