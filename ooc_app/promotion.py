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
from training.state import RunFolder


class PromotionError(Exception):
    """A run cannot be promoted, or there is nothing to go back to; says why."""


def promote(desk: Desk, run_name: str, annotator_id: int | None = None) -> None:
    """Serve the run's student. Raises PromotionError for an unknown or unfinished run."""
    with write_session(desk.sessions) as session:
        run = session.scalar(sa.select(Run).where(Run.name == run_name))
        if run is None:
            raise PromotionError(f"There is no run named {run_name} on this desk.")
        if RunFolder(desk.data_dir / run.path).report() is None:
            raise PromotionError(f"The run {run_name} is not complete: let it finish, then promote it.")
        _add(session, run.id, annotator_id, "promote", run_name)


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
        _add(session, previous, annotator_id, "rollback", name or desk.settings.student)


def served(desk: Desk) -> str:
    """Return the name of the run whose student is served, or the settings' student."""
    if desk.settings.forced_student:
        return desk.settings.forced_student
    with desk.sessions() as session:
        history = _history(session)
        name = session.scalar(sa.select(Run.name).where(Run.id == history[-1])) if history else None
    return name or desk.settings.student


def _history(session: Session) -> list[int]:
    """Return the runs served one after another, as a stack: going back takes the last one off."""
    stack: list[int] = []
    for promoted in session.scalars(sa.select(Promotion.run_id).order_by(Promotion.id)):
        below = stack[-2] if len(stack) > 1 else None
        if stack and promoted == below:
            stack.pop()
        elif promoted is not None:
            stack.append(promoted)
    return stack


def _add(session: Session, run_id: int | None, annotator_id: int | None, action: str, name: str) -> None:
    now = datetime.now(UTC)
    session.add(Promotion(run_id=run_id, annotator_id=annotator_id, created_at=now))
    session.add(Event(at=now, annotator_id=annotator_id, action=action, detail={"student": name}))
