"""Draw a batch for the page: how far it is, its rows a page at a time, and earlier batches.

Pure; every text goes through `escape`. What may be pressed says in `data-` what it asks for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

from db.batches import PAGE, Counts, Only, Order, RowShown
from db.models import Batch
from ooc_app import render
from ooc_app.checks.results import report_link
from ooc_app.checks.untouched import UNTOUCHED

HEADS: Final[tuple[tuple[Order | None, str], ...]] = (
    ("number", "no."),
    (None, "picture"),
    ("caption", "caption"),
    ("verdict", "verdict"),
    ("probability", "probability"),
    (None, "report"),
)
FILTERS: Final[tuple[tuple[Only, str], ...]] = (
    ("all", "all"),
    ("out_of_context", "out of context"),
    ("unsure", "can't tell"),
    ("in_context", "in context"),
    ("refused", "refused"),
)
NOTHING_YET: Final = render.empty_state(
    "No batch yet",
    "Choose a zip archive, or a table with its pictures. The table has the columns image and caption, and "
    "may have date, place and url.",
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows of a batch are shown, and in what order."""

    order: Order = "number"
    descending: bool = False
    only: Only = "all"
    page: int = 0


def going_panel(work: dict[str, Any], standing: Counts | None) -> str:
    """Draw what goes on: a bar, rate and time left; `standing` is there once the rows are read."""
    bar = '<progress aria-label="rows done"></progress>'
    if standing is not None:
        bar = f'<progress aria-label="rows done" max="{standing.rows}" value="{standing.done}"></progress>'
    is_ending = work["status"] == "stopping"
    held = " disabled" if is_ending else ""
    stop = f'<button type="button" data-deed="stop"{held}>Stop</button>'
    words = "ends after the rows it is at" if is_ending else f"{work['words']} · goes on when you leave"
    return (
        f'<div class="many-going"><p><b>{escape(work["title"])}</b></p>{bar}'
        f'<p class="many-words">{escape(words)}</p>{stop}</div>'
    )


def ended_panel(work: dict[str, Any]) -> str:
    """Say why what went on last ended, where it did before all was done."""
    if work["status"] == "done":
        return ""
    return render.notice(work["says"], "warning" if work["status"] == "failed" else "plain")


def batch_panel(batch: Batch, standing: Counts, *, is_going: bool, may_resume: bool, may_change: bool) -> str:
    """Draw the head of a batch: its name, its counts, and what may be done with it."""
    counts = [(render.count(standing.of(name)), words) for name, words in FILTERS[1:]]
    if standing.waiting:
        counts.append((render.count(standing.waiting), "waiting"))
    resume = '<button type="button" data-deed="resume">Resume</button>' if may_resume else ""
    stuck = standing.waiting and not is_going and not may_resume
    way = "Give the same files, or the same command, again: it then goes on with the rows that wait."
    links = "".join(
        f'<a href="/desk/batches/{escape(batch.token)}/results.{kind}" download>{name}</a>'
        for kind, name in (("csv", "CSV"), ("jsonl", "JSON lines"))
    )
    return (
        f'<header class="many-head"><h3>{escape(batch.name)}</h3>'
        f"{render.facts([(render.count(standing.rows), 'rows'), *counts])}"
        f'<p class="many-deeds">{resume}{links}</p>'
        f"{render.notice(way) if stuck else ''}"
        f"{_delete(standing) if may_change and not is_going else ''}</header>"
    )


def rows_panel(rows: Sequence[RowShown], standing: Counts, wanted: Wanted) -> str:
    """Draw a page of rows as a table that is sorted by its heads."""
    filters = "".join(_filter(name, words, standing, wanted) for name, words in FILTERS)
    heads = "".join(_head(order, words, wanted) for order, words in HEADS)
    body = "".join(_row(row) for row in rows)
    none = "" if rows else render.paragraph("There is no such row.", "many-none")
    return (
        f'<div class="many-filters" role="group" aria-label="Rows shown">{filters}</div>'
        '<div class="many-scroll" role="region" aria-label="Rows of the batch" tabindex="0">'
        f'<table class="many-table"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
        f"{none}{_pager(standing.of(wanted.only), wanted.page)}"
    )


def earlier_panel(batches: Sequence[tuple[Batch, Counts]], shown: str | None) -> str:
    """List somebody's batches; nothing where there is only the one that is shown."""
    if all(batch.token == shown for batch, _ in batches):
        return ""
    items = "".join(
        f'<li><button type="button" data-batch="{escape(batch.token)}" '
        f'aria-pressed="{str(batch.token == shown).lower()}">{escape(batch.name)}</button>'
        f'<small><time datetime="{batch.created_at.isoformat()}">{batch.created_at:%Y-%m-%d %H:%M} UTC</time>'
        f" · {render.count(standing.done)} of {render.counted(standing.rows, 'row')}</small></li>"
        for batch, standing in batches
    )
    return f"<h3>Your batches</h3><ul>{items}</ul>"


def _delete(standing: Counts) -> str:
    rows = render.counted(standing.done, "done row")
    return (
        '<details class="many-delete"><summary>Delete</summary><p>All reports of this batch go, too, and '
        "their links lead nowhere.</p>"
        f'<button type="button" data-deed="delete">Delete the batch with {rows}</button></details>'
    )


def _filter(name: Only, words: str, standing: Counts, wanted: Wanted) -> str:
    pressed = str(name == wanted.only).lower()
    return (
        f'<button type="button" data-only="{name}" aria-pressed="{pressed}">{escape(words)} '
        f"<b>{render.count(standing.of(name))}</b></button>"
    )


def _head(order: Order | None, words: str, wanted: Wanted) -> str:
    if order is None:
        return f'<th scope="col">{escape(words)}</th>'
    is_sorted = order == wanted.order
    way = ("descending" if wanted.descending else "ascending") if is_sorted else "none"
    mark = ("▾" if wanted.descending else "▴") if is_sorted else ""
    return (
        f'<th scope="col" aria-sort="{way}"><button type="button" data-order="{order}">{escape(words)}'
        f'<span aria-hidden="true">{mark}</span></button></th>'
    )


def _row(row: RowShown) -> str:
    meta = " · ".join(part for part in (row.image, row.claimed_date, row.claimed_place) if part)
    caption = (
        f'<td class="many-caption"><p dir="auto">{escape(row.caption)}</p>'
        f'<small dir="auto">{escape(meta)}</small></td>'
    )
    check, said = row.check, row.said
    if check is None or said is None:
        why = row.refused or "waiting"
        kind = "many-refused" if row.refused else "many-waiting"
        return (
            f'<tr class="{kind}"><td class="number">{row.number}</td><td></td>{caption}'
            f'<td colspan="3">{"refused: " if row.refused else ""}{escape(why)}</td></tr>'
        )
    why = str(check.found.get("warning") or (UNTOUCHED if check.found.get("untouched") else ""))
    guess = f'<small title="{escape(why)}">a guess</small>' if why else ""
    return (
        f'<tr><td class="number">{row.number}</td><td><img src="/desk/thumbs/{escape(check.image_sha256)}" '
        f'alt="picture {row.number}" loading="lazy" width="72" height="54"></td>{caption}'
        f'<td>{render.verdict_chip(said)}{guess}</td><td class="number">{check.probability:.2f}</td>'
        f'<td><a href="{escape(report_link(check.token))}" aria-label="report of picture {row.number}">'
        "report</a></td></tr>"
    )


def _pager(rows: int, page: int) -> str:
    if rows <= PAGE:
        return ""
    first, last = page * PAGE + 1, min(rows, (page + 1) * PAGE)
    back = "" if page else " disabled"
    on = "" if last < rows else " disabled"
    return (
        '<p class="many-pager" role="group" aria-label="Pages">'
        f'<button type="button" data-page="{page - 1}"{back}>back</button>'
        f"<span>{render.count(first)} to {render.count(last)} of {render.count(rows)}</span>"
        f'<button type="button" data-page="{page + 1}"{on}>on</button></p>'
    )
