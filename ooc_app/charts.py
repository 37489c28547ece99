"""Draw the curves of a run as SVG: one small chart per figure, axes labelled, no library.

The colours come from the page's style sheet by class, so a chart follows light and dark by itself.
"""

from collections.abc import Mapping, Sequence
from html import escape
from math import isfinite

WIDTH, HEIGHT = 360, 128  # user units; the SVG scales to its box
LEFT, RIGHT, TOP, BOTTOM = 40, 8, 10, 22
POINTS_MAX = 240  # points drawn per curve; more cannot be told apart at this size

Point = tuple[float, float]


def curves(metrics: Sequence[Mapping[str, object]], stage: str, fields: Sequence[str], title: str) -> str:
    """Draw `fields` of one stage's metrics over its steps; nothing before there are two points."""
    drawn = {field: _points(metrics, stage, field) for field in fields}
    drawn = {field: points for field, points in drawn.items() if len(points) >= 2}
    if not drawn:
        return ""
    every = [point for points in drawn.values() for point in points]
    across = _span([x for x, _ in every])
    up = _span([y for _, y in every])
    lines = "".join(
        f'<polyline class="curve curve-{number}" points="{_polyline(points, across, up)}"></polyline>'
        for number, points in enumerate(drawn.values())
    )
    return (
        f'<figure class="chart"><figcaption>{escape(title)} {_legend(drawn)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(_spoken(title, drawn))}">'
        f"{_axes(across, up)}{lines}</svg></figure>"
    )


def _points(metrics: Sequence[Mapping[str, object]], stage: str, field: str) -> list[Point]:
    points = [
        (float(step), float(value))
        for row in metrics
        if row.get("stage") == stage
        and isinstance(step := row.get("step"), int | float)
        and isinstance(value := row.get(field), int | float)
        and isfinite(value)
    ]
    stride = max(1, -(-len(points) // POINTS_MAX))
    return points[::stride] + (points[-1:] if stride > 1 else [])


def _span(values: Sequence[float]) -> tuple[float, float]:
    """The range of an axis, never empty."""
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _polyline(points: Sequence[Point], across: tuple[float, float], up: tuple[float, float]) -> str:
    return " ".join(f"{_x(x, across):.1f},{_y(y, up):.1f}" for x, y in points)


def _x(value: float, across: tuple[float, float]) -> float:
    return LEFT + (value - across[0]) / (across[1] - across[0]) * (WIDTH - LEFT - RIGHT)


def _y(value: float, up: tuple[float, float]) -> float:
    return HEIGHT - BOTTOM - (value - up[0]) / (up[1] - up[0]) * (HEIGHT - TOP - BOTTOM)


def _axes(across: tuple[float, float], up: tuple[float, float]) -> str:
    bottom = HEIGHT - BOTTOM
    grid = "".join(
        f'<path class="grid" d="M{LEFT} {_y(value, up):.1f}H{WIDTH - RIGHT}"></path>'
        f'<text x="{LEFT - 6}" y="{_y(value, up) + 3.5:.1f}" text-anchor="end">{value:.3g}</text>'
        for value in (up[0], (up[0] + up[1]) / 2, up[1])
    )
    return (
        f'{grid}<text x="{LEFT}" y="{bottom + 15}">step {across[0]:.0f}</text>'
        f'<text x="{WIDTH - RIGHT}" y="{bottom + 15}" text-anchor="end">{across[1]:.0f}</text>'
    )


def _legend(drawn: Mapping[str, Sequence[Point]]) -> str:
    return "".join(
        f'<span class="key key-{number}">{escape(field.replace("_", " "))} <b>{points[-1][1]:.3g}</b></span>'
        for number, (field, points) in enumerate(drawn.items())
    )


def _spoken(title: str, drawn: Mapping[str, Sequence[Point]]) -> str:
    """What the chart says, for whoever cannot see it."""
    ends = [
        f"{field.replace('_', ' ')} from {points[0][1]:.3g} to {points[-1][1]:.3g}"
        for field, points in drawn.items()
    ]
    return f"{title}: {', '.join(ends)}"
