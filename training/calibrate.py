"""Fit a temperature on validation cases, so that 0.8 means right eight times in ten, and say when to abstain.

Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv 1706.04599), section 4.2. One
number cannot overfit a few hundred cases; it is fitted on `validation`, never on `test`. So is the band in
which a student rather says that it cannot tell: outside it the share of wrong answers is at most
`ERROR_BOUND`, by the upper end of its exact interval, so that few cases make a wide band.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from db.vocabulary import Verdict


def sigmoid(odds: float) -> float:
    """Return the probability of log-odds in nats, without overflow."""
    return 1 / (1 + math.exp(-odds)) if odds >= 0 else 1 - 1 / (1 + math.exp(odds))


def fit_temperature(margins: Sequence[float], gold: Sequence[Verdict]) -> float:
    """Return the temperature, 0.25 to 20, that makes the log-odds of out of context most likely.

    1 where there is nothing to fit on. Targets are (n + 1) / (n + 2) instead of 1 (Platt 1999, section
    2.2): without that, a student that errs on none of n cases would be called infinitely sure.
    """
    if not margins:
        return 1.0
    odds = np.asarray(margins) * np.where([v == Verdict.OUT_OF_CONTEXT for v in gold], 1.0, -1.0)
    sure = (len(odds) + 1) / (len(odds) + 2)
    temperatures = np.geomspace(0.25, 20, 200)
    losses = [
        (sure * np.logaddexp(0, -odds / t) + (1 - sure) * np.logaddexp(0, odds / t)).mean()
        for t in temperatures
    ]
    return round(float(temperatures[int(np.argmin(losses))]), 4)


def expected_calibration_error(
    probabilities: Sequence[float], right: Sequence[bool], bins: int = 10
) -> float:
    """Return the mean gap between probability and accuracy over equal-width bins of 0.5 to 1."""
    said, hit = np.asarray(probabilities), np.asarray(right, dtype=float)
    if not len(said):
        return 0.0
    index = np.clip(((said - 0.5) / 0.5 * bins).astype(int), 0, bins - 1)
    gaps = [
        abs(said[index == b].mean() - hit[index == b].mean()) * (index == b).mean()
        for b in range(bins)
        if (index == b).any()
    ]
    return round(float(sum(gaps)), 4)


ERROR_BOUND = 0.1
"""Most wrong answers outside the band, as a share."""
COIN_TOSS = 0.6
"""Below this probability a student abstains whatever was measured; *ours*, where the words change."""
CONFIDENCE = 0.95
"""How sure it is that there are not more; one-sided (Clopper and Pearson 1934)."""
LEVELS = (0.5, 0.6, 0.8, 0.95, 0.99)
"""From which probability each level of sureness begins; words for them are in `wording`."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers with a probability from `low` to below `high`: how many, how many wrong, what they said.

    `said` is their mean probability, 0 where there are none.
    """

    low: float
    high: float
    cases: int
    wrong: int
    said: float


@dataclass(frozen=True, slots=True)
class Band:
    """In which probabilities of the verdict a student abstains: from 0.5 to below `below`.

    Outside it `wrong` of `cases` validation answers were wrong. `below` above 1 abstains from everything.
    """

    below: float
    bound: float
    cases: int
    wrong: int


@dataclass(frozen=True, slots=True)
class Turned:
    """How many of a student's in-context verdicts on validation `cases` turned when the picture was blank."""

    turned: int
    cases: int


@dataclass(frozen=True, slots=True)
class Fit:
    """How to read a student's answers; what was not measured, as in older files, is None or empty."""

    temperature: float = 1.0
    levels: tuple[Bin, ...] = ()
    band: Band | None = None
    turned: Turned | None = None

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read `calibration.json` of a folder; log-odds as they are where there is none."""
        path = folder / "calibration.json"
        if not path.exists():
            return cls()
        said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        band, turned = said.get("band"), said.get("turned")
        return cls(
            float(said["temperature"]),
            tuple(Bin(**one) for one in said.get("levels", ())),
            None if band is None else Band(**band),
            None if turned is None else Turned(**turned),
        )

    def abstains(self, probability: float) -> bool:
        """Return whether a verdict of this probability is rather not given."""
        return self.band is not None and probability < self.band.below

    def level(self, probability: float) -> Bin | None:
        """Return how validation answers of this probability fared; None where it was not measured."""
        return next((one for one in reversed(self.levels) if probability >= one.low), None)


def counted(probabilities: Sequence[float], right: Sequence[bool], edges: Sequence[float]) -> list[Bin]:
    """Count answers by their probability; the bins begin at the edges, and the last one ends at 1."""
    said, hit = np.asarray(probabilities, dtype=float), np.asarray(right, dtype=bool)
    bins = []
    for low, high in zip(edges, [*edges[1:], 1.0], strict=True):
        inside = (said >= low) & ((said < high) | (high == 1.0))
        mean = round(float(said[inside].mean()), 4) if inside.any() else 0.0
        bins.append(Bin(round(low, 4), round(high, 4), int(inside.sum()), int((inside & ~hit).sum()), mean))
    return bins


def fit_band(probabilities: Sequence[float], right: Sequence[bool], bound: float = ERROR_BOUND) -> Band:
    """Return the narrowest band, in steps of 0.01, outside which the error is at most `bound`.

    It reaches to `COIN_TOSS` at least: many sure answers that are right do not excuse one that is a guess.
    Where no validation cases are enough to say so, it abstains from everything.
    """
    said, hit = np.asarray(probabilities, dtype=float), np.asarray(right, dtype=bool)
    for hundredths in range(round(100 * COIN_TOSS), 101):
        outside = said >= hundredths / 100
        cases, wrong = int(outside.sum()), int((outside & ~hit).sum())
        if cases and upper_limit(wrong, cases) <= bound:
            return Band(hundredths / 100, bound, cases, wrong)
    return Band(1.01, bound, 0, 0)


def upper_limit(wrong: int, cases: int) -> float:
    """Return the largest share of wrong answers that `wrong` of `cases` still leave credible, exactly."""
    if wrong >= cases:
        return 1.0
    low, high = wrong / cases, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(wrong, cases, middle) > 1 - CONFIDENCE else (low, middle)
    return high


def measured(margins: Sequence[float], gold: Sequence[Verdict], temperature: float) -> dict[str, Any]:
    """Return what validation says of each level of sureness, and the band, as JSON values.

    Nothing where there are no validation cases.
    """
    if not margins:
        return {}
    said, right = answers(margins, gold, temperature)
    levels = [asdict(one) for one in counted(said, right, LEVELS)]
    return {"levels": levels, "band": asdict(fit_band(said, right))}


def answers(
    margins: Sequence[float], gold: Sequence[Verdict], temperature: float
) -> tuple[list[float], list[bool]]:
    """Return the probability of each verdict, 0.5 to 1, and whether the verdict is right."""
    out = [sigmoid(margin / temperature) for margin in margins]
    right = [(p >= 0.5) == (verdict is Verdict.OUT_OF_CONTEXT) for p, verdict in zip(out, gold, strict=True)]
    return [max(p, 1 - p) for p in out], right


def _at_most(wrong: int, cases: int, share: float) -> float:
    """Return the probability of at most `wrong` wrong answers of `cases` at this share (binomial)."""
    logs = (
        [
            math.lgamma(cases + 1)
            - math.lgamma(k + 1)
            - math.lgamma(cases - k + 1)
            + k * math.log(share)
            + (cases - k) * math.log1p(-share)
            for k in range(wrong + 1)
        ]
        if 0 < share < 1
        else [0.0]
    )
    return math.fsum(math.exp(one) for one in logs)
