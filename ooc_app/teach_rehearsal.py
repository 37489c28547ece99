"""Ask a teacher about a few cases before all of them: what is sent, what comes back, how it is read.

Nothing is kept, and what all the other cases would take is estimated from these few.
"""

import asyncio
import base64
import io
import json
import threading
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from PIL import Image

from db import teaching as kept
from db.teaching import Gap
from ooc_app.desk import Desk
from ooc_app.teach_board import Deed, doing
from ooc_app.teaching import PAGE, Asking, Environment, Passing, opened, prepared, wanted_of
from training.records import CaseInput
from training.teacher_question import teacher_question
from training.teachers import Asked, TeacherConfig
from training.teaching import Ended, Limits, Opined, teach

CASES: Final = 3


@dataclass(frozen=True)
class Rehearsed:
    """One case: what was sent, and what was said; None where no answer came."""

    case: CaseInput
    desk_id: int
    sent: str
    opined: Opined | None


@dataclass(frozen=True)
class Rehearsal:
    """What a few cases showed; cost (USD) and seconds are of all the cases that lack an opinion.

    `seconds` holds where the teacher answers as many at once as are asked, `seconds_at_most` where it answers
    no faster than it did these few. None where nothing came back.
    """

    cases: tuple[Rehearsed, ...]
    ended: Ended
    gap: Gap
    cost: float | None
    seconds: float | None
    seconds_at_most: float | None

    def figures(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        return {
            "cases": [_figures(one) for one in self.cases],
            "why": self.ended.why.value,
            "said": self.ended.said,
            "failed": dict(self.ended.failed),
            "missing": self.gap.cases,
            "without_picture": self.gap.without_picture,
            "estimated_cost": self.cost,
            "estimated_seconds": self.seconds,
            "estimated_seconds_at_most": self.seconds_at_most,
        }


def rehearse(desk: Desk, asking: Asking, environment: Environment, *, stop: threading.Event) -> Rehearsal:
    """Ask about the first few cases that lack an opinion. Raises TeacherError as opening a teacher does, and
    TeachingError where something is being done with it.
    """
    config, passing = asking.config, Passing(asking.config.text_only)
    wanted, opined = wanted_of(desk, asking), dict[str, Opined]()

    def page(after_id: int) -> list[int]:
        with desk.sessions() as session:
            return kept.missing(session, wanted, after_id=after_id, count=PAGE)

    def figures() -> dict[str, Any]:
        return {"kept": len(opined), "total": CASES}

    with doing(desk, config.name, Deed.REHEARSE, figures) as board:
        with desk.sessions() as session:
            gap = kept.count_missing(session, wanted)
        cases = list(islice(prepared(desk, page, passing), CASES))
        ended, took = asyncio.run(_asked(desk, asking, environment, cases, opined, stop))
        rehearsed = (
            Rehearsed(one.case, passing.ids[one.case.id], sent(asking, one), opined.get(one.case.id))
            for one in cases
        )
        shown = Rehearsal(tuple(rehearsed), ended, gap, *_estimated(asking.config, gap, opined, took))
        board.end(ended.why, ended.said, shown.figures())
    return shown


def _estimated(
    config: TeacherConfig, gap: Gap, opined: dict[str, Opined], took: float
) -> tuple[float | None, float | None, float | None]:
    """Guess money (USD) and seconds of all cases from a few that took so many seconds together."""
    answers = list(opined.values())
    if not answers:
        return None, None, None
    each = sum(one.seconds for one in answers) / len(answers)
    at_once = gap.cases * each / config.concurrency
    paced = gap.cases * 60 / config.requests_per_minute if config.requests_per_minute else 0.0
    cost = gap.cases * sum(one.cost for one in answers) / len(answers)
    return cost, max(at_once, paced), max(at_once, paced, gap.cases * took / len(answers))


async def _asked(
    desk: Desk,
    asking: Asking,
    environment: Environment,
    cases: list[Asked],
    opined: dict[str, Opined],
    stop: threading.Event,
) -> tuple[Ended, float]:
    """Ask, and say how it ended and how many seconds it took."""
    from training.teacher_watch import TeacherWatch

    def note(one: Opined) -> None:
        opined[one.case_id] = one

    teacher = opened(desk, asking, environment)
    try:
        began = time.monotonic()
        ended = await teach(
            teacher, asking.config, cases, note,
            limits=Limits(), watch=TeacherWatch(go_on=True), stop=stop, wording=asking.wording,
        )  # fmt: skip
        return ended, time.monotonic() - began
    finally:
        await teacher.close()


def sent(asking: Asking, asked: Asked) -> str:
    """Write what a teacher is sent of a case: a picture as its size, the key as its variable's name."""
    config = asking.config
    lines = []
    if config.kind == "endpoint":
        lines.append(f"POST {config.address}/chat/completions")
        if config.key_env:
            lines.append(f"Authorization: Bearer <the key in {config.key_env}>")
    shown = not config.text_only
    lines.append(
        f"model {config.model}, temperature {config.temperature:g}, at most {config.max_tokens} tokens"
    )
    if shown and asked.picture is not None:
        lines.append(_picture(asked, config))
    return "\n".join([*lines, teacher_question(asked.case, asking.wording, shown=shown)])


def _picture(asked: Asked, config: TeacherConfig) -> str:
    """Say how large the picture is that a teacher gets."""
    from training.teacher_endpoint import data_url

    assert asked.picture is not None
    data = base64.b64decode(data_url(asked.picture, config.image_edge).partition(",")[2])
    with Image.open(io.BytesIO(data)) as picture:
        return f"<picture {picture.width}x{picture.height}, {max(1, round(len(data) / 1_000))} kB>"


def _figures(one: Rehearsed) -> dict[str, Any]:
    said = one.opined
    shown = {
        "case": one.case.id,
        "case_id": one.desk_id,
        "image": Path(one.case.image).stem or None,
        "caption": one.case.caption,
        "sent": one.sent,
    }
    if said is None:
        return {**shown, "answer": None}
    parsed = {
        "verdict": said.opinion.verdict,
        "confidence": said.opinion.confidence,
        "rationale": said.opinion.rationale,
        "elements": said.opinion.elements,
    }
    answer = {
        "raw": said.raw,
        "parsed": parsed if said.parsed else None,
        "unread": said.unread,
        "model": said.model,
        "tokens_in": said.tokens_in,
        "tokens_out": said.tokens_out,
        "seconds": said.seconds,
        "cost": said.cost,
        "tries": said.tries,
    }
    return json.loads(json.dumps({**shown, "answer": answer}))  # type: ignore[no-any-return]
