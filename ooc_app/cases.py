"""The Cases tab: look for cases, look at one whole, bring cases in and take them out.

The tab is one component (`assets/cases*.js`) that asks the handlers below. What is looked for and the
case that is open stand in the page's address, so a link to `?case=12` opens that case for whoever
signs in. Everybody of the desk may look; only editors import and export.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import gradio as gr

from db.views import UnknownCaseError
from db.vocabulary import Role
from ooc_app import case_list, case_panel, case_transfer
from ooc_app.answered import answered
from ooc_app.auth import Asker, NotAllowedError, Person
from ooc_app.case_list import QuestionError, text, whole
from ooc_app.desk import Desk
from ooc_app.desk_work import BusyError, DeskWork
from ooc_app.intake.entries import ImportFileError
from ooc_app.theme import ASSETS

SCRIPTS: Final = ("cases_show.js", "cases_case.js", "cases_work.js", "cases.js")
REFUSALS: Final = (BusyError, ImportFileError, NotAllowedError, QuestionError, UnknownCaseError)

Asked = Mapping[str, Any]


def show_case(desk: Desk, person: Person, asked: Asked) -> dict[str, Any]:
    """Show the case asked for. Raises UnknownCaseError and QuestionError."""
    return case_panel.opened(desk, person, _case_id(asked))


def send_case(desk: Desk, person: Person, asked: Asked) -> dict[str, Any]:
    """Ask for a ruling on a case. Raises UnknownCaseError and QuestionError."""
    return case_panel.ask_for_ruling(desk, person, _case_id(asked))


def work_shown(desk: Desk, work: DeskWork) -> dict[str, Any]:
    """What goes on, and the exports there are."""
    return {"ok": True, "work": work.shown(), "exports": case_transfer.exports(desk)}


def begin(desk: Desk, work: DeskWork, asked: Asked) -> dict[str, Any]:
    """Begin an import or an export. Raises what `case_transfer` raises."""
    to_do = case_transfer.begin_import if asked.get("kind") == "import" else case_transfer.begin_export
    to_do(desk, work, asked)
    return work_shown(desk, work)


def end(desk: Desk, work: DeskWork, asked: Asked) -> dict[str, Any]:
    """Stop what goes on, drop what has ended, or remove an export."""
    if asked.get("remove"):
        case_transfer.remove_export(desk, text(asked, "remove"))
    elif asked.get("forget") is True:
        work.forget()
    else:
        work.stop()
    return work_shown(desk, work)


def _case_id(asked: Asked) -> int:
    case_id = whole(asked, "id")
    if case_id is None:
        raise QuestionError("Say which case: ?case=12.")
    return case_id


# ---- layout and wiring ----


def build_cases(desk: Desk, page: gr.Blocks) -> None:
    """Lay out the tab; a page that is opened at a case, or with a search, begins in it."""
    gr.HTML(
        html_template=(ASSETS / "cases.html").read_text(encoding="utf-8"),
        js_on_load="\n".join((ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS),
        server_functions=server_functions(desk, DeskWork()),
        apply_default_css=False,
        elem_id="cases",
    )
    to_the_tab = (ASSETS / "cases_link.js").read_text(encoding="utf-8")
    page.load(None, js=to_the_tab, api_visibility="private", queue=False, show_progress="hidden")


def server_functions(desk: Desk, work: DeskWork) -> list[Callable[..., dict[str, Any]]]:
    """The handlers as the script calls them, by name; Gradio finds the request by its type hint."""

    def choices_(payload: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        return _answer(
            desk, request, lambda person: {**case_list.choices(desk, person), **case_transfer.offered()}
        )

    def list_(payload: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        return _answer(desk, request, lambda person: case_list.listed(desk, person, payload))

    def count_(payload: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        return _answer(desk, request, lambda person: case_list.counted(desk, person, payload))

    def case_(payload: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        return _answer(desk, request, lambda person: show_case(desk, person, payload))

    def send_(payload: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        return _answer(desk, request, lambda person: send_case(desk, person, payload), Role.ADJUDICATOR)

    def preview_(payload: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        return _answer(desk, request, lambda _: case_transfer.previewed(payload), Role.EDITOR)

    def work_(payload: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        return _answer(desk, request, lambda _: work_shown(desk, work), Role.EDITOR)

    def begin_(payload: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        return _answer(desk, request, lambda _: begin(desk, work, payload), Role.EDITOR)

    def end_(payload: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        return _answer(desk, request, lambda _: end(desk, work, payload), Role.EDITOR)

    return [choices_, list_, count_, case_, send_, preview_, work_, begin_, end_]


def _answer(
    desk: Desk, asker: Asker, handler: Callable[[Person], dict[str, Any]], role: Role = Role.ANNOTATOR
) -> dict[str, Any]:
    return answered(desk, asker, role, handler, REFUSALS)
