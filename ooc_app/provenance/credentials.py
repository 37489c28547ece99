"""A picture's Content Credentials in plain words: whether anybody signed it, and whether that holds.

Who signed is trusted only where the certificate leads to the desk's trust list, the PEM file
`trust-list.pem` in the data folder; without one every signer is unknown. Most pictures carry no
credentials, and any server may have stripped them, so their absence says nothing.
"""

from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from ooc_app.provenance.apart import ApartError, read_apart

READER: Final = "ooc_app.provenance.credentials_reader"
TRUST_LIST: Final = "trust-list.pem"
TRUST_LIST_MAX: Final = 4_000_000  # bytes; C2PA's own has some tens of kilobytes
NOT_INSTALLED: Final = "c2pa-python is not installed"
_ACTIONS: Final = {
    "c2pa.created": "created", "c2pa.opened": "opened", "c2pa.edited": "edited", "c2pa.cropped": "cropped",
    "c2pa.resized": "resized", "c2pa.color_adjustments": "colours adjusted", "c2pa.filtered": "filtered",
    "c2pa.placed": "another picture placed in it", "c2pa.drawing": "drawn on", "c2pa.converted": "converted",
    "c2pa.transcoded": "saved in another way", "c2pa.published": "published", "c2pa.redacted": "redacted",
    "c2pa.orientation": "turned", "c2pa.removed": "a part removed", "c2pa.repackaged": "repackaged",
    "c2pa.unknown": "something unknown done",
}  # fmt: skip
_GENERATED: Final = frozenset({"trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"})


class State(StrEnum):
    """What became of looking."""

    TRUSTED = "trusted"
    VALID = "valid, unknown signer"
    INVALID = "invalid or tampered"
    NONE = "none"
    ELSEWHERE = "kept elsewhere"
    NOT_LOOKED_AT = "not looked at"


_STATES: Final = {
    "Trusted": State.TRUSTED, "Valid": State.VALID, "Invalid": State.INVALID, "none": State.NONE,
    "elsewhere": State.ELSEWHERE, "unreadable": State.NOT_LOOKED_AT,
}  # fmt: skip
_MEANS: Final = {
    State.TRUSTED: "Signed by somebody on the trust list, and unchanged since. That says who "
    "vouches for the file, not that the caption is true.",
    State.VALID: "The signature holds and the file is unchanged since, but nobody on the trust list "
    "vouches for who signed: anybody can sign as anything.",
    State.INVALID: "The file or its credentials were changed after signing, or were never right: rely "
    "on nothing they say.",
    State.NONE: "The file carries no Content Credentials. Their absence proves nothing: most pictures "
    "have none, and most sites strip them.",
    State.ELSEWHERE: "The file says that its credentials lie on a server. The desk does not fetch them.",
    State.NOT_LOOKED_AT: "The credentials were not checked: the picture is damaged.",
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """What was found; `facts` are (what, said), as the manifest says them."""

    state: State
    means: str
    facts: tuple[tuple[str, str], ...] = ()
    problems: tuple[str, ...] = ()  # codes of the C2PA specification, section 15.2
    is_generated: bool = False  # says that a model made the picture or parts of it


def read_credentials(data: bytes, trust_list: Path | None = None) -> Credentials:
    """Check a picture's credentials in another process, against a trust list if there is one."""
    if find_spec("c2pa") is None:
        return Credentials(State.NOT_LOOKED_AT, f"Not looked at: {NOT_INSTALLED}.")
    try:
        anchors = _anchors(trust_list)
        return interpreted(read_apart(READER, {"anchors": anchors}, data))
    except ApartError as error:
        return Credentials(State.NOT_LOOKED_AT, f"The credentials were not checked: {error}.")
    except (OSError, UnicodeDecodeError) as error:
        return Credentials(State.NOT_LOOKED_AT, f"The trust list {trust_list} cannot be read ({error}).")


def interpreted(read: dict[str, Any]) -> Credentials:
    """Put into words what the reader found."""
    state = _STATES.get(str(read.get("state")), State.INVALID)
    actions = [
        _ACTIONS.get(one, one.removeprefix("c2pa.").replace("_", " ")) for one in _list(read, "actions")
    ]
    host, problem = str(read.get("host") or ""), str(read.get("problem") or "")
    facts = (
        ("signed by", ", ".join(part for part in (_one(read, "signer"), _one(read, "issuer")) if part)),
        ("signed at", _one(read, "signed_at").replace("T", " ")),
        ("made with", _one(read, "generator")),
        ("title", _one(read, "title")),
        ("what was done", ", ".join(dict.fromkeys(actions))),
        ("made from", ", ".join(title for title in _list(read, "ingredients") if title)),
        ("server", host),
        ("problem", problem),
    )
    return Credentials(
        state,
        _MEANS[state],
        tuple((what, said) for what, said in facts if said),
        tuple(_list(read, "failures")) if state is State.INVALID else (),
        bool(_GENERATED & set(_list(read, "sources"))),
    )


def _anchors(trust_list: Path | None) -> str | None:
    if trust_list is None or not trust_list.is_file():
        return None
    if trust_list.stat().st_size > TRUST_LIST_MAX:
        raise OSError(f"it has more than {TRUST_LIST_MAX:,} bytes")
    return trust_list.read_text(encoding="utf-8")


def _one(read: dict[str, Any], key: str) -> str:
    value = read.get(key)
    return value if isinstance(value, str) else ""


def _list(read: dict[str, Any], key: str) -> list[str]:
    value = read.get(key)
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
