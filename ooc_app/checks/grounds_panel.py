"""Draw what an answer rests on: the picture at all, words of the caption, parts of the picture.

Pure; every text goes through `escape`. It is drawn from JSON as a check keeps it (`Reliance`, `WordGrounds`
and `PartGrounds` of `training`, as plain values); JSON of another version, which lacks something, draws
nothing. No `style` attribute is used, so that a page may forbid them.
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from math import isfinite
from typing import Any, Final

from ooc_app import render
from training.plots import Frame

WORD_STEPS: Final = (0.5, 1.5, 4.0)
PART_STEPS: Final = (0.5, 1.0, 2.0, 4.0)
"""From which change of log-odds, in nats, a word or a part is marked, and marked more; *ours*. Half a nat
moves a probability of 0.86 to 0.79, at a temperature of 1; less is not worth a mark."""
HOW_MUCH: Final = ("a little", "clearly", "much", "very much")
FRAME: Final = Frame(width=360, height=148, left=34, right=18, top=22, bottom=24)
NOISE_WORDS: Final = (
    (1, "clear"),
    (400, "a little noise"),
    (600, "some noise"),
    (800, "much noise"),
    (950, "hardly anything left"),
)
"""Below which diffusion step a picture is called what."""
ROW_WORDS: Final = ("upper", "middle", "lower")
COLUMN_WORDS: Final = ("left", "centre", "right")


def reliance_part(plain: Mapping[str, Any]) -> str:
    """Draw whether the answer depends on the picture: a sentence, and the curve as the picture fades."""
    sentence, verdict, blank = plain.get("sentence"), plain.get("verdict"), _number(plain.get("blank"))
    curve = [(step, said) for step, said in _pairs(plain.get("curve")) if 0 <= said <= 1]
    if not sentence or not isinstance(verdict, str) or blank is None or not curve or "depends" not in plain:
        return ""
    tone = "warning" if plain["depends"] is False else "plain"
    words = escape(render.verdict_words(verdict))
    return _section(
        "Does it see?",
        f'<p class="grounds-said {tone}">{escape(str(sentence))}</p>'
        f'<figure class="fading">{_fading(words, [*curve, (-1.0, min(1.0, max(0.0, blank)))])}'
        f"<figcaption>Probability of {words} as the picture fades into noise, and with a blank in its "
        "place.</figcaption></figure>",
    )


def caption_part(caption: str, plain: Mapping[str, Any]) -> str:
    """Draw the caption with the words marked that carry the answer, or speak against it."""
    if not isinstance(plain.get("words"), list | tuple):
        return ""
    drawn, at = "", 0
    grounds = sorted(_words(plain["words"]), key=lambda one: one[0])
    for start, end, change in grounds:
        if not at <= start < end <= len(caption) or abs(change) < WORD_STEPS[0]:
            continue
        drawn += escape(caption[at:start]) + _marked(caption[start:end], change)
        at = end
    drawn += escape(caption[at:])
    if not at:
        none = "No single word of the caption carries the answer."
        return _section("Words that carry it", render.paragraph(none, "grounds-label"))
    return _section(
        "Words that carry it",
        f'<p class="grounds-caption" dir="auto">{drawn}</p>'
        '<p class="grounds-label">Marked: words without which this student would be less sure. Not what is '
        f"true.</p>{_word_key()}",
    )


def picture_part(picture_url: str, plain: Mapping[str, Any]) -> str:
    """Draw the picture, whole, under a grid of the parts that carry the answer; the grid can be hidden."""
    rows = _rows(plain.get("changes"))
    if not rows:
        return ""
    if not any(_level(change, PART_STEPS) for row in rows for change in row):
        return _section("Parts of the picture that carry it", render.paragraph(where(rows), "grounds-label"))
    grid = "".join(
        f'<span class="parts-row">{"".join(f"<i{_part_class(change)}></i>" for change in row)}</span>'
        for row in rows
    )
    return _section(
        "Parts of the picture that carry it",
        f'<figure class="parts"><span class="parts-frame"><img src="{escape(picture_url)}" '
        f'alt="the picture that was checked"><span class="parts-grid" aria-hidden="true">{grid}</span></span>'
        '<label class="parts-switch"><input type="checkbox" checked> show the marks</label>'
        f"<figcaption>{escape(where(rows))} Marked: parts without which this student would be less sure, "
        "each covered by itself; the denser, the more. Dotted: parts without which it would be surer. Not "
        "what is true.</figcaption></figure>",
    )


def where(rows: Sequence[Sequence[float]]) -> str:
    """Say in a sentence which thirds of the picture carry the answer, the first most."""
    most: dict[str, float] = {}
    for number, row in enumerate(rows):
        for column, change in enumerate(row):
            third = _third(number * 3 // len(rows), column * 3 // len(row))
            most[third] = max(change, most.get(third, 0.0))
    found = sorted((third for third in most if most[third] >= PART_STEPS[0]), key=lambda one: -most[one])
    if not found:
        return "No single part of the picture carries the answer."
    also = f", then the {' and the '.join(found[1:3])}" if found[1:] else ""
    return f"The {found[0]} carries it most{also}."


def _section(title: str, inner: str) -> str:
    return f'<section class="grounds"><h2>{escape(title)}</h2>{inner}</section>'


def _fading(verdict: str, curve: Sequence[tuple[float, float]]) -> str:
    """Draw the curve; its last point, the blank, stands apart. `verdict` is escaped."""
    across, whole = (0.0, max(1.0, len(curve) - 1.0)), (0.0, 1.0)
    points = [(FRAME.x(number, across), FRAME.y(said, whole)) for number, (_, said) in enumerate(curve)]
    lines = " ".join(f"{x:.1f},{y:.1f}" for x, y in points[:-1])
    dots = "".join(
        f'<g><title>{_step_words(step)}: {said:.2f}</title><circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" '
        f'class="fading-{"blank" if step < 0 else "step"}"></circle>'
        f'<text x="{x:.1f}" y="{y - 8:.1f}" text-anchor="middle" class="fading-value">{said:.2f}</text></g>'
        for (step, said), (x, y) in zip(curve, points, strict=True)
    )
    spoken = ", ".join(f"{_step_words(step)} {said:.2f}" for step, said in curve)
    return (
        f'<svg viewBox="0 0 {FRAME.width} {FRAME.height}" role="img" '
        f'aria-label="Probability of {verdict}: {spoken}">{_axes(points)}'
        f'<polyline points="{lines}"></polyline>{dots}</svg>'
    )


def _axes(points: Sequence[tuple[float, float]]) -> str:
    """Draw the lines at 0, a coin's 0.5 and 1, and what the curve begins and ends with."""
    lines = "".join(
        f'<path class="fading-{"coin" if value == 0.5 else "line"}" d="M{FRAME.left} '
        f'{FRAME.y(value, (0.0, 1.0)):.1f}H{FRAME.width - FRAME.right}"></path>'
        f'<text x="{FRAME.left - 16}" y="{FRAME.y(value, (0.0, 1.0)) + 3.5:.1f}" text-anchor="end">'
        f"{value:g}</text>"
        for value in (0.0, 0.5, 1.0)
    )
    bottom = FRAME.height - 5
    ends = [(points[0][0], "clear"), (points[-1][0], "blank")]
    if len(points) > 2:
        ends.insert(1, (points[-2][0], "noise"))
    return lines + "".join(
        f'<text x="{x:.1f}" y="{bottom}" text-anchor="middle">{word}</text>' for x, word in ends
    )


def _step_words(step: float) -> str:
    if step < 0:
        return "blank"
    return next((words for below, words in NOISE_WORDS if step < below), "noise alone")


def _marked(text: str, change: float) -> str:
    level = _level(change, WORD_STEPS)
    how = HOW_MUCH[level - 1]
    said = f"{how} {'less' if change > 0 else 'more'} sure without it"
    kind = "carries" if change > 0 else "against"
    return (
        f'<mark class="{kind} {kind}-{level}" title="{said} (log-odds {-change:+.1f})">{escape(text)}'
        f'<span class="unseen"> ({said})</span></mark>'
    )


def _word_key() -> str:
    words = "".join(
        f'<li><mark class="carries carries-{level}">{HOW_MUCH[level - 1]}</mark></li>'
        for level in range(1, len(WORD_STEPS) + 1)
    )
    return (
        f'<ul class="grounds-key" aria-hidden="true">{words}<li><mark class="against">surer without it</mark>'
        "</li></ul>"
    )


def _part_class(change: float) -> str:
    level = _level(change, PART_STEPS)
    if not level:
        return ""
    return f' class="part-{level}"' if change > 0 else ' class="part-against"'


def _level(change: float, steps: Sequence[float]) -> int:
    return sum(abs(change) >= step for step in steps)


def _third(row: int, column: int) -> str:
    if (row, column) == (1, 1):
        return "middle"
    return f"{ROW_WORDS[row]} {COLUMN_WORDS[column]}"


def _words(plain: Sequence[Any]) -> Iterator[tuple[int, int, float]]:
    """Yield start, end and change of each word that is whole."""
    for one in plain:
        span = one.get("span") if isinstance(one, Mapping) else None
        if not isinstance(span, Mapping):
            continue
        start, end, change = span.get("start"), span.get("end"), _number(one.get("change"))
        if type(start) is int and type(end) is int and change is not None:
            yield start, end, change


def _rows(plain: Any) -> list[list[float]]:
    """Return the grid; nothing unless it is one of numbers, its rows of one length."""
    rows = [_numbers(row) for row in plain] if isinstance(plain, list | tuple) else []
    is_whole = rows and rows[0] and all(row is not None and len(row) == len(rows[0] or ()) for row in rows)
    return [row for row in rows if row] if is_whole else []


def _pairs(plain: Any) -> list[tuple[float, float]]:
    rows = [_numbers(row) for row in plain] if isinstance(plain, list | tuple) else []
    return [(row[0], row[1]) for row in rows if row is not None and len(row) == 2]


def _numbers(plain: Any) -> list[float] | None:
    found = [_number(one) for one in plain] if isinstance(plain, list | tuple) else [None]
    numbers = [one for one in found if one is not None]
    return numbers if len(numbers) == len(found) else None


def _number(plain: Any) -> float | None:
    is_number = isinstance(plain, int | float) and not isinstance(plain, bool) and isfinite(plain)
    return float(plain) if is_number else None
