from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from db.engine import write_session
from db.models import Annotator, Case, Event, Image, Promotion, Return, Ruling
from db.vocabulary import Answer, Role

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def desk(sessions: sessionmaker[Session], add_case: Callable[..., int]) -> sessionmaker[Session]:
    """Give a desk with cases 1 and 2, teachers A and B, annotators 1 and 2, and ruling 1."""
    add_case("one")
    add_case("two")
    with write_session(sessions) as session:
        session.add_all(
            [Annotator(name="maria", role=Role.EDITOR), Annotator(name="tom", role=Role.ANNOTATOR)]
        )
        session.flush()
        session.add_all([Ruling(**_ruling("first")), Promotion(created_at=NOW), Event(at=NOW, action="test")])
        session.flush()
        session.add(Return(**_return()))
    return sessions


def _ruling(submission_id: str) -> dict[str, object]:
    return {
        "submission_id": submission_id,
        "case_id": 1,
        "annotator_id": 1,
        "verdict": Answer.IN_CONTEXT,
        "elements": [],
        "seconds": 3.0,
        "rushed": False,
        "created_at": NOW,
    }


def _return() -> dict[str, object]:
    known = {"ruling_id": 1, "case_id": 1, "ruled_by": 1, "annotator_id": 2}
    return {**known, "note": "", "created_at": NOW}


@pytest.mark.parametrize(
    ("refused_by", "statement"),
    [
        ("ck_images_sha256_length", "UPDATE images SET sha256 = 'short'"),
        ("ck_images_size", "UPDATE images SET width = 0"),
        ("ck_cases_caption_not_empty", "UPDATE cases SET caption = ''"),
        ("ck_cases_gold", "UPDATE cases SET gold = 'fake'"),
        ("ck_cases_split", "UPDATE cases SET split = 'dev'"),
        ("FOREIGN KEY", "UPDATE cases SET image_sha256 = 'unknown'"),
        ("UNIQUE", "UPDATE cases SET external_id = 'one'"),
        ("FOREIGN KEY", "DELETE FROM cases"),
        ("ck_evidence_kind", "INSERT INTO evidence (case_id, kind) VALUES (1, 'rumour')"),
        ("FOREIGN KEY", "INSERT INTO evidence (case_id, kind) VALUES (99, 'image')"),
        ("UNIQUE", "UPDATE teachers SET name = 'A'"),
        ("ck_teachers_kind", "UPDATE teachers SET kind = 'oracle'"),
        ("ck_opinions_verdict", "UPDATE opinions SET verdict = 'fake'"),
        ("ck_opinions_confidence", "UPDATE opinions SET confidence = 1.1"),
        ("ck_opinions_confidence", "UPDATE opinions SET confidence = -0.1"),
        ("UNIQUE", "UPDATE opinions SET teacher_id = 1"),
        ("ck_annotators_name_not_empty", "UPDATE annotators SET name = ''"),
        ("UNIQUE", "UPDATE annotators SET name = 'maria'"),
        ("ck_annotators_role", "UPDATE annotators SET role = 'admin'"),
        ("ck_buckets_why", "UPDATE buckets SET why = 'hard'"),
        ("ck_queue_rulings_wanted", "UPDATE queue SET rulings_wanted = -1"),
        ("ck_queue_lease_whole", "UPDATE queue SET annotator_id = 1"),
        ("UNIQUE", "UPDATE queue SET case_id = 1"),
        (
            "FOREIGN KEY",
            "INSERT INTO skips (case_id, annotator_id, skipped_at) VALUES (1, 99, '2026-03-01')",
        ),
        (
            "ck_runs_name_not_empty",
            "INSERT INTO runs (name, path, snapshot_hash, rulings, training_cases, created_at)"
            " VALUES ('', '/run', 'h', 1, 1, '2026-03-01')",
        ),
        (
            "FOREIGN KEY",
            "INSERT INTO promotions (run_id, is_rollback, created_at) VALUES (99, false, '2026-03-01')",
        ),
        (
            "ck_checks_verdict",
            "INSERT INTO checks (token, image_sha256, caption,"
            " verdict, probability, rationale, student, created_at)"
            " SELECT 't', sha256, 'c', 'unsure', 0.5, '', 's', '2026-03-01' FROM images LIMIT 1",
        ),
        (
            "ck_checks_probability",
            "INSERT INTO checks (token, image_sha256, caption,"
            " verdict, probability, rationale, student, created_at)"
            " SELECT 't', sha256, 'c', 'in_context', 50, '', 's', '2026-03-01' FROM images LIMIT 1",
        ),
        (
            "ck_events_action_not_empty",
            "INSERT INTO events (at, action, detail) VALUES ('2026-03-01', '', '{}')",
        ),
    ],
)
def test_the_database_refuses_what_breaks_a_rule(
    desk: sessionmaker[Session], refused_by: str, statement: str
) -> None:
    with pytest.raises(sa.exc.IntegrityError, match=f"(?i){refused_by}"), write_session(desk) as session:
        session.execute(sa.text(statement))


@pytest.mark.parametrize("table", ["rulings", "returns", "promotions", "events"])
@pytest.mark.parametrize("change", ["UPDATE {} SET id = id + 100", "DELETE FROM {}"])
def test_insert_only_tables_refuse_change(desk: sessionmaker[Session], table: str, change: str) -> None:
    with (
        pytest.raises(sa.exc.IntegrityError, match=f"{table} is insert-only"),
        write_session(desk) as session,
    ):
        session.execute(sa.text(change.format(table)))


@pytest.mark.parametrize("table", ["rulings", "returns", "promotions", "events", "queue_rules"])
def test_postgresql_does_not_empty_an_insert_only_table_either(
    desk: sessionmaker[Session], kind: str, table: str
) -> None:
    if kind == "sqlite":
        pytest.skip("SQLite has no TRUNCATE")
    with pytest.raises(sa.exc.IntegrityError, match="is insert-only"), write_session(desk) as session:
        session.execute(sa.text(f"TRUNCATE {table} CASCADE"))


@pytest.mark.parametrize(
    "values",
    [
        {"submission_id": "first", "case_id": 2},
        {"submission_id": ""},
        {"submission_id": "x" * 65, "case_id": 2},
        {"case_id": 2, "verdict": None},
        {"case_id": 99},
        {"case_id": 2, "opinion_id": 99},
        {"case_id": 2, "seconds": -1.0},
        {},  # a second ruling of one annotator on one case that supersedes nothing
        {"annotator_id": 2, "supersedes_id": 1},  # of another annotator's ruling
        {"case_id": 2, "supersedes_id": 1},  # of a ruling on another case
        {"supersedes_id": 99},
        {"case_id": 2, "cause": "slip", "settles": False},
    ],
    ids=repr,
)
def test_a_ruling_that_breaks_a_rule_is_refused(
    desk: sessionmaker[Session], values: dict[str, object]
) -> None:
    with pytest.raises((sa.exc.IntegrityError, sa.exc.DataError)), write_session(desk) as session:
        session.execute(sa.insert(Ruling).values(_ruling("second") | values))


def test_a_cause_outside_the_vocabulary_is_refused_by_the_database_itself(
    desk: sessionmaker[Session],
) -> None:
    insert = sa.text(
        "INSERT INTO rulings (submission_id, case_id, annotator_id, verdict, elements, note, flagged,"
        " seconds, rushed, settles, created_at, cause)"
        " VALUES ('x', 2, 1, 'unsure', '[]', '', false, 3, false, true, '2026-03-01', 'malice')"
    )
    with pytest.raises(sa.exc.IntegrityError, match="ck_rulings_cause"), write_session(desk) as session:
        session.execute(insert)


@pytest.mark.parametrize(
    "values",
    [
        {},  # a ruling is sent back once
        {"ruling_id": 2, "case_id": 1},  # of another case
        {"ruling_id": 2, "ruled_by": 2},  # of another annotator
        {"ruling_id": 99},
        {"ruling_id": 2, "annotator_id": 99},
        {"ruling_id": 2, "note": None},
    ],
    ids=repr,
)
def test_a_return_that_breaks_a_rule_is_refused(
    desk: sessionmaker[Session], values: dict[str, object]
) -> None:
    with write_session(desk) as session:
        session.execute(sa.insert(Ruling).values(_ruling("second") | {"case_id": 2}))
    with pytest.raises(sa.exc.IntegrityError), write_session(desk) as session:
        session.execute(sa.insert(Return).values(_return() | {"case_id": 2} | values))


def test_a_ruling_is_superseded_once_at_most(desk: sessionmaker[Session]) -> None:
    supersede = sa.insert(Ruling).values(supersedes_id=1)
    with write_session(desk) as session:
        session.execute(supersede, _ruling("second"))
    with pytest.raises(sa.exc.IntegrityError), write_session(desk) as session:
        session.execute(supersede, _ruling("third"))


def test_a_word_outside_the_vocabulary_is_refused_before_it_reaches_the_database(
    desk: sessionmaker[Session],
) -> None:
    with pytest.raises(sa.exc.StatementError), write_session(desk) as session:
        session.execute(sa.update(Case).values(gold="fake"))


def test_a_picture_that_a_case_shows_cannot_be_deleted(desk: sessionmaker[Session]) -> None:
    with pytest.raises(sa.exc.IntegrityError), write_session(desk) as session:
        session.execute(sa.delete(Image))
