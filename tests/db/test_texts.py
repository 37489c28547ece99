import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from db.browse import Wanted, page
from db.cases import NewCase, add_cases
from db.engine import write_session

CAPTIONS = [
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
        add_cases(session, "test", [NewCase(str(number), text) for number, text in enumerate(CAPTIONS)])
    with sessions() as session:
        assert [one.id for one in page(session, Wanted(text=search)).rows] == found
        assert session.scalar(sa.select(1)) == 1
