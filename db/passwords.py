"""Passwords as they are kept: never themselves, only what scrypt (RFC 7914) makes of them.

    scrypt$15$8$3$SALT$HASH$MARK

The numbers are the binary logarithm of n, r and p: 32 MiB and about a quarter of a second, one of the
settings that OWASP names as equally strong. They stand in the text, so that other ones can be chosen
later and old passwords still open. MARK is drawn anew whenever the person signs out or gets another
password. Whoever signs in is given a token made with the whole text (`ooc_app/tokens.py`), so a new
mark ends every sign-in there is.
"""

import hashlib
import hmac
import secrets
import unicodedata
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

PASSWORD_MIN: Final = 10  # characters
PASSWORD_MAX: Final = 1000
_LOG2_N, _R, _P = 15, 8, 3
_EASY: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that looks like something else
# What a password is compared with where there is none, so that it takes as long.
_NOBODY: Final = f"scrypt${_LOG2_N}${_R}${_P}${'A' * 22}==${'A' * 43}=$-"


class WeakPasswordError(ValueError):
    """Raised for a password that is too short or too long to be one."""


def hash_password(password: str) -> str:
    """Return what is kept of a password; takes a quarter of a second. Raises WeakPasswordError."""
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise WeakPasswordError(
            f"A password has {PASSWORD_MIN} to {PASSWORD_MAX:,} characters, this one has {len(password):,}: "
            "take three or four words that do not belong together."
        )
    salt = secrets.token_bytes(16)
    hashed = _scrypt(password, salt, _LOG2_N, _R, _P)
    return f"scrypt${_LOG2_N}${_R}${_P}${_text(salt)}${_text(hashed)}${_mark()}"


def is_password(password: str, kept: str | None) -> bool:
    """Tell whether a password is the one that was kept; takes as long where none was, and says no."""
    _, log2_n, r, p, salt, hashed, _ = (kept or _NOBODY).split("$")
    given = _scrypt(password, urlsafe_b64decode(salt), int(log2_n), int(r), int(p))
    return hmac.compare_digest(given, urlsafe_b64decode(hashed)) and kept is not None


def marked_anew(kept: str) -> str:
    """Return the same password with a new mark, which ends every sign-in made with the old one."""
    return f"{kept.rpartition('$')[0]}${_mark()}"


def generated_password() -> str:
    """Make a password of about 99 bits that can be read out on the telephone."""
    return "-".join("".join(secrets.choice(_EASY) for _ in range(5)) for _ in range(4))


def _scrypt(password: str, salt: bytes, log2_n: int, r: int, p: int) -> bytes:
    # One password, whichever keyboard: an accented letter may come as one character or as two.
    typed = unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
    memory = 128 * r * ((1 << log2_n) + p + 2)  # bytes; OpenSSL refuses more than 32 MiB unless told
    return hashlib.scrypt(typed, salt=salt, n=1 << log2_n, r=r, p=p, dklen=32, maxmem=2 * memory)


def _mark() -> str:
    return secrets.token_urlsafe(12)


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode("ascii")
