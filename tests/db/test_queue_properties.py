"""Whatever people and imports do, in any order: the queue does what a model of one page does."""

import hashlib
import itertools
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
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

from db import audits, queue, rulings
from db.cases import NewCase, NewImage, NewOpinion, add_cases
from db.derived import check
from db.derived_tables import Bucket, Kind, Queued
from db.engine import make_sessions, open_engine, write_session
from db.models import Case, Ruling, is_current
from db.rulings import AlreadyRuledError, NewRuling, NothingToUndoError, ensure_annotator
from db.vocabulary import LEASE, UNDOABLE_RULINGS, Answer, HumanAnswer, Role, Split, Verdict
from db.worth import Order, change_order

T = TypeVar("T")
NewDesk = Callable[[], AbstractContextManager[sessionmaker[Session]]]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PEOPLE = {"maria": Role.ANNOTATOR, "tom": Role.ANNOTATOR, "ada": Role.ADJUDICATOR, "eva": Role.EDITOR}
HALF_TWICE = Order(second_opinions=0.5)  # half of the cases are for two people
ANSWERS = {"i": Answer.IN_CONTEXT, "o": Answer.OUT_OF_CONTEXT, "u": Answer.UNSURE}

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
    rulings: dict[int, tuple[Answer, bool]] = field(default_factory=dict)  # by annotator: answer, settles
    holder: int | None = None
    lease_until: datetime = NOON
    late: int = 0  # rulings that came without a lease

    @property
    def human(self) -> HumanAnswer:
        """What people together say: the last adjudicator's answer, or else what all of them answer."""
        settling = [answer for answer, settles in self.rulings.values() if settles]
        said = set(settling[-1:]) or {answer for answer, _ in self.rulings.values()}
        if not said:
            return HumanAnswer.NONE
        return HumanAnswer(said.pop()) if len(said) == 1 else HumanAnswer.SPLIT

    @property
    def is_agreed(self) -> bool:
        """Whether its teachers all give one verdict."""
        return set(self.opinions.values()) in ({"i"}, {"o"})

    @property
    def wants_a_person(self) -> bool:
        """Whether it belongs into the queue."""
        if not (self.is_trained_on and self.has_image):
            return False
        if self.human == HumanAnswer.SPLIT:
            return True
        is_asked = bool(self.opinions) and not self.is_agreed
        is_settled = any(settles for _, settles in self.rulings.values())
        return (is_asked or self.is_audited) and len(self.rulings) < self.wanted and not is_settled


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
            change_order(session, HALF_TWICE, None, self.now)

    def teardown(self) -> None:
        if hasattr(self, "opened"):
            self.opened.__exit__(None, None, None)

    # what imports and editors do

    @rule(
        opinions=st.sampled_from(["io", "oi", "iio", "iou", "uu", "ii", "oo", "u", ""]),
        has_image=st.sampled_from([True, True, True, False]),
        split=st.sampled_from([Split.TRAIN, Split.TRAIN, Split.TRAIN, Split.TEST]),
    )
    def import_a_case(self, opinions: str, has_image: bool, split: Split) -> None:
        name = f"case {len(self.cases) + 1}"
        said = dict(zip("ABC", opinions, strict=False))
        self._import(name, split, has_image, said)
        with self.sessions() as session:
            case_id = session.scalars(sa.select(Case.id).where(Case.external_id == name)).one()
        wanted = HALF_TWICE.rulings_wanted(case_id)
        self.cases[case_id] = ModelCase(name, split == Split.TRAIN, has_image, wanted, said)

    @precondition(lambda self: self.cases)
    @rule(pick=picks, teacher=st.sampled_from("ABC"), letter=st.sampled_from("iou"))
    def import_it_again_with_an_opinion(self, pick: int, teacher: str, letter: str) -> None:
        case = self.cases[_chosen(self.cases, pick)]
        split = Split.TRAIN if case.is_trained_on else Split.TEST
        self._import(case.name, split, True, {teacher: letter})
        case.opinions[teacher] = letter
        case.has_image = True

    def _import(self, name: str, split: Split, has_image: bool, said: dict[str, str]) -> None:
        image = NewImage(hashlib.sha256(name.encode()).hexdigest(), "PNG", 8, 8, 8) if has_image else None
        opinions = tuple(NewOpinion(teacher, ANSWERS[letter]) for teacher, letter in said.items())
        record = NewCase(name, f"Caption of {name}.", image, split=split, opinions=opinions)
        with write_session(self.sessions) as session:
            add_cases(session, "test", [record], now=self.now)

    @rule(number=st.integers(1, 3), seed=st.integers(0, 9))
    def draw_an_audit(self, number: int, seed: int) -> None:
        with write_session(self.sessions) as session:
            drawn = audits.draw(session, number, self.now, seed=seed)
            audited = set(session.scalars(sa.select(audits.Audit.case_id)))
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

    @rule(minutes=st.sampled_from([1, 4, 11, 60, 13 * 60]))
    def wait(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    # what people do

    @rule(who=people, count=st.integers(1, 3), is_audit_turn=st.booleans())
    def claim(self, who: int, count: int, is_audit_turn: bool) -> None:
        self._forget_ended_leases()
        kept, freed = self.held[who][:count], self.held[who][count:]
        free = {case_id for case_id in self.cases if self._may_be_offered(case_id, who)}
        with write_session(self.sessions) as session:
            got = queue.claim(session, who, self.now, count=count, is_audit_turn=is_audit_turn)
        assert got[: len(kept)] == kept, "the holder gets the same cases back, in their order"
        new = got[len(kept) :]
        assert len(set(new)) == len(new)
        assert set(new) <= free, "nobody is offered what they may not have"
        assert len(new) == min(count - len(kept), len(free)), "nobody goes without while there is a case"
        for case_id in freed:
            self._free(case_id)
        for case_id in got:
            self._hold(case_id, who)
        self.held[who] = got
        self.screen[who] = got

    @precondition(lambda self: any(self.screen.values()))
    @rule(who=people, pick=picks, answer=answers, rationale=st.sampled_from([None, "I was there."]))
    def rule_on_what_the_page_shows(self, who: int, pick: int, answer: Answer, rationale: str | None) -> None:
        if not self.screen[who]:
            return
        case_id = _chosen(self.screen[who], pick)
        self.screen[who] = [other for other in self.screen[who] if other != case_id]
        new = NewRuling(self._submission_id(), case_id, answer, rationale=rationale, seconds=5.0)
        if who in self.cases[case_id].rulings:
            self._is_refused(AlreadyRuledError, who, new)
            return
        case = self.cases[case_id]
        case.late += not self._holds(who, case_id)
        settles = case.human == HumanAnswer.SPLIT and self._settles(who)
        self._rule(who, new, settles)

    @rule(who=people, pick=picks, answer=answers)
    def rule_again_from_another_tab(self, who: int, pick: int, answer: Answer) -> None:
        if current := [made for made in self.made[who] if made.is_current]:
            case_id = _chosen(current, pick).sent.case_id
            self._is_refused(AlreadyRuledError, who, NewRuling(self._submission_id(), case_id, answer))

    @rule(who=people, pick=picks)
    def send_a_ruling_again(self, who: int, pick: int) -> None:
        if self.made[who]:
            made = _chosen(self.made[who], pick)
            with write_session(self.sessions) as session:
                assert rulings.rule(session, who, made.sent, self.now).id == made.id

    @rule(who=people, pick=picks, answer=answers)
    def correct(self, who: int, pick: int, answer: Answer) -> None:
        if current := [made for made in self.made[who] if made.is_current]:
            made = _chosen(current, pick)
            case = self.cases[made.sent.case_id]
            _, settled = case.rulings[who]
            settles = self._settles(who) and (settled or case.human == HumanAnswer.SPLIT)
            made.is_current = False
            self._rule(
                who, NewRuling(self._submission_id(), made.sent.case_id, answer, corrects=made.id), settles
            )

    @rule(who=people)
    def undo(self, who: int) -> None:
        current = [made for made in self.made[who][-UNDOABLE_RULINGS:] if made.is_current]
        if not current:
            with pytest.raises(NothingToUndoError), write_session(self.sessions) as session:
                rulings.undo(session, who, now=self.now)
            return
        self._undo(who, current[-1], None)

    @rule(who=people, pick=picks)
    def undo_a_certain_one(self, who: int, pick: int) -> None:
        if not self.made[who]:
            return
        made = _chosen(self.made[who], pick)
        if made.withdrawal is not None and made in self.made[who][-UNDOABLE_RULINGS:]:
            with write_session(self.sessions) as session:
                assert rulings.undo(session, who, made.id, now=self.now).id == made.withdrawal
        elif made.is_current and made in self.made[who][-UNDOABLE_RULINGS:]:
            self._undo(who, made, made.id)
        else:
            with pytest.raises(NothingToUndoError), write_session(self.sessions) as session:
                rulings.undo(session, who, made.id, now=self.now)

    @rule(who=people, pick=picks)
    def skip(self, who: int, pick: int) -> None:
        if not self.screen[who]:
            return
        case_id = _chosen(self.screen[who], pick)
        with write_session(self.sessions) as session:
            queue.skip(session, who, case_id, self.now)
        self.skipped.add((who, case_id, self.now.date()))
        self.screen[who] = [other for other in self.screen[who] if other != case_id]
        if self.cases[case_id].holder == who:
            self._free(case_id)

    @rule(who=people)
    def sign_out(self, who: int) -> None:
        with write_session(self.sessions) as session:
            queue.release(session, who)
        for case_id in list(self.held[who]):
            self._free(case_id)
        self.screen[who] = []

    # what holds at all times

    @invariant()
    def every_acknowledged_ruling_is_in_the_table(self) -> None:
        query = sa.select(
            Ruling.submission_id, Ruling.id, Ruling.annotator_id, Ruling.case_id, Ruling.verdict
        )
        with self.sessions() as session:
            found = {tuple(row) for row in session.execute(query.where(Ruling.verdict.is_not(None)))}
        assert found == {
            (made.sent.submission_id, made.id, who, made.sent.case_id, made.sent.verdict)
            for who, all_made in self.made.items()
            for made in all_made
        }

    @invariant()
    def current_are_the_rulings_that_nobody_took_back_and_not_more_than_wanted(self) -> None:
        query = sa.select(Ruling.case_id, Ruling.annotator_id, Ruling.verdict, Ruling.settles)
        with self.sessions() as session:
            found = {tuple(row) for row in session.execute(query.where(is_current()))}
        assert found == {
            (case_id, who, *ruling)
            for case_id, case in self.cases.items()
            for who, ruling in case.rulings.items()
        }
        for case in self.cases.values():
            settling = sum(settles for _, settles in case.rulings.values())
            assert len(case.rulings) <= case.wanted + settling + case.late

    @invariant()
    def what_people_say_is_what_their_rulings_say(self) -> None:
        with self.sessions() as session:
            rows = session.execute(sa.select(Case.id, Kind.human, Kind.rulings).join(Kind)).all()
            settled = session.execute(rulings.settled_query()).all()
        model = {(case_id, case.human, len(case.rulings)) for case_id, case in self.cases.items()}
        assert {tuple(row) for row in rows} == model
        assert {(row.case_id, row.verdict) for row in settled} == {
            (case_id, human) for case_id, human, _ in model if human in tuple(Verdict)
        }

    @invariant()
    def in_the_queue_are_the_cases_that_want_a_person(self) -> None:
        with self.sessions() as session:
            rows = session.execute(
                sa.select(Queued.case_id, Queued.annotator_id, Queued.lease_until, Bucket.why).join(Bucket)
            ).all()
        live = {row.case_id for row in rows if row.lease_until and row.lease_until > self.now}
        wanting = {case_id for case_id, case in self.cases.items() if case.wants_a_person}
        assert {row.case_id for row in rows} - live == wanting - live
        assert live == {case_id for case_id in self.cases if self._is_leased(case_id)}
        assert {row.case_id: row.annotator_id for row in rows if row.case_id in live} == {
            case_id: self.cases[case_id].holder for case_id in live
        }

    @invariant()
    def what_is_derived_is_what_a_recount_gives(self) -> None:
        with self.sessions() as session:
            assert check(session) == []

    # the model's own hands

    def _rule(self, who: int, new: NewRuling, settles: bool) -> None:
        with write_session(self.sessions) as session:
            made = rulings.rule(session, who, new, self.now)
            assert made.settles == settles
        self.made[who].append(Made(made.id, new))
        case = self.cases[new.case_id]
        case.rulings.pop(who, None)
        case.rulings[who] = (new.verdict, settles)
        if case.holder == who:
            self._free(new.case_id)

    def _is_refused(self, error: type[Exception], who: int, new: NewRuling) -> None:
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
        if case.wants_a_person and not (self._is_leased(case_id) and case.holder != who):
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
        """Free what nobody reads any more and nobody needs to read."""
        for case_id, case in self.cases.items():
            if not case.wants_a_person and not self._is_leased(case_id):
                self._free(case_id)

    def _is_leased(self, case_id: int) -> bool:
        case = self.cases[case_id]
        return case.holder is not None and case.lease_until > self.now

    def _may_be_offered(self, case_id: int, who: int) -> bool:
        case = self.cases[case_id]
        return (
            case.wants_a_person
            and not self._is_leased(case_id)
            and case_id not in self.held[who]
            and who not in case.rulings
            and (who, case_id, self.now.date()) not in self.skipped
            and (case.human != HumanAnswer.SPLIT or self._settles(who))
        )

    def _settles(self, who: int) -> bool:
        return list(PEOPLE.values())[who - 1] != Role.ANNOTATOR

    def _submission_id(self) -> str:
        self.submissions += 1
        return str(self.submissions)


def _chosen(things: Collection[T], pick: int) -> T:
    return list(things)[pick % len(things)]


@pytest.fixture
def new_desk(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> NewDesk:
    """Give a function that opens an empty desk, another one each time."""
    numbers = itertools.count()
    given = request.getfixturevalue("empty_file" if kind == "sqlite" else "empty_database")
    server = None if kind == "sqlite" else request.getfixturevalue("server")

    @contextmanager
    def opened() -> Iterator[sessionmaker[Session]]:
        if server:
            url = server.new_database(template=given)
        else:
            path = shutil.copy(given, tmp_path / f"{next(numbers)}.db")
            url = sa.URL.create("sqlite", database=str(path))
        engine = open_engine(url)
        yield make_sessions(engine)
        engine.dispose()
        if server:
            server.drop(url)

    return opened


def _try(new_desk: NewDesk, examples: int, steps: int) -> None:
    desk = type("NewDeskEachTime", (Desk,), {"new_desk": staticmethod(new_desk)})
    run_state_machine_as_test(
        desk,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_queue_does_what_its_model_does_whatever_people_do(new_desk: NewDesk, kind: str) -> None:
    _try(new_desk, examples=30 if kind == "sqlite" else 6, steps=40)


@pytest.mark.soak
def test_the_queue_does_what_its_model_does_for_a_long_time(new_desk: NewDesk) -> None:
    _try(new_desk, examples=500, steps=100)
