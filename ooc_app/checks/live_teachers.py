"""Put a check to teachers of settings.toml that are asked over the network, one question each.

They are asked in the words of a run, and what they say stands beside the student's answer: it becomes no
opinion, and nothing of it is kept. Each is asked on a thread of its own, so that nobody waits for one, and
gives up when its time-out is over.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import sqlalchemy as sa

from db.models import Teacher
from ooc_app.checks.compare import Answerer
from ooc_app.checks.question import CheckRefusedError, Question
from ooc_app.checks.said import AnswererError, TeacherSaid
from ooc_app.desk import Desk
from ooc_app.teacher_settings import at_hand, teacher_configs
from training.records import CaseInput
from training.teacher_budget import Patience
from training.teacher_question import AS_USUAL, answer_schema, clean
from training.teachers import Asked, TeacherConfig, TeacherError, is_loopback, open_teacher
from training.teaching import Ended, Limits, Opined, Unread, Why, teach

logger = logging.getLogger(__name__)

HURRIED: Final = Patience(tries=2, waits=2, longest=4.0, rest_max=15.0)  # somebody sits before the page
QUOTED_MAX: Final = 200  # characters of an answer that could not be read
UNREAD: Final = {
    Unread.REFUSED: "It declined to answer",
    Unread.EMPTY: "Its answer is empty",
    Unread.TOO_LONG: "Its answer does not end, and was broken off",
    Unread.UNPARSED: "Its answer names no verdict that can be read",
}


def askable(desk: Desk) -> list[TeacherConfig]:
    """Return the teachers that may be asked live; a demo page has none. Raises SettingsError."""
    if desk.mode == "demo":
        return []
    with desk.sessions() as session:
        retired = set(session.scalars(sa.select(Teacher.name).where(~Teacher.active)))
    configs = teacher_configs(desk).values()
    return [one for one in configs if one.kind == "endpoint" and one.name not in retired]


def goes_to(config: TeacherConfig) -> str:
    """Say where a teacher's question goes, so that nobody sends a picture away unawares."""
    address = config.address
    if is_loopback(address):
        return "stays on this machine"
    what = "caption, date and place" if config.text_only else "picture, caption, date and place"
    return f"sends the {what} to {urlsplit(address).netloc}"


def answerers(desk: Desk, names: Sequence[str], environment: Mapping[str, str]) -> list[Answerer]:
    """Return whom to ask, by name; keys are taken from the environment.

    Raises CheckRefusedError for one that cannot be asked any more, and SettingsError.
    """
    known = {config.name: config for config in askable(desk)}
    gone = [name for name in names if name not in known]
    if gone:
        raise CheckRefusedError(f"{gone[0][:80]} is retired or not in settings.toml any more: choose others.")
    return [
        Answerer("teacher", f"{name} · {known[name].model}", partial(ask, desk, known[name], environment))
        for name in dict.fromkeys(names)
    ]


def ask(
    desk: Desk, config: TeacherConfig, environment: Mapping[str, str], shown: Path, asked: Question
) -> Iterator[str | TeacherSaid]:
    """Yield at once, each time, for how long a teacher has been asked, and last what it says.

    A question that nobody waits for any more is not put a second time. Raises AnswererError.
    """
    case = CaseInput("check", "", asked.caption, asked.date, asked.place)
    one = Asked(case, None if config.text_only else shown)
    came: list[TeacherSaid | AnswererError] = []
    stop, begun = threading.Event(), time.monotonic()
    asking = threading.Thread(
        target=lambda: came.append(_outcome(desk, config, environment, one, stop)),
        name=f"ask {config.name} once",
        daemon=True,  # an app that is closed does not wait for it
    )
    asking.start()
    try:
        while asking.is_alive():
            yield f"asked for {time.monotonic() - begun:.0f} s"
    finally:
        stop.set()
    if isinstance(came[0], AnswererError):
        raise came[0]
    yield came[0]


def _outcome(
    desk: Desk, config: TeacherConfig, environment: Mapping[str, str], one: Asked, stop: threading.Event
) -> TeacherSaid | AnswererError:
    """Ask, and return what came of it; nothing is raised, because nobody listens on this thread."""
    opined: list[Opined] = []
    try:
        ended = asyncio.run(_put(desk, config, environment, one, opined, stop))
    except TeacherError as error:
        return AnswererError(str(error))
    except Exception as error:
        logger.exception("The teacher %s failed at a check", config.name)
        return AnswererError(f"It failed ({type(error).__name__}); the desk's log says more.")
    return _said(config, opined[0]) if opined else AnswererError(_silence(config, ended))


async def _put(
    desk: Desk,
    config: TeacherConfig,
    environment: Mapping[str, str],
    one: Asked,
    opined: list[Opined],
    stop: threading.Event,
) -> Ended:
    from training.teacher_watch import TeacherWatch

    limits = Limits(cases=1, seconds=config.timeout_s)
    watch = TeacherWatch(go_on=True)
    teacher = open_teacher(at_hand(desk, config), environment, answer_schema(AS_USUAL))
    try:
        return await teach(
            teacher, config, [one], opined.append, limits=limits, watch=watch, stop=stop, patience=HURRIED
        )
    finally:
        await teacher.close()


def _said(config: TeacherConfig, opined: Opined) -> TeacherSaid | AnswererError:
    cost = opined.cost if config.price_in or config.price_out else None
    if opined.unread is None:
        said = opined.opinion
        return TeacherSaid(said.verdict, said.confidence, said.rationale, said.elements, opined.seconds, cost)
    quoted = clean(opined.raw)[:QUOTED_MAX]
    ending = f": {quoted}" if quoted else "."
    return AnswererError(f"{UNREAD[opined.unread]}{ending}")


def _silence(config: TeacherConfig, ended: Ended) -> str:
    """Say why no answer came."""
    if ended.why is Why.TIME:
        return f"It did not answer within {config.timeout_s:g} seconds."
    if ended.why is Why.TEACHER or not ended.failed:
        return ended.said
    return f"It gave no answer: {next(iter(ended.failed))}."
