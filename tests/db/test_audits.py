from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy.orm import Session, sessionmaker

from db.agreement import NO_AUDIT_RULED
from db.audits import draw, estimate
from db.cases import NewCase, NewOpinion, add_cases
from db.engine import write_session
from db.queue import waiting
from db.rulings import NewRuling, ensure_annotator, rule
from db.vocabulary import Answer, QueueReason, Role, Split

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AddCase = Callable[..., int]


def test_only_agreed_training_cases_with_a_picture_and_without_ruling_are_drawn(
    sessions: sessionmaker[Session], add_case: AddCase
) -> None:
    agreed, ruled = add_case("agreed", "oo"), add_case("ruled", "ii")
    add_case("conflict", "io")
    add_case("held out", "ii", split=Split.TEST)
    add_case("no picture", "ii", image=False)
    add_case("no verdict", "uu")
    with write_session(sessions) as session:
        maria = ensure_annotator(session, "maria", Role.ANNOTATOR)
        rule(session, maria, NewRuling("a", ruled, Answer.IN_CONTEXT), NOW)
        assert draw(session, 99, NOW) == 1
        assert waiting(session)[QueueReason.AUDIT] == 1
        rule(session, maria, NewRuling("b", agreed, Answer.OUT_OF_CONTEXT), NOW)
        assert draw(session, 99, NOW) == 0


def test_an_error_is_a_ruling_unlike_what_the_teachers_agreed_on_and_doubt_is_no_error(
    sessions: sessionmaker[Session], add_case: AddCase
) -> None:
    cases = [add_case(str(number), "ii") for number in range(4)]
    with write_session(sessions) as session:
        maria = ensure_annotator(session, "maria", Role.ANNOTATOR)
        draw(session, 4, NOW)
        assert estimate(session)["why"] == NO_AUDIT_RULED
        answers = (Answer.IN_CONTEXT, Answer.OUT_OF_CONTEXT, Answer.UNSURE)
        for case_id, answer in zip(cases, answers, strict=False):
            rule(session, maria, NewRuling(str(case_id), case_id, answer), NOW)
        found = estimate(session)
    assert (found["sampled"], found["ruled"], found["wrong"], found["error"]) == (4, 2, 1, 0.5)
    low, high = found["interval"]
    assert 0.09 < low < 0.1
    assert 0.9 < high < 0.91


def test_the_teachers_are_held_to_what_they_said_when_the_case_was_drawn(
    sessions: sessionmaker[Session], add_case: AddCase
) -> None:
    case_id = add_case("one", "ii")
    with write_session(sessions) as session:
        maria = ensure_annotator(session, "maria", Role.ANNOTATOR)
        draw(session, 1, NOW)
        changed = tuple(NewOpinion(name, Answer.OUT_OF_CONTEXT, "On a second look.") for name in "AB")
        add_cases(session, "test", [NewCase("one", "Caption of one.", opinions=changed)])
        rule(session, maria, NewRuling("a", case_id, Answer.OUT_OF_CONTEXT), NOW)
        assert estimate(session)["wrong"] == 1


def test_a_draw_is_random_and_can_be_repeated_with_its_seed(
    sessions: sessionmaker[Session], add_case: AddCase
) -> None:
    for number in range(40):
        add_case(str(number), "ii")
    drawn = []
    for seed in (1, 1, 2):
        with sessions() as session:  # never committed
            draw(session, 5, NOW, seed=seed)
            drawn.append(estimate(session)["by_source"] and _audited(session))
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 5


def _audited(session: Session) -> list[int]:
    from db.models import Audit

    return sorted(audit.case_id for audit in session.query(Audit))
