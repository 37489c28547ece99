"""Draw a report as a page of its own, for the screen and for paper. Pure; every text goes through `escape`.

It needs no script and fetches nothing but its picture. What a fact-checker wants of a report stands on it:
the claim, the answer with how sure it is, the evidence, who ruled since, how it can be done again, and what
is not known.
"""

from collections.abc import Iterator
from html import escape
from string import Template
from typing import Final

from db.vocabulary import Answer
from ooc_app import render
from ooc_app.case_list import thumbnail_url
from ooc_app.checks.answer_panel import rationale_part
from ooc_app.checks.grounds_panel import caption_part, picture_part, reliance_part
from ooc_app.checks.report_data import WAITS, Report, Standing
from ooc_app.checks.report_deeds import DAYS, NEVER
from ooc_app.checks.times import absolute_time, day
from ooc_app.checks.untouched import UNTOUCHED
from ooc_app.provenance.links import is_web_address
from ooc_app.provenance.panel import provenance_panel
from ooc_app.sign_in import page_colours
from ooc_app.theme import ASSETS

STYLES: Final = ("desk.css", "check.css", "report.css")
TITLE_MAX: Final = 60  # characters of the caption
GONE: Final = (
    "There is no such report: its owner deleted it, its time is over, or the link to it is not whole."
)
DELETED: Final = "The report is deleted, and its picture where nothing else on the desk has it."
TERMS: Final = {"7": "for 7 days from now", "30": "for 30 days from now", "365": "for a year from now"}


def report_page(report: Report, address: str, *, asks_to_sign_in: bool) -> str:
    """Draw a report for its reader, with its permanent address, which paper must show.

    To a stranger it says where to sign in, on a desk that asks for it.
    """
    parts = (
        _top(report),
        _grounds(report),
        _carried(report),
        _made(report, address),
        _unsaid(report),
        _deeds(report) if report.may_change else "",
        _foot(report, asks_to_sign_in=asks_to_sign_in and not report.is_of_desk),
    )
    caption = report.caption[:TITLE_MAX] + ("…" if len(report.caption) > TITLE_MAX else "")
    machine = (
        f'<link rel="alternate" type="application/ld+json" href="desk/reports/{report.token}.jsonld">\n'
        f'<link rel="alternate" type="application/json" href="desk/reports/{report.token}.json">'
    )
    head = f"<span>report of a check, {absolute_time(report.checked_at)}</span>"
    return _page(f"Report: {caption}", "".join(parts), home="./", head=head, links=machine)


def told_page(says: str, *, home: str) -> str:
    """Draw a page of one sentence and the way out; `home` leads to the desk from where it stands."""
    way = f'<p><a href="{escape(home)}">To the desk</a></p>'
    return _page("Report", f"<h1>Report</h1>{render.paragraph(says)}{way}", home=home)


def _page(title: str, body: str, *, home: str, head: str = "", links: str = "") -> str:
    written = Template((ASSETS / "report.html").read_text(encoding="utf-8"))
    style = page_colours() + "".join((ASSETS / name).read_text(encoding="utf-8") for name in STYLES)
    return written.substitute(
        title=escape(title), style=style, home=escape(home), head=head, links=links, body=body
    )


def _top(report: Report) -> str:
    size = f"{report.picture.width:,} by {report.picture.height:,} px, {report.picture.format}"
    return (
        '<h1 class="unseen">Report of a check</h1><div class="sheet-top">'
        f'<figure class="sheet-picture"><img src="desk/reports/{report.token}/picture" '
        f'alt="the picture that was checked"><figcaption>{escape(size)}</figcaption></figure>'
        f'<div class="sheet-said"><h2>The claim</h2>'
        f'<blockquote class="sheet-caption" dir="auto">{escape(report.caption)}</blockquote>'
        f"{_claims(report)}<h2>The student's answer</h2>{_answer(report)}"
        f'<h2>What people ruled</h2><div class="sheet-ruled">{_standing(report)}</div></div></div>'
    )


def _claims(report: Report) -> str:
    claimed = [part for part in (report.claimed_date, report.claimed_place) if part]
    said = [f'<span dir="auto">{escape(part)}</span>' for part in claimed]
    claims = f"claimed {' · '.join(said)}" if said else "no date or place claimed"
    found = f"<br>found at {_address(report.url)}" if report.url else ""
    return f'<p class="sheet-claims">{claims}{found}</p>'


def _address(url: str) -> str:
    if not is_web_address(url):
        return escape(url)
    return f'<a href="{escape(url)}" rel="noopener noreferrer nofollow">{escape(url)}</a>'


def _answer(report: Report) -> str:
    said = Answer.UNSURE if report.cannot_tell else report.verdict
    of = f" of {escape(render.verdict_words(report.verdict))}" if report.cannot_tell else ""
    warning = str(report.found.get("warning") or "")
    untouched = render.notice(UNTOUCHED, "warning") if report.found.get("untouched") else ""
    notes = "".join(render.notice(str(note)) for note in report.found.get("notes") or ())
    return (
        f'<div class="answer">{notes}{render.notice(warning, "warning") if warning else ""}{untouched}'
        f'<div class="answer-head">{render.verdict_chip(said, large=True)}'
        f'<span class="answer-sure">probability{of} <b>{report.probability:.2f}</b></span></div>'
        f"{render.probability_bar(said, report.probability)}"
        f"{render.paragraph(str(report.found.get('words') or ''), 'answer-words')}"
        f"{rationale_part(report.rationale)}"
        '<p class="answer-student">A model wrote this. It is a hint where to look, not proof.</p></div>'
    )


def _standing(report: Report) -> str:
    standing = report.standing
    if standing is None:
        return render.paragraph(
            "Nothing yet: it was not sent to the desk, so nobody was asked to rule on it."
        )
    sent = f"Sent to the desk on {day(standing.sent_at)}" if standing.sent_at else "Sent to the desk"
    if standing.waits:
        return render.paragraph(f"{sent}; it {WAITS}.")
    student = render.verdict_chip(Answer.UNSURE if report.cannot_tell else report.verdict)
    beside = f'<p class="sheet-beside">the student had answered {student}</p>'
    if standing.settled_as is not None:
        chip = render.verdict_chip(standing.settled_as, large=True)
        return f"<p>{chip}</p>{render.paragraph(_by_whom(standing))}{beside}"
    return render.paragraph(f"{sent}. {_undecided(standing)}") + beside


def _by_whom(standing: Standing) -> str:
    who = render.counted(standing.people, "person", "people")
    when = f", last on {day(standing.ruled_at)}" if standing.ruled_at else ""
    return f"Settled by {who} of this desk{when}."


def _undecided(standing: Standing) -> str:
    if not standing.people:
        return "No ruling stands."
    who = render.counted(standing.people, "person", "people")
    when = f" on {day(standing.ruled_at)}" if standing.ruled_at else ""
    said = "cannot tell" if standing.human == Answer.UNSURE.value else "differ"
    return f"People of this desk {said}: {who} ruled, last{when}."


def _grounds(report: Report) -> str:
    """Draw what the answer rests on, as far as it was looked at."""
    found = report.found
    words, parts, relies = (found.get(name) or {} for name in ("word_grounds", "part_grounds", "reliance"))
    drawn = (
        reliance_part(relies)
        + caption_part(report.caption, words)
        + picture_part(f"desk/reports/{report.token}/picture", parts)
    )
    return f'<div class="sheet-grounds">{drawn}</div>' if drawn else ""


def _carried(report: Report) -> str:
    found = report.provenance
    if found is None:
        return ""
    mark = (lambda sha256: thumbnail_url(sha256) or "") if report.is_of_desk else None
    return provenance_panel(found, thumbnail_url=mark, is_public=not report.is_of_desk)


def _made(report: Report, address: str) -> str:
    """Draw what it takes to do it again, and to know the picture again."""
    found = report.found
    rows = [
        ("checked", absolute_time(report.checked_at)),
        ("student", escape(report.student)),
        ("learned from", escape(str(found.get("domain") or ""))),
        ("snapshot of its training cases", _digest(found.get("snapshot"))),
        ("SHA-256 of the picture", _digest(report.picture.sha256)),
        ("size of its file", f"{report.picture.byte_size:,} bytes"),
        ("this report", _address(address)),
    ]
    body = "".join(f'<tr><th scope="row">{what}</th><td>{said}</td></tr>' for what, said in rows if said)
    return _section("How it was made", f'<table class="sheet-facts"><tbody>{body}</tbody></table>')


def _digest(text: object) -> str:
    return f"<code>{escape(str(text))}</code>" if text else ""


def _unsaid(report: Report) -> str:
    rows = "".join(f"<li>{escape(one)}</li>" for one in _gaps(report))
    return _section("What this report does not say", f'<ul class="sheet-unsaid">{rows}</ul>')


def _gaps(report: Report) -> Iterator[str]:
    yield (
        "Whether the caption is true. The student was asked whether picture and caption belong together; "
        "its answer is a hint, and its rationale is what a model writes, not what somebody saw."
    )
    yield "Whether the picture was edited or generated, or what whoever published it meant."
    if report.found.get("domain"):
        yield "How sure the answer would be on pictures unlike those the student learned from."
    if not (report.claimed_date and report.claimed_place):
        missing = " or ".join(
            name
            for name, given in (("date", report.claimed_date), ("place", report.claimed_place))
            if not given
        )
        yield f"Whether the {missing} fits: none was given with the caption."
    yield from _gaps_of_evidence(report)


def _gaps_of_evidence(report: Report) -> Iterator[str]:
    provenance = report.provenance
    if provenance is None:
        yield "What the picture's file carries, and where it was seen before: that was not looked at."
    elif provenance.seen is not None:
        yield "Where else the picture stands on the web: it was held against this desk's own pictures only."
    if report.has_gps:
        yield "Where the file says it was taken: it carries a GPS position, which a report never shows."
    if not report.found.get("reliance"):
        yield "Whether the answer depends on the picture at all: that was not measured."
    if report.standing is None or report.standing.waits:
        yield "What people say of it: nobody at this desk has ruled on it yet."


def _deeds(report: Report) -> str:
    at = f"desk/reports/{report.token}"
    until = (
        f"It ends on {day(report.expires_at)}." if report.expires_at else "It is kept until it is deleted."
    )
    terms = "".join(f'<option value="{days}">{escape(TERMS[days])}</option>' for days in DAYS)
    chosen = " selected" if report.expires_at is None else ""
    send = (
        f'<form method="post" action="{at}/send"><button type="submit">Send to the desk</button>'
        "<span>its people are asked to rule on it</span></form>"
    )
    return (
        '<section class="sheet-deeds"><h2>Yours to change</h2>'
        f"{send if report.standing is None else ''}"
        f'<form method="post" action="{at}/expire"><label for="term">keep this report</label>'
        f'<select id="term" name="term">{terms}<option value="{NEVER}"{chosen}>until it is deleted</option>'
        f'</select><button type="submit">Save</button><span>{escape(until)}</span></form>'
        f'<details><summary>Delete this report</summary><form method="post" action="{at}/delete">'
        "<p>Whoever has the link finds nothing any more, and the picture goes too where nothing else on the "
        'desk has it. This cannot be undone.</p><button type="submit">Delete for good</button></form>'
        "</details></section>"
    )


def _foot(report: Report, *, asks_to_sign_in: bool) -> str:
    at = f"desk/reports/{report.token}"
    again = f"%3Fcheck%3D{report.token}"
    way = f'<li><a href="login?then={again}">Sign in</a> to change it</li>' if asks_to_sign_in else ""
    return (
        '<footer class="sheet-foot"><ul>'
        f'<li><a href="{at}.jsonld">ClaimReview (JSON-LD)</a></li>'
        f'<li><a href="{at}.json">All of it as JSON</a></li>{way}</ul></footer>'
    )


def _section(title: str, inner: str) -> str:
    return f'<section class="sheet-part"><h2>{escape(title)}</h2>{inner}</section>'
