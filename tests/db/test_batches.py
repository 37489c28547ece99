from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from db.batches import (
    PAGE,
    TIME_OVER,
    Counts,
    NewRow,
    NotOwnBatchError,
    RowShown,
    UnknownBatchError,
    all_rows,
    batch_of,
    counts,
    delete_batch,
    finish,
    open_batch,
    own_batches,
    page_of,
    waiting,
)
from db.cases import NewCase, NewImage, add_cases
from db.checks import TOGETHER, NewCheck, delete_check, own_checks
from db.engine import write_session
from db.models import Batch, BatchRow, Check, Event, Image
from db.rulings import ensure_annotator
from db.vocabulary import Answer, Role, Verdict
from tests.db.test_queue import _plans

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
Sessions = sessionmaker[Session]
GIVEN = [NewRow(number, f"{number}.jpg", f"Caption {number}.") for number in range(1, 6)]


@pytest.fixture
def maria(sessions: Sessions) -> int:
    with write_session(sessions) as session:
        return ensure_annotator(session, "maria", Role.ANNOTATOR)


@pytest.fixture
def begun(sessions: Sessions, maria: int) -> int:
    """Give a batch of five rows, of which the last cannot be asked about."""
    return made(sessions, maria, [*GIVEN[:4], replace(GIVEN[4], refused="No caption.")])


def made(sessions: Sessions, owner: int, rows: list[NewRow], token: str = "hers", digest: str = "d") -> int:
    with write_session(sessions) as session:
        return open_batch(session, token, "week.zip", digest * 64, rows, owner, NOW).id


def answer(number: int, owner: int, **facts: object) -> NewCheck:
    picture = NewImage(f"{number % 10}" * 64, "PNG", 64, 48, 100)
    said = NewCheck(
        f"check-{number}", picture, f"Caption {number}.", Verdict.OUT_OF_CONTEXT, 0.8, "So.", "one", owner
    )
    return replace(said, **facts)  # type: ignore[arg-type]


def done(sessions: Sessions, batch_id: int, number: int, outcome: NewCheck | str) -> int | None:
    with write_session(sessions) as session:
        return finish(session, batch_id, number, outcome, NOW)


def count_of(sessions: Sessions, table: type[Batch | BatchRow | Check | Image]) -> int:
    with sessions() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def test_a_row_that_is_done_takes_no_second_answer(sessions: Sessions, begun: int, maria: int) -> None:
    assert done(sessions, begun, 1, answer(1, maria)) is not None
    assert done(sessions, begun, 1, answer(9, maria)) is None
    assert done(sessions, begun, 5, answer(8, maria)) is None
    assert done(sessions, begun, 77, answer(7, maria)) is None
    assert count_of(sessions, Check) == 1


def test_a_check_and_its_row_are_kept_together_or_not_at_all(
    sessions: Sessions, begun: int, maria: int
) -> None:
    def cut_off() -> None:
        with write_session(sessions) as session:
            finish(session, begun, 2, answer(2, maria), NOW)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_off()
    assert count_of(sessions, Check) == 0
    with sessions() as session:
        assert waiting(session, begun) == [1, 2, 3, 4]


def test_only_its_owner_or_an_editor_deletes_a_batch(sessions: Sessions, begun: int) -> None:
    with write_session(sessions) as session:
        tom = ensure_annotator(session, "tom", Role.ANNOTATOR)
        with pytest.raises(NotOwnBatchError):
            delete_batch(session, "hers", tom, Role.ADJUDICATOR, NOW)
        assert delete_batch(session, "hers", tom, Role.EDITOR, NOW) == ()
        with pytest.raises(UnknownBatchError, match="was deleted"):
            batch_of(session, "hers")


def test_the_same_rows_of_the_same_person_are_the_same_batch(sessions: Sessions, begun: int) -> None:
    with write_session(sessions) as session:
        tom = ensure_annotator(session, "tom", Role.ANNOTATOR)
        owner = session.get_one(Batch, begun).annotator_id
    assert made(sessions, owner, GIVEN, "other") == begun
    assert made(sessions, tom, GIVEN, "his") != begun
    assert made(sessions, owner, GIVEN, "third", "e") != begun
    with sessions() as session:
        assert [one.token for one in own_batches(session, owner)] == ["third", "hers"]


def test_a_deleted_batch_takes_its_checks_and_the_pictures_that_nothing_else_has(
    sessions: Sessions, begun: int, maria: int
) -> None:
    for number in (1, 2):
        done(sessions, begun, number, answer(number, maria))
    shared = answer(2, maria).image
    with write_session(sessions) as session:
        add_cases(session, "test", [NewCase("a", "A flood.", shared)])
        assert delete_batch(session, "hers", maria, Role.ANNOTATOR, NOW) == ("1" * 64,)
    assert [count_of(sessions, table) for table in (Batch, BatchRow, Check, Image)] == [0, 0, 0, 1]
    with sessions() as session:
        event = session.scalars(sa.select(Event).where(Event.action == "delete_batch")).one()
        assert event.detail == {"name": "week.zip", "checks": 2}


def test_a_batch_of_more_rows_than_one_statement_takes_goes_whole_and_by_index(
    sessions: Sessions, maria: int, kind: str
) -> None:
    count = TOGETHER + 3
    batch_id = made(sessions, maria, [NewRow(number, "a.jpg", "One.") for number in range(1, count + 1)])
    pictures = [f"{number:064x}" for number in range(count)]
    with write_session(sessions) as session:
        for number, sha256 in enumerate(pictures, start=1):
            new = answer(number, maria, image=NewImage(sha256, "PNG", 64, 48, 100))
            finish(session, batch_id, number, new, NOW)
    shared = [NewCase("a", "A flood.", NewImage(pictures[-1], "PNG", 64, 48, 100))]
    with write_session(sessions) as session:
        add_cases(session, "test", shared)
    with write_session(sessions) as session, _plans(session) as plans:
        unused = delete_batch(session, "hers", maria, Role.ANNOTATOR, NOW)
    assert unused == tuple(pictures[:-1])
    assert [count_of(sessions, table) for table in (Batch, BatchRow, Check, Image)] == [0, 0, 0, 1]
    if kind == "postgresql":
        assert not [step for step in plans if "Seq Scan" in step]
    else:
        assert not [step for step in plans if step.startswith("SCAN") and "CONSTANT ROW" not in step]
    assert len([step for step in plans if "image_sha256" in step]) >= 4


def test_a_batch_is_counted_by_what_came_of_its_rows(sessions: Sessions, begun: int, maria: int) -> None:
    done(sessions, begun, 1, answer(1, maria))
    done(sessions, begun, 2, answer(2, maria, verdict=Verdict.IN_CONTEXT))
    done(sessions, begun, 3, answer(3, maria, cannot_tell=True))
    with sessions() as session:
        batch = session.get_one(Batch, begun)
        standing = counts(session, batch, NOW)
        assert standing == Counts(5, out_of_context=1, in_context=1, unsure=1, refused=1)
        assert (standing.done, standing.waiting, standing.of("all")) == (4, 1, 5)
        assert own_checks(session, maria, NOW) == []  # those of a batch are seen in it


def test_a_row_whose_report_is_gone_says_so(sessions: Sessions, begun: int, maria: int) -> None:
    done(sessions, begun, 1, answer(1, maria))
    done(sessions, begun, 2, answer(2, maria, expires_at=NOW + timedelta(hours=1)))
    with write_session(sessions) as session:
        delete_check(session, "check-1", maria, Role.ANNOTATOR, NOW)
        later = NOW + timedelta(hours=1)
        refused = [row.refused for row in page_of(session, begun, later, only="refused")]
        assert refused == ["The report was deleted.", TIME_OVER, "No caption."]
        assert counts(session, session.get_one(Batch, begun), later).refused == 3


Sorted = Callable[..., list[int]]


@pytest.fixture
def in_order(sessions: Sessions, begun: int, maria: int) -> Sorted:
    """Give a function that names the rows of a batch in an order; row 4 waits, row 5 is refused."""
    done(sessions, begun, 1, answer(1, maria, probability=0.7))
    done(sessions, begun, 2, answer(2, maria, probability=0.9, verdict=Verdict.IN_CONTEXT))
    done(sessions, begun, 3, answer(3, maria, probability=0.5, cannot_tell=True))

    def numbers(**wanted: object) -> list[int]:
        with sessions() as session:
            return [row.number for row in page_of(session, begun, NOW, **wanted)]  # type: ignore[arg-type]

    return numbers


def test_rows_are_sorted_with_those_without_an_answer_last(in_order: Sorted) -> None:
    assert in_order() == [1, 2, 3, 4, 5]
    assert in_order(descending=True) == [5, 4, 3, 2, 1]
    assert in_order(order="probability") == [3, 1, 2, 4, 5]
    assert in_order(order="probability", descending=True) == [2, 1, 3, 4, 5]
    assert in_order(order="verdict") == [1, 3, 2, 4, 5]
    assert in_order(order="caption", descending=True) == [5, 4, 3, 2, 1]


def test_rows_are_chosen_by_what_was_said(in_order: Sorted) -> None:
    chosen = {
        name: in_order(only=name) for name in ("out_of_context", "in_context", "unsure", "refused", "waiting")
    }
    assert chosen == {"out_of_context": [1], "in_context": [2], "unsure": [3], "refused": [5], "waiting": [4]}


def test_many_rows_come_page_by_page_and_all_of_them_one_by_one(sessions: Sessions, maria: int) -> None:
    rows = [NewRow(number, f"{number}.jpg", "One.") for number in range(1, 1_203)]
    batch_id = made(sessions, maria, rows)
    with sessions() as session:
        last = page_of(session, batch_id, NOW, page=24)
        assert (len(page_of(session, batch_id, NOW)), len(last)) == (PAGE, 2)
        assert [row.number for row in all_rows(session, batch_id, NOW)] == list(range(1, 1_203))


def test_what_cannot_be_told_is_no_verdict(sessions: Sessions, begun: int, maria: int) -> None:
    done(sessions, begun, 1, answer(1, maria, cannot_tell=True))
    with sessions() as session:
        first, second = page_of(session, begun, NOW)[:2]
        assert (first.said, second.said) == (Answer.UNSURE, None)
        assert isinstance(first, RowShown)
