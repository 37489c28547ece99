"""Many pictures at once, on the Check tab: a batch in, its answers row by row, CSV and JSON lines out.

The pane is one component (`assets/check_many.*`) that asks the handlers below and shows what they draw.
A batch goes on in the app and not in a browser, so a page that is opened again finds it as it is; one
that the app's end cut off waits for Resume.
"""

import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, Final

import gradio as gr

from db import batches
from db.batches import Counts, NotOwnBatchError, UnknownBatchError
from db.engine import write_session
from db.models import Batch
from db.vocabulary import Role
from ooc_app import render
from ooc_app.answered import answered
from ooc_app.auth import Asker, NotAllowedError, Person, now
from ooc_app.checks import frozen, many, many_panel
from ooc_app.checks.many_panel import Wanted
from ooc_app.checks.report_deeds import remove_pictures
from ooc_app.checks.rows import digest, rows_of
from ooc_app.desk import Desk
from ooc_app.desk_work import BusyError, DeskWork, Outcome, Watch
from ooc_app.intake.entries import ImportFileError
from ooc_app.serving import Serving
from ooc_app.theme import ASSETS

REFUSALS: Final = (BusyError, ImportFileError, NotAllowedError, NotOwnBatchError, UnknownBatchError)
PAGES_MAX: Final = 10_000
Asked = Mapping[str, Any]


class Many:
    """The batch that goes on at a desk."""

    def __init__(self, desk: Desk, serving: Serving) -> None:
        self.desk = desk
        self.serving = serving
        self.work = DeskWork()
        self.owner: int | None = None  # of what goes on, or went on last
        self.token: str | None = None  # of its batch, once its rows are read
        self._turn = threading.Lock()

    def start(self, person: Person, token: str, *, verdicts_only: bool) -> None:
        """Begin with the files somebody has sent. Raises ImportFileError and BusyError."""
        folder = frozen.own_folder(self.desk, token, person.annotator_id)
        options = frozen.begin(folder, verdicts_only=verdicts_only)
        try:
            self._begin(token, person.annotator_id, options.name)
        except BusyError:
            frozen.forget(self.desk, token)
            raise

    def resume(self, batch: Batch) -> None:
        """Go on with a batch. Raises ImportFileError where its files are not kept here, and BusyError."""
        if not frozen.is_frozen(self.desk, batch.token):
            raise ImportFileError("Its files are not kept here: give the same files, or command, again.")
        self._begin(batch.token, batch.annotator_id, batch.name)

    def is_going(self) -> bool:
        """Whether a batch goes on."""
        shown = self.work.shown()
        return shown is not None and shown["status"] in ("running", "stopping")

    def _begin(self, token: str, owner: int, name: str) -> None:
        with self._turn:
            if not self.is_going():
                self.owner, self.token = owner, None  # before the thread that says which batch it is
            self.work.start("check", name, "row", lambda watch: self._answer(token, owner, watch))

    def _answer(self, token: str, owner: int, watch: Watch) -> Outcome:
        """Read what was given, then answer what is not done; the files go when all is."""
        try:
            batch, asked = self._read(token, owner, watch)
        except Exception:
            if not self._is_batch(token):
                frozen.forget(self.desk, token)
            raise
        self.token = batch.token
        with closing(asked.files), closing(many.go_on(self.desk, self.serving, asked)) as going:
            for one in going:
                watch.advance(one.done, one.done / one.of)
        frozen.forget(self.desk, batch.token)
        with self.desk.sessions() as session:
            standing = batches.counts(session, batch, now())
        return Outcome(f"{render.counted(standing.rows, 'row')} done, {standing.refused:,} of them refused.")

    def _read(self, token: str, owner: int, watch: Watch) -> tuple[Batch, many.Asked]:
        """Make or find the batch of what was given, and open its files where they lie from now on."""
        given = frozen.frozen(self.desk, token)
        if given is None:
            raise ImportFileError("The files are not on the desk any more: choose them again.")
        options, files = given
        with closing(files):
            rows = rows_of(files)
            whole = digest(
                rows, files, verdicts_only=options.verdicts_only, say=lambda _: watch.advance(0, 0.0)
            )
        kept = [row.kept for row in rows]
        with write_session(self.desk.sessions) as session:
            batch = batches.open_batch(session, token, options.name, whole, kept, owner, now())
        frozen.move(self.desk, token, batch.token)
        moved = frozen.frozen(self.desk, batch.token)
        if moved is None:
            raise ImportFileError("The files are not on the desk any more: choose them again.")
        by_number = {row.number: row for row in rows}
        return batch, many.Asked(batch.id, owner, by_number, moved[1], options.verdicts_only, watch.stop)

    def _is_batch(self, token: str) -> bool:
        with self.desk.sessions() as session:
            try:
                batches.batch_of(session, token)
            except UnknownBatchError:
                return False
        return True


def open_upload(many_: Many, person: Person) -> dict[str, Any]:
    """Give somebody a folder to send files into. Raises BusyError while a batch goes on."""
    if many_.is_going():
        raise BusyError("A batch goes on: wait until it is done, or stop it.")
    return {"ok": True, "token": frozen.new_folder(many_.desk, person.annotator_id)}


def start(many_: Many, person: Person, asked: Asked) -> dict[str, Any]:
    """Begin a batch. Raises ImportFileError and BusyError."""
    many_.start(person, str(asked.get("token", "")), verdicts_only=asked.get("verdicts_only") is True)
    return {"ok": True}


def stop(many_: Many, person: Person) -> dict[str, Any]:
    """Stop the batch that goes on. Raises NotOwnBatchError where it is somebody else's."""
    if many_.owner != person.annotator_id and person.role != Role.EDITOR:
        raise NotOwnBatchError("This batch is somebody else's: only they and editors may stop it.")
    many_.work.stop()
    return {"ok": True}


def resume(many_: Many, person: Person, asked: Asked) -> dict[str, Any]:
    """Go on with a batch. Raises what `owned_batch` and `Many.resume` raise."""
    with many_.desk.sessions() as session:
        token = str(asked.get("batch", ""))
        batch = batches.owned_batch(session, token, person.annotator_id, person.role)
    many_.resume(batch)
    return {"ok": True}


def delete(many_: Many, person: Person, asked: Asked) -> dict[str, Any]:
    """Delete a batch with its checks. Raises what `owned_batch` raises, and BusyError while it goes on."""
    token = str(asked.get("batch", ""))
    if many_.is_going() and many_.token in (token, None):
        raise BusyError("This batch goes on: stop it first.")
    with write_session(many_.desk.sessions) as session:
        unused = batches.delete_batch(session, token, person.annotator_id, person.role, now())
        remove_pictures(unused, many_.desk.images_dir)
    frozen.forget(many_.desk, token)
    if many_.token == token:
        many_.token = None
    return {"ok": True}


def show(many_: Many, person: Person, asked: Asked) -> dict[str, Any]:
    """Draw the batch asked for, else the one somebody began last, else their newest."""
    desk, is_going = many_.desk, many_.is_going()
    is_own = many_.owner == person.annotator_id
    with desk.sessions() as session:
        own = [
            (one, batches.counts(session, one, now()))
            for one in batches.own_batches(session, person.annotator_id)
        ]
        token = str(asked.get("batch") or "") or (many_.token if is_own else None)
        is_reading = is_own and is_going and token is None
        newest = own[0][0] if own and not is_reading else None
        batch = batches.batch_of(session, token) if token else newest
        wanted = _wanted(asked)
        parts = {"head": "", "rows": "" if is_reading else many_panel.NOTHING_YET}
        standing = None
        if batch is not None:
            standing = batches.counts(session, batch, now())
            rows = batches.page_of(session, batch.id, now(), **_as_arguments(wanted))
            parts["rows"] = many_panel.rows_panel(rows, standing, wanted)
            parts["head"] = _head(many_, person, batch, standing, is_going=is_going)
        shown = batch.token if batch else None
        parts["going"] = _going(many_, person, shown, standing)
        parts["earlier"] = many_panel.earlier_panel(own, shown)
    return {"ok": True, "going": is_going, "batch": shown, "parts": parts}


def _head(many_: Many, person: Person, batch: Batch, standing: Counts, *, is_going: bool) -> str:
    is_own = batch.annotator_id == person.annotator_id or person.role == Role.EDITOR
    is_this = is_going and many_.token == batch.token
    may_resume = (
        is_own and not is_going and standing.waiting > 0 and frozen.is_frozen(many_.desk, batch.token)
    )
    return many_panel.batch_panel(batch, standing, is_going=is_this, may_resume=may_resume, may_change=is_own)


def _going(many_: Many, person: Person, shown: str | None, standing: Counts | None) -> str:
    """Draw what goes on, or why it ended; of somebody else's only that it goes on."""
    work = many_.work.shown()
    is_own = many_.owner == person.annotator_id or person.role == Role.EDITOR
    if work is None or (not is_own and not many_.is_going()):
        return ""
    if not is_own:
        return render.notice("Somebody else's batch goes on; yours can begin when it is done.")
    if many_.is_going():
        return many_panel.going_panel(work, standing if shown == many_.token else None)
    return many_panel.ended_panel(work) if many_.token in (shown, None) else ""


def _wanted(asked: Asked) -> Wanted:
    """Read which rows are asked for; what makes no sense is taken for what comes first."""
    order, only, page = asked.get("order"), asked.get("only"), asked.get("page")
    return Wanted(
        next((one for one in batches.ORDERS if one == order), "number"),
        asked.get("descending") is True,
        next((one for one in batches.ONLY if one == only), "all"),
        page if isinstance(page, int) and 0 <= page < PAGES_MAX else 0,
    )


def _as_arguments(wanted: Wanted) -> dict[str, Any]:
    return {name: getattr(wanted, name) for name in Wanted.__slots__}


# ---- layout and wiring ----


def build_many(desk: Desk, serving: Serving) -> None:
    """Lay out the pane."""
    gr.HTML(
        html_template=(ASSETS / "check_many.html").read_text(encoding="utf-8"),
        js_on_load=(ASSETS / "check_many.js").read_text(encoding="utf-8"),
        server_functions=server_functions(Many(desk, serving)),
        apply_default_css=False,
        elem_id="check-many",
    )


def server_functions(many_: Many) -> list[Callable[..., dict[str, Any]]]:
    """The handlers as the script calls them, by name; Gradio finds the request by its type hint."""

    def open_(payload: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        return _answered(many_, request, lambda person: open_upload(many_, person))

    def start_(payload: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        return _answered(many_, request, lambda person: start(many_, person, payload))

    def stop_(payload: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        return _answered(many_, request, lambda person: stop(many_, person))

    def resume_(payload: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        return _answered(many_, request, lambda person: resume(many_, person, payload))

    def delete_(payload: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        return _answered(many_, request, lambda person: delete(many_, person, payload))

    def show_(payload: dict[str, Any], request: gr.Request) -> dict[str, Any]:
        return _answered(many_, request, lambda person: show(many_, person, payload))

    return [open_, start_, stop_, resume_, delete_, show_]


def _answered(many_: Many, asker: Asker, handler: Callable[[Person], dict[str, Any]]) -> dict[str, Any]:
    return answered(many_.desk, asker, Role.ANNOTATOR, handler, REFUSALS)
