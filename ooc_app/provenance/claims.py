"""Hold what a caption claims, date and place, against what the picture's own metadata says.

A picture cannot have been taken after the day it is said to show, nor on another continent: those are
contradictions. One taken before that day is no contradiction, because an archive picture may stand with
a new event, so it is only remarked on. Where the metadata cannot be right itself nothing is concluded.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from ooc_app.provenance.dates import TEXT_MAX, day_in_words, read_days
from ooc_app.provenance.metadata import Metadata, Moment
from ooc_app.provenance.places import kilometres, read_place

A_DAY: Final = timedelta(days=1)  # time zones
OLD: Final = timedelta(days=30)  # taken longer than this before the claim is worth a remark


@dataclass(frozen=True, slots=True)
class Remark:
    """Something the metadata says about the claim, or against itself."""

    sentence: str
    is_contradiction: bool = False  # of what is claimed


def remarks(
    found: Metadata, *, claimed_date: str | None, claimed_place: str | None, today: date
) -> tuple[Remark, ...]:
    """Say what does not fit, contradictions first."""
    said = [*_of_clock(found, today), *_of_place(found, claimed_place)]
    if found.taken and _is_likely(found.taken, today):
        said += _of_date(found.taken.day, claimed_date, is_scan=found.is_scan)
    return tuple(sorted(said, key=lambda one: not one.is_contradiction))


def _is_likely(taken: Moment, today: date) -> bool:
    return not taken.is_clock_unset and taken.day <= today + A_DAY


def _of_date(taken: date, claimed: str | None, *, is_scan: bool) -> list[Remark]:
    days = read_days(claimed)
    if days is None:
        return []
    quoted, day = f"“{(claimed or '')[:TEXT_MAX].strip()}”", day_in_words(taken)
    if days.last < taken - A_DAY:
        sentence = f"The claimed date {quoted} lies before the day the file gives as taken, {day}"
        if is_scan:
            return [Remark(f"{sentence}; but it is a scan, and that may be the day of scanning.")]
        return [Remark(f"{sentence}.", True)]
    if days.first > taken + OLD:
        gone = _span((days.first - taken).days)
        sentence = f"The file says it was taken on {day}, {gone} before the claimed date {quoted}."
        return [Remark(f"{sentence} That alone is no contradiction: see whether the caption calls it new.")]
    return []


def _of_place(found: Metadata, claimed: str | None) -> list[Remark]:
    place = read_place(claimed)
    if place is None:
        return []
    quoted = f"“{(claimed or '')[:TEXT_MAX].strip()}”"
    said = []
    if found.gps is not None:
        away = min(kilometres(found.gps, point) for point in place.points)
        if away > place.far:
            sentence = (
                f"The file's GPS lies {away:,.0f} km from the claimed place {quoted}, read as {place.name}."
            )
            said.append(Remark(sentence, True))
    named = read_place(found.place)
    if named is not None and named.name != place.name:
        away = min(kilometres(one, other) for one in named.points for other in place.points)
        if away > max(named.far, place.far):
            sentence = (
                f"The file names the place {named.name}, {away:,.0f} km from the claimed place {quoted}"
            )
            said.append(Remark(f"{sentence}, read as {place.name}.", True))
    return said


def _of_clock(found: Metadata, today: date) -> list[Remark]:
    taken = found.taken
    if taken is None:
        return []
    day = day_in_words(taken.day)
    if taken.day > today + A_DAY:
        return [Remark(f"The file says it was taken on {day}, which is yet to come: its clock is wrong.")]
    if taken.is_clock_unset:
        return [
            Remark(f"The file gives {day} as taken, the day on which unset clocks begin: do not rely on it.")
        ]
    if found.gps_day and abs(found.gps_day - taken.day) > A_DAY:
        sentence = f"The GPS gives the day {day_in_words(found.gps_day)}, the camera's clock {day}"
        return [Remark(f"{sentence}: one of the two is wrong.")]
    if found.changed and found.changed.day < taken.day - A_DAY:
        sentence = (
            f"The file says it was changed on {day_in_words(found.changed.day)}, before it was taken, {day}"
        )
        return [Remark(f"{sentence}: a clock was wrong or the metadata was written by hand.")]
    return []


def _span(days: int) -> str:
    if days >= 730:
        return f"{days // 365} years"
    return f"{days // 30} months" if days >= 60 else f"{days} days"
