"""Find cases: what is looked for, as the page asks it, and what a list shows of each case found.

An annotator may be asked about any case in the queue, so until they have ruled on it, it is listed
blind: what its teachers say without their names, nothing of what colleagues said. A filter by what is
hidden would tell it all the same, so such a filter leaves these cases out, and says how many.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.browse import EFFORT, ID_MAX, PAGE, CaseRow, Count, Wanted, count, page, sources
from db.kinds import all_kinds
from db.models import Annotator, Queued, Ruling, Teacher, is_current
from db.vocabulary import SETTLING_ROLES, Answer, CaseState, Role, Split, Verdict
from ooc_app.auth import Person
from ooc_app.desk import Desk
from ooc_app.render import count as written

Word = TypeVar("Word", bound=StrEnum)

TEXT_MAX: Final = 300  # characters of a search or a name
STATE_WORDS: Final = {
    CaseState.SETTLED: "settled",
    CaseState.SPLIT: "split rulings",
    CaseState.CANNOT_TELL: "people can't tell",
    CaseState.CONFLICT: "conflict",
    CaseState.NO_VERDICT: "no verdict",
    CaseState.AGREED: "agreed",
    CaseState.NO_OPINION: "no opinion",
}
OPEN: Final = (None, CaseState.CONFLICT, CaseState.NO_VERDICT)  # states that give nothing away


class QuestionError(ValueError):
    """Raised for a filter that makes no sense; a page of this version sends none."""


def listed(desk: Desk, person: Person, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Find one page of cases, the newest first."""
    cursor = whole(asked, "cursor")
    limit = min(max(whole(asked, "limit") or PAGE, 1), PAGE)
    with desk.sessions() as session:
        wanted = wanted_cases(session, asked.get("wanted") or {})
        found = page(session, wanted, cursor, newer=asked.get("newer") is True, limit=limit)
        blind = kept_blind(session, person, [row.id for row in found.rows])
        names = teacher_names(session)
    hidden = blind if tells(wanted) else set()
    return {
        "ok": True,
        "rows": [shown_row(row, names, row.id in blind) for row in found.rows if row.id not in hidden],
        "older": found.older,
        "newer": found.newer,
        "cut": f"{written(EFFORT.looked_at)} matches" if found.is_cut else None,
        "hidden": _hidden_words(len(hidden)),
    }


def counted(desk: Desk, person: Person, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Count what is found."""
    with desk.sessions() as session:
        found = count(session, wanted_cases(session, asked.get("wanted") or {}))
    return {"ok": True, "words": count_words(found), "cases": found.cases}


def choices(desk: Desk, person: Person) -> dict[str, Any]:
    """What the filters offer: states, sources, teachers, people; and what the person may do."""
    with desk.sessions() as session:
        states: Counter[CaseState] = Counter()
        for _, traits, cases in all_kinds(session):
            states[traits.state] += cases
        people = list(session.scalars(sa.select(Annotator.name).order_by(Annotator.id)))
        return {
            "ok": True,
            "total": states.total(),
            "states": [[state, words, written(states[state])] for state, words in STATE_WORDS.items()],
            "sources": [[name, written(cases)] for name, cases in sources(session)],
            "teachers": list(teacher_names(session).values()),
            "annotators": people,
            "may_send": person.role in SETTLING_ROLES,
            "may_edit": person.role == Role.EDITOR,
        }


def shown_row(row: CaseRow, teachers: Mapping[int, str], blind: bool) -> dict[str, Any]:
    """A case as the list shows it; blind, its opinions are without names and in no order of theirs."""
    traits = row.traits
    verdict = None if blind else traits.settled_as or traits.pseudo_label
    said = [[None if blind else teachers.get(who), answer] for who, answer in traits.answers.items()]
    return {
        "id": row.id,
        "thumb": thumbnail_url(row.image_sha256),
        "caption": row.caption[:400],
        "verdict": verdict,
        "state": "in the queue" if blind else STATE_WORDS[traits.state],
        "says": sorted(said, key=lambda one: one[1]) if blind else said,
        "source": row.source,
        "date": row.date,
        "came": row.created_at.isoformat(),
    }


def thumbnail_url(sha256: str | None) -> str | None:
    """Where the page finds the thumbnail of a picture, relative to itself."""
    return f"desk/thumbs/{sha256}" if sha256 else None


def kept_blind(session: Session, person: Person, case_ids: Iterable[int]) -> set[int]:
    """Return those of these cases that the person may yet rule on, and so must not know too much of."""
    if person.role in SETTLING_ROLES:
        return set()
    ruled = sa.select(Ruling.id).where(
        Ruling.case_id == Queued.case_id, Ruling.annotator_id == person.annotator_id, is_current()
    )
    return set(
        session.scalars(sa.select(Queued.case_id).where(Queued.case_id.in_(list(case_ids)), ~ruled.exists()))
    )


def tells(wanted: Wanted) -> bool:
    """Whether finding a case tells what somebody says of it."""
    said = (wanted.verdict, wanted.gold, wanted.teacher, wanted.says, wanted.annotator_id)
    return any(said) or wanted.is_flagged or wanted.state not in OPEN


def teacher_names(session: Session) -> dict[int, str]:
    """Return the teachers in the order they came."""
    rows = session.execute(sa.select(Teacher.id, Teacher.name).order_by(Teacher.id))
    return {teacher_id: name for teacher_id, name in rows}


def count_words(found: Count) -> str:
    """Write how many cases are found."""
    if found.is_least and found.cases >= EFFORT.counted:
        return f"more than {written(found.cases)} cases"
    cases = f"{written(found.cases)} {'case' if found.cases == 1 else 'cases'}"
    return f"at least {cases}" if found.is_least else cases


def _hidden_words(hidden: int) -> str | None:
    if not hidden:
        return None
    many = "1 case is" if hidden == 1 else f"{hidden} cases are"
    return f"{many} left out here: you may yet be asked to rule on what this filter would tell you."


# ---- what is looked for, as it comes from the page ----


def wanted_cases(session: Session, given: Mapping[str, Any]) -> Wanted:
    """Check a filter that came from a browser. Raises QuestionError."""
    picture = given.get("picture")
    return Wanted(
        state=_word(given, "state", CaseState),
        verdict=_word(given, "verdict", Verdict),
        gold=_word(given, "gold", Verdict),
        split=_word(given, "split", Split),
        has_image=None if picture not in ("with", "without") else picture == "with",
        teacher=text(given, "teacher") or None,
        says=_word(given, "says", Answer),
        source=text(given, "source") or None,
        annotator_id=_annotator(session, text(given, "annotator")),
        is_flagged=bool(given.get("flagged")),
        text=text(given, "q"),
        since=_time(given, "since"),
        until=_time(given, "until"),
    )


def text(given: Mapping[str, Any], key: str, longest: int = TEXT_MAX) -> str:
    """Read a text without what no database takes."""
    value = given.get(key)
    if not isinstance(value, str):
        return ""
    return value[:longest].replace("\0", "").encode("utf-8", "ignore").decode()


def whole(given: Mapping[str, Any], key: str) -> int | None:
    """Read a number such as an id, held to what an id can be. Raises QuestionError."""
    value = given.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise QuestionError(f"`{key}` is no number; reload the page.")
    try:
        return min(max(int(value), 0), ID_MAX)
    except (ValueError, OverflowError) as error:
        raise QuestionError(f"{str(value)[:40]!r} is no number of a case; a case is ?case=12.") from error


def _word(given: Mapping[str, Any], key: str, words: type[Word]) -> Word | None:
    value = given.get(key)
    if not value:
        return None
    if value not in tuple(words):
        raise QuestionError(f"There is no {key} {str(value)[:40]!r}: choose {', '.join(words)}.")
    return words(value)


def _annotator(session: Session, name: str) -> int | None:
    if not name:
        return None
    return session.scalar(sa.select(Annotator.id).where(Annotator.name == name)) or -1  # nobody has ruled


def _time(given: Mapping[str, Any], key: str) -> datetime | None:
    value = given.get(key)
    if not value:
        return None
    try:
        at = datetime.fromisoformat(str(value))
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise QuestionError(f"{str(value)[:40]!r} is no date: write 2026-03-01.") from error
