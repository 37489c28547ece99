from dataclasses import replace

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from db.cases import (
    BATCH,
    Added,
    NewCase,
    NewEvidence,
    NewImage,
    NewOpinion,
    add_cases,
)
from db.engine import write_session
from db.models import Case, Event, Opinion
from db.views import UnknownCaseError, case_view, case_views
from db.vocabulary import Answer, EvidenceKind, TeacherKind, Verdict

IMAGE = NewImage("a" * 64, "JPEG", 640, 480, 1000)
OTHER_IMAGE = replace(IMAGE, sha256="b" * 64)
EVIDENCE = NewEvidence(EvidenceKind.IMAGE, "Fans wait", "https://post.example/1", "2019", None)
FLOOD = NewCase(
    "flood",
    'Flood water covers the market "square" of Norvik; <b>Tuesday</b> 洪水.',
    IMAGE,
    gold=Verdict.OUT_OF_CONTEXT,
    group="g1",
    source="coastal-post",
    url="https://coastal-post.example/flood",
    date="12 March 2021",
    place="Norvik",
    evidence=(EVIDENCE,),
    opinions=(
        NewOpinion("B", Answer.OUT_OF_CONTEXT, "The tower stands in Halden.", 0.82),
        NewOpinion("A", Answer.IN_CONTEXT, "Water covers the square.", None),
    ),
)


def _add(sessions: sessionmaker[Session], *records: NewCase, dataset: str = "test") -> Added:
    with write_session(sessions) as session:
        return add_cases(session, dataset, records)


def test_a_case_comes_back_as_it_went_in(sessions: sessionmaker[Session]) -> None:
    assert _add(sessions, FLOOD) == Added(cases=1, opinions=2)
    with sessions() as session:
        view = case_view(session, 1)
    for field in ("external_id", "caption", "gold", "split", "group", "source", "url", "date", "place"):
        assert getattr(view, field) == getattr(FLOOD, field), field
    assert (view.dataset, view.image_sha256, view.evidence) == ("test", IMAGE.sha256, (EVIDENCE,))
    said = [
        (opinion.teacher, opinion.verdict, opinion.confidence, opinion.rationale) for opinion in view.opinions
    ]
    assert said == [
        ("A", Answer.IN_CONTEXT, None, "Water covers the square."),
        ("B", Answer.OUT_OF_CONTEXT, 0.82, "The tower stands in Halden."),
    ]
    assert {opinion.teacher_kind for opinion in view.opinions} == {TeacherKind.RECORDED}


def test_the_same_import_again_changes_nothing(sessions: sessionmaker[Session]) -> None:
    records = [replace(FLOOD, external_id=str(number)) for number in range(5)]
    _add(sessions, *records)
    with sessions() as session:
        events = session.scalar(sa.select(sa.func.count()).select_from(Event))
    assert _add(sessions, *records) == Added(unchanged=5)
    with sessions() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Opinion)) == 10
        assert session.scalar(sa.select(sa.func.count()).select_from(Event)) == events


def test_a_changed_opinion_becomes_a_new_version_and_the_old_one_stays(
    sessions: sessionmaker[Session],
) -> None:
    _add(sessions, FLOOD)
    changed = replace(FLOOD, opinions=(NewOpinion("A", Answer.OUT_OF_CONTEXT, "On a second look, no.", 0.6),))
    assert _add(sessions, changed) == Added(opinions=1)
    with sessions() as session:
        versions = session.execute(
            sa.select(Opinion.current, Opinion.verdict).where(Opinion.teacher_id == 1).order_by(Opinion.id)
        ).all()
        said = [opinion.rationale for opinion in case_view(session, 1).opinions]
    assert versions == [(False, Answer.IN_CONTEXT), (True, Answer.OUT_OF_CONTEXT)]
    assert said == ["On a second look, no.", "The tower stands in Halden."]


def test_a_new_teachers_opinion_joins_the_others(sessions: sessionmaker[Session]) -> None:
    _add(sessions, FLOOD)
    late = replace(FLOOD, opinions=(NewOpinion("C", Answer.UNSURE, "The picture is too dark."),))
    assert _add(sessions, late) == Added(opinions=1)
    with sessions() as session:
        assert [opinion.teacher for opinion in case_view(session, 1).opinions] == ["A", "B", "C"]


def test_a_missing_image_or_gold_verdict_is_filled_in_later(sessions: sessionmaker[Session]) -> None:
    _add(sessions, replace(FLOOD, image=None, gold=None))
    assert _add(sessions, FLOOD) == Added(completed=1)
    with sessions() as session:
        view = case_view(session, 1)
    assert (view.image_sha256, view.gold) == (IMAGE.sha256, Verdict.OUT_OF_CONTEXT)


@pytest.mark.parametrize(
    "change", [{"caption": "Another caption."}, {"image": OTHER_IMAGE}, {"gold": Verdict.IN_CONTEXT}], ids=str
)
def test_a_case_that_differs_from_the_one_on_the_desk_is_counted_and_left(
    sessions: sessionmaker[Session], change: dict[str, object]
) -> None:
    _add(sessions, FLOOD)
    assert _add(sessions, replace(FLOOD, **change)) == Added(differing=1)  # type: ignore[arg-type]
    with sessions() as session:
        view = case_view(session, 1)
    assert (view.caption, view.image_sha256, view.gold) == (FLOOD.caption, IMAGE.sha256, FLOOD.gold)


def test_an_id_repeated_in_one_import_counts_as_a_second_import(sessions: sessionmaker[Session]) -> None:
    again = replace(FLOOD, opinions=(NewOpinion("A", Answer.UNSURE, "Cannot tell."),))
    assert _add(sessions, FLOOD, FLOOD, again) == Added(cases=1, opinions=3, unchanged=1)


def test_one_id_in_two_data_sets_is_two_cases_with_one_picture(sessions: sessionmaker[Session]) -> None:
    _add(sessions, FLOOD)
    assert _add(sessions, FLOOD, dataset="other") == Added(cases=1, opinions=2)


def test_more_cases_than_a_batch_are_all_added_and_found_in_the_order_asked_for(
    sessions: sessionmaker[Session],
) -> None:
    number = 2 * BATCH + 3
    added = _add(sessions, *(replace(FLOOD, external_id=str(index)) for index in range(number)))
    assert added == Added(cases=number, opinions=2 * number)
    with sessions() as session:
        ids = list(session.scalars(sa.select(Case.id).order_by(Case.id.desc())))
        assert [view.id for view in case_views(session, ids)] == ids


def test_a_case_that_is_not_there_is_said_so(sessions: sessionmaker[Session]) -> None:
    with sessions() as session, pytest.raises(UnknownCaseError, match="no case 7"):
        case_view(session, 7)


def test_the_kind_of_a_teacher_is_that_of_its_first_opinion(sessions: sessionmaker[Session]) -> None:
    with write_session(sessions) as session:
        add_cases(session, "demo", [FLOOD], teacher_kind=TeacherKind.SCRIPTED)
        add_cases(session, "other", [FLOOD])
        views = case_views(session, [1, 2])
    assert {opinion.teacher_kind for view in views for opinion in view.opinions} == {TeacherKind.SCRIPTED}
