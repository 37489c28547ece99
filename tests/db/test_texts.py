import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from db import texts
from db.browse import Wanted, page
from db.cases import NewCase, add_cases
from db.engine import write_session

CAPTIONS = (
    "Flood water covers the market square of Norvik.",
    "Überschwemmung in Köln: das Café am Rhein",
    "北京遭遇洪水、街道被淹没",
    "שיטפון בחיפה",
    "Наводнение в Норвике",
    "A market in Halden, no flood",
)


@pytest.fixture
def desk(sessions: sessionmaker[Session]) -> sessionmaker[Session]:
    """Give a desk with a few captions in several scripts; the first has a place and a source."""
    first = NewCase("0", CAPTIONS[0], source="coastal-post", place="Nørreport")
    rest = [NewCase(str(number), caption) for number, caption in enumerate(CAPTIONS[1:], 1)]
    with write_session(sessions) as session:
        add_cases(session, "test", [first, *rest])
    return sessions


def _found(sessions: sessionmaker[Session], search: str) -> list[int]:
    with sessions() as session:
        matches = texts.matches(session, search)
        assert matches is not None
        query, case_id = matches
        return list(session.scalars(query.order_by(case_id)))


@pytest.mark.parametrize(
    ("search", "cases"),
    [
        ("flood", [1, 6]),
        ("FLOOD market", [1, 6]),
        ('"market square"', [1]),
        ("norv", [1]),
        ("mark flo", []),  # only the last word may be the beginning of one
        ("市", []),
        ("洪水", [3]),
        ("水洪", []),
        ("北京 洪", [3]),
        ("שיטפון", [4]),
        ("наводнение", [5]),
        ("coastal-post", [1]),
    ],
)
def test_words_phrases_and_beginnings_are_found_in_any_script(
    desk: sessionmaker[Session], search: str, cases: list[int]
) -> None:
    assert _found(desk, search) == cases


@pytest.mark.parametrize(
    "hostile",
    ['"', '"""', "flood OR", "NEAR(flood, 2)", "words:flood", "flood*", "-flood", "'; DROP TABLE cases; --"],
)
def test_a_search_is_never_syntax(desk: sessionmaker[Session], hostile: str) -> None:
    with desk() as session:
        matches = texts.matches(session, hostile)
        if matches is not None:
            session.scalars(matches[0]).all()


@pytest.mark.parametrize("empty", ["", "   ", "!?", '""', "\x00"])
def test_a_search_without_a_word_is_none(desk: sessionmaker[Session], empty: str) -> None:
    with desk() as session:
        assert texts.matches(session, empty) is None


def test_a_source_that_comes_later_is_found_and_the_rest_still_is(desk: sessionmaker[Session]) -> None:
    with write_session(desk) as session:
        add_cases(session, "test", [NewCase("5", CAPTIONS[5], source="Harbour Herald")])
    assert _found(desk, "herald") == [6]
    assert _found(desk, "halden") == [6]
    with desk() as session:
        assert texts.indexed(session) == len(CAPTIONS)


FOLDED = [
    "Une École près du café",
    "flood_in_the_city of Москва",
    "see www.evening.example/flood, 1e5 people",
]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("ecole", [1]),
        ("ÉCOLE cafe", [1]),
        ("cafés", []),
        ("flood city", [2]),
        ("москва", [2]),
        ("flood", [3, 2]),
        ("evening flood", [3]),
        ("1e5", [3]),
        ("x" * 9_000, []),
        ("洪" * 9_000, []),
    ],
    ids=lambda value: str(value)[:20],
)
def test_both_databases_find_the_same(sessions: sessionmaker[Session], search: str, found: list[int]) -> None:
    with write_session(sessions) as session:
        add_cases(session, "test", [NewCase(str(number), text) for number, text in enumerate(FOLDED)])
    with sessions() as session:
        assert [one.id for one in page(session, Wanted(text=search)).rows] == found
        assert session.scalar(sa.select(1)) == 1
