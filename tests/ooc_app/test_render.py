import pytest

from ooc_app import charts, render
from training.plots import POINTS_MAX

HOSTILE = '<img src=x onerror="alert(1)">&"\''


@pytest.mark.parametrize(
    "drawn",
    [
        render.verdict_chip(HOSTILE),
        render.paragraph(HOSTILE, HOSTILE),
        render.notice(HOSTILE, HOSTILE),
        render.empty_state(HOSTILE, HOSTILE),
        render.progress_bar(HOSTILE, 1, 2, HOSTILE),
        render.facts([(HOSTILE, HOSTILE)]),
        render.report_table({"teachers": {HOSTILE: {"accuracy": 0.5, "interval": [0.4, 0.6]}}}),
        charts.curves([{"stage": "sft", "step": n, HOSTILE: n} for n in range(3)], "sft", [HOSTILE], HOSTILE),
    ],
)
def test_no_text_from_outside_becomes_markup(drawn: str) -> None:
    assert drawn
    assert "<img" not in drawn
    assert 'onerror="' not in drawn


@pytest.mark.parametrize("verdict", ["in_context", "out_of_context", "unsure"])
def test_a_verdict_is_colour_shape_and_word(verdict: str) -> None:
    drawn = render.verdict_chip(verdict, 0.82)
    assert f'class="shape {verdict}"' in drawn
    assert render.VERDICT_WORDS[verdict].replace("'", "&#x27;") in drawn
    assert "82 %" in drawn


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (125, "2 min 5 s"), (3600, "1 h"), (12_000, "3 h 20 min")],
)
def test_a_length_of_time_has_at_most_two_units(seconds: float, words: str) -> None:
    assert render.duration(seconds) == words


def test_a_report_shows_teachers_majority_and_students_in_this_order() -> None:
    figures = {"accuracy": 0.5, "interval": [0.4, 0.6]}
    table = render.report_table(
        {
            "stage2": {"accuracy": 0.912, "interval": [0.886, 0.938]},
            "stage1": figures,
            "base": figures,
            "majority": figures,
            "teachers": {"Anna": figures},
        }
    )
    order = ["Anna", "majority", "untouched", "stage 1", "stage 2"]
    assert [table.index(words) for words in order] == sorted(table.index(words) for words in order)
    assert "0.912" in table
    assert "[0.886, 0.938]" in table


def test_a_report_without_a_stage_leaves_its_row_out() -> None:
    assert "after dpo" not in render.report_table({"base": {"accuracy": 0.5, "interval": [0.4, 0.6]}})


def test_an_interval_that_is_unknown_is_left_out() -> None:
    assert render.interval([float("nan"), 0.5]) == ""
    assert render.interval([]) == ""


def test_a_curve_needs_two_finite_points() -> None:
    rows = [{"stage": "sft", "step": 1, "loss": 2.0}, {"stage": "sft", "step": 2, "loss": float("nan")}]
    assert charts.curves(rows, "sft", ["loss"], "loss") == ""
    assert "<polyline" in charts.curves(
        [*rows, {"stage": "sft", "step": 3, "loss": 1.0}], "sft", ["loss"], "loss"
    )


def test_a_long_run_draws_a_bounded_number_of_points_and_keeps_the_last() -> None:
    rows = [{"stage": "sft", "step": n, "loss": float(n)} for n in range(1, 10_001)]
    drawn = charts.curves(rows, "sft", ["loss"], "loss")
    points = drawn.split('points="')[1].split('"')[0].split()
    assert len(points) <= POINTS_MAX + 1
    assert points[-1] == f"{charts.FRAME.width - charts.FRAME.right:.1f},{charts.FRAME.top:.1f}"
