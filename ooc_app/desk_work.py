"""Long work that goes on behind the page: one import, export or batch of checks at a time, watched, stopped.

What goes on is kept here and not in a browser, so a page that is opened again finds it as it is. It
ends with the app; what was cut off has kept what was done, and done again adds the rest.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from ooc_app.checks.question import CheckRefusedError
from ooc_app.export.destination import ExportError
from ooc_app.intake.entries import ImportFileError
from ooc_app.render import count, counted, duration, percent
from ooc_app.serving import ServingError

logger = logging.getLogger(__name__)

Kind = Literal["import", "export", "check"]
Status = Literal["running", "stopping", "done", "stopped", "failed"]


class BusyError(Exception):
    """Raised where something is going on already."""


class StoppedError(Exception):
    """Raised inside the work where a person has stopped it."""


EXPECTED: Final = (BusyError, CheckRefusedError, ExportError, ImportFileError, ServingError)
"""What may go wrong whose message says all a person needs."""


@dataclass
class Outcome:
    """What came of it."""

    says: str
    facts: list[tuple[str, str]] = field(default_factory=list)  # figures and what they count
    lines: list[str] = field(default_factory=list)  # what went wrong line by line, and what to know
    links: list[tuple[str, str]] = field(default_factory=list)  # name and address of what can be downloaded


class Watch:
    """What the work reports to; it raises StoppedError there when a person wants it to end."""

    def __init__(self) -> None:
        self.done = 0
        self.share = 0.0  # of the whole, 0 to 1; 0 also where that is not known
        self.stop = threading.Event()

    def advance(self, done: int, share: float) -> None:
        """Note how far the work is."""
        self.done, self.share = done, min(max(share, 0.0), 1.0)
        if self.stop.is_set():
            raise StoppedError


@dataclass
class _Going:
    kind: Kind
    title: str
    unit: str
    watch: Watch = field(default_factory=Watch)
    began: float = field(default_factory=time.monotonic)
    seconds: float | None = None  # once it has ended
    status: Status = "running"
    outcome: Outcome | None = None


class DeskWork:
    """The one thing of its kind that goes on at a desk."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._going: _Going | None = None
        self._thread: threading.Thread | None = None

    def start(self, kind: Kind, title: str, unit: str, run: Callable[[Watch], Outcome]) -> None:
        """Begin; `unit` is what is counted. Raises BusyError while something else goes on."""
        with self._lock:
            if self._thread is not None and self._thread.is_alive() and self._going is not None:
                raise BusyError(f"{self._going.title} goes on: wait until it is done, or stop it.")
            self._going = going = _Going(kind, title, unit)
            self._thread = threading.Thread(target=_carry_out, args=(going, run), name=kind, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End what goes on after the batch it is in; nothing where nothing does."""
        going = self._going
        if going is not None and going.status == "running":
            going.watch.stop.set()
            going.status = "stopping"

    def forget(self) -> None:
        """Drop what has ended, so that the page shows it no more."""
        with self._lock:
            if self._going is not None and self._going.seconds is not None:
                self._going = None

    def wait(self) -> None:
        """Return when nothing goes on."""
        if self._thread is not None:
            self._thread.join()

    def shown(self) -> dict[str, Any] | None:
        """How far it is, for the page; None where there is nothing."""
        going = self._going
        if going is None:
            return None
        outcome = going.outcome
        seconds = time.monotonic() - going.began if going.seconds is None else going.seconds
        return {
            "kind": going.kind,
            "title": going.title,
            "status": going.status,
            "share": going.watch.share,
            "words": _progress_words(going, seconds),
            "says": outcome.says if outcome else None,
            "facts": outcome.facts if outcome else [],
            "lines": outcome.lines if outcome else [],
            "links": outcome.links if outcome else [],
        }


def _carry_out(going: _Going, run: Callable[[Watch], Outcome]) -> None:
    status: Status = "failed"
    try:
        going.outcome = run(going.watch)
        status = "done"
    except StoppedError:
        going.outcome = Outcome(_stopped_words(going))
        status = "stopped"
    except EXPECTED as refused:
        going.outcome = Outcome(str(refused))
    except Exception:
        logger.exception("%s failed", going.title)
        going.outcome = Outcome(f"{going.title} failed; the desk's log says why. What was done is kept.")
    going.seconds = time.monotonic() - going.began
    going.status = status


def _stopped_words(going: _Going) -> str:
    if going.kind == "export":
        return "Stopped; nothing was written."
    if going.kind == "check":
        done = counted(going.watch.done, "row")
        return f"Stopped after {done}; Resume asks the rest." if going.watch.done else "Stopped."
    return (
        f"Stopped after {count(going.watch.done)} {going.unit}s. What was imported stays; "
        "importing again adds the rest."
    )


def _progress_words(going: _Going, seconds: float) -> str:
    watch = going.watch
    done = f"{count(watch.done)} {going.unit}{'' if watch.done == 1 else 's'}"
    if going.seconds is not None:
        return f"{done} in {duration(seconds)}"
    if not watch.done:
        return "reading" if seconds < 5 else f"reading, for {duration(seconds)}"
    pace = watch.done / max(seconds, 0.001)
    rate = f"{count(round(pace)) if pace >= 10 else f'{pace:.1f}'} a second"
    if not 0.01 < watch.share < 1:
        return f"{done} · {rate}"
    left = duration(seconds / watch.share * (1 - watch.share))
    return f"{percent(watch.share, 0)} · {done} · {rate} · {left} left"
