"""Turn settled conflicts into what the two stages learn from.

Once people have settled a conflict, every rationale that reached their verdict is preferred to every
one that did not, so a case with m right and k wrong opinions yields m * k preferences; a ceiling per
case keeps cases with many teachers from outweighing the rest. An annotator's own rationale comes
first among the chosen. An `unsure` opinion takes no side.

The loss these feed is eq. 7 of Rafailov et al. 2023 (arXiv 2305.18290); it is TRL's, not ours. Negatives
(`training.negatives`) are preferences, too, whose rejected rationale no teacher wrote.
"""

import random
import zlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from db.vocabulary import PREFERENCES_PER_CASE, Answer, PreferenceOrigin, Verdict
from training.config import NEGATIVES, DistilConfig
from training.records import CaseInput, Preference, Target, read_records


class OneSidedCaseError(ValueError):
    """A settled case has no opinion on one of the two sides, so nothing can be preferred."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one teacher said of a case."""

    teacher: str
    verdict: Answer
    rationale: str


@dataclass(frozen=True, slots=True)
class SettledCase:
    """A conflict with its human verdict.

    `preferred` holds rationales people wrote, edited or picked as best, in the order of their worth;
    all reach `verdict`.
    """

    case: CaseInput
    verdict: Verdict
    opinions: tuple[Opinion, ...]
    preferred: tuple[str, ...] = ()

    def chosen(self) -> list[str]:
        """Return the rationales that reach the verdict, people's own first, none twice."""
        right = [o.rationale for o in self.opinions if o.verdict.value == self.verdict.value]
        return list(dict.fromkeys(text for text in (*self.preferred, *right) if text.strip()))

    def rejected(self) -> list[str]:
        """Return the rationales that reach the other verdict, none twice."""
        sides = (self.verdict.value, Answer.UNSURE.value)
        wrong = [o.rationale for o in self.opinions if o.verdict.value not in sides]
        return list(dict.fromkeys(text for text in wrong if text.strip()))

    def one_sided(self) -> bool:
        """Whether nothing can be preferred: no rationale for the verdict, or none against it."""
        return not (self.chosen() and self.rejected())


def preferences(
    settled: Iterable[SettledCase], *, max_per_case: int = PREFERENCES_PER_CASE, seed: int = 0
) -> list[Preference]:
    """Pair right with wrong rationales, case by case, in the order given.

    The preferences kept of a case with more than `max_per_case` are drawn with `seed`, after those
    with the most preferred rationale, so equal inputs give equal outputs. Raises OneSidedCaseError
    for a case that yields none: dropping it silently would be losing a ruling.
    """
    rng = random.Random(seed)
    made = []
    for item in settled:
        if item.one_sided():
            raise OneSidedCaseError(f"Case {item.case.id} has no rationale on one side of its verdict.")
        chosen, rejected = item.chosen(), item.rejected()
        first = [(chosen[0], wrong) for wrong in rejected]
        others = [(right, wrong) for right in chosen[1:] for wrong in rejected]
        rng.shuffle(others)
        for right, wrong in [*first, *others][:max_per_case]:
            made.append(Preference(item.case, item.verdict, right, wrong))
    return made


def settled_target(item: SettledCase) -> Target:
    """Return the stage-1 target of a settled case; its rationale is empty where none reaches it."""
    rationale = next(iter(item.chosen()), "")
    return Target(item.case, item.verdict, rationale, "settled")


def agreed_target(case: CaseInput, opinions: tuple[Opinion, ...], rng: random.Random) -> Target:
    """Return the stage-1 target of a case on which all teachers agree: one teacher's rationale."""
    said = rng.choice(opinions)
    return Target(case, Verdict(said.verdict), said.rationale, "agreed")


def made_kinds(config: DistilConfig) -> tuple[PreferenceOrigin, ...]:
    """Return the kinds of negatives a run makes: those it learns from, and all where it compares them."""
    return NEGATIVES if config.ablation else config.negatives.kinds


def is_tried(case_id: str, kind: PreferenceOrigin, config: DistilConfig) -> bool:
    """Say whether a negative of a kind is tried for a case; it does not depend on other cases."""
    drawn = zlib.crc32(f"{config.seed}/{kind.value}/{case_id}".encode()) / 2**32
    return kind in made_kinds(config) and drawn < config.negatives.share(kind)


def stage2_preferences(run_dir: Path, kinds: Collection[PreferenceOrigin]) -> list[Preference]:
    """Return what stage 2 learns from: the run's frozen preferences, then its negatives of these kinds."""
    frozen = read_records(run_dir / "preferences.jsonl", Preference)
    if not kinds or not frozen:
        return frozen
    made = read_records(run_dir / "negatives.jsonl", Preference)
    return frozen + [one for one in made if one.origin in kinds]
