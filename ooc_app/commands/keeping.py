"""`backup`, `restore` and `doctor`: keep the data folder."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ooc_app.commands.terminal import Add, saying
from ooc_app.demo import Say
from ooc_app.desk import DataFolderError, open_desk
from ooc_app.keeping.backup import back_up, in_words
from ooc_app.keeping.doctor import Diagnosed, examine
from ooc_app.keeping.manifest import Manifest
from ooc_app.keeping.restore import restore


def add_commands(add: Add) -> None:
    """Add `backup`, `restore` and `doctor`."""
    backup = add.on_folder("backup", backup_command)
    backup.add_argument("path", type=Path, help="the folder to make; best on another disk")
    restoring = add.on_folder("restore", restore_command)
    restoring.add_argument("path", type=Path, help="a backup; --data names the folder it goes to")
    doctor = add.on_folder("doctor", doctor_command)
    doctor.add_argument("--repair", action="store_true", help="do what is safe")
    doctor.add_argument("--hashes", action="store_true", help="read every picture to its last byte")


def backup_command(data_dir: Path, given: argparse.Namespace) -> int:
    """Copy the data folder, whole and verified, while the desk may be in use."""
    if not data_dir.is_dir():
        raise DataFolderError(f"There is no data folder {data_dir}: give the right one with --data.")
    try:
        with open_desk(data_dir) as desk:
            made = back_up(desk, given.path, say=_saying(given))
    except KeyboardInterrupt:
        print("Interrupted; no backup was made.", file=sys.stderr)
        return 1
    _tell("backup", f"Backed up to {given.path}", made, given)
    if not given.json and given.path.stat().st_dev == data_dir.stat().st_dev:
        print("It is on the desk's own disk: against the loss of that disk, back up to another one too.")
    return 0


def restore_command(data_dir: Path, given: argparse.Namespace) -> int:
    """Restore a backup into a data folder that is missing or empty."""
    database_url = os.environ.get("OOC_DATABASE_URL")
    try:
        restored = restore(given.path, data_dir, database_url=database_url, say=_saying(given))
    except KeyboardInterrupt:
        print("Interrupted; nothing was restored.", file=sys.stderr)
        return 1
    _tell("restore", f"Restored to {data_dir}", restored, given)
    return 0


def doctor_command(data_dir: Path, given: argparse.Namespace) -> int:
    """Say what is wrong with the data folder, and repair what is safe to repair."""
    found = examine(data_dir, os.environ, repair=given.repair, read_all=given.hashes, say=_saying(given))
    wrong = sum(one.wrong for one in found)
    if given.json:
        print(json.dumps({"wrong": wrong, "findings": [_as_json(one) for one in found]}))
    else:
        _print(found, wrong)
    return 1 if wrong else 0


def _saying(given: argparse.Namespace) -> Say:
    """Show progress to whoever watches, a person at a terminal or a program."""
    return saying(given, quiet=not given.json and not sys.stderr.isatty())


def _tell(event: str, done: str, manifest: Manifest, given: argparse.Namespace) -> None:
    """Say what a backup holds, and what of the desk it could not hold."""
    pictures, rows = manifest.pictures, manifest.rows
    lost = len(pictures.missing) + len(pictures.damaged)
    if given.json:
        said = {"made_at": manifest.made_at, "rows": rows, "pictures": pictures.count, "bytes": manifest.size}
        print(json.dumps({"event": event, **said, "pictures_lost": lost}))
    else:
        print(
            f"{done}: {rows.get('cases', 0):,} cases, {rows.get('rulings', 0):,} rulings, "
            f"{pictures.count:,} pictures, {in_words(manifest.size)}; all of it read back and found whole."
        )
    if lost:
        print(
            f"{lost:,} pictures that cases name were missing or damaged on the desk and are not in the "
            "backup: see `python -m ooc_app doctor --hashes`.",
            file=sys.stderr,
        )


def _as_json(one: Diagnosed) -> dict[str, str | bool | None]:
    finding = one.finding
    return {
        "kind": finding.kind,
        "says": finding.says,
        "do": finding.do,
        "wrong": one.wrong,
        "repairable": finding.repair is not None,
        "repaired": one.repaired,
        "problem": one.problem,
    }


def _print(found: Sequence[Diagnosed], wrong: int) -> None:
    for one in found:
        print(f"{'Wrong' if one.finding.wrong else 'Untidy'}: {one.finding.says}")
        if one.repaired:
            print(f"  Repaired: {one.repaired}")
            continue
        if one.problem:
            print(f"  The repair failed: {one.problem}")
        print(f"  {one.finding.do}")
    print(f"{wrong} wrong." if wrong else "Nothing is wrong.")
