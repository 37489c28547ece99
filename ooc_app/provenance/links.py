"""Links to reverse image searches and fact-check explorers, made from a file and followed only by a click.

Engines change their addresses often, so they stand in `links.toml`; one in the data folder goes first.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any, Final
from urllib.parse import quote, urlsplit

OWN_FILE: Final = "links.toml"
DEFAULT_FILE: Final = Path(__file__).with_name(OWN_FILE)
LINKS_MAX: Final = 30
CAPTION_MAX: Final = 300  # characters; engines take no more
KNOWN: Final = frozenset({"image_url", "caption"})


class LinksError(ValueError):
    """Raised for a links.toml that cannot be read or holds a wrong value; says which."""


@dataclass(frozen=True, slots=True)
class Link:
    """A link that can be followed; `sends` says what the site then gets to know."""

    name: str
    url: str
    sends: str


def links(data_dir: Path | None, *, image_url: str | None, caption: str | None) -> tuple[Link, ...]:
    """Make the links for a picture and its caption. Raises LinksError."""
    path = data_dir / OWN_FILE if data_dir else DEFAULT_FILE
    if not path.is_file():
        path = DEFAULT_FILE
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8")).get("link", [])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise LinksError(
            f"{path} cannot be read ({error}): mend it, or delete it for the default."
        ) from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise LinksError(f"{path}: `link` is no list of tables: write each as [[link]].")
    given = {
        "image_url": image_url if image_url and is_web_address(image_url) else None,
        "caption": caption.strip()[:CAPTION_MAX] if caption and caption.strip() else None,
    }
    made = [_link(row, given, path) for row in rows[:LINKS_MAX]]
    return tuple(link for link in made if link is not None)


def is_web_address(url: str) -> bool:
    """Whether a text is an address that may be linked to: http or https, with a host and no blank."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable() and " " not in url


def _link(row: Mapping[str, Any], given: Mapping[str, str | None], path: Path) -> Link | None:
    name, url, upload = (row.get(key, "") for key in ("name", "url", "upload"))
    if not all(isinstance(text, str) for text in (name, url, upload)) or not name:
        raise LinksError(f"{path}: a link has no `name`, or its `url` or `upload` is no text.")
    for address in (url, upload):
        if address and not address.startswith("https://"):
            raise LinksError(
                f"{path}: the link {name!r} leads to {address[:80]!r}: give an https:// address."
            )
    wanted = _fields(url, name, path)
    if url and all(given[field] for field in wanted):
        filled = {field: quote(given[field] or "", safe="") for field in wanted}
        named = {"image_url": "the picture's address", "caption": "the caption"}
        sends = " and ".join(named[field] for field in sorted(wanted)) or "nothing"
        return Link(name, url.format_map(filled), sends)
    return Link(name, upload, "nothing, until you give it the file") if upload else None


def _fields(url: str, name: str, path: Path) -> frozenset[str]:
    """The places in a template; only plain ones of ours, so that a template reaches nothing else."""
    try:
        parts = [part for part in Formatter().parse(url) if part[1] is not None]
    except ValueError as error:
        raise LinksError(f"{path}: the link {name!r} has a wrong `url` ({error}).") from error
    fields = frozenset(str(field) for _, field, _, _ in parts)
    if not fields <= KNOWN or any(spec or conversion for _, _, spec, conversion in parts):
        raise LinksError(
            f"{path}: the link {name!r} may hold {{image_url}} and {{caption}} and nothing else."
        )
    return fields
