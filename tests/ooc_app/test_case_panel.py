import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa

from db.audits import draw
from db.cases import NewCase, NewEvidence, NewImage, NewOpinion, add_cases
from db.engine import write_session
from db.models import Queued, Request
from db.queue import claim, release
from db.rulings import NewRuling, ensure_annotator, rule, undo
from db.views import UnknownCaseError
from db.vocabulary import Answer, Element, EvidenceKind, Role, Split, Verdict
from ooc_app.auth import Person, now
from ooc_app.case_panel import ask_for_ruling, opened
from ooc_app.desk import Desk

AddConflict = Callable[..., int]
TEACHERS = ("Teacher One", "Teacher Two", "Teacher Three")
IMAGE = NewImage("a" * 64, "PNG", 64, 48, 100)


def add(desk: Desk, *cases: NewCase) -> None:
    with write_session(desk.sessions) as session:
        add_cases(session, "test", cases)


def in_queue(desk: Desk) -> list[int]:
    with desk.sessions() as session:
        return list(session.scalars(sa.select(Queued.case_id).order_by(Queued.case_id)))


def test_a_case_that_is_not_there_says_so(desk: Desk, person: Person) -> None:
    for case_id in (0, 7, 2**31 - 1):
        with pytest.raises(UnknownCaseError, match=f"no case {case_id} on this desk"):
            opened(desk, person, case_id)
        with pytest.raises(UnknownCaseError):
            ask_for_ruling(desk, person, case_id)


def test_an_editor_sees_the_case_whole(desk: Desk, person: Person) -> None:
    found = NewEvidence(EvidenceKind.IMAGE, "A report", "https://a.example", "2021", "Text")
    said = (NewOpinion("Teacher One", Answer.OUT_OF_CONTEXT, "The tower.", 0.82, (Element.PLACE,)),)
    case = NewCase(
        "1", "A caption", IMAGE, gold=Verdict.OUT_OF_CONTEXT, group="g", source="wire", url="https://b.example",
        date="12 March", place="Norvik", note="Upper caption", evidence=(found,), opinions=said,
    )  # fmt: skip
    add(desk, case)
    shown = opened(desk, person, 1)
    assert shown["picture"] == f"desk/images/{IMAGE.sha256}"
    assert shown["meta"] == "claimed 12 March · Norvik · wire"
    assert (shown["gold"], shown["verdict"], shown["state"]) == ("out_of_context", "out_of_context", "agreed")
    assert (shown["dataset"], shown["external_id"], shown["split"]) == ("test", "1", "train")
    assert (shown["group"], shown["url"], shown["note"]) == ("g", "https://b.example", "Upper caption")
    assert shown["evidence"][0]["title"] == "A report"
    assert shown["opinions"] == [
        {
            "who": "Teacher One",
            "verdict": "out_of_context",
            "confidence": 0.82,
            "rationale": "The tower.",
            "elements": ["place"],
            "scripted": False,
        }
    ]
    assert shown["blind"] is None
    assert json.dumps(shown)


def test_rulings_are_shown_with_all_they_say_and_what_became_of_them(
    desk: Desk, person: Person, colleague: Person, add_conflict: AddConflict
) -> None:
    case_id = add_conflict("Norvik")
    with write_session(desk.sessions) as session:
        said = NewRuling(
            "a",
            case_id,
            Answer.IN_CONTEXT,
            2,
            elements=(Element.TIME,),
            note="Look.",
            flagged=True,
            seconds=1,
        )
        first = rule(session, colleague.annotator_id, said, now())
        second = NewRuling("b", case_id, Answer.OUT_OF_CONTEXT, rationale="The tower", corrects=first.id)
        rule(session, colleague.annotator_id, replace(second, seconds=30), now())
        mine = rule(session, person.annotator_id, NewRuling("c", case_id, Answer.UNSURE, seconds=9), now())
        undo(session, person.annotator_id, mine.id, now=now())
    withdrawn, current, former = opened(desk, person, case_id)["rulings"]
    assert (former["who"], former["verdict"], former["superseded"]) == (
        "maria", "in_context", "corrected since",
    )  # fmt: skip
    assert (former["picked"], former["rationale"], former["is_own_rationale"]) == (
        "Teacher Two", "All fits Norvik.", False,
    )  # fmt: skip
    assert (former["elements"], former["note"], former["flagged"]) == (["time"], "Look.", True)
    assert (former["rushed"], former["seconds"]) == (True, 1)
    assert (current["superseded"], current["rationale"], current["is_own_rationale"]) == (
        None, "The tower", True,
    )  # fmt: skip
    assert (withdrawn["who"], withdrawn["superseded"]) == (person.name, "taken back")


def test_the_queue_says_why_and_who_holds_the_case(
    desk: Desk, person: Person, colleague: Person, add_conflict: AddConflict
) -> None:
    case_id = add_conflict("Norvik")
    assert opened(desk, person, case_id)["waits"] == {
        "why": "its teachers differ",
        "holder": None,
        "until": None,
    }
    with write_session(desk.sessions) as session:
        claim(session, colleague.annotator_id, now())
    assert opened(desk, person, case_id)["waits"]["holder"] == "maria"


def test_cases_of_one_group_or_picture_are_shown_with_it(desk: Desk, person: Person) -> None:
    add(
        desk,
        NewCase("1", "One", IMAGE, group="g"),
        NewCase("2", "Two", group="g"),
        NewCase("3", "Three", IMAGE),
        NewCase("4", "Four", group="h"),
    )
    with write_session(desk.sessions) as session:
        add_cases(session, "another", [NewCase("5", "Five", group="g")])
    relatives = opened(desk, person, 1)["relatives"]
    assert [(one["id"], one["why"]) for one in relatives] == [(2, "same group"), (3, "same picture")]
    assert opened(desk, person, 4)["relatives"] == []


# ---- blind, for whoever may yet rule ----


def test_an_annotator_sees_a_case_they_hold_as_adjudicate_shows_it(
    desk: Desk, person: Person, colleague: Person, add_conflict: AddConflict
) -> None:
    case_id = add_conflict("Norvik")
    with write_session(desk.sessions) as session:
        rule(session, person.annotator_id, NewRuling("a", case_id, Answer.IN_CONTEXT, note="Fits"), now())
        undo(session, person.annotator_id, now=now())
        release(session, person.annotator_id)
        assert claim(session, colleague.annotator_id, now()) == [case_id]
    shown = opened(desk, colleague, case_id)
    text = json.dumps(shown)
    assert shown["blind"].startswith("Shown blind")
    assert not any(teacher in text for teacher in (*TEACHERS, person.name, "Fits"))
    assert [one["who"] for one in shown["opinions"]] == ["A", "B", "C"]
    assert {one["rationale"] for one in shown["opinions"]} == {
        one["rationale"] for one in opened(desk, person, case_id)["opinions"]
    }
    assert (shown["rulings"], shown["relatives"], shown["waits"]) == ([], [], None)
    assert (shown["external_id"], shown["gold"], shown["may_send"]) == (None, None, False)
    assert [one["what"] for one in shown["history"]] == ["took the case in, with the data set test"]


def test_nothing_tells_an_annotator_that_a_case_was_drawn_for_an_audit(desk: Desk, colleague: Person) -> None:
    said = tuple(NewOpinion(teacher, Answer.IN_CONTEXT, "It fits.") for teacher in TEACHERS)
    add(desk, NewCase("1", "A caption", IMAGE, gold=Verdict.OUT_OF_CONTEXT, opinions=said))
    assert opened(desk, colleague, 1)["state"] == "agreed"
    with write_session(desk.sessions) as session:
        draw(session, 1, now())
    shown = opened(desk, colleague, 1)
    assert (shown["state"], shown["verdict"]) == ("in the queue", None)
    assert "audit" not in json.dumps(shown)


def test_once_they_have_ruled_the_names_show(
    desk: Desk, colleague: Person, add_conflict: AddConflict
) -> None:
    case_id = add_conflict("Norvik")
    with write_session(desk.sessions) as session:
        said = NewRuling("a", case_id, Answer.IN_CONTEXT, seconds=9)
        rule(session, colleague.annotator_id, said, now())
    shown = opened(desk, colleague, case_id)
    assert shown["blind"] is None
    assert {one["who"] for one in shown["opinions"]} == set(TEACHERS)
    assert [one["what"] for one in shown["history"]][-1] == "ruled: in context, after 9 s"


@pytest.mark.parametrize("role", [Role.ADJUDICATOR, Role.EDITOR])
def test_whoever_settles_sees_all(
    desk: Desk, colleague: Person, add_conflict: AddConflict, role: Role
) -> None:
    shown = opened(desk, replace(colleague, role=role), add_conflict("Norvik"))
    assert {one["who"] for one in shown["opinions"]} == set(TEACHERS)


# ---- asking for a ruling ----


def test_an_agreed_case_asked_for_is_in_the_queue(desk: Desk, person: Person) -> None:
    add(desk, NewCase("1", "A caption", IMAGE, opinions=(NewOpinion("Aspen", Answer.IN_CONTEXT),)))
    assert opened(desk, person, 1)["may_send"] is True
    assert ask_for_ruling(desk, person, 1)["ok"] is True
    assert in_queue(desk) == [1]
    shown = opened(desk, person, 1)
    assert (shown["waits"]["why"], shown["may_send"]) == ("a ruling was asked for", False)
    assert [one["what"] for one in shown["history"]][-1] == "asked for a ruling"
    assert ask_for_ruling(desk, person, 1)["ok"] is False


def test_a_settled_case_asked_for_gets_one_ruling_more_and_is_asked_for_once(
    desk: Desk, person: Person, colleague: Person, add_conflict: AddConflict
) -> None:
    case_id = add_conflict("Norvik")
    for number in range(2):  # a share of cases wants two people from the start
        who = (person, colleague)[number]
        if in_queue(desk):
            with write_session(desk.sessions) as session:
                said = NewRuling(str(number), case_id, Answer.IN_CONTEXT, seconds=9)
                rule(session, who.annotator_id, said, now())
    assert ask_for_ruling(desk, person, case_id)["ok"] is True
    assert in_queue(desk) == [case_id]
    with desk.sessions() as session:
        wanted = session.scalars(sa.select(Request.rulings_wanted)).one()
    for number in range(wanted):
        with write_session(desk.sessions) as session:
            third = NewRuling(f"again-{number}", case_id, Answer.IN_CONTEXT, seconds=9)
            rule(session, ensure_annotator(session, f"person {number}"), third, now())
    assert in_queue(desk) == []
    refused = ask_for_ruling(desk, person, case_id)
    assert (refused["ok"], "asked for before" in refused["says"]) == (False, True)


@pytest.mark.parametrize(
    "case",
    [NewCase("1", "Held out", IMAGE, split=Split.TEST), NewCase("1", "No picture")],
    ids=["held out", "without picture"],
)
def test_a_case_that_is_never_ruled_on_is_never_asked_for(desk: Desk, person: Person, case: NewCase) -> None:
    add(desk, case)
    assert opened(desk, person, 1)["may_send"] is False
    assert ask_for_ruling(desk, person, 1)["ok"] is False
    assert in_queue(desk) == []
