from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from db.engine import write_session
from db.kinds import Traits, all_kinds, count_kinds, human_answer, kind_ids, pattern_of
from db.models import Kind
from db.rulings import NewRuling, ensure_annotator, rule, undo
from db.vocabulary import Answer, CaseState, HumanAnswer, Role, Split, Verdict

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
IN, OUT, UNSURE = Answer.IN_CONTEXT, Answer.OUT_OF_CONTEXT, Answer.UNSURE
AddCase = Callable[..., int]


def _kinds(sessions: sessionmaker[Session]) -> dict[Traits, int]:
    with sessions() as session:
        return {traits: cases for _, traits, cases in all_kinds(session) if cases}


def test_a_pattern_names_teachers_in_the_order_of_their_ids_and_can_be_read_back() -> None:
    answers = {12: UNSURE, 3: OUT, 1: IN}
    assert pattern_of(answers) == "1i3o12u"
    assert Traits("train", True, "", "1i3o12u").answers == answers
    assert Traits("train", True, "", "").answers == {}


@pytest.mark.parametrize(
    ("rulings", "answer"),
    [
        ([], HumanAnswer.NONE),
        ([(IN, False)], HumanAnswer.IN_CONTEXT),
        ([(UNSURE, False), (UNSURE, False)], HumanAnswer.UNSURE),
        ([(IN, False), (OUT, False)], HumanAnswer.SPLIT),
        ([(IN, False), (UNSURE, False)], HumanAnswer.SPLIT),
        ([(IN, False), (OUT, False), (OUT, True)], HumanAnswer.OUT_OF_CONTEXT),
        ([(IN, False), (OUT, False), (UNSURE, True)], HumanAnswer.UNSURE),
        ([(OUT, True), (IN, False)], HumanAnswer.OUT_OF_CONTEXT),
    ],
)
def test_people_agree_or_are_split_until_an_adjudicator_settles(
    rulings: list[tuple[str, bool]], answer: HumanAnswer
) -> None:
    assert human_answer(rulings) == answer


@pytest.mark.parametrize(
    ("pattern", "human", "state", "label"),
    [
        ("", "none", CaseState.NO_OPINION, None),
        ("1i", "none", CaseState.AGREED, Verdict.IN_CONTEXT),
        ("1o2o", "none", CaseState.AGREED, Verdict.OUT_OF_CONTEXT),
        ("1i2o", "none", CaseState.CONFLICT, None),
        ("1i2i3u", "none", CaseState.CONFLICT, None),
        ("1u2u", "none", CaseState.NO_VERDICT, None),
        ("1i2o", "in_context", CaseState.SETTLED, None),
        ("1i2i", "out_of_context", CaseState.SETTLED, Verdict.IN_CONTEXT),
        ("1i2o", "split", CaseState.SPLIT, None),
        ("1i2o", "unsure", CaseState.CANNOT_TELL, None),
    ],
)
def test_where_a_case_stands_follows_from_its_opinions_and_rulings(
    pattern: str, human: str, state: CaseState, label: Verdict | None
) -> None:
    traits = Traits("train", True, "", pattern, human)
    assert (traits.state, traits.pseudo_label) == (state, label)


def test_cases_are_counted_by_kind_whatever_happens_to_them(
    sessions: sessionmaker[Session], add_case: AddCase
) -> None:
    one, _, _ = add_case("one", "io"), add_case("two", "io"), add_case("held out", "ii", split=Split.TEST)
    conflict = Traits("train", True, "", "1i2o")
    assert _kinds(sessions) == {conflict: 2, Traits("test", True, "", "1i2i"): 1}
    with write_session(sessions) as session:
        maria = ensure_annotator(session, "maria", Role.ANNOTATOR)
        rule(session, maria, NewRuling("a", one, OUT, rationale="The banner reads 2019."), NOW)
    settled = conflict._replace(human="out_of_context", rulings=1, own_rationales=1)
    assert _kinds(sessions) == {conflict: 1, settled: 1, Traits("test", True, "", "1i2i"): 1}
    with write_session(sessions) as session:
        undo(session, maria, now=NOW)
    assert _kinds(sessions)[conflict] == 2


def test_counts_of_a_transaction_that_fails_are_forgotten(sessions: sessionmaker[Session]) -> None:
    with write_session(sessions) as session:
        kind_id = kind_ids(session, [Traits("train", True, "", "1i")]).popitem()[1]

    def fail() -> None:
        with write_session(sessions) as session:
            count_kinds(session, {kind_id: 5})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert _kinds(sessions) == {}


def test_a_kind_is_added_once_and_found_again_among_others(sessions: sessionmaker[Session]) -> None:
    wanted = [Traits("train", True, "", f"{teacher}i") for teacher in range(1, 6)]
    with write_session(sessions) as session:
        ids = kind_ids(session, wanted)
        assert kind_ids(session, wanted[:1]) == {wanted[0]: ids[wanted[0]]}
        assert kind_ids(session, wanted) == ids
        assert session.scalar(sa.select(sa.func.count()).select_from(Kind)) == 5
