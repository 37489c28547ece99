"""Say how far people and teachers agree, or why no figure can be given.

Pure functions over counts: the database groups, and what comes in is a few dozen rows however many
cases there are. Answers are `in_context`, `out_of_context` and `unsure`; an `unsure` opinion is
never right, so abstaining makes no teacher look better.

Cohen's kappa and the intervals are statsmodels'. Krippendorff's alpha is computed here, because the
`krippendorff` package wants a row for each case: 230 MB for a million of them, where the counts of
like cases are a few dozen. The tests hold both to the same figure.

Importing statsmodels takes longer than all else here, so it waits for the first figure.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from db.vocabulary import RUSHED_SECONDS, UNSURE, Verdict

AnswerCounts = TypeVar("AnswerCounts", bound=tuple[int, ...])

NOTHING_ANSWERED_TWICE = "No case has been answered twice, so there is nothing to compare."
ONE_ANSWER = "Every answer is the same one, so agreement cannot be told from chance."
NOTHING_SHARED = "They have answered no case in common."
NO_AUDIT_RULED = "No case of the audit has been ruled on yet."

ONE_SIDED_SHARE = 0.95  # one answer in twenty differs: the case hardly matters any more
ONE_SIDED_LEAST = 50  # a coin shows 48 alike of 50 twice in 10^12 times
UNSURE_SHARE = 0.5  # unsure opinions are neither chosen nor rejected: half of the teacher's work is lost
RUSHED_SHARE = 0.2  # one ruling in five is a habit, no longer a slip of the hand
RUSHED_LEAST = 20  # so that it takes four of them
KAPPA_LEAST = 0.4  # below it agreement beyond chance is poor (Fleiss 1981, chapter 13)
SHARED_LEAST = 20  # of fewer, kappa is uncertain by more than 0.4 either way


@dataclass(frozen=True)
class Figure:
    """A figure with what it rests on, or the reason why there is none."""

    value: float | None
    why: str | None = None  # a sentence for a person, where there is no value
    interval: tuple[float, float] | None = None  # 95 %; None where the method gives no width
    cases: int = 0  # how many cases, or pairs of answers, it was computed from


@dataclass(frozen=True)
class VerdictFigures:
    """How a teacher does on one verdict, people's rulings or gold verdicts being right."""

    verdict: Verdict
    right: Figure  # of the cases that are so, the share on which the teacher says so (recall)
    unsure: Figure  # of the same cases, the share on which the teacher was unsure
    precision: Figure  # of the cases of which the teacher says so, the share that are


@dataclass(frozen=True)
class Together:
    """How far two go together on the cases that both have answered."""

    cases: int
    conflict_rate: float  # the share on which they do not carry the same verdict; unsure counts as differing
    kappa: Figure


class Oddity(StrEnum):
    """What may be called out."""

    ONE_VERDICT = "one_verdict"
    MOSTLY_UNSURE = "mostly_unsure"
    ONE_SIDED = "one_sided"
    RUSHED = "rushed"
    ALONE = "alone"


@dataclass(frozen=True)
class CalledOut:
    """Something odd about a teacher or an annotator, in one sentence that says it whole."""

    name: str
    oddity: Oddity
    sentence: str


@dataclass(frozen=True)
class TeacherRecord:
    """What a teacher has said so far."""

    name: str
    answers: Mapping[str, int]


@dataclass(frozen=True)
class AnnotatorRecord:
    """What an annotator has ruled so far, and how far colleagues agree."""

    name: str
    answers: Mapping[str, int]
    rushed: int  # rulings made in less than RUSHED_SECONDS
    with_colleagues: Figure  # `cohen_kappa` over the cases that a colleague ruled on, too


def krippendorff_alpha(units: Mapping[AnswerCounts, int]) -> Figure:
    """Return nominal alpha: 1 is full agreement, 0 what chance gives.

    `units` maps how often each answer was given to a case to the number of such cases; who gave which
    is of no account, and cases with fewer than two answers have none to compare. Krippendorff 2011,
    "Computing Krippendorff's Alpha-Reliability", section C.
    """
    totals, differing, cases = Counter[int](), 0.0, 0
    for counts, number in units.items():
        given = sum(counts)
        if given < 2:
            continue
        cases += number
        differing += number * sum(count * (given - count) for count in counts) / (given - 1)
        for answer, count in enumerate(counts):
            totals[answer] += number * count
    if not cases:
        return Figure(None, NOTHING_ANSWERED_TWICE)
    given = totals.total()
    by_chance = sum(count * (given - count) for count in totals.values())
    if not by_chance:
        return Figure(None, ONE_ANSWER, cases=cases)
    return Figure(1 - (given - 1) * differing / by_chance, cases=cases)


def cohen_kappa(pairs: Mapping[tuple[str, str], int]) -> Figure:
    """Return kappa of answers given in pairs: 1 is full agreement, 0 what chance gives.

    `pairs` maps (one's answer, the other's) to how often that came. Cohen 1960, eq. 1; the interval
    is Fleiss, Cohen and Everitt 1969, cut at the ends of the scale. It is missing where that
    formula gives no width, as for full agreement: even of three cases it would claim certainty.
    """
    total = sum(pairs.values())
    if not total:
        return Figure(None, NOTHING_SHARED)
    answers = sorted({answer for pair, count in pairs.items() if count for answer in pair})
    if len(answers) == 1:
        return Figure(None, ONE_ANSWER, cases=total)
    import numpy as np
    from statsmodels.stats.inter_rater import cohens_kappa

    table = [[pairs.get((one, other), 0) for other in answers] for one in answers]
    with np.errstate(divide="ignore", invalid="ignore"):  # its test of kappa = 0, which nobody reads here
        found = cohens_kappa(table)
    low, high = max(float(found.kappa_low), -1.0), min(float(found.kappa_upp), 1.0)
    return Figure(float(found.kappa), interval=(low, high) if high - low > 1e-6 else None, cases=total)


def wilson(wrong: int, ruled: int) -> Figure:
    """Return the share of wrong pseudo-labels in an audit with its interval (Wilson 1927).

    Newcombe 1998 compares it with six others: it keeps its 95 % also near 0, where an audit lies.
    """
    return share(wrong, ruled, NO_AUDIT_RULED)


def share(part: int, whole: int, why_none: str) -> Figure:
    """Return part / whole with Wilson's interval, or `why_none` of nothing."""
    if not whole:
        return Figure(None, why_none)
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(part, whole, alpha=0.05, method="wilson")
    return Figure(part / whole, interval=(float(low), float(high)), cases=whole)


def together(said: Mapping[tuple[str, str], int]) -> Together:
    """Compare answers given in pairs, of which there is one at least: (one's, the other's) to how often."""
    cases = sum(said.values())
    same = sum(said.get((verdict, verdict), 0) for verdict in Verdict)
    return Together(cases, 1 - same / cases, cohen_kappa(said))


def accuracy(pairs: Mapping[tuple[str, str], int], why_none: str) -> Figure:
    """Return how often the teacher is right, of (its answer, what is so); unsure is never right."""
    judged = sum(pairs.get((answer, verdict), 0) for answer in (*Verdict, UNSURE) for verdict in Verdict)
    return share(sum(pairs.get((verdict, verdict), 0) for verdict in Verdict), judged, why_none)


def per_verdict(pairs: Mapping[tuple[str, str], int], so: str = "human verdict") -> list[VerdictFigures]:
    """Compare a teacher with people or gold verdicts, verdict by verdict; `so` names which.

    `pairs` maps (the teacher's answer, theirs) to how often that came. Cases that people are unsure
    of prove nobody right or wrong and are left out.
    """
    figures = []
    for verdict in Verdict:
        ruled = sum(pairs.get((answer, verdict), 0) for answer in (*Verdict, UNSURE))
        said = sum(pairs.get((verdict, answer), 0) for answer in Verdict)
        right, unsure = pairs.get((verdict, verdict), 0), pairs.get((UNSURE, verdict), 0)
        none_so = f"No case with this teacher's opinion has the {so} {_words(verdict)}."
        none_said = f"This teacher has found no case with a {so} {_words(verdict)}."
        figures.append(
            VerdictFigures(
                verdict,
                right=share(right, ruled, none_so),
                unsure=share(unsure, ruled, none_so),
                precision=share(right, said, none_said),
            )
        )
    return figures


def called_out(teachers: Iterable[TeacherRecord], annotators: Iterable[AnnotatorRecord]) -> list[CalledOut]:
    """Say what is odd, teachers first, in the order given."""
    odd = [found for teacher in teachers for found in _odd_teacher(teacher)]
    return odd + [found for annotator in annotators for found in _odd_annotator(annotator)]


def _odd_teacher(teacher: TeacherRecord) -> Iterable[CalledOut]:
    total = sum(teacher.answers.values())
    verdict, count = _commonest_verdict(teacher.answers)
    if total >= ONE_SIDED_LEAST and count >= ONE_SIDED_SHARE * total:
        yield CalledOut(
            teacher.name,
            Oddity.ONE_VERDICT,
            f"{teacher.name} finds {count:,} of {total:,} cases {_words(verdict)}: it gives one verdict "
            "whatever the case, so its opinions make conflicts and say nothing.",
        )
    unsure = teacher.answers.get(UNSURE, 0)
    if total >= ONE_SIDED_LEAST and unsure >= UNSURE_SHARE * total:
        yield CalledOut(
            teacher.name,
            Oddity.MOSTLY_UNSURE,
            f"{teacher.name} is unsure of {unsure:,} of {total:,} cases: look at its raw answers, because "
            "a prompt or a mapping it does not fit reads like doubt.",
        )


def _odd_annotator(annotator: AnnotatorRecord) -> Iterable[CalledOut]:
    total = sum(annotator.answers.values())
    verdict, count = _commonest_verdict(annotator.answers)
    if total >= ONE_SIDED_LEAST and count >= ONE_SIDED_SHARE * total:
        yield CalledOut(
            annotator.name,
            Oddity.ONE_SIDED,
            f"{annotator.name} ruled {_words(verdict)} on {count:,} of {total:,} cases: compare with "
            "colleagues before drawing a conclusion, because the queue itself may be one-sided.",
        )
    if total >= RUSHED_LEAST and annotator.rushed >= RUSHED_SHARE * total:
        yield CalledOut(
            annotator.name,
            Oddity.RUSHED,
            f"{annotator.name} made {annotator.rushed:,} of {total:,} rulings in less than "
            f"{RUSHED_SECONDS:g} seconds, too fast to have read two rationales.",
        )
    kappa = annotator.with_colleagues
    if kappa.value is not None and kappa.value < KAPPA_LEAST and kappa.cases >= SHARED_LEAST:
        yield CalledOut(
            annotator.name,
            Oddity.ALONE,
            f"{annotator.name} and colleagues agree with a kappa of {kappa.value:.2f} on {kappa.cases:,} "
            f"rulings they share, below {KAPPA_LEAST}: go through those cases and the guidelines together.",
        )


def _commonest_verdict(answers: Mapping[str, int]) -> tuple[Verdict, int]:
    verdict = max(Verdict, key=lambda verdict: answers.get(verdict, 0))
    return verdict, answers.get(verdict, 0)


def _words(verdict: Verdict) -> str:
    return verdict.replace("_", " ")
