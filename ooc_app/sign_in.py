"""The door of the desk: every request passes it, and people sign in and out there.

Gradio is given `Door.name_of` as its `auth_dependency`, which it asks before every route that shows or
does anything. Its own sign-in (`launch(auth=...)`) is not used: a restart signs everybody out, a new
password or a closed account nobody, and behind HTTPS any site's page may send its cookie along and
read the answer.

People fill in a form at `/login`; a program posts the same two fields, `username` and `password`, and
gets a cookie to send along. `/logout` frees what the person holds.
"""

import logging
import re
import socket
from collections.abc import Iterable
from html import escape
from math import ceil
from string import Template
from typing import Any, Final
from urllib.parse import quote

import anyio
from fastapi import HTTPException, Request, Response
from fastapi.exception_handlers import http_exception_handler
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from db import people
from db.engine import write_session
from db.passwords import PASSWORD_MAX, is_password
from ooc_app.auth import (
    NotAllowedError,
    NotSignedInError,
    Person,
    asked_name,
    is_address,
    is_foreign,
    is_loopback,
    now,
    person_asking,
    remember,
)
from ooc_app.desk import Desk
from ooc_app.theme import ASSETS, COLOURS
from ooc_app.tokens import TOKEN_LIFE, cookie_name, make_token, read_secret
from ooc_app.wrong_tries import WrongTries

logger = logging.getLogger(__name__)

FORM_MAX: Final = 16_384  # bytes; a name and a password, whatever the script they are in
AT_ONCE: Final = 2  # passwords looked at at the same time: 32 MiB and one core each
WAITING_MAX: Final = 50  # tries that may wait for that
WRONG: Final = "This name and password do not belong together."
PAGE_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
}


class TooManyTriesError(Exception):
    """Raised where the next try has to wait; `seconds` says how long."""

    def __init__(self, seconds: float) -> None:
        self.seconds = ceil(seconds)
        super().__init__(f"Too many tries: wait {self.seconds} s, then try again.")


def known_names(host: str, names: Iterable[str] = ()) -> frozenset[str]:
    """Return the names a desk is reached by: those it was given, and the machine's own."""
    own = socket.gethostname().lower()
    told = {name.lower().rstrip(".") for name in (host, *names)}
    return frozenset(told | {own, f"{own}.local", own.partition(".")[0]}) - {""}


class Door:
    """Lets people of the desk through, and nobody else."""

    def __init__(self, desk: Desk, names: frozenset[str], tries: WrongTries | None = None) -> None:
        self._desk = desk
        self._names = names
        self._tries = tries or WrongTries()
        self._looks = anyio.CapacityLimiter(AT_ONCE)

    # ---- who is let through ----

    def person(self, request: Request) -> Person:
        """Return who makes a request; raises HTTPException 401 where signing in would help, else 403."""
        self.admit_name(request)
        try:
            person = person_asking(self._desk, request)
        except NotSignedInError as refused:
            raise HTTPException(401, str(refused)) from refused
        except NotAllowedError as refused:
            raise HTTPException(403, str(refused)) from refused
        remember(request, person)
        return person

    def reader(self, request: Request) -> Person | None:
        """Return who reads what is shown to anybody, None for a stranger; raises as `admit_name` does."""
        self.admit_name(request)
        try:
            return person_asking(self._desk, request)
        except NotAllowedError:
            return None

    async def name_of(self, request: Request) -> str | None:
        """Tell Gradio who makes a request, None where they have to sign in; raises HTTPException 403."""
        try:
            return (await run_in_threadpool(self.person, request)).name
        except HTTPException as refused:
            if refused.status_code == 401:
                return None
            raise

    def admit_name(self, request: Request) -> None:
        """Refuse a name the desk was not told of: a site may let its own name point at this machine.

        An address cannot be made to point elsewhere, so every address is good. Raises HTTPException 403.
        """
        name = asked_name(request).lower()
        if not (is_loopback(name) or is_address(name) or name in self._names):
            raise HTTPException(
                403,
                f"This desk is not known by the name {name!r}: start it with `--name {name}`, or open it by "
                "its address.",
            )

    # ---- signing in and out ----

    def routes(self) -> list[APIRoute]:
        """The routes of the door, which come before Gradio's of the same names."""
        return [
            _route("/login", self._show_form, "GET"),
            _route("/login", self._take_form, "POST"),
            _route("/logout", self._sign_out, "GET", "POST"),
            _route("/desk/who", self._who, "GET"),
        ]

    def exception_handlers(self) -> dict[int | type[Exception], Any]:
        """Answer a browser that opens a page with a page; programs get the sentence as JSON."""
        return {401: _to_the_form, 403: _refusal}

    def _show_form(self, request: Request, then: str = "") -> Response:
        try:
            self.person(request)
        except HTTPException as refused:
            if refused.status_code != 401:
                raise
            return _form_page("", then, "")
        return RedirectResponse(_own(then), 303)

    async def _take_form(self, request: Request) -> Response:
        self.admit_name(request)
        if is_foreign(request):
            raise HTTPException(403, "Another site's page sent this; open the desk's own.")
        name, password, then = await _filled_in(request)
        try:
            cookie = await self._look_at(name, password, request)
        except TooManyTriesError as refused:
            headers = {"Retry-After": str(refused.seconds)}
            return _not_signed_in(request, 429, str(refused), name, then, headers)
        if cookie is None:
            return _not_signed_in(request, 401, WRONG, name, then, {})
        answer = (
            RedirectResponse(_own(then), 303) if _wants_page(request) else JSONResponse({"success": True})
        )
        answer.set_cookie(
            *cookie,
            max_age=int(TOKEN_LIFE.total_seconds()),
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        answer.headers["Cache-Control"] = "no-store"
        return answer

    async def _look_at(self, name: str, password: str, request: Request) -> tuple[str, str] | None:
        """Return the cookie for a name and its password, None for a wrong one; raises TooManyTriesError."""
        key = people.comparable(name)
        if self._looks.statistics().tasks_waiting >= WAITING_MAX:
            raise TooManyTriesError(1.0)
        if (wait := self._tries.begin(key)) > 0:
            raise TooManyTriesError(wait)
        cookie, is_known = await anyio.to_thread.run_sync(self._cookie, name, password, limiter=self._looks)
        if cookie is None:  # a name nobody has may be a password typed into the wrong field
            who = repr(name) if is_known else "a name nobody has"
            logger.warning("A wrong password for %s, from %s", who, request.client and request.client.host)
            return None
        self._tries.forget(key)
        return cookie

    def _cookie(self, name: str, password: str) -> tuple[tuple[str, str] | None, bool]:
        with self._desk.sessions() as session:
            found = people.account_named(session, name)
        kept = found.password_hash if found and found.may_sign_in else None
        is_right = is_password(password, kept)
        if not is_right or found is None or kept is None:
            return None, found is not None
        with write_session(self._desk.sessions) as session:
            signed_in = people.sign_in(session, found.id, now())
        if signed_in is None or signed_in.password_hash != kept:
            return None, True
        secret = read_secret(self._desk.data_dir)
        return (cookie_name(secret), make_token(secret, found.id, kept, now())), True

    def _sign_out(self, request: Request) -> Response:
        """End the person's sign-ins and free their cases. Following another site's link does not."""
        if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise HTTPException(403, "Another site's page asked to sign you out; use the desk's own.")
        try:
            person = self.person(request)
        except HTTPException as refused:
            if refused.status_code != 401:
                raise
            return RedirectResponse("login", 303)
        if person.signed_in:
            with write_session(self._desk.sessions) as session:
                people.sign_out(session, person.annotator_id, now())
        answer = RedirectResponse("login", 303)
        answer.delete_cookie(cookie_name(read_secret(self._desk.data_dir)), httponly=True, samesite="lax")
        return answer

    def _who(self, request: Request) -> Response:
        person = self.person(request)
        told = {"name": person.name, "role": person.role, "signed_in": person.signed_in}
        return JSONResponse(told, headers={"Cache-Control": "no-store"})


def _route(path: str, endpoint: Any, *methods: str) -> APIRoute:
    return APIRoute(path, endpoint, methods=list(methods), include_in_schema=False, response_model=None)


async def _filled_in(request: Request) -> tuple[str, str, str]:
    """Read name, password and the query to go to; raises HTTPException for what is no such form."""
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > FORM_MAX:
        raise HTTPException(413, "A name and a password are shorter than this.")
    form = await request.form(max_files=0, max_fields=8, max_part_size=FORM_MAX)
    name, password, then = (form.get(field, "") for field in ("username", "password", "then"))
    if not (isinstance(name, str) and isinstance(password, str) and isinstance(then, str)):
        raise HTTPException(422, "Give `username` and `password` as fields of a form.")
    return name[: people.NAME_MAX], password[:PASSWORD_MAX], then


def _own(then: str) -> str:
    """Return where to go after signing in: the desk's page with its query, and never another place."""
    return f"./{then}" if re.fullmatch(r"\?[^\s\\]{1,500}", then) else "./"


def _wants_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _not_signed_in(
    request: Request, status: int, says: str, name: str, then: str, headers: dict[str, str]
) -> Response:
    if _wants_page(request):
        return _form_page(name, then, says, status, headers)
    return JSONResponse({"detail": says}, status, headers)


def _form_page(
    name: str, then: str, says: str, status: int = 200, headers: dict[str, str] | None = None
) -> HTMLResponse:
    return _page("sign_in.html", status, headers or {}, name=name, then=then, says=says)


def _page(template: str, status: int, headers: dict[str, str], **texts: str) -> HTMLResponse:
    written = Template((ASSETS / template).read_text(encoding="utf-8"))
    style = page_colours() + (ASSETS / "sign_in.css").read_text(encoding="utf-8")
    told = {name: escape(text) for name, text in texts.items()}
    return HTMLResponse(written.substitute(told, style=style), status, {**PAGE_HEADERS, **headers})


def page_colours() -> str:
    """Write the theme's colours for a page without Gradio: the system's light or dark, on paper light."""
    light, dark = ("".join(f"--desk-{name}:{pair[at]};" for name, pair in COLOURS.items()) for at in (0, 1))
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}\n"


async def _to_the_form(request: Request, refused: HTTPException) -> Response:
    """Send whoever opens a page to the form, and back to the page's query afterwards."""
    opens_page = _wants_page(request) or request.url.path == "/"
    if request.method not in ("GET", "HEAD") or not opens_page:
        return await http_exception_handler(request, refused)
    up = "../" * (request.url.path.count("/") - 1)
    query = f"?then={quote(f'?{request.url.query}')}" if request.url.query and not up else ""
    return RedirectResponse(f"{up}login{query}", 303)


async def _refusal(request: Request, refused: HTTPException) -> Response:
    if request.method != "GET" or not _wants_page(request):
        return await http_exception_handler(request, refused)
    return _page("refused.html", refused.status_code, {}, says=str(refused.detail))
