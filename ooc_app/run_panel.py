"""Draw what a run would learn from, and how a run stands: stages, curves, report. Pure functions."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from db.teacher_figures import Version
from db.vocabulary import RunStatus, Stage
from ooc_app import render
from ooc_app.charts import curves, reliability_chart
from ooc_app.negative_panel import KIND_WORDS
from ooc_app.runner import RunView
from ooc_app.snapshot import SnapshotSummary
from ooc_app.teacher_figures_panel import split_line
from training.report import collapse_sentence, stage_seconds

STAGES: Final = (Stage.SFT.value, Stage.DPO.value, "evaluate")
"""The bars of a run: its long parts."""

BAR_OF: Final = {
    "snapshot": STAGES[0], "features": STAGES[0], "negatives": STAGES[1], "reference": STAGES[1],
    "ablation": STAGES[2], "report": STAGES[2],
}  # fmt: skip
"""The bar that shows a part which has none of its own."""


def summary_panel(
    summary: SnapshotSummary, negatives: Mapping[str, int], spoken: Sequence[Version] = ()
) -> str:
    """Say what a run started now would learn from, and which teachers' opinions tell agreed from conflict.

    `negatives` are tried of each kind, not all are kept; `spoken` is what `db.teacher_figures.versions` says.
    """
    tried = [
        (f"≤ {render.count(count)}", f"negatives: {KIND_WORDS[kind]}")
        for kind, count in negatives.items()
        if count
    ]
    facts = render.facts(
        [
            (render.count(summary.training_cases), "training cases"),
            (render.count(summary.agreed), "agreed"),
            (render.count(summary.settled), "settled"),
            (render.count(summary.left_out), "left out"),
            (f"{render.count(summary.rulings)} ({render.percent(summary.share)})", "rulings"),
            (render.count(summary.preferences), "preferences"),
            *tried,
        ]
    )
    return f"{facts}{split_line(spoken)}"


def run_panel(view: RunView | None, served: str) -> str:
    """Draw a run: its stages, why it stopped, its curves and, once it is complete, its report."""
    if view is None:
        return render.empty_state(
            "No distillation yet", "Rule on conflicts in Adjudicate, then start the first run here."
        )
    return (
        f'<div class="run" data-status="{view.status}" data-run="{escape(view.name)}">'
        f"{_head(view, served)}{_stages(view)}{_why(view)}{_alarms(view)}{_report(view)}{_curves(view)}</div>"
    )


def _head(view: RunView, served: str) -> str:
    left = f" · {render.duration(view.seconds_left)} left" if view.seconds_left is not None else ""
    serving = " · served" if view.name == served else ""
    return (
        f'<p class="run-head"><b>{escape(view.name)}</b> '
        f'<span class="status {view.status}">{view.status}</span>{left}{serving}</p>'
    )


def _stages(view: RunView) -> str:
    if view.status == RunStatus.COMPLETE:
        return ""
    return f'<div class="stages">{"".join(_stage(view, stage) for stage in STAGES)}</div>'


def _stage(view: RunView, stage: str) -> str:
    part = view.stage or "snapshot"
    bar = BAR_OF.get(part, part)
    if bar in STAGES and STAGES.index(stage) < STAGES.index(bar):
        return render.progress_bar(stage, 1, 1, "done")
    if stage != bar:
        return render.progress_bar(stage, 0, 1, "waiting")
    if stage != part:
        done = f" {render.count(view.step)} of {render.count(view.steps)}" if view.steps else ""
        return render.progress_bar(stage, view.step, view.steps, f"{part}{done}")
    return render.progress_bar(
        stage, view.step, view.steps, f"step {view.step} of {view.steps}{_loss(view, stage)}"
    )


def _loss(view: RunView, stage: str) -> str:
    losses = [row["loss"] for row in view.metrics if row.get("stage") == stage and "loss" in row]
    return f" · loss {losses[-1]:.3f}" if losses else ""


def _why(view: RunView) -> str:
    if view.why and view.status in (RunStatus.FAILED, RunStatus.STOPPED):
        return render.notice(view.why, "warning" if view.status == RunStatus.FAILED else "plain")
    return ""


def _alarms(view: RunView) -> str:
    return "".join(render.notice(said, "warning") for said in view.alarms)


def _curves(view: RunView) -> str:
    drawn = (
        curves(view.metrics, Stage.SFT, ["loss"], "sft loss"),
        curves(view.metrics, Stage.DPO, ["loss"], "dpo loss"),
        curves(view.metrics, Stage.DPO, ["chosen", "rejected", "margin"], "dpo rewards"),
        curves(view.metrics, Stage.DPO, ["logp_chosen", "logp_rejected"], "dpo nats a rationale"),
        reliability_chart(view.report or {}),
    )
    return f'<div class="charts">{"".join(drawn)}</div>' if any(drawn) else ""


def _report(view: RunView) -> str:
    if view.report is None:
        return ""
    seconds = view.report.get("seconds", {})
    spent = [
        (render.count(view.report["held_out_cases"]), "held-out cases"),
        (
            f"{render.count(view.report['rulings'])} ({render.percent(view.report['rulings_share'])})",
            "rulings spent",
        ),
        *(
            (render.duration(stage_seconds(view.report, stage)), stage)
            for stage in STAGES[:2]
            if stage in seconds
        ),
    ]
    sentence = collapse_sentence(view.report)
    return (
        f'<div class="report-box">{render.report_table(view.report)}{render.facts(spent)}'
        f"{render.paragraph(sentence) if sentence else ''}{render.ablation_table(view.report)}</div>"
    )
