"""`queue`: who waits for a ruling, in which order, and for how many people."""

import argparse
import json
from dataclasses import asdict, replace
from datetime import UTC, datetime

from db.derived import place_all
from db.engine import write_session
from db.queue import waiting
from db.vocabulary import QueueReason
from db.worth import Order, change_order, order_in_force
from ooc_app.commands.terminal import Add, UsageError, bar_of
from ooc_app.desk import Desk
from ooc_app.doubts import ask_student
from ooc_app.serving import Serving

WEIGHTS = {
    "split": "weight of an even split of the teachers",
    "doubt": "weight of a student that cannot tell",
    "rarity": "weight of rare sources and elements",
    "second_opinions": "share of cases that two people rule on, 0 to 1",
    "audit_turns": "share of claims that look for an audit case first, 0 to 1",
}


def add_commands(add: Add) -> None:
    """Add `queue`."""
    queue = add("queue", queue_command)
    for name, meaning in WEIGHTS.items():
        queue.add_argument(f"--{name.replace('_', '-')}", type=float, help=meaning)
    queue.add_argument("--ask-student", type=int, metavar="N", help="ask the student about up to N cases")
    queue.add_argument("--anew", action="store_true", help="place every case by today's shares and sources")


def queue_command(desk: Desk, given: argparse.Namespace) -> int:
    """Show the queue and its order; change the order; ask the student what it cannot tell."""
    now = datetime.now(UTC)
    changes = {name: value for name in WEIGHTS if (value := getattr(given, name)) is not None}
    if changes:
        with write_session(desk.sessions) as session:
            change_order(session, replace(order_in_force(session), **changes), None, now)
    if given.ask_student is not None:
        if given.ask_student < 1:
            raise UsageError(f"--ask-student {given.ask_student} asks nothing: give a number from 1.")
        with bar_of("cases", given) as bar:
            bar.total = given.ask_student

            def advance(asked: int) -> None:
                bar.update(asked - bar.n)

            ask_student(desk, Serving(desk), given.ask_student, advance)
    if given.anew:
        with write_session(desk.sessions) as session:
            place_all(session, now)
    with desk.sessions() as session:
        order, cases = order_in_force(session), waiting(session)
    if given.json:
        print(json.dumps({"order": asdict(order), "waiting": cases}))
        return 0
    for why in QueueReason:
        print(f"{why.replace('_', ' '):20}{cases.get(why, 0):>10,}")
    _show(order)
    return 0


def _show(order: Order) -> None:
    rule = (f"{name.replace('_', ' ')} {value:g}" for name, value in asdict(order).items())
    print("order: " + ", ".join(rule))
