from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from db import views
from db.cases import NewCase, NewEvidence, NewImage, NewOpinion, add_cases
from db.engine import write_session
from db.models import Opinion
from db.rulings import NewRuling, ensure_annotator, rule, undo
from db.views import Selection, UnknownCaseError, WholeCase, case_view, count_cases, whole_cases
from db.vocabulary import Answer, Element, EvidenceKind, Role, Split, Verdict
from tests.conftest import AddCase

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def add(sessions: sessionmaker[Session], *records: NewCase, dataset: str = "test") -> None:
    with write_session(sessions) as session:
        add_cases(session, dataset, records)


def ruled(
    sessions: sessionmaker[Session], name: str, case_id: int, verdict: Answer, *, role: Role = Role.ANNOTATOR
) -> int:
    with write_session(sessions) as session:
        annotator_id = ensure_annotator(session, name, role)
        new = NewRuling(f"{name}-{case_id}-{verdict}", case_id, verdict, rationale=f"{name} says so.")
        return rule(session, annotator_id, new, NOW).id


def read(
    sessions: sessionmaker[Session], selection: Selection | None = None, *, sharing: bool = False
) -> list[WholeCase]:
    selection = selection or Selection()
    with sessions() as session:
        cases = list(whole_cases(session, selection, sharing=sharing))
        assert count_cases(session, selection) == len(cases)
    return cases


def names(cases: list[WholeCase]) -> list[str]:
    return [case.view.external_id for case in cases]


def test_a_case_that_is_not_there_is_named(sessions: sessionmaker[Session]) -> None:
    with sessions() as session, pytest.raises(UnknownCaseError, match="no case 7"):
        case_view(session, 7)


def test_an_empty_desk_has_no_cases(sessions: sessionmaker[Session]) -> None:
    assert read(sessions) == []


def test_everything_a_case_has_is_read(sessions: sessionmaker[Session]) -> None:
    found = (NewEvidence(EvidenceKind.CAPTION, "second", text="t"), NewEvidence(EvidenceKind.IMAGE, "first"))
    asked = NewOpinion("B", Answer.OUT_OF_CONTEXT, "No.", 0.25, (Element.PLACE, Element.TIME))
    case = NewCase(
        "1", "C", note="left half", evidence=found, opinions=(asked, NewOpinion("A", Answer.UNSURE))
    )
    add(sessions, case)
    (whole,) = read(sessions)
    assert (whole.view.note, whole.view.evidence) == ("left half", found)
    said = [(one.teacher, one.verdict, one.confidence, one.elements) for one in whole.view.opinions]
    assert said == [
        ("A", Answer.UNSURE, None, None),
        ("B", Answer.OUT_OF_CONTEXT, 0.25, (Element.PLACE, Element.TIME)),
    ]
    with sessions() as session:
        assert case_view(session, whole.view.id) == whole.view


def test_cases_come_in_the_order_they_were_added_however_many_are_read_at_once(
    sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "BATCH", 3)
    said = (NewOpinion("A", Answer.IN_CONTEXT, "Yes."), NewOpinion("B", Answer.OUT_OF_CONTEXT, "No."))
    add(sessions, *[NewCase(f"{9 - number}", f"Caption {number}", opinions=said) for number in range(8)])
    cases = read(sessions)
    assert names(cases) == [f"{9 - number}" for number in range(8)]
    assert all([one.teacher for one in case.view.opinions] == ["A", "B"] for case in cases)


def test_all_is_of_the_moment_the_first_case_is_read(
    sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "BATCH", 2)

    def record(number: int, verdict: Answer) -> NewCase:
        return NewCase(f"{number}", "C", opinions=(NewOpinion("A", verdict, "Because."),))

    add(sessions, *[record(number, Answer.IN_CONTEXT) for number in range(6)])
    with sessions() as session:
        cases = whole_cases(session, Selection())
        first = next(cases)
        add(sessions, *[record(number, Answer.OUT_OF_CONTEXT) for number in range(7)])
        ruled(sessions, "maria", first.view.id + 5, Answer.IN_CONTEXT)
        rest = list(cases)
    assert len(rest) == 5
    assert {case.view.opinions[0].verdict for case in rest} == {Answer.IN_CONTEXT}
    assert not any(case.rulings or case.settled for case in rest)
    assert {case.view.opinions[0].verdict for case in read(sessions)} == {Answer.OUT_OF_CONTEXT}


def test_a_selection_narrows(sessions: sessionmaker[Session], add_case: AddCase) -> None:
    add_case("train")
    add_case("blind", image=False)
    add_case("held out", split=Split.TEST)
    settled = add_case("settled")
    ruled(sessions, "maria", settled, Answer.IN_CONTEXT)
    add(sessions, NewCase("train", "Another data set's."), dataset="other")
    assert names(read(sessions)) == ["train", "blind", "held out", "settled", "train"]
    assert names(read(sessions, Selection(split=Split.TEST))) == ["held out"]
    assert names(read(sessions, Selection(dataset="other"))) == ["train"]
    assert names(read(sessions, Selection(dataset="nowhere"))) == []
    assert names(read(sessions, Selection(settled=True))) == ["settled"]
    assert names(read(sessions, Selection(split=Split.TRAIN, with_image=True))) == ["train", "settled"]


def test_the_rulings_that_stand_come_with_their_case(
    sessions: sessionmaker[Session], add_case: AddCase
) -> None:
    case_id = add_case("one", "oi")
    ruled(sessions, "maria", case_id, Answer.IN_CONTEXT)
    with write_session(sessions) as session:
        annotator_id = ensure_annotator(session, "maria")
        undo(session, annotator_id, now=NOW)
        best = session.scalars(sa.select(Opinion.id).where(Opinion.verdict == Answer.OUT_OF_CONTEXT)).one()
        answer = NewRuling(
            "again",
            case_id,
            Answer.OUT_OF_CONTEXT,
            best,
            elements=(Element.PLACE,),
            note="See the sign.",
            flagged=True,
            seconds=4.5,
        )
        rule(session, annotator_id, answer, NOW)
    (case,) = read(sessions)
    (ruling,) = case.rulings
    assert (ruling.annotator, ruling.verdict, ruling.created_at) == ("maria", Answer.OUT_OF_CONTEXT, NOW)
    assert (ruling.picked_teacher, ruling.picked_verdict) == ("A", Answer.OUT_OF_CONTEXT)
    assert ruling.picked_rationale == "A says o of one."
    assert (ruling.elements, ruling.note, ruling.flagged, ruling.seconds, ruling.rushed, ruling.settles) == (
        (Element.PLACE,), "See the sign.", True, 4.5, False, False,
    )  # fmt: skip
    assert case.settled is Verdict.OUT_OF_CONTEXT


def test_split_rulings_settle_nothing_until_an_adjudicator_does(
    sessions: sessionmaker[Session], add_case: AddCase
) -> None:
    case_id = add_case("one")
    ruled(sessions, "maria", case_id, Answer.IN_CONTEXT)
    ruled(sessions, "jan", case_id, Answer.OUT_OF_CONTEXT)
    (split,) = read(sessions)
    assert (split.settled, len(split.rulings)) == (None, 2)
    ruled(sessions, "eva", case_id, Answer.OUT_OF_CONTEXT, role=Role.ADJUDICATOR)
    (case,) = read(sessions)
    assert case.settled is Verdict.OUT_OF_CONTEXT
    assert [(one.annotator, one.settles) for one in case.rulings] == [
        ("maria", False),
        ("jan", False),
        ("eva", True),
    ]


def test_training_cases_that_share_with_what_measures_are_told_apart(sessions: sessionmaker[Session]) -> None:
    picture, other, third = (NewImage(letter * 64, "PNG", 6, 4, 10) for letter in "abc")

    def measure(name: str, image: NewImage | None = picture, group: str | None = None) -> NewCase:
        return NewCase(name, "C", image, Verdict.IN_CONTEXT, Split.TEST, group)

    add(
        sessions,
        measure("measures", group="g"),
        measure("without a picture", None, "no picture"),
        NewCase("without gold", "C", third, split=Split.VALIDATION, group="no gold"),
        NewCase("same group", "C", other, group="g"),
        NewCase("same picture", "C", picture, group="h"),
        NewCase("neither", "C", other, group="h"),
        NewCase("no picture", "C", other, group="no picture"),
        NewCase("no gold", "C", third, group="no gold"),
        NewCase("no group", "C", None),
    )
    add(sessions, NewCase("g", "C", other, group="g"), NewCase("x", "C", other), dataset="other")
    add(sessions, measure("x"), dataset="third")
    train = Selection(split=Split.TRAIN)
    shared = [case.view.external_id for case in read(sessions, train, sharing=True) if case.shares_held_out]
    assert shared == ["same group", "same picture"]
    assert len(read(sessions, train, sharing=True)) == len(read(sessions, train)) == 8
    assert not any(case.shares_held_out for case in read(sessions, train))
