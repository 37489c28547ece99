"""Make a run's student the served one, and go back.

A promotion is a row that is added, never changed: the served student is the newest row's, so a kill
leaves either the old student served or the new one.
"""

from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.engine import write_session
from db.models import Event, Promotion, Run
from ooc_app.desk import Desk
from ooc_app.snapshot import registered
from training.config import located
from training.state import RunFolder


class PromotionError(Exception):
    """A run cannot be promoted, or there is nothing to go back to; says why."""


def promote(desk: Desk, run_name: str, annotator_id: int | None = None) -> None:
    """Serve the run's student. Raises PromotionError for an unknown or unfinished run."""
    with write_session(desk.sessions) as session:
        run = registered(session, desk, run_name)
        if run is None:
            raise PromotionError(f"There is no run named {run_name} on this desk.")
        if RunFolder(desk.data_dir / run.path).report() is None:
            raise PromotionError(f"The run {run_name} is not complete: let it finish, then promote it.")
        row = Promotion(run_id=run.id, annotator_id=annotator_id, created_at=datetime.now(UTC))
        _add(session, row, "promote", run_name)


def rollback(desk: Desk, annotator_id: int | None = None) -> None:
    """Serve again what was served before the newest promotion. Raises PromotionError where nothing was."""
    with write_session(desk.sessions) as session:
        served = _history(session)
        if not served:
            raise PromotionError(
                "No student was ever promoted on this desk, so there is nothing to go back to."
            )
        previous = served[-2] if len(served) > 1 else None
        name = session.scalar(sa.select(Run.name).where(Run.id == previous)) if previous else None
        row = Promotion(
            run_id=previous, is_rollback=True, annotator_id=annotator_id, created_at=datetime.now(UTC)
        )
        _add(session, row, "rollback", name or desk.settings.student)


def served(desk: Desk) -> str:
    """Return the name of the run whose student is served, or the settings' student."""
    if desk.settings.forced_student:
        return desk.settings.forced_student
    with desk.sessions() as session:
        history = _history(session)
        name = session.scalar(sa.select(Run.name).where(Run.id == history[-1])) if history else None
    return name or desk.settings.student


def served_before(desk: Desk) -> str | None:
    """Return where the student is that `rollback` would serve, as `Desk.student_source` gives it.

    None where no run was ever promoted, or OOC_STUDENT goes before what was.
    """
    with desk.sessions() as session:
        history = _history(session)
        path = session.scalar(sa.select(Run.path).where(Run.id == history[-2])) if len(history) > 1 else None
    if not history or desk.settings.forced_student:
        return None
    return str(desk.data_dir / path) if path else located(desk.settings.student)


def _history(session: Session) -> list[int]:
    """Return the runs served one after another, as a stack: going back takes the last one off."""
    stack: list[int] = []
    for row in session.scalars(sa.select(Promotion).order_by(Promotion.id)):
        if row.is_rollback:
            stack.pop()
        elif row.run_id is not None:
            stack.append(row.run_id)
    return stack


def _add(session: Session, row: Promotion, action: str, student: str) -> None:
    session.add(row)
    detail = {"student": student}
    session.add(Event(at=row.created_at, annotator_id=row.annotator_id, action=action, detail=detail))
