import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ooc_app.tokens import (
    SECRET_FILE,
    TOKEN_LIFE,
    claimed_by,
    cookie_name,
    is_genuine,
    make_token,
    read_secret,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET, KEPT = b"s" * 32, "scrypt$15$8$3$salt$hash$mark"
TOKEN = make_token(SECRET, 7, KEPT, NOW)


def changed(at: int, by: str) -> str:
    """The token with one of its three parts replaced."""
    parts = TOKEN.split(".")
    parts[at] = by
    return ".".join(parts)


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "7",
        changed(0, "8"),
        changed(1, str(int(NOW.timestamp()) + 1)),
        changed(2, ""),
        changed(2, "A" * 43),
        f"{TOKEN}x",
        f"{TOKEN}.",
        "7.\xe9.\xe9",
    ],
)
def test_a_token_with_anything_changed_is_not_genuine(token: str) -> None:
    assert not is_genuine(SECRET, token, KEPT, NOW)


def test_another_secret_another_password_or_none_is_not_genuine() -> None:
    assert not is_genuine(b"t" * 32, TOKEN, KEPT, NOW)
    assert not is_genuine(SECRET, TOKEN, f"{KEPT}2", NOW)
    assert not is_genuine(SECRET, TOKEN, None, NOW)


def test_a_token_is_genuine_until_its_life_ends() -> None:
    assert is_genuine(SECRET, TOKEN, KEPT, NOW + TOKEN_LIFE - timedelta(seconds=1))
    assert not is_genuine(SECRET, TOKEN, KEPT, NOW + TOKEN_LIFE)


@pytest.mark.parametrize("token", ["", "x.1.2", "-1.1.2", "\u0667.1.2", "9" * 10])
def test_what_names_no_number_of_an_annotator_names_nobody(token: str) -> None:
    assert claimed_by(token) is None


def test_a_token_names_its_annotator() -> None:
    assert claimed_by(TOKEN) == 7


def test_the_secret_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    secret = read_secret(tmp_path)
    assert len(secret) == 32
    assert read_secret(tmp_path) == secret
    assert [path.name for path in tmp_path.iterdir()] == [SECRET_FILE]
    assert stat.S_IMODE((tmp_path / SECRET_FILE).stat().st_mode) == 0o600


def test_a_secret_cut_off_by_a_full_disk_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / SECRET_FILE).touch()
    assert len(read_secret(tmp_path)) == 32


def test_two_desks_at_one_address_have_cookies_of_their_own(tmp_path: Path) -> None:
    names = {cookie_name(secret) for secret in (SECRET, b"t" * 32, SECRET)}
    assert len(names) == 2
    assert SECRET.decode() not in "".join(names)
