"""What is being done with a teacher, where everybody can read it: one small file in the data folder.

Whoever does it, the page or a command line, writes how far it is once a second, and how it ended. So a page
that is opened again, or another one, shows what goes on, and can stop it; and one thing at a time is done
with a teacher. What was cut off is known by its lock, which its process no longer holds.
"""

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from db.teaching import CUT_OFF, TeachingError
from ooc_app.auth import now
from ooc_app.desk import Desk, SettingsError
from ooc_app.intake.images import write_whole
from ooc_app.turns import held, is_held
from training.teachers import TeacherError

logger = logging.getLogger(__name__)

EVERY_S: Final = 1.0
FAILED: Final = "failed"
EXPECTED: Final = (SettingsError, TeacherError, TeachingError)  # failures whose message says all one needs


class Deed(StrEnum):
    """What can be done with a teacher that takes a while."""

    RUN = "run"  # ask about the cases that lack its opinion
    REHEARSE = "rehearse"  # the dry run
    FLIP = "flip"  # ask again with the verdicts in the other order
    RETIRE = "retire"
    REINSTATE = "reinstate"


@dataclass(frozen=True)
class Standing:
    """What is being done with a teacher, or was done last.

    `figures` are as the deed counts them (`TeacherWatch.figures`; of `retire` and `reinstate` alone `kept`
    and `total`). `why` and `said`, a sentence, are there once it has ended, `outcome` where it ended well.
    """

    deed: Deed
    going: bool
    pid: int
    began: datetime
    ended: datetime | None = None
    figures: dict[str, Any] | None = None
    why: str | None = None
    said: str | None = None
    outcome: dict[str, Any] | None = None


class Board:
    """Where somebody who does something with a teacher writes how far it is."""

    def __init__(self, path: Path, deed: Deed, figures: Callable[[], dict[str, Any]]) -> None:
        self._path = path
        self._figures = figures
        self._told: dict[str, Any] = {"deed": deed, "pid": os.getpid(), "began": now().isoformat()}
        self._over = threading.Event()

    def end(self, why: str, said: str, outcome: dict[str, Any] | None = None) -> None:
        """Say how it ended; it is written when the block ends."""
        self._told |= {"why": why, "said": said, "outcome": outcome}

    def _write(self) -> None:
        told = {**self._told, "figures": self._figures()}
        write_whole(self._path, json.dumps(told, ensure_ascii=False).encode(errors="replace"))

    def _keep_writing(self) -> None:
        while not self._over.wait(EVERY_S):
            self._write_if_possible()

    def _write_if_possible(self) -> None:
        try:
            self._write()
        except OSError as error:  # a full disk is no reason to end what is done: the database says that
            logger.warning("%s cannot be written (%s)", self._path, error.strerror)

    @contextmanager
    def _written(self) -> Iterator[None]:
        self._write()
        writing = threading.Thread(target=self._keep_writing, name="teacher's board", daemon=True)
        writing.start()
        try:
            yield
        except EXPECTED as error:
            self.end(FAILED, str(error))
            raise
        except KeyboardInterrupt:
            self.end("stopped", "It was given up; what had been answered is kept.")
            raise
        except BaseException as error:
            self.end(FAILED, f"It failed ({type(error).__name__}: {error}); what had been answered is kept.")
            raise
        finally:
            self._over.set()
            writing.join()
            self._told["ended"] = now().isoformat()
            self._write_if_possible()


@contextmanager
def doing(desk: Desk, name: str, deed: Deed, figures: Callable[[], dict[str, Any]]) -> Iterator[Board]:
    """Do something with a teacher, with `figures` on its board, alone.

    Raises TeachingError where something is being done with it already.
    """
    with held(file_of(desk, name, "lock"), busy(name)):
        board = Board(file_of(desk, name, "json"), deed, figures)
        with board._written():
            yield board


def busy(name: str) -> TeachingError:
    """Say that something is being done with a teacher."""
    return TeachingError(f"Something is being done with {name} already: wait until that is done, or stop it.")


def standing(desk: Desk, name: str) -> Standing | None:
    """Return what is being done with a teacher, or was last; None where nothing is known."""
    going = is_held(file_of(desk, name, "lock"))
    try:
        told = json.loads(file_of(desk, name, "json").read_text(encoding="utf-8"))
        for when in ("began", "ended"):
            told[when] = datetime.fromisoformat(told[when]) if when in told else None
        one = Standing(Deed(told.pop("deed")), going, **told)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError):
        logger.warning("What was done with %r last cannot be read", name)
        return None
    if one.ended is None and not going:
        return Standing(one.deed, False, one.pid, one.began, None, one.figures, CUT_OFF, CUT_OFF_SAID)
    return one


def forget(desk: Desk, name: str) -> None:
    """Drop what was done last; nothing while something goes on."""
    if not is_held(file_of(desk, name, "lock")):
        file_of(desk, name, "json").unlink(missing_ok=True)


CUT_OFF_SAID: Final = "It was cut off; what had been answered by then is kept."


def file_of(desk: Desk, name: str, kind: str) -> Path:
    """Where something of a teacher lies whose name may be any text: its board, lock or log."""
    return desk.data_dir / "teachers" / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.{kind}"
