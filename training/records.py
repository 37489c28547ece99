"""The records that go into a run folder and come out of it: one JSON object a line."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from db.vocabulary import Answer, Verdict
from training.prompts import Evidence


class RecordError(ValueError):
    """A line of a run's input is not the record it should be; says which line of which file."""


@dataclass(frozen=True, slots=True)
class CaseInput:
    """What a model may see of a case. `image` is a path relative to the run folder.

    `group` is shared by cases that share a picture or a caption; it never reaches a model.
    """

    id: str
    image: str
    caption: str
    date: str | None = None
    place: str | None = None
    evidence: tuple[Evidence, ...] = ()
    group: str = ""

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Build from JSON values."""
        evidence = tuple(Evidence(**piece) for piece in values.get("evidence", ()))
        return cls(**{**values, "evidence": evidence})


@dataclass(frozen=True, slots=True)
class Target:
    """A line of `sft.jsonl`: what the student should answer; `origin` is `agreed` or `settled`."""

    case: CaseInput
    verdict: Verdict
    rationale: str
    origin: str

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Build from JSON values."""
        return cls(
            CaseInput.parse(values["case"]),
            Verdict(values["verdict"]),
            values["rationale"],
            values["origin"],
        )


@dataclass(frozen=True, slots=True)
class Preference:
    """A line of `preferences.jsonl`: of two answers to one case, the one people side with.

    `chosen` carries the human verdict, `rejected` the other one.
    """

    case: CaseInput
    verdict: Verdict
    chosen: str
    rejected: str
    origin: str = "conflict"

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Build from JSON values."""
        return cls(
            CaseInput.parse(values["case"]),
            Verdict(values["verdict"]),
            values["chosen"],
            values["rejected"],
            values["origin"],
        )


@dataclass(frozen=True, slots=True)
class GoldCase:
    """A line of `validation.jsonl` or `test.jsonl`: a held-out case and what each teacher said."""

    case: CaseInput
    gold: Verdict
    opinions: dict[str, Answer] = field(default_factory=dict)

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Build from JSON values."""
        opinions = {name: Answer(said) for name, said in values["opinions"].items()}
        return cls(CaseInput.parse(values["case"]), Verdict(values["gold"]), opinions)


R = TypeVar("R", Target, Preference, GoldCase)


def write_records(path: Path, records: Iterable[Target | Preference | GoldCase]) -> int:
    """Write one JSON object a line; returns how many."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(asdict(record), ensure_ascii=False) + "\n")
            count += 1
    return count


def read_records(path: Path, kind: type[R]) -> list[R]:
    """Read what `write_records` wrote. Raises RecordError naming the first bad line."""
    records = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                records.append(kind.parse(json.loads(line)))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise RecordError(f"{path.name}, line {number}: {error}.") from error
    return records
