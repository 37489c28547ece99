"""Real things made small: a desk's database on disk, and a way to put cases on it."""

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
from db.queue import fill
from db.vocabulary import Answer, Split, Verdict

AddCase = Callable[..., int]


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a migrated database to copy, because migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("empty") / "desk.db"
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    engine.dispose()
    return path


@pytest.fixture
def sessions(tmp_path: Path, empty_database: Path) -> Iterator[sessionmaker[Session]]:
    """Give an empty desk: an SQLite file, because in memory each thread would have its own."""
    path = shutil.copy(empty_database, tmp_path / "desk.db")
    engine = open_engine(f"sqlite:///{path}")
    yield make_sessions(engine)
    engine.dispose()


@pytest.fixture
def add_case(sessions: sessionmaker[Session]) -> AddCase:
    """Give a function that adds one case, queues it if it wants a person, and returns its id.

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
            fill(session)
            return session.scalars(sa.select(Case.id).where(Case.external_id == name)).one()

    return add
