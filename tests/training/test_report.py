from typing import Any
from xml.etree import ElementTree

import pytest

from training.plots import POINTS_MAX, points_of, write_plots
from training.report import (
    ablation_rows,
    as_markdown,
    collapse_sentence,
    split_sentence,
    training_figures,
)

SCORED = {"accuracy": 0.9, "interval": [0.8, 1.0], "by_verdict": {"in_context": 0.9, "out_of_context": None}}
VARIANT = {**SCORED, "preferences": 8, "steps": 4, "margin": [0.1, 2.5], "logp_chosen": [-9.0, -8.0]}


def metrics(chosen: list[float]) -> list[dict[str, Any]]:
    return [
        {
            "stage": "dpo",
            "step": step,
            "margin": step / 10,
            "logp_chosen": value,
            "logp_rejected": value - step,
        }
        for step, value in enumerate(chosen, 1)
    ]


def report(chosen: list[float]) -> dict[str, Any]:
    return {
        "run": "run-1",
        "teachers": {},
        "stage2": SCORED,
        "seconds": {},
        "calibration": {"temperature": 1.0},
        "held_out_cases": 10,
        "rulings": 1,
        "training_cases": 10,
        "rulings_share": 0.1,
        "stage2_training": training_figures(metrics(chosen)),
        "plots": list(write_plots(metrics(chosen))),
    }


def test_a_report_of_an_older_run_has_no_new_part() -> None:
    old = {name: value for name, value in report([]).items() if name not in ("stage2_training", "plots")}
    assert "##" not in as_markdown(old)
    assert collapse_sentence(old) == ""
    assert ablation_rows(old) == []


def test_sources_are_compared_where_there_are_several_and_their_names_stay_texts() -> None:
    made = report([])
    made["stage1"] = {**SCORED, "macro_f1": 0.9, "by_source": {"a|b <i>": [8, 1.0], "c": [2, 0.5]}}
    made["stage2"] = {**SCORED, "macro_f1": 0.95, "by_source": {"a|b <i>": [8, 0.75], "c": [2, 1.0]}}
    text = as_markdown(made)
    assert r"| a\|b \<i\> | 8 | 1.000 | 0.750 |" in text
    assert "| student, stage 1 | 0.900 | 0.800 to 1.000 | 0.900 | 0.900 | none |" in text
    made["stage1"]["by_source"] = made["stage2"]["by_source"] = {"c": [2, 0.5]}
    assert "By source" not in as_markdown(made)


def test_the_teachers_that_make_agreed_and_conflict_are_named_with_their_versions_as_texts() -> None:
    asked: dict[str, Any] = {
        "name": "Q*|<b>",
        "kind": "endpoint",
        "model": "org/m_1",
        "prompt_version": "teach-2",
    }
    split_by = [
        {**asked, "model": None, "prompt_version": "recorded", "opinions": 1},
        {**asked, "opinions": 1_599},
        {**asked, "name": "R", "kind": "recorded", "model": None, "prompt_version": "mine-3", "opinions": 4},
    ]
    assert split_sentence(split_by) == (
        "Agreed and conflict go by the opinions of Q*|<b> (recorded, 1 opinion; org/m_1, teach-2, 1,599 "
        "opinions) and R (recorded, mine-3, 4 opinions)."
    )
    made = {**report([]), "split_by": split_by}
    assert r"the opinions of Q\*\|\<b\> (recorded, 1 opinion; org/m\_1, teach-2," in as_markdown(made)
    for without in (report([]), {**report([]), "split_by": []}):
        assert "Agreed and conflict" not in as_markdown(without)


def test_a_collapse_of_the_chosen_rationales_is_said() -> None:
    fallen = report([-10.0] * 10 + [-60.0] * 10)
    assert fallen["stage2_training"]["chosen_collapsed"]
    assert "it collapsed" in as_markdown(fallen)
    assert "from -10.0 to -60.0 nats" in collapse_sentence(fallen)


def test_a_log_probability_that_stays_is_said_too_with_its_plots() -> None:
    text = as_markdown(report([-10.0] * 10 + [-9.0] * 10))
    assert "it did not collapse" in text
    assert "(margin.svg)" in text
    assert "(log_probability.svg)" in text


def test_the_ablation_is_a_table_in_the_order_of_what_is_added() -> None:
    made = {**report([]), "ablation": {"both": VARIANT, "none": VARIANT}, "negatives": {"injected: kept": 3}}
    text = as_markdown(made)
    assert text.index("teachers' preferences only") < text.index("+ both")
    assert "| + both | 8 | 4 | 0.900 | 0.800 to 1.000 | 2.50 | -8.0 |" in text
    assert "- injected: kept: 3" in text


@pytest.mark.parametrize("rows", [[], metrics([-1.0]), [{"stage": "sft", "step": 1, "loss": 1.0}]])
def test_too_little_to_draw_gives_no_plot(rows: list[dict[str, Any]]) -> None:
    assert write_plots(rows) == {}


def test_plots_are_whole_pictures_with_a_name_for_who_cannot_see_them() -> None:
    plots = write_plots(metrics([-9.0, -8.5, float("nan"), -8.0]))
    assert list(plots) == ["margin.svg", "log_probability.svg"]
    for drawn in plots.values():
        picture = ElementTree.fromstring(drawn)
        assert "from" in picture.attrib["aria-label"]
        assert len([child for child in picture if child.tag.endswith("polyline")]) >= 1
    assert "from -9 to -8" in plots["log_probability.svg"]


def test_a_long_run_is_thinned_and_keeps_its_last_point() -> None:
    drawn = points_of(metrics([-1.0] * 5_000), "dpo", ["margin"])["margin"]
    assert len(drawn) <= POINTS_MAX + 1
    assert drawn[-1][0] == 5_000
