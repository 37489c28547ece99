"""People of a desk on which everybody signs in, and pictures with something in them."""

import pytest

from db.vocabulary import Role
from ooc_app.auth import Person
from ooc_app.desk import Desk
from tests.ooc_app.checks.kept import with_account
from tests.ooc_app.provenance.conftest import chain as chain, scene as scene, sign as sign


@pytest.fixture
def maria(desk: Desk) -> Person:
    """Give an annotator."""
    return with_account(desk, "maria", Role.ANNOTATOR)


@pytest.fixture
def ben(desk: Desk) -> Person:
    """Give another annotator."""
    return with_account(desk, "Ben", Role.ANNOTATOR)


@pytest.fixture
def vera(desk: Desk) -> Person:
    """Give an editor."""
    return with_account(desk, "Vera", Role.EDITOR)
