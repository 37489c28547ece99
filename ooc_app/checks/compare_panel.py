"""Draw answers of several students side by side. Pure; every text goes through `escape`."""

from collections.abc import Sequence
from html import escape

from db.vocabulary import Answer
from ooc_app import render
from ooc_app.checks.compare import Compared
from ooc_app.checks.other_students import Said


def compare_panel(columns: Sequence[Compared]) -> str:
    """Draw a column for each student, in the order given; what is still asked says what it is doing."""
    others = [column for column in columns if not column.is_kept]
    if not others:
        return render.empty_state(
            "No other student to compare with",
            "There is one once a run is promoted: what it started from, and what it was after each stage.",
        )
    busy = any(column.doing for column in columns)
    return (
        f'<section class="compared" aria-busy="{str(busy).lower()}"><h2>The same check by other students</h2>'
        f"<ol>{''.join(_column(column) for column in columns)}</ol></section>"
    )


def _column(column: Compared) -> str:
    kept = " kept" if column.is_kept else ""
    refused = f'<p class="compared-refused">{escape(column.refused)}</p>' if column.refused else ""
    doing = f'<p class="compared-doing">{escape(column.doing)}</p>' if column.doing else ""
    if column.said and not (column.said.rationale or column.doing or column.refused):
        doing = '<p class="compared-doing">It wrote no rationale.</p>'
    return (
        f'<li class="compared-one{kept}"><h3>{escape(column.title)} <small>{escape(column.name)}</small></h3>'
        f"{_said(column.said) if column.said else ''}{refused}{doing}</li>"
    )


def _said(said: Said) -> str:
    shown = Answer.UNSURE if said.cannot_tell else said.verdict
    of = f" of {escape(render.verdict_words(said.verdict))}" if said.cannot_tell else ""
    facts = [f"probability{of} <b>{said.probability:.2f}</b>"]
    if said.note:
        facts.append(escape(said.note))
    if said.seconds is not None:
        facts.append(f"verdict in {_seconds(said.seconds)}")
    rationale = f'<blockquote dir="auto">{escape(said.rationale)}</blockquote>' if said.rationale else ""
    return f'{render.verdict_chip(shown)}<p class="compared-facts">{" · ".join(facts)}</p>{rationale}'


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 10 else render.duration(seconds)
