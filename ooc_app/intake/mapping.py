"""Read another file's columns as the desk's fields, as the one who imports says.

    caption:text,gold:label,0=in_context,1=out_of_context,split:subset,dev=validation

`FIELD:COLUMN` names the column of a field, and every `VALUE=WORD` after it what a value of that
column means; `*` stands for any other value and `null` for none. A column inside another is
`outer.inner`. Polarity is stated, never guessed: once one value has a meaning, a value without one is
refused. A part with a comma in it stands in quotation marks.
"""

import csv
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from db.vocabulary import Answer, Element, Split, Verdict
from ooc_app.intake.entries import BadCaseError, ImportFileError, LeftOutError
from ooc_app.intake.fields import shown
from ooc_app.intake.rows import json_value

OTHER: Final = "*"
NULL: Final = "null"
LEFT_OUT: Final = "left_out"  # what a value of `gold` may mean, too: the row is no case
NESTED: Final = ("evidence", "opinions")
CASE_FIELDS: Final = (
    "id", "image", "caption", "gold", "split", "group", "source", "url", "date", "place", "note", *NESTED
)  # fmt: skip
ALL_FIELDS: Final = (*CASE_FIELDS, "teacher", "verdict", "rationale", "confidence", "elements")
WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "gold": (*Verdict, LEFT_OUT),
    "verdict": tuple(Answer),
    "split": tuple(Split),
    "elements": tuple(Element),
}


@dataclass(frozen=True, slots=True)
class Column:
    """Where a field comes from, and what its values mean; without meanings they are taken as they are."""

    name: str
    meanings: Mapping[str, str] = field(default_factory=dict)

    def value(self, row: Mapping[str, Any]) -> Any:
        """Return the field's value in `row`. Raises BadCaseError for a value without a meaning."""
        value = found(row, self.name)
        if isinstance(value, float) and math.isnan(value):  # how some libraries write a missing text
            value = None
        if not self.meanings:
            return value.isoformat() if isinstance(value, date) else value
        if value is None:
            return self.meanings.get(NULL)
        if isinstance(value, list):
            return [self.meaning(one) for one in value]
        return self.meaning(value)

    def meaning(self, value: object) -> str:
        """Return what a value means."""
        said = spelled(value)
        meaning = self.meanings.get(said, self.meanings.get(OTHER))
        if meaning is None:
            raise BadCaseError(f"`{self.name}` is {said!r}, which --map gives no meaning")
        return meaning

    def left_out(self, row: Mapping[str, Any]) -> str:
        """Say why a row is left out; the values that the mapping does not name count as one."""
        said = spelled(found(row, self.name))
        return f"`{self.name}` is {said}" if said in self.meanings else f"`{self.name}` has another value"


def parse_mapping(given: str | None, fields: Collection[str]) -> dict[str, Column]:
    """Read what --map says. Raises ImportFileError for what cannot be meant."""
    columns: dict[str, Column] = {}
    last = ""
    for part in parts(given):
        value, equals, word = part.rpartition("=")
        if equals:
            if not last:
                raise ImportFileError(f"--map begins with {part[:80]!r}: name a field and its column first.")
            check_word(last, word.strip(), part)
            meanings = {**columns[last].meanings, value.strip(): word.strip()}
            columns[last] = Column(columns[last].name, meanings)
            continue
        name, colon, column = part.partition(":")
        last = name.strip()
        if not colon or not column.strip():
            raise ImportFileError(f"--map has {part[:80]!r}, which is neither FIELD:COLUMN nor VALUE=WORD.")
        if last not in fields:
            raise ImportFileError(
                f"--map names the field {last[:80]!r}, which is none of {', '.join(fields)}."
            )
        columns[last] = Column(column.strip())
    return columns


def parts(given: str | None) -> list[str]:
    """Cut what --map says at its commas."""
    if not given:
        return []
    try:
        return [
            part.strip()
            for part in next(csv.reader([given], skipinitialspace=True, strict=True))
            if part.strip()
        ]
    except (csv.Error, StopIteration) as error:
        raise ImportFileError(f"--map cannot be read ({error}): check its quotation marks.") from error


def check_word(name: str, word: str, part: str) -> None:
    """Raise ImportFileError for a meaning that is not one of the desk's words."""
    if name not in WORDS:
        raise ImportFileError(f"--map has {part[:80]!r}, but the values of `{name}` are taken as they are.")
    if word not in WORDS[name]:
        raise ImportFileError(f"--map has {part[:80]!r}, but `{name}` is one of {', '.join(WORDS[name])}.")


def described(columns: Mapping[str, Column]) -> dict[str, str]:
    """Say for people where each field comes from."""
    return {
        name: f"`{column.name}`"
        + (": " if column.meanings else "")
        + ", ".join(f"{value} = {word}" for value, word in column.meanings.items())
        for name, column in columns.items()
    }


def case_row(row: Mapping[str, Any], columns: Mapping[str, Column]) -> dict[str, Any]:
    """Return the row as the native format would have it.

    Raises BadCaseError, and LeftOutError where the meaning of its gold verdict is that.
    """
    case = {name: column.value(row) for name, column in columns.items()}
    if case.get("gold") == LEFT_OUT:
        raise LeftOutError(columns["gold"].left_out(row))
    for name in NESTED:
        value = case.get(name)
        if isinstance(value, str):
            case[name] = json_value(value, f"`{columns[name].name}`") if value.strip() else None
        elif isinstance(value, dict):
            case[name] = transposed(value)
        if isinstance(case.get(name), BadCaseError):
            raise case[name]
    return case


def transposed(lists: Mapping[str, Any]) -> Any:
    """Turn an object of lists, as some libraries give a list of objects, into that."""
    if not all(isinstance(values, list) for values in lists.values()):
        return lists
    length = max((len(values) for values in lists.values()), default=0)
    if any(len(values) != length for values in lists.values()):
        return lists
    return [{key: values[place] for key, values in lists.items()} for place in range(length)]


def found(row: Mapping[str, Any], name: str) -> Any:
    """Look a column up, also inside another one."""
    if name in row or "." not in name:
        return row.get(name)
    outer, _, inner = name.partition(".")
    below = row.get(outer)
    return found(below, inner) if isinstance(below, dict) else None


def spelled(value: object) -> str:
    """Write a value as --map writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value)) if abs(value) < 1e15 else str(value)
    return value.strip() if isinstance(value, str) else shown(value)
