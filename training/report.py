"""A run's report as text."""

from typing import Any

ROWS = (
    ("majority", "majority of the teachers"),
    ("base", "student, untouched"),
    ("stage1", "student, stage 1"),
    ("stage2", "student, stage 2"),
)


def table_rows(made: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return what was scored, by the name it is shown under: teachers first, then the student."""
    teachers = list(made.get("teachers", {}).items())
    return teachers + [(label, made[key]) for key, label in ROWS if made.get(key)]


def as_markdown(made: dict[str, Any]) -> str:
    """Write the report of a run: one table and what it cost."""
    lines = [f"# Run {made['run']}", ""]
    lines += [
        "| | accuracy | 95 % interval | in context | out of context |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [_row(label, scored) for label, scored in table_rows(made)]
    seconds = made["seconds"]
    fit = made["calibration"]
    lines += [
        "",
        f"{made['held_out_cases']} held-out cases; {made['rulings']} rulings on"
        f" {made['training_cases']} training cases ({made['rulings_share']:.1%}).",
        f"Stage 1 took {seconds.get('sft', 0):.0f} s, stage 2 {seconds.get('dpo', 0):.0f} s.",
    ]
    if "ece" in fit:
        lines.append(
            f"Temperature {fit['temperature']:.2f}, fitted on validation; calibration error {fit['ece']:.3f},"
            f" Brier score {fit['brier']:.3f}."
        )
    return "\n".join(lines) + "\n"


def _row(label: str, scored: dict[str, Any]) -> str:
    low, high = scored["interval"]
    by_verdict = scored["by_verdict"]
    cells = [f"{scored['accuracy']:.3f}", f"{low:.3f} to {high:.3f}"]
    cells += [_share(by_verdict["in_context"]), _share(by_verdict["out_of_context"])]
    return f"| {label} | {' | '.join(cells)} |"


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
