"""Show a case blind: opinions under letters drawn for this case and this annotator, no teacher's name.

Nothing given out before the ruling tells teachers apart: an opinion's id would (teachers are asked
in the same order each time), so it is replaced by a token. After the ruling, `revealed` says who
had said what.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from db.models import Ruling
from db.views import CaseView, OpinionView
from db.vocabulary import TeacherKind
from ooc_app import render

LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def opinion_token(case_id: int, annotator_id: int, opinion_id: int) -> str:
    """Name an opinion for one annotator without telling which teacher gave it."""
    text = f"{case_id}:{annotator_id}:{opinion_id}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def blind_order(case: CaseView, annotator_id: int) -> list[tuple[str, str, OpinionView]]:
    """Give the opinions of a case their letters and tokens: the same ones each time it is opened."""
    drawn = sorted(
        (opinion_token(case.id, annotator_id, opinion.id), opinion.id) for opinion in case.opinions
    )
    by_id = {opinion.id: opinion for opinion in case.opinions}
    return [(LETTERS[n % 26], token, by_id[opinion_id]) for n, (token, opinion_id) in enumerate(drawn)]


def shown_case(case: CaseView, annotator_id: int) -> dict[str, Any]:
    """A case as the page needs it; nothing in it names a teacher."""
    claimed = [f"claimed {case.date}" if case.date else "", case.place or "", case.source or ""]
    return {
        "id": case.id,
        "picture": picture_url(case.image_sha256),
        "caption": case.caption,
        "meta": " · ".join(part for part in claimed if part),
        "evidence": [
            {
                "title": found.title,
                "url": found.url,
                "text": found.text or "",
                "about": " · ".join(part for part in (found.date, f"found by the {found.kind}") if part),
            }
            for found in case.evidence
        ],
        "cards": [
            {
                "letter": letter,
                "token": token,
                "verdict": opinion.verdict,
                "confidence": opinion.confidence,
                "rationale": opinion.rationale,
                "scripted": opinion.teacher_kind == TeacherKind.SCRIPTED,
            }
            for letter, token, opinion in blind_order(case, annotator_id)
        ],
        "answer": None,
    }


def picture_url(sha256: str | None) -> str | None:
    """Where the page finds the shown copy of a picture, relative to itself."""
    return f"desk/images/{sha256}" if sha256 else None


def given_answer(cards: Sequence[Mapping[str, Any]], annotator_id: int, ruling: Ruling) -> dict[str, Any]:
    """What was said in a ruling, in the form the page keeps a draft in."""
    token = ruling.opinion_id and opinion_token(ruling.case_id, annotator_id, ruling.opinion_id)
    return {
        "best": next((card["letter"] for card in cards if card["token"] == token), None),
        "rationale": ruling.rationale,
        "elements": list(ruling.elements),
        "note": ruling.note,
        "flagged": ruling.flagged,
    }


def revealed(case: CaseView, annotator_id: int, ruling: Ruling) -> dict[str, Any]:
    """A ruling that was made, with who had said what."""
    order = blind_order(case, annotator_id)
    right = [
        f"{letter} ({opinion.teacher})" for letter, _, opinion in order if opinion.verdict == ruling.verdict
    ]
    return {
        "id": ruling.id,
        "picture": picture_url(case.image_sha256),
        "verdict": ruling.verdict,
        "said": _agreed_with(right, len(order)),
        "title": case.caption
        + "".join(
            f"\n{letter}: {opinion.teacher}, {render.verdict_words(opinion.verdict)}"
            for letter, _, opinion in order
        ),
    }


def _agreed_with(right: Sequence[str], asked: int) -> str:
    if not right:
        return "no teacher said so"
    if len(right) == asked:
        return "every teacher said so"
    return f"so said {' and '.join([', '.join(right[:-1]), right[-1]] if len(right) > 1 else right)}"
