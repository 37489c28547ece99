"""What programs are told: the answers of the API as plain objects whose keys stay as they are.

A key may be added, and none is taken away or given another meaning; docs/api.md lists them, and a test
holds the two together.
"""

from typing import Any, TypedDict

from db.vocabulary import Verdict
from ooc_app.checks.answering import Answered
from ooc_app.provenance.report import Provenance
from ooc_app.provenance.seen import Seen, Use


class KnownUse(TypedDict):
    """A caption under which a known picture was found, or asked about."""

    caption: str
    date: str | None
    place: str | None
    source: str | None
    url: str | None
    case_id: int | None
    verdict: str | None
    by: str
    since: str


class KnownImage(TypedDict):
    """A picture of the desk that is, or may be, the one in question; its uses, the oldest first."""

    sha256: str
    words: str
    distance: int
    is_same: bool
    is_this_file: bool
    uses: list[KnownUse]


class CredentialsFound(TypedDict):
    """What became of looking for Content Credentials."""

    state: str
    means: str
    is_generated: bool


class ProvenanceFound(TypedDict):
    """What the picture carries and where it was seen; `seen` is null for a visitor of a demo page."""

    seen: list[KnownImage] | None
    compared: int
    not_compared: int
    contradictions: list[str]
    remarks: list[str]
    credentials: CredentialsFound


class RelianceFound(TypedDict):
    """Whether the verdict depends on the picture; `curve` has a noise step and a probability in each row."""

    verdict: str
    probability: float
    curve: list[list[float]]
    blank: float
    number: float
    depends: bool | None
    sentence: str
    forwards: int


class CheckedImage(TypedDict):
    """The student's answer to one check, and what stands beside it."""

    verdict: str
    cannot_tell: bool
    probability: float
    words: str
    rationale: str
    warning: str | None
    student: str
    domain: str | None
    snapshot: str | None
    notes: list[str]
    reliance: RelianceFound | None
    provenance: ProvenanceFound | None
    report: str | None


def checked_image(given: Answered) -> CheckedImage:
    """Write a finished check as programs get it."""
    answer = given.answer
    return {
        "verdict": Verdict(answer.verdict).value,
        "cannot_tell": answer.cannot_tell,
        "probability": answer.probability,
        "words": answer.words,
        "rationale": given.rationale,
        "warning": answer.warning,
        "student": answer.student,
        "domain": answer.domain,
        "snapshot": answer.snapshot,
        "notes": list(given.image.notes),
        "reliance": None if given.reliance is None else _reliance(given.reliance),
        "provenance": None if given.provenance is None else provenance_found(given.provenance),
        "report": None if given.token is None else f"?check={given.token}",
    }


def provenance_found(found: Provenance) -> ProvenanceFound:
    """Write the part of a provenance report that a program decides by; no GPS position is in it."""
    return {
        "seen": None if found.seen is None else [known_image(one) for one in found.seen],
        "compared": found.compared,
        "not_compared": found.not_compared,
        "contradictions": [remark.sentence for remark in found.remarks if remark.is_contradiction],
        "remarks": [remark.sentence for remark in found.remarks if not remark.is_contradiction],
        "credentials": {
            "state": found.credentials.state.value,
            "means": found.credentials.means,
            "is_generated": found.credentials.is_generated,
        },
    }


def known_image(one: Seen) -> KnownImage:
    """Write a known picture with its uses, in the order they have."""
    return {
        "sha256": one.near.sha256,
        "words": one.words,
        "distance": one.near.distance,
        "is_same": one.is_this_file or one.near.is_same,
        "is_this_file": one.is_this_file,
        "uses": [_use(use) for use in one.uses],
    }


def _use(use: Use) -> KnownUse:
    return {
        "caption": use.caption,
        "date": use.claimed_date,
        "place": use.claimed_place,
        "source": use.source,
        "url": use.url,
        "case_id": use.case_id,
        "verdict": use.verdict,
        "by": use.by,
        "since": use.since.isoformat(),
    }


def _reliance(found: dict[str, Any]) -> RelianceFound:
    return {
        "verdict": Verdict(found["verdict"]).value,
        "probability": found["probability"],
        "curve": [[step, probability] for step, probability in found["curve"]],
        "blank": found["blank"],
        "number": found["number"],
        "depends": found["depends"],
        "sentence": found["sentence"],
        "forwards": found["forwards"],
    }
