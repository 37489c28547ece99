import pytest

from db.passwords import (
    PASSWORD_MAX,
    WeakPasswordError,
    generated_password,
    hash_password,
    is_password,
    marked_anew,
)

PASSWORD = "flood tower quay"


@pytest.fixture(scope="module")
def kept() -> str:
    """Give what is kept of the password."""
    return hash_password(PASSWORD)


@pytest.mark.parametrize("password", ["", "ninechars", "x" * (PASSWORD_MAX + 1)])
def test_a_password_too_short_or_too_long_is_refused(password: str) -> None:
    with pytest.raises(WeakPasswordError, match="10 to 1,000 characters"):
        hash_password(password)


@pytest.mark.parametrize("password", ["", "flood tower Quay", "flood tower quay ", "x" * 5000])
def test_another_password_is_not_it(kept: str, password: str) -> None:
    assert not is_password(password, kept)


def test_where_no_password_is_kept_none_is_right() -> None:
    assert not is_password("", None)
    assert not is_password(PASSWORD, None)


def test_the_password_is_known_again_and_stands_nowhere(kept: str) -> None:
    assert is_password(PASSWORD, kept)
    assert PASSWORD not in kept
    assert kept.startswith("scrypt$15$8$3$")


def test_an_accented_letter_is_the_same_however_the_keyboard_writes_it() -> None:
    assert is_password("re\u0301daction en chef", hash_password("r\u00e9daction en chef"))


def test_the_same_password_is_kept_differently_each_time(kept: str) -> None:
    assert hash_password(PASSWORD).split("$")[4:] != kept.split("$")[4:]


def test_what_was_kept_with_other_numbers_is_still_known() -> None:
    older = "scrypt$4$1$1$c2FsdHNhbHRzYWx0c2FsdA==$wUuZ15GmZUBKTFntTDA4Oek3U5b1g4valvz-bzID0I4=$mark"
    assert is_password("an older password", older)
    assert not is_password("another password", older)


def test_a_new_mark_changes_the_text_and_not_the_password(kept: str) -> None:
    renewed = marked_anew(kept)
    assert renewed != kept
    assert is_password(PASSWORD, renewed)


def test_a_generated_password_is_long_enough_and_new_each_time() -> None:
    made = {generated_password() for _ in range(50)}
    assert len(made) == 50
    assert {len(one) for one in made} == {23}
