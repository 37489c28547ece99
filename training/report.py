"""A run's report as text."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from db.vocabulary import TeacherKind
from training.alarms import ROWS as LOGGED_STEPS, fall_of_chosen

ROWS = (
    ("majority", "majority of the teachers"),
    ("base", "student, untouched"),
    ("stage1", "student, stage 1"),
    ("stage2", "student, stage 2"),
)
ABLATION_LABELS = {
    "none": "teachers' preferences only",
    "weakened": "+ weakened pictures",
    "injected": "+ injected errors",
    "both": "+ both",
}


PARTS = {"sft": ("features", "sft"), "dpo": ("negatives", "reference", "dpo")}
"""The parts of a run that a stage needs, by the stage's name."""


def stage_seconds(made: dict[str, Any], stage: str) -> float:
    """Return how long a stage took with what was done for it alone."""
    return sum(float(made["seconds"].get(part, 0)) for part in PARTS[stage])


def table_rows(made: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return what was scored, by the name it is shown under: teachers first, then the student."""
    teachers = list(made.get("teachers", {}).items())
    return teachers + [(label, made[key]) for key, label in ROWS if made.get(key)]


def ablation_results(run_dir: Path) -> dict[str, Any]:
    """Read what came of each variant that is trained and judged, by name."""
    paths = {name: run_dir / "ablation" / f"{name}.json" for name in ABLATION_LABELS}
    return {
        name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.exists()
    }


def ablation_rows(made: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return what came of stage 2 with each set of negatives, by the name it is shown under."""
    variants = made.get("ablation") or {}
    return [(label, variants[key]) for key, label in ABLATION_LABELS.items() if key in variants]


def first_and_last(rows: Sequence[Mapping[str, Any]], name: str) -> list[float] | None:
    """Return a figure's means over the first and the last logged steps; None where it was not logged."""
    said = [float(row[name]) for row in rows if name in row]
    if not said:
        return None
    ends = (said[:LOGGED_STEPS], said[-LOGGED_STEPS:])
    return [round(sum(end) / len(end), 4) for end in ends]


def training_figures(metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return how stage 2 went: margin and chosen log-probability at first and at last, and a collapse."""
    rows = [row for row in metrics if row["stage"] == "dpo"]
    fallen = fall_of_chosen(rows)
    return {
        "margin": first_and_last(rows, "margin"),
        "logp_chosen": first_and_last(rows, "logp_chosen"),
        "chosen_collapsed": fallen is not None,
    }


def split_sentence(teachers: Sequence[Mapping[str, Any]]) -> str:
    """Say which teachers, and which versions of them, make a case agreed or a conflict.

    Each has `name`, `kind`, `model` and `prompt_version`, a snapshot's `opinions` besides; those of one
    teacher follow each other.
    """
    spoken: dict[str, list[str]] = {}
    for one in teachers:
        spoken.setdefault(one["name"], []).append(_version(one))
    said = [_named(name, "; ".join(versions)) for name, versions in spoken.items()]
    if not said:
        return "No teacher's opinion counts yet, so no case is agreed and none a conflict."
    listed = said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"
    return f"Agreed and conflict go by the opinions of {listed}."


def _named(name: str, said: str) -> str:
    """Put its versions behind a teacher's name, without what the name says itself: "Atlas (scripted)"."""
    source = said.partition(";")[0].partition(",")[0]
    return f"{name.removesuffix(f' ({source})')} ({said})"


def _version(one: Mapping[str, Any]) -> str:
    """Name the model that was asked, or that nobody was, and the version of the question."""
    source = TeacherKind.SCRIPTED if one["kind"] == TeacherKind.SCRIPTED else TeacherKind.RECORDED
    words = [one["model"] or source.value]
    if one["prompt_version"] != TeacherKind.RECORDED:  # the version of what was asked elsewhere
        words.append(one["prompt_version"])
    if one.get("opinions") is not None:
        words.append(f"{one['opinions']:,} opinion{'' if one['opinions'] == 1 else 's'}")
    return ", ".join(words)


def as_markdown(made: dict[str, Any]) -> str:
    """Write the report of a run: what was scored, what it cost, how stage 2 went, what negatives bring."""
    lines = [f"# Run {made['run']}", ""]
    lines += [
        "| | accuracy | 95 % interval | macro-F1 | in context | out of context |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_row(label, scored) for label, scored in table_rows(made)]
    fit = made["calibration"]
    lines += [
        "",
        f"{made['held_out_cases']} held-out cases; {made['rulings']} rulings on"
        f" {made['training_cases']} training cases ({made['rulings_share']:.1%}).",
        f"Stage 1 took {stage_seconds(made, 'sft'):.0f} s, stage 2 {stage_seconds(made, 'dpo'):.0f} s.",
    ]
    if "ece" in fit:
        lines.append(
            f"Temperature {fit['temperature']:.2f}, fitted on validation; calibration error {fit['ece']:.3f},"
            f" Brier score {fit['brier']:.3f}."
        )
    if made.get("split_by"):
        lines += ["", in_cell(split_sentence(made["split_by"]))]
    if "reliability.svg" in made.get("plots", []):
        lines += ["", "![reliability](reliability.svg)"]
    return "\n".join([*lines, *_sources(made), *_stage2(made), *_negatives(made), *_ablation(made)]) + "\n"


def collapse_sentence(made: dict[str, Any]) -> str:
    """Say what became of the chosen rationales' log-probability; nothing where stage 2 logged none."""
    figures = made.get("stage2_training") or {}
    if not figures.get("logp_chosen"):
        return ""
    began, now = figures["logp_chosen"]
    went = f"The log-probability of the chosen rationales went from {began:.1f} to {now:.1f} nats"
    if figures["chosen_collapsed"]:
        return f"{went}: it collapsed, so the student unlearns them too."
    return f"{went}: it did not collapse."


def _sources(made: dict[str, Any]) -> list[str]:
    """Tell accuracy apart by source, where there are several."""
    scored = {label: made[key]["by_source"] for key, label in ROWS if (made.get(key) or {}).get("by_source")}
    sources = list(next(iter(scored.values()), ()))
    if len(sources) < 2:
        return []
    cells = {source: [_share(found[source][1]) for found in scored.values()] for source in sources}
    counts = next(iter(scored.values()))
    return [
        "",
        "## By source",
        "",
        f"| source | cases | {' | '.join(scored)} |",
        f"| --- | --- |{' --- |' * len(scored)}",
        *(f"| {in_cell(one)} | {counts[one][0]} | {' | '.join(cells[one])} |" for one in sources),
    ]


def in_cell(text: str) -> str:
    """Set a text from outside in a cell of a Markdown table, where it stays a text."""
    plain = " ".join(text.split())
    for mark in "\\`*_[]<>|":
        plain = plain.replace(mark, f"\\{mark}")
    return plain


def _stage2(made: dict[str, Any]) -> list[str]:
    figures = made.get("stage2_training") or {}
    if not figures.get("margin"):
        return []
    began, now = figures["margin"]
    names = [name for name in made.get("plots", []) if name != "reliability.svg"]
    plots = [f"![{name.removesuffix('.svg').replace('_', ' ')}]({name})" for name in names]
    said = f"The reward margin went from {began:.2f} to {now:.2f}. {collapse_sentence(made)}"
    return ["", "## Stage 2", "", said, "", *plots]


def _negatives(made: dict[str, Any]) -> list[str]:
    counts = made.get("negatives") or {}
    if not counts:
        return []
    return ["", "## Negatives", "", *(f"- {what}: {count}" for what, count in sorted(counts.items()))]


def _ablation(made: dict[str, Any]) -> list[str]:
    rows = ablation_rows(made)
    if not rows:
        return []
    return [
        "",
        "## Ablation",
        "",
        "Stage 2 from the same stage 1 with the same settings, on the same held-out cases. More preferences"
        " are more steps, and margin and log-probability are over each set's own preferences.",
        "",
        "| stage 2 learns from | preferences | steps | accuracy | 95 % interval | margin | chosen, nats |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(_ablation_row(label, result) for label, result in rows),
    ]


def _ablation_row(label: str, result: dict[str, Any]) -> str:
    low, high = result["interval"]
    cells = [f"{result['preferences']}", f"{result['steps']}", f"{result['accuracy']:.3f}"]
    cells += [f"{low:.3f} to {high:.3f}", _last(result["margin"], 2), _last(result["logp_chosen"], 1)]
    return f"| {label} | {' | '.join(cells)} |"


def _last(ends: list[float] | None, decimals: int) -> str:
    return "none" if ends is None else f"{ends[1]:.{decimals}f}"


def _row(label: str, scored: dict[str, Any]) -> str:
    low, high = scored["interval"]
    by_verdict = scored["by_verdict"]
    cells = [f"{scored['accuracy']:.3f}", f"{low:.3f} to {high:.3f}", _share(scored.get("macro_f1"))]
    cells += [_share(by_verdict["in_context"]), _share(by_verdict["out_of_context"])]
    return f"| {in_cell(label)} | {' | '.join(cells)} |"


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
