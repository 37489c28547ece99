import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from db.batches import counts, open_batch, waiting
from db.checks import delete_check
from db.engine import write_session
from db.models import Batch, BatchRow, Check
from db.vocabulary import Verdict
from ooc_app.auth import Person, local_person, now
from ooc_app.checks.many import Asked, Done, go_on
from ooc_app.checks.rows import Files, Folder, Row, rows_of
from ooc_app.desk import Desk, open_desk
from ooc_app.desk_work import BusyError, StoppedError
from ooc_app.intake.images import stored_path
from ooc_app.serving import CheckAnswer, Serving, ServingError
from tests.ooc_app.checks.fixed import HOSTILE, FixedServing
from tests.ooc_app.conftest import drawn_picture

ROOT = Path(__file__).resolve().parents[3]
PHOTOS = ROOT.parent / "shared" / "data" / "photos"
KILLS = [3, pytest.param(30, marks=pytest.mark.soak)]
LEFT = 60  # seconds for what a killed process left


class FailingServing(FixedServing):
    """Fails in its own way at captions that begin with the name of a failure."""

    def check(
        self, image_path: Path, caption: str, date: str | None = None, place: str | None = None
    ) -> CheckAnswer:
        failures: dict[str, Exception] = {
            "odd": ZeroDivisionError("x = hunter2"),
            "gone": ServingError("No student."),
            "full": OSError(28, "No space left on device"),
        }
        if caption in failures:
            raise failures[caption]
        return super().check(image_path, caption, date, place)


def given(folder: Path, captions: list[str]) -> Files:
    """A folder of pictures with a table; a caption that begins with ! has no picture."""
    folder.mkdir()
    table = "image,caption\n"
    for number, caption in enumerate(captions, start=1):
        table += f'{number}.png,"{caption}"\n'
        if not caption.startswith("!"):
            (folder / f"{number}.png").write_bytes(drawn_picture(number))
    (folder / "table.csv").write_text(table)
    return Folder(folder)


def asked(
    desk: Desk, person: Person, files: Files, given: list[Row] | None = None, *, verdicts_only: bool = False
) -> Asked:
    rows = given or rows_of(files)
    with write_session(desk.sessions) as session:
        kept = [row.kept for row in rows]
        batch = open_batch(session, "t" * 16, "week", "d" * 64, kept, person.annotator_id, now())
        by_number = {row.number: row for row in rows}
        return Asked(batch.id, person.annotator_id, by_number, files, verdicts_only)


def answered(desk: Desk, serving: Serving, batch: Asked) -> list[Done]:
    return list(go_on(desk, serving, batch))


def left(desk: Desk, batch: Asked) -> list[int]:
    with desk.sessions() as session:
        return waiting(session, batch.batch_id)


def refused(desk: Desk) -> dict[int, str]:
    with desk.sessions() as session:
        rows = session.scalars(sa.select(BatchRow).where(BatchRow.refused.is_not(None)))
        return {row.number: row.refused or "" for row in rows}


def test_a_row_that_fails_says_why_and_the_others_are_answered(
    desk: Desk, person: Person, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = given(tmp_path / "in", ["good", "odd", "!missing", "broken", "good"])
    (tmp_path / "in" / "4.png").write_text("no picture")
    batch = asked(desk, person, files)
    assert sorted(one.number for one in answered(desk, FailingServing(), batch)) == [1, 2, 3, 4, 5]
    reasons = refused(desk)
    assert set(reasons) == {2, 3, 4}
    assert reasons[2] == "The desk failed at this row (ZeroDivisionError); its log says more."
    assert "hunter2" in caplog.text
    assert reasons[3].startswith("There is no picture '3.png'")
    with desk.sessions() as session:
        assert session.scalars(sa.select(Check.caption)).all() == ["good", "good"]


@pytest.mark.parametrize(("caption", "error"), [("gone", ServingError), ("full", OSError)])
def test_what_is_wrong_with_the_student_or_the_disk_ends_the_batch_and_no_row(
    desk: Desk, person: Person, tmp_path: Path, caption: str, error: type[Exception]
) -> None:
    batch = asked(desk, person, given(tmp_path / "in", ["good", caption, "good"]))
    with pytest.raises(error):
        answered(desk, FailingServing(), batch)
    assert refused(desk) == {}
    assert 2 in left(desk, batch)


def test_a_batch_that_is_stopped_goes_on_with_the_rows_that_are_left(
    desk: Desk, person: Person, tmp_path: Path
) -> None:
    files = given(tmp_path / "in", [f"Caption {number}" for number in range(40)])
    batch = asked(desk, person, files)
    with closing(go_on(desk, FixedServing(), batch)) as going:
        next(going)
    assert batch.stop.is_set()
    before = left(desk, batch)
    assert 0 < len(before) < 40
    with pytest.raises(StoppedError):
        answered(desk, FixedServing(), batch)
    again = asked(desk, person, files)
    rest = answered(desk, FixedServing(), again)
    assert sorted(one.number for one in rest) == before
    assert {one.of for one in rest} == {len(before)}
    assert [one.done for one in rest] == list(range(1, len(before) + 1))
    assert answered(desk, FixedServing(), again) == []


def test_a_stop_does_not_wait_for_a_rationale_to_end(desk: Desk, person: Person, tmp_path: Path) -> None:
    batch = asked(desk, person, given(tmp_path / "in", ["One."]))

    class Endless(FixedServing):
        def rationale(self, *asked: object) -> object:  # type: ignore[override]
            while True:
                batch.stop.set()
                yield "and on"

    with pytest.raises(StoppedError):
        answered(desk, Endless(), batch)
    assert left(desk, batch) == [1]


def test_two_batches_of_a_desk_do_not_go_on_at_once(desk: Desk, person: Person, tmp_path: Path) -> None:
    batch = asked(desk, person, given(tmp_path / "in", ["One."] * 20))
    with closing(go_on(desk, FixedServing(), batch)) as going:
        next(going)
        with pytest.raises(BusyError, match="Another batch"):
            next(go_on(desk, FixedServing(), batch))


def test_an_answer_is_kept_as_a_check_of_its_person_with_all_that_was_said(
    desk: Desk, person: Person, tmp_path: Path
) -> None:
    [done] = answered(desk, FixedServing("A guess."), asked(desk, person, given(tmp_path / "in", ["One."])))
    with desk.sessions() as session:
        check = session.scalars(sa.select(Check)).one()
        assert check.id == session.scalars(sa.select(BatchRow.check_id)).one()
    assert (check.annotator_id, check.verdict) == (person.annotator_id, Verdict.OUT_OF_CONTEXT)
    assert check.rationale == f"The tower is {HOSTILE}"
    assert (check.found["warning"], check.found["provenance"]) == ("A guess.", None)
    assert done.outcome.token == check.token  # type: ignore[union-attr]


def test_verdicts_only_asks_for_no_rationale(desk: Desk, person: Person, tmp_path: Path) -> None:
    batch = asked(desk, person, given(tmp_path / "in", ["One."]), verdicts_only=True)
    answered(desk, FixedServing(), batch)
    with desk.sessions() as session:
        assert session.scalars(sa.select(Check.rationale)).one() == ""


def test_questions_reach_the_student_from_several_threads_at_once(
    desk: Desk, person: Person, tmp_path: Path
) -> None:
    together = threading.Barrier(16)

    class Waiting(FixedServing):
        def check(self, *asked: object, **more: object) -> CheckAnswer:
            together.wait(30)
            return self.answer

    batch = asked(desk, person, given(tmp_path / "in", [f"Caption {number}" for number in range(32)]))
    assert len(answered(desk, Waiting(), batch)) == 32


def test_a_picture_deleted_while_its_row_is_answered_is_kept_again(
    desk: Desk, person: Person, tmp_path: Path
) -> None:
    files = given(tmp_path / "in", ["One."])

    class Deleting(FixedServing):
        def check(self, image_path: Path, *asked: object, **more: object) -> CheckAnswer:
            for path in desk.images_dir.rglob("*"):
                if path.is_file():
                    path.unlink()
            return self.answer

    answered(desk, Deleting(), asked(desk, person, files))
    with desk.sessions() as session:
        check = session.scalars(sa.select(Check)).one()
        assert stored_path(check.image_sha256, desk.images_dir).exists()
    with write_session(desk.sessions) as session:
        assert delete_check(session, check.token, person.annotator_id, person.role, now())


def test_a_picture_that_is_deleted_and_not_there_any_more_refuses_its_row_and_the_others_are_answered(
    desk: Desk, person: Person, tmp_path: Path
) -> None:
    files = given(tmp_path / "in", ["gone", "One."])

    class Deleting(FixedServing):
        def check(
            self, image_path: Path, caption: str, date: str | None = None, place: str | None = None
        ) -> CheckAnswer:
            if caption == "gone":
                (tmp_path / "in" / "1.png").unlink()
                stored = image_path.parents[2] / image_path.parent.name / image_path.stem
                stored.unlink()
            return self.answer

    assert len(answered(desk, Deleting(), asked(desk, person, files))) == 2
    assert refused(desk)[1].startswith("There is no picture '1.png'")
    with desk.sessions() as session:
        assert session.scalars(sa.select(Check.caption)).all() == ["One."]


def test_a_picture_deleted_between_verdict_and_rationale_is_asked_about_again(
    desk: Desk, person: Person, tmp_path: Path
) -> None:
    class Deleting(FixedServing):
        deleted = 0

        def rationale(self, image_path: Path, *rest: object) -> Iterator[str]:
            if not self.deleted:
                self.deleted += 1
                for path in [one for one in desk.images_dir.rglob("*") if one.is_file()]:
                    path.unlink()
            yield str(len(image_path.read_bytes()))

    serving = Deleting()
    answered(desk, serving, asked(desk, person, given(tmp_path / "in", ["One."])))
    assert refused(desk) == {}
    assert len(serving.asked) == 2
    with desk.sessions() as session:
        check = session.scalars(sa.select(Check)).one()
    assert stored_path(check.image_sha256, desk.images_dir).exists()


def test_a_row_keeps_where_its_picture_was_found(desk: Desk, person: Person, tmp_path: Path) -> None:
    files = given(tmp_path / "in", ["One."])
    row = Row(1, "1.png", "One.", "May 2021", "Norvik", "https://wire.example/a")
    batch = asked(desk, person, files)
    answered(desk, FixedServing(), Asked(batch.batch_id, batch.annotator_id, {1: row}, files))
    with desk.sessions() as session:
        check = session.scalars(sa.select(Check)).one()
        kept = (check.url, check.claimed_date, check.claimed_place)
    assert kept == ("https://wire.example/a", "May 2021", "Norvik")


# ---- killed ----

ANSWERS = """
    import sys, time
    from pathlib import Path
    from db.batches import open_batch
    from db.engine import write_session
    from db.vocabulary import Verdict
    from ooc_app.auth import local_person, now
    from ooc_app.checks.many import Asked, go_on
    from ooc_app.checks.rows import Folder, rows_of
    from ooc_app.desk import open_desk
    from ooc_app.serving import CheckAnswer, Serving

    class Slow(Serving):  # without torch, which takes long to load
        def state(self):
            return "ready"
        def begin_loading(self):
            pass
        def check(self, image_path, caption, date=None, place=None):
            with open(sys.argv[3], "a") as log:
                log.write(caption + chr(10))
            time.sleep(0.02)
            return CheckAnswer(Verdict.OUT_OF_CONTEXT, 0.9, "slow", None, None, "Leans out.")
        def rationale(self, *asked):
            yield "So."

    with open_desk(Path(sys.argv[1])) as desk:
        owner, files = local_person(desk).annotator_id, Folder(Path(sys.argv[2]))
        rows = rows_of(files)
        with write_session(desk.sessions) as session:
            kept = [row.kept for row in rows]
            batch = open_batch(session, "t" * 16, "week", "d" * 64, kept, owner, now())
        print("begun", flush=True)
        asked = Asked(batch.id, owner, {row.number: row for row in rows}, files)
        for one in go_on(desk, Slow(desk), asked):
            print(one.number, flush=True)
"""


@pytest.mark.parametrize("kills", KILLS)
def test_a_batch_whose_process_is_killed_asks_only_what_is_not_done(tmp_path: Path, kills: int) -> None:
    rows = 60 * kills
    given(tmp_path / "in", [f"Caption {number}" for number in range(1, rows + 1)])
    data, log = tmp_path / "data", tmp_path / "asked.log"
    chance = random.Random(kills)
    done = set[int]()
    with open_desk(data) as desk:
        for number in range(kills + 1):
            log.write_text("")
            after = chance.uniform(0, 0.4) if number < kills else None
            told = _killed([str(data), str(tmp_path / "in"), str(log)], after)
            begun = [int(line.split()[1]) for line in log.read_text().splitlines() if " " in line]
            assert not done & set(begun)
            with desk.sessions() as session:
                batch = session.scalars(sa.select(Batch)).one()
                done = set(range(1, rows + 1)) - set(waiting(session, batch.id))
            assert told <= done
        with desk.sessions() as session:
            assert counts(session, batch, now()).out_of_context == rows
            captions = Counter(session.scalars(sa.select(Check.caption)))
            assert len(captions) == rows
            assert set(captions.values()) == {1}


def _killed(argv: list[str], after: float | None) -> set[int]:
    """Answer in a process of its own; kill it so many seconds after it has begun, or let it end."""
    command = [sys.executable, "-c", textwrap.dedent(ANSWERS), *argv]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        if after is not None:
            time.sleep(after)
            process.send_signal(signal.SIGKILL)
        said = process.communicate(timeout=LEFT)[0].splitlines()
    assert process.returncode == (0 if after is None else -signal.SIGKILL)
    return {int(line) for line in said if line.isdigit()}


# ---- real photographs and the shipped student ----


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the photographs of ../shared/data are not here")
@pytest.mark.parametrize("count", [8, pytest.param(74, marks=pytest.mark.slow)])
def test_real_photographs_are_all_answered_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setenv("OOC_STUDENT", "assets/demo-run")
    lines = (PHOTOS / "cases.jsonl").read_text().splitlines()[:count]
    (tmp_path / "some.jsonl").write_text("\n".join(lines))
    files = Folder(PHOTOS)
    rows = rows_of(files, tmp_path / "some.jsonl")
    with open_desk(tmp_path / "data") as desk, closing(Serving(desk)) as serving:
        batch = asked(desk, local_person(desk), files, rows)
        assert len(answered(desk, serving, batch)) == len(rows) == count
        assert refused(desk) == {}
        with desk.sessions() as session:
            assert any(session.scalars(sa.select(Check.rationale)))
        assert answered(desk, serving, batch) == []
