"""Times as people read them: how long ago on a list, the moment in UTC on a report."""

from datetime import UTC, datetime
from html import escape
from typing import Final

from ooc_app.provenance.dates import MONTHS

UNITS: Final = (("day", 86_400), ("hour", 3_600), ("minute", 60))  # seconds
DATED_AFTER: Final = 30 * 86_400  # seconds; what is longer ago is told by its date


def in_utc(at: datetime) -> str:
    """Write a moment: `22 November 2026, 14:05 UTC`."""
    utc = at.astimezone(UTC)
    return f"{day(utc)}, {utc:%H:%M} UTC"


def day(at: datetime) -> str:
    """Write the day of a moment, in UTC: `22 November 2026`."""
    utc = at.astimezone(UTC)
    return f"{utc.day} {MONTHS[utc.month - 1]} {utc.year}"


def ago(at: datetime, now: datetime) -> str:
    """Say how long ago it was: `just now`, `3 hours ago`, and past a month the day."""
    seconds = (now - at).total_seconds()
    if seconds > DATED_AFTER:
        return day(at)
    for unit, length in UNITS:
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "just now"


def relative_time(at: datetime, now: datetime) -> str:
    """Draw how long ago it was, the moment itself on hover."""
    return f'<time datetime="{at.isoformat()}" title="{escape(in_utc(at))}">{escape(ago(at, now))}</time>'


def absolute_time(at: datetime) -> str:
    """Draw a moment."""
    return f'<time datetime="{at.isoformat()}">{escape(in_utc(at))}</time>'
