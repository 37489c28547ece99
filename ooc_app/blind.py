"""Show a case blind: opinions under letters drawn for this case and this annotator, no teacher's name.

Nothing given out before the ruling tells teachers apart: an opinion's id would (teachers are asked
in the same order each time), so it is replaced by a token. After the ruling, `revealed` says who had
said what, and how colleagues ruled. Split rulings are shown to an adjudicator likewise, without names.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from db.models import Ruling
from db.views import CaseView, GivenAnswer, OpinionView, RulingView
from db.vocabulary import TeacherKind
from ooc_app.contradictions import contradictions

LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def opinion_token(case_id: int, annotator_id: int, opinion_id: int) -> str:
    """Name an opinion for one annotator without telling which teacher gave it."""
    return _drawn(case_id, annotator_id, opinion_id)[:16]


def blind_order(case: CaseView, annotator_id: int) -> list[tuple[str, str, OpinionView]]:
    """Give the opinions of a case their letters and tokens: the same ones each time it is opened."""
    by_id = {opinion.id: opinion for opinion in case.opinions}
    drawn = drawn_order(case.id, annotator_id, by_id)
    return [(LETTERS[n % 26], token, by_id[opinion_id]) for n, (token, opinion_id) in enumerate(drawn)]


def drawn_order(case_id: int, annotator_id: int, opinion_ids: Iterable[int]) -> list[tuple[str, int]]:
    """Put opinions into the order that is drawn for this case and annotator: (token, opinion id)."""
    return sorted(
        (opinion_token(case_id, annotator_id, opinion_id), opinion_id) for opinion_id in opinion_ids
    )


def shown_case(case: CaseView, annotator_id: int) -> dict[str, Any]:
    """A case as the page needs it; nothing in it names a teacher.

    `marked` is None where the rationales contradict each other on nothing, else caption and
    rationales cut where a point of contention begins or ends: lists of [text, numbers of points].
    """
    order = blind_order(case, annotator_id)
    marked = contradictions(case.caption, [(opinion.verdict, opinion.rationale) for _, _, opinion in order])
    return {
        "id": case.id,
        "picture": picture_url(case.image_sha256),
        "caption": case.caption,
        "date": case.date,
        "place": case.place,
        "source": case.source,
        "evidence": [
            {
                "title": found.title,
                "url": found.url,
                "text": found.text or "",
                "date": found.date,
                "kind": found.kind,
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
                "elements": list(opinion.elements or ()),
                "scripted": opinion.teacher_kind == TeacherKind.SCRIPTED,
            }
            for letter, token, opinion in order
        ],
        "marked": {"caption": marked.caption, "rationales": marked.rationales} if marked.points else None,
        "split": None,
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


def split_rulings(case: CaseView, annotator_id: int, rulings: Sequence[RulingView]) -> list[dict[str, Any]]:
    """What people ruled on a case, for the adjudicator who settles it: in a drawn order, without names."""
    letters = {opinion.teacher: letter for letter, _, opinion in blind_order(case, annotator_id)}
    drawn = sorted(rulings, key=lambda one: _drawn(case.id, annotator_id, -one.id))
    return [
        {
            "verdict": one.verdict,
            "rationale": one.rationale or one.picked_rationale or "",
            "best": letters.get(one.picked_teacher or ""),
            "elements": list(one.elements),
            "note": one.note,
            "seconds": round(one.seconds),
        }
        for one in drawn
    ]


def revealed(
    case: CaseView,
    annotator_id: int,
    ruling: Ruling,
    answers: Sequence[GivenAnswer],
    former: str | None = None,
) -> dict[str, Any]:
    """A ruling that was made, with who had said what; `answers` are all the current ones on the case.

    `former` is the answer that this ruling replaced.
    """
    return {
        "id": ruling.id,
        "case": case.id,
        "picture": picture_url(case.image_sha256),
        "caption": case.caption,
        "verdict": ruling.verdict,
        "former": former,
        "teachers": [
            {"letter": letter, "name": opinion.teacher, "verdict": opinion.verdict}
            for letter, _, opinion in blind_order(case, annotator_id)
        ],
        "colleagues": [
            {"name": one.annotator, "verdict": one.verdict}
            for one in answers
            if one.annotator_id != annotator_id
        ],
    }


def _drawn(*numbers: int) -> str:
    """Draw a lot that is the same each time it is drawn for these numbers."""
    return hashlib.sha256(":".join(map(str, numbers)).encode()).hexdigest()
