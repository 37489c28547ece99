"""The Teach tab: the desk's teachers, adding one, asking it, and what it said.

The tab is one component (`assets/teach.*`) that asks the handlers below and shows what they draw. Whatever
takes long goes on in a process of its own (`teach_process.py`), so a page that is opened again finds it on
the teacher's board. Everybody of the desk sees who the teachers are and how they stand; what they said, and
all that changes something, is for editors.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

import gradio as gr
import sqlalchemy as sa

from db.models import Teacher
from db.teach_runs import last_found, runs_of
from db.teacher_figures import calibration, only_right, teacher_figures, versions
from db.teaching import TeachingError
from db.views import case_views
from db.vocabulary import Role, TeacherKind
from ooc_app import teach_board, teach_process
from ooc_app.answered import answered
from ooc_app.auth import NotAllowedError, Person
from ooc_app.desk import Desk, SettingsError
from ooc_app.teach_board import Deed
from ooc_app.teach_form import FormError, config_of, order_of, text_of
from ooc_app.teach_panel import (
    Row,
    card_panel,
    deeds_panel,
    list_panel,
    runs_panel,
    state_words,
)
from ooc_app.teach_panel_form import Filled, connection_panel, form_panel, places_panel
from ooc_app.teach_panel_work import work_panel
from ooc_app.teach_rows import UnknownTeacherError, configs_of, counts_of, kinds_of, row_of, rows_of
from ooc_app.teacher_connection import connection
from ooc_app.teacher_figures_panel import figures_panel, split_line
from ooc_app.teacher_settings import (
    add_teacher,
    at_hand,
    change_teacher,
    presets,
    remove_teacher,
    teacher_config,
)
from ooc_app.theme import ASSETS
from training.teacher_question import AS_USUAL
from training.teachers import TeacherConfig, TeacherError

RUNS_SHOWN: Final = 8
REFUSALS: Final = (FormError, NotAllowedError, SettingsError, TeacherError, TeachingError)
Asked = Mapping[str, Any]

# ---- handlers ----


def listed(desk: Desk, person: Person, asked: Asked) -> dict[str, Any]:
    """Draw all teachers, and how far the desk is."""
    configs, trouble = configs_of(desk)
    kinds = kinds_of(desk)
    rows = rows_of(desk, configs, kinds)
    may_change = person.role == Role.EDITOR
    parts = {
        "counts": counts_of(kinds),
        "split": _split(desk),
        "list": list_panel(rows, text_of(asked, "teacher") or None, may_change=may_change, trouble=trouble),
    }
    return {
        "ok": True,
        "may_change": may_change,
        "teachers": [row.name for row in rows],
        "askable": sum(row.config is not None for row in rows),
        "going": _going(rows),
        "parts": parts,
    }


def looked(desk: Desk, person: Person, asked: Asked) -> dict[str, Any]:
    """Tell what has changed since the page last looked: how far the desk is, states, what goes on.

    `seen` has the digest of each part as the page has it.
    """
    kinds = kinds_of(desk)
    rows = rows_of(desk, configs_of(desk)[0], kinds, counting=False)
    cells = {row.name: [state_words(row) if row.is_going else None, f"{row.opinions:,}"] for row in rows}
    parts = {"counts": counts_of(kinds), "cells": json.dumps(cells)}
    opened = next((row for row in rows if row.name == text_of(asked, "teacher")), None)
    if opened is not None and person.role == Role.EDITOR:
        parts["work"] = work_panel(opened.standing)
    return {"ok": True, "going": _going(rows), **_changed(parts, asked.get("seen"))}


def shown(desk: Desk, person: Person, asked: Asked) -> dict[str, Any]:
    """Draw one teacher with what can be done. Raises UnknownTeacherError."""
    row = row_of(desk, text_of(asked, "teacher"))
    parts = {"card": card_panel(row), "deeds": deeds_panel(row), "work": work_panel(row.standing)}
    return {"ok": True, "teacher": row.name, "going": row.is_going, "parts": parts}


def measured(desk: Desk, person: Person, asked: Asked) -> dict[str, Any]:
    """Draw how a teacher does, and the runs it was asked in. Raises UnknownTeacherError."""
    row = row_of(desk, text_of(asked, "teacher"), counting=False)
    if row.teacher_id is None:
        return {"ok": True, "teacher": row.name, "parts": {"figures": "", "runs": ""}}
    with desk.sessions() as session:
        runs = runs_of(session, row.teacher_id, RUNS_SHOWN)
        model = row.config.model if row.config else runs[0].model if runs else ""
        figures = figures_panel(
            teacher_figures(session, row.teacher_id),
            calibration(session, row.teacher_id),
            case_views(session, only_right(session, row.teacher_id)),
            last_found(session, row.teacher_id, model, AS_USUAL.version),
        )
    return {
        "ok": True,
        "teacher": row.name,
        "parts": {"figures": figures, "runs": runs_panel(runs, is_going=row.is_going)},
    }


def filled(desk: Desk, person: Person, asked: Asked) -> dict[str, Any]:
    """Draw the form: the usual places, the one that is chosen, or a teacher's settings to be changed."""
    name, place = text_of(asked, "teacher"), text_of(asked, "place")
    if name:
        config = teacher_config(desk, name)
        return {"ok": True, "form": form_panel(Filled(config, is_new=False, key_is_set=_is_set(config)))}
    places = places_panel(presets(), place, has_teachers=bool(asked.get("closes")))
    preset = presets().get(place)
    if preset is None:
        return {"ok": True, "form": places}
    config = replace(preset.config, name=_free_name(desk, place))
    form = form_panel(Filled(config, preset.note, preset.command, key_is_set=_is_set(config)))
    return {"ok": True, "form": places + form}


def tested(desk: Desk, person: Person, asked: Asked) -> dict[str, Any]:
    """Look whether a teacher can be asked: one of the settings, or as the form has it."""
    name, typed = text_of(asked, "teacher"), _typed(asked)
    before = teacher_config(desk, name) if name else None
    if typed:
        named = {**typed, "name": text_of(typed, "name") or "teacher"}
        config = config_of(named, before)
    elif before is not None:
        config = before
    else:
        raise FormError("There is nothing to test: choose where the teacher runs first.")
    found = connection(at_hand(desk, config), os.environ)
    return {"ok": True, "works": found.works, "tested": connection_panel(found)}


def added(desk: Desk, person: Person, asked: Asked) -> dict[str, Any]:
    """Add a teacher to the settings."""
    config = config_of(_typed(asked))
    with desk.sessions() as session:
        known = session.scalar(sa.select(Teacher).where(Teacher.name == config.name))
        if known is not None and known.kind == TeacherKind.SCRIPTED:
            raise FormError(f"The demo's script speaks as {config.name}: give another name.")
    add_teacher(desk, config)
    return {"ok": True, "teacher": config.name, "says": f"{config.name} is added. Try it with a dry run."}


def changed(desk: Desk, person: Person, asked: Asked) -> dict[str, Any]:
    """Write a teacher's settings anew."""
    name = text_of(asked, "teacher")
    change_teacher(desk, name, config_of(_typed(asked), teacher_config(desk, name)))
    return {"ok": True, "teacher": name, "says": f"The settings of {name} are changed."}


def removed(desk: Desk, person: Person, asked: Asked) -> dict[str, Any]:
    """Take a teacher out of the settings; what it said stays, and the answer says so."""
    name = text_of(asked, "teacher")
    remove_teacher(desk, name)
    teach_board.forget(desk, name)
    try:
        opinions = row_of(desk, name, counting=False).opinions
    except UnknownTeacherError:
        return {"ok": True, "teacher": None, "says": f"{name} is removed; it had said nothing here."}
    says = f"{name} is removed from the settings; its {opinions:,} opinions stay on the desk."
    return {"ok": True, "teacher": name, "says": says}


def begun(desk: Desk, person: Person, asked: Asked) -> dict[str, Any]:
    """Begin something with a teacher, in a process of its own. Raises TeachingError where it ends at once."""
    name, wanted = text_of(asked, "teacher"), text_of(asked, "deed")
    if wanted not in tuple(Deed):
        raise FormError("There is no such thing to do with a teacher.")
    row = row_of(desk, name, counting=False)
    order = order_of(Deed(wanted), _typed(asked), row.config)
    teach_process.begin(desk, name, order, person.annotator_id)
    return {"ok": True, "teacher": name}


def stopped(desk: Desk, person: Person, asked: Asked) -> dict[str, Any]:
    """Stop what goes on with a teacher. Raises TeachingError where nothing does, or it cannot be stopped."""
    name = text_of(asked, "teacher")
    try:
        teach_process.stop(desk, name)
    except ProcessLookupError:
        raise TeachingError(f"What went on with {name} has just ended.") from None
    except PermissionError:
        raise TeachingError(
            f"Another account of this machine asks {name}: only that one can stop it."
        ) from None
    return {"ok": True, "says": "Stops when the answers on their way are back; Stop again gives them up."}


def forgotten(desk: Desk, person: Person, asked: Asked) -> dict[str, Any]:
    """Drop what was done last from the page; runs and opinions stay."""
    teach_board.forget(desk, text_of(asked, "teacher"))
    return {"ok": True}


# ---- what they are asked with ----


def _split(desk: Desk) -> str:
    with desk.sessions() as session:
        return split_line(versions(session))


def _free_name(desk: Desk, place: str) -> str:
    """Return a name for a new teacher that is not taken."""
    with desk.sessions() as session:
        taken = {*session.scalars(sa.select(Teacher.name)), *configs_of(desk)[0]}
    names = (place if number == 1 else f"{place} {number}" for number in range(1, len(taken) + 2))
    return next(name for name in names if name not in taken)


def _is_set(config: TeacherConfig) -> bool:
    return bool(config.key_env and os.environ.get(config.key_env, "").strip())


def _going(rows: Iterable[Row]) -> list[str]:
    return [row.name for row in rows if row.is_going]


def _typed(asked: Asked) -> Mapping[str, Any]:
    typed = asked.get("typed")
    return typed if isinstance(typed, dict) else {}


def _changed(parts: Mapping[str, str], seen: object) -> dict[str, Any]:
    """Keep the parts that the page does not have as they are, and name them all by their digests."""
    had = seen if isinstance(seen, dict) else {}
    digests = {name: hashlib.sha256(drawn.encode()).hexdigest()[:16] for name, drawn in parts.items()}
    return {
        "digests": digests,
        "parts": {name: drawn for name, drawn in parts.items() if had.get(name) != digests[name]},
    }


# ---- layout and wiring ----


def build_teach(desk: Desk, page: gr.Blocks) -> None:
    """Lay out the tab; a page whose address names a teacher begins in it."""
    gr.HTML(
        html_template=(ASSETS / "teach.html").read_text(encoding="utf-8"),
        js_on_load=(ASSETS / "teach.js").read_text(encoding="utf-8"),
        server_functions=server_functions(desk),
        apply_default_css=False,
        elem_id="teach",
    )
    to_the_tab = (ASSETS / "teach_link.js").read_text(encoding="utf-8")
    page.load(None, js=to_the_tab, api_visibility="private", queue=False, show_progress="hidden")


Handler = Callable[[Desk, Person, Asked], dict[str, Any]]
HANDLERS: Final[dict[str, tuple[Handler, Role]]] = {
    "list": (listed, Role.ANNOTATOR),
    "look": (looked, Role.ANNOTATOR),
    "one": (shown, Role.EDITOR),
    "figures": (measured, Role.EDITOR),
    "form": (filled, Role.EDITOR),
    "test": (tested, Role.EDITOR),
    "add": (added, Role.EDITOR),
    "change": (changed, Role.EDITOR),
    "remove": (removed, Role.EDITOR),
    "begin": (begun, Role.EDITOR),
    "stop": (stopped, Role.EDITOR),
    "forget": (forgotten, Role.EDITOR),
}


def server_functions(desk: Desk) -> list[Callable[..., dict[str, Any]]]:
    """The handlers as the script calls them, by name; Gradio finds the request by its type hint."""
    return [_function(desk, name, *how) for name, how in HANDLERS.items()]


def _function(desk: Desk, name: str, handler: Handler, role: Role) -> Callable[..., dict[str, Any]]:
    def asked(payload: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        given = payload if isinstance(payload, dict) else {}
        return answered(desk, request, role, lambda person: handler(desk, person, given), REFUSALS)

    asked.__name__ = f"{name}_"
    return asked
