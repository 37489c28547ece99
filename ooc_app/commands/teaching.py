"""`teach`: ask teachers about the desk's cases, look whether they can be asked, let them count no more."""

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from db.vocabulary import Answer, Split
from ooc_app import teaching
from ooc_app.auth import local_person
from ooc_app.commands.terminal import Add, UsageError, bar_of
from ooc_app.desk import Desk
from ooc_app.render import count, counted, percent, price_words, time_words
from ooc_app.retiring import count_to_change, reinstate, retire
from ooc_app.teach_board import Deed
from ooc_app.teach_panel import Row
from ooc_app.teach_rehearsal import Rehearsal, Rehearsed, rehearse
from ooc_app.teach_rows import kinds_of, rows_of
from ooc_app.teacher_connection import connection
from ooc_app.teacher_settings import at_hand, presets, teacher_config, teacher_configs
from ooc_app.teaching import Asking, Taught
from training.teacher_watch import TeacherWatch
from training.teachers import TeacherConfig
from training.teaching import Ended, Limits, Opined, Why

FLIPPED = 50  # cases that are asked about again with the verdicts in the other order
FAILED = (Why.ALARM, Why.STOPPED, Why.TEACHER)  # ends that are no success
SHORT = {Answer.IN_CONTEXT: "in", Answer.OUT_OF_CONTEXT: "out", Answer.UNSURE: "unsure"}


def add_commands(add: Add) -> None:
    """Add `teach`."""
    asking = add("teach", teach_command)
    asking.add_argument("teacher", nargs="?", metavar="TEACHER", help="its name in settings.toml")
    deeds = asking.add_mutually_exclusive_group()
    deeds.add_argument("--list", action="store_true", help="say which teachers there are, and what they said")
    deeds.add_argument("--test", action="store_true", help="look whether the teacher can be asked")
    deeds.add_argument("--dry-run", action="store_true", help="ask about three cases, show all, keep nothing")
    deeds.add_argument(
        "--flipped", action="store_true", help="ask again with the verdicts in the other order; keeps nothing"
    )
    deeds.add_argument("--retire", action="store_true", help="its opinions stay and count no more")
    deeds.add_argument("--reinstate", action="store_true", help="its newest opinions count again")
    asking.add_argument("--split", choices=tuple(Split), help="cases of one split (default: all)")
    asking.add_argument("--concurrency", type=int, metavar="N", help="questions on their way at once")
    limits = asking.add_argument_group("where to end")
    limits.add_argument("--limit", type=int, metavar="N", help="cases asked about")
    limits.add_argument("--budget", type=float, metavar="USD", help="money, by the prices in settings.toml")
    limits.add_argument("--tokens", type=int, metavar="N", help="tokens, of questions and answers")
    limits.add_argument("--minutes", type=float, metavar="N", help="of the whole run")
    asking.add_argument("--annotator", type=int, help=argparse.SUPPRESS)  # the page says whose deed it is
    asking.add_argument("--go-on", action="store_true", help="do not end where the answers look wrong")


def teach_command(desk: Desk, given: argparse.Namespace) -> int:
    """Ask a teacher about the cases that lack its opinion."""
    if given.list:
        return list_teachers(desk, given)
    if given.teacher is None:
        raise UsageError("Name the teacher, or give --list for those there are.")
    if given.retire or given.reinstate:
        return change(desk, given)
    asking = _asking(desk, given)
    if given.test:
        return show_connection(at_hand(desk, asking.config), given)
    if given.dry_run:
        stop = threading.Event()
        with _stoppable(stop):
            shown = rehearse(desk, asking, os.environ, stop=stop)
        return show_rehearsal(shown, given)
    if given.flipped:
        return flip(desk, asking, given)
    return run(desk, asking, given)


def run(desk: Desk, asking: Asking, given: argparse.Namespace) -> int:
    """Ask, showing how it goes."""
    gap = teaching.gap(desk, asking)
    total = gap.cases if given.limit is None else min(gap.cases, given.limit)
    begun = {"teacher": given.teacher, "cases": gap.cases, "without_picture": gap.without_picture}
    _tell(given, "teach", begun)
    stop = threading.Event()
    with bar_of(given.teacher, given) as bar, _stoppable(stop):
        bar.total = total
        watch = ShownWatch(total, bar, given)
        taught = teaching.teach_desk(desk, asking, os.environ, _who(desk, given), watch=watch, stop=stop)
    return _tell_end(given, taught, watch)


def flip(desk: Desk, asking: Asking, given: argparse.Namespace) -> int:
    """Say how many verdicts change with the order in which they are offered."""
    wanted = given.limit or FLIPPED
    stop = threading.Event()
    with bar_of(given.teacher, given) as bar, _stoppable(stop):
        bar.total = wanted
        watch = ShownWatch(wanted, bar, given)
        flipped = teaching.flip(
            desk, asking, os.environ, _who(desk, given), count=wanted, watch=watch, stop=stop
        )
    if given.json:
        _tell(given, "flipped", flipped.figures())
    else:
        share = percent(flipped.changed / flipped.compared) if flipped.compared else "none to compare"
        compared = counted(flipped.compared, "verdict")
        print(f"{flipped.changed:,} of {compared} changed with the order ({share}); nothing was kept.")
    return _status(flipped.ended)


def change(desk: Desk, given: argparse.Namespace) -> int:
    """Retire a teacher, or reinstate it."""
    deed = Deed.RETIRE if given.retire else Deed.REINSTATE
    with bar_of(given.teacher, given) as bar:
        bar.total = count_to_change(desk, given.teacher, deed)
        change_ = retire if given.retire else reinstate
        opinions = change_(desk, given.teacher, _who(desk, given), bar.update)
    if given.json:
        _tell(
            given,
            "retired" if given.retire else "reinstated",
            {"teacher": given.teacher, "opinions": opinions},
        )
    elif given.retire:
        print(f"{given.teacher} is retired: its opinions stay and count no more; --reinstate undoes it.")
    else:
        print(f"{given.teacher} counts again, with {counted(opinions, 'opinion')}.")
    return 0


def list_teachers(desk: Desk, given: argparse.Namespace) -> int:
    """Say which teachers are in settings.toml and on the desk."""
    configs = teacher_configs(desk)
    rows = rows_of(desk, configs, kinds_of(desk))
    if given.json:
        print(json.dumps({"teachers": [_listed(row) for row in rows]}))
        return 0
    for row in rows:
        told = _listed(row)
        model = f" {told['model']}" if told["model"] else ""
        missing = "" if row.missing is None else f", {row.missing:,} missing"
        retired = "" if row.is_active else ", retired"
        print(f"{row.name}: {told['kind']}{model}, {counted(row.opinions, 'opinion')}{missing}{retired}")
    if not configs:
        names = ", ".join(presets())
        print(f"settings.toml has no teacher to ask: add a [teachers.NAME]. The usual places: {names}.")
    return 0


def _listed(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": row.config.kind if row.config else row.kind,
        "model": row.config.model if row.config else None,
        "opinions": row.opinions,
        "missing": row.missing,
        "active": row.is_active,
    }


def show_connection(config: TeacherConfig, given: argparse.Namespace) -> int:
    """Say whether a teacher can be asked."""
    found = connection(config, os.environ)
    if given.json:
        print(json.dumps({"works": found.works, "says": found.says}))
    else:
        print(found.says, file=sys.stdout if found.works else sys.stderr)
    return 0 if found.works else 1


def show_rehearsal(shown: Rehearsal, given: argparse.Namespace) -> int:
    """Print what a few cases showed."""
    if given.json:
        print(json.dumps(shown.figures()))
        return _status(shown.ended)
    for one in shown.cases:
        _show_case(one)
    missing = counted(shown.gap.cases, "case")
    if shown.cost is not None and shown.seconds is not None:
        takes = time_words(shown.seconds, shown.seconds_at_most)
        print(f"All {missing} would take {takes} and cost {price_words(shown.cost)}.")
    elif not shown.cases:
        print("There is no case left to ask this teacher about.")
    if shown.gap.without_picture:
        print(f"{counted(shown.gap.without_picture, 'case')} without picture would be left out.")
    _show_failures(shown.ended)
    print("Nothing was kept.")
    return _status(shown.ended)


class ShownWatch(TeacherWatch):
    """Counts opinions, and moves the bar or prints a line with each."""

    def __init__(self, total: int, bar: Any, given: argparse.Namespace) -> None:
        super().__init__(total, go_on=given.go_on)
        self._bar = bar
        self._given = given

    def note(self, opined: Opined) -> None:
        """Count an opinion, and show it."""
        super().note(opined)
        if self._given.json:
            case = {"case": opined.case_id, "verdict": opined.opinion.verdict, "parsed": opined.parsed}
            _tell(self._given, "opinion", {**case, "cost": opined.cost, "seconds": opined.seconds})
            return
        said = self.figures()
        shares = {SHORT[Answer(name)]: percent(n / said["kept"], 0) for name, n in said["verdicts"].items()}
        self._bar.set_postfix({**shares, "USD": f"{said['cost']:.2f}"}, refresh=False)
        self._bar.update(1)


def _asking(desk: Desk, given: argparse.Namespace) -> Asking:
    for name in ("limit", "concurrency", "budget", "tokens", "minutes"):
        value = getattr(given, name)
        if value is not None and not value > 0:
            raise UsageError(f"--{name} is {value}: give a number above 0.")
    config = teacher_config(desk, given.teacher)
    if given.concurrency is not None:
        config = replace(config, concurrency=given.concurrency)
    if given.budget is not None and not config.price_in + config.price_out:
        raise UsageError(
            f"--budget needs prices: give price_in and price_out of {config.name} in settings.toml."
        )
    seconds = None if given.minutes is None else given.minutes * 60
    splits = frozenset([Split(given.split)]) if given.split else frozenset(Split)
    return Asking(config, Limits(given.limit, given.budget, given.tokens, seconds), splits)


def _who(desk: Desk, given: argparse.Namespace) -> int | None:
    """Whose deed it is: the page says who asked it for this."""
    return given.annotator if given.annotator is not None else local_person(desk).annotator_id


@contextmanager
def _stoppable(stop: threading.Event) -> Iterator[None]:
    """Let Ctrl-C end the run once what is on its way is back; pressed twice, at once."""

    def asked_to_stop(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        print(
            "\nStopping when the answers on their way are back; Ctrl-C again gives them up.", file=sys.stderr
        )

    before = {number: signal.signal(number, asked_to_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell_end(given: argparse.Namespace, taught: Taught, watch: TeacherWatch) -> int:
    figures, ended = watch.figures(), taught.ended
    if given.json:
        _tell(given, "done", {"why": ended.why, "said": ended.said, **taught.figures(), **figures})
        return _status(ended)
    said = ", ".join(f"{count(n)} {name.replace('_', ' ')}" for name, n in figures["verdicts"].items())
    print(f"{counted(figures['kept'], 'opinion')}: {said}; {figures['cost']:.2f} USD.")
    _show_failures(ended)
    if taught.sight is not None and taught.sight.said != ended.said:
        print(taught.sight.said)
    for reason, cases in taught.passed_over.items():
        print(f"passed over: {counted(cases, 'case')}, {reason}")
    if taught.left.without_picture:
        print(f"left out: {counted(taught.left.without_picture, 'case')} without picture")
    if taught.left.cases:
        next_time = f"The same command goes on with the {counted(taught.left.cases, 'case')} left."
        if ended.why is Why.ALARM:
            next_time += " Look at some answers first; --go-on asks on whatever they look like."
        print(next_time, file=sys.stderr if ended.why in FAILED else sys.stdout)
    return _status(ended)


def _show_failures(ended: Ended) -> None:
    for reason, cases in ended.failed.items():
        print(f"no answer: {counted(cases, 'case')}, {reason}")
    if ended.why is not Why.ALL:
        print(ended.said, file=sys.stderr if ended.why in FAILED else sys.stdout)


def _show_case(one: Rehearsed) -> None:
    print(_printable(f"=== {one.case.id}\n{one.sent}\n--- came back"))
    said = one.opined
    if said is None:
        print("nothing\n")
        return
    print(_printable(said.raw))
    read = f"could not be read ({said.unread})"
    if said.parsed:
        confidence = "" if said.opinion.confidence is None else f", confidence {said.opinion.confidence:.2f}"
        named = ", ".join(said.opinion.elements or ()) or "none"
        read = f"{said.opinion.verdict}{confidence}; elements that do not fit: {named}"
    tokens = f"{said.tokens_in or '?'} + {said.tokens_out or '?'} tokens"
    took = f"{tokens}, {said.seconds:.1f} s, {said.cost:.5f} USD, by {said.model}"
    print(_printable(f"--- read as\n{read}\n{took}\n"))


def _printable(text: str) -> str:
    """Keep what strangers wrote from steering the terminal."""
    return "".join(one if one.isprintable() or one == "\n" else "\N{REPLACEMENT CHARACTER}" for one in text)


def _status(ended: Ended) -> int:
    return 1 if ended.why in FAILED or (ended.failed and not ended.kept) else 0


def _tell(given: argparse.Namespace, event: str, figures: dict[str, Any]) -> None:
    if given.json:
        print(json.dumps({"event": event, **figures}), flush=True)
