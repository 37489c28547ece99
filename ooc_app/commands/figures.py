"""`stats`: what the desk holds."""

import argparse
import json

from db.stats import stats
from ooc_app.commands.terminal import Add
from ooc_app.desk import Desk


def add_commands(add: Add) -> None:
    """Add `stats`."""
    add("stats", stats_command)


def stats_command(desk: Desk, given: argparse.Namespace) -> int:
    """Say what the desk holds."""
    with desk.sessions() as session:
        figures = stats(session)
    if given.json:
        print(json.dumps(figures))
        return 0
    for name, value in figures.items():
        if isinstance(value, dict):
            print(f"{name}: " + ", ".join(f"{key} {part}" for key, part in value.items() if key != "pairs"))
        elif not isinstance(value, list):
            print(f"{name}: {value}")
    for teacher in figures["teachers"]:
        print(f"teacher {teacher['name']}: {teacher['opinions']} opinions, accuracy {teacher['accuracy']}")
    return 0
