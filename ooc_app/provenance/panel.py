"""Write what a picture carries as HTML, ready for the Check tab. Pure; every text goes through `escape`.

In the order of what it is worth: where the picture was seen before, what contradicts the claim, Content
Credentials, metadata, and where to look further. Nothing in it is fetched before somebody clicks.
"""

from collections.abc import Callable
from html import escape
from typing import Final

from ooc_app.provenance.credentials import State
from ooc_app.provenance.dates import day_in_words
from ooc_app.provenance.links import is_web_address
from ooc_app.provenance.report import Provenance, map_link
from ooc_app.provenance.seen import Seen, Use
from ooc_app.render import counted, notice, paragraph, verdict_chip

MarkOf = Callable[[str], str]
"""The address at which the page shows a thumbnail of a desk's picture, by its SHA-256."""

_TONES: Final = {State.INVALID: "warning", State.TRUSTED: "saved"}


def provenance_panel(
    found: Provenance,
    *,
    with_gps: bool = False,
    thumbnail_url: MarkOf | None = None,
    is_public: bool = False,
) -> str:
    """Draw all of it; GPS coordinates are in the HTML only `with_gps`.

    `is_public` says that what others asked here was left out of what was seen before, so that finding
    nothing speaks of the desk's cases alone.
    """
    parts = (
        _section("Seen before", seen_part(found, thumbnail_url, is_public=is_public)),
        _section("What does not fit", _remarks(found)),
        _section("Content Credentials", _credentials(found)),
        _section("What the file says", _metadata(found, with_gps=with_gps)),
        _section("Look further", _links(found)),
    )
    return f'<div class="provenance">{"".join(parts)}</div>'


def seen_part(found: Provenance, thumbnail_url: MarkOf | None = None, *, is_public: bool = False) -> str:
    """Draw the known pictures, the one that appeared first at the top; nothing where they are not shown."""
    if found.seen is None:
        return ""
    said = "".join(_seen(one, thumbnail_url) for one in found.seen)
    if found.is_plain:
        said += paragraph("The picture holds too little to be known again by, unless it is hardly changed.")
    if not found.seen:
        none = f"None of the desk's {counted(found.compared, 'picture')} looks like this one."
        if is_public:
            none = "None of the desk's cases has a picture like this one."
        elif not found.compared:
            none = "The desk has no other picture to hold it against."
        said += paragraph(f"{none} That says nothing about the rest of the web.")
    if found.not_compared:
        left = counted(found.not_compared, "picture")
        said += notice(f"{left} of the desk not compared yet: ask again in a while.", "warning")
    return said


def _section(title: str, inner: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{inner}</section>" if inner else ""


def _seen(one: Seen, thumbnail_url: MarkOf | None) -> str:
    shown = ""
    if thumbnail_url is not None:
        shown = f'<img src="{escape(thumbnail_url(one.near.sha256))}" alt="the known picture" loading="lazy">'
    uses = "".join(_use(use) for use in one.uses)
    apart = f"{one.near.distance} of 256 marks differ"
    return (
        f'<article class="seen">{shown}<p class="seen-how">{escape(one.words)} '
        f"<small>({escape(apart)})</small></p><ol>{uses}</ol></article>"
    )


def _use(use: Use) -> str:
    when = use.claimed_date or f"on this desk since {day_in_words(use.on_desk_since.date())}"
    where = ", ".join(part for part in (when, use.claimed_place, use.source) if part)
    verdict = verdict_chip(use.verdict) if use.verdict else ""
    link = _outward(use.url, "where it stood") if use.url and is_web_address(use.url) else ""
    return (
        f'<li><p class="seen-when">{escape(where)}</p>'
        f'<blockquote dir="auto">{escape(use.caption)}</blockquote>'
        f'<p class="seen-verdict">{verdict} <small>{escape(use.by)}</small> {link}</p></li>'
    )


def _remarks(found: Provenance) -> str:
    return "".join(
        notice(one.sentence, "warning" if one.is_contradiction else "plain") for one in found.remarks
    )


def _credentials(found: Provenance) -> str:
    read = found.credentials
    said = [notice(f"{read.state.value.capitalize()}. {read.means}", _TONES.get(read.state, "plain"))]
    if read.is_generated:
        said.append(notice("They say that a model generated the picture or parts of it.", "warning"))
    rows = [*read.facts, *([("what is wrong", ", ".join(read.problems))] if read.problems else [])]
    return "".join(said) + _table(rows)


def _metadata(found: Provenance, *, with_gps: bool) -> str:
    read = found.metadata
    rows = [(line.what, line.said) for line in read.lines]
    said = notice(read.note, "warning") if read.note else ""
    said += _table(rows) if rows else paragraph("No metadata. Most sites remove it: that says nothing.")
    if read.gps is not None and with_gps:
        at = f"{read.gps.latitude:.5f}, {read.gps.longitude:.5f}"
        said += f'<p class="gps">GPS: {escape(at)} {_outward(map_link(read.gps), "show on a map")}</p>'
    elif read.gps is not None:
        said += paragraph("The file carries a GPS position; it is shown on request.", "gps")
    return said


def _links(found: Provenance) -> str:
    problem = notice(found.links_problem, "warning") if found.links_problem else ""
    rows = "".join(
        f"<li>{_outward(link.url, link.name)} <small>sends {escape(link.sends)}</small></li>"
        for link in found.links
    )
    return problem + (f"<ul>{rows}</ul>" if rows else "")


def _table(rows: list[tuple[str, str]]) -> str:
    body = "".join(
        f'<tr><th scope="row">{escape(what)}</th><td dir="auto">{escape(said)}</td></tr>'
        for what, said in rows
    )
    return f'<table class="provenance-facts"><tbody>{body}</tbody></table>' if rows else ""


def _outward(url: str, name: str) -> str:
    """A link that tells the other site nothing of this page."""
    return f'<a href="{escape(url)}" target="_blank" rel="noopener noreferrer">{escape(name)}</a>'
