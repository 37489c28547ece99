import re
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from db.agreement import NOTHING_SHARED, ONE_ANSWER, wilson
from db.cases import NewCase, NewOpinion, add_cases
from db.engine import write_session
from db.models import Case, Teacher
from db.rulings import NewRuling, ensure_annotator, rule
from db.stats import stats
from db.teacher_figures import (
    NO_CONFIDENCE,
    NO_GOLD,
    NO_RULING,
    NO_TRUTH,
    Version,
    calibration,
    only_right,
    teacher_figures,
    versions,
)
from db.teaching import NewAnswer, begin_run, keep_opinion, retire, withdraw
from db.vocabulary import Answer, TeacherKind, Verdict
from tests.conftest import AddCase
from tests.db.test_queue import _plans

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
IN, OUT = Verdict.IN_CONTEXT, Verdict.OUT_OF_CONTEXT
A, B, C = 1, 2, 3
SMALL = ("kinds", "teachers")  # as many rows as there are kinds and teachers, whatever the number of cases


def _rule(sessions: sessionmaker[Session], case_id: int, answer: Answer) -> None:
    with write_session(sessions) as session:
        maria = ensure_annotator(session, "maria")
        rule(session, maria, NewRuling(f"maria {case_id}", case_id, answer, rationale="Seen."), NOW)


def _say(
    sessions: sessionmaker[Session], name: str, *, answer: Answer, confidence: float | None, gold: Verdict
) -> None:
    said = (NewOpinion("A", answer, "Because.", confidence),)
    with write_session(sessions) as session:
        add_cases(session, "test", [NewCase(name, f"Caption of {name}.", gold=gold, opinions=said)])


def _ask(sessions: sessionmaker[Session], teacher: str, version: str, model: str, *case_ids: int) -> None:
    with write_session(sessions) as session:
        run = begin_run(
            session, teacher, TeacherKind.ENDPOINT,
            prompt_version=version, model=model, annotator_id=None, now=NOW,
        )  # fmt: skip
        for case_id in case_ids:
            opinion = NewOpinion(teacher, Answer.IN_CONTEXT, "It fits.", 0.9)
            keep_opinion(session, run, case_id, opinion, NewAnswer("{}", True, model), NOW)


def _retire(sessions: sessionmaker[Session], teacher: str) -> None:
    with write_session(sessions) as session:
        withdraw(session, retire(session, teacher, None, NOW), NOW)


def test_a_desk_without_teachers_has_no_versions(sessions: sessionmaker[Session]) -> None:
    with sessions() as session:
        assert versions(session) == []
        assert calibration(session, 7).why == NO_TRUTH


def test_figures_that_cannot_be_given_say_why(sessions: sessionmaker[Session], add_case: AddCase) -> None:
    add_case("1", "i")
    add_case("2", "u", gold=OUT)
    with sessions() as session:
        found = teacher_figures(session, A)
        sure = calibration(session, A)
        assert only_right(session, A) == []
    assert (found.opinions, found.unsure, found.others, found.compared) == (2, 1, (), 0)
    assert (found.by_gold.accuracy.value, found.by_gold.accuracy.cases) == (0.0, 1)
    assert (found.by_people.accuracy.value, found.by_people.accuracy.why) == (None, NO_RULING)
    assert found.with_rulings.why == NOTHING_SHARED
    assert (sure.bins, sure.cases, sure.why) == ((), 0, NO_TRUTH)


def test_a_teacher_without_a_word_on_how_sure_it_is_has_no_calibration(
    sessions: sessionmaker[Session],
) -> None:
    _say(sessions, "1", answer=Answer.IN_CONTEXT, confidence=None, gold=IN)
    with sessions() as session:
        sure = calibration(session, A)
    assert (sure.looked_at, sure.cases, sure.error, sure.why) == (1, 0, None, NO_CONFIDENCE)


def test_the_figures_of_a_small_desk_are_those_counted_by_hand(
    sessions: sessionmaker[Session], add_case: AddCase
) -> None:
    add_case("1", "iii", gold=IN)
    first = add_case("2", "iou", gold=IN)  # A alone is right
    add_case("3", "oio", gold=IN)
    add_case("4", "ioo", gold=OUT)  # A alone is wrong
    add_case("5", "uii", gold=IN)  # unsure is not wrong
    add_case("6", "o", gold=OUT)  # nobody to compare with
    last = add_case("7", "oii", gold=IN)
    _rule(sessions, last, Answer.OUT_OF_CONTEXT)  # people know better than gold: A alone is right
    unsettled = add_case("8", "ioo")
    _rule(sessions, unsettled, Answer.UNSURE)
    with sessions() as session:
        found = teacher_figures(session, A)
        alone = only_right(session, A)
        assert only_right(session, A, count=1) == [last]
        other = stats(session)["teachers"][0]
    assert (found.name, found.kind, found.active, found.opinions) == ("A", TeacherKind.RECORDED, True, 8)
    assert found.verdicts == {Answer.IN_CONTEXT: 4, Answer.OUT_OF_CONTEXT: 3, Answer.UNSURE: 1}
    gold = found.by_gold
    assert (gold.accuracy.value, gold.accuracy.cases) == (3 / 7, 7)
    assert gold.accuracy.interval == wilson(3, 7).interval
    assert [(one.right.value, one.unsure.value, one.right.cases) for one in gold.per_verdict] == [
        (2 / 5, 1 / 5, 5),
        (1 / 2, 0.0, 2),
    ]
    assert (found.by_people.accuracy.value, found.by_people.accuracy.cases) == (1.0, 1)
    assert found.with_rulings.cases == 2  # that people cannot tell is an answer, too
    assert [(one.name, one.together.cases) for one in found.others] == [("B", 7), ("C", 7)]
    assert [one.together.conflict_rate for one in found.others] == pytest.approx([6 / 7, 5 / 7])
    assert (found.compared, found.only_right, found.only_wrong) == (6, 2, 1)
    assert alone == [last, first]
    assert other["accuracy"] == gold.accuracy.value
    assert other["kappa_with_rulings"] == found.with_rulings.value


def test_a_retired_teacher_counts_for_nobody(sessions: sessionmaker[Session], add_case: AddCase) -> None:
    case_id = add_case("1", "ioi", gold=IN)
    add_case("2", "io", gold=IN)
    _retire(sessions, "C")
    with sessions() as session:
        found, gone = teacher_figures(session, A), teacher_figures(session, C)
        assert case_id in only_right(session, A)
    assert ([one.name for one in found.others], found.only_right) == (["B"], 2)
    assert found.others[0].together.kappa.value == 0.0
    assert (gone.active, gone.opinions, gone.by_gold.accuracy.why) == (False, 0, NO_GOLD)


def test_how_sure_a_teacher_says_it_is_is_held_against_how_often_it_is_right(
    sessions: sessionmaker[Session],
) -> None:
    for number, (confidence, gold) in enumerate([(0.95, IN), (1.0, OUT), (0.9, IN), (0.25, IN), (0.0, OUT)]):
        _say(sessions, f"{number}", answer=Answer.IN_CONTEXT, confidence=confidence, gold=gold)
    _say(sessions, "unsure", answer=Answer.UNSURE, confidence=0.9, gold=IN)
    _say(sessions, "silent", answer=Answer.IN_CONTEXT, confidence=None, gold=IN)
    with sessions() as session:
        sure = calibration(session, A)
        newest = calibration(session, A, newest=3)
    assert [(one.low, one.high, one.cases, one.wrong) for one in sure.bins] == [
        (0.0, 0.1, 1, 1),
        (0.2, 0.3, 1, 0),
        (0.9, 1.0, 3, 1),
    ]
    assert [one.said for one in sure.bins] == pytest.approx([0.0, 0.25, 0.95])
    assert (sure.looked_at, sure.cases, sure.why) == (6, 5, None)
    assert (sure.said, sure.right) == pytest.approx((0.62, 0.6))
    assert sure.error == pytest.approx((0.0 + 0.75 + abs(2.85 - 2)) / 5)
    assert (newest.looked_at, newest.cases) == (3, 2)  # the silent one, 4 and 3


def test_every_case_is_looked_at_once_and_the_newest_first_however_many_kinds_there_are(
    sessions: sessionmaker[Session],
) -> None:
    both = (Answer.IN_CONTEXT, Answer.OUT_OF_CONTEXT)
    made = []
    for number in range(130):
        said = (NewOpinion("A", both[number % 2], "Because.", 0.5),)
        made.append(NewCase(f"{number}", "Caption.", gold=IN if number % 3 else OUT, opinions=said))
    rivals = [NewCase(f"{n}", "Caption.", opinions=(NewOpinion("B", Answer.UNSURE),)) for n in range(130)]
    with write_session(sessions) as session:
        add_cases(session, "test", made)
        add_cases(session, "test", rivals)
    with sessions() as session:
        right = [n for n in range(130) if (n % 3 == 0) == (n % 2 == 1)]
        names = {id_: int(name) for id_, name in session.execute(sa.select(Case.id, Case.external_id))}
        assert [names[case_id] for case_id in only_right(session, A, count=500)] == right[::-1]
        assert teacher_figures(session, A).only_right == len(right)
        sure = calibration(session, A)
    assert [(one.cases, one.wrong) for one in sure.bins] == [(130, 130 - len(right))]


def test_versions_are_those_of_opinions_that_count(
    sessions: sessionmaker[Session], add_case: AddCase
) -> None:
    cases = [add_case(f"{number}", "io") for number in range(4)]
    _ask(sessions, "asked", "teach-1", "m-1", *cases)
    _ask(sessions, "asked", "teach-2", "m-2", *cases[:2])
    _ask(sessions, "asked", "teach-2", "m-3", cases[2])
    _ask(sessions, "A", "teach-2", "m-1", *cases[:3])  # was recorded before
    _ask(sessions, "silent", "teach-2", "m-1")
    _retire(sessions, "B")
    with sessions() as session:
        found = versions(session)
        shown = {one["name"]: one["versions"] for one in stats(session)["teachers"]}
    assert found == [
        Version("A", TeacherKind.ENDPOINT, True, "recorded", None),
        Version("A", TeacherKind.ENDPOINT, True, "teach-2", "m-1"),
        Version("asked", TeacherKind.ENDPOINT, True, "teach-1", "m-1"),
        Version("asked", TeacherKind.ENDPOINT, True, "teach-2", "m-2"),
        Version("asked", TeacherKind.ENDPOINT, True, "teach-2", "m-3"),
    ]
    assert shown["A"] == [
        {"prompt_version": "recorded", "model": None},
        {"prompt_version": "teach-2", "model": "m-1"},
    ]
    assert shown["B"] == shown["silent"] == []
    _ask(sessions, "A", "teach-2", "m-1", cases[3])
    with sessions() as session:
        assert [one.model for one in versions(session) if one.teacher == "A"] == ["m-1"]


def test_no_figure_reads_all_cases_or_opinions(
    sessions: sessionmaker[Session], add_case: AddCase, kind: str
) -> None:
    cases = [add_case(f"{number}", "iou"[number % 3] + "io", gold=IN) for number in range(12)]
    _ask(sessions, "A", "teach-1", "m", *cases[:6])
    with sessions() as session, _plans(session) as plans:
        assert session.scalar(sa.select(sa.func.count()).select_from(Teacher)) == 3
        assert teacher_figures(session, A).opinions == 12
        assert calibration(session, A).cases == 10
        assert only_right(session, B) == [cases[number] for number in (11, 10, 8, 7)]
        assert len(versions(session)) == 4
    assert len(plans) > 15
    if kind == "postgresql":
        assert {table for step in plans for table in re.findall(r"Seq Scan on (\w+)", step)} <= set(SMALL)
        return
    assert {step for step in plans if step.startswith("SCAN") and step.split()[1] not in SMALL} == set()
    assert [step for step in plans if "TEMP B-TREE" in step] == []
    used = {index for step in plans for index in re.findall(r"INDEX (\w+)", step)}
    assert {"ix_cases_kind", "uq_opinions_current", "ix_opinions_asked"} <= used


def test_one_answer_alone_gives_no_kappa(sessions: sessionmaker[Session], add_case: AddCase) -> None:
    add_case("1", "ii")
    with sessions() as session:
        (other,) = teacher_figures(session, A).others
    assert (other.together.conflict_rate, other.together.kappa.why) == (0.0, ONE_ANSWER)
