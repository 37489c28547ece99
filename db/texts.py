"""Full-text search over caption, place and source: FTS5 on SQLite, tsvector on PostgreSQL.

Both get the words of a text already cut, in lower case and without accents (`plain`), so that they find
the same, and `fits` finds the same without them. Chinese and Japanese have no blanks between words: each
of their characters is set apart, and a search for several of them is a search for the phrase: 洪水 finds
every caption in which the two stand side by side.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.models import Case

TERMS_MAX: Final = 12  # words of one search; more is a pasted text, of which the first say enough
UNSPACED = re.compile("([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f])")
BEGINNING_MIN: Final = 3  # letters of a beginning; with fewer it would be that of half of all cases
_ACCENTS = re.compile("[\u0300-\u036f]")
_WORD = re.compile(r"[^\W_]{1,100}")  # PostgreSQL takes no word of more than 2,046 bytes
_QUOTED = re.compile(r'"([^"]*)"?|(\S+)')


def index(session: Session, texts: Iterable[tuple[int, Sequence[str | None]]]) -> None:
    """Index the texts of cases by case id; they are not indexed yet."""
    rows = [(case_id, words(text)) for case_id, text in texts]
    if not rows:
        return
    if _is_sqlite(session):
        statement = "INSERT INTO case_texts (rowid, words) VALUES (?, ?)"
        session.connection().exec_driver_sql(statement, rows)
        return
    statement = "INSERT INTO case_texts (case_id, words) VALUES (:id, to_tsvector('simple', :words))"
    session.execute(sa.text(statement), [{"id": case_id, "words": said} for case_id, said in rows])


def index_again(
    session: Session, case_id: int, before: Sequence[str | None], now: Sequence[str | None]
) -> None:
    """Replace what is indexed of a case; an index that keeps no texts has to be told the old ones."""
    if _is_sqlite(session):
        forget = "INSERT INTO case_texts (case_texts, rowid, words) VALUES ('delete', ?, ?)"
        session.connection().exec_driver_sql(forget, (case_id, words(before)))
    else:
        session.execute(sa.text("DELETE FROM case_texts WHERE case_id = :id"), {"id": case_id})
    index(session, [(case_id, now)])


def forget_all(session: Session) -> None:
    """Empty the index."""
    if _is_sqlite(session):
        session.connection().exec_driver_sql("INSERT INTO case_texts (case_texts) VALUES ('delete-all')")
    else:
        session.execute(sa.text("TRUNCATE case_texts"))


def indexed(session: Session) -> int:
    """Count the cases in the index."""
    table = "case_texts_docsize" if _is_sqlite(session) else "case_texts"
    return session.scalar(sa.select(sa.func.count()).select_from(sa.table(table))) or 0


def words(texts: Sequence[str | None]) -> str:
    """Join texts for the index."""
    return plain(" ".join(text for text in texts if text))


def plain(text: str) -> str:
    """Write a text as its words: in lower case, without accents, characters of unspaced scripts set apart."""
    if not text.isascii():
        text = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
        text = UNSPACED.sub(r" \1 ", unicodedata.normalize("NFKC", text))
    return " ".join(_WORD.findall(text.lower()))


def terms(search: str) -> list[list[str]]:
    """Cut what a person types into phrases of words: quoted ones stay together, the last words go first."""
    phrases = [plain(quoted or single).split() for quoted, single in _QUOTED.findall(search)]
    return [phrase for phrase in phrases if phrase][:TERMS_MAX]


def matches(session: Session, search: str) -> tuple[sa.Select[int], sa.ColumnElement[int]] | None:
    """Select the ids of cases with all the words of `search`; None for a search without a word.

    Returns the select and its id column, to narrow and order it by. The last word may be the
    beginning of one, so that a search answers while it is typed.
    """
    phrases = terms(search)
    if not phrases:
        return None
    is_open = _may_go_on(phrases)
    if _is_sqlite(session):
        quoted = [" + ".join(f'"{word}"' for word in phrase) for phrase in phrases]
        case_id = sa.column("rowid", sa.Integer)
        match: Any = sa.column("case_texts").op("MATCH")(" AND ".join(quoted) + "*" * is_open)
    else:
        quoted = [" <-> ".join(phrase) for phrase in phrases]
        query = " & ".join(f"({phrase})" for phrase in [*quoted[:-1], quoted[-1] + ":*" * is_open])
        case_id = sa.column("case_id", sa.Integer)
        match = sa.column("words").op("@@")(sa.func.to_tsquery(sa.literal_column("'simple'"), query))
    return sa.select(case_id).select_from(sa.table("case_texts")).where(match), case_id


def fits(texts: Sequence[str | None], search: str) -> bool:
    """Say of one case what `matches` would: a few hundred cases are sooner read than looked up one by one."""
    phrases = terms(search)
    said = f" {words(texts)} "
    wanted = [f" {' '.join(phrase)} " for phrase in phrases]
    if phrases and _may_go_on(phrases):
        wanted[-1] = wanted[-1].rstrip()
    return all(phrase in said for phrase in wanted)


def _may_go_on(phrases: Sequence[Sequence[str]]) -> bool:
    """Whether the last word may be the beginning of one."""
    last = phrases[-1][-1]
    return len(last) >= BEGINNING_MIN or not last.isascii()


def texts_of(session: Session, first: int, last: int) -> list[tuple[int, Sequence[str | None]]]:
    """Read what is to be indexed of the cases with ids from `first` to `last`."""
    columns = (Case.id, Case.caption, Case.place, Case.source)
    rows = session.execute(sa.select(*columns).where(Case.id.between(first, last)))
    return [(case_id, (caption, place, source)) for case_id, caption, place, source in rows]


def _is_sqlite(session: Session) -> bool:
    return session.connection().dialect.name == "sqlite"
