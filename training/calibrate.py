"""Fit a temperature on validation cases, so that 0.8 means right eight times in ten.

Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv 1706.04599), section 4.2. One
number cannot overfit a few hundred cases; it is fitted on `validation`, never on `test`.
"""

import math
from collections.abc import Sequence

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
