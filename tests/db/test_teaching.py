import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from sqlalchemy.orm import Session, sessionmaker

from db.cases import NewCase, NewOpinion, add_cases, add_opinions
from db.derived import check
from db.engine import _alembic_config, make_sessions, migrate, open_engine, write_connection, write_session
from db.kinds import all_kinds
from db.models import Annotator, Event, Opinion, Queued, Teacher, TeacherAnswer, TeachRun
from db.stats import stats
from db.teach_runs import end_run, last_found, runs_of
from db.teaching import (
    CUT_OFF,
    NewAnswer,
    TeachingError,
    Wanted,
    answered,
    begin_run,
    bring_back,
    count_missing,
    keep_opinion,
    missing,
    reinstate,
    retire,
    speaks_of,
    withdraw,
)
from db.views import case_view
from db.vocabulary import Answer, Element, Role, Split, TeacherKind
from tests.conftest import AddCase
from tests.db.test_queue import _plans

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANSWER = NewAnswer('{"verdict": "in_context"}', True, "m-2026", 1000, 50, 1.5, 0.002, 2)


@pytest.fixture
def run(sessions: sessionmaker[Session]) -> TeachRun:
    """Give a run of the teacher "asked"."""
    return _begun(sessions)


def _begun(sessions: sessionmaker[Session], name: str = "asked", **how: Any) -> TeachRun:
    said = {"prompt_version": "teach-1", "model": "m", "annotator_id": None, "now": NOW, **how}
    with write_session(sessions) as session:
        return begin_run(session, name, TeacherKind.ENDPOINT, **said)


def _keep(
    sessions: sessionmaker[Session],
    run: TeachRun,
    case_id: int,
    verdict: Answer = Answer.IN_CONTEXT,
    **how: Any,
) -> int:
    opinion = NewOpinion("asked", verdict, f"Because of {case_id}.", 0.8, (Element.PLACE,))
    with write_session(sessions) as session:
        return keep_opinion(session, run, case_id, opinion, how.get("answer", ANSWER), NOW)


def _wanted(run: TeachRun, **how: Any) -> Wanted:
    return Wanted(run.teacher_id, **{"prompt_version": run.prompt_version, "model": run.model, **how})


def _queue(session: Session) -> set[int]:
    return set(session.scalars(sa.select(Queued.case_id)))


def _patterns(session: Session) -> set[str]:
    return {traits.pattern for _, traits, cases in all_kinds(session) if cases}


def _withdrawn(sessions: sessionmaker[Session], teacher_id: int) -> list[int]:
    done: list[int] = []
    while not done or done[-1]:
        with write_session(sessions) as session:
            done.append(withdraw(session, teacher_id, NOW))
    return done


def _brought_back(sessions: sessionmaker[Session], teacher_id: int) -> None:
    after_id: int | None = 0
    while after_id is not None:
        with write_session(sessions) as session:
            after_id = bring_back(session, teacher_id, after_id, NOW)


@pytest.fixture
def former(new_url: sa.URL) -> Iterator[sa.Engine]:
    """Give a database of the version before, with opinions that refer to a teacher."""
    engine = open_engine(new_url)
    config = _alembic_config()
    with write_connection(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
        moment = sa.literal("2026-03-01 12:00:00")
        teachers, cases, opinions = (
            sa.table(name, *map(sa.column, columns))
            for name, columns in {
                "teachers": ("id", "name", "kind"),
                "cases": ("id", "dataset", "external_id", "caption", "split", "created_at"),
                "opinions": (
                    "id", "case_id", "teacher_id", "prompt_version", "verdict", "rationale", "current",
                    "created_at",
                ),
            }.items()
        )  # fmt: skip
        connection.execute(sa.insert(teachers), {"id": 1, "name": "A", "kind": "recorded"})
        made = sa.cast(moment, sa.DateTime(timezone=True)) if engine.dialect.name != "sqlite" else moment
        connection.execute(
            sa.insert(cases).values(
                id=1, dataset="d", external_id="x", caption="c", split="train", created_at=made
            )
        )
        connection.execute(
            sa.insert(opinions).values(
                id=1, case_id=1, teacher_id=1, prompt_version="recorded", verdict="unsure", rationale="r",
                current=sa.true(), created_at=made,
            )
        )  # fmt: skip
    yield engine
    engine.dispose()


def test_the_migration_lets_teachers_be_asked_and_leaves_those_there_and_their_opinions(
    former: sa.Engine,
) -> None:
    migrate(former)
    with former.begin() as connection:
        new = "INSERT INTO teachers (id, name, kind) VALUES (2, 'B', 'endpoint'), (3, 'C', 'local')"
        connection.exec_driver_sql(new)
        rows = connection.exec_driver_sql("SELECT id, kind FROM teachers ORDER BY id").all()
        assert [tuple(row) for row in rows] == [(1, "recorded"), (2, "endpoint"), (3, "local")]
        said = "SELECT name, active, model FROM opinions JOIN teachers ON teachers.id = teacher_id"
        assert [tuple(row) for row in connection.exec_driver_sql(said)] == [("A", True, None)]
        if former.dialect.name == "sqlite":
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
            assert connection.exec_driver_sql("PRAGMA writable_schema").scalar() == 0
    for wrong in ("UPDATE teachers SET kind = 'oracle'", "DELETE FROM teachers WHERE id = 1"):
        with pytest.raises(sa.exc.IntegrityError), former.begin() as connection:
            connection.exec_driver_sql(wrong)


def test_the_migration_leaves_runs_as_they_were_with_nothing_found(new_url: sa.URL) -> None:
    engine = open_engine(new_url)
    config = _alembic_config()
    with write_connection(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
        connection.exec_driver_sql("INSERT INTO teachers (id, name, kind) VALUES (1, 'A', 'endpoint')")
        connection.exec_driver_sql(
            "INSERT INTO teach_runs (id, teacher_id, prompt_version, model, started_at, asked, kept,"
            " tokens_in, tokens_out, cost)"
            " VALUES (1, 1, 'teach-1', 'm', '2026-03-01 12:00:00+00:00', 0, 3, 3000, 150, 0.25)"
        )
    migrate(engine)
    with make_sessions(engine)() as session:
        [view] = runs_of(session, 1, 5)
        assert (view.kept, view.tokens, view.cost, view.found) == (3, 3150, 0.25, {})
        assert last_found(session, 1, "m", "teach-1") == {}
        assert session.scalars(sa.select(TeachRun.id).where(TeachRun.found.is_(None))).all() == [1]
    engine.dispose()


def test_a_retired_teacher_and_the_demos_script_are_not_asked(sessions: sessionmaker[Session]) -> None:
    with write_session(sessions) as session:
        case = NewCase("one", "A flood.", opinions=(NewOpinion("Script", Answer.UNSURE),))
        add_cases(session, "demo", [case], teacher_kind=TeacherKind.SCRIPTED)
    with pytest.raises(TeachingError, match="another name"):
        _begun(sessions, "Script")
    _begun(sessions)
    with write_session(sessions) as session:
        retire(session, "asked", None, NOW)
    with pytest.raises(TeachingError, match="reinstate"):
        _begun(sessions)
    with pytest.raises(TeachingError, match="no teacher 'nobody'"), write_session(sessions) as session:
        retire(session, "nobody", None, NOW)


def test_what_a_teacher_says_after_it_was_retired_is_not_kept(
    sessions: sessionmaker[Session], add_case: AddCase, run: TeachRun
) -> None:
    case_id = add_case("one")
    with write_session(sessions) as session:
        retire(session, "asked", None, NOW)
    with pytest.raises(TeachingError, match="retired while it was asked"):
        _keep(sessions, run, case_id)
    with sessions() as session:
        assert _patterns(session) == {"2i3o"}
        assert session.scalars(sa.select(TeacherAnswer)).all() == []


def test_an_answer_that_no_database_could_hold_is_kept_as_far_as_it_can_be(
    sessions: sessionmaker[Session], add_case: AddCase, run: TeachRun
) -> None:
    hostile = NewAnswer("a\0b \ud800 \N{WATER WAVE}", False, "m\0", 10**15, None)
    opinion_id = _keep(sessions, run, add_case("one"), Answer.UNSURE, answer=hostile)
    with sessions() as session:
        kept = session.get_one(TeacherAnswer, opinion_id)
        assert (kept.raw, kept.revision) == (
            "a\N{REPLACEMENT CHARACTER}b ? \N{WATER WAVE}",
            "m\N{REPLACEMENT CHARACTER}",
        )
        assert (kept.tokens_in, kept.tokens_out, kept.parsed) == (2**31 - 1, None, False)


def test_cases_that_lack_an_opinion_are_found_page_by_page(
    sessions: sessionmaker[Session], add_case: AddCase, run: TeachRun
) -> None:
    ids = [add_case(f"case {number}", ("io", "-o", "")[number % 3]) for number in range(9)]
    test = add_case("held out", split=Split.TEST)
    blank = add_case("blank", image=False)
    _keep(sessions, run, ids[0])
    wanted = _wanted(run)
    with sessions() as session:
        gap = count_missing(session, wanted)
        assert (gap.new, gap.stale, gap.without_picture, gap.cases) == (9, 0, 1, 9)
        assert missing(session, wanted, count=4) == ids[1:5]
        assert missing(session, wanted, after_id=ids[4], count=4) == ids[5:]
        assert missing(session, wanted, after_id=ids[8], count=4) == [test]
        assert missing(session, wanted, after_id=test) == []
        train = _wanted(run, splits=frozenset([Split.TRAIN]))
        assert missing(session, train, after_id=ids[8]) == []
        assert blank in missing(session, _wanted(run, text_only=True))
        assert len(missing(session, Wanted(None, "teach-1", "m"))) == 10
        assert answered(session, wanted, 0, 9) == {ids[0]: Answer.IN_CONTEXT}


def test_another_wording_and_another_model_want_all_cases_anew_in_their_order(
    sessions: sessionmaker[Session], add_case: AddCase, run: TeachRun
) -> None:
    ids = [add_case(f"case {number}") for number in range(8)]
    for case_id in ids[::2]:
        _keep(sessions, run, case_id)
    for how in ({"prompt_version": "teach-2"}, {"model": "n"}):
        wanted = _wanted(run, **how)
        with sessions() as session:
            gap = count_missing(session, wanted)
            assert (gap.new, gap.stale) == (4, 4)
            assert missing(session, wanted, count=3) == ids[:3]
            assert missing(session, wanted, after_id=ids[2], count=9) == ids[3:]
            assert missing(session, wanted, stale=False) == ids[1::2]
    _keep(sessions, _begun(sessions, model="n"), ids[0])
    with sessions() as session:
        assert count_missing(session, _wanted(run, model="n")).stale == 3
        assert missing(session, _wanted(run, model="n"), count=2) == ids[1:3]


def test_an_import_in_the_name_of_a_teacher_that_was_asked_wants_to_be_asked_again(
    sessions: sessionmaker[Session], add_case: AddCase, run: TeachRun
) -> None:
    case_id = add_case("one")
    _keep(sessions, run, case_id)
    with write_session(sessions) as session:
        add_opinions(session, "test", {"one": NewOpinion("asked", Answer.UNSURE)})
    with sessions() as session:
        assert count_missing(session, _wanted(run)).stale == 1
        assert missing(session, _wanted(run)) == [case_id]


def test_an_opinion_is_kept_with_its_answer_and_all_that_follows(
    sessions: sessionmaker[Session], add_case: AddCase, run: TeachRun
) -> None:
    agreed, other = add_case("agreed", "ii"), add_case("other", "ii")
    first = _keep(sessions, run, agreed)
    with sessions() as session:
        assert _queue(session) == set()
    second = _keep(sessions, run, agreed, Answer.OUT_OF_CONTEXT)
    _keep(sessions, run, other)
    with sessions() as session:
        assert _queue(session) == {agreed}
        assert check(session) == []
        said = {one.teacher: one for one in case_view(session, agreed).opinions}
        assert (said["asked"].verdict, said["asked"].elements) == (Answer.OUT_OF_CONTEXT, (Element.PLACE,))
        assert said["asked"].teacher_kind == TeacherKind.ENDPOINT
        rows = session.execute(sa.select(Opinion.id, Opinion.current, Opinion.model, Opinion.prompt_version))
        assert [tuple(row) for row in rows.all() if row[2]][:2] == [
            (first, False, "m", "teach-1"),
            (second, True, "m", "teach-1"),
        ]
        answer = session.get_one(TeacherAnswer, second)
        assert (answer.raw, answer.revision, answer.tries) == (ANSWER.raw, "m-2026", 2)
        now = session.get_one(TeachRun, run.id)
        assert (now.kept, now.tokens_in, now.tokens_out) == (3, 3000, 150)
        assert now.cost == pytest.approx(0.006)
        assert (now.ended_at, now.asked) == (None, 0)


def test_a_run_that_was_cut_off_gets_an_end_with_the_next(sessions: sessionmaker[Session]) -> None:
    first, other = _begun(sessions), _begun(sessions, "another")
    second = _begun(sessions)
    with write_session(sessions) as session:
        end_run(session, second.id, "all", 7, NOW)
    with sessions() as session:
        why = {one.id: (one.why, one.asked) for one in session.scalars(sa.select(TeachRun))}
        assert why == {first.id: (CUT_OFF, 0), other.id: (None, 0), second.id: ("all", 7)}
        assert session.scalars(sa.select(Event.action)).all() == ["teach"] * 3


def test_what_an_end_adds_comes_on_top_of_the_opinions_that_were_kept(
    sessions: sessionmaker[Session], add_case: AddCase, run: TeachRun
) -> None:
    _keep(sessions, run, add_case("one"))
    with write_session(sessions) as session:
        end_run(session, run.id, "all", 1, NOW, {"sight": {}}, tokens_in=2**40, tokens_out=5, cost=0.5)
    with sessions() as session:
        now = session.get_one(TeachRun, run.id)
        assert (now.tokens_in, now.tokens_out, now.found) == (2**40 + 1000, 55, {"sight": {}})
        assert now.cost == pytest.approx(0.502)


def _found(sessions: sessionmaker[Session], found: dict[str, Any] | None, **how: Any) -> int:
    run = _begun(sessions, **how)
    with write_session(sessions) as session:
        end_run(session, run.id, "all", 7, NOW, found)
    return run.teacher_id


def test_what_was_measured_last_is_of_this_teacher_model_and_wording(sessions: sessionmaker[Session]) -> None:
    teacher_id = _found(sessions, {"sight": {"said": "old"}})
    _found(sessions, {"sight": {"said": "new"}})
    _found(sessions, {"sight": {"said": "of another wording"}}, prompt_version="teach-0")
    _found(sessions, {"flip": {"changed": 3}}, prompt_version="teach-1/flipped")
    _found(sessions, {"sight": {"said": "other"}, "flip": {}}, model="n")
    _found(sessions, {"sight": {"said": "somebody else's"}}, name="another")
    _found(sessions, None)
    _found(sessions, {})
    _found(sessions, {"of a later version": {}})
    with sessions() as session:
        assert last_found(session, teacher_id, "m", "teach-1") == {
            "sight": {"said": "new"},
            "flip": {"changed": 3},
        }
        assert last_found(session, teacher_id, "m", "teach-2") == {"flip": {"changed": 3}}
        assert last_found(session, teacher_id, "nobody's", "teach-1") == {}
        nothing = sa.select(sa.func.count()).where(TeachRun.found.is_(None))
        assert session.scalar(nothing) == 2


def test_runs_are_told_newest_first_with_who_began_them(
    sessions: sessionmaker[Session], add_case: AddCase
) -> None:
    with write_session(sessions) as session:
        ada = Annotator(name="Ada", role=Role.EDITOR)
        session.add(ada)
    first = _begun(sessions, annotator_id=ada.id)
    _keep(sessions, first, add_case("one"))
    _begun(sessions, "another")
    second = _begun(sessions, model="n")
    with write_session(sessions) as session:
        end_run(session, second.id, "all", 7, NOW, {"flip": {"changed": 1}})
    with sessions() as session:
        newest, before = runs_of(session, first.teacher_id, 5)
        assert (newest.who, newest.model, newest.asked, newest.found) == (
            None,
            "n",
            7,
            {"flip": {"changed": 1}},
        )
        assert (before.who, before.why, before.kept, before.tokens) == ("Ada", CUT_OFF, 1, 1050)
        assert (before.started, before.ended, before.prompt_version) == (NOW, NOW, "teach-1")
        assert before.found == {}
        assert [view.id for view in runs_of(session, first.teacher_id, 1)] == [second.id]


def test_a_recorded_teacher_that_is_asked_changes_its_kind_and_a_replay_does_not(
    sessions: sessionmaker[Session], add_case: AddCase
) -> None:
    add_case("one")
    _begun(sessions, "A")
    with write_session(sessions) as session:
        begin_run(
            session, "A", TeacherKind.RECORDED, prompt_version="p", model="m", annotator_id=None, now=NOW
        )
    with sessions() as session:
        kinds = {one.name: one.kind for one in session.scalars(sa.select(Teacher))}
        assert kinds == {"A": TeacherKind.ENDPOINT, "B": TeacherKind.RECORDED}
        assert [one["active"] for one in stats(session)["teachers"]] == [True, True]


def test_a_retired_teacher_counts_nowhere_and_its_newest_opinions_come_back(
    sessions: sessionmaker[Session], add_case: AddCase, run: TeachRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.teaching.BATCH", 2)
    ids = [add_case(f"case {number}", "ii") for number in range(5)]
    for case_id in ids:
        _keep(sessions, run, case_id)
        _keep(sessions, run, case_id, Answer.OUT_OF_CONTEXT)
    with sessions() as session:
        assert _queue(session) == set(ids)
    with write_session(sessions) as session:
        teacher_id = retire(session, "asked", None, NOW)
    assert _withdrawn(sessions, teacher_id) == [2, 2, 1, 0]
    with sessions() as session:
        assert (_queue(session), speaks_of(session, teacher_id)) == (set(), 0)
        assert check(session) == []
        assert [one["active"] for one in stats(session)["teachers"]] == [False, True, True]
    with write_session(sessions) as session:
        again = {"case 0": NewOpinion("asked", Answer.UNSURE), "case 1": NewOpinion("A", Answer.UNSURE)}
        assert add_opinions(session, "test", again).added == 1
        said = (NewOpinion("asked", Answer.UNSURE), NewOpinion("A", Answer.UNSURE))
        assert add_cases(session, "test", [NewCase("new", "A flood.", opinions=said)]).opinions == 1
    with write_session(sessions) as session:
        reinstate(session, "asked", None, NOW)
    _brought_back(sessions, teacher_id)
    _brought_back(sessions, teacher_id)
    with sessions() as session:
        assert (_queue(session), speaks_of(session, teacher_id)) == (set(ids), 5)
        assert check(session) == []
        said_now = {one.teacher: one.verdict for one in case_view(session, ids[0]).opinions}
        assert said_now["asked"] == Answer.OUT_OF_CONTEXT
        actions = session.scalars(sa.select(Event.action)).all()
        assert [action for action in actions if action in ("retire", "reinstate")] == ["retire", "reinstate"]


def test_no_page_of_missing_cases_reads_all_cases_or_opinions(
    sessions: sessionmaker[Session], add_case: AddCase, run: TeachRun, kind: str
) -> None:
    for number in range(60):
        case_id = add_case(f"case {number}", "io")
        if number % 2:
            _keep(sessions, run, case_id)
    if kind == "sqlite":
        with write_session(sessions) as session:
            session.execute(sa.text("ANALYZE"))
    with sessions() as session, _plans(session) as plans:
        assert len(missing(session, _wanted(run), count=20)) == 20
        assert len(missing(session, _wanted(run, model="n"), count=20)) == 20
        assert len(answered(session, _wanted(run), 0, 10)) == 10
    with sessions() as session, _plans(session) as counting:
        assert count_missing(session, _wanted(run)).cases == 30
    assert not any(re.search(r"\bcases\b", step) for step in counting), counting
    big = {"cases", "opinions"}
    if kind == "postgresql":
        assert {table for step in plans for table in re.findall(r"Seq Scan on (\w+)", step)} & big == set()
        return
    assert {step.split()[1] for step in plans if step.startswith("SCAN")} & big == set()
    for index in ("ix_cases_kind (kind_id=? AND id>?)", "ix_opinions_asked"):
        assert any(index in step for step in plans), sorted(set(plans))
    assert not any("TEMP B-TREE" in step for step in plans), sorted(set(plans))
