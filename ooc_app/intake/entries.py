"""What a reader is given, and what it yields line by line: a case found, a bad line, a line left out.

A bad line is damaged or says what cannot be: it is reported with its number and the reason. A line
left out is as it should be, but its data set means it for something else (VERITE's miscaptioned
pictures, the forgeries of MMFakeBench): it is counted under its reason.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from db.cases import NewCase
from db.vocabulary import Split


class ImportFileError(ValueError):
    """Raised where a whole file or folder cannot be imported; nothing was."""


class BadCaseError(ValueError):
    """Raised for a line that holds no case; the message says why, as half a sentence."""


class LeftOutError(Exception):
    """Raised for a line that is left out on purpose; the message is the reason it is counted under."""


@dataclass(frozen=True, slots=True)
class Source:
    """What is to be read."""

    path: Path  # for a data set on the hub, its id
    split: Split | None = None  # for cases whose file does not name one; what else it does, the format says
    options: Mapping[str, str] = field(default_factory=dict)  # of the format, by name
    dataset: str | None = None  # the name its cases get; None: as the file or its format says
    rows: int | None = None  # so many are enough, to look at; None: all


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that was not taken, and why."""

    line: int  # from 1; the last one of a case that spans several, or the place of an entry in its list
    reason: str
    share_read: float = 0.0


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A line that was left out on purpose; few reasons, because they are counted."""

    line: int
    reason: str
    share_read: float = 0.0


@dataclass(slots=True)
class Found:
    """A case as the file has it: its picture is still a path below the images folder, or bytes."""

    line: int
    case: NewCase
    image: str | bytes | None
    share_read: float = 0.0
    dataset: str | None = None  # where the file itself names it


Entry = Found | BadLine | LeftOut


class Made(NamedTuple):
    """What a reader makes of a row."""

    case: NewCase
    image: str | bytes | None
    dataset: str | None = None


_SPLITS: Final = {
    "train": Split.TRAIN,
    "val": Split.VALIDATION,
    "valid": Split.VALIDATION,
    "validation": Split.VALIDATION,
    "dev": Split.VALIDATION,
    "test": Split.TEST,
}


def entries(
    rows: Iterable[tuple[int, Any, float]], make: Callable[[dict[str, Any]], Iterable[Made]]
) -> Iterator[Entry]:
    """Make cases of rows, all those of a row or none."""
    for line, row, share in rows:
        try:
            if row.__class__ is not dict:
                raise row if isinstance(row, BadCaseError) else BadCaseError("it is not a JSON object")
            made = list(make(row))
        except BadCaseError as error:
            yield BadLine(line, str(error), share)
        except LeftOutError as error:
            yield LeftOut(line, str(error), share)
        else:
            for case, image, dataset in made:
                yield Found(line, case, image, share, dataset)


def named_split(name: str) -> Split | None:
    """Return the split that a file's or folder's name tells: `MMFakeBench_val.json`, `test_data.json`."""
    found = {_SPLITS[word] for word in re.split(r"[^a-z]+", name.lower()) if word in _SPLITS}
    return found.pop() if len(found) == 1 else None


def split_of(source: Source) -> Split:
    """Return the split asked for, else the one the file's name tells.

    Raises ImportFileError where neither says: held-out cases taken for training ones would leak.
    """
    split = source.split or named_split(source.path.name)
    if split is None:
        raise ImportFileError(
            f"The name of {source.path} does not tell its split: give --split train, validation or test."
        )
    return split
