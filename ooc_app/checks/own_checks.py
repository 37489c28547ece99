"""Somebody's newest checks on the Check tab, each with where it stands and the link of its report."""

from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import Final

from db.checks import Sent, own_checks, sent
from db.models import Check
from db.vocabulary import Answer
from ooc_app import render
from ooc_app.auth import Asker, Person, now
from ooc_app.case_list import thumbnail_url
from ooc_app.checks.answering import asking_person
from ooc_app.checks.report_data import standing_words
from ooc_app.checks.report_deeds import expire
from ooc_app.checks.times import relative_time
from ooc_app.desk import Desk

SHOWN: Final = 20
CAPTION_MAX: Final = 200  # characters; the style cuts it to one line
EMPTY: Final = render.empty_state(
    "No checks of yours yet", "Check a picture: its report stands here, with a link to hand on."
)


def own_checks_asked(desk: Desk, request: Asker | None) -> str:
    """Draw the checks of whoever asks, after deleting those whose time is over; nothing on a demo page.

    Raises NotAllowedError where a desk is asked by someone it does not know.
    """
    person = asking_person(desk, request)
    if person is None:
        return ""
    expire(desk)
    return own_checks_panel(desk, person)


def own_checks_panel(desk: Desk, person: Person) -> str:
    """Draw somebody's newest checks."""
    at = now()
    with desk.sessions() as session:
        mine = own_checks(session, person.annotator_id, at, count=SHOWN)
        became = sent(session, [check.case_id for check in mine if check.case_id is not None])
    return checks_list(mine, became, at)


def checks_list(mine: Sequence[Check], became: dict[int, Sent], at: datetime) -> str:
    """Draw checks, each a link to its report; `became` says by case what people made of those sent."""
    if not mine:
        return EMPTY
    rows = "".join(_row(check, became, at) for check in mine)
    return f'<section class="own-checks"><h2>Your checks</h2><ul>{rows}</ul></section>'


def _row(check: Check, became: dict[int, Sent], at: datetime) -> str:
    standing = standing_words(became.get(check.case_id) if check.case_id is not None else None)
    said = Answer.UNSURE if check.cannot_tell else check.verdict
    of = f"probability of {render.verdict_words(check.verdict)}"
    return (
        f'<li><a href="?check={escape(check.token)}" target="_blank" rel="noopener">'
        f'<img src="{escape(thumbnail_url(check.image_sha256) or "")}" alt="" loading="lazy">'
        f'<span class="own-caption" dir="auto">{escape(check.caption[:CAPTION_MAX])}</span>'
        f'<span class="own-verdict">{render.verdict_chip(said)} <b title="{escape(of)}">'
        f'<span class="unseen">{escape(of)} </span>{check.probability:.2f}</b></span>'
        f'<span class="own-state">{escape(standing)}</span>'
        f'<span class="own-when">{relative_time(check.created_at, at)}</span></a></li>'
    )
