"""Ask a teacher about the desk's cases, and keep what it says.

Cases that lack an opinion are read a page at a time and prepared on a thread of their own, a few ahead of
the questions; each answer is on the desk before its worker asks the next. So a run that is stopped, killed
or cut off has lost nothing that came back, and the next asks about exactly the cases that are left. One
process at a time asks a teacher.
"""

import asyncio
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Full, Queue
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from db import teaching as kept
from db.cases import NewOpinion
from db.engine import write_session
from db.models import Event, TeachRun
from db.teach_runs import FLIP, SIGHT, end_run, last_found
from db.teaching import Gap, NewAnswer, TeachingError, Wanted
from db.views import CaseView, case_views
from db.vocabulary import Answer, Split, TeacherKind
from ooc_app.auth import now
from ooc_app.desk import Desk
from ooc_app.intake.images import ImageRefusedError, UnknownImageError, shown_copy
from ooc_app.lessons import case_input
from ooc_app.teach_board import Deed, doing
from ooc_app.teacher_settings import at_hand
from training.teacher_question import AS_USUAL, Wording, answer_schema, clean
from training.teacher_sight import Sight, SightTest, sight_test
from training.teachers import Asked, Teacher, TeacherConfig, open_teacher
from training.teaching import Ended, Limits, Opined, Why, teach

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
    sight: Sight | None = None  # where the run looked whether its teacher looks

    def figures(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "asked": self.ended.asked,
            "kept": self.ended.kept,
            "failed": dict(self.ended.failed),
            "passed_over": dict(self.passed_over),
            "left": self.left.cases,
            "without_picture": self.left.without_picture,
            "sight": self.sight.said if self.sight else None,
        }


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

    def figures(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        verdicts = [
            {"usual": usual, "turned": turned, "cases": cases}
            for (usual, turned), cases in sorted(self.verdicts.items())
        ]
        told = {"compared": self.compared, "changed": self.changed}
        return {**told, "cost": self.cost, "verdicts": verdicts}


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

    On the way it is found out whether the teacher needs the picture, unless an earlier run saw that it does.
    Raises TeacherError where the teacher cannot be opened, and TeachingError where it is retired or asked
    by another process.
    """
    config = asking.config
    with (
        doing(desk, config.name, Deed.RUN, watch.figures) as board,
        tempfile.TemporaryDirectory(prefix="ooc-sight-") as folder,
    ):
        teacher = opened(desk, asking, environment)
        run = _begun(desk, asking, annotator_id)
        test = _sight_test(desk, run, config, Path(folder), go_on=watch.go_on)
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
                ended = asyncio.run(_taught(teacher, asking, cases, keep, watch, stop, test))
        except BaseException as error:
            _end(desk, run, _why(error), 0, test)
            raise
        sight = _end(desk, run, ended.why, ended.asked, test)
        taught = Taught(ended, passing.passed_over, gap(desk, asking), sight)
        board.end(ended.why, ended.said, taught.figures())
    return taught


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

    with doing(desk, asking.config.name, Deed.FLIP, watch.figures) as board:
        teacher = opened(desk, turned, environment)
        run = _begun(desk, turned, annotator_id)
        cases = prepared(desk, lambda after_id: [] if after_id else list(before), passing)
        try:
            ended = asyncio.run(_taught(teacher, turned, cases, keep, watch, stop))
        except BaseException as error:
            _end_flip(desk, run, _why(error), 0, watch, None)
            raise
        flipped = Flipped(ended, Counter(verdicts), watch.figures()["cost"])
        with write_session(desk.sessions) as session:
            detail = {"teacher": asking.config.name, "run": run.id}
            session.add(Event(at=now(), annotator_id=annotator_id, action="flip", detail=detail))
        found = {FLIP: flipped.figures()} if flipped.compared else None
        _end_flip(desk, run, ended.why, ended.asked, watch, found)
        board.end(ended.why, ended.said, flipped.figures())
    return flipped


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
    sight: SightTest | None = None,
) -> Ended:
    try:
        return await teach(
            teacher, asking.config, cases, keep,
            limits=asking.limits, watch=watch, stop=stop, wording=asking.wording, sight=sight,
        )  # fmt: skip
    finally:
        await teacher.close()


def opened(desk: Desk, asking: Asking, environment: Environment) -> Teacher:
    """Open a teacher. Raises TeacherError where it cannot be, and TeachingError for a retired one."""
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


def _end_flip(
    desk: Desk, run: TeachRun, why: str, asked: int, watch: "TeacherWatch", found: dict[str, Any] | None
) -> None:
    spent = watch.figures()
    with write_session(desk.sessions) as session:
        end_run(
            session, run.id, why, asked, now(), found,
            tokens_in=spent["tokens_in"], tokens_out=spent["tokens_out"], cost=spent["cost"],
        )  # fmt: skip


def _why(error: BaseException) -> str:
    """Say why a run ended that could not end well."""
    return Why.STOPPED if isinstance(error, KeyboardInterrupt) else f"failed: {type(error).__name__}"


def _sight_test(
    desk: Desk, run: TeachRun, config: TeacherConfig, folder: Path, *, go_on: bool
) -> SightTest | None:
    """Return the test of a teacher not yet seen to look; None where one that does not is to go on."""
    with desk.sessions() as session:
        last = last_found(session, run.teacher_id, run.model, run.prompt_version)
    ignores_image = last.get(SIGHT, {}).get("ignores_image")
    if ignores_image is False or (ignores_image and go_on):
        return None
    return sight_test(config, folder)


def _end(desk: Desk, run: TeachRun, why: str, asked: int, test: SightTest | None) -> Sight | None:
    """End a run; returns what it found where all that its test asked is back."""
    sight = test.sight if test else Sight(0)
    found = {SIGHT: sight.figures()} if test and sight.is_whole else None
    with write_session(desk.sessions) as session:
        end_run(
            session, run.id, why, asked, now(), found,
            tokens_in=sight.tokens_in, tokens_out=sight.tokens_out, cost=sight.cost,
        )  # fmt: skip
    return sight if found else None


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
