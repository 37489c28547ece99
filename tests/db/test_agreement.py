import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import krippendorff
import pytest
from hypothesis import assume, given, settings, strategies as st

from db.agreement import (
    NO_AUDIT_RULED,
    NOTHING_ANSWERED_TWICE,
    NOTHING_SHARED,
    ONE_ANSWER,
    AnnotatorRecord,
    Figure,
    Oddity,
    TeacherRecord,
    called_out,
    cohen_kappa,
    krippendorff_alpha,
    per_verdict,
    wilson,
)

IN, OUT, UNSURE = "in_context", "out_of_context", "unsure"
REPEATABLE = settings(derandomize=True, database=None, deadline=None, max_examples=100)
ALL_KINDS_OF_CASE = [(a, b, c) for a in range(6) for b in range(6) for c in range(6)]
NOBODY_TO_COMPARE = Figure(None, NOTHING_SHARED)


@pytest.mark.parametrize(
    ("units", "why"),
    [
        ({}, NOTHING_ANSWERED_TWICE),
        ({(0, 0, 0): 5, (1, 0, 0): 7, (0, 1, 0): 3}, NOTHING_ANSWERED_TWICE),
        ({(2, 0, 0): 0, (1, 0, 0): 3}, NOTHING_ANSWERED_TWICE),
        ({(2, 0, 0): 5, (3, 0, 0): 2, (0, 1, 0): 9}, ONE_ANSWER),
    ],
)
def test_alpha_is_undefined_where_nothing_can_be_compared_and_says_why(
    units: Mapping[tuple[int, int, int], int], why: str
) -> None:
    alpha = krippendorff_alpha(units)
    assert (alpha.value, alpha.why, alpha.interval) == (None, why, None)


def test_alpha_of_krippendorffs_own_examples() -> None:
    # Krippendorff 2011: A, two observers and two answers, and C, four observers with answers missing.
    two_observers = {(2, 0): 5, (1, 1): 4, (0, 2): 1}
    four_observers = Counter(
        [
            (3, 0, 0, 0, 0),
            (0, 3, 1, 0, 0),
            (0, 0, 4, 0, 0),
            (0, 0, 4, 0, 0),
            (0, 4, 0, 0, 0),
            (1, 1, 1, 1, 0),
            (0, 0, 0, 4, 0),
            (3, 1, 0, 0, 0),
            (0, 4, 0, 0, 0),
            (0, 0, 0, 0, 3),
            (2, 0, 0, 0, 0),
            (0, 0, 1, 0, 0),
        ]
    )
    assert krippendorff_alpha(two_observers).value == pytest.approx(0.095, abs=0.0005)
    assert krippendorff_alpha(four_observers).value == pytest.approx(0.743, abs=0.0005)
    assert krippendorff_alpha(four_observers).cases == 11


@REPEATABLE
@given(st.dictionaries(st.sampled_from(ALL_KINDS_OF_CASE), st.integers(1, 40), min_size=1))
def test_alpha_is_what_the_krippendorff_package_finds_case_by_case(
    units: dict[tuple[int, int, int], int],
) -> None:
    alpha = krippendorff_alpha(units)
    assume(alpha.value is not None)
    one_row_each = [counts for counts, cases in units.items() for _ in range(cases)]
    theirs = krippendorff.alpha(value_counts=one_row_each, level_of_measurement="nominal")
    assert alpha.value == pytest.approx(theirs, abs=1e-12)


def test_a_million_cases_have_the_alpha_of_their_proportions() -> None:
    few = krippendorff_alpha({(3, 0, 0): 400, (2, 1, 0): 300, (0, 1, 2): 300})
    many = krippendorff_alpha({(3, 0, 0): 400_000, (2, 1, 0): 300_000, (0, 1, 2): 300_000})
    assert many.value == pytest.approx(few.value, abs=1e-3)
    assert many.cases == 1_000_000


@pytest.mark.parametrize(
    ("pairs", "why", "cases"),
    [
        ({}, NOTHING_SHARED, 0),
        ({(IN, OUT): 0}, NOTHING_SHARED, 0),
        ({(IN, IN): 9, (OUT, OUT): 0}, ONE_ANSWER, 9),
    ],
)
def test_kappa_is_undefined_without_pairs_or_variety_and_says_why(
    pairs: Mapping[tuple[str, str], int], why: str, cases: int
) -> None:
    assert cohen_kappa(pairs) == Figure(None, why, cases=cases)


def _pairs(*rows: tuple[int, int, int]) -> dict[tuple[str, str], int]:
    return {
        (one, other): count
        for one, row in zip("abc", rows, strict=True)
        for other, count in zip("abc", row, strict=True)
    }


def test_kappa_of_cohens_own_example() -> None:
    # Cohen 1960, table 2b: two clinicians, 200 patients.
    kappa = cohen_kappa(_pairs((88, 14, 18), (10, 40, 10), (2, 6, 12)))
    assert kappa.value == pytest.approx(0.492, abs=0.0005)
    assert kappa.cases == 200


def test_the_interval_of_kappa_is_that_of_fleiss_cohen_and_everitt() -> None:
    # Their table 1 of 1969, for 200 patients: kappa 0.429 with variance 0.002885.
    kappa = cohen_kappa(_pairs((106, 10, 4), (22, 28, 10), (2, 12, 6)))
    half = 1.959964 * 0.002885**0.5
    assert kappa.value == pytest.approx(0.429, abs=0.0005)
    assert kappa.interval == pytest.approx((kappa.value - half, kappa.value + half), abs=1e-4)


@pytest.mark.parametrize(
    ("pairs", "value"),
    [
        ({(IN, IN): 2, (OUT, OUT): 1}, 1.0),
        ({(IN, OUT): 3, (OUT, IN): 3}, -1.0),
        ({(IN, IN): 5, (OUT, IN): 3}, 0.0),  # one of them always says the same
        ({(IN, OUT): 5}, 0.0),
    ],
)
def test_kappa_has_no_interval_where_the_method_would_claim_certainty(
    pairs: Mapping[tuple[str, str], int], value: float
) -> None:
    kappa = cohen_kappa(pairs)
    assert kappa.value == pytest.approx(value)
    assert kappa.interval is None


def test_the_interval_of_kappa_stays_on_the_scale() -> None:
    kappa = cohen_kappa({(IN, IN): 5, (OUT, OUT): 5, (IN, OUT): 1})
    assert kappa.interval is not None
    assert kappa.interval[1] == 1.0


@REPEATABLE
@given(st.dictionaries(st.tuples(st.sampled_from("iou"), st.sampled_from("iou")), st.integers(0, 30)))
def test_kappa_is_the_same_whoever_is_named_first(pairs: dict[tuple[str, str], int]) -> None:
    one, other = cohen_kappa(pairs), cohen_kappa({(b, a): count for (a, b), count in pairs.items()})
    assert (one.why, one.cases) == (other.why, other.cases)
    assert one.value == pytest.approx(other.value, abs=1e-12)
    assert one.interval == pytest.approx(other.interval, abs=1e-9)


def test_an_audit_without_rulings_has_no_error_and_says_why() -> None:
    assert wilson(0, 0) == Figure(None, NO_AUDIT_RULED)


@pytest.mark.parametrize(
    ("wrong", "ruled", "interval"),
    # Newcombe 1998, table I, method 3.
    [
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0000, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_the_interval_of_an_audit_is_newcombes(wrong: int, ruled: int, interval: tuple[float, float]) -> None:
    error = wilson(wrong, ruled)
    assert error.interval == pytest.approx(interval, abs=5e-5)
    assert (error.value, error.why, error.cases) == (wrong / ruled, None, ruled)


def test_a_teacher_is_compared_with_people_verdict_by_verdict() -> None:
    pairs = {
        (IN, IN): 6,
        (OUT, IN): 3,
        (UNSURE, IN): 1,
        (IN, OUT): 2,
        (OUT, OUT): 18,
        (IN, UNSURE): 50,  # people cannot tell: counts for nothing
        (UNSURE, UNSURE): 9,
    }
    in_context, out_of_context = per_verdict(pairs)
    assert (in_context.verdict, out_of_context.verdict) == (IN, OUT)
    assert [(f.value, f.cases) for f in (in_context.right, in_context.unsure)] == [(0.6, 10), (0.1, 10)]
    assert (in_context.precision.value, in_context.precision.cases) == (6 / 8, 8)
    assert (out_of_context.right.value, out_of_context.unsure.value) == (18 / 20, 0.0)
    assert (out_of_context.precision.value, out_of_context.precision.cases) == (18 / 21, 21)
    assert out_of_context.right.interval == wilson(18, 20).interval


def test_a_verdict_nobody_gave_has_a_reason_instead_of_a_share() -> None:
    in_context, out_of_context = per_verdict({(UNSURE, IN): 4, (IN, UNSURE): 2})
    assert in_context.right.value == 0.0
    assert in_context.precision == Figure(
        None, "This teacher has found no case with a human verdict in context."
    )
    nothing_out = Figure(None, "No case with this teacher's opinion has the human verdict out of context.")
    assert (out_of_context.right, out_of_context.unsure) == (nothing_out, nothing_out)


def _annotator(
    answers: Mapping[str, int], rushed: int = 0, with_colleagues: Figure = NOBODY_TO_COMPARE
) -> AnnotatorRecord:
    return AnnotatorRecord("maria", answers, rushed, with_colleagues)


@pytest.mark.parametrize(
    ("answers", "oddities"),
    [
        ({}, []),
        ({IN: 49}, []),  # too few to say
        ({IN: 50}, [Oddity.ONE_VERDICT]),
        ({OUT: 95, IN: 5}, [Oddity.ONE_VERDICT]),
        ({OUT: 94, IN: 6}, []),
        ({OUT: 95, UNSURE: 5}, [Oddity.ONE_VERDICT]),
        ({UNSURE: 100}, [Oddity.MOSTLY_UNSURE]),
        ({UNSURE: 50, IN: 30, OUT: 20}, [Oddity.MOSTLY_UNSURE]),
        ({UNSURE: 49, IN: 30, OUT: 21}, []),
        ({UNSURE: 49}, []),
    ],
)
def test_a_teacher_with_one_verdict_or_none_is_called_out(
    answers: Mapping[str, int], oddities: list[Oddity]
) -> None:
    assert [odd.oddity for odd in called_out([TeacherRecord("qwen", answers)], [])] == oddities


@pytest.mark.parametrize(
    ("annotator", "oddities"),
    [
        (_annotator({}), []),
        (_annotator({IN: 49}), []),
        (_annotator({IN: 50}), [Oddity.ONE_SIDED]),
        (_annotator({OUT: 95, IN: 5}), [Oddity.ONE_SIDED]),
        (_annotator({OUT: 94, IN: 6}), []),
        (_annotator({UNSURE: 60}), []),
        (_annotator({IN: 10, OUT: 9}, rushed=19), []),
        (_annotator({IN: 10, OUT: 10}, rushed=4), [Oddity.RUSHED]),
        (_annotator({IN: 10, OUT: 10}, rushed=3), []),
        (_annotator({IN: 10}, with_colleagues=Figure(0.39, cases=20)), [Oddity.ALONE]),
        (_annotator({IN: 10}, with_colleagues=Figure(0.4, cases=20)), []),
        (_annotator({IN: 10}, with_colleagues=Figure(-0.2, cases=19)), []),
        (_annotator({IN: 10}, with_colleagues=Figure(None, ONE_ANSWER, cases=30)), []),
        (
            _annotator({OUT: 60}, rushed=60, with_colleagues=Figure(0.0, cases=60)),
            [Oddity.ONE_SIDED, Oddity.RUSHED, Oddity.ALONE],
        ),
    ],
)
def test_one_sided_rushed_and_lonely_annotators_are_called_out(
    annotator: AnnotatorRecord, oddities: list[Oddity]
) -> None:
    assert [odd.oddity for odd in called_out([], [annotator])] == oddities


def test_what_is_called_out_is_said_in_one_whole_sentence_each_teachers_first() -> None:
    found = called_out(
        [TeacherRecord("qwen", {OUT: 1960, IN: 40}), TeacherRecord("gemma", {UNSURE: 60, IN: 40})],
        [AnnotatorRecord("tom", {OUT: 60}, 60, Figure(0.123, cases=34))],
    )
    assert [odd.name for odd in found] == ["qwen", "gemma", "tom", "tom", "tom"]
    assert [odd.sentence for odd in found] == [
        "qwen finds 1,960 of 2,000 cases out of context: it gives one verdict whatever the case, so its "
        "opinions make conflicts and say nothing.",
        "gemma is unsure of 60 of 100 cases: look at its raw answers, because a prompt or a mapping it "
        "does not fit reads like doubt.",
        "tom ruled out of context on 60 of 60 cases: compare with colleagues before drawing a conclusion, "
        "because the queue itself may be one-sided.",
        "tom made 60 of 60 rulings in less than 2 seconds, too fast to have read two rationales.",
        "tom and colleagues agree with a kappa of 0.12 on 34 rulings they share, below 0.4: go through "
        "those cases and the guidelines together.",
    ]


def test_importing_the_figures_loads_no_statistics_library(tmp_path: Path) -> None:
    code = "import sys, db.agreement; print(sorted({'numpy', 'scipy', 'statsmodels'} & sys.modules.keys()))"
    project_dir = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project_dir, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
