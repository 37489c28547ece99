"""What those say who are asked the same, beside the served student."""

from dataclasses import dataclass

from db.vocabulary import Answer, Element, Verdict


class AnswererError(Exception):
    """Raised by who cannot answer; the message is one sentence for whoever asked."""


@dataclass(frozen=True)
class Said:
    """A student's answer as far as it has come; `seconds` are those to the verdict, loading left out.

    `note` is what to know of the probability.
    """

    verdict: Verdict
    probability: float
    cannot_tell: bool = False
    rationale: str = ""
    seconds: float | None = None
    note: str = ""


@dataclass(frozen=True)
class TeacherSaid:
    """A live teacher's answer; `confidence`, 0 to 1, is what it says of itself, and nobody calibrated it.

    `elements` are those that do not fit, None where it named none in a form that can be read. `seconds` are
    the whole answer's; `cost` is in USD, None where settings.toml has no prices.
    """

    verdict: Answer
    confidence: float | None
    rationale: str
    elements: tuple[Element, ...] | None
    seconds: float
    cost: float | None = None
