"""Look closer at an answer: which words of the caption and which parts of the picture carry it.

That reads some fifty prompts where the verdict read one. Where the served student is expected to be through
with them while somebody is still reading the rationale, it comes unasked; elsewhere on request, with the
time it will take. Other questions are answered in between, and it stops when nobody listens any more.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from db.checks import add_found, owned
from db.engine import write_session
from ooc_app.auth import Person, now
from ooc_app.checks.question import CheckRefusedError, Question
from ooc_app.desk import Desk
from ooc_app.intake.images import shown_copy
from ooc_app.serving import Serving

UNASKED_SECONDS: Final = 10.0
"""Up to how long it is expected to take where it comes unasked."""


@dataclass(frozen=True)
class Closer:
    """How far it has come.

    `found` has `word_grounds` and `part_grounds`, once they are there, as `Check.found` keeps them; `doing`
    is what is under way, in words, empty at the end.
    """

    found: Mapping[str, Any] = field(default_factory=dict)
    doing: str = ""


def closer(serving: Serving, shown: Path, asked: Question) -> Iterator[Closer]:
    """Find words, then parts, that carry the served student's answer; `shown` is the picture's shown copy."""
    total = serving.prompts_to_look_closer(asked.caption)
    found: dict[str, Any] = {}
    read = 0
    for name, look in (
        ("word_grounds", serving.words_that_carry),
        ("part_grounds", serving.parts_that_carry),
    ):
        before = read
        for piece in look(shown, asked.caption, asked.date, asked.place):
            if isinstance(piece, int):
                read = before + piece
            else:
                found = {**found, name: asdict(piece)}
            done = len(found) == 2
            yield Closer(found, "" if done else f"Looking closer: {read} of {total} variants judged")


def look_closer(desk: Desk, serving: Serving, person: Person, token: str) -> Iterator[Closer]:
    """Look closer at a check that is kept, on request, and keep what is found.

    Raises what `db.checks.owned` does, and CheckRefusedError where another student is served by now.
    """
    with desk.sessions() as session:
        kept = owned(session, token, person.annotator_id, person.role, now())
    if not serving.serves(kept.student, kept.found.get("snapshot")):
        raise CheckRefusedError(
            "The student that gave this answer is no longer served: check the picture again to look closer."
        )
    asked = Question(None, kept.caption, kept.claimed_date, kept.claimed_place, kept.url)
    kept_of: Mapping[str, Any] = {}
    for at in closer(serving, shown_copy(kept.image_sha256, desk.images_dir), asked):
        if len(at.found) > len(kept_of):
            kept_of = at.found
            with write_session(desk.sessions) as session:
                add_found(session, token, dict(kept_of))
        yield at


def expected_seconds(serving: Serving, caption: str) -> float | None:
    """Return how long looking closer should take here; None where nothing tells."""
    pace = serving.seconds_a_prompt()
    return None if pace is None else pace * serving.prompts_to_look_closer(caption)


def comes_unasked(seconds: float | None) -> bool:
    """Whether looking closer is expected to be quick enough not to ask for."""
    return seconds is not None and seconds <= UNASKED_SECONDS


def in_words(seconds: float | None) -> str:
    """Say how long something should take: `about 3 minutes`."""
    if seconds is None:
        return "it is not known how long"
    if seconds < 55:
        return f"about {max(1, round(seconds / 5)) * 5} seconds"
    minutes = round(seconds / 60)
    return "about a minute" if minutes <= 1 else f"about {minutes} minutes"
