"""The addresses of reports: `/?check=TOKEN` for whoever has the link, and what its owner does with it.

A token that is unknown, deleted or over reads alike, and one that cannot be a token is not looked up. The
name by which the desk is asked must be one of its own, as everywhere; who asks matters only to what is
changed, and to what others asked here, which strangers do not see.
"""

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qs, quote

import orjson
from fastapi import HTTPException, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.routing import Match
from starlette.types import Scope

from db.checks import CannotSendError, NotOwnCheckError, UnknownCheckError
from ooc_app.auth import Person, signs_in
from ooc_app.checks import report_deeds
from ooc_app.checks.report_data import TOKEN, Report, as_plain, known_check, report
from ooc_app.checks.report_page import DELETED, GONE, report_page, told_page
from ooc_app.checks.report_review import linked_data
from ooc_app.desk import Desk
from ooc_app.intake.images import ImageRefusedError, UnknownImageError, shown_copy
from ooc_app.sign_in import PAGE_HEADERS, Door

KEY: Final = "check"  # of the query that a report's link has
FORM_MAX: Final = 1_024  # bytes; a word
UP: Final = "../../../"  # from where a deed is posted to the desk's page
HEADERS: Final = {
    **PAGE_HEADERS,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}
OWNERS_HEADERS: Final = {**HEADERS, "Referrer-Policy": "same-origin"}
"""Of a page with forms: under `no-referrer` a browser posts them as if another site had made them."""

Deed = Callable[[Desk, Person, str], None]


class ReportRoute(APIRoute):
    """Takes the desk's own address only where a report is asked for, and leaves the rest to Gradio."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match by path, method and query."""
        query = scope.get("query_string", b"").decode("latin-1")
        if KEY not in parse_qs(query, keep_blank_values=True, max_num_fields=None):
            return Match.NONE, {}
        return super().matches(scope)


def report_routes(desk: Desk, door: Door) -> list[APIRoute]:
    """The routes of reports; they come before Gradio's."""
    reports = _Reports(desk, door)
    at = "/desk/reports/{token}"
    return [
        ReportRoute("/", reports.page, methods=["GET", "HEAD"], **_PLAIN),
        APIRoute("/desk/reports/deleted", reports.deleted, methods=["GET"], **_PLAIN),
        APIRoute(f"{at}.json", reports.json, methods=["GET"], **_PLAIN),
        APIRoute(f"{at}.jsonld", reports.review, methods=["GET"], **_PLAIN),
        APIRoute(f"{at}/picture", reports.picture, methods=["GET"], **_PLAIN),
        APIRoute(f"{at}/expire", reports.expire, methods=["POST"], **_PLAIN),
        APIRoute(f"{at}/send", reports.send, methods=["POST"], **_PLAIN),
        APIRoute(f"{at}/delete", reports.delete, methods=["POST"], **_PLAIN),
    ]


_PLAIN: Final[dict[str, Any]] = {"include_in_schema": False, "response_model": None}


class _Reports:
    """The reports of one desk."""

    def __init__(self, desk: Desk, door: Door) -> None:
        self._desk = desk
        self._door = door

    # ---- read ----

    def page(self, request: Request) -> Response:
        try:
            found = report(self._desk, request.query_params[KEY], self._door.reader(request))
        except UnknownCheckError:
            return _told(GONE, 404, "./")
        asks_to_sign_in = not found.is_of_desk and signs_in(self._desk)
        shown = report_page(found, _address(request, found.token), asks_to_sign_in=asks_to_sign_in)
        return HTMLResponse(shown, headers=OWNERS_HEADERS if found.may_change else HEADERS)

    def picture(self, token: str, request: Request) -> Response:
        self._door.admit_name(request)
        try:
            with self._desk.sessions() as session:
                sha256 = known_check(session, token).image_sha256
            path = shown_copy(sha256, self._desk.images_dir)
        except (UnknownCheckError, UnknownImageError) as unknown:
            raise HTTPException(404, GONE) from unknown
        except ImageRefusedError as refused:
            raise HTTPException(415, str(refused)) from refused
        headers = {**HEADERS, "Cross-Origin-Resource-Policy": "same-origin"}
        return FileResponse(path, media_type="image/jpeg", headers=headers)

    def json(self, token: str, request: Request) -> Response:
        return _download(as_plain(self._report(token, request)), f"check-{token}.json", "application/json")

    def review(self, token: str, request: Request) -> Response:
        found = self._report(token, request)
        data = linked_data(found, _address(request, token))
        return _download(data, f"check-{token}.jsonld", "application/ld+json")

    def deleted(self, request: Request) -> Response:
        self._door.admit_name(request)
        return _told(DELETED, 200, "../../")

    def _report(self, token: str, request: Request) -> Report:
        try:
            return report(self._desk, token, self._door.reader(request))
        except UnknownCheckError as unknown:
            raise HTTPException(404, GONE) from unknown

    # ---- change ----

    async def expire(self, token: str, request: Request) -> Response:
        term = await _term(request)

        def let_end(desk: Desk, person: Person, token: str) -> None:
            report_deeds.let_end(desk, person, token, term)

        return await run_in_threadpool(self._do, let_end, token, request)

    def send(self, token: str, request: Request) -> Response:
        return self._do(report_deeds.send, token, request)

    def delete(self, token: str, request: Request) -> Response:
        return self._do(report_deeds.delete, token, request, then="../deleted")

    def _do(self, deed: Deed, token: str, request: Request, then: str | None = None) -> Response:
        """Do a deed as whoever asks, and lead back to the report; raises HTTPException for who may not."""
        if not TOKEN.fullmatch(token):
            return _told(GONE, 404, UP)
        link = f"?{KEY}={token}"
        try:
            person = self._door.person(request)
        except HTTPException as refused:
            if refused.status_code != 401:
                raise
            return RedirectResponse(f"{UP}login?then={quote(link)}", 303)
        try:
            deed(self._desk, person, token)
        except UnknownCheckError:
            return _told(GONE, 404, UP)
        except NotOwnCheckError as refused:
            return _told(str(refused), 403, f"{UP}{link}")
        except CannotSendError as refused:
            return _told(str(refused), 409, f"{UP}{link}")
        except report_deeds.WrongTermError as refused:
            return _told(str(refused), 422, f"{UP}{link}")
        return RedirectResponse(then or f"{UP}{link}", 303)


def _address(request: Request, token: str) -> str:
    """Return a report's permanent link, at the name by which the desk was asked."""
    return f"{request.base_url}?{KEY}={token}"


async def _term(request: Request) -> str:
    """Read how long a report is to be kept; raises HTTPException for what is no such form."""
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > FORM_MAX:
        raise HTTPException(413, "Give `term` as the one field of a form.")
    form = await request.form(max_files=0, max_fields=4, max_part_size=FORM_MAX)
    term = form.get("term", "")
    return term if isinstance(term, str) else ""


def _told(says: str, status: int, home: str) -> HTMLResponse:
    return HTMLResponse(told_page(says, home=home), status, HEADERS)


def _download(data: Any, name: str, media_type: str) -> Response:
    headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(orjson.dumps(data, option=orjson.OPT_INDENT_2), media_type=media_type, headers=headers)
