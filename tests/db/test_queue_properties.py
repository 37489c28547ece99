"""Whatever people and imports do, in any order: the queue does what a model of one page does."""

import hashlib
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy.orm import Session, sessionmaker

from db import audits, queue, returns, rulings
from db.cases import NewCase, NewImage, NewOpinion, add_cases
from db.derived import check, rebuild
from db.derived_tables import Bucket, Kind, Queued
from db.engine import make_sessions, open_engine, write_session
from db.models import Audit, Case, Ruling, is_current
from db.requests import doubted, request
from db.returns import MayNotSettleError, NotSplitError
from db.rulings import AlreadyRuledError, NewRuling, NothingToUndoError, ensure_annotator
from db.vocabulary import LEASE, UNDOABLE_RULINGS, Answer, HumanAnswer, QueueReason, Role, Split
from db.worth import Order, change_order
from tests.postgres import Server

T = TypeVar("T")
NewDesk = Callable[[], AbstractContextManager[sessionmaker[Session]]]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PEOPLE = {"maria": Role.ANNOTATOR, "tom": Role.ANNOTATOR, "ines": Role.ANNOTATOR, "ada": Role.ADJUDICATOR}
MOSTLY_TWICE = Order(second_opinions=0.7)  # most cases are for two people
CASES_MAX = 7  # few, so that people meet over them
ANSWERS = {"i": Answer.IN_CONTEXT, "o": Answer.OUT_OF_CONTEXT, "u": Answer.UNSURE}
VERDICTS = (HumanAnswer.IN_CONTEXT, HumanAnswer.OUT_OF_CONTEXT)

people = st.sampled_from(range(1, len(PEOPLE) + 1))
answers = st.sampled_from(list(Answer))
picks = st.integers(0, 99)  # chooses from whatever there is by then


@dataclass
class ModelCase:
    """What is known of a case, and who holds it."""

    name: str
    is_trained_on: bool  # a training case
    has_image: bool
    wanted: int  # people
    opinions: dict[str, str]
    is_audited: bool = False
    requested: QueueReason | None = None
    rulings: dict[int, tuple[Answer, bool]] = field(default_factory=dict)  # by annotator: answer, settles
    sent_back: set[int] = field(default_factory=set)  # whose ruling was, and they have not answered
    holder: int | None = None
    lease_until: datetime = NOON
    late: int = 0  # rulings that came without a lease, or when the case wanted nobody any more

    @property
    def human(self) -> HumanAnswer:
        """What people together say: the last adjudicator's answer, or else what all of them answer."""
        settling = [answer for answer, settles in self.rulings.values() if settles]
        said = set(settling[-1:]) or {answer for answer, _ in self.rulings.values()}
        if not said:
            return HumanAnswer.NONE
        return HumanAnswer(said.pop()) if len(said) == 1 else HumanAnswer.SPLIT

    @property
    def is_settled_by_adjudicator(self) -> bool:
        """Whether nobody needs to look again."""
        return any(settles for _, settles in self.rulings.values())

    @property
    def is_agreed(self) -> bool:
        """Whether its teachers all give one verdict."""
        return set(self.opinions.values()) in ({"i"}, {"o"})

    @property
    def why(self) -> QueueReason | None:
        """Why it wants a person, if it does."""
        if not (self.is_trained_on and self.has_image):
            return None
        if self.human == HumanAnswer.SPLIT:
            return None if self.sent_back else QueueReason.SPLIT_RULINGS
        if self.is_settled_by_adjudicator or len(self.rulings) >= self.wanted:
            return None
        reason = self._why_at_first()
        return QueueReason.SECOND_OPINION if reason and self.rulings else reason

    def _why_at_first(self) -> QueueReason | None:
        if self.requested == QueueReason.SENT:
            return QueueReason.SENT
        if self.opinions and not self.is_agreed:
            is_all_unsure = set(self.opinions.values()) == {"u"}
            return QueueReason.NO_VERDICT if is_all_unsure else QueueReason.CONFLICT
        return QueueReason.AUDIT if self.is_audited else self.requested


@dataclass
class Made:
    """A ruling that the desk has acknowledged."""

    id: int
    sent: NewRuling
    is_current: bool = True
    withdrawal: int | None = None


class Desk(RuleBasedStateMachine):
    """Does to a desk and to the model what people and imports do, and compares the two after each step."""

    new_desk: NewDesk  # given by the test

    def __init__(self) -> None:
        super().__init__()
        self.now = NOON
        self.cases: dict[int, ModelCase] = {}
        self.held: dict[int, list[int]] = {who: [] for who in range(1, len(PEOPLE) + 1)}
        self.screen: dict[int, list[int]] = {who: [] for who in self.held}  # what a page shows and preloaded
        self.made: dict[int, list[Made]] = {who: [] for who in self.held}
        self.skipped: set[tuple[int, int, date]] = set()
        self.submissions = 0

    @initialize()
    def open_desk(self) -> None:
        self.opened = self.new_desk()
        self.sessions = self.opened.__enter__()
        with write_session(self.sessions) as session:
            assert [ensure_annotator(session, *who) for who in PEOPLE.items()] == list(self.held)
            change_order(session, MOSTLY_TWICE, None, self.now)
        for opinions in ("io", "ii", "oo", "iio"):
            self._import_new(opinions, True, Split.TRAIN)
        self._draw_an_audit(2, 0)

    def teardown(self) -> None:
        if hasattr(self, "opened"):
            with self.sessions() as session:
                differences = check(session)
            self.opened.__exit__(None, None, None)
            assert differences == []

    # what imports and editors do

    @precondition(lambda self: len(self.cases) < CASES_MAX)
    @rule(
        opinions=st.sampled_from(["io", "oi", "iio", "iou", "uu", "ii", "oo", "u", ""]),
        has_image=st.sampled_from([True, True, True, False]),
        split=st.sampled_from([Split.TRAIN, Split.TRAIN, Split.TRAIN, Split.TEST]),
    )
    def import_a_case(self, opinions: str, has_image: bool, split: Split) -> None:
        self._import_new(opinions, has_image, split)

    def _import_new(self, opinions: str, has_image: bool, split: Split) -> None:
        name = f"case {len(self.cases) + 1}"
        said = dict(zip("ABC", opinions, strict=False))
        self._import(name, split, has_image, said)
        with self.sessions() as session:
            case_id = session.scalars(sa.select(Case.id).where(Case.external_id == name)).one()
        wanted = MOSTLY_TWICE.rulings_wanted(case_id)
        self.cases[case_id] = ModelCase(name, split == Split.TRAIN, has_image, wanted, said)

    @rule(pick=picks, teachers=st.sampled_from(["A", "B", "ABC", "ABC"]), letter=st.sampled_from("iou"))
    def import_it_again_with_other_opinions(self, pick: int, teachers: str, letter: str) -> None:
        read_now = [case_id for case_id in self.cases if self._is_leased(case_id)]
        case_id = _chosen([*self.cases, *read_now, *read_now], pick)
        case = self.cases[case_id]
        split = Split.TRAIN if case.is_trained_on else Split.TEST
        self._import(case.name, split, True, dict.fromkeys(teachers, letter))
        case.opinions.update(dict.fromkeys(teachers, letter))
        case.has_image = True

    def _import(self, name: str, split: Split, has_image: bool, said: dict[str, str]) -> None:
        image = NewImage(hashlib.sha256(name.encode()).hexdigest(), "PNG", 8, 8, 8) if has_image else None
        opinions = tuple(NewOpinion(teacher, ANSWERS[letter]) for teacher, letter in said.items())
        record = NewCase(name, f"Caption of {name}.", image, split=split, opinions=opinions)
        with write_session(self.sessions) as session:
            add_cases(session, "test", [record], now=self.now)

    @rule(number=st.integers(1, 3), seed=st.integers(0, 9))
    def draw_an_audit(self, number: int, seed: int) -> None:
        self._draw_an_audit(number, seed)

    def _draw_an_audit(self, number: int, seed: int) -> None:
        with write_session(self.sessions) as session:
            drawn = audits.draw(session, number, self.now, seed=seed)
            audited = set(session.scalars(sa.select(Audit.case_id)))
        new = {case_id for case_id in audited if not self.cases[case_id].is_audited}
        open_cases = {
            case_id
            for case_id, case in self.cases.items()
            if case.is_trained_on
            and case.has_image
            and case.is_agreed
            and not case.is_audited
            and not case.rulings
        }
        assert new <= open_cases
        assert drawn == len(new) == min(number, len(open_cases))
        for case_id in new:
            self.cases[case_id].is_audited = True

    @rule(pick=picks, wanted=st.sampled_from([1, 3]))
    def send_to_the_desk(self, pick: int, wanted: int) -> None:
        case_id = _chosen(self.cases, pick)
        with write_session(self.sessions) as session:
            request(session, [case_id], QueueReason.SENT, self.now, rulings_wanted=wanted)
        self._note_request(case_id, QueueReason.SENT, wanted)

    @rule(pick=picks, probability=st.sampled_from([0.0, 0.5, 0.6, 0.9]))
    def ask_the_student(self, pick: int, probability: float) -> None:
        case_id = _chosen(self.cases, pick)
        with write_session(self.sessions) as session:
            doubted(session, {case_id: probability}, self.now)
        if probability in (0.5, 0.6):
            self._note_request(case_id, QueueReason.STUDENT_UNSURE, 1)

    def _note_request(self, case_id: int, why: QueueReason, wanted: int) -> None:
        case = self.cases[case_id]
        is_doubted = case.requested == QueueReason.STUDENT_UNSURE and why == QueueReason.SENT
        if case.requested is None or is_doubted:  # asked for again otherwise, it stays as it was asked for
            case.requested, case.wanted = why, max(case.wanted, wanted)

    @rule(split=st.sampled_from([-1.0, 0.0, 1.0]), rarity=st.sampled_from([0.0, 2.0]))
    def change_the_order_and_make_anew_what_is_derived(self, split: float, rarity: float) -> None:
        with write_session(self.sessions) as session:
            assert check(session) == []
            change_order(session, replace(MOSTLY_TWICE, split=split, rarity=rarity), None, self.now)
            rebuild(session, self.now)

    @rule(minutes=st.sampled_from([4, 11, 13 * 60]))
    def wait(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    # what people do

    @rule(who=people, count=st.integers(1, 3), is_audit_turn=st.booleans())
    def claim(self, who: int, count: int, is_audit_turn: bool) -> None:
        self._claim(who, count, is_audit_turn)

    def _claim(self, who: int, count: int, is_audit_turn: bool) -> None:
        self._forget_ended_leases()
        kept, freed = self.held[who][:count], self.held[who][count:]
        free = {case_id for case_id in self.cases if self._may_be_offered(case_id, who)}
        with write_session(self.sessions) as session:
            worths = self._worths(session, free)
            got = queue.claim(session, who, self.now, count=count, is_audit_turn=is_audit_turn)
            assert queue.claim(session, who, self.now, count=count, is_audit_turn=not is_audit_turn) == got
        assert got[: len(kept)] == kept, "the holder gets the same cases back, in their order"
        new = got[len(kept) :]
        assert len(set(new)) == len(new)
        assert set(new) <= free, "nobody is offered what they may not have"
        assert len(new) == min(count - len(kept), len(free)), "nobody goes without while there is a case"
        first = [self.cases[case_id].why == QueueReason.AUDIT for case_id in new[:1]]
        if is_audit_turn and any(self.cases[case_id].why == QueueReason.AUDIT for case_id in free):
            assert all(first), "on an audit turn an audit case comes first"
        else:
            best = sorted((worths[case_id] for case_id in free), reverse=True)
            assert [worths[case_id] for case_id in new] == best[: len(new)], "the worthiest come first"
        for case_id in freed:
            self._free(case_id)
        for case_id in got:
            self._hold(case_id, who)
        self.held[who], self.screen[who] = got, list(got)

    @rule(turns=st.lists(st.tuples(people, answers), min_size=2, max_size=6))
    def take_turns_at_the_next_case(self, turns: list[tuple[int, Answer]]) -> None:
        for who, answer in turns:
            self._claim(who, 1, False)
            if self.screen[who]:
                self._rule_on(who, self.screen[who][0], answer)

    @precondition(lambda self: any(self.screen.values()))
    @rule(pick=picks, answer=answers, is_audit_turn=st.booleans())
    def rule_on_what_a_page_shows(self, pick: int, answer: Answer, is_audit_turn: bool) -> None:
        """Rule on any case on screen or preloaded, however long ago that was, and go on to the next."""
        who, case_id = _chosen(_pairs(self.screen), pick)
        self._rule_on(who, case_id, answer)
        self._claim(who, 2, is_audit_turn)

    def _rule_on(self, who: int, case_id: int, answer: Answer) -> None:
        self.screen[who].remove(case_id)
        new = NewRuling(self._submission_id(), case_id, answer, seconds=5.0)
        case = self.cases[case_id]
        if who in case.rulings:
            self._is_refused(AlreadyRuledError, who, new)
            return
        case.late += not (case.why and case.holder == who and self._is_leased(case_id))
        self._rule(who, new, settles=case.human == HumanAnswer.SPLIT and _may_settle(who))

    @precondition(lambda self: any(self.made.values()))
    @rule(pick=picks, answer=answers)
    def rule_once_more_from_another_tab(self, pick: int, answer: Answer) -> None:
        who, made = _chosen(_pairs(self.made), pick)
        if who in self.cases[made.sent.case_id].rulings:
            new = NewRuling(self._submission_id(), made.sent.case_id, answer)
            self._is_refused(AlreadyRuledError, who, new)

    @precondition(lambda self: any(self.made.values()))
    @rule(pick=picks)
    def send_a_ruling_again(self, pick: int) -> None:
        who, made = _chosen(_pairs(self.made), pick)
        with write_session(self.sessions) as session:
            assert rulings.rule(session, who, made.sent, self.now).id == made.id

    @precondition(lambda self: any(self.made.values()))
    @rule(pick=picks, answer=answers)
    def correct(self, pick: int, answer: Answer) -> None:
        who, made = _chosen(_pairs(self.made), pick)
        new = NewRuling(self._submission_id(), made.sent.case_id, answer, corrects=made.id)
        if not made.is_current:
            self._is_refused((AlreadyRuledError, NothingToUndoError), who, new)
            return
        case = self.cases[made.sent.case_id]
        _, settled = case.rulings[who]
        made.is_current = False
        self._rule(who, new, settles=_may_settle(who) and (settled or case.human == HumanAnswer.SPLIT))

    @precondition(lambda self: any(self.made.values()))
    @rule(who=people)
    def undo_the_newest(self, who: int) -> None:
        current = [made for made in self.made[who][-UNDOABLE_RULINGS:] if made.is_current]
        if current:
            self._undo(who, current[-1], None)
        else:
            with pytest.raises(NothingToUndoError), write_session(self.sessions) as session:
                rulings.undo(session, who, now=self.now)

    @precondition(lambda self: any(self.made.values()))
    @rule(pick=picks)
    def undo_a_certain_one(self, pick: int) -> None:
        who, made = _chosen(_pairs(self.made), pick)
        is_recent = made in self.made[who][-UNDOABLE_RULINGS:]
        if is_recent and made.is_current:
            self._undo(who, made, made.id)
        elif is_recent and made.withdrawal is not None:
            with write_session(self.sessions) as session:
                assert rulings.undo(session, who, made.id, now=self.now).id == made.withdrawal
        else:
            with pytest.raises(NothingToUndoError), write_session(self.sessions) as session:
                rulings.undo(session, who, made.id, now=self.now)

    @precondition(lambda self: any(self.screen.values()))
    @rule(pick=picks, is_audit_turn=st.booleans())
    def skip(self, pick: int, is_audit_turn: bool) -> None:
        who, case_id = _chosen(_pairs(self.screen), pick)
        self.screen[who].remove(case_id)
        with write_session(self.sessions) as session:
            queue.skip(session, who, case_id, self.now)
        self.skipped.add((who, case_id, self.now.date()))
        if self.cases[case_id].holder == who:
            self._free(case_id)
        self._claim(who, 2, is_audit_turn)

    @precondition(lambda self: any(self.held.values()))
    @rule(who=people)
    def sign_out(self, who: int) -> None:
        with write_session(self.sessions) as session:
            queue.release(session, who)
        for case_id in list(self.held[who]):
            self._free(case_id)
        self.screen[who] = []

    @precondition(lambda self: any(case.human == HumanAnswer.SPLIT for case in self.cases.values()))
    @rule(pick=picks, who=people, is_split=st.sampled_from([True, True, True, False]))
    def send_back(self, pick: int, who: int, is_split: bool) -> None:
        """Send back what people are split on, mostly, and mostly as somebody who may."""
        split = [case_id for case_id, case in self.cases.items() if case.human == HumanAnswer.SPLIT]
        case_id = _chosen(split if is_split else self.cases, pick)
        case = self.cases[case_id]
        who = who if pick % 5 == 0 else len(PEOPLE)
        others = case.rulings.keys() - {who} - case.sent_back
        if not _may_settle(who):
            self._is_not_sent_back(MayNotSettleError, who, case_id)
        elif case.human != HumanAnswer.SPLIT or not others:
            self._is_not_sent_back(NotSplitError, who, case_id)
        else:
            with write_session(self.sessions) as session:
                sent = returns.send_back(session, who, case_id, "Look again.", self.now)
            assert len(sent) == len(others)
            case.sent_back |= others
            if case.holder == who:
                self._free(case_id)

    def _is_not_sent_back(self, error: type[Exception], who: int, case_id: int) -> None:
        with pytest.raises(error), write_session(self.sessions) as session:
            returns.send_back(session, who, case_id, "", self.now)

    @precondition(lambda self: any(case.sent_back for case in self.cases.values()))
    @rule(pick=picks, answer=answers, is_the_same=st.booleans())
    def answer_what_was_sent_back(self, pick: int, answer: Answer, is_the_same: bool) -> None:
        asked = _pairs({case_id: sorted(case.sent_back) for case_id, case in self.cases.items()})
        case_id, who = _chosen(asked, pick)
        (made,) = (one for one in self.made[who] if one.is_current and one.sent.case_id == case_id)
        said, settles = self.cases[case_id].rulings[who]
        answer = said if is_the_same else answer
        new = NewRuling(self._submission_id(), case_id, answer, corrects=made.id)
        made.is_current = False
        is_split = self.cases[case_id].human == HumanAnswer.SPLIT
        self._rule(who, new, settles=_may_settle(who) and (settles or is_split))

    # what holds at all times

    @invariant()
    def desk_and_model_agree(self) -> None:
        with self.sessions() as session:
            self._every_acknowledged_ruling_is_in_the_table(session)
            self._current_are_the_rulings_that_nobody_took_back(session)
            self._people_say_what_their_rulings_say(session)
            self._in_the_queue_are_the_cases_that_want_a_person(session)
            self._asked_again_are_those_who_have_not_answered(session)
        for case in self.cases.values():
            settling = sum(settles for _, settles in case.rulings.values())
            assert len(case.rulings) <= case.wanted + settling + case.late, "asked more people than wanted"

    def _every_acknowledged_ruling_is_in_the_table(self, session: Session) -> None:
        columns = (Ruling.submission_id, Ruling.id, Ruling.annotator_id, Ruling.case_id, Ruling.verdict)
        found = session.execute(sa.select(*columns).where(Ruling.verdict.is_not(None)))
        assert {tuple(row) for row in found} == {
            (made.sent.submission_id, made.id, who, made.sent.case_id, made.sent.verdict)
            for who, all_made in self.made.items()
            for made in all_made
        }

    def _current_are_the_rulings_that_nobody_took_back(self, session: Session) -> None:
        columns = (Ruling.case_id, Ruling.annotator_id, Ruling.verdict, Ruling.settles)
        found = session.execute(sa.select(*columns).where(is_current()))
        assert {tuple(row) for row in found} == {
            (case_id, who, *ruling)
            for case_id, case in self.cases.items()
            for who, ruling in case.rulings.items()
        }

    def _people_say_what_their_rulings_say(self, session: Session) -> None:
        found = session.execute(sa.select(Case.id, Kind.human, Kind.rulings).join(Kind))
        model = {(case_id, case.human, len(case.rulings)) for case_id, case in self.cases.items()}
        assert {tuple(row) for row in found} == model
        settled = {(row.case_id, row.verdict) for row in session.execute(rulings.settled_query())}
        assert settled == {(case_id, human) for case_id, human, _ in model if human in VERDICTS}

    def _in_the_queue_are_the_cases_that_want_a_person(self, session: Session) -> None:
        columns = (Queued.case_id, Bucket.why, Queued.rulings_wanted, Queued.annotator_id, Queued.lease_until)
        rows = session.execute(sa.select(*columns).join(Bucket)).all()
        wanting = {case_id: case.why for case_id, case in self.cases.items() if case.why}
        assert {row.case_id: row.why for row in rows if row.rulings_wanted} == wanting
        self._forget_ended_leases()
        held = {
            (case_id, case.holder, case.lease_until) for case_id, case in self.cases.items() if case.holder
        }
        leased = [
            row for row in rows if row.annotator_id and (row.rulings_wanted or row.lease_until > self.now)
        ]
        assert {(row.case_id, row.annotator_id, row.lease_until) for row in leased} == held

    def _asked_again_are_those_who_have_not_answered(self, session: Session) -> None:
        for who in self.held:
            found = [(one.ruling_id, one.case_id) for one in returns.returned(session, who)]
            assert len(found) == len(set(found))
            assert set(found) == {
                (made.id, case_id)
                for case_id, case in self.cases.items()
                if who in case.sent_back and not case.is_settled_by_adjudicator
                for made in self.made[who]
                if made.is_current and made.sent.case_id == case_id
            }

    # the model's own hands

    def _worths(self, session: Session, case_ids: Collection[int]) -> dict[int, float]:
        query = sa.select(Queued.case_id, Bucket.worth).join(Bucket).where(Queued.case_id.in_(case_ids))
        return {case_id: worth for case_id, worth in session.execute(query)}

    def _rule(self, who: int, new: NewRuling, settles: bool) -> None:
        with write_session(self.sessions) as session:
            made = rulings.rule(session, who, new, self.now)
            assert made.settles == settles
        self.made[who].append(Made(made.id, new))
        case = self.cases[new.case_id]
        case.rulings.pop(who, None)
        case.rulings[who] = (new.verdict, settles)
        case.sent_back.discard(who)
        if case.holder == who:
            self._free(new.case_id)

    def _is_refused(
        self, error: type[Exception] | tuple[type[Exception], ...], who: int, new: NewRuling
    ) -> None:
        with pytest.raises(error), write_session(self.sessions) as session:
            rulings.rule(session, who, new, self.now)

    def _undo(self, who: int, made: Made, ruling_id: int | None) -> None:
        with write_session(self.sessions) as session:
            withdrawal = rulings.undo(session, who, ruling_id, now=self.now)
        case_id = made.sent.case_id
        assert (withdrawal.case_id, withdrawal.verdict, withdrawal.supersedes_id) == (case_id, None, made.id)
        made.is_current, made.withdrawal = False, withdrawal.id
        case = self.cases[case_id]
        del case.rulings[who]
        case.sent_back.discard(who)
        if case.why and not (self._is_leased(case_id) and case.holder != who):
            self._hold(case_id, who)
            self.held[who].insert(0, case_id)
            self.screen[who] = [case_id, *(other for other in self.screen[who] if other != case_id)]

    def _hold(self, case_id: int, who: int) -> None:
        self._free(case_id)
        self.cases[case_id].holder = who
        self.cases[case_id].lease_until = self.now + LEASE

    def _free(self, case_id: int) -> None:
        self.cases[case_id].holder = None
        for held in self.held.values():
            if case_id in held:
                held.remove(case_id)

    def _forget_ended_leases(self) -> None:
        """Free the cases that want nobody: their reader may finish, but not come back to them later."""
        for case_id, case in self.cases.items():
            if not case.why and not self._is_leased(case_id):
                self._free(case_id)

    def _is_leased(self, case_id: int) -> bool:
        case = self.cases[case_id]
        return case.holder is not None and case.lease_until > self.now

    def _may_be_offered(self, case_id: int, who: int) -> bool:
        case = self.cases[case_id]
        return (
            case.why is not None
            and not self._is_leased(case_id)
            and case_id not in self.held[who]
            and who not in case.rulings
            and (who, case_id, self.now.date()) not in self.skipped
            and (case.human != HumanAnswer.SPLIT or _may_settle(who))
        )

    def _submission_id(self) -> str:
        self.submissions += 1
        return str(self.submissions)


def _may_settle(who: int) -> bool:
    return list(PEOPLE.values())[who - 1] != Role.ANNOTATOR


def _pairs(by_annotator: Mapping[int, Collection[T]]) -> list[tuple[int, T]]:
    return [(who, thing) for who, things in by_annotator.items() for thing in things]


def _chosen(things: Collection[T], pick: int) -> T:
    return list(things)[pick % len(things)]


@pytest.fixture
def new_desk(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> NewDesk:
    """Give a function that opens an empty desk, another one each time."""
    if kind == "sqlite":
        return _in_a_file(request.getfixturevalue("empty_file"), tmp_path / "desk.db")
    return _on_a_server(request.getfixturevalue("server"), request.getfixturevalue("empty_database"))


def _in_a_file(empty_file: Path, path: Path) -> NewDesk:
    engine = open_engine(sa.URL.create("sqlite", database=str(path)))  # one, so that it compiles but once

    @contextmanager
    def opened() -> Iterator[sessionmaker[Session]]:
        shutil.copy(empty_file, path)
        yield make_sessions(engine)
        engine.dispose()
        for left in path.parent.glob("desk.db*"):
            left.unlink()

    return opened


def _on_a_server(server: Server, empty_database: str) -> NewDesk:
    @contextmanager
    def opened() -> Iterator[sessionmaker[Session]]:
        url = server.new_database(template=empty_database)
        engine = open_engine(url)
        yield make_sessions(engine)
        engine.dispose()
        server.drop(url)

    return opened


def _try(new_desk: NewDesk, examples: int, steps: int, *, always_the_same: bool) -> None:
    desk = type("NewDeskEachTime", (Desk,), {"new_desk": staticmethod(new_desk)})
    run_state_machine_as_test(
        desk,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=always_the_same,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_queue_does_what_its_model_does_whatever_people_do(new_desk: NewDesk, kind: str) -> None:
    _try(new_desk, examples=35 if kind == "sqlite" else 6, steps=50, always_the_same=True)


@pytest.mark.soak
def test_the_queue_does_what_its_model_does_for_a_long_time(new_desk: NewDesk) -> None:
    _try(new_desk, examples=500, steps=100, always_the_same=False)
