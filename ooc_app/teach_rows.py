"""The desk's teachers as the Teach tab lists them: those of the settings and those that have opinions.

What is counted over cases comes from their kinds, a few hundred rows whatever the number of cases; how many
cases lack an opinion takes a walk through the teacher's own entries in one index.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import sqlalchemy as sa

from db.kinds import Traits, all_kinds
from db.models import Teacher
from db.teaching import TeachingError
from db.vocabulary import Answer
from ooc_app import teach_board, teaching
from ooc_app.desk import Desk, SettingsError
from ooc_app.teach_panel import Row, counts_panel
from ooc_app.teacher_settings import teacher_configs
from ooc_app.teaching import Asking
from training.teachers import TeacherConfig

Kinds = list[tuple[Traits, int]]


class UnknownTeacherError(TeachingError):
    """Raised for a teacher that is neither in the settings nor on the desk."""


def configs_of(desk: Desk) -> tuple[dict[str, TeacherConfig], str]:
    """Return the teachers of the settings, or none and what is wrong with them."""
    try:
        return teacher_configs(desk), ""
    except SettingsError as error:
        return {}, str(error)


def kinds_of(desk: Desk) -> Kinds:
    with desk.sessions() as session:
        return [(traits, cases) for _, traits, cases in all_kinds(session) if cases]


def counts_of(kinds: Kinds) -> str:
    return counts_panel(
        sum(cases for _, cases in kinds),
        sum(cases for traits, cases in kinds if traits.is_conflict and not traits.settled_as),
        sum(cases for traits, cases in kinds if not traits.opinions),
    )


def rows_of(
    desk: Desk, configs: Mapping[str, TeacherConfig], kinds: Kinds, *, counting: bool = True
) -> list[Row]:
    """Return the teachers of the desk and of the settings; how many cases each lacks only with `counting`."""
    with desk.sessions() as session:
        teachers = {one.name: one for one in session.scalars(sa.select(Teacher).order_by(Teacher.id))}
    told = _told(kinds)
    names = [*teachers, *(name for name in configs if name not in teachers)]
    return [
        _row(desk, name, configs.get(name), teachers.get(name), told, counting=counting) for name in names
    ]


def row_of(desk: Desk, name: str, *, counting: bool = True) -> Row:
    """Return one teacher, likewise. Raises UnknownTeacherError."""
    configs, trouble = configs_of(desk)
    config = configs.get(name)
    with desk.sessions() as session:
        teacher = session.scalar(sa.select(Teacher).where(Teacher.name == name))
    if config is None and teacher is None:
        raise UnknownTeacherError(trouble or "There is no such teacher any more.")
    return _row(desk, name, config, teacher, _told(kinds_of(desk)), counting=counting)


def _row(
    desk: Desk,
    name: str,
    config: TeacherConfig | None,
    teacher: Teacher | None,
    told: Mapping[int, Counter[str]],
    *,
    counting: bool,
) -> Row:
    known = told.get(teacher.id, Counter()) if teacher else Counter[str]()
    row = Row(
        name=name,
        kind=str(teacher.kind) if teacher else config.kind if config else "",
        config=config,
        teacher_id=teacher.id if teacher else None,
        is_active=teacher.active if teacher else True,
        standing=teach_board.standing(desk, name),
        **{figure: known[figure] for figure in ("opinions", "unsure", "judged", "right")},
    )
    if counting and row.may_be_asked and config is not None:
        gap = teaching.gap(desk, Asking(config))
        return replace(row, missing=gap.cases, stale=gap.stale, without_picture=gap.without_picture)
    return row


def _told(kinds: Kinds) -> dict[int, Counter[str]]:
    """Count by teacher the opinions, the unsure ones, those that can be judged, and those that are right."""
    told: dict[int, Counter[str]] = {}
    for traits, cases in kinds:
        truth = traits.truth
        for teacher_id, answer in traits.answers.items():
            one = told.setdefault(teacher_id, Counter())
            one["opinions"] += cases
            one["unsure"] += cases * (answer == Answer.UNSURE)
            one["judged"] += cases * bool(truth)
            one["right"] += cases * (answer == truth)
    return told
