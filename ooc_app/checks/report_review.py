"""A report as schema.org ClaimReview with its MediaReview, for other newsrooms' programs.

A settled check is rated by the people of the desk. Until then it is rated by what the student answered,
which its words say and its author is. Where the student cannot tell, or people cannot, there is no rating:
a number in the middle would read as a finding.
"""

from typing import Any, Final

from db.vocabulary import HumanAnswer, Verdict
from ooc_app.checks.report_data import Report
from ooc_app.checks.untouched import UNTOUCHED
from ooc_app.export.claimreview import PUBLISHER, Reviewed, organization, review
from ooc_app.provenance.links import is_web_address
from training.prompts import VERDICT_TEXT

HINT: Final = "Nobody has ruled on it: this is a hint, not a finding."


def linked_data(report: Report, address: str) -> dict[str, Any]:
    """Write the review that a report amounts to; `address` is its permanent link."""
    verdict, words, body = _rating(report)
    standing = report.standing
    is_human = standing is not None and not standing.waits and standing.human != HumanAnswer.NONE
    student = {
        "@type": "SoftwareApplication",
        "name": report.student,
        "softwareVersion": report.found.get("snapshot"),
        "applicationCategory": "machine learning model",
    }
    author: Any = organization(PUBLISHER)
    if not is_human:
        author = [author, {key: value for key, value in student.items() if value}]
    at = standing.ruled_at if is_human and standing and standing.ruled_at else report.checked_at
    return review(
        Reviewed(
            identifier=report.token,
            caption=report.caption,
            verdict=verdict,
            author=author,
            words=words,
            body=body,
            published=at.date().isoformat(),
            address=address,
            appears_at=report.url if report.url and is_web_address(report.url) else None,
            date=report.claimed_date,
            place=report.claimed_place,
            image_sha256=report.picture.sha256,
        )
    )


def _rating(report: Report) -> tuple[Verdict | None, str | None, str]:
    """Return what to rate it by, the rating's words, and the text of the review."""
    standing = report.standing
    answered = f"{VERDICT_TEXT[report.verdict]}, with a probability of {report.probability:.2f}"
    model = f"A model, the student {report.student}, answered: {answered}."
    if standing is not None and not standing.waits:
        if standing.settled_as is not None:
            said = VERDICT_TEXT[standing.settled_as]
            return standing.settled_as, said, f"People at {PUBLISHER} ruled: {said}. {model}"
        if standing.human != HumanAnswer.NONE:
            return None, None, f"People at {PUBLISHER} looked at it and reached no verdict. {model}"
    warning = report.found.get("warning")
    untouched = UNTOUCHED if report.found.get("untouched") else None
    said = " ".join(part for part in (model, report.rationale, warning, untouched, HINT) if part)
    if report.cannot_tell:
        near = f"A model, the student {report.student}, cannot tell. {answered} is too near a coin toss."
        return None, None, f"{near} {HINT}"
    return report.verdict, f"{VERDICT_TEXT[report.verdict]}, says a model; nobody has ruled", said
