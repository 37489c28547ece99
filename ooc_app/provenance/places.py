"""How far a point is from a place that somebody names, without asking anybody.

The places are those of the time zone database's `zone.tab` (public domain, in the package `tzdata`): some
four hundred cities, at least one in each country, with the countries' names from its `iso3166.tab`. That
is too few to say where a picture was taken and enough to see that it was on another continent, so far is
what lies beyond FAR_FROM_CITY of a named city, or FAR_FROM_COUNTRY of every listed city of a country.
"""

import math
import re
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

from ooc_app.provenance.dates import TEXT_MAX

FAR_FROM_POINT: Final = 50.0  # kilometres
FAR_FROM_CITY: Final = 500.0
FAR_FROM_COUNTRY: Final = 2_500.0  # India has one city listed, 2,300 km from its far corner
EARTH: Final = 6_371.0  # mean radius in kilometres
_COORDINATES: Final = re.compile(
    r"^\s*(-?[0-9]{1,2}(?:\.[0-9]+)?)\s*[,;\s]\s*(-?[0-9]{1,3}(?:\.[0-9]+)?)\s*$"
)
_OTHER_NAMES: Final = {  # as captions write them, and as iso3166.tab does
    "united kingdom": "GB", "great britain": "GB", "england": "GB", "scotland": "GB", "wales": "GB",
    "usa": "US", "u.s.": "US", "czech republic": "CZ", "russia": "RU", "south korea": "KR", "turkey": "TR",
    "north korea": "KP", "myanmar": "MM", "burma": "MM", "bosnia": "BA", "ivory coast": "CI",
}  # fmt: skip
_NOT_COUNTRIES: Final = frozenset({"GE", "JO"})  # Georgia, the U.S. state, and the forename Jordan


class Point(NamedTuple):
    """A place on earth, in degrees."""

    latitude: float
    longitude: float


class Place(NamedTuple):
    """What a text was read as."""

    name: str
    points: tuple[Point, ...]
    far: float  # kilometres from each of them that cannot be a slip


def read_place(text: str | None) -> Place | None:
    """Return the place that a text names, None where it names none of those listed.

    A city counts where it stands alone or before its own country, a country where it stands last, so that
    `Berlin (N.H.)` and `New Mexico` are not read as what they are not.
    """
    given = (text or "")[:TEXT_MAX]
    if match := _COORDINATES.match(given):
        point = Point(float(match[1]), float(match[2]))
        return Place("the coordinates given", (point,), FAR_FROM_POINT) if is_on_earth(point) else None
    parts = [words for part in re.split(r"[,;()/]", given) if (words := _words(part))]
    if not parts:
        return None
    cities, countries = _table()
    city, country = cities.get(parts[0]), countries.get(parts[-1])
    if city and (len(parts) == 1 or (country and f"({country.name})" in city.name)):
        return city
    return country


def kilometres(one: Point, other: Point) -> float:
    """Return the distance along a great circle (the haversine formula)."""
    first, second = math.radians(one.latitude), math.radians(other.latitude)
    across = math.radians(other.longitude - one.longitude)
    half = (
        math.sin((second - first) / 2) ** 2 + math.cos(first) * math.cos(second) * math.sin(across / 2) ** 2
    )
    return 2 * EARTH * math.asin(min(1.0, math.sqrt(half)))


def is_on_earth(point: Point) -> bool:
    """Whether these are degrees of latitude and longitude; 0, 0 is what a camera without a fix writes."""
    return abs(point.latitude) <= 90 and abs(point.longitude) <= 180 and point != (0.0, 0.0)


@cache
def _table() -> tuple[dict[str, Place], dict[str, Place]]:
    """Read cities and countries by their names in lower case, words apart by one space."""
    folder = files("tzdata") / "zoneinfo"
    names = dict(_rows((folder / "iso3166.tab").read_text("utf-8")))
    cities: dict[str, Place] = {}
    of_country: dict[str, list[Point]] = {}
    for code, where, zone in (row[:3] for row in _rows((folder / "zone.tab").read_text("utf-8"))):
        point = Point(*(_degrees(part) for part in re.findall("[+-][0-9]+", where)))
        of_country.setdefault(code, []).append(point)
        city = zone.rpartition("/")[2].replace("_", " ")
        cities[_words(city)] = Place(f"{city} ({names[code]})", (point,), FAR_FROM_CITY)
    written = {
        name.lower(): code for code, name in names.items() if code not in _NOT_COUNTRIES
    } | _OTHER_NAMES
    countries = {
        _words(name): Place(names[code], tuple(of_country[code]), FAR_FROM_COUNTRY)
        for name, code in written.items()
        if code in of_country
    }
    return {name: place for name, place in cities.items() if name not in countries}, countries


def _words(text: str) -> str:
    """Write a name in lower case, its words apart by one space and without marks."""
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


def _rows(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]


def _degrees(text: str) -> float:
    """Read `+DDMM`, `+DDDMM`, `+DDMMSS` or `+DDDMMSS` (ISO 6709)."""
    digits = text[1:]
    whole = len(digits) % 2 + 2
    parts = [digits[:whole], *re.findall("..", digits[whole:])]
    value = sum(int(part) / 60.0**power for power, part in enumerate(parts))
    return -value if text[0] == "-" else value
