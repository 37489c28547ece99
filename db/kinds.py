"""Kinds: the cases that are alike in all that statistics and filters ask.

A million cases are of a few hundred kinds, so how many conflicts are open, how often two teachers
differ, or how many cases a filter finds, is read off a few hundred rows. Each case names its kind;
whatever changes a case (an import, an opinion, a ruling) moves it to another kind in the same
transaction.

How many cases a kind has, and how many come from a source, is written last in a transaction, in one
order: on PostgreSQL these rows are what all writers share, and a writer that holds one while it
waits for something else could wait for ever.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.base import table_of
from db.bulk import insert_missing
from db.models import Case, Kind, Stratum
from db.vocabulary import PREFERENCES_PER_CASE, Answer, CaseState, HumanAnswer, Verdict

LETTERS: Final = {Answer.IN_CONTEXT: "i", Answer.OUT_OF_CONTEXT: "o", Answer.UNSURE: "u"}
_LETTER_OF: Final[dict[str, str]] = {answer.value: letter for answer, letter in LETTERS.items()}
ANSWERS: Final = {letter: answer for answer, letter in LETTERS.items()}
SOURCE, ELEMENT = "source", "element"  # what strata are counted by

_ONE_ANSWER = re.compile("([0-9]+)([iou])")
_KINDS, _STRATA = "counts of kinds to write", "counts of strata to write"


class Traits(NamedTuple):
    """What makes a kind."""

    split: str
    has_image: bool
    gold: str  # a verdict, or empty
    pattern: str  # see `pattern_of`
    human: str = HumanAnswer.NONE.value
    rulings: int = 0
    own_rationales: int = 0

    @property
    def answers(self) -> dict[int, Answer]:
        """What each teacher says, by the teacher's id."""
        return _answers(self.pattern)

    @property
    def in_context(self) -> int:
        """How many teachers say so."""
        return self.pattern.count("i")

    @property
    def out_of_context(self) -> int:
        """How many teachers say so."""
        return self.pattern.count("o")

    @property
    def unsure(self) -> int:
        """How many teachers say so."""
        return self.pattern.count("u")

    @property
    def opinions(self) -> int:
        """How many teachers gave one."""
        return self.in_context + self.out_of_context + self.unsure

    @property
    def pseudo_label(self) -> Verdict | None:
        """The verdict that all opinions carry, if they do."""
        if not self.opinions or self.opinions not in (self.in_context, self.out_of_context):
            return None
        return Verdict.IN_CONTEXT if self.in_context else Verdict.OUT_OF_CONTEXT

    @property
    def is_conflict(self) -> bool:
        """Whether there are opinions and they do not all carry the same verdict."""
        return self.opinions > 0 and self.pseudo_label is None

    @property
    def settled_as(self) -> Verdict | None:
        """The human verdict, where there is one."""
        return Verdict(self.human) if self.human in tuple(Verdict) else None

    @property
    def truth(self) -> str:
        """What is known to be so: the human verdict, else the gold one, else empty."""
        return self.settled_as or self.gold

    def preferences(self, verdict: str, own_rationales: int = 0) -> int:
        """Count the (chosen, rejected) pairs that one of these cases gives if `verdict` is right."""
        right, wrong = self.in_context, self.out_of_context
        if verdict == Verdict.OUT_OF_CONTEXT:
            right, wrong = wrong, right
        return min((right + own_rationales) * wrong, PREFERENCES_PER_CASE)

    @property
    def state(self) -> CaseState:
        """Where such a case stands."""
        if self.settled_as:
            return CaseState.SETTLED
        if self.human != HumanAnswer.NONE:
            return CaseState.SPLIT if self.human == HumanAnswer.SPLIT else CaseState.CANNOT_TELL
        if self.pseudo_label:
            return CaseState.AGREED
        if not self.opinions:
            return CaseState.NO_OPINION
        return CaseState.CONFLICT if self.in_context + self.out_of_context else CaseState.NO_VERDICT


_TRAITS = tuple(table_of(Kind).c[name] for name in Traits._fields)


def pattern_of(answers: Mapping[int, str]) -> str:
    """Write who says what, by the teachers' ids: `{1: "in_context", 3: "unsure"}` is "1i3u"."""
    return "".join([f"{teacher}{_LETTER_OF[answers[teacher]]}" for teacher in sorted(answers)])


def human_answer(rulings: Iterable[tuple[str, bool]]) -> HumanAnswer:
    """Say what people together say, of (answer, whether an adjudicator settles with it), oldest first."""
    given = list(rulings)
    settling = [answer for answer, settles in given if settles]
    answers = {settling[-1]} if settling else {answer for answer, _ in given}
    if not answers:
        return HumanAnswer.NONE
    return HumanAnswer(answers.pop()) if len(answers) == 1 else HumanAnswer.SPLIT


def all_kinds(session: Session) -> list[tuple[int, Traits, int]]:
    """Read every kind: its id, its traits and how many cases it has."""
    write_counts(session)
    rows = session.execute(sa.select(Kind.id, Kind.cases, *_TRAITS))
    return [(row[0], Traits._make(row[2:]), row[1]) for row in rows]


def kind_ids(session: Session, wanted: Collection[Traits]) -> dict[Traits, int]:
    """Return the ids of kinds, added without cases where they are new."""
    found = _find(session, wanted)
    missing = set(wanted) - found.keys()
    if missing:
        insert_missing(session, Kind, [{**traits._asdict(), "cases": 0} for traits in sorted(missing)])
        found = _find(session, wanted)
    return found


def count_kinds(session: Session, changes: Mapping[int, int]) -> None:
    """Note that kinds, by id, have gained or lost cases; written by `write_counts`."""
    session.info.setdefault(_KINDS, Counter()).update(changes)


def count_strata(session: Session, changes: Mapping[tuple[str, str], int]) -> None:
    """Note that strata, by (what, name), have gained or lost cases; written by `write_counts`."""
    session.info.setdefault(_STRATA, Counter()).update(changes)


def write_counts(session: Session) -> None:
    """Write what was noted; `db.engine` calls this before every commit."""
    kinds: Counter[int] = session.info.pop(_KINDS, Counter())
    changed = [{"kind": kind, "change": change} for kind, change in sorted(kinds.items()) if change]
    if changed:
        session.execute(_count_kind(), changed)
    strata: Counter[tuple[str, str]] = session.info.pop(_STRATA, Counter())
    counted = [(what, name, change) for (what, name), change in sorted(strata.items()) if change]
    if counted:
        insert_missing(
            session, Stratum, [{"what": what, "name": name, "cases": 0} for what, name, _ in counted]
        )
        rows = [{"stratum": what, "named": name, "change": change} for what, name, change in counted]
        session.execute(_count_stratum(), rows)


def forget_counts(session: Session) -> None:
    """Drop what was noted in a transaction that is rolled back."""
    session.info.pop(_KINDS, None)
    session.info.pop(_STRATA, None)


def _find(session: Session, wanted: Collection[Traits]) -> dict[Traits, int]:
    if len(wanted) == 1:
        (traits,) = wanted
        kind_id = session.scalar(_one_kind(), traits._asdict())
        return {} if kind_id is None else {traits: kind_id}
    patterns = sorted({traits.pattern for traits in wanted})
    rows = session.execute(sa.select(Kind.id, *_TRAITS).where(Kind.pattern.in_(patterns)))
    return {Traits._make(row[1:]): row[0] for row in rows}


@cache
def _answers(pattern: str) -> dict[int, Answer]:
    return {int(teacher): ANSWERS[letter] for teacher, letter in _ONE_ANSWER.findall(pattern)}


@cache
def _one_kind() -> sa.Select[int]:
    return sa.select(table_of(Kind).c.id).where(
        *(column == sa.bindparam(column.name, type_=column.type) for column in _TRAITS)
    )


@cache
def _count_kind() -> sa.Update:
    kinds = table_of(Kind)
    change = sa.bindparam("change", type_=sa.Integer)
    return sa.update(kinds).where(kinds.c.id == sa.bindparam("kind")).values(cases=kinds.c.cases + change)


@cache
def _count_stratum() -> sa.Update:
    strata = table_of(Stratum)
    here = sa.and_(strata.c.what == sa.bindparam("stratum"), strata.c.name == sa.bindparam("named"))
    return (
        sa.update(strata).where(here).values(cases=strata.c.cases + sa.bindparam("change", type_=sa.Integer))
    )


@cache
def set_kind() -> sa.Update:
    """File the case `moved` under the kind `kind`."""
    cases = table_of(Case)
    return sa.update(cases).where(cases.c.id == sa.bindparam("moved")).values(kind_id=sa.bindparam("kind"))
