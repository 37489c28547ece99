"""The history of a case in words: who did what. Times are left to the page, which knows its clock."""

from typing import Any, Final

from db.history import Happening
from db.vocabulary import SETTLING_ROLES, QueueReason
from ooc_app.auth import Person
from ooc_app.render import duration, percent, verdict_words

SHOWN_BLIND: Final = ("added", "skip")  # what gives nobody's answer away
RULED: Final = {"rule": "ruled", "correct": "corrected the ruling", "settle": "settled the case"}
ASKED: Final = {
    QueueReason.SENT.value: "asked for a ruling",
    QueueReason.STUDENT_UNSURE.value: "asked for a ruling because the student cannot tell",
}


def told(happening: Happening, person: Person, *, blind: bool) -> dict[str, Any] | None:
    """Tell one thing that happened; None where, blind, it must not be told."""
    if blind and (happening.what not in SHOWN_BLIND or happening.who not in (None, person.name)):
        return None
    what, more = _words(happening)
    is_teacher = happening.what == "opinion"
    is_hidden = happening.what == "send_back" and person.role not in SETTLING_ROLES
    return {
        "at": happening.at.isoformat(),
        "who": "an adjudicator" if is_hidden else happening.who or "the desk",
        "kind": "teacher" if is_teacher else "person" if happening.who else "desk",
        "what": what,
        "more": more,
    }


def _words(happening: Happening) -> tuple[str, str]:
    """Say what happened, and what more there is to read."""
    detail = happening.detail
    answer = verdict_words(str(detail.get("verdict") or ""))
    match happening.what:
        case "added":
            return f"took the case in, with the data set {detail['dataset']}", ""
        case "opinion":
            sure = detail["confidence"]
            said = f"says {answer}" + (f", {percent(sure, 0)} sure" if sure is not None else "")
            return (said, "") if detail["current"] else (f"said {answer}, later changed", detail["rationale"])
        case "drawn_for_audit":
            label = verdict_words(detail["pseudo_label"])
            return f"drew the case for an audit: its teachers agreed on {label}", ""
        case "requested":
            return ASKED.get(detail["why"], "asked for a ruling"), ""
        case "rule" | "correct" | "settle":
            cause = str(detail.get("cause") or "").replace("_", " ")
            why = f"; people were split by: {cause}" if cause else ""
            return f"{RULED[happening.what]}: {answer}, after {_taken(detail)}{why}", ""
        case "send_back":
            return "sent split rulings back, to be looked at again", str(detail.get("note") or "")
        case "undo":
            return "took the ruling back", ""
        case "skip":
            return "skipped it", ""
        case other:
            return other.replace("_", " "), ""


def _taken(detail: dict[str, Any]) -> str:
    return duration(float(detail.get("seconds") or 0.0))
