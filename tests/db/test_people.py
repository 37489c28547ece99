import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from db import people
from db.engine import write_session
from db.models import Event, Queued
from db.passwords import hash_password, is_password
from db.people import (
    LastPersonError,
    NameTakenError,
    PersonError,
    UnknownPersonError,
    WrongNameError,
)
from db.queue import claim
from db.rulings import NewRuling, ensure_annotator, recent, rule
from db.vocabulary import Answer, Role

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PASSWORD = "flood tower quay"
Sessions = sessionmaker[Session]
AddCase = Callable[..., int]


@pytest.fixture(scope="module")
def kept() -> str:
    """Give what is kept of a password."""
    return hash_password(PASSWORD)


@pytest.fixture
def newsroom(sessions: Sessions, kept: str) -> Sessions:
    """Give a desk with an editor and an annotator who sign in."""
    with write_session(sessions) as session:
        people.add_person(session, None, "Vera", Role.EDITOR, kept, NOW)
        people.add_person(session, None, "Ben", Role.ANNOTATOR, kept, NOW)
    return sessions


def by_name(sessions: Sessions, name: str) -> people.Account:
    with sessions() as session:
        return people.known(session, name)


def events(sessions: Sessions) -> list[tuple[str, str]]:
    with sessions() as session:
        return [
            (one.action, one.detail["person"]) for one in session.scalars(sa.select(Event).order_by("id"))
        ]


# ---- names ----


@pytest.mark.parametrize(
    "name",
    ["", "   ", "x" * 81, "ma\nria", "maria\x00", "ma\u202eria", "ma\u2028ria", "ma\ud800ria", "\ue000"],
)
def test_a_name_that_is_empty_too_long_or_does_not_show_is_refused(name: str) -> None:
    with pytest.raises(WrongNameError):
        people.proper_name(name)


def test_a_name_is_kept_composed_and_with_single_spaces() -> None:
    assert people.proper_name("  Zoe\u0301   van  Dam ") == "Zo\u00e9 van Dam"
    assert people.proper_name("x" * 80) == "x" * 80
    assert people.proper_name("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645") != ""


@pytest.mark.parametrize(
    "name",
    [
        "ZOE\u0301 STRASSE",  # decomposed, capitals
        "zo\u00e9 stra\u00dfe",
        "Zo\u00e9\u00a0Stra\u00dfe",  # a space that does not break
        "\uff3ao\u00e9 Stra\u00dfe",  # a full-width Z
        "Zo\u00e9 Stra\u200d\u00dfe",  # a joiner that does not show
    ],
)
def test_two_names_that_look_alike_are_one(sessions: Sessions, kept: str, name: str) -> None:
    with write_session(sessions) as session:
        people.add_person(session, None, "Zo\u00e9 Stra\u00dfe", Role.EDITOR, kept, NOW)
    with pytest.raises(NameTakenError, match="is here already"), write_session(sessions) as session:
        people.add_person(session, None, name, Role.ANNOTATOR, kept, NOW)
    assert by_name(sessions, name).name == "Zo\u00e9 Stra\u00dfe"


def test_of_two_names_alike_from_before_names_were_compared_the_exact_one_is_meant(
    sessions: Sessions,
) -> None:
    with write_session(sessions) as session:
        ids = [ensure_annotator(session, name) for name in ("Maria", "maria")]
    assert [by_name(sessions, name).id for name in ("Maria", "maria", "MARIA")] == [*ids, ids[0]]


# ---- who may sign in ----


def test_nobody_signs_in_until_somebody_has_a_password(sessions: Sessions, kept: str) -> None:
    with write_session(sessions) as session:
        ensure_annotator(session, "editor")
    with sessions() as session:
        assert not people.asks_to_sign_in(session)
        assert people.local_account(session, "nobody") == (None, False)
    with write_session(sessions) as session:
        people.set_password(session, None, "editor", kept, NOW)
    with sessions() as session:
        assert people.asks_to_sign_in(session)
        local, asks = people.local_account(session, "editor")
        assert (local and local.name, asks) == ("editor", True)
        assert people.local_account(session, "nobody") == (None, True)


def test_the_last_editor_who_may_sign_in_stays_one_and_stays_open(newsroom: Sessions) -> None:
    with write_session(newsroom) as session:
        ensure_annotator(session, "editor", Role.EDITOR)  # without a password: no help
        with pytest.raises(LastPersonError, match="last editor"):
            people.close_person(session, None, "vera", NOW)
        with pytest.raises(LastPersonError, match="last editor"):
            people.set_role(session, None, "vera", Role.ADJUDICATOR, NOW)
        people.set_role(session, None, "ben", Role.EDITOR, NOW)
        people.close_person(session, None, "vera", NOW)
        with pytest.raises(LastPersonError):
            people.close_person(session, None, "ben", NOW)
    assert not by_name(newsroom, "vera").active


def test_the_last_person_who_may_sign_in_cannot_be_closed_whatever_their_role(
    sessions: Sessions, kept: str
) -> None:
    with write_session(sessions) as session:
        people.add_person(session, None, "Ben", Role.ANNOTATOR, kept, NOW)
        with pytest.raises(LastPersonError, match="stand open"):
            people.close_person(session, None, "Ben", NOW)


def test_somebody_unknown_and_the_demos_script_are_refused(newsroom: Sessions, kept: str) -> None:
    with write_session(newsroom) as session:
        ensure_annotator(session, "script", Role.ANNOTATOR, scripted=True)
        with pytest.raises(PersonError, match="script"):
            people.set_password(session, None, "script", kept, NOW)
        for change in (people.close_person, people.open_person):
            with pytest.raises(UnknownPersonError, match="'nobody'"):
                change(session, None, "nobody", NOW)


# ---- what a change does ----


def test_closing_frees_what_the_person_holds_and_keeps_what_they_ruled(
    newsroom: Sessions, add_case: AddCase
) -> None:
    ruled, held = add_case("ruled"), add_case("held")
    ben = by_name(newsroom, "ben")
    with write_session(newsroom) as session:
        rule(session, ben.id, NewRuling("s1", ruled, Answer.IN_CONTEXT, seconds=5.0), NOW)
        assert held in claim(session, ben.id, NOW)
        people.close_person(session, None, "ben", NOW)
    with newsroom() as session:
        assert session.scalars(sa.select(Queued.case_id).where(Queued.annotator_id == ben.id)).all() == []
        assert [one.case_id for one in recent(session, ben.id)] == [ruled]


def test_signing_out_closing_and_a_new_password_each_change_what_tokens_are_made_of(
    newsroom: Sessions, kept: str
) -> None:
    ben = by_name(newsroom, "ben")
    seen = [ben.password_hash]
    with write_session(newsroom) as session:
        people.sign_out(session, ben.id, NOW)
    seen.append(by_name(newsroom, "ben").password_hash)
    with write_session(newsroom) as session:
        people.close_person(session, None, "ben", NOW)
        assert people.sign_in(session, ben.id, NOW) is None
        people.open_person(session, None, "ben", NOW)
    seen.append(by_name(newsroom, "ben").password_hash)
    assert len(set(seen)) == 3
    assert is_password(PASSWORD, seen[-1])
    with write_session(newsroom) as session:
        assert people.set_password(session, None, "ben", "another", NOW).password_hash == "another"


def test_signing_out_frees_the_cases_of_somebody_without_a_password_too(
    sessions: Sessions, add_case: AddCase
) -> None:
    add_case("one")
    with write_session(sessions) as session:
        editor = ensure_annotator(session, "editor")
        assert claim(session, editor, NOW)
        people.sign_out(session, editor, NOW)
        assert session.scalar(sa.select(Queued.annotator_id)) is None


def test_every_change_is_an_event_with_who_made_it_and_what_changes_nothing_is_none(
    newsroom: Sessions,
) -> None:
    with write_session(newsroom) as session:
        editor = ensure_annotator(session, "editor")
        people.set_role(session, editor, "BEN", Role.ADJUDICATOR, NOW)
        people.set_role(session, editor, "ben", Role.ADJUDICATOR, NOW)
        people.close_person(session, editor, "ben", NOW)
        people.close_person(session, editor, "ben", NOW)
        people.open_person(session, editor, "ben", NOW)
        people.open_person(session, editor, "ben", NOW)
    assert events(newsroom) == [
        ("add_person", "Vera"),
        ("add_person", "Ben"),
        ("set_role", "Ben"),
        ("close_person", "Ben"),
        ("open_person", "Ben"),
    ]
    with newsroom() as session:
        changed = session.scalars(sa.select(Event).where(Event.action == "set_role")).one()
    assert changed.annotator_id == editor
    assert (changed.detail["before"], changed.detail["role"]) == ("annotator", "adjudicator")


def test_no_event_and_no_list_shows_a_password(newsroom: Sessions, kept: str) -> None:
    with newsroom() as session:
        written = [str(one.detail) for one in session.scalars(sa.select(Event))]
    assert not any(part in line for line in written for part in (PASSWORD, kept))


def test_a_name_in_another_form_is_stored_composed(sessions: Sessions, kept: str) -> None:
    with write_session(sessions) as session:
        added = people.add_person(session, None, "Zoe\u0301", Role.EDITOR, kept, NOW)
    assert by_name(sessions, "ZO\u00c9").id == added.id
    assert unicodedata.is_normalized("NFC", by_name(sessions, "zo\u00e9").name)
