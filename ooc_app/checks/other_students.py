"""Students besides the one that answered: the untouched one, each stage of the run, the one served before.

Each is loaded beside the served student for one question, on the model's thread, and let go when its answer
is read to the end or nobody listens any more.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from db.vocabulary import Stage
from ooc_app.checks.question import Question
from ooc_app.checks.said import AnswererError, Said
from ooc_app.desk import Desk
from ooc_app.promotion import served_before
from ooc_app.serving import Serving
from training import memory
from training.config import PROJECT_DIR, DistilConfig, DpoConfig, StageConfig, load_config, located
from training.shapes import shape_of
from training.state import RunFolder

if TYPE_CHECKING:
    from PIL import Image

    from training.prefill import Prefill
    from training.records import CaseInput
    from training.student import Student

STAGE_WORDS: Final = {Stage.SFT: "after stage 1", Stage.DPO: "after stage 2"}


@dataclass(frozen=True)
class OtherStudent:
    """A student that could be asked: a folder or hub id, or a run and one of its stages.

    `of_run` is the run that starts from it, where it is untouched.
    """

    title: str
    source: str
    stage: Stage | None = None
    of_run: str | None = None

    @property
    def newest(self) -> Stage | None:
        """The newest stage of the run it is of; None where it is of none."""
        is_run = (Path(self.source) / "snapshot.json").exists()
        return RunFolder(Path(self.source)).newest_stage() if is_run else None

    @property
    def snapshot(self) -> str | None:
        """The hash of what it was distilled from, None for an untouched one."""
        if self.newest is None:
            return None
        said = json.loads((Path(self.source) / "snapshot.json").read_text(encoding="utf-8"))
        return str(said["hash"]) if said.get("hash") else None

    def name(self, desk: Desk) -> str:
        """Return its name as `CheckAnswer.student` gives it."""
        return located(self.source).removeprefix(f"{PROJECT_DIR}/").removeprefix(f"{desk.data_dir}/")


def other_students(desk: Desk) -> list[OtherStudent]:
    """Return the students, each once: from the untouched to the served one, and the one served before."""
    found = _of_source(desk.student_source())
    found[-1] = replace(found[-1], title=both(found[-1].title, "served now"))
    before = served_before(desk)
    if before is not None:
        found.append(replace(_of_source(before)[-1], title="served before"))
    once: dict[tuple[str, Stage | None], OtherStudent] = {}
    for one in found:
        key = (located(one.source), one.stage)
        once[key] = replace(once[key], title=both(once[key].title, one.title)) if key in once else one
    return list(once.values())


def both(first: str, second: str) -> str:
    """Join two titles of one student."""
    return f"{first}, {second}" if first else second


def ask(serving: Serving, one: OtherStudent, shown: Path, asked: Question) -> Iterator[str | Said]:
    """Yield what a student is doing, then its growing answer; AnswererError where it cannot be asked."""
    from training.pictures import load_picture
    from training.records import CaseInput

    refusal = _is_missing(one) or _will_not_fit(one)
    if refusal:
        raise AnswererError(refusal)
    yield "loading"
    student = serving.in_turn(partial(_loaded, one))
    yield "looking at the picture"
    picture = load_picture(shown, student.edge)
    case = CaseInput("", "", asked.caption, date=asked.date, place=asked.place)
    seconds, begun = serving.in_turn(partial(_timed, student, picture, case))
    judged = student.judgement(begun.margin)
    said = Said(
        judged.verdict,
        round(judged.probability, 4),
        student.fit.abstains(judged.probability),
        seconds=round(seconds, 3),
        note=_note(one),
    )
    yield said
    for piece in serving.written_in_turn(lambda: student.write(begun, judged.verdict)):
        said = replace(said, rationale=said.rationale + piece)
        yield replace(said, rationale=said.rationale.strip())


def _of_source(source: str) -> list[OtherStudent]:
    """Return the stages of a run from its untouched student on; of anything else, itself."""
    newest = OtherStudent("", source).newest
    if newest is None:
        return [OtherStudent("", source)]
    base = load_config(Path(source) / "config.json").student
    stages = list(Stage)[: list(Stage).index(newest) + 1]
    after = [OtherStudent(STAGE_WORDS[stage], source, stage) for stage in stages]
    return [OtherStudent("untouched", base, of_run=source), *after]


def _loaded(one: OtherStudent) -> "Student":
    from training.student import Student

    try:
        if one.of_run is not None:
            return Student.untouched(load_config(Path(one.of_run) / "config.json"))
        return Student.load(located(one.source), stage=one.stage)
    except Exception as error:  # a damaged file raises what its reader likes; the other students are asked on
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise AnswererError(f"This student could not be loaded: {reason}") from error


def _timed(student: "Student", picture: "Image.Image", case: "CaseInput") -> "tuple[float, Prefill]":
    begun = time.perf_counter()
    [read] = student.read(student.see([picture]), [case])
    return time.perf_counter() - begun, read


def _note(one: OtherStudent) -> str:
    """Say what the probability of a student is worth that was not calibrated itself."""
    if one.of_run is not None:
        return "not calibrated"
    return "" if one.stage == one.newest else "calibrated after stage 2"


def _is_missing(one: OtherStudent) -> str:
    """Say that a run's folder lacks a stage's adapter, as one does that was packed to be served."""
    if one.stage is None or RunFolder(Path(one.source)).adapter_dir(one.stage).is_dir():
        return ""
    number = list(Stage).index(one.stage) + 1
    return f"The adapter of stage {number} is not in the run's folder, so this student cannot be asked."


def _will_not_fit(one: OtherStudent) -> str:
    """Say that a student would not fit beside the served one; nothing where its size is not known."""
    config = _config(one)
    shape = shape_of(config.student)
    if shape is None:
        return ""
    machine = memory.this_machine()
    parts = memory.estimate(config, shape, machine, pictures=1)
    needed = parts.standing["weights"] + parts.passing["evaluation"]
    if memory.fits(needed, machine.free):
        return ""
    needs, free = memory.gigabytes(needed), memory.gigabytes(machine.free)
    return f"This student needs about {needs} beside the served one, and {free} of memory is free."


def _config(one: OtherStudent) -> DistilConfig:
    """Return what a student is loaded by, few pictures judged at a time."""
    run = one.of_run or (one.source if one.newest else None)
    if run is None:
        return DistilConfig(one.source, StageConfig(1e-4, 1, 1), DpoConfig(1e-5, 1, 1), dtype="auto")
    config = load_config(Path(run) / "config.json")
    return replace(config, sft=replace(config.sft, batch_size=1), quantization="none")
