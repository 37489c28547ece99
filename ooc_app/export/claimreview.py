"""Write settled cases as schema.org ClaimReview with its MediaReview, a JSON-LD array.

The claim is the caption; the rating 1 of 5 says that the picture does not belong to it, 5 that it
does. The MediaReview is about the picture, named by the SHA-256 of its bytes: `DecontextualizedContent`
or `OriginalMediaContent`. No text can break out of a page in which the array is embedded.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from db.views import RulingView, WholeCase
from db.vocabulary import Verdict
from ooc_app.export.json_files import write_array
from ooc_app.export.manner import Manner
from ooc_app.lessons import preferred_rationales
from training.prompts import VERDICT_TEXT

SCHEMA: Final = "https://schema.org/"
PUBLISHER: Final = "OOC Desk"  # the author where annotators are not named
RATING: Final = {Verdict.OUT_OF_CONTEXT: 1, Verdict.IN_CONTEXT: 5}
CATEGORY: Final = {
    Verdict.OUT_OF_CONTEXT: f"{SCHEMA}DecontextualizedContent",
    Verdict.IN_CONTEXT: f"{SCHEMA}OriginalMediaContent",
}


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A claim and its picture as they were found; `verdict` is None where there is none to rate it by."""

    identifier: str
    caption: str
    verdict: Verdict | None
    author: Any  # one or more schema.org nodes
    words: str | None = None  # of the rating, where they say more than the verdict
    body: str | None = None
    published: str | None = None
    address: str | None = None  # of the review
    source: str | None = None
    appears_at: str | None = None
    date: str | None = None
    place: str | None = None
    image_sha256: str | None = None


def write_claimreview(cases: Iterable[WholeCase], path: Path, manner: Manner) -> int:
    """Write one ClaimReview per settled case; those that are not settled are left out."""
    reviews = (review(_of_case(case, case.settled, manner)) for case in cases if case.settled)
    return write_array(path, reviews, in_html=True)


def review(found: Reviewed) -> dict[str, Any]:
    """Write a ClaimReview; a picture with a verdict has its MediaReview, and no verdict no rating."""
    rating = None
    if found.verdict is not None:
        rating = {
            "@type": "Rating",
            "ratingValue": RATING[found.verdict],
            "worstRating": 1,
            "bestRating": 5,
            "alternateName": found.words or VERDICT_TEXT[found.verdict],
        }
    return _said(
        {
            "@context": {"@vocab": SCHEMA},
            "@type": "ClaimReview",
            "identifier": found.identifier,
            "url": found.address,
            "claimReviewed": found.caption,
            "reviewRating": rating,
            "reviewBody": found.body,
            "author": found.author,
            "datePublished": found.published,
            "itemReviewed": _claim(found),
            "associatedMediaReview": _media_review(found),
        }
    )


def organization(name: str) -> dict[str, str]:
    """Name an organization, as an author or a source."""
    return {"@type": "Organization", "name": name}


def _of_case(case: WholeCase, verdict: Verdict, manner: Manner) -> Reviewed:
    view = case.view
    decisive = [ruling for ruling in case.rulings if ruling.verdict == verdict.value]
    published = max((ruling.created_at for ruling in decisive), default=None)
    return Reviewed(
        identifier=f"{view.dataset}/{view.external_id}",
        caption=view.caption,
        verdict=verdict,
        author=_authors(decisive, manner),
        body=next(iter(preferred_rationales(case)), None),
        published=published.date().isoformat() if published else None,
        source=view.source,
        appears_at=view.url,
        date=view.date,
        place=view.place,
        image_sha256=view.image_sha256,
    )


def _authors(decisive: list[RulingView], manner: Manner) -> list[dict[str, str]] | dict[str, str]:
    if not manner.names:
        return organization(PUBLISHER)
    names = dict.fromkeys(ruling.annotator for ruling in decisive)
    return [{"@type": "Person", "name": name} for name in names]


def _claim(found: Reviewed) -> dict[str, Any]:
    claim = {
        "@type": "Claim",
        "text": found.caption,
        "author": organization(found.source) if found.source else None,
        "appearance": {"@type": "CreativeWork", "url": found.appears_at} if found.appears_at else None,
        "temporal": found.date,
        "contentLocation": {"@type": "Place", "name": found.place} if found.place else None,
    }
    return _said(claim)


def _media_review(found: Reviewed) -> dict[str, Any] | None:
    if found.image_sha256 is None or found.verdict is None:
        return None
    picture = {"@type": "ImageObject", "sha256": found.image_sha256, "caption": found.caption}
    review = {
        "@type": "MediaReview",
        "mediaAuthenticityCategory": {"@id": CATEGORY[found.verdict]},
        "originalMediaContextDescription": found.body,
        "author": found.author,
        "itemReviewed": {"@type": "MediaReviewItem", "mediaItemAppearance": picture},
    }
    return _said(review)


def _said(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
