import threading
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from db.checks import send
from db.engine import write_session
from db.models import Check
from db.rulings import NewRuling, rule
from db.vocabulary import Answer
from ooc_app.auth import NotAllowedError, Person, now
from ooc_app.checks.own_checks import own_checks_asked, own_checks_panel
from ooc_app.checks.report_deeds import expire, start_expiring
from ooc_app.checks.times import ago
from ooc_app.desk import Desk, open_desk
from tests.ooc_app.checks.fixed import HOSTILE
from tests.ooc_app.checks.kept import keep_check, picture_files, token_of
from tests.ooc_app.conftest import drawn_picture


def test_a_stranger_is_shown_nobodys_checks(desk: Desk) -> None:
    with pytest.raises(NotAllowedError):
        own_checks_asked(desk, None)


def test_a_demo_page_keeps_no_checks_to_show(tmp_path_factory: pytest.TempPathFactory) -> None:
    with open_desk(tmp_path_factory.mktemp("demo") / "data", mode="demo") as demo:
        assert own_checks_asked(demo, None) == ""


def test_whoever_has_checked_nothing_is_told_what_to_do(
    desk: Desk, person: Person, colleague: Person
) -> None:
    keep_check(desk, colleague, drawn_picture())
    assert "Check a picture" in own_checks_panel(desk, person)


def test_checks_are_listed_newest_first_with_where_they_stand_and_hostile_text_stays_text(
    desk: Desk, person: Person, colleague: Person
) -> None:
    for number in range(1, 5):
        keep_check(desk, person, drawn_picture(number), number, caption=f"Caption {number} {HOSTILE}")
    keep_check(desk, person, drawn_picture(5), 5, cannot_tell=True)
    with write_session(desk.sessions) as session:
        for number, says in ((2, None), (3, Answer.OUT_OF_CONTEXT), (4, Answer.UNSURE)):
            case_id = send(session, token_of(number), person.annotator_id, person.role, now()).case_id
            if says:
                rule(session, colleague.annotator_id, NewRuling(f"{number}", case_id, says), now())
    drawn = own_checks_panel(desk, person)
    assert "<img src=x" not in drawn
    assert [drawn.index(f"?check={token_of(number)}") for number in (5, 4, 3, 2, 1)] == sorted(
        drawn.index(f"?check={token_of(number)}") for number in range(1, 6)
    )
    last, *rows = drawn.split("<li>")[1:]
    assert "chip unsure" in last
    states = [row.partition('own-state">')[2].partition("<")[0] for row in (last, *rows)]
    assert states == [
        "not sent",
        "people cannot tell",
        "settled: out of context",
        "waits for a ruling",
        "not sent",
    ]
    assert "just now" in drawn


def test_no_more_than_twenty_are_shown_however_many_there_are_and_with_two_queries(
    desk: Desk, person: Person
) -> None:
    picture = drawn_picture()
    for number in range(23):
        keep_check(desk, person, picture, number)
    asked: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        asked.append(statement)

    engine = desk.sessions.kw["bind"]
    sa.event.listen(engine, "before_cursor_execute", note)
    drawn = own_checks_panel(desk, person)
    assert drawn.count("<li>") == 20
    assert sum(statement.startswith("SELECT") for statement in asked) == 2


def test_what_is_over_goes_with_its_picture_and_what_is_not_stays(desk: Desk, person: Person) -> None:
    over, stays = drawn_picture(1), drawn_picture(2)
    keep_check(desk, person, over, 1, expires_at=now() - timedelta(seconds=1))
    keep_check(desk, person, stays, 2, expires_at=now() + timedelta(days=1))
    gone, kept = picture_files(desk, over)[0], picture_files(desk, stays)[0]
    expire(desk)
    assert not gone.exists()
    assert kept.exists()
    with desk.sessions() as session:
        assert session.scalars(sa.select(Check.token)).all() == [token_of(2)]
    expire(desk)


def test_the_desk_itself_deletes_what_is_over(desk: Desk, person: Person) -> None:
    keep_check(desk, person, drawn_picture(1), 1, expires_at=now() - timedelta(seconds=1))
    looked = threading.Event()
    ended = start_expiring(desk, first_look=0.0, done=lambda at: looked.set())
    assert looked.wait(30)
    ended.set()
    with desk.sessions() as session:
        assert session.scalars(sa.select(Check.token)).all() == []


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "just now"),
        (59, "just now"),
        (60, "1 minute ago"),
        (7_300, "2 hours ago"),
        (90_000, "1 day ago"),
        (40 * 86_400, "22 January 2026"),
    ],
)
def test_times_are_told_as_people_do(seconds: int, said: str) -> None:
    at = datetime(2026, 3, 3, 12, tzinfo=UTC)
    assert ago(at - timedelta(seconds=seconds), at) == said
