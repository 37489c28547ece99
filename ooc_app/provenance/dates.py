"""Read a date as people write it, as the days it may mean: `June 1973` is the thirty days of that June.

Only what names a year is read; `12 March` alone could be any, and a guess would make contradictions up.
Of `03/04/2021` both readings count, so the days go from one to the other.
"""

import re
from calendar import monthrange
from datetime import date
from typing import Final, NamedTuple

TEXT_MAX: Final = 200  # characters looked at
MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
)  # fmt: skip
_MONTHS: Final = {
    name[:length].lower(): number
    for number, name in enumerate(MONTHS, 1)
    for length in range(3, len(name) + 1)
} | {"sept": 9}
_MONTH: Final = "(?P<month>[a-z]{3,9})\\.?"
_DAY: Final = "(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?"
_YEAR: Final = "(?P<year>1[89][0-9]{2}|20[0-9]{2})"
_SHAPES: Final = tuple(
    re.compile(rf"(?<![0-9]){shape}(?![0-9])")
    for shape in (
        f"{_YEAR}[-/.](?P<number>[0-9]{{1,2}})[-/.]{_DAY}",
        f"{_DAY}\\s+(?:of\\s+)?{_MONTH},?\\s+{_YEAR}",
        f"{_MONTH}\\s+{_DAY},?\\s+{_YEAR}",
        f"(?P<one>[0-9]{{1,2}})[-/.](?P<other>[0-9]{{1,2}})[-/.]{_YEAR}",
        f"{_MONTH},?\\s+{_YEAR}",
        f"{_YEAR}[-/.](?P<number>[0-9]{{1,2}})",
        _YEAR,
    )
)


class Days(NamedTuple):
    """The days a date may mean, both ends included."""

    first: date
    last: date


def read_days(text: str | None) -> Days | None:
    """Return the days that a text names, None where it names none or several that lie apart."""
    lowered = (text or "")[:TEXT_MAX].lower()
    for shape in _SHAPES:
        found = {days for match in shape.finditer(lowered) if (days := _days(match.groupdict()))}
        if found:
            return found.pop() if len(found) == 1 else None
    return None


def day_in_words(day: date) -> str:
    """Write a day: 30 July 2011."""
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def _days(parts: dict[str, str | None]) -> Days | None:
    year = int(parts["year"] or 0)
    try:
        if one := parts.get("one"):
            return _either(year, int(one), int(parts["other"] or 0))
        named, number = parts.get("month"), parts.get("number")
        if not named and not number:
            return Days(date(year, 1, 1), date(year, 12, 31))
        month = _MONTHS[named] if named else int(number or 0)
        if day := parts.get("day"):
            return Days(date(year, month, int(day)), date(year, month, int(day)))
        return Days(date(year, month, 1), date(year, month, monthrange(year, month)[1]))
    except (KeyError, ValueError):  # no month of ours, or no such day
        return None


def _either(year: int, one: int, other: int) -> Days | None:
    """Read two numbers as day and month, and the other way round."""
    readings = sorted(
        date(year, month, day)
        for day, month in ((one, other), (other, one))
        if 1 <= month <= 12 and day <= 31
    )
    return Days(readings[0], readings[-1]) if readings else None
