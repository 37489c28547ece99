"""Build the page: the tabs in order, the frame around them, and how it is launched.

Pictures are served by one route, `desk/images/SHA256`, which hands out the shown copy and nothing
else of the data folder; Gradio's own file route is given no path. All of it stands behind the door
(`sign_in.py`), except on a demo page, which shows nothing of the desk.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import gradio as gr
from fastapi import HTTPException, Request
from fastapi.responses import FileResponse
from fastapi.routing import APIRoute
from starlette.middleware import Middleware

from ooc_app.adjudicate import build_adjudicate
from ooc_app.api import build_api
from ooc_app.case_files import case_routes
from ooc_app.cases import build_cases
from ooc_app.check import build_check
from ooc_app.check_many import build_many
from ooc_app.checks.background import Background
from ooc_app.checks.many_routes import batch_routes
from ooc_app.checks.report_routes import report_routes
from ooc_app.desk import Desk
from ooc_app.distil import build_distil
from ooc_app.intake.images import ImageRefusedError, UnknownImageError, shown_copy
from ooc_app.language import LANGUAGES, speaking, texts
from ooc_app.mcp_door import McpDoor
from ooc_app.serving import Serving
from ooc_app.sign_in import Door, known_names
from ooc_app.teach import build_teach
from ooc_app.theme import ASSETS, colour_properties, desk_theme
from ooc_app.uploads import UnfetchingBlocks

UPLOAD_MAX: Final = "40mb"  # what the image door takes at most
CACHE_SECONDS: Final = 3600  # uploads are looked at this often, and go when they are this old


def build_page(desk: Desk, serving: Serving | None = None) -> gr.Blocks:
    """Build the page of a desk. Its student loads when the page is first opened, not before it answers.

    A visitor of a demo page gets Check alone: what rules or trains belongs to the desk's own people.
    """
    served, background = serving or Serving(desk), Background(desk)
    words = tab_names()
    with UnfetchingBlocks(
        title="OOC Desk",
        fill_width=True,
        analytics_enabled=False,
        delete_cache=(CACHE_SECONDS, CACHE_SECONDS),
    ) as page:
        gr.HTML("<h1>OOC Desk</h1>", elem_id="desk-brand", apply_default_css=False)
        _head_line(desk)
        with gr.Tabs(elem_id="desk-tabs"):
            if desk.mode == "desk":
                with gr.Tab(words("tab.adjudicate"), id="adjudicate"):
                    build_adjudicate(desk)
            with gr.Tab(words("tab.check"), id="check") as check_tab:
                build_check(desk, served, background, check_tab)
                if desk.mode == "desk":
                    build_many(desk, served)
            if desk.mode == "desk":
                with gr.Tab(words("tab.cases"), id="cases"):
                    build_cases(desk, page)
                with gr.Tab(words("tab.teach"), id="teach"):
                    build_teach(desk, page)
                with gr.Tab(words("tab.distil"), id="distil") as distil_tab:
                    build_distil(desk, distil_tab)
        build_api(desk, served, background)
        page.load(served.begin_loading, api_visibility="private", queue=False, show_progress="hidden")
    page.queue(default_concurrency_limit=None)
    return page  # type: ignore[no-any-return]


def _head_line(desk: Desk) -> None:
    """The right of the page head: how far the desk is, and who is at it."""
    gr.HTML(
        '<div id="desk-head"><div id="desk-progress"></div><div id="desk-account"></div></div>',
        js_on_load=speaking("account.js") if desk.mode == "desk" else None,
        elem_id="desk-progress-line",
        apply_default_css=False,
    )


def tab_names() -> gr.I18n:
    """The names of the tabs, which Gradio puts into the browser's language."""
    own = {language: texts(language) for language in LANGUAGES}
    return gr.I18n(
        **{one: {k: str(v) for k, v in read.items() if k.startswith("tab.")} for one, read in own.items()}
    )


def launch_options(desk: Desk, host: str = "127.0.0.1", names: Iterable[str] = ()) -> dict[str, Any]:
    """How the page is launched: look, limits, the door, and nothing kept in the browser or sent elsewhere.

    `names` are those people reach the desk by, besides the `host` it listens on and the machine's own.
    """
    return {
        "i18n": tab_names(),
        "theme": desk_theme(),
        "css": colour_properties(),
        "css_paths": [
            ASSETS / "desk.css",
            ASSETS / "check.css",
            ASSETS / "check_many.css",
            ASSETS / "own_checks.css",
            ASSETS / "adjudicate.css",
            ASSETS / "account.css",
            ASSETS / "cases.css",
            ASSETS / "teach.css",
            ASSETS / "teacher_figures.css",
        ],
        "max_file_size": UPLOAD_MAX,
        "run_history": False,
        "enable_monitoring": False,
        "footer_links": [],
        "ssr_mode": False,
        "share": False,
        "mcp_server": True,
        "quiet": True,
        **(_behind_the_door(desk, Door(desk, known_names(host, names))) if desk.mode == "desk" else {}),
    }


def _behind_the_door(desk: Desk, door: Door) -> dict[str, Any]:
    return {
        "auth_dependency": door.name_of,
        "app_kwargs": {
            "routes": [
                *door.routes(),
                picture_route(desk, door),
                *case_routes(desk, door.person),
                *report_routes(desk, door),
                *batch_routes(desk, door.person),
            ],
            "exception_handlers": door.exception_handlers(),
            "middleware": [Middleware(McpDoor, door=door)],
        },
    }


def picture_route(desk: Desk, door: Door) -> APIRoute:
    """The route of the shown copies; a copy never changes, so a browser may keep it for its person."""

    def picture(sha256: str, request: Request) -> FileResponse:
        person = door.person(request)
        try:
            path: Path = shown_copy(sha256, desk.images_dir)
        except UnknownImageError as unknown:
            raise HTTPException(404, str(unknown)) from unknown
        except ImageRefusedError as refused:
            raise HTTPException(415, str(refused)) from refused
        headers = {
            "Cache-Control": "private, max-age=31536000, immutable",
            "X-Content-Type-Options": "nosniff",
        }
        if person.signed_in:
            headers["Vary"] = "Cookie"  # the next one at this browser is not served from what it kept
        return FileResponse(path, media_type="image/jpeg", headers=headers)

    return APIRoute("/desk/images/{sha256}", picture, methods=["GET"], include_in_schema=False)
