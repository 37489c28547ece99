from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from db.cases import NewCase, NewImage, add_cases
from db.checks import (
    CannotSendError,
    NewCheck,
    NotOwnCheckError,
    UnknownCheckError,
    add_check,
    add_found,
    check_of,
    delete_check,
    expire,
    own_checks,
    send,
    set_expiry,
)
from db.engine import write_session
from db.models import Case, Check, Event, Image
from db.queue import claim, waiting
from db.requests import request
from db.rulings import NewRuling, ensure_annotator, rule
from db.vocabulary import Answer, HumanAnswer, QueueReason, Role, Split, Verdict

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PICTURE = NewImage("a" * 64, "PNG", 640, 480, 1000)
Sessions = sessionmaker[Session]
AddCase = Callable[..., int]


@pytest.fixture
def maria(sessions: Sessions) -> int:
    with write_session(sessions) as session:
        return ensure_annotator(session, "maria", Role.ANNOTATOR)


@pytest.fixture
def tom(sessions: Sessions) -> int:
    with write_session(sessions) as session:
        return ensure_annotator(session, "tom", Role.ANNOTATOR)


def kept(sessions: Sessions, token: str, owner: int, picture: NewImage = PICTURE) -> NewCheck:
    said = "A flood in Halden."
    new = NewCheck(token, picture, said, Verdict.OUT_OF_CONTEXT, 0.86, "The tower.", "one", owner)
    with write_session(sessions) as session:
        add_check(session, new, NOW)
    return new


def test_a_token_nobody_was_given_and_a_check_whose_time_is_over_read_alike(
    sessions: Sessions, maria: int
) -> None:
    kept(sessions, "over", maria)
    with write_session(sessions) as session:
        set_expiry(session, "over", maria, Role.ANNOTATOR, NOW + timedelta(days=1), NOW)
        assert check_of(session, "over", NOW).caption == "A flood in Halden."
        for token in ("over", "guessed"):
            with pytest.raises(UnknownCheckError, match="no such report"):
                check_of(session, token, NOW + timedelta(days=1))
        assert own_checks(session, maria, NOW + timedelta(days=1)) == []


def test_only_its_owner_or_an_editor_changes_a_check(sessions: Sessions, maria: int, tom: int) -> None:
    kept(sessions, "hers", maria)
    with write_session(sessions) as session:
        for change in (
            lambda: delete_check(session, "hers", tom, Role.ADJUDICATOR, NOW),
            lambda: set_expiry(session, "hers", tom, Role.ANNOTATOR, NOW, NOW),
            lambda: send(session, "hers", tom, Role.ANNOTATOR, NOW),
        ):
            with pytest.raises(NotOwnCheckError):
                change()
        assert delete_check(session, "hers", tom, Role.EDITOR, NOW) == (PICTURE.sha256,)


def test_a_deleted_check_leaves_its_picture_only_where_something_else_has_it(
    sessions: Sessions, maria: int
) -> None:
    for token in ("first", "second"):
        kept(sessions, token, maria)
    with write_session(sessions) as session:
        assert delete_check(session, "first", maria, Role.ANNOTATOR, NOW) == ()
        assert session.get(Image, PICTURE.sha256) is not None
        assert delete_check(session, "second", maria, Role.ANNOTATOR, NOW) == (PICTURE.sha256,)
        assert session.get(Image, PICTURE.sha256) is None
        deleted = session.scalars(sa.select(Event.detail).where(Event.action == "delete_check")).all()
    assert deleted == [{}, {}]


def test_checks_whose_time_is_over_go_with_their_pictures_and_the_others_stay(
    sessions: Sessions, maria: int
) -> None:
    kept(sessions, "over", maria)
    kept(sessions, "stays", maria, replace(PICTURE, sha256="b" * 64))
    with write_session(sessions) as session:
        set_expiry(session, "over", maria, Role.ANNOTATOR, NOW + timedelta(hours=1), NOW)
        assert expire(session, NOW) == ()
        assert expire(session, NOW + timedelta(hours=2)) == (PICTURE.sha256,)
        assert session.scalars(sa.select(Check.token)).all() == ["stays"]


def test_what_is_found_later_is_added_and_a_check_deleted_meanwhile_stays_deleted(
    sessions: Sessions, maria: int
) -> None:
    kept(sessions, "one", maria)
    with write_session(sessions) as session:
        add_found(session, "one", {"words": [1]})
        add_found(session, "one", {"reliance": {"number": 0.5}})
        add_found(session, "gone", {"words": [1]})
    with sessions() as session:
        assert check_of(session, "one", NOW).found == {"words": [1], "reliance": {"number": 0.5}}


def test_somebody_finds_their_own_checks_newest_first(sessions: Sessions, maria: int, tom: int) -> None:
    for token, owner in (("a", maria), ("b", tom), ("c", maria), ("d", maria)):
        kept(sessions, token, owner)
    with sessions() as session:
        page = own_checks(session, maria, NOW, count=2)
        assert [check.token for check in page] == ["d", "c"]
        assert [check.token for check in own_checks(session, maria, NOW, before=page[-1].id)] == ["a"]


def test_a_check_that_is_sent_is_ruled_on_before_all_else_and_its_owner_sees_what_came_of_it(
    sessions: Sessions, add_case: AddCase, maria: int, tom: int
) -> None:
    add_case("conflict")
    kept(sessions, "sent", maria)
    with write_session(sessions) as session:
        sent = send(session, "sent", maria, Role.ANNOTATOR, NOW)
        assert (sent.human, sent.waits, sent.settled_as) == (HumanAnswer.NONE, True, None)
        assert send(session, "sent", maria, Role.ANNOTATOR, NOW) == sent
        assert waiting(session)[QueueReason.SENT] == 1
        case = session.get_one(Case, sent.case_id)
        assert (case.dataset, case.caption, case.split) == ("checks", "A flood in Halden.", Split.TRAIN)
        assert claim(session, tom, NOW, is_audit_turn=False)[0] == sent.case_id
        rule(session, tom, NewRuling("s", sent.case_id, Answer.OUT_OF_CONTEXT, rationale="No tower."), NOW)
        done = send(session, "sent", maria, Role.ANNOTATOR, NOW)
    assert (done.settled_as, done.waits) == (Verdict.OUT_OF_CONTEXT, False)


def test_a_check_of_a_case_on_the_desk_is_sent_as_that_case(
    sessions: Sessions, add_case: AddCase, maria: int
) -> None:
    agreed = add_case("agreed", "ii")
    with sessions() as session:
        case = session.get_one(Case, agreed)
        picture = replace(PICTURE, sha256=str(case.image_sha256))
    new = kept(sessions, "other caption", maria, picture)
    with write_session(sessions) as session:
        add_check(session, replace(new, token="same", caption=case.caption), NOW)
        assert send(session, "same", maria, Role.ANNOTATOR, NOW).case_id == agreed
        assert send(session, "other caption", maria, Role.ANNOTATOR, NOW).case_id != agreed
        assert waiting(session) == {QueueReason.SENT: 2}


def test_a_held_out_picture_is_not_sent(sessions: Sessions, maria: int) -> None:
    kept(sessions, "held out", maria)
    held_out = NewCase("t", "Another caption.", PICTURE, split=Split.TEST)
    with write_session(sessions) as session:
        add_cases(session, "test", [held_out], now=NOW)
        with pytest.raises(CannotSendError, match="measured by"):
            send(session, "held out", maria, Role.ANNOTATOR, NOW)


def test_a_new_case_of_a_known_picture_joins_its_group(sessions: Sessions, maria: int) -> None:
    kept(sessions, "partner", maria)
    with write_session(sessions) as session:
        add_cases(session, "test", [NewCase("t", "Another.", PICTURE, group="g")], now=NOW)
        sent = send(session, "partner", maria, Role.ANNOTATOR, NOW)
        assert session.get_one(Case, sent.case_id).group_key == "g"


def test_a_case_that_only_the_student_doubted_is_sent_for_once_an_analyst_asks(
    sessions: Sessions, add_case: AddCase, maria: int
) -> None:
    doubted = add_case("doubted", "ii")
    with write_session(sessions) as session:
        request(session, [doubted], QueueReason.STUDENT_UNSURE, NOW)
        assert waiting(session) == {QueueReason.STUDENT_UNSURE: 1}
        request(session, [doubted], QueueReason.SENT, NOW, annotator_id=maria)
        assert waiting(session) == {QueueReason.SENT: 1}
        request(session, [doubted], QueueReason.STUDENT_UNSURE, NOW)
        assert waiting(session) == {QueueReason.SENT: 1}
