"""A ruling as it comes from a browser, checked field by field before anything is done with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from db.vocabulary import Answer, Cause, Element

RATIONALE_MAX: Final = 4_000  # characters
NOTE_MAX: Final = 2_000
DAY: Final = 86_400.0  # seconds; a browser's clock is not to be trusted beyond


class SubmissionError(ValueError):
    """Raised for a ruling whose fields make no sense; a page of this version sends none."""


@dataclass(frozen=True)
class Said:
    """A ruling as it comes from the page, checked."""

    submission_id: str
    case_id: int
    verdict: Answer
    best: str | None = None  # the token of the opinion with the best rationale
    rationale: str | None = None
    elements: tuple[Element, ...] = ()
    note: str = ""
    flagged: bool = False
    seconds: float = 0.0
    corrects: int | None = None  # the ruling that this one replaces
    cause: Cause | None = None  # what split people, where an adjudicator settles


def submission(payload: Mapping[str, Any]) -> Said:
    """Check a ruling that came from a browser; raises SubmissionError with what is wrong."""
    try:
        return Said(
            submission_id=text(payload, "submission_id", 64),
            case_id=number(payload, "case_id"),
            verdict=Answer(payload["verdict"]),
            best=payload.get("best") and text(payload, "best", 16),
            rationale=payload.get("rationale") and text(payload, "rationale", RATIONALE_MAX),
            elements=tuple(Element(one) for one in payload.get("elements") or ()),
            note=text(payload, "note", NOTE_MAX) if payload.get("note") else "",
            flagged=payload.get("flagged") is True,
            seconds=_seconds(payload),
            corrects=None if payload.get("corrects") is None else number(payload, "corrects"),
            cause=Cause(payload["cause"]) if payload.get("cause") else None,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SubmissionError(str(error)) from error


def text(payload: Mapping[str, Any], field: str, longest: int) -> str:
    """Read a text; raises SubmissionError where there is none, or one that is too long."""
    value = payload.get(field)
    if not isinstance(value, str) or len(value) > longest:
        raise SubmissionError(f"{field} must be a text of at most {longest} characters")
    return value


def number(payload: Mapping[str, Any], field: str) -> int:
    """Read a whole number; raises SubmissionError where there is none."""
    value = payload.get(field)
    if isinstance(value, bool) or not isinstance(value, int):
        raise SubmissionError(f"{field} must be a whole number")
    return value


def held(payload: Mapping[str, Any]) -> list[int]:
    """Read which cases the page has already; raises SubmissionError where they are no numbers."""
    values = payload.get("held") or []
    if not isinstance(values, list) or not all(type(one) is int for one in values):
        raise SubmissionError("held must be a list of whole numbers")
    return values


def _seconds(payload: Mapping[str, Any]) -> float:
    seconds = float(payload.get("seconds") or 0.0)
    return min(max(seconds, 0.0), DAY) if isfinite(seconds) else 0.0
