"""Write what the page shows as HTML. Pure functions; every text from outside goes through `escape`.

A verdict is always colour, shape and word together. Probabilities are shown with two decimals,
shares with one, intervals in brackets.
"""

from collections.abc import Mapping, Sequence
from html import escape
from math import isfinite
from typing import Any, Final

from training.report import ablation_rows, table_rows

VERDICT_WORDS: Final[dict[str, str]] = {
    "in_context": "in context",
    "out_of_context": "out of context",
    "unsure": "can't tell",
}
SLOWER: Final = 1.5  # times as long is worth saying


def count(number: int) -> str:
    """Write a count with thousands separated: 1,600."""
    return f"{number:,}"


def percent(share: float, decimals: int = 1) -> str:
    """Write a share of 1 as a percentage: 0.084 becomes `8.4 %`."""
    return f"{share * 100:.{decimals}f} %"


def counted(number: int, one: str, many: str | None = None) -> str:
    """Write a count with its noun: `1 case`, `2 cases`."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """Write a length of time in its two largest units: `12 s`, `2 min 5 s`, `3 h 20 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, rest = divmod(whole // 60, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def time_words(seconds: float, at_most: float | None) -> str:
    """Say how long all cases would take, twice where that hangs on how many the server answers at once."""
    if at_most is None or at_most < max(1.0, SLOWER * seconds):
        return f"about {duration(seconds)}"
    return f"{duration(seconds)} to {duration(at_most)}, depending on how many it answers at once"


def money(cost: float) -> str:
    """Write what something cost, in USD; next to nothing is said to be so."""
    return f"{cost:.2f}" if cost >= 0.01 or not cost else "less than 0.01"


def price_words(cost: float) -> str:
    """Say what something would cost, in USD; 0 is what costs where no prices are known."""
    return (
        f"{'about ' if cost >= 0.01 else ''}{money(cost)} USD" if cost else "nothing, as no prices are given"
    )


def verdict_bar(shares: Mapping[str, float]) -> str:
    """Draw shares of verdicts as one bar; what they are stands in words beside it."""
    drawn = ((verdict, f"{share * 100:.2f}%") for verdict, share in shares.items() if share)
    pieces = "".join(f'<i class="{verdict}" style="width:{width}"></i>' for verdict, width in drawn)
    return f'<div class="verdict-bar" aria-hidden="true">{pieces}</div>'


def verdict_words(verdict: str) -> str:
    """Write a verdict as words; one this version does not know is shown as it is."""
    return VERDICT_WORDS.get(verdict, verdict)


def verdict_chip(verdict: str, confidence: float | None = None, *, large: bool = False) -> str:
    """Draw a verdict: shape, word and, where there is one, the confidence."""
    kind = verdict if verdict in VERDICT_WORDS else "unsure"
    size = " large" if large else ""
    shown = "" if confidence is None else f"<b>{percent(confidence, 0)}</b>"
    return (
        f'<span class="chip {kind}{size}"><i class="shape {kind}"></i>'
        f"<span>{escape(verdict_words(verdict))}</span>{shown}</span>"
    )


def probability_bar(verdict: str, probability: float) -> str:
    """Draw the probability of a verdict as a bar from a coin's 0.5 to certainty."""
    kind = verdict if verdict in VERDICT_WORDS else "unsure"
    filled = min(1.0, max(0.0, probability)) * 100
    return (
        f'<div class="probability" role="meter" aria-label="probability" aria-valuemin="0" aria-valuemax="1" '
        f'aria-valuenow="{probability:.2f}"><i class="{kind}" style="width:{filled:.1f}%"></i></div>'
    )


def paragraph(text: str, css_class: str = "") -> str:
    """Set a text as one paragraph, as text."""
    named = f' class="{escape(css_class)}"' if css_class else ""
    return f"<p{named}>{escape(text)}</p>"


def notice(text: str, tone: str = "plain") -> str:
    """Set one sentence the person should read first: tone `plain`, `warning` or `saved`."""
    return f'<p class="notice {escape(tone)}" role="status">{escape(text)}</p>'


def empty_state(title: str, way: str) -> str:
    """Say that there is nothing here, and what to do next."""
    return f'<div class="empty">{paragraph(title, "empty-title")}{paragraph(way, "empty-way")}</div>'


def interval(bounds: Sequence[float]) -> str:
    """Write a 95 % interval: `[0.87, 0.92]`; nothing where it is unknown."""
    if len(bounds) != 2 or not all(isfinite(bound) for bound in bounds):
        return ""
    return f"[{bounds[0]:.3f}, {bounds[1]:.3f}]"


def progress_bar(name: str, done: int, total: int, words: str = "") -> str:
    """Draw how far a stage is."""
    share = done / total if total else 0.0
    return (
        f'<div class="stage"><span class="stage-name">{escape(name)}</span>'
        f'<progress max="{max(total, 1)}" value="{done}" aria-label="{escape(name)}"></progress>'
        f'<span class="stage-share">{percent(share, 0)}</span>'
        f'<span class="stage-words">{escape(words)}</span></div>'
    )


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Set short facts in one line, each a figure and what it counts."""
    return (
        '<ul class="facts">'
        + "".join(f"<li><b>{escape(figure)}</b> {escape(what)}</li>" for figure, what in pairs)
        + "</ul>"
    )


def report_table(report: dict[str, Any]) -> str:
    """Draw a finished run's report: accuracy of teachers, majority and students, with intervals."""
    return _scores("on held-out cases", table_rows(report))


def ablation_table(report: dict[str, Any]) -> str:
    """Draw what stage 2 with each set of negatives came to; nothing where none was compared."""
    rows = ablation_rows(report)
    return _scores("stage 2 learns from", rows, "report compared") if rows else ""


def _scores(head: str, rows: Sequence[tuple[str, Mapping[str, object]]], css_class: str = "report") -> str:
    body = "".join(_report_row(name, figures) for name, figures in rows)
    return (
        f'<table class="{css_class}"><thead><tr><th scope="col">{escape(head)}</th>'
        '<th scope="col" class="number">accuracy</th><th scope="col">95 % interval</th>'
        '<th scope="col" class="number">macro-F1</th>'
        '<td class="scale" aria-hidden="true"><span>0.4</span>1.0</td></tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


def _report_row(name: str, figures: Mapping[str, object]) -> str:
    accuracy = _number(figures.get("accuracy"))
    bounds = [_number(bound) for bound in _sequence(figures.get("interval"))]
    f1 = "" if figures.get("macro_f1") is None else f"{_number(figures['macro_f1']):.3f}"
    return (
        f'<tr><th scope="row">{escape(name)}</th><td class="number">{accuracy:.3f}</td>'
        f'<td class="interval">{interval(bounds)}</td><td class="number">{f1}</td>'
        f'<td class="scale" aria-hidden="true">{_whisker(accuracy, bounds)}</td></tr>'
    )


def _whisker(accuracy: float, bounds: Sequence[float]) -> str:
    """Draw the interval on a scale from 0.4 to 1, so that rows can be compared by eye."""
    low, high = bounds if len(bounds) == 2 else (accuracy, accuracy)
    left, right, dot = (min(100.0, max(0.0, (value - 0.4) / 0.6 * 100)) for value in (low, high, accuracy))
    return f'<i style="left:{left:.1f}%;width:{right - left:.1f}%"></i><b style="left:{dot:.1f}%"></b>'


def _sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")
