"""What `doctor` looks at in the runs: their folders, their rows, and what they say of themselves."""

import json
from collections.abc import Iterator

import sqlalchemy as sa

from db.engine import write_session
from db.models import Promotion, Run
from db.vocabulary import RunStatus
from ooc_app.desk import Desk
from ooc_app.keeping.findings import Finding, Visit, first_of, remove, several
from ooc_app.keeping.whole import PARTIAL
from ooc_app.snapshot import registered
from training.state import RunFolder, RunState

DEAD = "its process ended without a word; resume goes on from the last save"


def look_at_run_folders(visit: Visit) -> Iterator[Finding]:
    """Look at what runs say of themselves; needs no database."""
    yield from _half_frozen(visit)
    for folder in run_folders(visit):
        yield from _state(folder)


def run_folders(visit: Visit) -> list[RunFolder]:
    """Return the folders of the data folder's runs, by name."""
    runs_dir = visit.data_dir / "runs"
    found = sorted(runs_dir.iterdir()) if runs_dir.is_dir() else []
    return [folder for folder in map(RunFolder, found) if folder.snapshot_path.is_file()]


def _half_frozen(visit: Visit) -> Iterator[Finding]:
    found = [
        path for path in sorted((visit.data_dir / "runs").glob(f".*{PARTIAL}"))
        if path.is_dir() and all(visit.is_settled(inner) for inner in (path, *path.rglob("*")))
    ]  # fmt: skip
    if not found:
        return
    yield Finding(
        "runs_half_frozen",
        f"{several(len(found), 'run was', 'runs were')} being frozen when the process ended "
        f"({first_of([path.name for path in found])}).",
        "Nothing: freeze again; repair removes what is left.",
        wrong=False,
        repair=lambda: remove(found),
    )


def _state(folder: RunFolder) -> Iterator[Finding]:
    """Compare what a run says of itself with who works in its folder."""
    name = folder.path.name
    try:
        complete = folder.report() is not None
    except ValueError:
        yield Finding(
            "run_report_damaged",
            f"The report of the run {name} is damaged.",
            f"Delete {folder.report_path} and resume the run: it is evaluated again.",
        )
        return
    if folder.is_busy():
        return
    state = said_state(folder)
    if state is not None and (state.status is not RunStatus.RUNNING or folder.is_busy()):
        return  # at its end, or begun since the first look
    if state is None:
        says = f"What the run {name} says of itself is damaged."
    elif complete:
        says = f"The run {name} is complete and says that it is going."
    else:
        says = f"The run {name} says that it is going, and no process works on it."
    yield Finding(
        "run_dead",
        says,
        f"Resume it: `python -m ooc_app distil --resume {name}`." if not complete else "Repair.",
        repair=lambda: _end(folder, complete=complete),
    )


def said_state(folder: RunFolder) -> RunState | None:
    """Read a run's state; None where it cannot be read."""
    try:
        return folder.state()
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _end(folder: RunFolder, *, complete: bool) -> str:
    """Note how a dead run ended, unless somebody began to work on it meanwhile."""
    with folder.locked():
        state = said_state(folder) or RunState(RunStatus.RUNNING)
        status, why = (RunStatus.COMPLETE, None) if complete else (RunStatus.STOPPED, DEAD)
        folder.say(status=status, stage=state.stage, step=state.step, steps=state.steps, why=why)
    return f"Noted that the run {folder.path.name} is {status.value}."


def look_at_run_rows(visit: Visit, desk: Desk) -> Iterator[Finding]:
    """Compare the rows of runs with their folders."""
    folders = {folder.path.name: folder for folder in run_folders(visit)}
    with desk.sessions() as session:
        rows = {row.name: row.path for row in session.execute(sa.select(Run.name, Run.path))}
        newest = sa.select(Run.name).select_from(Promotion).outerjoin(Run, Run.id == Promotion.run_id)
        served = session.scalar(newest.order_by(Promotion.id.desc()).limit(1))
    gone = [name for name, path in rows.items() if not (visit.data_dir / path).is_dir()]
    yield from _gone(gone, served)
    damaged = [name for name, folder in folders.items() if not _can_be_registered(folder)]
    for name in damaged:
        yield Finding(
            "run_snapshot_damaged",
            f"What the run {name} was frozen with cannot be read.",
            f"Copy {folders[name].snapshot_path} back from a backup, or delete the folder and freeze again.",
        )
    unregistered = [name for name in folders if name not in (*rows, *damaged)]
    if unregistered:
        yield Finding(
            "runs_unregistered",
            f"{several(len(unregistered), 'run has', 'runs have')} a folder and no row in the database "
            f"({first_of(unregistered)}).",
            "Nothing: the row is added when the run is promoted, or by repair.",
            wrong=False,
            repair=lambda: _register(desk, unregistered),
        )


def _can_be_registered(folder: RunFolder) -> bool:
    try:
        said = json.loads(folder.snapshot_path.read_text(encoding="utf-8"))
        figures = (said["counts"]["rulings"], said["counts"]["training_cases"])
    except (OSError, ValueError, TypeError, KeyError):
        return False
    return "hash" in said and all(isinstance(figure, int) for figure in figures)


def _gone(gone: list[str], served: str | None) -> Iterator[Finding]:
    back = "Copy it back from a backup (`runs/NAME` there), under the same name"
    if served in gone:
        yield Finding(
            "served_run_gone",
            f"The student that is served is the run {served}'s, and the run's folder is gone.",
            f"{back}, or serve what was served before: `python -m ooc_app rollback`.",
        )
    others = [name for name in gone if name != served]
    if others:
        yield Finding(
            "runs_gone",
            f"The folder of {several(len(others), 'run', 'runs')} is gone ({first_of(others)}).",
            f"{back}. Without it such a run can be neither looked at nor promoted; nothing else needs it.",
        )


def _register(desk: Desk, names: list[str]) -> str:
    with write_session(desk.sessions) as session:
        done = [name for name in names if registered(session, desk, name) is not None]
    return f"Added {several(len(done), 'row', 'rows')} of runs ({first_of(done)})."
