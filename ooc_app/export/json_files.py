"""JSON lines and JSON arrays, written record by record."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import orjson

_BUFFER: Final = 1 << 20  # bytes


def write_lines(path: Path, records: Iterable[Any]) -> int:
    """Write one record a line; returns how many."""
    count = 0
    with path.open("wb", _BUFFER) as file:
        for record in records:
            file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
            count += 1
    return count


def write_array(path: Path, records: Iterable[Any], *, in_html: bool = False) -> int:
    """Write an array of records, one a line; returns how many.

    With `in_html` no text in it can end the script element or open a comment of a page that embeds it.
    """
    count = 0
    with path.open("wb", _BUFFER) as file:
        file.write(b"[")
        for record in records:
            file.write(b",\n" if count else b"\n")
            written = orjson.dumps(record)
            file.write(_safe_in_html(written) if in_html else written)
            count += 1
        file.write(b"\n]\n")
    return count


def _safe_in_html(written: bytes) -> bytes:
    """Escape what HTML could read as markup; outside of texts JSON has none of it."""
    for character in ("<", ">", "&", "\u2028", "\u2029"):
        written = written.replace(character.encode(), f"\\u{ord(character):04x}".encode())
    return written
