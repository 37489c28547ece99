"""What validation says of a student's answers: levels of sureness, the band, and their file."""

import json
from pathlib import Path

import pytest

from db.vocabulary import Verdict
from training.calibrate import (
    COIN_TOSS,
    ERROR_BOUND,
    Band,
    Bin,
    Fit,
    Turned,
    counted,
    fit_band,
    measured,
    upper_limit,
)
from training.plots import write_reliability
from training.wording import band_in_words, in_words, often

IN, OUT = Verdict.IN_CONTEXT, Verdict.OUT_OF_CONTEXT


def test_a_folder_from_before_there_were_bands_never_abstains(tmp_path: Path) -> None:
    assert Fit.load(tmp_path) == Fit(1.0)
    (tmp_path / "calibration.json").write_text('{"temperature": 1.698, "ece": 0.0103, "brier": 0.0068}')
    fit = Fit.load(tmp_path)
    assert fit.temperature == 1.698
    assert not fit.abstains(0.5)
    assert fit.level(0.9) is None
    assert "never measured" in band_in_words(fit.band)


def test_what_was_measured_is_read_back(tmp_path: Path) -> None:
    said = {"temperature": 2.0, **measured([8.0] * 50 + [-8.0] * 50, [OUT] * 50 + [IN] * 50, 2.0)}
    said["turned"] = {"turned": 40, "cases": 50}
    (tmp_path / "calibration.json").write_text(json.dumps(said))
    fit = Fit.load(tmp_path)
    assert fit.band == Band(COIN_TOSS, ERROR_BOUND, 100, 0)
    assert fit.level(0.97) == Bin(0.95, 0.99, 100, 0, 0.982)
    assert fit.turned == Turned(40, 50)
    assert measured([], [], 2.0) == {}


@pytest.mark.parametrize("cases", [0, 5, 28])
def test_few_cases_without_an_error_are_not_enough_to_answer_at_all(cases: int) -> None:
    band = fit_band([0.99] * cases, [True] * cases)
    assert band.below > 1
    assert Fit(band=band).abstains(1.0)
    assert "always says that it cannot tell" in band_in_words(band)


def test_the_band_is_as_wide_as_the_errors_reach() -> None:
    said = [0.55] * 40 + [0.72] * 40 + [0.95] * 120
    right = [True, False] * 20 + [True, True, True, False] * 10 + [True] * 118 + [False] * 2
    band = fit_band(said, right)
    assert band == Band(0.73, ERROR_BOUND, 120, 2)
    assert upper_limit(2, 120) <= ERROR_BOUND < upper_limit(12, 160)
    assert Fit(band=band).abstains(0.72)
    assert not Fit(band=band).abstains(0.73)
    assert band_in_words(band).endswith("2 of 120 such answers to validation cases were wrong.")


def test_the_upper_limit_is_the_exact_one() -> None:
    assert upper_limit(0, 29) == pytest.approx(1 - 0.05 ** (1 / 29), abs=1e-6)
    assert upper_limit(1, 100) == pytest.approx(0.04656, abs=1e-4)  # Clopper-Pearson tables
    assert upper_limit(3, 3) == 1.0


def test_every_answer_is_in_one_bin_and_certainty_in_the_last() -> None:
    bins = counted([0.5, 0.6, 0.6, 1.0], [True, False, True, True], (0.5, 0.6, 0.8))
    assert [(one.cases, one.wrong) for one in bins] == [(1, 0), (2, 1), (1, 0)]
    assert bins[-1].high == 1.0


@pytest.mark.parametrize(
    ("probability", "words"),
    [(0.55, "coin toss"), (0.7, "about 3 in 10"), (0.8, "1 in 5"), (0.9, "1 in 10"), (0.999, "1 in 200")],
)
def test_a_probability_without_measure_is_said_as_its_own(probability: float, words: str) -> None:
    said = in_words(OUT, probability)
    assert words in said
    assert "by its own probability" in said


def test_a_measured_level_is_said_as_measured() -> None:
    fit = Fit(levels=(Bin(0.5, 0.6, 30, 12, 0.55), Bin(0.6, 1.0, 30, 0, 0.9)), band=Band(0.6, 0.1, 30, 0))
    assert in_words(IN, 0.55, fit) == (
        "Cannot tell. Close to a coin toss; leans in context by a little; about 4 in 10 such answers are "
        "wrong (12 of 30 validation cases)."
    )
    assert in_words(OUT, 0.9, fit).startswith("Probably out of context; none of 30 such answers")


@pytest.mark.parametrize(
    ("share", "words"), [(0.001, "fewer than 1 in 200"), (0.1, "about 1 in 10"), (0.31, "about 3 in 10")]
)
def test_a_share_is_said_in_whole_numbers(share: float, words: str) -> None:
    assert often(share) == words


def test_the_reliability_diagram_has_a_dot_for_every_bin_with_answers() -> None:
    bins = [{"low": 0.5, "high": 0.75, "cases": 0, "wrong": 0, "said": 0.0}]
    assert write_reliability({"calibration": {"temperature": 1.0}}) == {}
    assert write_reliability({"calibration": {"bins": bins}}) == {}
    bins.append({"low": 0.75, "high": 1.0, "cases": 12, "wrong": 3, "said": 0.8})
    drawn = write_reliability({"calibration": {"bins": bins}})["reliability.svg"]
    assert drawn.count("<circle") == 1
    assert "12 answers, 3 wrong" in drawn
