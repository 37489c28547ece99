"""Where the desk has seen a picture before: the captions it carried, when, and what they were found to be.

Of all that can be known of an out-of-context picture its earlier appearance is the strongest evidence, so
appearances come oldest first. A case that still waits for a ruling shows no verdict here: whoever rules
on it is to be blind.
"""

import io
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from PIL import Image as Pictures
from sqlalchemy.orm import Session

from db.kinds import Traits
from db.models import Case, Check, Image, Kind, Queued
from ooc_app.desk import Desk
from ooc_app.intake.images import SHOW, ImageRefusedError, asked, stored_path
from ooc_app.provenance.dates import read_days
from ooc_app.provenance.hashing import grey_square, print_of, squared
from ooc_app.provenance.known import KnownPictures, Near, NewPrint

FILE: Final = "known-1.hashes"  # below images/; another number where hashes are made in another way
USES_MAX: Final = 8  # cases of one picture, and as many checks
AT_ONCE: Final = 64  # pictures hashed between two writes

Say = Callable[[int, int], None]
"""Told how many of how many pictures are done."""


class Use(NamedTuple):
    """A caption under which a picture was found, or asked about."""

    caption: str
    claimed_date: str | None
    claimed_place: str | None
    source: str | None
    url: str | None
    case_id: int | None  # None for a check
    verdict: str | None
    by: str  # whose verdict it is, or why there is none
    on_desk_since: datetime

    @property
    def since(self) -> date:
        """The first day it may have appeared: the claimed one, else the day it came to the desk."""
        days = read_days(self.claimed_date)
        return days.first if days else self.on_desk_since.date()


@dataclass(frozen=True, slots=True)
class Seen:
    """A known picture and its uses, the oldest first."""

    near: Near
    uses: tuple[Use, ...]
    is_this_file: bool = False  # byte for byte

    @property
    def words(self) -> str:
        """Say how alike the two are, and what the one in question went through."""
        if self.is_this_file:
            return "the same file"
        variant = self.near.variant
        done = [
            word
            for word, holds in (
                ("mirrored", variant.is_mirrored),
                ("showing less", variant.is_cropped),
                ("showing more", variant.is_wider),
            )
            if holds
        ]
        alike = "the same picture" if self.near.is_same else "perhaps the same picture: compare them by eye"
        return ", ".join([alike, *done])


def known_pictures(desk: Desk) -> KnownPictures:
    """Open the desk's file of hashes."""
    return KnownPictures(desk.images_dir / FILE)


def catch_up(
    desk: Desk, known: KnownPictures, *, seconds_max: float | None = None, say: Say = lambda done, of: None
) -> int:
    """Add the desk's pictures that are not known yet, and return how many are left for the next time.

    What is done is kept, whenever the process dies. A picture that cannot be read counts as done.
    """
    until = None if seconds_max is None else time.monotonic() + seconds_max
    known.refresh()
    with desk.sessions() as session:
        if session.scalar(sa.select(sa.func.count()).select_from(Image)) == len(known):
            return 0
        missing = known.missing(session.scalars(sa.select(Image.sha256)).all())
    for start in range(0, len(missing), AT_ONCE):
        if until is not None and time.monotonic() > until:
            return len(missing) - start
        say(start, len(missing))
        known.add([_new_print(desk.images_dir, sha256) for sha256 in missing[start : start + AT_ONCE]])
    return 0


def seen_before(
    desk: Desk, known: KnownPictures, square: NDArray[np.float32], sha256: str
) -> tuple[Seen, ...]:
    """Return the desk's pictures that (80, 80) grey levels show or may show, of either the earliest first.

    `sha256` is the picture's own. A known picture that nothing uses any more is left out.
    """
    near = known.nearest(square)
    with desk.sessions() as session:
        uses = _uses(session, {one.sha256 for one in near} | {sha256})
    found = [Seen(one, uses[one.sha256], one.sha256 == sha256) for one in near if one.sha256 in uses]
    return tuple(sorted(found, key=lambda one: (not one.near.is_same, one.uses[0].since)))


def _new_print(images_dir: Path, sha256: str) -> NewPrint:
    """Hash a stored picture from its shown copy; where there is none yet, from one that is not kept."""
    shown = images_dir / "shown" / sha256[:2] / f"{sha256[2:]}.jpg"
    try:
        if shown.exists():
            return NewPrint(sha256, print_of(grey_square(shown)))
        _, copy = asked(SHOW, stored_path(sha256, images_dir).read_bytes())
        with Pictures.open(io.BytesIO(copy)) as image:
            return NewPrint(sha256, print_of(squared(image)))
    except (OSError, ImageRefusedError):
        return NewPrint(sha256, None)


def _uses(session: Session, digests: Collection[str]) -> dict[str, tuple[Use, ...]]:
    """Find the cases and checks of pictures, of either the oldest USES_MAX of each picture."""
    uses: dict[str, list[Use]] = defaultdict(list)
    for found in (_cases(session, digests), _checks(session, digests)):
        for sha256, of_one in found.items():
            uses[sha256] += sorted(of_one, key=lambda use: use.since)[:USES_MAX]
    return {sha256: tuple(sorted(found, key=lambda use: use.since)) for sha256, found in uses.items()}


def _cases(session: Session, digests: Collection[str]) -> dict[str, list[Use]]:
    uses: dict[str, list[Use]] = defaultdict(list)
    cases = (
        sa.select(Case, Kind, Queued.case_id)
        .outerjoin(Kind, Kind.id == Case.kind_id)
        .outerjoin(Queued, Queued.case_id == Case.id)
        .where(Case.image_sha256.in_(digests))
        .order_by(Case.id)
    )
    for case, kind, waiting in session.execute(cases):
        verdict, by = _verdict(case, kind, is_waiting=waiting is not None)
        claimed = case.caption, case.date, case.place, case.source, case.url
        uses[str(case.image_sha256)].append(Use(*claimed, case.id, verdict, by, case.created_at))
    return uses


def _checks(session: Session, digests: Collection[str]) -> dict[str, list[Use]]:
    """Find checks; what was asked and answered alike stands once, since the first time."""
    uses: dict[str, list[Use]] = defaultdict(list)
    alike = (Check.image_sha256, Check.caption, Check.verdict, Check.student)
    asked_when = sa.func.min(Check.created_at), sa.func.count()
    checks = sa.select(*alike, *asked_when).where(Check.image_sha256.in_(digests)).group_by(*alike)
    for sha256, caption, verdict, student, first, times in session.execute(checks):
        said = f"the student {student}, asked here{f' {times} times' if times > 1 else ''}"
        uses[sha256].append(Use(caption, None, None, None, None, None, verdict.value, said, first))
    return uses


def _verdict(case: Case, kind: Kind | None, *, is_waiting: bool) -> tuple[str | None, str]:
    """Say what a case was found to be and by whom: people, else its data set, else its teachers."""
    if is_waiting or kind is None:
        return None, "waits for a ruling"
    traits = Traits(*(getattr(kind, name) for name in Traits._fields))
    if traits.settled_as:
        return traits.settled_as.value, "people at this desk"
    if case.gold:
        return case.gold.value, f"the data set {case.dataset}"
    if traits.pseudo_label:
        return traits.pseudo_label.value, "all its teachers; nobody has ruled"
    return None, "no verdict yet"
