"""Audit the agreement of the teachers: how often do they agree on a mistake?

Agreed cases are drawn at random and lie in the queue among the others, so whoever rules on them does
not know. A ruling that differs from what the teachers agreed on when the case was drawn is a mistake
of the pseudo-label; a case that people are unsure of or split over counts as neither.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.agreement import wilson
from db.bulk import insert_all, stored
from db.derived import restand
from db.kinds import all_kinds
from db.models import Audit, Case, Event, Kind
from db.vocabulary import HumanAnswer, Split

SOURCES_MAX: Final = 200  # sources that are reported one by one, those with most audited cases
_AT_ONCE: Final = 500
_VERDICTS: Final = (HumanAnswer.IN_CONTEXT, HumanAnswer.OUT_OF_CONTEXT)


@dataclass(frozen=True)
class Estimate:
    """The error of the pseudo-labels as far as the audit shows it, over all agreed cases or one source."""

    sampled: int
    ruled: int  # of these, people gave a verdict
    wrong: int  # of those, another verdict than the teachers
    error: float | None
    interval: tuple[float, float] | None  # 95 %, Wilson
    why: str | None = None  # why there is no error yet


def draw(
    session: Session, number: int, now: datetime, *, annotator_id: int | None = None, seed: int | None = None
) -> int:
    """Draw up to `number` agreed training cases with a picture that no audit has yet, and queue them.

    Returns how many were drawn; fewer are left than asked for where it is less. Each such case is as
    likely as any other; `seed` makes the draw repeatable. Cases that a person has ruled on already
    are left out: nothing new would be learnt of them. Wants a write session.
    """
    labels = {
        kind_id: traits.pseudo_label
        for kind_id, traits, cases in all_kinds(session)
        if cases and traits.pseudo_label and traits.has_image and traits.split == Split.TRAIN
        and traits.human == HumanAnswer.NONE
    }  # fmt: skip
    open_cases = (
        sa.select(Case.id, Case.kind_id)
        .outerjoin(Audit, Audit.case_id == Case.id)
        .where(Case.kind_id.in_(sorted(labels)), Audit.case_id.is_(None))
        .order_by(Case.id)
    )
    drawn = _reservoir(session.execute(open_cases.execution_options(yield_per=10_000)), number, seed)
    drawn_at = stored(session, Audit.drawn_at, now)
    rows = [(case_id, labels[kind_id], drawn_at) for case_id, kind_id in drawn]
    insert_all(session, Audit, ("case_id", "pseudo_label", "drawn_at"), rows)
    for start in range(0, len(drawn), _AT_ONCE):
        restand(session, [case_id for case_id, _ in drawn[start : start + _AT_ONCE]], now)
    if drawn:
        event = Event(at=now, annotator_id=annotator_id, action="draw_audit", detail={"cases": len(drawn)})
        session.add(event)
        session.flush()
    return len(drawn)


def estimate(session: Session) -> dict[str, Any]:
    """Report the error of the pseudo-labels, overall and `by_source`; figures without rulings are None."""
    rows = session.execute(
        sa.select(Case.source, Audit.pseudo_label, Kind.human, sa.func.count())
        .select_from(Audit)
        .join(Case, Case.id == Audit.case_id)
        .join(Kind, Kind.id == Case.kind_id)
        .group_by(Case.source, Audit.pseudo_label, Kind.human)
    )
    sampled, ruled, wrong = Counter[str](), Counter[str](), Counter[str]()
    for source, pseudo_label, human, cases in rows:
        name = source or ""
        sampled[name] += cases
        if human in _VERDICTS:
            ruled[name] += cases
            wrong[name] += cases * (human.value != pseudo_label.value)
    overall = _estimate(sampled.total(), ruled.total(), wrong.total())
    by_source = [
        {"source": name or None, **asdict(_estimate(number, ruled[name], wrong[name]))}
        for name, number in sorted(sampled.items(), key=lambda one: (-one[1], one[0]))[:SOURCES_MAX]
    ]
    return {**asdict(overall), "by_source": by_source}


def _reservoir(rows: Any, number: int, seed: int | None) -> Sequence[tuple[int, int]]:
    """Keep `number` rows, each as likely as any other, of however many come (Vitter 1985, algorithm R)."""
    chance = random.Random(seed)
    kept: list[tuple[int, int]] = []
    for seen, row in enumerate(rows):
        if seen < number:
            kept.append((row[0], row[1]))
        elif (place := chance.randrange(seen + 1)) < number:
            kept[place] = (row[0], row[1])
    return sorted(kept)


def _estimate(sampled: int, ruled: int, wrong: int) -> Estimate:
    error = wilson(wrong, ruled)
    return Estimate(sampled, ruled, wrong, error.value, error.interval, error.why)
