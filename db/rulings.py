"""Rule on a case, correct a ruling or take it back, and say which cases are settled by now.

A ruling is never changed: `rule` adds a row, a correction or `undo` adds another that supersedes it.
The page makes the submission id, so what it sends twice, after a lost reply or a reload, is one
ruling. A ruling is accepted from an annotator whose lease has ended, because work done is not thrown
away; should a colleague have ruled meanwhile, the case has both rulings.

Except for `recent`, everything here wants a write session.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningInsert

from db.base import table_of
from db.derived import restand
from db.models import Annotator, Case, Event, Kind, Opinion, Ruling, is_current
from db.queue import hold_next, release
from db.views import UnknownCaseError
from db.vocabulary import (
    RUSHED_SECONDS,
    SETTLING_ROLES,
    UNDOABLE_RULINGS,
    Answer,
    Cause,
    Element,
    HumanAnswer,
    Role,
    Split,
    Verdict,
)


class AlreadyRuledError(Exception):
    """Raised when the annotator has a current ruling on the case, and this is no correction of it."""


class HeldOutCaseError(Exception):
    """Raised when a case is not for training: a person's ruling must not reach held-out cases."""


class UnknownOpinionError(LookupError):
    """Raised when the best opinion named is not one of the case's."""


class ReusedSubmissionError(Exception):
    """Raised when a submission id comes again with another case or from another annotator."""


class NothingToUndoError(Exception):
    """Raised when no current ruling of the annotator is among the last ten."""


@dataclass(frozen=True)
class NewRuling:
    """An annotator's answer as the page submits it."""

    submission_id: str  # made by the page, at most 64 characters
    case_id: int
    verdict: Answer
    opinion_id: int | None = None  # the opinion with the best rationale
    rationale: str | None = None  # the annotator's own, or an edited one
    elements: tuple[Element, ...] = ()
    note: str = ""
    flagged: bool = False
    seconds: float = 0.0  # from the case on screen to the ruling
    corrects: int | None = None  # the annotator's current ruling on the case, which this one supersedes
    shown: tuple[int, ...] = ()  # the opinions in the order in which the annotator saw them
    guidelines: int | None = None  # the version of the guidelines in force
    cause: Cause | None = None  # why people were split; kept only where the answer settles


def ensure_annotator(session: Session, name: str, role: Role = Role.EDITOR, *, scripted: bool = False) -> int:
    """Return the id of the annotator of that name, added with `role` if there was none."""
    annotator_id = session.scalar(sa.select(Annotator.id).where(Annotator.name == name))
    if annotator_id is None:
        annotator = Annotator(name=name, role=role, scripted=scripted)
        session.add(annotator)
        session.flush()
        annotator_id = annotator.id
    return annotator_id


def rule(session: Session, annotator_id: int, new: NewRuling, now: datetime) -> Ruling:
    """Add the ruling, and take the case off the queue once it has the rulings it wants.

    Where people are split and the annotator may settle (adjudicators and editors), the answer settles.
    The same submission again returns the ruling it made. Raises UnknownCaseError, HeldOutCaseError,
    UnknownOpinionError, AlreadyRuledError or ReusedSubmissionError, and then nothing is changed.
    """
    case = session.execute(case_asked_for(), {"case_id": new.case_id, "annotator_id": annotator_id}).first()
    if case is None:
        raise UnknownCaseError(f"There is no case {new.case_id} on this desk; load the next one.")
    sent = session.scalar(_sent(), {"submission_id": new.submission_id})
    if sent is not None:
        if (sent.case_id, sent.annotator_id) != (new.case_id, annotator_id):
            raise ReusedSubmissionError(
                f"Submission {new.submission_id!r} belongs to another ruling; make a new id for each."
            )
        return sent
    _admit(session, new, case.split)
    last = session.scalar(_last_of_chain(), {"case_id": new.case_id, "annotator_id": annotator_id})
    if last is not None and last.verdict is not None and last.id != new.corrects:
        raise AlreadyRuledError(
            f"You have already ruled on case {new.case_id}; undo or correct that ruling to rule again."
        )
    if new.corrects is not None and (last is None or last.id != new.corrects or last.verdict is None):
        raise NothingToUndoError(
            f"Ruling {new.corrects} on case {new.case_id} is not your current one; load the case anew."
        )
    is_settling = case.role in SETTLING_ROLES and (
        case.human == HumanAnswer.SPLIT or (last is not None and new.corrects == last.id and last.settles)
    )
    ruling = _add(
        session,
        {
            "submission_id": new.submission_id,
            "case_id": new.case_id,
            "annotator_id": annotator_id,
            "verdict": new.verdict,
            "opinion_id": new.opinion_id,
            "rationale": new.rationale or None,
            "elements": list(new.elements),
            "note": new.note,
            "flagged": new.flagged,
            "seconds": new.seconds,
            "rushed": new.seconds < RUSHED_SECONDS,
            "settles": is_settling,
            "supersedes_id": last.id if last else None,
            "created_at": now,
            "shown": list(new.shown) or None,
            "guidelines": new.guidelines,
            "cause": new.cause if is_settling else None,
        },
        "settle" if is_settling else "rule" if new.corrects is None else "correct",
    )
    release(session, annotator_id, [new.case_id])
    restand(session, [new.case_id], now)
    return ruling


def undo(session: Session, annotator_id: int, ruling_id: int | None = None, *, now: datetime) -> Ruling:
    """Withdraw one of the annotator's last ten rulings, by default the newest that still stands.

    Returns the withdrawal, a row without verdict; its case is the annotator's next again if it wants
    one more ruling. Undoing a ruling already withdrawn returns that withdrawal. Raises
    NothingToUndoError for one that is not among the annotator's last ten, or was corrected since.
    """
    made = _last_made(session, annotator_id)
    successors = _successors(session, [ruling.id for ruling in made])
    standing = [ruling for ruling in made if ruling.id not in successors]
    candidates = standing[:1] if ruling_id is None else [ruling for ruling in made if ruling.id == ruling_id]
    if not candidates:
        raise NothingToUndoError(
            f"That is none of your last {UNDOABLE_RULINGS} rulings; older ones stand and cannot be undone."
        )
    withdrawn = candidates[0]
    if withdrawn.id in successors:
        successor = successors[withdrawn.id]
        if successor.verdict is not None:
            raise NothingToUndoError(
                f"Ruling {withdrawn.id} was corrected by ruling {successor.id}; undo that one."
            )
        return successor
    withdrawal = _add(
        session,
        {
            "submission_id": f"undo-{withdrawn.id}",
            "case_id": withdrawn.case_id,
            "annotator_id": annotator_id,
            "verdict": None,
            "opinion_id": None,
            "rationale": None,
            "elements": [],
            "note": "",
            "flagged": False,
            "seconds": 0.0,
            "rushed": False,
            "settles": False,
            "supersedes_id": withdrawn.id,
            "created_at": now,
            "shown": None,
            "guidelines": None,
            "cause": None,
        },
        "undo",
    )
    restand(session, [withdrawn.case_id], now)
    hold_next(session, annotator_id, withdrawn.case_id, now)
    return withdrawal


def recent(session: Session, annotator_id: int, limit: int = UNDOABLE_RULINGS) -> list[Ruling]:
    """Return the annotator's newest current rulings, newest first."""
    query = sa.select(Ruling).where(Ruling.annotator_id == annotator_id, is_current())
    return list(session.scalars(query.order_by(Ruling.id.desc()).limit(limit)))


def settled_query() -> sa.Select[int, Verdict, int]:
    """Select case id, human verdict and number of own rationales of every settled case, by id.

    Settled is a case on which an adjudicator, or everybody who ruled, gave one verdict.
    """
    verdict = sa.type_coerce(Kind.human, Ruling.verdict.type).label("verdict")
    return (
        sa.select(Case.id.label("case_id"), verdict, Kind.own_rationales.label("rationales"))
        .join(Kind, Kind.id == Case.kind_id)
        .where(Kind.human.in_([HumanAnswer.IN_CONTEXT, HumanAnswer.OUT_OF_CONTEXT]))
        .order_by(Case.id)
    )


@cache
def case_asked_for() -> sa.Select[Split, HumanAnswer, Role]:
    """Select what `annotator_id` may do to `case_id`, and keep others from ruling on it meanwhile."""
    cases, kinds, people = table_of(Case), table_of(Kind), table_of(Annotator).c
    role = sa.select(people.role).where(people.id == sa.bindparam("annotator_id", type_=sa.Integer))
    return (
        sa.select(cases.c.split, kinds.c.human, role.scalar_subquery().label("role"))
        .outerjoin_from(cases, kinds, kinds.c.id == cases.c.kind_id)
        .where(cases.c.id == sa.bindparam("case_id", type_=sa.Integer))
        .with_for_update(of=cases)
    )


def _admit(session: Session, new: NewRuling, split: Split) -> None:
    if split != Split.TRAIN:
        raise HeldOutCaseError(
            f"Case {new.case_id} is of the {split} split, by which students are measured; "
            "only training cases are ruled on."
        )
    if new.opinion_id is None:
        return
    if session.scalar(sa.select(Opinion.case_id).where(Opinion.id == new.opinion_id)) != new.case_id:
        raise UnknownOpinionError(
            f"Opinion {new.opinion_id} is none of case {new.case_id}; pick the best among the case's own."
        )


@cache
def _sent() -> sa.Select[Ruling]:
    submission_id = sa.bindparam("submission_id", type_=sa.String)
    return sa.select(Ruling).where(Ruling.submission_id == submission_id)


@cache
def _last_of_chain() -> sa.Select[Ruling]:
    case_id, annotator_id = (sa.bindparam(name, type_=sa.Integer) for name in ("case_id", "annotator_id"))
    mine = sa.and_(Ruling.case_id == case_id, Ruling.annotator_id == annotator_id)
    return sa.select(Ruling).where(mine).order_by(Ruling.id.desc()).limit(1)


def _last_made(session: Session, annotator_id: int) -> Sequence[Ruling]:
    """Return the last rulings the annotator made, newest first, withdrawn since or not."""
    answers = sa.and_(Ruling.annotator_id == annotator_id, Ruling.verdict.is_not(None))
    return session.scalars(
        sa.select(Ruling).where(answers).order_by(Ruling.id.desc()).limit(UNDOABLE_RULINGS)
    ).all()


def _successors(session: Session, ruling_ids: Sequence[int]) -> dict[int | None, Ruling]:
    rows = session.scalars(sa.select(Ruling).where(Ruling.supersedes_id.in_(ruling_ids)))
    return {row.supersedes_id: row for row in rows}


def _add(session: Session, ruling: dict[str, Any], action: str) -> Ruling:
    """Insert a ruling and its event past the unit of work, which would take longer than all else."""
    made = session.execute(_insert_ruling(), ruling).scalar_one()
    event = {
        "at": ruling["created_at"],
        "annotator_id": ruling["annotator_id"],
        "action": action,
        "case_id": ruling["case_id"],
        "detail": {"ruling": made, "verdict": ruling["verdict"]},
    }
    session.execute(_insert_event(), event)
    return Ruling(id=made, **ruling)


@cache
def _insert_ruling() -> ReturningInsert[Any]:
    rulings = table_of(Ruling)
    return sa.insert(rulings).returning(rulings.c.id)


@cache
def _insert_event() -> sa.Insert:
    return sa.insert(table_of(Event))
