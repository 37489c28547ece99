"""Curves as SVG, by hand: axes, a polyline per figure, no library.

The page draws small ones in its own colours (`ooc_app.charts`), a run folder keeps large ones that stand
for themselves. matplotlib would bring 60 MB and a font cache for two polylines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import isfinite
from typing import Any

POINTS_MAX = 240  # points drawn per curve; more cannot be told apart

Point = tuple[float, float]
Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Frame:
    """Size and margins of a chart, in user units; the SVG scales to its box."""

    width: int = 360
    height: int = 128
    left: int = 40
    right: int = 8
    top: int = 10
    bottom: int = 22

    def x(self, value: float, across: Span) -> float:
        """Place a step."""
        return self.left + (value - across[0]) / (across[1] - across[0]) * (
            self.width - self.left - self.right
        )

    def y(self, value: float, up: Span) -> float:
        """Place a figure."""
        return (
            self.height
            - self.bottom
            - (value - up[0]) / (up[1] - up[0]) * (self.height - self.top - self.bottom)
        )


RELIABILITY = "Share of right answers by the probability they were given"

PAPER = Frame(720, 320, 64, 16, 44, 40)
STYLE = """svg { background: #fff; color: #1d2430; font: 13px system-ui, sans-serif; }
text { fill: currentColor; } .title { font-size: 16px; } .grid { stroke: #d9dde4; }
.curve { fill: none; stroke-width: 2; stroke-linejoin: round; }
.curve-0 { stroke: #2456b8; } .curve-1 { stroke: #b3411a; stroke-dasharray: 7 4; }
.key-0 { fill: #2456b8; } .key-1 { fill: #b3411a; }"""


def write_plots(metrics: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the plots of a run, by the name of their file: those of stage 2 with two points or more."""
    wanted = {
        "margin.svg": ("Reward margin, chosen over rejected", ("margin",)),
        "log_probability.svg": (
            "Log-probability of a whole rationale, in nats",
            ("logp_chosen", "logp_rejected"),
        ),
    }
    return {
        name: _paper(title, drawn)
        for name, (title, fields) in wanted.items()
        if (drawn := points_of(metrics, "dpo", fields))
    }


def write_reliability(evaluation: Mapping[str, Any]) -> dict[str, str]:
    """Return the reliability diagram by the name of its file; nothing where no held-out case was judged.

    A dot for each bin of probabilities, the larger the more answers are in it; on the dashed line what is
    said is what is so.
    """
    bins = filled_bins(evaluation)
    if not bins:
        return {}
    return {"reliability.svg": _around(RELIABILITY, spoken_reliability(bins), reliability(bins, PAPER))}


def filled_bins(evaluation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the bins of a calibration error that have answers in them; none where nothing was judged."""
    return [one for one in (evaluation.get("calibration") or {}).get("bins", ()) if one["cases"]]


def spoken_reliability(bins: Sequence[Mapping[str, Any]], title: str = RELIABILITY) -> str:
    """Say what the diagram shows, for whoever cannot see it."""
    said = "; ".join(
        f"said {one['said']:.2f}, right {1 - one['wrong'] / one['cases']:.2f} of {one['cases']}"
        for one in bins
    )
    return f"{title}: {said}"


def reliability(
    bins: Sequence[Mapping[str, Any]], frame: Frame, across: Span = (0.5, 1.0), said: str = "probability"
) -> str:
    """Draw the diagram in a frame; what it looks like is the style sheet's, by class.

    `across` is what may be said of a verdict, and `said` its name: a student's probability is from 0.5.
    """
    most = max(one["cases"] for one in bins)
    whole: Span = (0.0, 1.0)
    dots = "".join(
        f'<circle class="key-0" cx="{frame.x(one["said"], across):.1f}" '
        f'cy="{frame.y(1 - one["wrong"] / one["cases"], whole):.1f}" '
        f'r="{(3 + 9 * (one["cases"] / most) ** 0.5) * frame.width / PAPER.width:.1f}">'
        f"<title>{one['cases']} answers, {one['wrong']} wrong</title></circle>"
        for one in bins
    )
    right, bottom = frame.width - frame.right, frame.height - frame.bottom
    ideal = _polyline([(across[0], across[0]), (1.0, 1.0)], across, whole, frame)
    return (
        f'{_grid(whole, frame)}<polyline class="curve curve-1" points="{ideal}"></polyline>{dots}'
        f'<text x="{frame.left}" y="{bottom + 15}">{across[0]:g}</text>'
        f'<text x="{right}" y="{bottom + 15}" text-anchor="end">{said} 1</text>'
    )


def points_of(
    metrics: Sequence[Mapping[str, Any]], stage: str, fields: Sequence[str]
) -> dict[str, list[Point]]:
    """Return the (step, value) points of a stage's fields, thinned; no field that has fewer than two."""
    found = {field: _points(metrics, stage, field) for field in fields}
    return {field: points for field, points in found.items() if len(points) >= 2}


def body(drawn: Mapping[str, Sequence[Point]], frame: Frame) -> str:
    """Draw axes and curves; what they look like is the style sheet's, by class."""
    every = [point for points in drawn.values() for point in points]
    across, up = _span([x for x, _ in every]), _span([y for _, y in every])
    lines = "".join(
        f'<polyline class="curve curve-{number}" points="{_polyline(points, across, up, frame)}"></polyline>'
        for number, points in enumerate(drawn.values())
    )
    return _axes(across, up, frame) + lines


def spoken(title: str, drawn: Mapping[str, Sequence[Point]]) -> str:
    """Say what a chart shows, for whoever cannot see it."""
    ends = [
        f"{words(field)} from {points[0][1]:.3g} to {points[-1][1]:.3g}" for field, points in drawn.items()
    ]
    return f"{title}: {', '.join(ends)}"


def words(field: str) -> str:
    """Write a field's name as words."""
    return field.replace("_", " ")


def _paper(title: str, drawn: Mapping[str, Sequence[Point]]) -> str:
    """Draw a chart that needs no page around it."""
    keys = "".join(
        f'<text class="key-{number}" x="{PAPER.width - PAPER.right}" y="{20 + 16 * number}" '
        f'text-anchor="end">{escape(words(field))} {points[-1][1]:.3g}</text>'
        for number, (field, points) in enumerate(drawn.items())
    )
    return _around(title, spoken(title, drawn), keys + body(drawn, PAPER))


def _around(title: str, said: str, drawn: str) -> str:
    """Set a drawing on paper, with its title and what it says to whoever cannot see it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {PAPER.width} {PAPER.height}" role="img" '
        f'aria-label="{escape(said)}"><style>{STYLE}</style>'
        f'<text class="title" x="{PAPER.left}" y="22">{escape(title)}</text>{drawn}</svg>\n'
    )


def _points(metrics: Sequence[Mapping[str, Any]], stage: str, field: str) -> list[Point]:
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


def _span(values: Sequence[float]) -> Span:
    """The range of an axis, never empty."""
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _polyline(points: Sequence[Point], across: Span, up: Span, frame: Frame) -> str:
    return " ".join(f"{frame.x(x, across):.1f},{frame.y(y, up):.1f}" for x, y in points)


def _axes(across: Span, up: Span, frame: Frame) -> str:
    right, bottom = frame.width - frame.right, frame.height - frame.bottom
    return (
        f'{_grid(up, frame)}<text x="{frame.left}" y="{bottom + 15}">step {across[0]:.0f}</text>'
        f'<text x="{right}" y="{bottom + 15}" text-anchor="end">{across[1]:.0f}</text>'
    )


def _grid(up: Span, frame: Frame) -> str:
    """Draw the lines of an axis: its least, its middle and its greatest figure."""
    right = frame.width - frame.right
    return "".join(
        f'<path class="grid" d="M{frame.left} {frame.y(value, up):.1f}H{right}"></path>'
        f'<text x="{frame.left - 6}" y="{frame.y(value, up) + 3.5:.1f}" text-anchor="end">{value:.3g}</text>'
        for value in (up[0], (up[0] + up[1]) / 2, up[1])
    )
