"""Say a probability as a person would: how it leans, and how often such an answer is wrong.

How often is what was measured on validation cases wherever enough answers were as sure as this one, else
what the probability itself claims, and the sentence says which of the two it is.
"""

from db.vocabulary import Verdict
from training.calibrate import LEVELS, Band, Fit

MEASURED_AT_LEAST = 20
"""Validation cases from which a share of wrong answers is said as measured; fewer would say little."""
ONE_IN_BELOW = 0.225
"""Shares below this are said as one in so many, others as so many in ten."""
SIDES = {Verdict.IN_CONTEXT: "in context", Verdict.OUT_OF_CONTEXT: "out of context"}
_LEANS = dict(
    zip(
        LEVELS,
        (
            "Close to a coin toss; leans {side} by a little",
            "Leans {side}",
            "Probably {side}",
            "Very probably {side}",
            "Almost certainly {side}",
        ),
        strict=True,
    )
)


def in_words(verdict: Verdict, probability: float, fit: Fit | None = None) -> str:
    """Say a verdict and its probability, 0.5 to 1, in one sentence."""
    fit = fit or Fit()
    leaning = _LEANS[max((low for low in LEVELS if low <= probability), default=LEVELS[0])]
    said = leaning.format(side=SIDES[verdict])
    if fit.abstains(probability):
        said = f"Cannot tell. {said}"
    level = fit.level(probability)
    if level is not None and level.cases >= MEASURED_AT_LEAST:
        return f"{said}; {_were_wrong(level.wrong, level.cases)}."
    return (
        f"{said}; by its own probability {often(1 - probability)} such answers {_is(1 - probability)} wrong."
    )


def often(share: float) -> str:
    """Say a share of wrong answers: `about 3 in 10`, `about 1 in 25`, `fewer than 1 in 200`."""
    if share < 0.005:
        return "fewer than 1 in 200"
    if share < ONE_IN_BELOW:
        return f"about 1 in {round(1 / share)}"
    return f"about {round(10 * share)} in 10"


def band_in_words(band: Band | None) -> str:
    """Say when the student abstains, and on how many validation cases that rests."""
    if band is None:
        return "This student always answers: when it should rather not was never measured."
    if band.below > 1:
        return (
            "This student always says that it cannot tell: no validation cases show that at most "
            f"{band.bound:.0%} of its answers are wrong."
        )
    rests = f"{band.wrong} of {band.cases} such answers to validation cases were wrong"
    return f"This student answers from a probability of {band.below:.2f} on: {rests}."


def _were_wrong(wrong: int, cases: int) -> str:
    if not wrong:
        return f"none of {cases} such answers to validation cases was wrong"
    share = wrong / cases
    if share < 0.005:
        return f"{wrong} of {cases} such answers to validation cases were wrong"
    return f"{often(share)} such answers {_is(share)} wrong ({wrong} of {cases} validation cases)"


def _is(share: float) -> str:
    return "is" if 0.005 <= share < ONE_IN_BELOW else "are"
