"""Check the fields of a row, whatever format it came in.

Each function returns what the field says, None where it is missing or empty, or raises BadCaseError
with what is wrong, as half a sentence that names the field.
"""

from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import Any, Final, TypeVar

from db.cases import NewEvidence, NewOpinion
from db.vocabulary import Answer, Element, EvidenceKind
from ooc_app.intake.entries import BadCaseError

Row = Mapping[str, Any]
Word = TypeVar("Word", bound=StrEnum)

EXACT_MAX: Final = 2**63  # a larger number may have come rounded out of JSON
SHOWN: Final = 80  # characters of a value that a reason quotes


def text(row: Row, key: str) -> str | None:
    """Read a text without the blanks around it; whole numbers are texts too."""
    value = row.get(key)
    if value.__class__ is not str:
        if value is None:
            return None
        value = number_text(value, key)
    value = value.strip()
    if not value.isascii():
        try:
            value.encode()  # fails where bytes that are no UTF-8 came as surrogates
        except UnicodeEncodeError:
            raise BadCaseError(f"`{key}` is not valid UTF-8") from None
    if "\0" in value:
        raise BadCaseError(f"`{key}` has a NUL character in it")
    return value or None


def number_text(value: object, key: str) -> str:
    """Write a number as a text."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadCaseError(f"`{key}` is not a text")
    if not -EXACT_MAX < value < EXACT_MAX:  # neither for NaN
        raise BadCaseError(f"`{key}` is a number too large to be kept exactly: write it as a text")
    return str(value)


def required(row: Row, key: str) -> str:
    """Read a text that must be there."""
    value = text(row, key)
    if value is None:
        raise BadCaseError(f"`{key}` is missing or empty")
    return value


def word(row: Row, key: str, words: type[Word]) -> Word | None:
    """Read one of the desk's words."""
    by_value: dict[str, Word] = _by_value(words)
    value = row.get(key)
    if value.__class__ is str and value in by_value:
        return by_value[value]
    value = text(row, key)
    if value is None:
        return None
    if value not in by_value:
        raise BadCaseError(f"`{key}` is {value[:SHOWN]!r}, not one of {', '.join(by_value)}")
    return by_value[value]


def confidence(row: Row) -> float | None:
    """Read a number from 0 to 1."""
    value = row.get("confidence")
    if value is None or (value.__class__ is float and 0 <= value <= 1):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise BadCaseError(f"`confidence` is {shown(value)!r}, not a number from 0 to 1")
    return float(value)


def elements(row: Row) -> tuple[Element, ...] | None:
    """Read which parts of the caption do not fit."""
    values = row.get("elements")
    if values is None:
        return None
    if not isinstance(values, list):
        raise BadCaseError("`elements` is not a list")
    found = [word({"elements": value}, "elements", Element) for value in values]
    return tuple(dict.fromkeys(element for element in found if element is not None))


def objects(row: Row, key: str) -> list[dict[str, Any]]:
    """Read a list of objects, empty where it is missing."""
    values = row.get(key)
    if values is None:
        return []
    if not isinstance(values, list) or {value.__class__ for value in values} - {dict}:
        raise BadCaseError(f"`{key}` is not a list of objects")
    return values


def evidence(row: Row) -> tuple[NewEvidence, ...]:
    """Read the pieces of evidence."""
    return tuple(_piece(piece) for piece in objects(row, "evidence"))


def opinions(row: Row) -> tuple[NewOpinion, ...]:
    """Read the opinions, one of each teacher."""
    found = tuple([opinion(one) for one in objects(row, "opinions")])
    if len({said.teacher for said in found}) < len(found):
        raise BadCaseError("one teacher has two opinions on it")
    return found


def opinion(row: Row) -> NewOpinion:
    """Read one opinion."""
    teacher = text(row, "teacher")
    if teacher is None:
        raise BadCaseError("an opinion has no `teacher`")
    verdict = word(row, "verdict", Answer)
    if verdict is None:
        raise BadCaseError(f"the opinion of {teacher[:SHOWN]!r} has no `verdict`")
    return NewOpinion(teacher, verdict, text(row, "rationale") or "", confidence(row), elements(row))


def shown(value: object) -> str:
    """Write a value of any kind short enough for a reason; a number may have more digits than fit."""
    if isinstance(value, int) and not -EXACT_MAX < value < EXACT_MAX:
        return "a number of more than 18 digits"
    return str(value)[:SHOWN]


@cache
def _by_value(words: type[Word]) -> dict[str, Word]:
    return {word.value: word for word in words}


def _piece(row: dict[str, Any]) -> NewEvidence:
    kind = word(row, "kind", EvidenceKind)
    if kind is None:
        raise BadCaseError("a piece of evidence has no `kind`")
    return NewEvidence(kind, text(row, "title"), text(row, "url"), text(row, "date"), text(row, "text"))
