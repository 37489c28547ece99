"""Real things made small: a desk's database, on SQLite and on PostgreSQL, and a way to put cases on it."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from db.cases import NewCase, NewImage, NewOpinion, add_cases
from db.engine import make_sessions, migrate, open_engine, write_session
from db.models import Case
from db.vocabulary import Answer, Split, Verdict
from tests.postgres import NoServerError, Server, running_server

AddCase = Callable[..., int]


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Give a PostgreSQL server of this test run's own; skip, saying why, where there can be none."""
    try:
        with running_server() as running:
            yield running
    except NoServerError as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a migrated SQLite file to copy, because migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("empty") / "desk.db"
    _migrated(sa.URL.create("sqlite", database=str(path)))
    return path


@pytest.fixture(scope="session")
def empty_database(server: Server) -> str:
    """Give the name of a migrated PostgreSQL database to copy."""
    url = server.new_database()
    _migrated(url)
    return str(url.database)


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """Say which database the test runs on; every test that asks for one runs on both."""
    return str(request.param)


@pytest.fixture
def new_database(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], sa.URL]]:
    """Give a function that makes a database without tables and returns its address."""
    server: Server | None = request.getfixturevalue("server") if kind == "postgresql" else None
    made: list[sa.URL] = []

    def make() -> sa.URL:
        path = tmp_path / f"new{len(made)}.db"
        made.append(server.new_database() if server else sa.URL.create("sqlite", database=str(path)))
        return made[-1]

    yield make
    if server:
        for url in made:
            server.drop(url)


@pytest.fixture
def new_url(new_database: Callable[[], sa.URL]) -> sa.URL:
    """Give the address of a database without tables."""
    return new_database()


@pytest.fixture
def desk_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.URL]:
    """Give the address of an empty desk's database; a file, because in memory each thread has its own."""
    if kind == "sqlite":
        shutil.copy(request.getfixturevalue("empty_file"), tmp_path / "desk.db")
        yield sa.URL.create("sqlite", database=str(tmp_path / "desk.db"))
        return
    server: Server = request.getfixturevalue("server")
    url = server.new_database(template=request.getfixturevalue("empty_database"))
    yield url
    server.drop(url)


@pytest.fixture
def sessions(desk_url: sa.URL) -> Iterator[sessionmaker[Session]]:
    """Give an empty desk."""
    engine = open_engine(desk_url)
    yield make_sessions(engine)
    engine.dispose()


@pytest.fixture
def add_case(sessions: sessionmaker[Session]) -> AddCase:
    """Give a function that adds one case, queued if it wants a person, and returns its id.

    `opinions` has one letter per teacher A, B, C ...: `i` in context, `o` out of context, `u` unsure,
    `-` none; by default two teachers conflict.
    """
    answers = {"i": Answer.IN_CONTEXT, "o": Answer.OUT_OF_CONTEXT, "u": Answer.UNSURE}

    def add(
        name: str,
        opinions: str = "io",
        *,
        gold: Verdict | None = None,
        split: Split = Split.TRAIN,
        image: bool = True,
    ) -> int:
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        said = tuple(
            NewOpinion(teacher, answers[letter], f"{teacher} says {letter} of {name}.", 0.8)
            for teacher, letter in zip("ABCDEFGH", opinions, strict=False)
            if letter != "-"
        )
        stored = NewImage(sha256, "PNG", 640, 480, 1000) if image else None
        case = NewCase(name, f"Caption of {name}.", stored, gold=gold, split=split, opinions=said)
        with write_session(sessions) as session:
            add_cases(session, "test", [case])
            return session.scalars(sa.select(Case.id).where(Case.external_id == name)).one()

    return add


def _migrated(url: sa.URL) -> None:
    engine = open_engine(url)
    migrate(engine)
    engine.dispose()
