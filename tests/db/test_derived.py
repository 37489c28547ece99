from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from alembic import command
from sqlalchemy.orm import Session, sessionmaker

from db.cases import NewCase, NewImage, NewOpinion, add_cases
from db.derived import check, rebuild
from db.engine import _alembic_config, make_sessions, migrate, open_engine, write_connection, write_session
from db.models import Case, Kind, Queued, Ruling, Stratum
from db.queue import claim, waiting
from db.returns import send_back
from db.rulings import NewRuling, ensure_annotator, rule
from db.stats import stats
from db.vocabulary import Answer, Element, Role

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AddCase = Callable[..., int]
IN, OUT = Answer.IN_CONTEXT.value, Answer.OUT_OF_CONTEXT.value


@pytest.fixture
def desk(sessions: sessionmaker[Session], add_case: AddCase) -> sessionmaker[Session]:
    """Give a desk with conflicts, agreed cases, rulings, a lease and opinions that name elements."""
    for name, opinions in (("one", "io"), ("two", "iio"), ("three", "ii"), ("four", "uu"), ("five", "oi")):
        add_case(name, opinions)
    named = NewOpinion("A", Answer.OUT_OF_CONTEXT, "Not Norvik.", elements=(Element.PLACE,))
    image = NewImage("b" * 64, "PNG", 8, 8, 8)
    with write_session(sessions) as session:
        add_cases(session, "test", [NewCase("six", "A flood.", image, source="daily", opinions=(named,))])
        maria = ensure_annotator(session, "maria", Role.ANNOTATOR)
        rule(session, maria, NewRuling("a", 1, Answer.IN_CONTEXT), NOW)
        claim(session, maria, NOW, count=1)
    return sessions


def test_what_is_derived_is_right_after_imports_rulings_and_claims(desk: sessionmaker[Session]) -> None:
    with desk() as session:
        assert check(session) == []


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (sa.update(Kind).values(cases=Kind.cases + 1), "counts of kinds"),
        (sa.update(Case).where(Case.id == 3).values(kind_id=1), "under a kind"),
        (sa.delete(Queued).where(Queued.case_id == 4), "queued, or not queued"),
        (sa.delete(Stratum), "sources and elements"),
        (sa.text("INSERT INTO strata VALUES ('source', 'nowhere', 7)"), "sources and elements"),
    ],
    ids=["a count", "a kind", "a row of the queue", "all strata", "a stratum"],
)
def test_damage_is_found_and_rebuilding_repairs_it(
    desk: sessionmaker[Session], damage: sa.Executable, said: str
) -> None:
    with write_session(desk) as session:
        session.execute(damage, execution_options={"synchronize_session": False})
        assert any(said in sentence for sentence in check(session))
    with write_session(desk) as session:
        rebuild(session, NOW)
        assert check(session) == []


def test_rebuilding_changes_nothing_that_is_right_and_leaves_the_lease(desk: sessionmaker[Session]) -> None:
    with desk() as session:
        before, queue = stats(session), waiting(session)
    with write_session(desk) as session:
        rebuild(session, NOW)
        assert (stats(session), waiting(session)) == (before, queue)
        assert session.scalars(sa.select(Queued.case_id).where(Queued.annotator_id == 1)).all() == [5]


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_a_desk_of_an_older_version_comes_up_with_its_cases_rulings_and_queue(
    new_url: sa.URL, revision: str
) -> None:
    engine = open_engine(new_url)
    with write_connection(engine) as connection:
        config = _alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for statement in _OLD_DESK:
            connection.exec_driver_sql(statement)
    migrate(engine)
    sessions = make_sessions(engine)
    with write_session(sessions) as session:
        assert check(session) == []
        found = stats(session)
        assert (found["cases"], found["rulings"], found["agreed"]) == (3, 1, 1)
        assert found["conflicts"] == {"total": 2, "open": 1, "settled": 1}
        assert claim(session, 1, NOW) == [2]
        old = session.scalars(sa.select(Ruling)).one()
        assert (old.shown, old.guidelines, old.cause, old.settles) == (None, None, None, False)
        rule(session, 2, NewRuling("b", 1, Answer.OUT_OF_CONTEXT), NOW)
        assert send_back(session, 1, 1, "", NOW) == [2]
        rule(session, 1, NewRuling("c", 1, Answer.UNSURE, corrects=1), NOW)
        assert check(session) == []
    for table in ("rulings", "returns"):
        with pytest.raises(sa.exc.IntegrityError, match="insert-only"), write_session(sessions) as session:
            session.execute(sa.text(f"DELETE FROM {table}"))
    engine.dispose()


_OLD = "'2026-01-01 00:00:00.000000'"
_OLD_DESK = (
    f"INSERT INTO images VALUES ('{64 * 'a'}', 'PNG', 8, 8, 8)",
    *(
        "INSERT INTO cases (dataset, external_id, image_sha256, caption, split, source, created_at) "
        f"VALUES ('old', '{number}', '{64 * 'a'}', 'Flood in Norvik 洪水', 'train', 'daily', {_OLD})"
        for number in (1, 2, 3)
    ),
    "INSERT INTO teachers VALUES (1, 'A', 'recorded'), (2, 'B', 'recorded')",
    *(
        "INSERT INTO opinions (case_id, teacher_id, prompt_version, verdict, rationale, current, created_at) "
        f"VALUES ({case}, {teacher}, 'recorded', '{verdict}', 'Because.', true, {_OLD})"
        for case in (1, 2, 3)
        for teacher, verdict in enumerate((IN, OUT if case < 3 else IN), 1)
    ),
    "INSERT INTO annotators (name, role, scripted) VALUES ('maria', 'editor', false), "
    "('tom', 'annotator', false)",
    "INSERT INTO rulings (submission_id, case_id, annotator_id, verdict, elements, note, flagged, seconds, "
    f"rushed, created_at) VALUES ('a', 1, 1, 'in_context', '[]', '', false, 5, false, {_OLD})",
)
