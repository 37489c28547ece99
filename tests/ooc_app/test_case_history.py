from datetime import UTC, datetime
from typing import Any

import pytest

from db.history import Happening
from db.vocabulary import Role
from ooc_app.auth import Person
from ooc_app.case_history import told

AT = datetime(2026, 3, 1, 9, tzinfo=UTC)
TOM = Person(2, "tom", Role.ANNOTATOR)
OPINION = {"verdict": "unsure", "confidence": 0.824, "rationale": "The sign.", "current": True}


def words(what: str, who: str | None, **detail: Any) -> str:
    one = told(Happening(AT, what, who, detail), TOM, blind=False)
    assert one is not None
    return f"{one['who']} {one['what']}"


@pytest.mark.parametrize(
    ("what", "who", "detail", "said"),
    [
        ("added", None, {"dataset": "wire"}, "the desk took the case in, with the data set wire"),
        ("opinion", "Aspen", OPINION, "Aspen says can't tell, 82 % sure"),
        ("opinion", "Aspen", {**OPINION, "confidence": None}, "Aspen says can't tell"),
        (
            "opinion",
            "Aspen",
            {**OPINION, "current": False},
            "Aspen said can't tell, later changed",
        ),
        (
            "drawn_for_audit",
            None,
            {"pseudo_label": "in_context"},
            "the desk drew the case for an audit: its teachers agreed on in context",
        ),
        ("requested", "ada", {"why": "sent"}, "ada asked for a ruling"),
        (
            "requested",
            None,
            {"why": "student_unsure"},
            "the desk asked for a ruling because the student cannot tell",
        ),
        (
            "rule",
            "tom",
            {"verdict": "in_context", "seconds": 75.4},
            "tom ruled: in context, after 1 min 15 s",
        ),
        ("correct", "tom", {"verdict": "unsure"}, "tom corrected the ruling: can't tell, after 0 s"),
        (
            "settle",
            "ada",
            {"verdict": "out_of_context", "seconds": 9},
            "ada settled the case: out of context, after 9 s",
        ),
        ("undo", "tom", {"verdict": None}, "tom took the ruling back"),
        ("skip", "tom", {}, "tom skipped it"),
        ("sent_back", "ada", {}, "ada sent back"),
    ],
)
def test_what_happened_is_told_in_words(
    what: str, who: str | None, detail: dict[str, Any], said: str
) -> None:
    assert words(what, who, **detail) == said


def test_what_a_teacher_said_before_stays_readable() -> None:
    one = told(Happening(AT, "opinion", "Aspen", {**OPINION, "current": False}), TOM, blind=False)
    assert one is not None
    assert (one["more"], one["kind"], one["at"]) == ("The sign.", "teacher", "2026-03-01T09:00:00+00:00")


def test_blind_only_what_gives_nobodys_answer_away_is_told() -> None:
    told_of = ("opinion", "drawn_for_audit", "requested", "rule", "correct", "settle", "undo", "skip")
    seen = [
        (what, who)
        for what in ("added", *told_of)
        for who in (None, "tom", "maria")
        if told(Happening(AT, what, who, {"dataset": "wire", "verdict": "unsure"}), TOM, blind=True)
    ]
    assert seen == [("added", None), ("added", "tom"), ("skip", None), ("skip", "tom")]


def test_who_sent_rulings_back_is_told_to_those_who_may_and_to_nobody_else() -> None:
    sent = Happening(AT, "send_back", "ada", {"rulings": [1, 2], "note": "Look at the clock."})
    annotator, editor = (Person(1, "maria", role) for role in (Role.ANNOTATOR, Role.EDITOR))
    shown = told(sent, annotator, blind=False)
    assert shown is not None
    assert (shown["who"], shown["more"]) == ("an adjudicator", "Look at the clock.")
    open_to_all = told(sent, editor, blind=False)
    assert open_to_all is not None
    assert open_to_all["who"] == "ada"
