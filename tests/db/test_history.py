from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.orm import Session, sessionmaker

from db.audits import draw
from db.cases import NewCase, NewImage, NewOpinion, add_cases
from db.engine import write_session
from db.history import Happening, history
from db.queue import skip
from db.requests import request
from db.returns import send_back
from db.rulings import NewRuling, ensure_annotator, rule, undo
from db.views import UnknownCaseError
from db.vocabulary import Answer, Cause, Element, QueueReason, Role

BEGAN = datetime(2026, 3, 1, 9, tzinfo=UTC)
IN, OUT = Answer.IN_CONTEXT, Answer.OUT_OF_CONTEXT


def at(minutes: float) -> datetime:
    return BEGAN + timedelta(minutes=minutes)


def told(sessions: sessionmaker[Session], case_id: int) -> list[tuple[str, str | None]]:
    with sessions() as session:
        return [(one.what, one.who) for one in history(session, case_id)]


@pytest.fixture
def case_id(sessions: sessionmaker[Session]) -> int:
    """Give a case of two teachers that came at `BEGAN`."""
    with write_session(sessions) as session:
        add_cases(session, "wire", [two_opinions(OUT)], now=BEGAN)
    return 1


def two_opinions(first: Answer) -> NewCase:
    said = (NewOpinion("Aspen", first, "The tower.", 0.8), NewOpinion("Birch", IN, "It fits."))
    return NewCase("1", "A caption", NewImage("0" * 64, "PNG", 64, 48, 100), opinions=said)


def test_a_case_that_is_not_there_has_no_history(sessions: sessionmaker[Session]) -> None:
    with sessions() as session, pytest.raises(UnknownCaseError, match="no case 7"):
        history(session, 7)


def test_a_new_case_has_come_and_its_teachers_have_spoken(
    sessions: sessionmaker[Session], case_id: int
) -> None:
    with sessions() as session:
        added, first, second = history(session, case_id)
    assert added == Happening(BEGAN, "added", None, {"dataset": "wire"})
    assert (first.what, first.who, first.detail["verdict"], first.detail["confidence"]) == (
        "opinion",
        "Aspen",
        OUT,
        0.8,
    )
    assert (second.who, second.detail["rationale"], second.detail["current"]) == ("Birch", "It fits.", True)


def test_a_changed_opinion_leaves_the_former_one_readable(
    sessions: sessionmaker[Session], case_id: int
) -> None:
    with write_session(sessions) as session:
        add_cases(session, "wire", [two_opinions(Answer.UNSURE)], now=at(10))
    with sessions() as session:
        said = [one for one in history(session, case_id) if one.who == "Aspen"]
    assert [(one.detail["verdict"], one.detail["current"]) for one in said] == [
        (OUT, False),
        (Answer.UNSURE, True),
    ]
    assert [one.at for one in said] == [at(0), at(10)]


def test_everything_people_did_is_told_in_its_order_with_who_did_it(
    sessions: sessionmaker[Session], case_id: int
) -> None:
    with write_session(sessions) as session:
        maria = ensure_annotator(session, "maria", Role.ANNOTATOR)
        tom = ensure_annotator(session, "tom", Role.ANNOTATOR)
        ada = ensure_annotator(session, "ada", Role.ADJUDICATOR)
        skip(session, tom, case_id, at(1))
        said = NewRuling(
            "a",
            case_id,
            OUT,
            rationale="The tower",
            elements=(Element.PLACE,),
            note="Look.",
            flagged=True,
            seconds=1.5,
        )
        first = rule(session, maria, said, at(2))
        rule(session, maria, NewRuling("b", case_id, Answer.UNSURE, seconds=9, corrects=first.id), at(3))
        undo(session, maria, now=at(4))
        rule(session, maria, NewRuling("c", case_id, IN, seconds=9), at(5))
        request(session, [case_id], QueueReason.SENT, at(6), annotator_id=ada, rulings_wanted=2)
        rule(session, tom, NewRuling("d", case_id, OUT, seconds=9), at(7))
        rule(session, ada, NewRuling("e", case_id, OUT, seconds=30), at(8))
    assert told(sessions, case_id)[3:] == [
        ("skip", "tom"),
        ("rule", "maria"),
        ("correct", "maria"),
        ("undo", "maria"),
        ("rule", "maria"),
        ("requested", "ada"),
        ("rule", "tom"),
        ("settle", "ada"),
    ]
    with sessions() as session:
        happened = history(session, case_id)
    assert [one.at for one in happened[3:]] == [at(minutes) for minutes in range(1, 9)]
    ruled, corrected, withdrawn = (one.detail for one in happened[4:7])
    assert (ruled["verdict"], ruled["rationale"], ruled["elements"]) == (OUT, "The tower", [Element.PLACE])
    assert (ruled["note"], ruled["flagged"], ruled["rushed"], ruled["seconds"]) == ("Look.", True, True, 1.5)
    assert (corrected["supersedes"], withdrawn["verdict"]) == (ruled["ruling"], None)
    assert happened[8].detail == {"why": QueueReason.SENT}


def test_a_ruling_sent_back_is_told_with_its_note_and_a_settling_one_with_its_cause(
    sessions: sessionmaker[Session], case_id: int
) -> None:
    with write_session(sessions) as session:
        maria, tom = (ensure_annotator(session, name, Role.ANNOTATOR) for name in ("maria", "tom"))
        ada = ensure_annotator(session, "ada", Role.ADJUDICATOR)
        rule(session, maria, NewRuling("a", case_id, IN, seconds=9), at(1))
        rule(session, tom, NewRuling("b", case_id, OUT, seconds=9), at(2))
        sent = send_back(session, ada, case_id, "See the banner.", at(3))
        rule(session, ada, NewRuling("c", case_id, OUT, seconds=9, cause=Cause.SLIP), at(4))
    with sessions() as session:
        *_, ruled, back, settled = history(session, case_id)
    assert (back.at, back.what, back.who) == (at(3), "send_back", "ada")
    assert back.detail == {"rulings": sent, "note": "See the banner."}
    assert (settled.what, settled.detail["cause"]) == ("settle", "slip")
    assert "cause" not in ruled.detail


def test_an_audit_and_a_students_doubt_have_nobody_behind_them(
    sessions: sessionmaker[Session], add_case: Callable[..., int]
) -> None:
    case_id, other_id = add_case("agreed", "ii"), add_case("other", "io")
    with write_session(sessions) as session:
        assert draw(session, 1, at(1)) == 1
        request(session, [case_id], QueueReason.STUDENT_UNSURE, at(2))
    with sessions() as session:
        asked = {one.what: one for one in history(session, case_id) if one.who is None}
    assert asked["drawn_for_audit"].detail == {"pseudo_label": "in_context"}
    assert asked["requested"].detail == {"why": QueueReason.STUDENT_UNSURE}
    assert {what for what, _ in told(sessions, other_id)} == {"added", "opinion"}


def test_what_happens_to_one_case_is_not_told_of_another(
    sessions: sessionmaker[Session], add_case: Callable[..., int]
) -> None:
    first, second = add_case("1"), add_case("2")
    with write_session(sessions) as session:
        maria = ensure_annotator(session, "maria")
        rule(session, maria, NewRuling("a", first, OUT, seconds=9), datetime.now(UTC))
    assert ("rule", "maria") in told(sessions, first)
    assert ("rule", "maria") not in told(sessions, second)
