from dataclasses import replace

import numpy as np
import pytest

from db.vocabulary import Answer, Verdict
from training.calibrate import expected_calibration_error, fit_temperature, sigmoid
from training.evaluate import bootstrap_interval, calibration, score, student_score, teacher_scores
from training.records import CaseInput, GoldCase

IN, OUT, UNSURE = Answer.IN_CONTEXT, Answer.OUT_OF_CONTEXT, Answer.UNSURE


def gold_case(name: str, gold: Verdict, **opinions: Answer) -> GoldCase:
    return GoldCase(CaseInput(name, "", "", group=name), gold, opinions)


CASES = [
    gold_case("1", Verdict.IN_CONTEXT, a=IN, b=IN, c=OUT),
    gold_case("2", Verdict.OUT_OF_CONTEXT, a=OUT, b=IN, c=UNSURE),
    gold_case("3", Verdict.OUT_OF_CONTEXT, a=IN, b=IN, c=OUT),
    gold_case("4", Verdict.IN_CONTEXT, a=UNSURE, b=UNSURE, c=UNSURE),
]


def test_teachers_and_their_majority_are_counted_by_hand() -> None:
    teachers, majority = teacher_scores(CASES)
    assert {name: scored.accuracy for name, scored in teachers.items()} == {"a": 0.5, "b": 0.25, "c": 0.25}
    assert majority.accuracy == (1 + 0.5 + 0 + 0.5) / 4
    assert teachers["a"].by_verdict == {"in_context": 0.5, "out_of_context": 0.5}


def test_a_student_is_scored_by_the_sign_of_its_log_odds() -> None:
    assert student_score(CASES, [-1, 2, -3, 4]).accuracy == 0.5


def test_a_verdict_that_never_occurs_has_no_accuracy() -> None:
    alone = score(CASES[:1], [(1.0, 0.0)])
    assert alone.by_verdict == {"in_context": 1.0, "out_of_context": None}
    assert alone.macro_f1 is None


def test_f1_counts_what_is_unsure_as_missed_and_a_tie_as_half_of_each() -> None:
    gold = [Verdict.IN_CONTEXT, Verdict.IN_CONTEXT, Verdict.OUT_OF_CONTEXT, Verdict.OUT_OF_CONTEXT]
    cases = [gold_case(str(number), one) for number, one in enumerate(gold)]
    said = [(1.0, 0.0), (0.0, 0.0), (0.5, 0.5), (0.0, 1.0)]
    in_context, out_of_context = 2 * 1 / (1.5 + 2), 2 * 1.5 / (1.5 + 2)
    assert score(cases, said).macro_f1 == round((in_context + out_of_context) / 2, 4)
    assert score(cases, said).accuracy == 2.5 / 4


def test_sources_are_told_apart_and_those_with_most_cases_come_first() -> None:
    cases = [replace(one, source=name) for one, name in zip(CASES, ("a", "b", "b", ""), strict=True)]
    assert student_score(cases, [-1, 2, -3, 4]).by_source == {"b": (2, 0.5), "a": (1, 1.0)}


def test_the_interval_resamples_groups_and_not_cases() -> None:
    hits = np.tile([1.0, 0.0], 50)
    alone = bootstrap_interval([str(n) for n in range(100)], hits)
    paired = bootstrap_interval([str(n // 2) for n in range(100)], hits)
    assert alone[0] < 0.5 < alone[1]
    assert paired == (0.5, 0.5), "each pair has one right and one wrong, so no resample differs"


def test_a_temperature_cools_a_student_that_is_too_sure() -> None:
    margins = [4.0] * 800 + [-4.0] * 200
    gold = [Verdict.OUT_OF_CONTEXT] * 1000
    temperature = fit_temperature(margins, gold)
    assert sigmoid(4 / temperature) == pytest.approx(0.8, abs=0.01)
    assert fit_temperature([], []) == 1.0


def test_a_student_that_never_errs_is_not_called_infinitely_sure() -> None:
    temperature = fit_temperature([4.0] * 98, [Verdict.OUT_OF_CONTEXT] * 98)
    assert sigmoid(4 / temperature) == pytest.approx(0.99, abs=0.002)


def test_calibration_error_is_the_gap_between_said_and_true() -> None:
    assert expected_calibration_error([0.9] * 10, [True] * 9 + [False]) == pytest.approx(0.0, abs=1e-9)
    assert expected_calibration_error([0.9] * 10, [True] * 5 + [False] * 5) == pytest.approx(0.4)
    fit = calibration(CASES, [-1, 2, -3, 4], 1.0)
    assert fit["brier"] == pytest.approx(0.4857, abs=0.01)


@pytest.mark.parametrize("odds", [-1e4, -3.0, 0.0, 3.0, 1e4])
def test_sigmoid_does_not_overflow(odds: float) -> None:
    assert sigmoid(odds) + sigmoid(-odds) == pytest.approx(1.0)
