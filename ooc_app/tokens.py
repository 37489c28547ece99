"""Tokens: what a browser carries once its person has signed in, and how to tell a genuine one.

    NUMBER.SECONDS.SEAL

The number of the annotator, when they signed in, and a seal (HMAC-SHA256, RFC 2104) of both and of
what is kept of their password, made with the secret of the data folder. So nothing has to be
remembered of who is signed in: a restart of the desk ends no sign-in, while signing out, a new
password and closing the account each change the row that the seal was made of, and end all of them.
The secret is a hidden file, which backups leave out: whoever holds a copy of the database can make
no token.
"""

import hashlib
import hmac
import os
import secrets
import tempfile
from base64 import urlsafe_b64encode
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

TOKEN_LIFE: Final = timedelta(days=7)  # how long a sign-in lasts at most
COOKIE: Final = "ooc-desk-"  # what the names of our cookies begin with
SECRET_FILE: Final = ".sign-in-secret"
SECRET_BYTES: Final = 32


def read_secret(data_dir: Path) -> bytes:
    """Return the secret of a data folder, made where it is missing and readable by its owner alone.

    It is read anew each time, which costs less than asking the database who somebody is.
    """
    path = data_dir / SECRET_FILE
    found = path.read_bytes() if path.exists() else b""
    if len(found) == SECRET_BYTES:
        return found
    handle, new = tempfile.mkstemp(dir=data_dir, prefix=f"{SECRET_FILE}-")  # mode 0600
    with os.fdopen(handle, "wb") as file:
        file.write(secrets.token_bytes(SECRET_BYTES))
    os.replace(new, path)
    return path.read_bytes()  # of two that make one at once, both go on with the second


def cookie_name(secret: bytes) -> str:
    """Name the cookie of a desk; two desks at one address, on two ports, share the browser's cookies."""
    return f"{COOKIE}{hashlib.sha256(secret).hexdigest()[:8]}"


def make_token(secret: bytes, annotator_id: int, kept: str, now: datetime) -> str:
    """Make the token of somebody who has shown their password; `kept` is what is kept of it."""
    claim = f"{annotator_id}.{int(now.timestamp())}"
    return f"{claim}.{_seal(secret, claim, kept)}"


def claimed_by(token: str) -> int | None:
    """Return the number of the annotator a token names, which proves nothing; None where it names none."""
    number = token.partition(".")[0]
    return int(number) if number.isascii() and number.isdigit() and len(number) < 10 else None


def is_genuine(secret: bytes, token: str, kept: str | None, now: datetime) -> bool:
    """Tell whether the desk made the token for this password, and not too long ago."""
    claim, _, seal = token.rpartition(".")
    if kept is None or not hmac.compare_digest(seal.encode(), _seal(secret, claim, kept).encode()):
        return False
    age = now.timestamp() - int(claim.partition(".")[2])  # only the desk itself writes what is sealed
    return age < TOKEN_LIFE.total_seconds()


def _seal(secret: bytes, claim: str, kept: str) -> str:
    sealed = hmac.digest(secret, f"{claim}.{kept}".encode(), "sha256")
    return urlsafe_b64encode(sealed).decode("ascii").rstrip("=")
