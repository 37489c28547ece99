"""A report as its reader may see it: the stored check, what people ruled since, and who the reader is.

Whoever has the link reads it. What others asked the student is not theirs to read: to a stranger, of what
was seen before only the desk's cases are shown, and no case that began as somebody's check. A case that
waits for a ruling shows no verdict to anybody, because whoever rules on it is to be blind.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.checks import DATASET, Sent, UnknownCheckError, check_of, sent
from db.models import Case, Check, Event, Image, Queued, Ruling, is_current
from db.vocabulary import HumanAnswer, Role, Verdict
from ooc_app.auth import Person, now
from ooc_app.desk import Desk
from ooc_app.provenance.report import Provenance, from_json
from ooc_app.render import verdict_words

TOKEN: Final = re.compile("[A-Za-z0-9_-]{22}")
WAITS: Final = "waits for a ruling"
NO_RULING: Final = {
    HumanAnswer.NONE: "sent, no ruling stands",
    HumanAnswer.UNSURE: "people cannot tell",
    HumanAnswer.SPLIT: "people differ",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """What is said of the picture; its bytes are fetched by the report's token."""

    sha256: str
    format: str
    width: int  # pixels
    height: int
    byte_size: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What became of a check that was sent to the desk; nothing of the rulings while it waits for one."""

    waits: bool
    human: HumanAnswer
    sent_at: datetime | None
    ruled_at: datetime | None
    people: int  # whose rulings stand

    @property
    def settled_as(self) -> Verdict | None:
        """The human verdict, where there is one."""
        return Verdict(self.human) if self.human.value in tuple(Verdict) else None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything a report shows to one reader; `found` is plain JSON."""

    token: str
    picture: Picture
    caption: str
    claimed_date: str | None
    claimed_place: str | None
    url: str | None  # where the picture was found
    verdict: Verdict
    probability: float
    cannot_tell: bool
    rationale: str
    student: str
    checked_at: datetime
    found: Mapping[str, Any]
    standing: Standing | None  # None where it was not sent
    expires_at: datetime | None
    is_of_desk: bool  # the reader, who then sees pictures of other cases
    may_change: bool

    @property
    def provenance(self) -> Provenance | None:
        """What the picture carries; None where it was not looked at, or another version wrote it."""
        plain = self.found.get("provenance")
        try:
            return from_json(plain) if plain else None
        except (KeyError, TypeError, ValueError):
            return None

    @property
    def has_gps(self) -> bool:
        """Whether the file carries a GPS position, which the report leaves out."""
        provenance = self.found.get("provenance") or {}
        return bool((provenance.get("metadata") or {}).get("has_gps"))


def report(desk: Desk, token: str, reader: Person | None) -> Report:
    """Return a report for its reader, None for a stranger. Raises UnknownCheckError."""
    with desk.sessions() as session:
        check = known_check(session, token)
        image = session.get_one(Image, check.image_sha256)
        found = dict(check.found)
        if found.get("provenance"):
            found["provenance"] = _carried(session, found["provenance"], is_public=reader is None)
        is_own = reader is not None and check.annotator_id == reader.annotator_id
        return Report(
            token=token,
            picture=Picture(image.sha256, image.format, image.width, image.height, image.byte_size),
            caption=check.caption,
            claimed_date=check.claimed_date,
            claimed_place=check.claimed_place,
            url=check.url,
            verdict=check.verdict,
            probability=check.probability,
            cannot_tell=check.cannot_tell,
            rationale=check.rationale,
            student=check.student,
            checked_at=check.created_at,
            found=found,
            standing=_standing(session, check),
            expires_at=check.expires_at,
            is_of_desk=reader is not None,
            may_change=is_own or (reader is not None and reader.role == Role.EDITOR),
        )


def known_check(session: Session, token: str) -> Check:
    """Return the check of a token; what cannot be one is not looked up. Raises UnknownCheckError."""
    if not TOKEN.fullmatch(token):
        raise UnknownCheckError("There is no such report: the link to it is not whole.")
    return check_of(session, token, now())


def standing_words(became: Sent | Standing | None) -> str:
    """Say in a few words where a check stands: `settled: out of context`."""
    if became is None:
        return "not sent"
    if became.waits:
        return WAITS
    if became.settled_as is not None:
        return f"settled: {verdict_words(became.settled_as)}"
    return NO_RULING[became.human]


def as_plain(report: Report) -> dict[str, Any]:
    """Write everything a report shows as plain JSON."""
    plain = asdict(report)
    for key in ("is_of_desk", "may_change"):
        del plain[key]
    standing = report.standing
    if standing is not None:
        plain["standing"]["words"] = standing_words(standing)
    return {"report": f"?check={report.token}", **{key: _written(value) for key, value in plain.items()}}


def _standing(session: Session, check: Check) -> Standing | None:
    if check.case_id is None:
        return None
    became = sent(session, [check.case_id])[check.case_id]
    was_sent = sa.and_(Event.case_id == check.case_id, Event.action == "send", Event.at >= check.created_at)
    sent_at = session.scalar(sa.select(sa.func.min(Event.at)).where(was_sent))
    if became.waits:
        return Standing(True, HumanAnswer.NONE, sent_at, None, 0)
    rulings = sa.select(sa.func.max(Ruling.created_at), sa.func.count(Ruling.id.distinct()))
    ruled_at, people = session.execute(rulings.where(Ruling.case_id == check.case_id, is_current())).one()
    return Standing(False, became.human, sent_at, ruled_at, people)


def _carried(session: Session, plain: Mapping[str, Any], *, is_public: bool) -> dict[str, Any] | None:
    """Return what the picture carries as the reader may see it; None for what another version wrote."""
    try:
        seen = plain["seen"] and _as_of_now(session, plain["seen"], is_public=is_public)
        return {**plain, "seen": seen}
    except (KeyError, TypeError):
        return None


def _as_of_now(
    session: Session, seen: Sequence[Mapping[str, Any]], *, is_public: bool
) -> list[dict[str, Any]]:
    """Leave out of what was seen before what the reader may not see, and verdicts of cases that wait."""
    ids = {use["case_id"] for one in seen for use in one["uses"] if use["case_id"] is not None}
    cases = _cases(session, ids)
    kept = []
    for one in seen:
        uses = [_use(use, cases) for use in one["uses"] if not is_public or _is_public(use, cases)]
        if uses:
            kept.append({**one, "uses": uses})
    return kept


def _cases(session: Session, ids: Collection[int]) -> dict[int, tuple[str, bool]]:
    """Say of each case where it came from, and whether it waits for a ruling."""
    query = sa.select(Case.id, Case.dataset, Queued.case_id).outerjoin(Queued, Queued.case_id == Case.id)
    rows = session.execute(query.where(Case.id.in_(ids)))
    return {case_id: (dataset, waiting is not None) for case_id, dataset, waiting in rows}


def _is_public(use: Mapping[str, Any], cases: Mapping[int, tuple[str, bool]]) -> bool:
    return use["case_id"] in cases and cases[use["case_id"]][0] != DATASET


def _use(use: Mapping[str, Any], cases: Mapping[int, tuple[str, bool]]) -> dict[str, Any]:
    _, waits = cases.get(use["case_id"], ("", False))
    return {**use, "verdict": None, "by": WAITS} if waits else dict(use)


def _written(value: Any) -> Any:
    """Write times as texts."""
    if isinstance(value, Mapping):
        return {key: _written(one) for key, one in value.items()}
    return value.isoformat() if isinstance(value, datetime) else value
