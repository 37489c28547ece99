"""Write settled cases as schema.org ClaimReview with its MediaReview, a JSON-LD array.

The claim is the caption; the rating 1 of 5 says that the picture does not belong to it, 5 that it
does. The MediaReview is about the picture, named by the SHA-256 of its bytes: `DecontextualizedContent`
or `OriginalMediaContent`. No text can break out of a page in which the array is embedded.
"""

from collections.abc import Iterable
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


def write_claimreview(cases: Iterable[WholeCase], path: Path, manner: Manner) -> int:
    """Write one ClaimReview per settled case; those that are not settled are left out."""
    reviews = (_review(case, case.settled, manner) for case in cases if case.settled)
    return write_array(path, reviews, in_html=True)


def _review(case: WholeCase, verdict: Verdict, manner: Manner) -> dict[str, Any]:
    view = case.view
    decisive = [ruling for ruling in case.rulings if ruling.verdict == verdict.value]
    author = _authors(decisive, manner)
    published = max((ruling.created_at for ruling in decisive), default=None)
    review = {
        "@context": {"@vocab": SCHEMA},
        "@type": "ClaimReview",
        "identifier": f"{view.dataset}/{view.external_id}",
        "claimReviewed": view.caption,
        "reviewRating": {
            "@type": "Rating",
            "ratingValue": RATING[verdict],
            "worstRating": 1,
            "bestRating": 5,
            "alternateName": VERDICT_TEXT[verdict],
        },
        "reviewBody": next(iter(preferred_rationales(case)), None),
        "author": author,
        "datePublished": published.date().isoformat() if published else None,
        "itemReviewed": _claim(case),
        "associatedMediaReview": _media_review(case, verdict, author),
    }
    return _said(review)


def _authors(decisive: list[RulingView], manner: Manner) -> list[dict[str, str]] | dict[str, str]:
    if not manner.names:
        return {"@type": "Organization", "name": PUBLISHER}
    names = dict.fromkeys(ruling.annotator for ruling in decisive)
    return [{"@type": "Person", "name": name} for name in names]


def _claim(case: WholeCase) -> dict[str, Any]:
    view = case.view
    claim = {
        "@type": "Claim",
        "text": view.caption,
        "author": {"@type": "Organization", "name": view.source} if view.source else None,
        "appearance": {"@type": "CreativeWork", "url": view.url} if view.url else None,
        "temporal": view.date,
        "contentLocation": {"@type": "Place", "name": view.place} if view.place else None,
    }
    return _said(claim)


def _media_review(case: WholeCase, verdict: Verdict, author: Any) -> dict[str, Any] | None:
    view = case.view
    if view.image_sha256 is None:
        return None
    picture = {"@type": "ImageObject", "sha256": view.image_sha256, "caption": view.caption}
    review = {
        "@type": "MediaReview",
        "mediaAuthenticityCategory": {"@id": CATEGORY[verdict]},
        "originalMediaContextDescription": next(iter(preferred_rationales(case)), None),
        "author": author,
        "itemReviewed": {"@type": "MediaReviewItem", "mediaItemAppearance": picture},
    }
    return _said(review)


def _said(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
