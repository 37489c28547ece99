import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from db.cases import NewCase, NewEvidence, NewImage, NewOpinion, add_cases
from db.derived import check
from db.engine import write_session
from db.models import Case, Event, Opinion, Queued, Teacher, TeacherAnswer, TeachRun
from db.teach_runs import last_found, runs_of
from db.teaching import TeachingError
from db.vocabulary import Answer, EvidenceKind, Split, TeacherKind
from ooc_app import teaching
from ooc_app.desk import Desk
from ooc_app.intake.images import admit, stored_path
from ooc_app.render import time_words
from ooc_app.retiring import reinstate, retire
from ooc_app.teach_rehearsal import rehearse
from ooc_app.teaching import Ahead, Asking, Taught, flip, gap, teach_desk
from tests.ooc_app.conftest import drawn_picture
from tests.ooc_app.teacher_server import KEY, MODEL, TeacherServer, serving, verdict_of
from training.teacher_question import PROMPT
from training.teacher_watch import TeacherWatch
from training.teachers import TeacherConfig, TeacherError
from training.teaching import Limits, Opined, Why

ENVIRONMENT = {"DESK_KEY": KEY}


def put_cases(desk: Desk, count: int, *, split: Split = Split.TRAIN, first: int = 0) -> None:
    """Put cases on the desk that one teacher finds in context; each has a picture."""
    cases = []
    for number in range(first, first + count):
        image = admit(drawn_picture(number), desk.images_dir)
        stored = NewImage(image.sha256, image.format, image.width, image.height, image.byte_size)
        said = (NewOpinion("A", Answer.IN_CONTEXT, "It fits."),)
        cases.append(NewCase(str(number), f"Case {number}.", stored, split=split, opinions=said))
    with write_session(desk.sessions) as session:
        add_cases(session, "test", cases)


@pytest.fixture
def server() -> Iterator[TeacherServer]:
    """Give a teacher's server."""
    with serving() as running:
        yield running


@pytest.fixture
def asking(server: TeacherServer) -> Callable[..., Asking]:
    """Give a function that asks this server's teacher."""

    def make(limits: Limits = teaching.NO_LIMITS, **how: Any) -> Asking:
        said = {"base_url": server.base_url, "key_env": "DESK_KEY", "price_in": 1.0, "concurrency": 4, **how}
        return Asking(TeacherConfig("rule", "endpoint", MODEL, **said), limits)

    return make


def taught(desk: Desk, asking: Asking, *, watch: TeacherWatch | None = None) -> Taught:
    return teach_desk(desk, asking, ENVIRONMENT, None, watch=watch or TeacherWatch(), stop=threading.Event())


def said(desk: Desk) -> dict[int, Answer]:
    """What the asked teacher currently says, by case."""
    with desk.sessions() as session:
        rows = session.execute(
            sa.select(Opinion.case_id, Opinion.verdict)
            .join(Teacher)
            .where(Opinion.current, Teacher.name == "rule")
        )
        return {case_id: verdict for case_id, verdict in rows}


def runs(desk: Desk) -> list[tuple[str | None, int, int]]:
    with desk.sessions() as session:
        found = session.execute(sa.select(TeachRun.why, TeachRun.asked, TeachRun.kept).order_by(TeachRun.id))
        return [(why, asked, kept) for why, asked, kept in found]


def test_a_teacher_without_its_key_is_not_asked_and_leaves_no_trace(
    desk: Desk, asking: Callable[..., Asking]
) -> None:
    put_cases(desk, 1)
    with pytest.raises(TeacherError, match="DESK_KEY is not set"):
        teach_desk(desk, asking(), {}, None, watch=TeacherWatch(), stop=threading.Event())
    assert runs(desk) == []
    with desk.sessions() as session:
        assert session.scalars(sa.select(Teacher.name)).all() == ["A"]


def test_a_teacher_is_asked_by_one_process_at_a_time(
    desk: Desk, asking: Callable[..., Asking], server: TeacherServer
) -> None:
    put_cases(desk, 1)
    server.free.clear()
    first = threading.Thread(target=taught, args=(desk, asking()))
    first.start()
    while not server.asked:
        threading.Event().wait(0.01)
    with pytest.raises(TeachingError, match="being done with"):
        taught(desk, asking())
    with pytest.raises(TeachingError, match="being done with"):
        retire(desk, "rule", None, lambda done: None)
    server.free.set()
    first.join()
    assert len(said(desk)) == 1


def test_what_the_database_refuses_ends_the_run_and_the_run_says_so(
    desk: Desk, asking: Callable[..., Asking], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_cases(desk, 3)

    def refuse(opined: Opined) -> object:
        raise OSError("disk full")

    monkeypatch.setattr(teaching, "_answer", refuse)
    with pytest.raises(OSError, match="disk full"):
        taught(desk, asking())
    assert runs(desk) == [("failed: OSError", 0, 0)]
    monkeypatch.undo()
    assert taught(desk, asking()).ended.kept == 3


def test_a_refused_key_ends_the_run_with_a_sentence_that_does_not_tell_it(
    desk: Desk, asking: Callable[..., Asking], server: TeacherServer
) -> None:
    put_cases(desk, 3)
    server.status = 401
    ended = taught(desk, asking()).ended
    assert (ended.why, ended.kept) == (Why.TEACHER, 0)
    assert "does not accept the key" in ended.said
    assert KEY not in ended.said
    assert runs(desk)[0][0] == "teacher"


def test_a_case_whose_picture_is_gone_is_passed_over_and_counted(
    desk: Desk, asking: Callable[..., Asking], server: TeacherServer
) -> None:
    put_cases(desk, 4)
    sha256 = admit(drawn_picture(2), desk.images_dir).sha256
    stored_path(sha256, desk.images_dir).unlink()
    with write_session(desk.sessions) as session:
        add_cases(session, "test", [NewCase("blank", "Case 99.")])
    outcome = taught(desk, asking())
    assert (outcome.ended.kept, dict(outcome.passed_over)) == (3, {"picture damaged or missing": 1})
    assert (outcome.left.cases, outcome.left.without_picture) == (1, 1)
    assert "Case 99." not in server.asked


def test_a_teacher_of_text_alone_is_asked_about_cases_without_picture(
    desk: Desk, asking: Callable[..., Asking], server: TeacherServer
) -> None:
    put_cases(desk, 1)
    found = (NewEvidence(EvidenceKind.IMAGE, 'A "title"', "https://a.org", "2020", "Ignore the image."),)
    with write_session(desk.sessions) as session:
        add_cases(session, "test", [NewCase("blank", "Case 4.", evidence=found)])
    assert taught(desk, asking(text_only=True)).ended.kept == 2
    assert any("Ignore the image." in text for text in server.texts)


def test_an_answer_that_says_nothing_is_kept_as_unsure_with_what_came(
    desk: Desk, asking: Callable[..., Asking], server: TeacherServer
) -> None:
    put_cases(desk, 1)
    server.raw = "I can't help\0 with that."
    taught(desk, asking())
    with desk.sessions() as session:
        opinion = session.scalars(sa.select(Opinion).where(Opinion.model == MODEL)).one()
        answer = session.scalars(sa.select(TeacherAnswer)).one()
        assert (opinion.verdict, opinion.rationale) == (Answer.UNSURE, "I can't help with that.")
        assert (answer.parsed, answer.revision) == (False, f"{MODEL}-2026")


def test_answers_that_look_wrong_end_the_run_and_are_kept(
    desk: Desk, asking: Callable[..., Asking], server: TeacherServer
) -> None:
    put_cases(desk, 60)
    server.raw = '{"rationale": "Fine.", "elements": [], "verdict": "in_context", "confidence": 1}'
    outcome = taught(desk, asking())
    assert outcome.ended.why is Why.ALARM
    assert 50 <= len(said(desk)) == outcome.ended.kept < 60
    assert taught(desk, asking(), watch=TeacherWatch(go_on=True)).left.cases == 0


def seen(desk: Desk) -> list[tuple[str | None, int, str | None]]:
    """What runs found of the asked teacher's sight, the newest first: why they ended, tokens, the finding."""
    with desk.sessions() as session:
        teacher_id = session.scalars(sa.select(Teacher.id).where(Teacher.name == "rule")).one()
        views = runs_of(session, teacher_id, 9)
    return [(view.why, view.tokens, view.found.get("sight", {}).get("said")) for view in views]


BLIND = (
    "12 of 12 cases that were in context are so with noise for a picture, too:"
    " this teacher judges the text alone."
)
LOOKS = "0 of 12 cases that were in context are so with noise for a picture: this teacher looks."


def test_a_teacher_that_goes_by_the_caption_alone_pauses_the_run_and_every_next_one_until_it_is_to_go_on(
    desk: Desk, asking: Callable[..., Asking], server: TeacherServer
) -> None:
    put_cases(desk, 180)
    server.looks = False
    outcome = taught(desk, asking())
    assert (outcome.ended.why, outcome.ended.said) == (Why.ALARM, BLIND)
    assert outcome.figures()["sight"] == BLIND
    assert server.noise.total() == 12
    assert len(said(desk)) == outcome.ended.kept < 180
    assert seen(desk) == [("alarm", (outcome.ended.kept + 12) * 1_050, BLIND)]
    assert taught(desk, asking()).ended.why is Why.ALARM
    assert server.noise.total() == 24
    rest = taught(desk, asking(), watch=TeacherWatch(go_on=True))
    assert (rest.ended.why, rest.left.cases, rest.sight) == (Why.ALL, 0, None)
    assert server.noise.total() == 24
    assert set(server.asked.values()) == {1}


def test_a_teacher_that_looks_is_looked_at_once_and_not_again_when_the_run_goes_on(
    desk: Desk, asking: Callable[..., Asking], server: TeacherServer
) -> None:
    put_cases(desk, 120)
    first = taught(desk, asking(Limits(cases=60)))
    assert (first.ended.why, first.ended.kept, first.figures()["sight"]) == (Why.CASES, 60, LOOKS)
    assert set(server.noise) == {f"Case {number}." for number in range(0, 36, 3)}
    rest = taught(desk, asking())
    assert (rest.ended.why, rest.ended.kept, rest.sight) == (Why.ALL, 60, None)
    assert server.noise.total() == 12
    assert seen(desk) == [("all", 60 * 1_050, None), ("cases", 72 * 1_050, LOOKS)]
    assert said(desk) == {number + 1: Answer(verdict_of(number)) for number in range(120)}
    with desk.sessions() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(TeacherAnswer)) == 120


def test_a_run_that_ends_before_all_that_looking_takes_is_back_found_nothing_and_the_next_looks(
    desk: Desk, asking: Callable[..., Asking], server: TeacherServer
) -> None:
    put_cases(desk, 120)
    first = taught(desk, asking(Limits(tokens=56 * 1_050 + 500), max_tokens=50))
    assert (first.ended.why, first.sight) == (Why.TOKENS, None)
    begun = server.noise.total()
    assert 0 < begun < 12
    assert taught(desk, asking()).figures()["sight"] == LOOKS
    assert server.noise.total() == begun + 12


def test_a_teacher_that_gets_no_picture_is_not_tested_for_sight(
    desk: Desk, asking: Callable[..., Asking], server: TeacherServer
) -> None:
    put_cases(desk, 60)
    assert taught(desk, asking(text_only=True)).ended.why is Why.ALL
    assert (len(server.texts), server.noise.total()) == (60, 0)


def test_the_time_all_cases_take_is_said_for_a_server_of_one_at_a_time_too(
    desk: Desk, asking: Callable[..., Asking]
) -> None:
    put_cases(desk, 12)
    shown = rehearse(desk, asking(concurrency=100), ENVIRONMENT, stop=threading.Event())
    assert shown.seconds is not None
    assert shown.seconds_at_most is not None
    assert shown.seconds_at_most > shown.seconds > 0
    assert time_words(30, None) == time_words(30, 40) == "about 30 s"
    assert time_words(30, 300) == "30 s to 5 min, depending on how many it answers at once"


def test_each_case_is_asked_about_once_and_conflicts_are_queued_as_they_come(
    desk: Desk, asking: Callable[..., Asking], server: TeacherServer
) -> None:
    put_cases(desk, 12)
    assert taught(desk, asking(Limits(cases=5))).ended.why is Why.CASES
    with desk.sessions() as session:
        assert set(session.scalars(sa.select(Queued.case_id))) == {2, 3, 5}
    assert gap(desk, asking()).cases == 7
    outcome = taught(desk, asking())
    assert (outcome.ended.why, outcome.ended.kept, outcome.left.cases) == (Why.ALL, 7, 0)
    assert set(server.asked.values()) == {1}
    assert said(desk) == {number + 1: Answer(verdict_of(number)) for number in range(12)}
    assert server.keys == {f"Bearer {KEY}"}
    assert runs(desk) == [("cases", 5, 5), ("all", 7, 7)]
    with desk.sessions() as session:
        assert check(session) == []
        assert {one.kind for one in session.scalars(sa.select(Teacher))} == {
            TeacherKind.RECORDED,
            TeacherKind.ENDPOINT,
        }
        assert set(session.scalars(sa.select(Opinion.prompt_version).where(Opinion.model == MODEL))) == {
            PROMPT
        }


def test_only_the_splits_asked_for_are_asked_about(
    desk: Desk, asking: Callable[..., Asking], server: TeacherServer
) -> None:
    put_cases(desk, 2)
    put_cases(desk, 2, split=Split.TEST, first=2)
    plain = asking()
    taught(desk, Asking(plain.config, splits=frozenset([Split.TEST])))
    assert set(server.asked) == {"Case 2.", "Case 3."}


def test_recorded_answers_are_replayed_as_if_they_came(desk: Desk, tmp_path: Path) -> None:
    put_cases(desk, 3)
    lines = [
        '{"id": "test/0", "raw": "{\\"verdict\\": \\"unsure\\"}"}',
        '{"id": "test/2", "verdict": "in_context"}',
    ]
    (desk.data_dir / "said.jsonl").write_text("\n".join(lines))
    config = TeacherConfig("rule", "replay", "recorded-1", path="said.jsonl")
    outcome = taught(desk, Asking(config))
    assert said(desk) == {1: Answer.UNSURE, 3: Answer.IN_CONTEXT}
    assert dict(outcome.ended.failed) == {"not recorded": 1}


def test_a_rehearsal_shows_three_cases_estimates_all_and_keeps_nothing(
    desk: Desk, asking: Callable[..., Asking]
) -> None:
    put_cases(desk, 10)
    shown = rehearse(desk, asking(requests_per_minute=60_000), ENVIRONMENT, stop=threading.Event())
    assert [one.opined.opinion.verdict for one in shown.cases if one.opined] == [
        Answer.IN_CONTEXT, Answer.OUT_OF_CONTEXT, Answer.UNSURE,
    ]  # fmt: skip
    sent = shown.cases[0].sent
    assert "<picture 64x48, 1 kB>" in sent
    assert "<the key in DESK_KEY>" in sent
    assert KEY not in sent
    assert '"caption": "Case 0."' in sent
    assert shown.cost == pytest.approx(10 * 0.001)
    assert shown.seconds is not None
    assert shown.figures()["cases"][1]["answer"]["parsed"]["elements"] == ["place"]
    assert (said(desk), runs(desk)) == ({}, [])


def test_a_rehearsal_without_an_answer_estimates_nothing_and_says_why(
    desk: Desk, asking: Callable[..., Asking], server: TeacherServer
) -> None:
    put_cases(desk, 2)
    server.status = 404
    shown = rehearse(desk, asking(), ENVIRONMENT, stop=threading.Event())
    assert (shown.cost, shown.seconds, shown.ended.why) == (None, None, Why.TEACHER)
    assert shown.figures()["cases"][0]["answer"] is None


def test_turning_the_order_of_the_verdicts_is_measured_and_changes_no_opinion(
    desk: Desk, asking: Callable[..., Asking], server: TeacherServer
) -> None:
    put_cases(desk, 6)
    how: dict[str, Any] = {"watch": TeacherWatch(go_on=True), "stop": threading.Event(), "count": 6}
    with pytest.raises(TeachingError, match="answered nothing yet"):
        flip(desk, asking(), ENVIRONMENT, None, **how)
    taught(desk, asking())
    before = said(desk)
    server.raw = '{"rationale": "First.", "elements": [], "verdict": "out_of_context", "confidence": 1}'
    flipped = flip(desk, asking(), ENVIRONMENT, None, **how)
    assert (flipped.compared, flipped.changed) == (6, 4)
    assert flipped.verdicts[Answer.IN_CONTEXT, Answer.OUT_OF_CONTEXT] == 2
    assert "- out_of_context: " in server.texts[-1].split("- in_context: ")[0]
    assert (said(desk), gap(desk, asking()).cases) == (before, 0)
    with desk.sessions() as session:
        detail = session.scalars(sa.select(Event.detail).where(Event.action == "flip")).one()
        run = session.scalars(sa.select(TeachRun).order_by(TeachRun.id.desc())).first()
        assert run is not None
        assert detail == {"teacher": "rule", "run": run.id}
        assert run.cost == pytest.approx(0.006)
        found = last_found(session, run.teacher_id, MODEL, PROMPT)["flip"]
    assert (found["compared"], found["changed"]) == (6, 4)
    assert {"usual": "in_context", "turned": "out_of_context", "cases": 2} in found["verdicts"]


def test_an_answer_that_could_not_be_read_is_none_that_the_order_changed(
    desk: Desk, asking: Callable[..., Asking], server: TeacherServer
) -> None:
    put_cases(desk, 3)
    server.raw = "I cannot make up my mind."
    taught(desk, asking())
    server.raw = None
    with pytest.raises(TeachingError, match="answered nothing yet"):
        flip(desk, asking(), ENVIRONMENT, None, watch=TeacherWatch(), stop=threading.Event(), count=3)


def test_an_order_test_that_fails_ends_its_run_with_what_it_cost(
    desk: Desk, asking: Callable[..., Asking]
) -> None:
    class Failing(TeacherWatch):
        def note(self, opined: Opined) -> None:
            super().note(opined)
            raise ZeroDivisionError

    put_cases(desk, 3)
    taught(desk, asking())
    with pytest.raises(ZeroDivisionError):
        flip(desk, asking(), ENVIRONMENT, None, watch=Failing(), stop=threading.Event(), count=3)
    with desk.sessions() as session:
        run = session.scalars(sa.select(TeachRun).order_by(TeachRun.id.desc())).first()
        assert run is not None
        assert (run.why, run.cost > 0, run.ended_at is not None) == ("failed: ZeroDivisionError", True, True)


def test_a_dry_run_goes_past_cases_whose_pictures_are_missing(
    desk: Desk, asking: Callable[..., Asking]
) -> None:
    put_cases(desk, 6)
    with desk.sessions() as session:
        first = session.scalars(sa.select(Case.image_sha256).order_by(Case.id).limit(3)).all()
    for sha256 in first:
        stored_path(str(sha256), desk.images_dir).unlink()
    shown = rehearse(desk, asking(), ENVIRONMENT, stop=threading.Event())
    assert [one.desk_id for one in shown.cases] == [4, 5, 6]


def test_a_retired_teacher_is_not_asked_in_a_dry_run(
    desk: Desk, asking: Callable[..., Asking], server: TeacherServer
) -> None:
    put_cases(desk, 3)
    taught(desk, asking(Limits(cases=1)))
    retire(desk, "rule", None, lambda done: None)
    before = server.asked.total()
    with pytest.raises(TeachingError, match="rule is retired"):
        rehearse(desk, asking(), ENVIRONMENT, stop=threading.Event())
    assert server.asked.total() == before


def test_a_reinstatement_that_is_cut_off_leaves_a_teacher_that_can_be_reinstated_and_not_asked(
    desk: Desk, asking: Callable[..., Asking], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_cases(desk, 6)
    taught(desk, asking())
    retire(desk, "rule", None, lambda done: None)
    monkeypatch.setattr("db.teaching.BATCH", 2)

    def cut_off(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reinstate(desk, "rule", None, cut_off)
    assert len(said(desk)) == 2
    with pytest.raises(TeachingError, match="rule is retired"):
        taught(desk, asking())
    assert reinstate(desk, "rule", None, lambda done: None) == 6
    assert taught(desk, asking()).ended.asked == 0


def test_what_prepares_ahead_hands_its_failure_on_and_ends_with_the_block() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    with Ahead(numbers(), 2) as items, pytest.raises(ZeroDivisionError):
        list(items)

    def endless() -> Iterator[int]:
        while True:
            yield 1

    before = threading.active_count()
    with Ahead(endless(), 2) as items:
        assert [next(items), next(items), next(items)] == [1, 1, 1]
    assert threading.active_count() == before
    with Ahead(iter(()), 2) as nothing:
        assert next(nothing, None) is None
