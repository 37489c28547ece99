"""Browse some hundred cases, held against a plain filter over what was put on the desk."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from random import Random
from typing import Any, Final

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from db.browse import EFFORT, Count, Effort, Wanted, count, page, sources
from db.cases import NewCase, NewImage, NewOpinion, add_cases
from db.engine import write_session
from db.models import Case
from db.rulings import NewRuling, ensure_annotator, rule, undo
from db.vocabulary import Answer, CaseState, Role, Split, Verdict

BEGAN: Final = datetime(2026, 3, 1, 9, tzinfo=UTC)
IN, OUT = Verdict.IN_CONTEXT, Verdict.OUT_OF_CONTEXT
TEACHERS: Final = ("Aspen", "Birch", "Cedar")
PLACES: Final = ("Norvik", "Halden", "São Paulo 2", "北京")
SOURCES: Final = ("coastal-post.example", "evening.example", None)
CAPTIONS: Final = (
    "Flood water covers the market square",
    "Waterloo station after the flood",
    "Fans wait at the harbour, near the old mill",
    'A banner reads "NOT here" OR there',
    "洪水淹没了市场广场",
    "水洪 is not the word for it",
    "The mayor's speech, 12 March 2021",
)
SEARCHES: Final = {
    "FLOOD": ["flood"],
    "water": ["water"],  # Waterloo, too: the last word may go on
    "water market": ["water", "market"],
    "market water": ["market", "water"],
    '"market square"': ["market square"],
    '"square market"': ["square market"],
    '"water covers" norvik': ["water covers", "norvik"],
    '"after the': ["after the"],  # a quotation that is still being typed
    "洪水": ["洪 水"],
    "水洪": ["水 洪"],
    "市场广场 北京": ["市 场 广 场", "北 京"],
    "mayor's speech": ["mayor s", "speech"],
    "sao": ["sao"],  # São, without its accent
    "SÃO": ["sao"],
    "evening.example": ["evening example"],
    "example": ["example"],
    "nowhere": ["nowhere"],
    "NOT": ["not"],
    "OR there": ["or", "there"],
    "near": ["near"],
    "after AND the": ["after", "and", "the"],
}
WORDLESS: Final = ("", "   ", '"', '""', "*", "()", "-", "' \\", "\x00", "\u200b", "^:+", "🌊")
HOSTILE: Final = (
    "flood*", "NEAR(", "NEAR(flood water, 3)", "flood OR NOT water", "words : flood", "{a b}:c", "^flood",
    "flood -water", "flood + ", "a:*", "!flood & | <-> water", "'; DROP TABLE cases; --", "%_\\", "_",
    "flood _", "_ flood", "\ud800", "\x00flood", "'" * 50, '"' * 51, "(" * 500,
    "word " * 500, "ﬀ ² ٣ क्षि e\u0301",
    "\u202eflood", "🌊 flood", "x" * 5_000, "\u1100" * 300,
)  # fmt: skip
HARD: Final = Effort(at_once=25, looked_at=10_000, counted=10_000, few=0)  # never the kinds, many rounds
ALIKE: Final = (EFFORT, HARD)


@dataclass
class Fact:
    """A case as it was put on the desk, and what people said of it since."""

    id: int
    new: NewCase
    came: datetime
    says: dict[int, tuple[Answer, bool]] = field(default_factory=dict)  # by annotator: answer, flagged

    @property
    def answers(self) -> dict[str, Answer]:
        return {opinion.teacher: opinion.verdict for opinion in self.new.opinions}

    @property
    def settled_as(self) -> Answer | None:
        said = {answer for answer, _ in self.says.values()}
        return said.pop() if len(said) == 1 and Answer.UNSURE not in said else None

    @property
    def agreed_on(self) -> Answer | None:
        said = set(self.answers.values())
        return said.pop() if len(said) == 1 and Answer.UNSURE not in said else None

    @property
    def state(self) -> CaseState:
        if self.says:
            if self.settled_as:
                return CaseState.SETTLED
            return (
                CaseState.SPLIT if len({one for one, _ in self.says.values()}) > 1 else CaseState.CANNOT_TELL
            )
        if self.agreed_on:
            return CaseState.AGREED
        if not self.answers:
            return CaseState.NO_OPINION
        verdicts = set(self.answers.values()) - {Answer.UNSURE}
        return CaseState.CONFLICT if verdicts else CaseState.NO_VERDICT

    @property
    def words(self) -> list[str]:
        texts = (self.new.caption, self.new.place, self.new.source)
        joined = " ".join(text for text in texts if text).lower().replace("ã", "a")
        return re.findall(r"[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+", joined)

    def has(self, *phrases: str) -> bool:
        """Whether all these phrases are in its texts; the last word of the last may go on."""
        return all(
            self._has(phrase.split(), place == len(phrases)) for place, phrase in enumerate(phrases, 1)
        )

    def _has(self, phrase: list[str], is_last: bool) -> bool:
        length = len(phrase)
        for start in range(len(self.words) - length + 1):
            here = self.words[start : start + length]
            may_go_on = is_last and (len(phrase[-1]) > 2 or not phrase[-1].isascii())
            if here == phrase or (may_go_on and [*here[:-1], here[-1][: len(phrase[-1])]] == phrase):
                return True
        return False


@dataclass
class Known:
    """The desk, and the model of it."""

    sessions: sessionmaker[Session]
    facts: list[Fact]
    maria: int
    tom: int

    def ids(self, wanted: Wanted, *phrases: str) -> list[int]:
        """The cases that a plain filter finds, the newest first."""
        return [fact.id for fact in reversed(self.facts) if passes(fact, wanted) and fact.has(*phrases)]


def passes(fact: Fact, wanted: Wanted) -> bool:
    """Hold one case against every filter but the text."""
    answers = fact.answers
    asked = answers.values() if wanted.teacher is None else [answers.get(wanted.teacher)]
    ruled = fact.says.get(wanted.annotator_id or 0)
    return all(
        (
            wanted.state in (None, fact.state),
            wanted.verdict is None or wanted.verdict.value == (fact.settled_as or fact.agreed_on),
            wanted.gold in (None, fact.new.gold),
            wanted.split in (None, fact.new.split),
            wanted.has_image in (None, fact.new.image is not None),
            wanted.teacher is None or wanted.teacher in answers,
            wanted.says is None or wanted.says in asked,
            wanted.source in (None, fact.new.source),
            wanted.annotator_id is None or ruled is not None,
            not wanted.is_flagged or any(flagged for _, flagged in fact.says.values()),
            wanted.since is None or fact.came >= wanted.since,
            wanted.until is None or fact.came < wanted.until,
        )
    )


@pytest.fixture
def known(sessions: sessionmaker[Session]) -> Known:
    """Give 280 cases that came over seven days, and seventy rulings on them, some taken back."""
    random = Random(4)
    facts: list[Fact] = []
    for day in range(7):
        came = BEGAN + timedelta(days=day)
        new = [new_case(random, 40 * day + number) for number in range(40)]
        with write_session(sessions) as session:
            add_cases(session, "test", new, now=came)
            rows = session.execute(sa.select(Case.external_id, Case.id))
            ids = {name: case_id for name, case_id in rows}
        facts += [Fact(ids[one.external_id], one, came) for one in new]
    with write_session(sessions) as session:
        maria = ensure_annotator(session, "maria", Role.ANNOTATOR)
        tom = ensure_annotator(session, "tom", Role.ANNOTATOR)
    training = [fact for fact in facts if fact.new.split == Split.TRAIN]
    with write_session(sessions) as session:
        for number, fact in enumerate(random.sample(training, 50)):
            for annotator_id in (maria, tom)[: random.choice((1, 1, 2))]:
                say(session, fact, annotator_id, random, number)
    return Known(sessions, facts, maria, tom)


def new_case(random: Random, number: int) -> NewCase:
    """Draw a case."""
    image = NewImage(f"{number:064x}", "PNG", 64, 48, 100) if random.random() < 0.8 else None
    said = [random.choice(list(Answer))] * 3 if random.random() < 0.4 else random.choices(list(Answer), k=3)
    opinions = tuple(
        NewOpinion(teacher, answer)
        for teacher, answer in zip(TEACHERS, said, strict=True)
        if random.random() < 0.85
    )
    return NewCase(
        f"case-{number}",
        random.choice(CAPTIONS),
        image,
        gold=random.choice((IN, OUT, None)),
        split=random.choices(list(Split), (8, 1, 1))[0],
        source=random.choice(SOURCES),
        place=random.choice(PLACES),
        opinions=opinions if random.random() < 0.9 else (),
    )


def say(session: Session, fact: Fact, annotator_id: int, random: Random, number: int) -> None:
    """Rule on a case; one ruling in five is corrected, another one in five withdrawn."""
    answer, flagged = random.choice(list(Answer)), random.random() < 0.3
    name = f"{number}-{annotator_id}"
    first = rule(session, annotator_id, NewRuling(name, fact.id, answer, flagged=flagged), BEGAN)
    fact.says[annotator_id] = (answer, flagged)
    if number % 5 == 1:
        correction = NewRuling(f"{name}-again", fact.id, Answer.UNSURE, corrects=first.id)
        rule(session, annotator_id, correction, BEGAN)
        fact.says[annotator_id] = (Answer.UNSURE, False)
    if number % 5 == 2:
        undo(session, annotator_id, first.id, now=BEGAN)
        del fact.says[annotator_id]


def pages(
    session: Session, wanted: Wanted, limit: int = 24, effort: Effort = EFFORT, most: int = 1_000
) -> Iterator[list[int]]:
    """Go from the newest page to the oldest."""
    cursor = None
    for _ in range(most):
        found = page(session, wanted, cursor, limit=limit, effort=effort)
        assert found.is_cut or found.older is None or len(found.rows) == limit
        yield [row.id for row in found.rows]
        if found.older is None:
            return
        cursor = found.older
    raise AssertionError("the pages do not end")


def found_ids(session: Session, wanted: Wanted, effort: Effort = EFFORT) -> list[int]:
    return [case_id for one in pages(session, wanted, 100, effort) for case_id in one]


def filters(known: Known) -> list[dict[str, Any]]:
    """Every filter, with a value that lets some through."""
    return [
        *({"state": state} for state in CaseState),
        {"verdict": OUT},
        {"gold": IN},
        {"split": Split.TRAIN},
        {"split": Split.TEST},
        {"has_image": True},
        {"has_image": False},
        {"teacher": "Birch"},
        {"says": Answer.UNSURE},
        {"source": "evening.example"},
        {"annotator_id": known.maria},
        {"is_flagged": True},
        {"text": "flood"},
        {"since": BEGAN + timedelta(days=2)},
        {"until": BEGAN + timedelta(days=4, hours=1)},
    ]


@pytest.mark.parametrize("effort", ALIKE, ids=["as it is", "many rounds"])
def test_every_filter_alone_and_in_pairs_finds_what_a_plain_filter_finds(
    known: Known, effort: Effort
) -> None:
    alone = filters(known)
    pairs = [{**one, **other} for one, other in combinations(alone, 2) if not one.keys() & other.keys()]
    found_some = 0
    with known.sessions() as session:
        for given in [{}, *alone, *pairs]:
            wanted = Wanted(**given)
            expected = known.ids(wanted, *([wanted.text] if wanted.text else []))
            assert found_ids(session, wanted, effort) == expected, given
            assert count(session, wanted, effort=effort) == Count(len(expected)), given
            found_some += bool(expected)
    assert found_some > len(pairs) / 2


@pytest.mark.parametrize("effort", ALIKE, ids=["as it is", "many rounds"])
def test_three_filters_at_once_narrow_further(known: Known, effort: Effort) -> None:
    said = {"teacher": "Birch", "says": Answer.IN_CONTEXT, "gold": OUT, "source": "coastal-post.example"}
    wanted = Wanted(**said, since=BEGAN + timedelta(days=1), until=BEGAN + timedelta(days=6))  # type: ignore[arg-type]
    expected = known.ids(wanted)
    assert 0 < len(expected) < 40
    with known.sessions() as session:
        assert found_ids(session, wanted, effort) == expected


@pytest.mark.parametrize("limit", [1, 7, 24, 300])
def test_paging_forth_and_back_gives_each_case_once(known: Known, limit: int) -> None:
    wanted = Wanted(gold=IN, has_image=True)
    with known.sessions() as session:
        forth = list(pages(session, wanted, limit))
        assert [case_id for one in forth for case_id in one] == known.ids(wanted)
        assert len(forth) < 3 or len(forth[0]) == limit
        at = forth[-1][0]
        for one in forth[-2::-1]:
            back = page(session, wanted, at, newer=True, limit=limit)
            assert [row.id for row in back.rows] == one
            at = back.newer or 0
        assert page(session, wanted, forth[0][0], newer=True, limit=limit).rows == ()


def test_a_case_that_comes_while_somebody_pages_moves_nothing(known: Known) -> None:
    with known.sessions() as session:
        first = page(session, Wanted())
    with write_session(known.sessions) as session:
        add_cases(session, "test", [NewCase("late", "A late one")], now=BEGAN + timedelta(days=9))
    with known.sessions() as session:
        second = page(session, Wanted(), first.older)
        assert [row.id for row in (*first.rows, *second.rows)] == known.ids(Wanted())[:48]
        again = page(session, Wanted(), second.newer, newer=True)
        assert [row.id for row in again.rows] == [row.id for row in first.rows]
        assert [row.caption for row in page(session, Wanted(), again.newer, newer=True).rows] == [
            "A late one"
        ]


def test_beyond_the_last_page_the_way_back_has_the_last_case_too(known: Known) -> None:
    ids = known.ids(Wanted())
    with known.sessions() as session:
        beyond = page(session, Wanted(), ids[-1])
        assert (beyond.rows, beyond.older) == ((), None)
        assert page(session, Wanted(), beyond.newer, newer=True, limit=1).rows[0].id == ids[-1]
        before = page(session, Wanted(), ids[0], newer=True)
        assert (before.rows, before.newer) == ((), None)
        assert page(session, Wanted(), before.older, limit=1).rows[0].id == ids[0]


@pytest.mark.parametrize("newer", [False, True], ids=["older", "newer"])
def test_a_search_that_is_cut_says_so_and_goes_on_to_the_same_cases(known: Known, newer: bool) -> None:
    wanted = Wanted(text="flood", gold=IN, has_image=False)
    short = Effort(at_once=5, looked_at=15, few=0)
    cursor: int | None = 0 if newer else None
    found: list[int] = []
    cuts = 0
    with known.sessions() as session:
        for _ in range(100):
            one = page(session, wanted, cursor, newer=newer, limit=3, effort=short)
            found += [row.id for row in (reversed(one.rows) if newer else one.rows)]
            cuts += one.is_cut
            cursor = one.newer if newer else one.older
            if cursor is None:
                break
    expected = known.ids(wanted, "flood")
    assert found == (expected[::-1] if newer else expected)
    assert cuts > 2


def test_a_count_that_would_take_too_long_says_at_least(known: Known) -> None:
    few = Effort(at_once=10, counted=30, few=0)
    with known.sessions() as session:
        assert count(session, Wanted(text="flood"), effort=few) == Count(30, is_least=True)
        assert count(session, Wanted(has_image=True), effort=few) == Count(
            len(known.ids(Wanted(has_image=True)))
        )
        cut = count(
            session, Wanted(text="flood", is_flagged=True), effort=replace(few, looked_at=10, at_once=2)
        )
        assert cut.is_least


def test_sources_come_with_how_many_cases_they_have(known: Known) -> None:
    with known.sessions() as session:
        found = sources(session)
        assert found == [(name, len(known.ids(Wanted(source=name)))) for name, _ in found]
        assert {name for name, _ in found} == {name for name in SOURCES if name}
        assert count(session, Wanted(source="nobody.example")) == Count(0)


def test_a_search_finds_the_cases_with_its_words(known: Known) -> None:
    with known.sessions() as session:
        for search, phrases in SEARCHES.items():
            expected = known.ids(Wanted(), *phrases)
            assert (0 < len(expected) < 250) or search in ('"square market"', "nowhere", "after AND the")
            for effort in ALIKE:
                assert found_ids(session, Wanted(text=search), effort) == expected, search


def test_a_search_without_a_word_finds_every_case(known: Known) -> None:
    with known.sessions() as session:
        for search in WORDLESS:
            assert found_ids(session, Wanted(text=search)) == known.ids(Wanted()), search
            assert count(session, Wanted(text=search)) == Count(len(known.facts)), search


def test_no_search_is_a_command_to_the_index(known: Known) -> None:
    with known.sessions() as session:
        for search in HOSTILE:
            for effort in ALIKE:
                found = found_ids(session, Wanted(text=search), effort)
                assert len(found) == len(set(found)) <= len(known.facts), search
        assert session.scalar(sa.select(sa.func.count()).select_from(Case)) == len(known.facts)


def test_a_case_is_listed_with_where_it_stands(known: Known) -> None:
    with known.sessions() as session:
        rows = page(session, Wanted(), limit=300).rows
    by_id = {fact.id: fact for fact in known.facts}
    for row in rows:
        fact = by_id[row.id]
        assert (row.external_id, row.caption, row.place) == (
            fact.new.external_id,
            fact.new.caption,
            fact.new.place,
        )
        assert (row.traits.state, row.traits.settled_as) == (fact.state, fact.settled_as)
        assert sorted(row.traits.answers.values()) == sorted(fact.answers.values())
        assert row.created_at == fact.came


@pytest.mark.parametrize("cursor", [-5, 0, 2**31 - 1, 2**31 - 2])
def test_a_cursor_from_anywhere_is_just_a_place_to_look_from(known: Known, cursor: int) -> None:
    ids = known.ids(Wanted())
    with known.sessions() as session:
        older, newer = page(session, Wanted(), cursor), page(session, Wanted(), cursor, newer=True)
        assert [row.id for row in older.rows] == [one for one in ids if one < cursor][:24]
        assert [row.id for row in newer.rows] == [one for one in ids if one > cursor][-24:]


def test_an_empty_desk_has_an_empty_page(sessions: sessionmaker[Session]) -> None:
    with sessions() as session:
        found = page(session, Wanted(text="flood", since=BEGAN))
        assert (found.rows, found.older, found.newer, found.is_cut) == ((), None, None, False)
        assert count(session, Wanted()) == Count(0)
        assert sources(session) == []
