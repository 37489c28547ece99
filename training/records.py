"""The records that go into a run folder and come out of it: one JSON object a line."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from db.vocabulary import Answer, PreferenceOrigin, Verdict
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
class Provenance:
    """How a negative was made, and why it was kept.

    `noise_step` is that of the picture the student saw, 0 to 999. `element`, `replaced` and
    `replacement` say what was exchanged, and by what. Log-probabilities are the stage-1 student's on the
    clean picture, in nats, the mean over an answer's tokens.
    """

    made_by: str
    kept_because: str
    logp_chosen: float
    logp_rejected: float
    noise_step: int | None = None
    element: str | None = None
    replaced: str | None = None
    replacement: str | None = None


@dataclass(frozen=True, slots=True)
class Preference:
    """A line of `preferences.jsonl` or `negatives.jsonl`: of two answers to one case, the better one.

    `chosen` carries the human verdict, and `rejected` carries `rejected_verdict`; None, as in every
    preference between teachers, is the other verdict. Only negatives have a `provenance`.
    """

    case: CaseInput
    verdict: Verdict
    chosen: str
    rejected: str
    origin: PreferenceOrigin = PreferenceOrigin.CONFLICT
    rejected_verdict: Verdict | None = None
    provenance: Provenance | None = None

    @property
    def rejected_side(self) -> Verdict:
        """The verdict that the rejected rationale is said for."""
        return self.rejected_verdict or self.verdict.other

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Build from JSON values; what older versions wrote has no more than the first five."""
        side, made = values.get("rejected_verdict"), values.get("provenance")
        return cls(
            CaseInput.parse(values["case"]),
            Verdict(values["verdict"]),
            values["chosen"],
            values["rejected"],
            PreferenceOrigin(values["origin"]),
            Verdict(side) if side else None,
            Provenance(**made) if made else None,
        )


@dataclass(frozen=True, slots=True)
class GoldCase:
    """A line of `validation.jsonl` or `test.jsonl`: a held-out case and what each teacher said.

    `source` is where the case was published, or its data set; figures are told apart by it, and it never
    reaches a model.
    """

    case: CaseInput
    gold: Verdict
    opinions: dict[str, Answer] = field(default_factory=dict)
    source: str = ""

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Build from JSON values."""
        opinions = {name: Answer(said) for name, said in values["opinions"].items()}
        source = values.get("source", "")  # what older versions wrote has none
        return cls(CaseInput.parse(values["case"]), Verdict(values["gold"]), opinions, source)


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
    return list(parsed_lines(path, kind))


def parsed_lines(path: Path, kind: type[R]) -> Iterator[R]:
    """Yield what `write_records` wrote, line by line. Raises RecordError at the first bad line."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                yield kind.parse(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise RecordError(f"{path.name}, line {number}: {error}.") from error
