"""Accuracy on held-out cases: of each teacher, of their majority, and of the student at each stage.

Intervals are 95 % percentile bootstrap intervals over groups, not cases: the two cases of one picture
rise and fall together (cluster bootstrap; Cameron, Gelbach and Miller 2008).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from db.vocabulary import Answer, Verdict
from training.calibrate import answers, counted, expected_calibration_error, sigmoid
from training.records import GoldCase

RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class Score:
    """How often right, with its 95 % interval, and how often right per gold verdict."""

    accuracy: float
    interval: tuple[float, float]
    by_verdict: dict[str, float | None]

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**asdict(self), "interval": list(self.interval)}


def score(cases: Sequence[GoldCase], right: Sequence[float], *, seed: int = 0) -> Score:
    """Score answers; `right` is 1, 0, or a half where a tie was tossed."""
    hits = np.asarray(right, dtype=float)
    by_verdict: dict[str, float | None] = {}
    for verdict in Verdict:
        among = np.asarray([case.gold == verdict for case in cases])
        by_verdict[verdict.value] = round(float(hits[among].mean()), 4) if among.any() else None
    interval = bootstrap_interval([case.case.group or case.case.id for case in cases], hits, seed=seed)
    return Score(round(float(hits.mean()), 4), interval, by_verdict)


def bootstrap_interval(groups: Sequence[str], hits: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """Return the 2.5th and 97.5th percentile of the mean over resampled groups."""
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    sums, sizes = np.bincount(index, weights=hits), np.bincount(index)
    drawn = np.random.default_rng(seed).integers(0, len(sums), (RESAMPLES, len(sums)))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return round(float(low), 4), round(float(high), 4)


def teacher_scores(cases: Sequence[GoldCase]) -> tuple[dict[str, Score], Score]:
    """Score each teacher, and the majority of their verdicts.

    `unsure` is wrong for a teacher and no vote for the majority; a tied vote counts one half.
    """
    names = list(dict.fromkeys(name for case in cases for name in case.opinions))
    teachers = {
        name: score(cases, [float(case.opinions.get(name) == Answer(case.gold)) for case in cases])
        for name in names
    }
    return teachers, score(cases, [_majority_right(case) for case in cases])


def student_score(cases: Sequence[GoldCase], margins: Sequence[float]) -> Score:
    """Score a student's log-odds of out of context."""
    return score(
        cases,
        [float((m >= 0) == (c.gold is Verdict.OUT_OF_CONTEXT)) for c, m in zip(cases, margins, strict=True)],
    )


def calibration(cases: Sequence[GoldCase], margins: Sequence[float], temperature: float) -> dict[str, Any]:
    """Return how well the probabilities at this temperature fit the held-out cases.

    `bins` are those of the calibration error, for the reliability diagram.
    """
    gold = [case.gold for case in cases]
    out = [sigmoid(margin / temperature) for margin in margins]
    brier = float(np.mean([(p - (g is Verdict.OUT_OF_CONTEXT)) ** 2 for p, g in zip(out, gold, strict=True)]))
    said, right = answers(margins, gold, temperature)
    bins = counted(said, right, [0.5 + 0.05 * number for number in range(10)])
    return {
        "temperature": temperature,
        "ece": expected_calibration_error(said, right),
        "brier": round(brier, 4),
        "bins": [asdict(one) for one in bins],
    }


def _majority_right(case: GoldCase) -> float:
    votes = Counter(said for said in case.opinions.values() if said is not Answer.UNSURE)
    ranked = votes.most_common()
    if not ranked or (len(ranked) > 1 and ranked[0][1] == ranked[1][1]):
        return 0.5
    return float(ranked[0][0].value == case.gold.value)
