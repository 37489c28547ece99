"""Draw the curves of a run for the page: one small chart per figure, its last values in the caption.

The colours come from the page's style sheet by class, so a chart follows light and dark by itself.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from training.plots import (
    RELIABILITY,
    Frame,
    Point,
    body,
    filled_bins,
    points_of,
    reliability,
    spoken,
    spoken_reliability,
    words,
)

FRAME: Final = Frame()
CONFIDENCE_FRAME: Final = Frame(height=200)
CONFIDENCE: Final = "How often it is right, by how sure it says it is"


def curves(metrics: Sequence[Mapping[str, object]], stage: str, fields: Sequence[str], title: str) -> str:
    """Draw `fields` of one stage's metrics over its steps; nothing before there are two points."""
    drawn = points_of(metrics, stage, fields)
    if not drawn:
        return ""
    return (
        f'<figure class="chart"><figcaption>{escape(title)} {_legend(drawn)}</figcaption>'
        f'<svg viewBox="0 0 {FRAME.width} {FRAME.height}" role="img" '
        f'aria-label="{escape(spoken(title, drawn))}">{body(drawn, FRAME)}</svg></figure>'
    )


def reliability_chart(report: Mapping[str, Any]) -> str:
    """Draw a report's reliability diagram; nothing where no held-out case was judged."""
    bins = filled_bins(report)
    return _reliability(RELIABILITY, bins, FRAME, reliability(bins, FRAME)) if bins else ""


def confidence_chart(bins: Sequence[Mapping[str, Any]]) -> str:
    """Draw how often a teacher is right by how sure it says it is, from 0 on; nothing without bins."""
    drawn = reliability(bins, CONFIDENCE_FRAME, (0.0, 1.0), "confidence") if bins else ""
    return _reliability(CONFIDENCE, bins, CONFIDENCE_FRAME, drawn) if bins else ""


def _reliability(title: str, bins: Sequence[Mapping[str, Any]], frame: Frame, drawn: str) -> str:
    return (
        f'<figure class="chart reliability"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {frame.width} {frame.height}" role="img" '
        f'aria-label="{escape(spoken_reliability(bins, title))}">{drawn}</svg></figure>'
    )


def _legend(drawn: Mapping[str, Sequence[Point]]) -> str:
    return "".join(
        f'<span class="key key-{number}">{escape(words(field))} <b>{points[-1][1]:.3g}</b></span>'
        for number, (field, points) in enumerate(drawn.items())
    )
