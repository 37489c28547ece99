"""What became of the runs in which teachers were asked: their ends, and what was measured in them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.base import table_of
from db.models import Annotator, TeachRun

SIGHT: Final = "sight"  # whether the teacher needs the picture
FLIP: Final = "flip"  # how many verdicts change with the order in which they are offered
WITH_FINDINGS: Final = 500  # runs with findings that are looked through for the newest of each kind


@dataclass(frozen=True)
class RunView:
    """A run as people see it; `ended` and `why` are missing where it goes on, or was cut off unseen."""

    id: int
    started: datetime
    ended: datetime | None
    who: str | None  # None: the desk itself
    model: str
    prompt_version: str
    asked: int
    kept: int
    tokens: int
    cost: float  # in USD
    why: str | None
    found: dict[str, Any]


def end_run(
    session: Session,
    run_id: int,
    why: str,
    asked: int,
    now: datetime,
    found: dict[str, Any] | None = None,
    *,
    tokens_in: int = 0,
    tokens_out: int = 0,
    cost: float = 0.0,
) -> None:
    """Note that a run is over, and what it found, under `SIGHT` or `FLIP`. Wants a write session.

    Tokens and cost are of answers that became no opinion: they come on top of those that did.
    """
    runs = table_of(TeachRun)
    ended: dict[str, Any] = {"ended_at": now, "why": why, "asked": asked, "found": found or None}
    spent: dict[str, Any] = {
        "tokens_in": runs.c.tokens_in + tokens_in,
        "tokens_out": runs.c.tokens_out + tokens_out,
        "cost": runs.c.cost + cost,
    }
    session.execute(sa.update(runs).where(runs.c.id == run_id).values({**ended, **spent}))


def last_found(session: Session, teacher_id: int, model: str, prompt_version: str) -> dict[str, Any]:
    """Return what was measured last of a teacher: `SIGHT` of this model and wording, `FLIP` of this model.

    What was never measured is missing. A run that turns the order has a wording of its own, so a flip goes
    by the model alone.
    """
    newest = (
        sa.select(TeachRun.prompt_version, TeachRun.found)
        .where(TeachRun.teacher_id == teacher_id, TeachRun.model == model, TeachRun.found.is_not(None))
        .order_by(TeachRun.id.desc())
        .limit(WITH_FINDINGS)
    )
    last: dict[str, Any] = {}
    for version, found in session.execute(newest):
        fits = {SIGHT: version == prompt_version, FLIP: True}
        for name, figures in (found or {}).items():
            if fits.get(name) and name not in last:
                last[name] = figures
    return last


def runs_of(session: Session, teacher_id: int, count: int) -> list[RunView]:
    """Return the last runs of a teacher, the newest first."""
    newest = (
        sa.select(TeachRun, Annotator.name)
        .outerjoin(Annotator, Annotator.id == TeachRun.annotator_id)
        .where(TeachRun.teacher_id == teacher_id)
        .order_by(TeachRun.id.desc())
        .limit(count)
    )
    return [_view(run, who) for run, who in session.execute(newest)]


def _view(run: TeachRun, who: str | None) -> RunView:
    return RunView(
        run.id,
        run.started_at,
        run.ended_at,
        who,
        run.model,
        run.prompt_version,
        run.asked,
        run.kept,
        run.tokens_in + run.tokens_out,
        run.cost,
        run.why,
        run.found or {},
    )
