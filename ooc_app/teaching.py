"""Ask a teacher about the desk's cases, and keep what it says.

Cases that lack an opinion are read a page at a time and prepared on a thread of their own, a few ahead of
the questions; each answer is on the desk before its worker asks the next. So a run that is stopped, killed
or cut off has lost nothing that came back, and the next asks about exactly the cases that are left. One
process at a time asks a teacher.
"""

import asyncio
import fcntl
import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Full, Queue
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from db import teaching as kept
from db.cases import NewOpinion
from db.engine import write_session
from db.models import Event, TeachRun
from db.teaching import Gap, NewAnswer, TeachingError, Wanted
from db.views import CaseView, case_views
from db.vocabulary import Answer, Split, TeacherKind
from ooc_app.auth import now
from ooc_app.desk import Desk
from ooc_app.intake.images import ImageRefusedError, UnknownImageError, shown_copy
from ooc_app.lessons import image_name
from ooc_app.teacher_settings import at_hand
from training.prompts import Evidence
from training.records import CaseInput
from training.teacher_question import AS_USUAL, Wording, answer_schema, clean
from training.teachers import Asked, Teacher, TeacherConfig, open_teacher
from training.teaching import Ended, Limits, Opined, teach

if TYPE_CHECKING:
    from training.teacher_watch import TeacherWatch

Item = TypeVar("Item")
Environment = Mapping[str, str]

PAGE: Final = 100  # cases read at a time
UNREAD_MAX: Final = 500  # characters of an answer without an opinion that stand for its rationale
KINDS: Final = {
    "endpoint": TeacherKind.ENDPOINT,
    "local": TeacherKind.LOCAL,
    "replay": TeacherKind.RECORDED,
}
NO_LIMITS: Final = Limits()
TURNED: Final = replace(AS_USUAL, in_context_first=not AS_USUAL.in_context_first)


@dataclass(frozen=True)
class Asking:
    """What a run asks: which teacher, about which cases, how, and how much at most."""

    config: TeacherConfig
    limits: Limits = NO_LIMITS
    splits: frozenset[Split] = frozenset(Split)
    wording: Wording = AS_USUAL


@dataclass(frozen=True)
class Taught:
    """How a run went, and what is left."""

    ended: Ended
    passed_over: Counter[str]  # cases that could not be asked about, by the reason
    left: Gap


@dataclass(frozen=True)
class Flipped:
    """Whether the order in which the verdicts are offered matters to a teacher."""

    ended: Ended
    verdicts: Counter[tuple[Answer, Answer]]  # as usual, and with the order turned
    cost: float

    @property
    def compared(self) -> int:
        """How many cases were answered both ways."""
        return self.verdicts.total()

    @property
    def changed(self) -> int:
        """How many of them changed their verdict."""
        return sum(count for (usual, turned), count in self.verdicts.items() if usual != turned)


@dataclass
class Passing:
    """The cases on their way to a teacher: which case of the desk is meant, and which could not go."""

    text_only: bool
    ids: dict[str, int] = field(default_factory=dict)
    passed_over: Counter[str] = field(default_factory=Counter)

    def asked(self, desk: Desk, view: CaseView) -> Asked | None:
        """Prepare a case; None where it has to be passed over."""
        case, picture = case_input(view), None
        if case.id in self.ids:  # two data sets whose names and ids run together
            self.passed_over["asked about in the next run"] += 1
            return None
        if view.image_sha256 is not None and not self.text_only:
            try:
                picture = shown_copy(view.image_sha256, desk.images_dir)
            except (ImageRefusedError, UnknownImageError):
                self.passed_over["picture damaged or missing"] += 1
                return None
        self.ids[case.id] = view.id
        return Asked(case, picture)


def case_input(view: CaseView) -> CaseInput:
    """Return what a teacher may see of a case: neither gold verdict nor source nor what others say."""
    evidence = tuple(
        Evidence(piece.title or "", piece.url or "", piece.date or "", piece.text or "")
        for piece in view.evidence
    )
    name = f"{view.dataset}/{view.external_id}"
    image = image_name(view.image_sha256) if view.image_sha256 else ""
    return CaseInput(name, image, view.caption, view.date, view.place, evidence)


def wanted_of(desk: Desk, asking: Asking) -> Wanted:
    """Say which opinions a run is after."""
    with desk.sessions() as session:
        teacher = kept.teacher_named(session, asking.config.name)
    version, model = asking.wording.version, asking.config.model
    known = teacher.id if teacher else None
    return Wanted(known, version, model, asking.splits, asking.config.text_only)


def gap(desk: Desk, asking: Asking) -> Gap:
    """Count the cases a run would ask about."""
    wanted = wanted_of(desk, asking)
    with desk.sessions() as session:
        return kept.count_missing(session, wanted)


def teach_desk(
    desk: Desk,
    asking: Asking,
    environment: Environment,
    annotator_id: int | None,
    *,
    watch: "TeacherWatch",
    stop: threading.Event,
) -> Taught:
    """Ask about the cases that lack an opinion, and keep each as it comes.

    Raises TeacherError where the teacher cannot be opened, and TeachingError where it is retired or asked
    by another process.
    """
    config = asking.config
    with _alone(desk, config.name):
        teacher = _opened(desk, asking, environment)
        run = _begun(desk, asking, annotator_id)
        passing = Passing(config.text_only)
        wanted = wanted_of(desk, asking)
        before = gap(desk, asking)

        def page(after_id: int) -> list[int]:
            with desk.sessions() as session:
                return kept.missing(session, wanted, after_id=after_id, count=PAGE, stale=before.stale > 0)

        def keep(opined: Opined) -> None:
            with write_session(desk.sessions) as session:
                case_id = passing.ids.pop(opined.case_id)
                kept.keep_opinion(session, run, case_id, _opinion(config, opined), _answer(opined), now())

        try:
            with Ahead(prepared(desk, page, passing), 2 * teacher.takes) as cases:
                ended = asyncio.run(_taught(teacher, asking, cases, keep, watch, stop))
        except BaseException as error:
            _end(desk, run, f"failed: {type(error).__name__}", 0)
            raise
        _end(desk, run, ended.why, ended.asked)
    return Taught(ended, passing.passed_over, gap(desk, asking))


def flip(
    desk: Desk,
    asking: Asking,
    environment: Environment,
    annotator_id: int | None,
    *,
    count: int,
    watch: "TeacherWatch",
    stop: threading.Event,
) -> Flipped:
    """Ask again about cases a teacher has answered, with the verdicts offered in the other order.

    That measures how much the order matters; none of it becomes an opinion. Raises as `teach_desk` does,
    and TeachingError where the teacher has answered nothing yet.
    """
    wanted = wanted_of(desk, asking)
    with desk.sessions() as session:
        before = kept.answered(session, wanted, 0, count) if wanted.teacher_id else {}
    if not before:
        raise TeachingError(
            f"{asking.config.name} has answered nothing yet: ask it first, then turn the order."
        )
    turned = replace(asking, wording=TURNED)
    verdicts: list[tuple[Answer, Answer]] = []
    passing = Passing(asking.config.text_only)

    def keep(opined: Opined) -> None:
        if opined.parsed:
            verdicts.append((before[passing.ids.pop(opined.case_id)], opined.opinion.verdict))

    with _alone(desk, asking.config.name):
        teacher = _opened(desk, turned, environment)
        run = _begun(desk, turned, annotator_id)
        cases = prepared(desk, lambda after_id: [] if after_id else list(before), passing)
        ended = asyncio.run(_taught(teacher, turned, cases, keep, watch, stop))
        spent = watch.figures()
        flipped = Flipped(ended, Counter(verdicts), spent["cost"])
        detail = {"teacher": asking.config.name, "compared": flipped.compared, "changed": flipped.changed}
        with write_session(desk.sessions) as session:
            session.add(Event(at=now(), annotator_id=annotator_id, action="flip", detail=detail))
        counts = {name: spent[name] for name in ("tokens_in", "tokens_out", "cost")}
        _end(desk, run, ended.why, ended.asked, **counts)
    return flipped


def retire(desk: Desk, name: str, annotator_id: int | None, advance: Callable[[int], None]) -> None:
    """Let a teacher's opinions count no more, a batch at a time; cut off, it goes on when done again.

    Raises TeachingError where there is no such teacher, or somebody asks it now.
    """
    with _alone(desk, name):
        with write_session(desk.sessions) as session:
            teacher_id = kept.retire(session, name, annotator_id, now())
        done = 1
        while done:
            with write_session(desk.sessions) as session:
                done = kept.withdraw(session, teacher_id, now())
            advance(done)


def reinstate(desk: Desk, name: str, annotator_id: int | None, advance: Callable[[int], None]) -> None:
    """Let a teacher's newest opinions count again, likewise."""
    with _alone(desk, name):
        with write_session(desk.sessions) as session:
            teacher_id = kept.reinstate(session, name, annotator_id, now())
        after_id: int | None = 0
        while after_id is not None:
            with write_session(desk.sessions) as session:
                after_id = kept.bring_back(session, teacher_id, after_id, now())
            advance(kept.BATCH)


def prepared(desk: Desk, page: Callable[[int], list[int]], passing: Passing) -> Iterator[Asked]:
    """Read page after page of cases, each page by the last case of the one before, and prepare them."""
    after_id = 0
    while case_ids := page(after_id):
        with desk.sessions() as session:
            views = case_views(session, case_ids)
        for view in views:
            asked = passing.asked(desk, view)
            if asked is not None:
                yield asked
        after_id = case_ids[-1]


class Ahead(Generic[Item]):
    """An iterator whose next `count` items a thread prepares; a context manager that ends the thread."""

    def __init__(self, items: Iterator[Item], count: int) -> None:
        self._items = items
        self._waiting: Queue[Item | Exception | None] = Queue(count)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="cases for a teacher", daemon=True)

    def __enter__(self) -> Iterator[Item]:
        self._thread.start()
        return self._taken()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _fill(self) -> None:
        try:
            for item in self._items:
                self._put(item)
                if self._over.is_set():
                    return
            self._put(None)
        except Exception as error:
            self._put(error)

    def _put(self, one: Item | Exception | None) -> None:
        while not self._over.is_set():
            with suppress(Full):
                self._waiting.put(one, timeout=0.1)
                return

    def _taken(self) -> Iterator[Item]:
        while (one := self._waiting.get()) is not None:
            if isinstance(one, Exception):
                raise one
            yield one


async def _taught(
    teacher: Teacher,
    asking: Asking,
    cases: Iterator[Asked],
    keep: Callable[[Opined], None],
    watch: "TeacherWatch",
    stop: threading.Event,
) -> Ended:
    try:
        return await teach(
            teacher, asking.config, cases, keep,
            limits=asking.limits, watch=watch, stop=stop, wording=asking.wording,
        )  # fmt: skip
    finally:
        await teacher.close()


def _opened(desk: Desk, asking: Asking, environment: Environment) -> Teacher:
    with desk.sessions() as session:
        kept.askable(session, asking.config.name)
    return open_teacher(at_hand(desk, asking.config), environment, answer_schema(asking.wording))


def _begun(desk: Desk, asking: Asking, annotator_id: int | None) -> TeachRun:
    config = asking.config
    with write_session(desk.sessions) as session:
        return kept.begin_run(
            session, config.name, KINDS[config.kind],
            prompt_version=asking.wording.version, model=config.model, annotator_id=annotator_id, now=now(),
        )  # fmt: skip


def _end(desk: Desk, run: TeachRun, why: str, asked: int, **spent: float) -> None:
    with write_session(desk.sessions) as session:
        kept.end_run(session, run.id, why, asked, now(), **spent)


def _opinion(config: TeacherConfig, opined: Opined) -> NewOpinion:
    """Return the opinion to keep; where none could be read, people see what came instead."""
    said = opined.opinion
    rationale = said.rationale if opined.parsed else clean(opined.raw)[:UNREAD_MAX]
    return NewOpinion(config.name, said.verdict, rationale, said.confidence, said.elements)


def _answer(opined: Opined) -> NewAnswer:
    return NewAnswer(
        opined.raw,
        opined.parsed,
        opined.model,
        opined.tokens_in,
        opined.tokens_out,
        opined.seconds,
        opined.cost,
        opined.tries,
    )


@contextmanager
def _alone(desk: Desk, name: str) -> Iterator[None]:
    """Keep other processes from asking this teacher; the system lets go of the lock however this one ends."""
    path: Path = desk.data_dir / f".teacher-{hashlib.sha256(name.encode()).hexdigest()[:12]}.lock"
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TeachingError(
                f"{name} is being asked already: wait until that is done, or stop it."
            ) from None
        yield
