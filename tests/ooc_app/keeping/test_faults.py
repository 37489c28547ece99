"""kill -9 at random moments of a backup and of a restore, while somebody rules.

The short form belongs to every test run; the long one, marked `soak`, to `make soak`.
"""

import json
import random
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from db.cases import NewCase, NewImage, NewOpinion, add_cases
from db.engine import write_session
from db.models import Ruling
from db.rulings import ensure_annotator
from db.vocabulary import Answer
from ooc_app.desk import Desk, open_desk
from ooc_app.intake.images import admit
from ooc_app.keeping.doctor import examine
from ooc_app.keeping.manifest import is_whole, read_manifest
from ooc_app.keeping.restore import restore, wrong_backup
from ooc_app.keeping.whole import partial_of
from tests.ooc_app.conftest import drawn_picture

ROOT = Path(__file__).resolve().parents[3]
CASES, PICTURES = 1_000, 100
SOAK = pytest.mark.soak

# Rules, takes most of it back, and says what is on disk; a pause lets the others have the core.
RULING = textwrap.dedent(
    """
    import sys, time
    from datetime import UTC, datetime
    from itertools import count
    from db.engine import make_sessions, open_engine, write_session
    from db.queue import claim
    from db.rulings import NewRuling, rule, undo

    sessions, who = make_sessions(open_engine(sys.argv[1])), int(sys.argv[2])
    for number in count():
        with write_session(sessions) as session:
            case_id = claim(session, who, datetime.now(UTC), count=1)[0]
            submission = f"{who}-{number}"
            rule(session, who, NewRuling(submission, case_id, "in_context", seconds=3.0), datetime.now(UTC))
        print(submission, flush=True)
        if number % 100:
            with write_session(sessions) as session:
                submission = undo(session, who, now=datetime.now(UTC)).submission_id
            print(submission, flush=True)
        time.sleep(0.005)
    """
)

# Says "begun" when it begins, so that the kill comes while it works.
KEEPING = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from ooc_app.desk import open_desk
    from ooc_app.keeping.backup import back_up
    from ooc_app.keeping.restore import restore

    what, data_dir, path = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if what == "backup":
        with open_desk(data_dir) as desk:
            print("begun", flush=True)
            back_up(desk, path)
    else:
        print("begun", flush=True)
        restore(path, data_dir)
    print("done", flush=True)
    """
)


@dataclass
class Ruler:
    """Somebody who rules in a process of their own; `acknowledged` are the rulings on disk."""

    process: "subprocess.Popen[str]"
    acknowledged: list[str] = field(default_factory=list)

    def listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.acknowledged.append(line.strip())


@contextmanager
def ruling(desk: Desk) -> Iterator[Ruler]:
    """Let somebody rule for the block."""
    with write_session(desk.sessions) as session:
        who = ensure_annotator(session, "maria")
    command = [sys.executable, "-c", RULING, str(desk.engine.url), str(who)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        ruler = Ruler(process)
        ear = threading.Thread(target=ruler.listen)
        ear.start()
        while len(ruler.acknowledged) < 5 and process.poll() is None:
            time.sleep(0.01)
        try:
            yield ruler
            assert process.poll() is None, "nobody ruled any more"
        finally:
            process.kill()
            ear.join()


@pytest.fixture
def large_desk(desk: Desk) -> Desk:
    """Give a desk with enough in it that a backup takes a while."""
    stored = [admit(drawn_picture(shade), desk.images_dir) for shade in range(PICTURES)]
    images = [NewImage(one.sha256, one.format, one.width, one.height, one.byte_size) for one in stored]
    said = (
        NewOpinion("One", Answer.IN_CONTEXT, "All fits. " * 20),
        NewOpinion("Two", Answer.OUT_OF_CONTEXT, "No. " * 50),
    )
    cases = [
        NewCase(str(number), f"Caption {number}.", images[number % PICTURES], opinions=said)
        for number in range(CASES)
    ]
    with write_session(desk.sessions) as session:
        add_cases(session, "test", cases)
    return desk


def start(what: str, data_dir: Path, path: Path) -> "subprocess.Popen[str]":
    """Begin a backup or a restore in a process of its own and return when it is at work."""
    command = [sys.executable, "-c", KEEPING, what, str(data_dir), str(path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def seconds_taken(what: str, data_dir: Path, path: Path) -> float:
    """Let it come to its end and measure how long it was at work."""
    process = start(what, data_dir, path)
    began = time.monotonic()
    said, _ = process.communicate()
    assert (said, process.returncode) == ("done\n", 0)
    return time.monotonic() - began


def kill_after(seconds: float, process: "subprocess.Popen[str]") -> None:
    """Kill it at a moment nobody chose."""
    time.sleep(seconds)
    process.kill()
    process.communicate()


def kinds(data_dir: Path) -> set[str]:
    """Say what `doctor` finds, which must never be wrong."""
    found = examine(data_dir, {})
    assert [one.finding.says for one in found if one.wrong] == []
    return {one.finding.kind for one in found}


def silent(what: str, figures: dict[str, Any]) -> None:
    """Say nothing."""


def submissions(data_dir: Path) -> set[str]:
    with open_desk(data_dir) as desk, desk.sessions() as session:
        return set(session.scalars(sa.select(Ruling.submission_id)))


@pytest.mark.parametrize("kills", [6, pytest.param(200, marks=SOAK)])
def test_a_killed_backup_never_looks_whole_and_a_whole_one_has_all_that_was_acknowledged(
    kills: int, large_desk: Desk, tmp_path: Path
) -> None:
    backups_dir, rng, whole = large_desk.data_dir / "backups", random.Random(kills), 0
    with ruling(large_desk) as ruler:
        usual = seconds_taken("backup", large_desk.data_dir, backups_dir / "measured")
        for number in range(kills):
            path = backups_dir / f"kill {number // 3}"  # three at one path: each has to clear what is left
            if path.exists():
                continue
            acknowledged = list(ruler.acknowledged)
            kill_after(rng.uniform(0, 1.2 * usual), start("backup", large_desk.data_dir, path))
            assert not is_whole(partial_of(path))
            if path.exists():
                whole += 1
                assert wrong_backup(path, read_manifest(path), silent) == []
            assert kinds(large_desk.data_dir) <= {"backups_cut_off"}
        acknowledged = list(ruler.acknowledged)
        seconds_taken("backup", large_desk.data_dir, backups_dir / "last")
        assert len(ruler.acknowledged) > len(acknowledged)
    examine(large_desk.data_dir, {}, repair=True)
    assert kinds(large_desk.data_dir) == set()
    assert not list(backups_dir.glob(".*"))
    restore(backups_dir / "last", tmp_path / "new")
    assert set(acknowledged) <= submissions(tmp_path / "new")
    assert set(ruler.acknowledged) <= submissions(large_desk.data_dir)
    assert examine(tmp_path / "new", {}, read_all=True) == []


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=SOAK)])
@pytest.mark.parametrize("is_there", [False, True])
def test_a_killed_restore_leaves_no_folder_that_looks_like_a_desk(
    is_there: bool, kills: int, large_desk: Desk, tmp_path: Path
) -> None:
    backup = tmp_path / "backup"
    seconds_taken("backup", large_desk.data_dir, backup)
    rows = read_manifest(backup).rows
    usual, rng = seconds_taken("restore", tmp_path / "measured", backup), random.Random(kills)
    for number in range(kills):
        new = tmp_path / f"new {number}"
        if is_there:
            new.mkdir()
        kill_after(rng.uniform(0, 1.2 * usual), start("restore", new, backup))
        if (new / "desk.db").exists():
            assert kinds(new) <= {"restore_cut_off"}
            with open_desk(new) as desk, desk.sessions() as session:
                assert session.scalar(sa.select(sa.func.count()).select_from(Ruling)) == rows["rulings"]
        elif new.exists() and list(new.iterdir()):
            assert [one.finding.kind for one in examine(new, {})] == ["restore_cut_off", "database_missing"]
    restore(backup, tmp_path / "last")
    assert json.loads((backup / "manifest.json").read_text())["rows"] == rows
    assert examine(tmp_path / "last", {}, read_all=True) == []
