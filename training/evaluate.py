"""Accuracy on held-out cases: of each teacher, of their majority, and of the student at each stage.

Intervals are 95 % percentile bootstrap intervals over groups, not cases: the two cases of one picture
rise and fall together (cluster bootstrap; Cameron, Gelbach and Miller 2008).
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from db.vocabulary import Answer, Verdict
from training.calibrate import answers, counted, expected_calibration_error, sigmoid
from training.records import GoldCase

RESAMPLES = 2_000
SOURCES_MAX = 12
"""Sources told apart, those with the most held-out cases first."""

Leaning = tuple[float, float]
"""How much of an answer says in context, and how much out of context: a tie says both by half."""

SAYS: dict[Answer | None, Leaning] = {
    Answer.IN_CONTEXT: (1.0, 0.0),
    Answer.OUT_OF_CONTEXT: (0.0, 1.0),
    Answer.UNSURE: (0.0, 0.0),
    None: (0.0, 0.0),
}


@dataclass(frozen=True, slots=True)
class Score:
    """How often right, with its 95 % interval, and how often right per gold verdict and per source.

    `macro_f1` is the mean of the two verdicts' F1, None where one of them never occurs.
    """

    accuracy: float
    interval: tuple[float, float]
    by_verdict: dict[str, float | None]
    macro_f1: float | None
    by_source: dict[str, tuple[int, float]]  # cases, accuracy

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]


def score(cases: Sequence[GoldCase], said: Sequence[Leaning], *, seed: int = 0) -> Score:
    """Score answers to held-out cases."""
    weights = np.asarray(said, dtype=float)
    gold = np.asarray([list(Verdict).index(case.gold) for case in cases])
    hits = weights[np.arange(len(cases)), gold]
    by_verdict = {
        verdict.value: round(float(hits[gold == number].mean()), 4) if (gold == number).any() else None
        for number, verdict in enumerate(Verdict)
    }
    interval = bootstrap_interval([case.case.group or case.case.id for case in cases], hits, seed=seed)
    return Score(
        round(float(hits.mean()), 4), interval, by_verdict, _macro_f1(weights, gold), _by_source(cases, hits)
    )


def _macro_f1(weights: np.ndarray, gold: np.ndarray) -> float | None:
    """Return the mean over both verdicts of 2 TP / (2 TP + FP + FN)."""
    found = []
    for number in range(len(Verdict)):
        is_gold = gold == number
        if not is_gold.any():
            return None
        right, said = weights[is_gold, number].sum(), weights[:, number].sum()
        found.append(2 * right / (said + is_gold.sum()))
    return round(float(np.mean(found)), 4)


def _by_source(cases: Sequence[GoldCase], hits: np.ndarray) -> dict[str, tuple[int, float]]:
    sources = np.asarray([case.source for case in cases])
    most = Counter(case.source for case in cases if case.source).most_common(SOURCES_MAX)
    return {name: (number, round(float(hits[sources == name].mean()), 4)) for name, number in most}


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
    teachers = {name: score(cases, [SAYS[case.opinions.get(name)] for case in cases]) for name in names}
    return teachers, score(cases, [_majority(case) for case in cases])


def student_score(cases: Sequence[GoldCase], margins: Sequence[float]) -> Score:
    """Score a student's log-odds of out of context."""
    return score(cases, [(float(margin < 0), float(margin >= 0)) for margin in margins])


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


def _majority(case: GoldCase) -> Leaning:
    ranked = Counter(said for said in case.opinions.values() if said is not Answer.UNSURE).most_common()
    if not ranked or (len(ranked) > 1 and ranked[0][1] == ranked[1][1]):
        return 0.5, 0.5
    return SAYS[ranked[0][0]]
