"""Count what is on the desk and how far teachers and people agree.

All that is counted over cases comes from their kinds (`kinds.py`), a few hundred rows whatever the
number of cases; what is counted over people comes from their rulings. Agreement is measured over
three answers (in context, out of context, unsure); an `unsure` opinion is never right, so abstaining
does not raise a teacher's accuracy.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import combinations
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db import audits
from db.agreement import (
    AnnotatorRecord,
    Figure,
    TeacherRecord,
    accuracy,
    called_out,
    cohen_kappa,
    krippendorff_alpha,
    per_verdict,
    together,
)
from db.kinds import all_kinds
from db.models import Annotator, Case, Kind, Ruling, Teacher, is_current
from db.queue import waiting
from db.teacher_figures import NO_GOLD, Kinds, answers_beside, versions
from db.vocabulary import Answer, Cause, HumanAnswer, QueueReason, Split, Verdict

Pairs = dict[tuple[str, str], Counter[tuple[str, str]]]


def stats(session: Session) -> dict[str, Any]:
    """Return what `stats --json` prints; figures that are undefined are None."""
    kinds = [(traits, cases) for _, traits, cases in all_kinds(session) if cases]
    names = {id_: name for id_, name in session.execute(sa.select(Teacher.id, Teacher.name))}
    people, shared = _people(session), _shared_rulings(session)
    in_queue = waiting(session)
    return {
        "cases": sum(cases for _, cases in kinds),
        "cases_without_image": sum(cases for traits, cases in kinds if not traits.has_image),
        "by_gold": _tally((*Verdict, None), ((traits.gold, cases) for traits, cases in kinds)),
        "by_split": _tally(Split, ((traits.split, cases) for traits, cases in kinds)),
        "opinions": sum(cases * traits.opinions for traits, cases in kinds),
        "agreed": sum(cases for traits, cases in kinds if traits.pseudo_label),
        "agreed_wrong": sum(
            cases for traits, cases in kinds
            if traits.pseudo_label and traits.gold not in ("", traits.pseudo_label)
        ),
        "no_opinion": sum(cases for traits, cases in kinds if not traits.opinions),
        "conflicts": _conflicts(kinds),
        "queued": sum(in_queue.values()),
        "queue": {why.value: in_queue.get(why, 0) for why in QueueReason},
        "audit": audits.estimate(session),
        **_preferences(kinds),
        "teachers": _teachers(session, kinds),
        "agreement": {**_teachers_agreement(kinds, names), "annotators": _people_agreement(shared)},
        "rulings": sum(cases * traits.rulings for traits, cases in kinds),
        "causes": _causes(session),
        "annotators": len(people),
        "people": people,
        "called_out": _called_out(kinds, names, people, shared),
    }  # fmt: skip


def _tally(words: Iterable[str | None], counted: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Add up by word, each word of `words` present; what has none is under "unknown"."""
    tally = {word or "unknown": 0 for word in words}
    for word, number in counted:
        tally[word or "unknown"] += number
    return tally


def _conflicts(kinds: Kinds) -> dict[str, int]:
    total = sum(cases for traits, cases in kinds if traits.is_conflict)
    settled = sum(cases for traits, cases in kinds if traits.is_conflict and traits.settled_as)
    return {"total": total, "open": total - settled, "settled": settled}


def _preferences(kinds: Kinds) -> dict[str, int]:
    conflicts = [(traits, cases) for traits, cases in kinds if traits.is_conflict]
    return {
        "preferences": sum(
            cases * traits.preferences(traits.settled_as, traits.own_rationales)
            for traits, cases in conflicts
            if traits.settled_as and traits.split == Split.TRAIN and traits.has_image
        ),
        "preferences_possible": sum(
            cases * traits.preferences(traits.gold) for traits, cases in conflicts if traits.gold
        ),
    }


def _teachers(session: Session, kinds: Kinds) -> list[dict[str, Any]]:
    """Describe each teacher, in the order they came."""
    described = []
    spoken = versions(session)
    for teacher in session.scalars(sa.select(Teacher).order_by(Teacher.id)):
        said, with_people = answers_beside(kinds, teacher.id)
        kappa = cohen_kappa(with_people)
        described.append(
            {
                "name": teacher.name,
                "kind": teacher.kind,
                "opinions": said.total(),
                "unsure": sum(count for (verdict, _), count in said.items() if verdict == Answer.UNSURE),
                "accuracy": accuracy(said, NO_GOLD).value,
                "kappa_with_rulings": kappa.value,
                "why": kappa.why,
                "per_verdict": [
                    {
                        "verdict": one.verdict,
                        "cases": one.right.cases,
                        "right": one.right.value,
                        "unsure": one.unsure.value,
                        "precision": one.precision.value,
                    }
                    for one in per_verdict(with_people)
                ],
                "active": teacher.active,
                "versions": [
                    {"prompt_version": one.prompt_version, "model": one.model}
                    for one in spoken
                    if one.teacher == teacher.name
                ],
            }
        )
    return described


def _teachers_agreement(kinds: Kinds, names: dict[int, str]) -> dict[str, Any]:
    units = Counter[tuple[int, int, int]]()
    pairs: Pairs = {}
    for traits, cases in kinds:
        units[traits.in_context, traits.out_of_context, traits.unsure] += cases
        for (one, said), (other, says) in combinations(sorted(traits.answers.items()), 2):
            pairs.setdefault((names[one], names[other]), Counter())[said, says] += cases
    return _agreement(units, pairs)


def _people_agreement(shared: list[dict[str, str]]) -> dict[str, Any]:
    order = list(Answer)
    units = Counter(tuple(list(said.values()).count(answer) for answer in order) for said in shared)
    return _agreement(units, _pairs_of_people(shared))


def _pairs_of_people(shared: list[dict[str, str]]) -> Pairs:
    pairs: Pairs = {}
    for said in shared:
        for one, other in combinations(sorted(said), 2):
            pairs.setdefault((one, other), Counter())[said[one], said[other]] += 1
    return pairs


def _agreement(units: Counter[Any], pairs: Pairs) -> dict[str, Any]:
    """Measure how far some agree; `why` says why a figure is None where it is."""
    alpha = krippendorff_alpha(units)
    return {
        "krippendorff_alpha": alpha.value,
        "why": alpha.why,
        "pairs": [_pair(one, other, said) for (one, other), said in sorted(pairs.items())],
    }


def _pair(one: str, other: str, said: Counter[tuple[str, str]]) -> dict[str, Any]:
    found = together(said)
    return {
        "a": one,
        "b": other,
        "cases": found.cases,
        "conflict_rate": found.conflict_rate,
        "kappa": found.kappa.value,
        "interval": found.kappa.interval,
        "why": found.kappa.why,
    }


def _causes(session: Session) -> dict[str, int]:
    """Count by cause the rulings that settle; an index holds just those with one."""
    given = sa.select(Ruling.cause, sa.func.count()).where(Ruling.cause.is_not(None), is_current())
    counted = {cause: number for cause, number in session.execute(given.group_by(Ruling.cause))}
    return {cause.value: counted.get(cause, 0) for cause in Cause}


def _people(session: Session) -> list[dict[str, Any]]:
    """Describe what each annotator has ruled, withdrawn and corrected rulings left out."""
    columns = (Ruling.annotator_id, Ruling.verdict, Ruling.rushed)
    made = sa.select(*columns, sa.func.count(), sa.func.sum(Ruling.seconds)).where(
        Ruling.verdict.is_not(None)
    )
    superseded = sa.select(Ruling.supersedes_id).where(Ruling.supersedes_id.is_not(None))
    counted, seconds = Counter[tuple[int, str, bool]](), dict[int, float]()
    for sign, query in ((1, made), (-1, made.where(Ruling.id.in_(superseded)))):
        for annotator_id, verdict, rushed, number, took in session.execute(query.group_by(*columns)):
            counted[annotator_id, str(verdict), rushed] += sign * number
            seconds[annotator_id] = seconds.get(annotator_id, 0.0) + sign * took
    people = []
    for annotator in session.scalars(sa.select(Annotator).order_by(Annotator.id)):
        mine = {(verdict, rushed): n for (who, verdict, rushed), n in counted.items() if who == annotator.id}
        rulings = sum(mine.values())
        people.append(
            {
                "name": annotator.name,
                "scripted": annotator.scripted,
                "role": annotator.role,
                "rulings": rulings,
                **{
                    answer.value: sum(n for (said, _), n in mine.items() if said == answer)
                    for answer in Answer
                },
                "rushed": sum(n for (_, rushed), n in mine.items() if rushed),
                "mean_seconds": seconds[annotator.id] / rulings if rulings else None,
            }
        )
    return people


def _shared_rulings(session: Session) -> list[dict[str, str]]:
    """Return who said what of each case that two people ruled on, without adjudicators settling."""
    rows = session.execute(
        sa.select(Ruling.case_id, Annotator.name, Ruling.verdict)
        .join(Case, Case.id == Ruling.case_id)
        .join(Kind, Kind.id == Case.kind_id)
        .join(Annotator, Annotator.id == Ruling.annotator_id)
        .where(Kind.rulings >= 2, Kind.human != HumanAnswer.NONE, is_current(), ~Ruling.settles)
    )
    shared: dict[int, dict[str, str]] = {}
    for case_id, name, verdict in rows:
        shared.setdefault(case_id, {})[name] = str(verdict)
    return [said for said in shared.values() if len(said) > 1]


def _called_out(
    kinds: Kinds, names: dict[int, str], people: list[dict[str, Any]], shared: list[dict[str, str]]
) -> list[dict[str, str]]:
    """Say which teachers and annotators are worth a look, and why."""
    answers: dict[int, Counter[str]] = {teacher: Counter() for teacher in names}
    for traits, cases in kinds:
        for teacher, answer in traits.answers.items():
            answers[teacher][answer] += cases
    teachers = [TeacherRecord(names[teacher], said) for teacher, said in answers.items()]
    annotators = [
        AnnotatorRecord(
            one["name"],
            {answer: one[answer] for answer in Answer},
            one["rushed"],
            _with_colleagues(one["name"], shared),
        )
        for one in people
        if not one["scripted"]  # the demo's script rules in no time, and nobody should be told so
    ]
    return [
        {"name": odd.name, "oddity": odd.oddity, "sentence": odd.sentence}
        for odd in called_out(teachers, annotators)
    ]


def _with_colleagues(name: str, shared: list[dict[str, str]]) -> Figure:
    """Compare one annotator's answers with all that colleagues gave to the same cases."""
    said = Counter(
        (mine, theirs)
        for answers in shared
        if (mine := answers.get(name))
        for colleague, theirs in answers.items()
        if colleague != name
    )
    return cohen_kappa(said)
