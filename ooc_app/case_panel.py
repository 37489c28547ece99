"""One case, whole: what it is, what its teachers and people say of it, and all that ever happened to it.

Whoever may yet rule on it sees it blind, as in Adjudicate: letters instead of teachers, nothing of
what colleagues said, and none of the history that would give either away.
"""

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from db.browse import rows
from db.engine import write_session
from db.history import history
from db.models import Annotator, Bucket, Case, Opinion, Queued, Ruling, Teacher
from db.requests import request
from db.views import CaseView, case_view
from db.vocabulary import SETTLING_ROLES, QueueReason, Split, TeacherKind
from ooc_app.auth import Person, now
from ooc_app.blind import blind_order, picture_url
from ooc_app.case_history import told
from ooc_app.case_list import kept_blind, shown_row, teacher_names
from ooc_app.desk import Desk

NEAR: Final = 1_000  # ids to either side in which the rest of a group is looked for
RELATIVES_MAX: Final = 12
QUEUE_WORDS: Final = {
    QueueReason.CONFLICT: "its teachers differ",
    QueueReason.NO_VERDICT: "no teacher reaches a verdict",
    QueueReason.AUDIT: "drawn for an audit",
    QueueReason.SECOND_OPINION: "a second opinion is wanted",
    QueueReason.SPLIT_RULINGS: "people differ: an adjudicator settles",
    QueueReason.STUDENT_UNSURE: "the student cannot tell",
    QueueReason.SENT: "a ruling was asked for",
}
BLIND: Final = (
    "Shown blind, as in Adjudicate: this case waits for rulings and you may be asked for one, so who said "
    "what, and what colleagues ruled, shows once you have ruled."
)


def opened(desk: Desk, person: Person, case_id: int) -> dict[str, Any]:
    """Show one case. Raises UnknownCaseError."""
    with desk.sessions() as session:
        case = case_view(session, case_id)
        blind = case_id in kept_blind(session, person, [case_id])
        (row,) = rows(session, [case_id])
        names = teacher_names(session)
        happened = history(session, case_id)
        waits = _queued(session, case_id)
        return {
            "ok": True,
            **_seen_by_all(case),
            **shown_row(row, names, blind),
            "caption": case.caption,
            "blind": BLIND if blind else None,
            **_facts(case, blind=blind),
            "opinions": _blind_opinions(case, person) if blind else _opinions(case),
            "rulings": _rulings(session, case_id, person, only_own=blind),
            "waits": None if blind else waits,
            "history": [
                one for one in (told(happening, person, blind=blind) for happening in happened) if one
            ],
            "relatives": [] if blind else _relatives(session, case, person, names),
            "may_send": _may_send(case, person, waits),
        }


def ask_for_ruling(desk: Desk, person: Person, case_id: int) -> dict[str, Any]:
    """Put a case into the queue whatever its teachers say. Raises UnknownCaseError."""
    with write_session(desk.sessions) as session:
        case = case_view(session, case_id)
        if not _may_send(case, person, _queued(session, case_id)):
            return {"ok": False, "says": "This case is in the queue already, or is never ruled on."}
        wanted = rows(session, [case_id])[0].traits.rulings + 1
        who = person.annotator_id
        request(session, [case_id], QueueReason.SENT, now(), annotator_id=who, rulings_wanted=wanted)
        is_queued = _queued(session, case_id) is not None
    if not is_queued:
        return {"ok": False, "says": "A ruling was asked for before, and given; a case is asked for once."}
    return {"ok": True, "says": "It is in the queue: whoever is free gets it soon."}


def _seen_by_all(case: CaseView) -> dict[str, Any]:
    """What everybody may see of it."""
    claimed = [f"claimed {case.date}" if case.date else "", case.place or "", case.source or ""]
    return {
        "picture": picture_url(case.image_sha256),
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
        "dataset": case.dataset,
        "split": case.split,
    }


def _facts(case: CaseView, *, blind: bool) -> dict[str, Any]:
    """What else is known of it; an id such as `123-swapped` gives the verdict away, and so may the rest."""
    return {
        name: None if blind else getattr(case, name)
        for name in ("external_id", "gold", "group", "url", "note")
    }


def _opinions(case: CaseView) -> list[dict[str, Any]]:
    return [
        {
            "who": opinion.teacher,
            "verdict": opinion.verdict,
            "confidence": opinion.confidence,
            "rationale": opinion.rationale,
            "elements": list(opinion.elements or ()),
            "scripted": opinion.teacher_kind == TeacherKind.SCRIPTED,
        }
        for opinion in case.opinions
    ]


def _blind_opinions(case: CaseView, person: Person) -> list[dict[str, Any]]:
    """The opinions under the letters they have in Adjudicate."""
    order = {opinion.id: letter for letter, _, opinion in blind_order(case, person.annotator_id)}
    letters = [order[opinion.id] for opinion in case.opinions]
    lettered = zip(letters, _opinions(case), strict=True)
    return [{**shown, "who": letter} for letter, shown in sorted(lettered, key=lambda one: one[0])]


def _rulings(session: Session, case_id: int, person: Person, *, only_own: bool) -> list[dict[str, Any]]:
    """Every ruling, the newest first; a superseded one says by what."""
    later = aliased(Ruling)
    query = (
        sa.select(Ruling, Annotator.name, Teacher.name, Opinion.rationale, later.id, later.verdict)
        .join(Annotator, Annotator.id == Ruling.annotator_id)
        .outerjoin(Opinion, Opinion.id == Ruling.opinion_id)
        .outerjoin(Teacher, Teacher.id == Opinion.teacher_id)
        .outerjoin(later, later.supersedes_id == Ruling.id)
        .where(Ruling.case_id == case_id, Ruling.verdict.is_not(None))
        .order_by(Ruling.id.desc())
    )
    if only_own:
        query = query.where(Ruling.annotator_id == person.annotator_id)
    return [
        {
            "id": ruling.id,
            "who": name,
            "at": ruling.created_at.isoformat(),
            "verdict": ruling.verdict,
            "rationale": ruling.rationale or rationale,
            "picked": None if only_own else teacher,
            "is_own_rationale": ruling.rationale is not None,
            "elements": list(ruling.elements),
            "note": ruling.note,
            "flagged": ruling.flagged,
            "seconds": ruling.seconds,
            "rushed": ruling.rushed,
            "settles": ruling.settles,
            "superseded": None if later_id is None else "corrected since" if answer else "taken back",
        }
        for ruling, name, teacher, rationale, later_id, answer in session.execute(query)
    ]


def _queued(session: Session, case_id: int) -> dict[str, Any] | None:
    """Why a case is in the queue, and who holds it; None where it is not."""
    query = (
        sa.select(Bucket.why, Queued.lease_until, Annotator.name)
        .select_from(Queued)
        .join(Bucket, Bucket.id == Queued.bucket_id)
        .outerjoin(Annotator, Annotator.id == Queued.annotator_id)
    )
    found = session.execute(query.where(Queued.case_id == case_id)).first()
    if found is None:
        return None
    is_held = found.lease_until is not None and found.lease_until > now()
    return {
        "why": QUEUE_WORDS[QueueReason(found.why)],
        "holder": found.name if is_held else None,
        "until": found.lease_until.isoformat() if is_held else None,
    }


def _may_send(case: CaseView, person: Person, waits: Mapping[str, Any] | None) -> bool:
    is_ruled_on = case.split == Split.TRAIN and case.image_sha256 is not None
    return is_ruled_on and waits is None and person.role in SETTLING_ROLES


def _relatives(
    session: Session, case: CaseView, person: Person, names: Mapping[int, str]
) -> list[dict[str, Any]]:
    """Cases of the same group that came with it, and cases with the same picture."""
    found = dict.fromkeys(_of_group(session, case), "same group")
    if case.image_sha256:
        alike = sa.and_(Case.image_sha256 == case.image_sha256, Case.id != case.id)
        query = sa.select(Case.id).where(alike).order_by(Case.id).limit(RELATIVES_MAX)
        found.update(dict.fromkeys(session.scalars(query), "same picture"))
    ids = sorted(found)[:RELATIVES_MAX]
    blind = kept_blind(session, person, ids)
    return [{**shown_row(row, names, row.id in blind), "why": found[row.id]} for row in rows(session, ids)]


def _of_group(session: Session, case: CaseView) -> list[int]:
    """Find the rest of a group near the case: groups have no index, and mostly come in one piece."""
    if not case.group:
        return []
    near = Case.id.between(case.id - NEAR, case.id + NEAR)
    alike = sa.select(Case.id, Case.dataset).where(near, Case.group_key == case.group, Case.id != case.id)
    return [case_id for case_id, dataset in session.execute(alike) if dataset == case.dataset]
