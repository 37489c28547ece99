"""Count what is on the desk and how far teachers and people agree.

The database groups, this module adds up: what comes out of a query is a few hundred rows, whatever
the number of cases. Agreement is measured over three answers (in context, out of context, unsure);
an `unsure` opinion is never right, so abstaining does not raise a teacher's accuracy.

Cohen's kappa: Cohen 1960, eq. 1. Krippendorff's alpha, nominal: Krippendorff 2011, "Computing
Krippendorff's Alpha-Reliability", section C; one opinion per teacher and case, missing ones allowed.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from db.cases import opinion_counts
from db.models import Annotator, Case, Opinion, Queued, Ruling, Teacher, is_current
from db.rulings import settled_query
from db.vocabulary import PREFERENCES_PER_CASE, Answer, Split, Verdict

NO_ALPHA = "Krippendorff's alpha needs two opinions on a case, and more than one answer among them."


@dataclass(frozen=True)
class Kind:
    """The cases that are alike in all that is counted here, and how many they are."""

    gold: Verdict | None
    split: Split
    has_image: bool
    opinions: int
    in_context: int
    out_of_context: int
    settled_as: Answer | None
    own_rationales: int
    cases: int

    @property
    def pseudo_label(self) -> Verdict | None:
        """The verdict all opinions carry, if they do."""
        if not self.opinions or self.opinions not in (self.in_context, self.out_of_context):
            return None
        return Verdict.IN_CONTEXT if self.in_context else Verdict.OUT_OF_CONTEXT

    @property
    def is_conflict(self) -> bool:
        """Whether there are opinions and they do not all carry the same verdict."""
        return self.opinions > 0 and self.pseudo_label is None

    def preferences(self, verdict: str, own_rationales: int = 0) -> int:
        """Count the (chosen, rejected) pairs one of these cases gives if `verdict` is right."""
        right, wrong = self.in_context, self.out_of_context
        if verdict == Verdict.OUT_OF_CONTEXT:
            right, wrong = wrong, right
        return min((right + own_rationales) * wrong, PREFERENCES_PER_CASE)


def stats(session: Session) -> dict[str, Any]:
    """Return what `stats --json` prints; figures that are undefined are None."""
    kinds = _kinds(session)
    labelled = [kind for kind in kinds if kind.pseudo_label]
    return {
        "cases": sum(kind.cases for kind in kinds),
        "cases_without_image": sum(kind.cases for kind in kinds if not kind.has_image),
        "by_gold": _tally((*Verdict, None), ((kind.gold, kind.cases) for kind in kinds)),
        "by_split": _tally(Split, ((kind.split, kind.cases) for kind in kinds)),
        "opinions": sum(kind.cases * kind.opinions for kind in kinds),
        "agreed": sum(kind.cases for kind in labelled),
        "agreed_wrong": sum(kind.cases for kind in labelled if kind.gold not in (None, kind.pseudo_label)),
        "no_opinion": sum(kind.cases for kind in kinds if not kind.opinions),
        "conflicts": _conflicts(kinds),
        "queued": session.scalar(sa.select(sa.func.count()).select_from(Queued)),
        "audit": {"sampled": 0, "ruled": 0, "wrong": 0, "error": None, "interval": None},
        **_preferences(kinds),
        "teachers": _teachers(session),
        "agreement": _agreement(session, kinds),
        "rulings": session.scalar(sa.select(sa.func.count()).select_from(Ruling).where(is_current())),
        "annotators": session.scalar(sa.select(sa.func.count()).select_from(Annotator)),
    }


def kappa(pairs: Counter[tuple[str, str]]) -> float | None:
    """Return Cohen's kappa of answers given in pairs; None without pairs or without any variety."""
    total = pairs.total()
    if not total:
        return None
    firsts, seconds = Counter[str](), Counter[str]()
    for (first, second), count in pairs.items():
        firsts[first] += count
        seconds[second] += count
    observed = sum(count for (first, second), count in pairs.items() if first == second) / total
    expected = sum(firsts[answer] * seconds[answer] for answer in firsts) / total**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def alpha(cases: Iterable[tuple[tuple[int, ...], int]]) -> float | None:
    """Return Krippendorff's nominal alpha, None where undefined.

    Each of `cases` is (how often each answer was given to a case, how many such cases there are).
    """
    totals, differing = Counter[int](), 0.0
    for counts, number in cases:
        given = sum(counts)
        if given < 2:
            continue  # one opinion pairs with nothing
        differing += number * sum(count * (given - count) for count in counts) / (given - 1)
        for answer, count in enumerate(counts):
            totals[answer] += number * count
    given = totals.total()
    chance = sum(count * (given - count) for count in totals.values())
    return 1 - (given - 1) * differing / chance if chance else None


def _kinds(session: Session) -> list[Kind]:
    counts, settled = opinion_counts(), settled_query().order_by(None).subquery("settled")
    columns = (
        Case.gold,
        Case.split,
        Case.image_sha256.is_not(None).label("has_image"),
        sa.func.coalesce(counts.c.opinions, 0).label("opinions"),
        sa.func.coalesce(counts.c.in_context, 0).label("in_context"),
        sa.func.coalesce(counts.c.out_of_context, 0).label("out_of_context"),
        settled.c.verdict.label("settled_as"),
        sa.func.coalesce(settled.c.rationales, 0).label("own_rationales"),
    )
    query = (
        sa.select(*columns, sa.func.count().label("cases"))
        .select_from(Case)
        .outerjoin(counts, counts.c.case_id == Case.id)
        .outerjoin(settled, settled.c.case_id == Case.id)
        .group_by(*columns)
    )
    return [Kind(**row._mapping) for row in session.execute(query)]


def _tally(words: Iterable[str | None], counted: Iterable[tuple[str | None, int]]) -> dict[str, int]:
    """Add up by word, each word of `words` present; what has none is under "unknown"."""
    tally = {word or "unknown": 0 for word in words}
    for word, count in counted:
        tally[word or "unknown"] += count
    return tally


def _conflicts(kinds: list[Kind]) -> dict[str, int]:
    total = sum(kind.cases for kind in kinds if kind.is_conflict)
    settled = sum(kind.cases for kind in kinds if kind.is_conflict and kind.settled_as)
    return {"total": total, "open": total - settled, "settled": settled}


def _preferences(kinds: list[Kind]) -> dict[str, int]:
    conflicts = [kind for kind in kinds if kind.is_conflict]
    trained_on = [kind for kind in conflicts if kind.split == Split.TRAIN and kind.has_image]
    return {
        "preferences": sum(
            kind.cases * kind.preferences(kind.settled_as, kind.own_rationales)
            for kind in trained_on
            if kind.settled_as
        ),
        "preferences_possible": sum(
            kind.cases * kind.preferences(kind.gold) for kind in conflicts if kind.gold
        ),
    }


def _teachers(session: Session) -> list[dict[str, Any]]:
    """Describe each teacher, in the order they came."""
    opinions = _count_by(session, sa.select(Opinion.teacher_id, Opinion.verdict, Case.gold).join(Case))
    rulings = _count_by(
        session,
        sa.select(Opinion.teacher_id, Opinion.verdict, Ruling.verdict)
        .join(Ruling, Ruling.case_id == Opinion.case_id)
        .where(is_current()),
    )
    rows = []
    for teacher in session.scalars(sa.select(Teacher).order_by(Teacher.id)):
        said = opinions.get(teacher.id, Counter())
        judged = sum(count for (_, gold), count in said.items() if gold)
        right = sum(count for (verdict, gold), count in said.items() if verdict == gold)
        rows.append(
            {
                "name": teacher.name,
                "kind": teacher.kind,
                "opinions": said.total(),
                "unsure": sum(count for (verdict, _), count in said.items() if verdict == Answer.UNSURE),
                "accuracy": right / judged if judged else None,
                "kappa_with_rulings": kappa(rulings.get(teacher.id, Counter())),
            }
        )
    return rows


def _count_by(session: Session, query: sa.Select[Any, Any, Any]) -> dict[int, Counter[tuple[str, str]]]:
    """Count the (second, third) columns of a query over current opinions, by its first."""
    grouped = query.where(Opinion.current).group_by(*query.selected_columns).add_columns(sa.func.count())
    counts: dict[int, Counter[tuple[str, str]]] = {}
    for key, first, second, count in session.execute(grouped):
        counts.setdefault(key, Counter())[first, second] = count
    return counts


def _agreement(session: Session, kinds: list[Kind]) -> dict[str, Any]:
    """Measure how far the teachers agree; `why` says why alpha is None where it is."""
    answers = (
        (
            (kind.in_context, kind.out_of_context, kind.opinions - kind.in_context - kind.out_of_context),
            kind.cases,
        )
        for kind in kinds
    )
    value = alpha(answers)
    return {"krippendorff_alpha": value, "why": NO_ALPHA if value is None else None, "pairs": _pairs(session)}


def _pairs(session: Session) -> list[dict[str, Any]]:
    """Compare each two teachers on the cases both gave an opinion on."""
    a, b = aliased(Opinion), aliased(Opinion)
    columns = (a.teacher_id, b.teacher_id, a.verdict, b.verdict)
    query = (
        sa.select(*columns, sa.func.count())
        .join(b, sa.and_(b.case_id == a.case_id, b.teacher_id > a.teacher_id))
        .where(a.current, b.current)
        .group_by(*columns)
    )
    pairs: dict[tuple[int, int], Counter[tuple[str, str]]] = {}
    for first, second, one, other, count in session.execute(query):
        pairs.setdefault((first, second), Counter())[one, other] = count
    names = {id_: name for id_, name in session.execute(sa.select(Teacher.id, Teacher.name))}
    return [
        {
            "a": names[first],
            "b": names[second],
            "conflict_rate": 1 - _same_verdict(said) / said.total(),
            "kappa": kappa(said),
        }
        for (first, second), said in sorted(pairs.items())
    ]


def _same_verdict(said: Counter[tuple[str, str]]) -> int:
    return sum(said[verdict, verdict] for verdict in Verdict)
