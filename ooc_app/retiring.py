"""Retire a teacher, or let it count again: some hundred cases at a time, beside whoever works at the desk."""

from collections.abc import Callable, Iterator

from db import teaching as kept
from db.engine import write_session
from db.kinds import all_kinds
from ooc_app.auth import now
from ooc_app.desk import Desk
from ooc_app.teach_board import Deed, doing


def retire(desk: Desk, name: str, annotator_id: int | None, advance: Callable[[int], object]) -> int:
    """Let a teacher's opinions count no more, a batch at a time; cut off, it goes on when done again.

    Returns how many opinions count from now on: none. Raises TeachingError where there is no such teacher,
    or something is being done with it.
    """

    def withdrawn(teacher_id: int) -> Iterator[int]:
        while True:
            with write_session(desk.sessions) as session:
                done = kept.withdraw(session, teacher_id, now())
            if not done:
                return
            yield done

    return _changed(desk, name, annotator_id, advance, Deed.RETIRE, withdrawn)


def reinstate(desk: Desk, name: str, annotator_id: int | None, advance: Callable[[int], object]) -> int:
    """Let a teacher's newest opinions count again, likewise; returns how many do."""

    def brought_back(teacher_id: int) -> Iterator[int]:
        after_id: int | None = 0
        while after_id is not None:
            with write_session(desk.sessions) as session:
                after_id = kept.bring_back(session, teacher_id, after_id, now())
            yield kept.BATCH

    return _changed(desk, name, annotator_id, advance, Deed.REINSTATE, brought_back)


def _changed(
    desk: Desk,
    name: str,
    annotator_id: int | None,
    advance: Callable[[int], object],
    deed: Deed,
    batches: Callable[[int], Iterator[int]],
) -> int:
    """Retire a teacher or reinstate it, with how far it is on its board."""
    told = {"kept": 0, "total": count_to_change(desk, name, deed)}
    with doing(desk, name, deed, told.copy) as board:
        with write_session(desk.sessions) as session:
            teacher_id = kept.known(session, name).id
            if deed is Deed.RETIRE:
                kept.retire(session, name, annotator_id, now())
        for done in batches(teacher_id):
            told["kept"] = min(told["kept"] + done, told["total"])
            advance(done)
        with write_session(desk.sessions) as session:
            if deed is Deed.REINSTATE:  # last: a teacher that is only half back is not to be asked
                kept.reinstate(session, name, annotator_id, now())
            opinions = kept.speaks_of(session, teacher_id)
        said = f"{name} counts {'no more' if deed is Deed.RETIRE else 'again'}."
        board.end("all", said, {"opinions": opinions})
    return opinions


def count_to_change(desk: Desk, name: str, deed: Deed) -> int:
    """Count the cases that retiring or reinstating a teacher looks at. Raises TeachingError."""
    with desk.sessions() as session:
        teacher = kept.known(session, name)
        return (
            kept.speaks_of(session, teacher.id)
            if deed is Deed.RETIRE
            else sum(cases for _, _, cases in all_kinds(session))
        )
