"""Bring recorded opinions of one teacher to cases that are on the desk: JSON lines, a JSON list, CSV.

Rows come in shapes such as {"image_id", "article_id", "prediction": "Yes", "explanation"}. Polarity is
stated by the one who imports, never guessed: the mapping says which column is the verdict and what its
values mean (`mapping.py`). A template of the row's columns, `{article_id}-{image_id}`, makes the id of
the case in its data set. An import is idempotent; a changed opinion is a new version.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db.cases import NewOpinion, add_opinions
from db.engine import write_session
from db.models import Case, Opinion, Teacher
from db.vocabulary import Answer
from ooc_app.desk import Desk
from ooc_app.intake.entries import BadCaseError, BadLine, ImportFileError
from ooc_app.intake.fields import opinion, required
from ooc_app.intake.importing import BAD_LINES_KEPT, Progress
from ooc_app.intake.mapping import Column, found, parse_mapping
from ooc_app.intake.rows import Row, csv_rows, json_rows, json_value

BATCH: Final = 500  # opinions per transaction
FIELDS: Final = ("verdict", "rationale", "confidence", "elements")
KEY: Final = "{id}"
_IN_KEY = re.compile(r"\{([^{}]+)\}")


class Said(NamedTuple):
    """An opinion, the case it is of by its id in the data set, and the line it stands in."""

    line: int
    external_id: str
    opinion: NewOpinion
    share_read: float


@dataclass(frozen=True, slots=True)
class OpinionsSource:
    """What is to be read, and as what."""

    path: Path
    teacher: str
    columns: Mapping[str, Column]
    key: str = KEY  # with {column} where a column's value belongs
    prompt_version: str = "recorded"


@dataclass(slots=True)
class OpinionsReport:
    """What an import of opinions did, or would do; it grows while it does."""

    dataset: str
    teacher: str
    matched: int = 0  # rows whose case is on the desk
    new: int = 0
    changed: int = 0  # new versions
    unchanged: int = 0
    by_verdict: Counter[str] = field(default_factory=Counter)  # of the rows matched
    unmatched: list[BadLine] = field(default_factory=list)  # the first `BAD_LINES_KEPT`
    unmatched_count: int = 0
    bad: list[BadLine] = field(default_factory=list)  # likewise
    bad_count: int = 0

    def refuse(self, line: BadLine) -> None:
        """Count a bad line, and keep it if it is one of the first."""
        self.bad_count += 1
        if len(self.bad) < BAD_LINES_KEPT:
            self.bad.append(line)

    def figures(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        figures = {name: getattr(self, name) for name in self.__slots__}
        lines = {
            name: [{"line": line.line, "reason": line.reason} for line in figures[name]]
            for name in ("unmatched", "bad")
        }
        unsure = self.by_verdict[Answer.UNSURE]
        return {**figures, **lines, "by_verdict": dict(self.by_verdict), "unsure": unsure}


def opinions_source(
    path: Path, teacher: str, given: str | None, key: str = KEY, prompt_version: str = "recorded"
) -> OpinionsSource:
    """Check what the importer is told. Raises ImportFileError."""
    if not teacher.strip():
        raise ImportFileError("The teacher has no name: give --teacher NAME.")
    if not _IN_KEY.search(key):
        raise ImportFileError(f"--key is {key[:80]!r}: name a column in it, as in '{KEY}'.")
    columns = {**{name: Column(name) for name in FIELDS}, **parse_mapping(given, FIELDS)}
    return OpinionsSource(path, teacher.strip(), columns, key, prompt_version)


def import_opinions(
    desk: Desk,
    source: OpinionsSource,
    dataset: str | None = None,
    progress: Progress | None = None,
    *,
    rehearse: bool = False,
) -> OpinionsReport:
    """Add the opinions of a file to the cases of `dataset`, by default the desk's only one.

    With `rehearse`, every transaction is rolled back. Raises ImportFileError.
    """
    report = OpinionsReport(known_dataset(desk, dataset), source.teacher)
    lines = 0
    for batch in batches(said(source)):
        read = {one.external_id: one for one in batch if isinstance(one, Said)}
        with write_session(desk.sessions) as session:
            add_batch(session, report, read, source.prompt_version)
            if rehearse:
                session.rollback()
        for one in batch:
            if isinstance(one, BadLine):
                report.refuse(one)
        lines += len(batch)
        if progress is not None:
            progress(lines, batch[-1].share_read)
    return report


def add_batch(
    session: Session, report: OpinionsReport, read: Mapping[str, Said], prompt_version: str
) -> None:
    """Add one batch of opinions, and report it."""
    opinions = {external_id: one.opinion for external_id, one in read.items()}
    had = len(spoken_of(session, report, list(opinions)))
    added = add_opinions(session, report.dataset, opinions, prompt_version=prompt_version)
    changed = had - added.unchanged
    report.matched += added.added + added.unchanged
    report.new += added.added - changed
    report.changed += changed
    report.unchanged += added.unchanged
    unknown = set(added.unknown)
    report.by_verdict.update(one.verdict for id_, one in opinions.items() if id_ not in unknown)
    report.unmatched_count += len(unknown)
    lines = sorted((read[id_].line, id_) for id_ in unknown)
    left = BAD_LINES_KEPT - len(report.unmatched)
    report.unmatched += [BadLine(line, f"there is no case {id_[:80]!r}") for line, id_ in lines[:left]]


def spoken_of(session: Session, report: OpinionsReport, external_ids: list[str]) -> set[str]:
    """Return those of the ids whose case has an opinion of the teacher."""
    query = (
        sa.select(Case.external_id)
        .join(Opinion, Opinion.case_id == Case.id)
        .join(Teacher, Teacher.id == Opinion.teacher_id)
        .where(Case.dataset == report.dataset, Case.external_id.in_(external_ids))
        .where(Opinion.current, Teacher.name == report.teacher)
    )
    return set(session.scalars(query))


def said(source: OpinionsSource) -> Iterator[Said | BadLine]:
    """Read the opinions of a file."""
    for line, row, share in rows_of(source):
        try:
            if not isinstance(row, dict):
                raise row if isinstance(row, BadCaseError) else BadCaseError("it is not a JSON object")
            yield Said(line, case_key(row, source.key), opinion(opinion_row(row, source)), share)
        except BadCaseError as error:
            yield BadLine(line, str(error), share)


def rows_of(source: OpinionsSource) -> Iterator[Row]:
    """Read the rows of a file, as CSV where its name ends so, else as JSON."""
    if source.path.suffix.lower() not in (".csv", ".tsv"):
        return json_rows(source.path)
    return csv_rows(source.path, [*_IN_KEY.findall(source.key), source.columns["verdict"].name])


def opinion_row(row: Mapping[str, Any], source: OpinionsSource) -> dict[str, Any]:
    """Return the opinion of a row as the native format would have it."""
    values = {name: column.value(row) for name, column in source.columns.items()}
    confidence, elements = values["confidence"], values["elements"]
    if isinstance(confidence, str):  # CSV knows no numbers
        values["confidence"] = number(confidence)
    if isinstance(elements, str):
        values["elements"] = (
            json_value(elements, "`elements`") if elements.startswith("[") else elements.split()
        )
    return {"teacher": source.teacher, **values}


def number(value: str) -> float | str:
    """Return the number that a text is, else the text."""
    try:
        return float(value)
    except ValueError:
        return value


def case_key(row: Mapping[str, Any], template: str) -> str:
    """Put a row's columns into the template. Raises BadCaseError for a column that is missing or empty."""
    return _IN_KEY.sub(lambda part: required({part[1]: found(row, part[1])}, part[1]), template)


def batches(entries: Iterator[Said | BadLine]) -> Iterator[list[Said | BadLine]]:
    """Cut into batches; an id that comes again opens a new one, so that it meets the first."""
    batch: list[Said | BadLine] = []
    ids: set[str] = set()
    for entry in entries:
        external_id = entry.external_id if isinstance(entry, Said) else None
        if len(batch) == BATCH or external_id in ids:
            yield batch
            batch, ids = [], set()
        batch.append(entry)
        if external_id is not None:
            ids.add(external_id)
    if batch:
        yield batch


def known_dataset(desk: Desk, dataset: str | None) -> str:
    """Return the data set; raises ImportFileError where the desk has it not, or several to choose from."""
    with desk.sessions() as session:
        names = dataset_names(session)
    if dataset in names or (dataset is None and len(names) == 1):
        return dataset or names[0]
    if not names:
        raise ImportFileError("The desk has no cases yet: import them before the opinions on them.")
    if dataset is None:
        raise ImportFileError(f"The desk has several data sets: give --dataset, one of {', '.join(names)}.")
    raise ImportFileError(f"The desk has no data set {dataset[:80]!r}: choose {', '.join(names)}.")


def dataset_names(session: Session) -> list[str]:
    """Return the names of the desk's data sets; each is one look into the index."""
    names: list[str] = []
    query = sa.select(sa.func.min(Case.dataset))
    while (name := session.scalar(query.where(Case.dataset > names[-1]) if names else query)) is not None:
        names.append(name)
    return names
