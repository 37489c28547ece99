"""Look up captions and pictures in VisualNews' `data.json`, 1.25 million entries in one list.

    [{"id", "caption", "topic", "source": "guardian|bbc|usa_today|washington_post",
      "image_path": "./washington_post/images/0376/501.jpg", "article_path"}]

What is asked for goes into a temporary SQLite file first, then the list is read once and fills it in:
memory holds neither. The file is gone when the index is closed.
"""

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self

from ooc_app.intake.entries import BadCaseError, ImportFileError
from ooc_app.intake.fields import text
from ooc_app.intake.rows import json_rows

BATCH = 1_000


class NewsEntry(NamedTuple):
    """What VisualNews has under one id."""

    caption: str | None
    source: str | None
    image_path: str | None


class NewsIndex:
    """The entries asked for; a context manager, because it lies on disk."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ooc-visual-news-")
        self._database = sqlite3.connect(Path(self._folder.name) / "index.db", isolation_level=None)
        self._database.execute("PRAGMA journal_mode=OFF")  # nobody wants it back after a crash
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.execute("BEGIN")
        self._database.execute(
            "CREATE TABLE entries (id TEXT PRIMARY KEY, found INTEGER, caption TEXT, source TEXT, "
            "image_path TEXT) WITHOUT ROWID"
        )

    def ask(self, ids: Iterable[str]) -> int:
        """Ask for entries, each once; return how many more those are."""
        before = self._database.total_changes
        self._database.executemany("INSERT OR IGNORE INTO entries (id) VALUES (?)", ((id_,) for id_ in ids))
        return self._database.total_changes - before

    def fill(self, path: Path, asked: int) -> None:
        """Read `data.json` until the entries asked for are all there.

        Raises ImportFileError for a file that is not VisualNews'.
        """
        update = "UPDATE entries SET found = 1, caption = ?, source = ?, image_path = ? WHERE id = ? "
        update += "AND found IS NULL"  # of entries with one id the first counts
        found = readable = 0
        rows = (news_row(value) for _, value, _ in json_rows(path))
        while asked > found and (batch := list(islice(rows, BATCH))):
            before = self._database.total_changes
            good = [row for row in batch if row is not None]
            self._database.executemany(update, good)
            found += self._database.total_changes - before
            readable += len(good)
        if asked and not readable:
            raise ImportFileError(
                f"{path} has no entries with `id` and `image_path`: give VisualNews' data.json."
            )

    def __getitem__(self, id_: str) -> NewsEntry:
        """Return an entry. Raises BadCaseError where VisualNews has none under this id."""
        query = "SELECT caption, source, image_path FROM entries WHERE id = ? AND found"
        row = self._database.execute(query, (id_,)).fetchone()
        if row is None:
            raise BadCaseError(f"VisualNews has no entry {id_[:80]!r}")
        return NewsEntry(*row)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._database.close()
        self._folder.cleanup()


def news_row(value: Any) -> tuple[str | None, str | None, str | None, str] | None:
    """Return what the index keeps of an entry, the id last; None for one that cannot be used."""
    if not isinstance(value, dict):
        return None
    try:
        id_ = text(value, "id")
        if id_ is None or "image_path" not in value:
            return None
        return text(value, "caption"), text(value, "source"), text(value, "image_path"), id_
    except BadCaseError:
        return None


def ids_of(rows: Iterator[tuple[int, Any, float]], keys: tuple[str, ...]) -> Iterator[str]:
    """Return the ids that rows name under `keys`, for `NewsIndex.ask`."""
    for _, value, _ in rows:
        for key in keys:
            try:
                id_ = text(value, key) if isinstance(value, dict) else None
            except BadCaseError:  # reported when the cases are made
                continue
            if id_ is not None:
                yield id_
