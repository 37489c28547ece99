"""A desk made small: a data folder on disk, one annotator, and a way to put cases on it."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from PIL import Image

from db.cases import NewCase, NewImage, NewOpinion, add_cases
from db.engine import write_session
from db.models import Case
from db.rulings import ensure_annotator
from db.vocabulary import Answer, Role
from ooc_app.auth import Person, local_person
from ooc_app.desk import Desk, open_desk
from ooc_app.intake.images import admit

AddConflict = Callable[..., int]


def drawn_picture(shade: int = 0) -> bytes:
    """A small PNG, different for each shade."""
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (shade % 256, 90, 160)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Give an empty desk."""
    with open_desk(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def person(desk: Desk) -> Person:
    """Give the one local person."""
    return local_person(desk)


@pytest.fixture
def colleague(desk: Desk) -> Person:
    """Give a second annotator."""
    with write_session(desk.sessions) as session:
        return Person(ensure_annotator(session, "maria", Role.ANNOTATOR), "maria", Role.ANNOTATOR)


@pytest.fixture
def add_conflict(desk: Desk) -> AddConflict:
    """Give a function that puts one conflict with its picture on the desk and returns its id."""

    def add(name: str, caption: str | None = None) -> int:
        image = admit(drawn_picture(sum(name.encode())), desk.images_dir)
        said = (
            NewOpinion("Teacher One", Answer.OUT_OF_CONTEXT, f"The tower is not in {name}.", 0.82),
            NewOpinion("Teacher Two", Answer.IN_CONTEXT, f"All fits {name}.", 0.64),
            NewOpinion("Teacher Three", Answer.OUT_OF_CONTEXT, f"The banner names another year than {name}."),
        )
        stored = NewImage(image.sha256, image.format, image.width, image.height, image.byte_size)
        case = NewCase(name, caption or f"Caption of {name}.", stored, date="12 March", opinions=said)
        with write_session(desk.sessions) as session:
            add_cases(session, "test", [case])
            return session.scalars(sa.select(Case.id).where(Case.external_id == name)).one()

    return add
