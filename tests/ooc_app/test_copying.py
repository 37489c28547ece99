"""A desk with something in every table moves to PostgreSQL and back, and is the same desk there."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from db.audits import draw
from db.browse import Wanted, page
from db.cases import NewCase, NewEvidence, NewImage, NewOpinion, add_cases
from db.derived import check
from db.engine import make_sessions, migrate, open_engine, write_session
from db.models import (
    Batch,
    BatchRow,
    Case,
    Check,
    Event,
    Image,
    Kind,
    Opinion,
    Promotion,
    Ruling,
    Run,
    TeacherAnswer,
    TeachRun,
    metadata,
)
from db.queue import claim, skip
from db.requests import request
from db.returns import send_back
from db.rulings import AlreadyRuledError, NewRuling, ensure_annotator, recent, rule, undo
from db.stats import stats
from db.views import case_views
from db.vocabulary import Answer, Element, EvidenceKind, HumanAnswer, QueueReason, Role, Split, Verdict
from db.worth import Order, change_order
from ooc_app.__main__ import main
from ooc_app.copying import CopyError, copy_database
from ooc_app.desk import DataFolderError, Desk, open_desk
from tests.postgres import Server

NOW = datetime(2026, 3, 1, 12, 30, 15, 123_456, tzinfo=UTC)
MARIA, TOM = 1, 2
WORDS = {"i": Answer.IN_CONTEXT, "o": Answer.OUT_OF_CONTEXT, "u": Answer.UNSURE}
CAPTIONS = {
    "plain": "A flood in the harbour.",
    "chinese": "河边的洪水",
    "hebrew": "שיטפון ליד הנמל",
    "hostile": "Quote ' \" \\ \\N tab\t line\nend \r\n {} %s 🌊",
    "odd": "Null\\0, not a null",
}


def _case(name: str, caption: str, opinions: str, number: int) -> NewCase:
    said = tuple(
        NewOpinion(
            teacher,
            WORDS[letter],
            f"{teacher} on {caption}",
            (None, 0.1 + 0.2, 1.0)[number % 3],
            (None, (), (Element.PLACE, Element.TIME))[number % 3],
        )
        for teacher, letter in zip("ABC", opinions, strict=False)
    )
    found = (NewEvidence(EvidenceKind.IMAGE, "A title", None, "2020", None),)
    return NewCase(
        name, caption, NewImage(f"{number:064x}", "PNG", 8, 8, 8), (None, Verdict.IN_CONTEXT)[number % 2],
        (Split.TEST if number % 7 == 6 else Split.TRAIN), source=f"paper {number % 4}", note="a note",
        evidence=found, opinions=said,
    )  # fmt: skip


def fill(desk: Desk) -> None:
    """Leave a trace in every table."""
    with write_session(desk.sessions) as session:
        assert ensure_annotator(session, "maria") == MARIA
        assert ensure_annotator(session, "tom", Role.ADJUDICATOR) == TOM
        change_order(session, Order(second_opinions=0.5, audit_turns=0.0), MARIA, NOW)
        patterns = ("io", "iio", "iii", "ooo", "uu", "oiu")
        for number, (name, caption) in enumerate(
            [*CAPTIONS.items(), *((str(n), f"Case {n}.") for n in range(30))]
        ):
            add_cases(session, "test", [_case(name, caption, patterns[number % 6], number)], now=NOW)
        again = _case("plain", CAPTIONS["plain"], "oo", 0)
        assert add_cases(session, "test", [again], now=NOW).opinions == 1  # a former opinion stays behind
        draw(session, 3, NOW, annotator_id=MARIA, seed=1)
        request(session, [3, 4], QueueReason.SENT, NOW, annotator_id=TOM)
    for who, answer in ((MARIA, Answer.IN_CONTEXT), (TOM, Answer.OUT_OF_CONTEXT)):
        for number in range(6):
            with write_session(desk.sessions) as session:
                (case_id, *_) = claim(session, who, NOW, is_audit_turn=False)
                new = NewRuling(
                    f"{who}-{number}", case_id, (answer, Answer.UNSURE)[number % 2], rationale="Own words.",
                    elements=(Element.OBJECT,), note="n", flagged=number == 3, seconds=number / 3,
                )  # fmt: skip
                rule(session, who, new, NOW + timedelta(seconds=number))
    with write_session(desk.sessions) as session:
        undo(session, MARIA, now=NOW)
        skip(session, TOM, claim(session, TOM, NOW)[0], NOW)
        claim(session, MARIA, NOW)
        split = sa.select(Case.id).join(Kind).where(Kind.human == HumanAnswer.SPLIT).order_by(Case.id)
        assert send_back(session, TOM, session.scalars(split).all()[0], "Look again.", NOW)
        run = Run(name="one", path="runs/one", snapshot_hash="h", rulings=1, training_cases=2, created_at=NOW)
        session.add(run)
        session.flush()
        session.add(Promotion(run_id=run.id, created_at=NOW))
        picture = session.scalars(sa.select(Image.sha256).limit(1)).one()
        check = Check(
            token="t",
            image_sha256=picture,
            caption="c",
            verdict=Verdict.IN_CONTEXT,
            probability=0.75,
            rationale="r",
            student="s",
            created_at=NOW,
        )
        session.add(TeachRun(teacher_id=1, prompt_version="p", model="m", started_at=NOW))
        session.add(
            TeacherAnswer(opinion_id=1, raw="r", parsed=True, revision="m", seconds=1.5, cost=0.1, tries=1)
        )
        batch = Batch(token="b", name="n", digest="d", row_count=1, annotator_id=MARIA, created_at=NOW)
        session.add_all([check, batch])
        session.flush()
        done = {"check_id": check.id, "done_at": NOW}
        session.add(BatchRow(batch_id=batch.id, number=1, image="i", caption="c", **done))


@pytest.fixture
def full_desk(desk: Desk) -> Desk:
    """Give a desk with rows in every table."""
    fill(desk)
    with desk.sessions() as session:
        rows = {
            name: session.scalar(sa.select(sa.func.count()).select_from(table)) for name, table in _tables()
        }
    assert {name for name, number in rows.items() if not number} == set()
    return desk


@pytest.fixture
def new_database(server: Server) -> Iterator[Callable[[], sa.URL]]:
    """Give a function that makes an empty PostgreSQL database."""
    made: list[sa.URL] = []

    def make() -> sa.URL:
        made.append(server.new_database())
        return made[-1]

    yield make
    for url in made:
        server.drop(url)


@pytest.fixture
def target(new_database: Callable[[], sa.URL]) -> Iterator[sa.Engine]:
    """Give an empty PostgreSQL database."""
    engine = open_engine(new_database())
    yield engine
    engine.dispose()


def _tables() -> list[tuple[str, sa.Table]]:
    return [(table.name, table) for table in metadata.sorted_tables]


def _contents(engine: sa.Engine) -> dict[str, set[str]]:
    """Read everything, as Python sees it."""
    with engine.connect() as connection:
        return {
            name: {repr(tuple(row)) for row in connection.execute(sa.select(table))}
            for name, table in _tables()
        }


def _is_untouched(engine: sa.Engine) -> bool:
    return sa.inspect(engine).get_table_names() == []


def _goes_on(engine: sa.Engine) -> list[Any]:
    """Do the next day's work and say what came of it; undone again at the end."""
    with make_sessions(engine)() as session:
        tomorrow = NOW + timedelta(days=1)
        mine = [claim(session, who, tomorrow, count=9, is_audit_turn=False) for who in (MARIA, TOM)]
        ruling = rule(session, MARIA, NewRuling("new", mine[0][0], Answer.UNSURE), tomorrow)
        with pytest.raises(AlreadyRuledError):
            rule(session, MARIA, NewRuling("newer", mine[0][0], Answer.UNSURE), tomorrow)
        add_cases(session, "test", [_case("new", "Another flood.", "ioi", 1)], now=tomorrow)
        newest = session.scalars(sa.select(Opinion.id).order_by(Opinion.id.desc()).limit(3)).all()
        searches = ("flood", "洪", "שיטפון", "case 7")
        found = [[one.id for one in page(session, Wanted(text=words)).rows] for words in searches]
        session.rollback()
        return [mine, ruling.id, ruling.supersedes_id, newest, found]


def test_a_database_with_something_in_it_is_refused_and_left_alone(
    full_desk: Desk, target: sa.Engine
) -> None:
    with target.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE recipes (title text)")
    with pytest.raises(CopyError, match="not empty, it has a table recipes"):
        copy_database(full_desk.engine, target)
    assert sa.inspect(target).get_table_names() == ["recipes"]


def test_a_desk_that_somebody_began_there_is_refused_and_left_alone(
    full_desk: Desk, target: sa.Engine
) -> None:
    migrate(target)
    with write_session(make_sessions(target)) as session:
        ensure_annotator(session, "somebody")
    with pytest.raises(CopyError, match="its table annotators has 1 rows"):
        copy_database(full_desk.engine, target)
    with make_sessions(target)() as session:
        assert stats(session)["cases"] == 0


def test_a_row_that_postgresql_cannot_hold_is_named_and_nothing_is_left(
    full_desk: Desk, target: sa.Engine
) -> None:
    with write_session(full_desk.sessions) as session:
        add_cases(session, "test", [NewCase("nul", "With a \0 in it.")])
    with pytest.raises(CopyError, match=r"a row of cases, .* id 36: .*NUL"):
        copy_database(full_desk.engine, target)
    assert _is_untouched(target)


def test_work_done_during_the_copy_would_be_lost_so_the_copy_is_given_up(
    full_desk: Desk, target: sa.Engine
) -> None:
    def meanwhile(done: int, of: int) -> None:
        if done == of:
            with write_session(full_desk.sessions) as session:
                session.add(Event(at=NOW, action="late", detail={}))

    with pytest.raises(CopyError, match=r"there is more in events\).*stop the page"):
        copy_database(full_desk.engine, target, meanwhile)
    assert _is_untouched(target)


def test_a_copy_that_comes_out_differently_is_given_up(full_desk: Desk, target: sa.Engine) -> None:
    migrate(target)
    with target.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN NEW.caption = upper(NEW.caption); RETURN NEW; END $$"
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER shout BEFORE INSERT ON cases FOR EACH ROW EXECUTE FUNCTION shout()"
        )
    with pytest.raises(CopyError, match=r"cases .* came out differently"):
        copy_database(full_desk.engine, target)
    with make_sessions(target)() as session:
        assert stats(session)["cases"] == 0


def test_a_copy_that_is_interrupted_leaves_nothing(full_desk: Desk, target: sa.Engine) -> None:
    def interrupt(done: int, of: int) -> None:
        if done > of / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_database(full_desk.engine, target, interrupt)
    assert _is_untouched(target)


def test_everything_arrives_and_the_way_back_brings_everything_back(
    full_desk: Desk, target: sa.Engine, tmp_path: Path
) -> None:
    done: list[tuple[int, int]] = []
    copied = copy_database(full_desk.engine, target, lambda *figures: done.append(figures))
    assert _contents(target) == _contents(full_desk.engine)
    assert copied.rows == sum(len(rows) for rows in _contents(target).values())
    assert done[-1][0] == done[-1][1]
    assert done == sorted(done)
    back = open_engine(f"sqlite:///{tmp_path / 'back.db'}")
    copy_database(target, back)
    assert _contents(back) == _contents(full_desk.engine)
    with make_sessions(back)() as session:
        assert check(session) == []
    assert _goes_on(back) == _goes_on(full_desk.engine)
    back.dispose()


def test_the_desk_goes_on_there_as_it_would_have_here(full_desk: Desk, target: sa.Engine) -> None:
    copy_database(full_desk.engine, target)
    with full_desk.sessions() as here, make_sessions(target)() as there:
        assert stats(there) == stats(here)
        assert check(there) == []
        ids = list(range(1, 36))
        assert case_views(there, ids) == case_views(here, ids)
        for who in (MARIA, TOM):
            assert [vars(one)["id"] for one in recent(there, who)] == [one.id for one in recent(here, who)]
    work = _goes_on(target)
    assert work == _goes_on(full_desk.engine)
    assert work[1] > 12


def test_what_is_insert_only_stays_so(full_desk: Desk, target: sa.Engine) -> None:
    copy_database(full_desk.engine, target)
    for table in ("rulings", "returns", "promotions", "events", "queue_rules"):
        with pytest.raises(sa.exc.DatabaseError, match="insert-only"), target.begin() as connection:
            connection.exec_driver_sql(f"DELETE FROM {table}")


def test_an_empty_desk_moves_too_and_its_ids_begin_at_one(desk: Desk, target: sa.Engine) -> None:
    assert copy_database(desk.engine, target).rows == 0
    with write_session(make_sessions(target)) as session:
        assert ensure_annotator(session, "maria") == 1


def test_the_command_moves_a_desk_that_then_imports_rules_counts_and_exports(
    full_desk: Desk,
    new_database: Callable[[], sa.URL],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = new_database()
    address = url.render_as_string(hide_password=False)
    data = ["--data", str(full_desk.data_dir)]
    assert main(["copy-database", address, *data]) == 0
    told = capsys.readouterr().out
    assert "OOC_DATABASE_URL" in told
    assert str(url.password) not in told
    assert main(["copy-database", address, *data]) == 1
    assert "not empty" in capsys.readouterr().err

    assert main(["stats", "--json", *data]) == 0
    before = json.loads(capsys.readouterr().out)
    monkeypatch.setenv("OOC_DATABASE_URL", address)
    assert main(["stats", "--json", *data]) == 0
    assert json.loads(capsys.readouterr().out) == before

    (tmp_path / "more.jsonl").write_text('{"id": "x", "caption": "One more flood."}\n')
    assert main(["import", "native", str(tmp_path / "more.jsonl"), *data]) == 0
    with open_desk(full_desk.data_dir) as moved, write_session(moved.sessions) as session:
        assert moved.engine.dialect.name == "postgresql"
        (case_id, *_) = claim(session, TOM, datetime.now(UTC))
        rule(session, TOM, NewRuling("moved", case_id, Answer.IN_CONTEXT), datetime.now(UTC))
    capsys.readouterr()
    assert main(["stats", "--json", *data]) == 0
    after = json.loads(capsys.readouterr().out)
    assert (after["cases"], after["rulings"]) == (before["cases"] + 1, before["rulings"] + 1)
    with full_desk.sessions() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Ruling)) == 13


def test_a_data_folder_without_a_database_file_works_on_postgresql_and_a_wrong_address_is_one_sentence(
    new_database: Callable[[], sa.URL],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = new_database()
    monkeypatch.setenv("OOC_DATABASE_URL", url.render_as_string(hide_password=False))
    with open_desk(tmp_path / "data") as desk:
        assert desk.engine.dialect.name == "postgresql"
    assert not (tmp_path / "data" / "desk.db").exists()
    monkeypatch.setenv("OOC_DATABASE_URL", url.set(password="hunter2").render_as_string(hide_password=False))
    with pytest.raises(DataFolderError, match="password authentication failed") as refusal:
        open_desk(tmp_path / "data")
    assert "hunter2" not in str(refusal.value)
    assert main(["stats", "--data", str(tmp_path / "data")]) == 1
    error = capsys.readouterr().err
    assert "hunter2" not in error
    assert error.count("\n") == 1
