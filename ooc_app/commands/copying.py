"""`copy-database`: the desk's database into another one."""

import argparse

from ooc_app.commands.terminal import Add, bar_of, tell
from ooc_app.desk import Desk


def add_commands(add: Add) -> None:
    """Add `copy-database`."""
    copying = add("copy-database", copy_command)
    copying.add_argument(
        "url",
        metavar="URL",
        help="an empty database: postgresql://USER@HOST/NAME (the password from PGPASSWORD or ~/.pgpass, so "
        "that it is in no list of processes), or sqlite:///FILE as the way back",
    )


def copy_command(desk: Desk, given: argparse.Namespace) -> int:
    """Copy the desk's database into an empty one, such as PostgreSQL."""
    from db.engine import open_engine, where
    from ooc_app.copying import copy_database

    target = open_engine(given.url)
    try:
        with bar_of("copy", given) as bar:

            def advance(done: int, of: int) -> None:
                bar.total = of
                bar.update(done - bar.n)

            copied = copy_database(desk.engine, target, advance)
    finally:
        target.dispose()
    tell(
        given, "copied", {"rows": copied.rows, "tables": len(copied.tables), "cases": copied.tables["cases"]}
    )
    if not given.json:
        print(
            f"The desk now is in {where(target.url)} too, and in {where(desk.engine.url)} as it was. Set "
            "OOC_DATABASE_URL to the new address wherever the desk is started, with the same data folder.",
        )
    return 0
