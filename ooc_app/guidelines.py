"""The guidelines that people rule by: Markdown in the data folder, a new file for each version.

`guidelines/0003.md` is version 3; the highest number is in force, and each ruling stores it. Version
0 is the desk's own text, in the reader's language, until an editor writes one. The page is not given
markup: `nodes` turns Markdown into a tree of tags it knows and texts.
"""

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from db.vocabulary import Role
from ooc_app.auth import Person
from ooc_app.desk import Desk
from ooc_app.language import LANGUAGES, sentence
from ooc_app.submissions import SubmissionError, number, text
from ooc_app.theme import ASSETS

TEXT_MAX: Final = 100_000  # characters
_VERSION = re.compile(r"([0-9]{4,9})\.md")
_PICTURE = re.compile(r"desk/images/[0-9a-f]{64}")
_TAGS: Final = {
    "paragraph": "p", "bullet_list": "ul", "ordered_list": "ol", "list_item": "li",
    "blockquote": "blockquote", "strong": "strong", "em": "em", "hr": "hr", "hardbreak": "br",
    "table": "table", "thead": "thead", "tbody": "tbody", "tr": "tr", "th": "th", "td": "td",
}  # fmt: skip

Node = str | list[Any]  # a text, or [tag, its attributes, nodes inside]


class ChangedMeanwhileError(Exception):
    """Raised where somebody else has saved another version since this one was read."""


@dataclass(frozen=True)
class Guidelines:
    """One version."""

    version: int
    text: str
    since: datetime | None  # None for the desk's own


def in_force(data_dir: Path, language: str = "en") -> Guidelines:
    """Return the guidelines people rule by now."""
    version = version_in_force(data_dir)
    if not version:
        own = ASSETS / "texts" / f"guidelines.{language if language in LANGUAGES else 'en'}.md"
        return Guidelines(0, own.read_text(encoding="utf-8"), None)
    path = _path(data_dir, version)
    since = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return Guidelines(version, path.read_text(encoding="utf-8", errors="replace"), since)


def version_in_force(data_dir: Path) -> int:
    """Return the number of the newest version; 0 where nobody has written one."""
    try:
        with os.scandir(data_dir / "guidelines") as entries:
            found = [_VERSION.fullmatch(entry.name) for entry in entries]
    except FileNotFoundError:
        return 0
    return max((int(name[1]) for name in found if name), default=0)


def save(data_dir: Path, text: str, after: int) -> int:
    """Write the version that follows `after` and return its number.

    It is on disk whole or not at all. Raises ChangedMeanwhileError where that version is there already.
    """
    folder = data_dir / "guidelines"
    folder.mkdir(exist_ok=True)
    if version_in_force(data_dir) != after:
        raise ChangedMeanwhileError
    with tempfile.NamedTemporaryFile("w", dir=folder, prefix=".", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
        Path(file.name).chmod(0o644)
        try:
            os.link(file.name, _path(data_dir, after + 1))  # unlike a rename, replaces nothing
        except FileExistsError as error:
            raise ChangedMeanwhileError from error
    return after + 1


def shown(desk: Desk, person: Person, language: str) -> dict[str, Any]:
    """Show the guidelines in force; who may write them gets their Markdown, too."""
    found = in_force(desk.data_dir, language)
    return {
        "ok": True,
        "version": found.version,
        "since": found.since.isoformat() if found.since else None,
        "nodes": nodes(found.text),
        "text": found.text if person.role == Role.EDITOR else None,
    }


def save_text(desk: Desk, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Save what an editor wrote; raises SubmissionError for what is no text."""
    written = text(payload, "text", TEXT_MAX).strip()
    if not written:
        raise SubmissionError("the guidelines are empty")
    try:
        version = save(desk.data_dir, written + "\n", number(payload, "after"))
    except ChangedMeanwhileError:
        now = version_in_force(desk.data_dir)
        return {"ok": False, "says": sentence("guidelines_changed", version=now)}
    return {"ok": True, "says": sentence("guidelines_saved", version=version)}


def nodes(markdown: str) -> list[Node]:
    """Turn Markdown into nodes of tags that show text; HTML in it is text."""
    from markdown_it.tree import SyntaxTreeNode

    return _inside(SyntaxTreeNode(_parser().parse(markdown)).children)


@cache
def _parser() -> Any:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable("table")


def _inside(children: Sequence[Any]) -> list[Node]:
    return [node for child in children for node in _nodes(child)]


def _nodes(node: Any) -> list[Node]:
    """A node of the page for one of Markdown's; none for what it does not show."""
    match node.type:
        case "text":
            return [node.content]
        case "softbreak":
            return [" "]
        case "inline":
            return _inside(node.children)
        case "code_inline":
            return [["code", {}, [node.content]]]
        case "fence" | "code_block":
            return [["pre", {}, [node.content]]]
        case "heading":
            return [[f"h{min(int(node.tag[1]) + 1, 4)}", {}, _inside(node.children)]]
        case "link":
            address = str(node.attrs.get("href", ""))
            is_web = address.startswith(("https://", "http://"))
            return [["a", {"href": address}, _inside(node.children)]] if is_web else _inside(node.children)
        case "image":
            source, told = str(node.attrs.get("src", "")), node.content
            return [["img", {"src": source, "alt": told}, []]] if _PICTURE.fullmatch(source) else [told]
        case kind:
            return [[_TAGS[kind], {}, _inside(node.children)]] if kind in _TAGS else []


def _path(data_dir: Path, version: int) -> Path:
    return data_dir / "guidelines" / f"{version:04}.md"
