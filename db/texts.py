"""Full-text search over caption, place and source: FTS5 on SQLite, tsvector on PostgreSQL.

Both cut text at blanks and punctuation, which Chinese and Japanese do not have between words. So each
of their characters is set apart when a text is indexed, and a search for several of them is a search
for the phrase: 洪水 finds every caption in which the two stand side by side.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.models import Case

TERMS_MAX: Final = 12  # words of one search; more is a pasted text, of which the first say enough
UNSPACED = re.compile("([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f])")
_WORD = re.compile(r"\w+")
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
    # PostgreSQL's parser would take an address, a number or a tag for one word, and search for its parts
    plain = [{"id": case_id, "words": " ".join(_WORD.findall(said))} for case_id, said in rows]
    statement = "INSERT INTO case_texts (case_id, words) VALUES (:id, to_tsvector('simple', :words))"
    session.execute(sa.text(statement), plain)


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
    """Join texts for the index, characters of unspaced scripts set apart."""
    joined = " ".join(text for text in texts if text)
    return joined if joined.isascii() else UNSPACED.sub(r" \1 ", joined)


def terms(search: str) -> list[list[str]]:
    """Cut what a person types into phrases of words: quoted ones stay together, the last words go first."""
    phrases = [_WORD.findall(words([quoted or single])) for quoted, single in _QUOTED.findall(search)]
    return [phrase for phrase in phrases if phrase][:TERMS_MAX]


def matches(session: Session, search: str) -> tuple[sa.Select[int], sa.ColumnElement[int]] | None:
    """Select the ids of cases with all the words of `search`; None for a search without a word.

    Returns the select and its id column, to narrow and order it by. The last word may be the
    beginning of one, so that a search answers while it is typed.
    """
    phrases = terms(search)
    if not phrases:
        return None
    if _is_sqlite(session):
        quoted = [" + ".join(f'"{word}"' for word in phrase) for phrase in phrases]
        case_id = sa.column("rowid", sa.Integer)
        match: Any = sa.column("case_texts").op("MATCH")(" AND ".join(quoted) + "*")
    else:
        quoted = ["(" + " <-> ".join(phrase) + ")" for phrase in phrases]
        query = " & ".join([*quoted[:-1], f"{quoted[-1][:-1]}:*)"])
        case_id = sa.column("case_id", sa.Integer)
        match = sa.column("words").op("@@")(sa.func.to_tsquery(sa.literal_column("'simple'"), query))
    return sa.select(case_id).select_from(sa.table("case_texts")).where(match), case_id


def texts_of(session: Session, first: int, last: int) -> list[tuple[int, Sequence[str | None]]]:
    """Read what is to be indexed of the cases with ids from `first` to `last`."""
    columns = (Case.id, Case.caption, Case.place, Case.source)
    rows = session.execute(sa.select(*columns).where(Case.id.between(first, last)))
    return [(case_id, (caption, place, source)) for case_id, caption, place, source in rows]


def _is_sqlite(session: Session) -> bool:
    return session.connection().dialect.name == "sqlite"
