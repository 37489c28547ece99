import io
import json
import os
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi import FastAPI, HTTPException, Request as WebRequest
from fastapi.testclient import TestClient

from db.models import Batch, BatchRow, Check
from db.vocabulary import Role
from ooc_app.auth import Person
from ooc_app.check_many import Many, delete, open_upload, resume, server_functions, show, start, stop
from ooc_app.checks import frozen
from ooc_app.checks.frozen import batches_dir
from ooc_app.checks.many_routes import batch_routes
from ooc_app.desk import Desk
from ooc_app.desk_work import BusyError
from ooc_app.intake.entries import ImportFileError
from ooc_app.serving import CheckAnswer, ServingError
from tests.ooc_app.checks.fixed import HOSTILE, FixedServing
from tests.ooc_app.conftest import drawn_picture
from tests.ooc_app.page_requests import Client, Request

Given = Mapping[str, bytes]
SECONDS = 30


class GatedServing(FixedServing):
    """Answers as long as there are passes, or fails as it is told."""

    def __init__(self, passes: int = 10_000) -> None:
        super().__init__()
        self.passes = passes
        self.error: Exception | None = None

    def check(
        self, image_path: Path, caption: str, date: str | None = None, place: str | None = None
    ) -> CheckAnswer:
        if self.error is not None:
            raise self.error
        until = time.monotonic() + SECONDS
        while self.passes <= 0 and time.monotonic() < until:
            time.sleep(0.01)
        self.passes -= 1
        return super().check(image_path, caption, date, place)


def week(rows: int = 3, caption: str = "Caption {}.") -> bytes:
    """An archive of so many pictures with their captions."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        lines = [f'{number}.png,"{caption.format(number)}"' for number in range(1, rows + 1)]
        packed.writestr("table.csv", "\n".join(["image,caption", *lines]))
        for number in range(1, rows + 1):
            packed.writestr(f"{number}.png", drawn_picture(number))
    return file.getvalue()


@pytest.fixture
def serving() -> GatedServing:
    return GatedServing()


@pytest.fixture
def many(desk: Desk, serving: GatedServing) -> Many:
    return Many(desk, serving)


def browser(desk: Desk, person: Person | None) -> TestClient:
    """A browser of somebody, or nobody, in front of the routes alone."""

    def asked(request: WebRequest) -> Person:
        if person is None:
            raise HTTPException(403, "Nobody.")
        return person

    return TestClient(FastAPI(routes=[*batch_routes(desk, asked)]), base_url="http://127.0.0.1:7860")


def sent(many: Many, person: Person, files: Given) -> str:
    token = str(open_upload(many, person)["token"])
    for number, (name, data) in enumerate(files.items(), start=1):
        path = f"/desk/batches/{token}/files/{number}"
        assert browser(many.desk, person).post(path, params={"name": name}, content=data).status_code == 200
    return token


def ended(many: Many, person: Person, files: Given, **options: Any) -> dict[str, Any]:
    """What the page shows once a batch of these files has ended."""
    start(many, person, {"token": sent(many, person, files), **options})
    many.work.wait()
    return show(many, person, {})


def until(is_so: Callable[[], object]) -> None:
    limit = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < limit
        time.sleep(0.01)


def rows_done(desk: Desk) -> int:
    with desk.sessions() as session:
        return len(session.scalars(sa.select(BatchRow.number).where(BatchRow.done_at.is_not(None))).all())


# ---- who may ----


def test_another_machine_and_another_sites_page_get_nothing(many: Many, person: Person) -> None:
    ended(many, person, {"week.zip": week()})
    for request in (
        Request(client=Client("203.0.113.9")),
        Request({"host": "127.0.0.1:7860", "origin": "https://evil.example"}),
    ):
        for function in server_functions(many):
            answer = function({"batch": many.token, "token": many.token}, request)
            assert answer["ok"] is False
            assert "Caption" not in json.dumps(answer)


@pytest.mark.parametrize("payload", [{}, {"batch": "x"}, {"token": "../.."}, {"page": -3, "order": "x"}])
def test_nonsense_is_answered_with_a_sentence(many: Many, payload: dict[str, Any]) -> None:
    for function in server_functions(many):
        answer = function(payload, Request())
        assert answer["ok"] or answer["says"].endswith(".")


def test_only_its_owner_and_editors_change_a_batch(many: Many, person: Person, colleague: Person) -> None:
    ended(many, person, {"week.zip": week()})
    adjudicator = replace(colleague, role=Role.ADJUDICATOR)
    for change in (delete, resume):
        function = {delete: "delete_", resume: "resume_"}[change]
        with pytest.raises(Exception, match="somebody else's"):
            change(many, adjudicator, {"batch": many.token})
        assert function in [one.__name__ for one in server_functions(many)]
    with pytest.raises(Exception, match="somebody else's"):
        stop(many, adjudicator)
    looked = show(many, adjudicator, {"batch": many.token})["parts"]
    assert "Caption 1." in looked["rows"]
    assert "data-deed" not in looked["head"]
    assert delete(many, replace(colleague, role=Role.EDITOR), {"batch": many.token}) == {"ok": True}


def test_nobody_sends_files_or_fetches_results(desk: Desk, many: Many, person: Person) -> None:
    ended(many, person, {"week.zip": week()})
    token = str(open_upload(many, person)["token"])
    nobody = browser(desk, None)
    assert (
        nobody.post(f"/desk/batches/{token}/files/1", params={"name": "a"}, content=b"x").status_code == 403
    )
    assert nobody.get(f"/desk/batches/{many.token}/results.csv").status_code == 403


def test_a_folder_takes_only_its_own_persons_files_and_none_once_it_is_begun(
    desk: Desk, many: Many, person: Person, colleague: Person
) -> None:
    token = sent(many, person, {"week.zip": week()})
    path = f"/desk/batches/{token}/files/2"
    assert browser(desk, colleague).post(path, params={"name": "a"}, content=b"x").status_code == 413
    start(many, person, {"token": token})
    assert browser(desk, person).post(path, params={"name": "a"}, content=b"x").status_code == 413
    many.work.wait()
    for other in ("..", "x" * 22, "%2e%2e%2f"):
        answer = browser(desk, person).post(
            f"/desk/batches/{other}/files/1", params={"name": "a"}, content=b"x"
        )
        assert answer.status_code in (404, 405, 413)


# ---- files in ----


def test_files_beyond_the_limits_are_refused_and_leave_nothing(
    desk: Desk, many: Many, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frozen, "UPLOAD_MAX", 1_000)
    token = str(open_upload(many, person)["token"])
    post = browser(desk, person).post
    address = f"/desk/batches/{token}/files/"
    assert post(f"{address}1", params={"name": "a.zip"}, content=b"x" * 600).status_code == 200
    for number in ("2", "0", "2001"):
        answer = post(f"{address}{number}", params={"name": "b.zip"}, content=b"x" * 600)
        assert answer.status_code == 413
        assert answer.json()["detail"].startswith(("The files have more than", "There are more than"))
    assert [one.name for one in (batches_dir(desk) / token).iterdir() if "2" in one.name] == []


def test_a_files_name_is_never_a_path(desk: Desk, many: Many, person: Person) -> None:
    token = sent(many, person, {"../../../evil.png": b"x", "\u202egnp.\u0000": b"y"})
    names = {one.name for one in (batches_dir(desk) / token).iterdir()}
    assert names == {"owner", "000001", "000001.name", "000002", "000002.name"}
    assert not list(desk.data_dir.rglob("evil*"))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.zip": b"no zip"}, "no whole zip archive"),
        ({"a.csv": b"picture,caption\na.png,A.\n"}, "rename `picture`"),
        ({"a.png": b"x"}, "nothing to check"),
    ],
)
def test_files_that_are_no_batch_are_refused_in_one_sentence_and_go(
    desk: Desk, many: Many, person: Person, files: Given, said: str
) -> None:
    shown = ended(many, person, files)
    assert said in shown["parts"]["going"]
    assert shown["batch"] is None
    assert [one for one in batches_dir(desk).iterdir() if one.is_dir()] == []
    with pytest.raises(ImportFileError, match="Choose files first"):
        start(many, person, {"token": open_upload(many, person)["token"]})


def test_files_that_never_became_a_batch_go_after_a_day(desk: Desk, many: Many, person: Person) -> None:
    old, new = (sent(many, person, {"week.zip": week()}) for _ in range(2))
    os.utime(batches_dir(desk) / old, (0, 0))
    open_upload(many, person)
    assert not (batches_dir(desk) / old).exists()
    assert (batches_dir(desk) / new).exists()


# ---- a batch ----


def test_a_table_with_pictures_sent_one_by_one_is_a_batch_as_an_archive_is(
    many: Many, person: Person
) -> None:
    files = {"table.csv": b"image;caption\nin/A.PNG;One.\nb.png;Two.\n", "a.png": drawn_picture(1)}
    shown = ended(many, person, files)
    assert "There is no picture" in shown["parts"]["rows"]
    assert "<b>1</b> out of context" in shown["parts"]["head"]
    assert "<b>1</b> refused" in shown["parts"]["head"]


def test_what_was_given_is_kept_until_the_batch_is_done_and_then_goes(
    desk: Desk, many: Many, person: Person, serving: GatedServing
) -> None:
    serving.passes = 0
    token = sent(many, person, {"week.zip": week()})
    start(many, person, {"token": token})
    until(lambda: many.token is not None)
    assert frozen.is_frozen(desk, token)
    assert show(many, person, {})["going"] is True
    with pytest.raises(BusyError):
        open_upload(many, person)
    with pytest.raises(BusyError, match="stop it first"):
        delete(many, person, {"batch": many.token})
    serving.passes = 100
    many.work.wait()
    assert not frozen.is_frozen(desk, token)
    assert show(many, person, {})["going"] is False


def test_a_batch_that_was_stopped_is_resumed_by_another_app_on_the_same_desk(
    desk: Desk, many: Many, person: Person, serving: GatedServing
) -> None:
    serving.passes = 5
    start(many, person, {"token": sent(many, person, {"week.zip": week(40)})})
    until(lambda: rows_done(desk) == 5)
    stop(many, person)
    serving.passes = 16  # for those that are being asked
    many.work.wait()
    shown = show(many, person, {})
    assert "Resume asks the rest" in shown["parts"]["going"]
    assert 'data-deed="resume"' in shown["parts"]["head"]
    before = rows_done(desk)
    assert before < 40
    again = Many(desk, FixedServing())
    resume(again, person, {"batch": shown["batch"]})
    again.work.wait()
    assert rows_done(desk) == 40
    with desk.sessions() as session:
        assert len(session.scalars(sa.select(Check.id)).all()) == 40
    with pytest.raises(ImportFileError, match="not kept here"):
        resume(again, person, {"batch": shown["batch"]})


def test_the_same_files_again_show_the_finished_batch_and_ask_nothing(
    desk: Desk, many: Many, person: Person, serving: GatedServing
) -> None:
    first = ended(many, person, {"week.zip": week()})
    ended(many, person, {"other.zip": week(4)})
    serving.error = AssertionError("asked again")
    again = ended(many, person, {"renamed.zip": week()})
    assert again["batch"] == first["batch"]
    assert [one for one in batches_dir(desk).iterdir() if one.is_dir()] == []


def test_a_student_that_does_not_load_leaves_the_batch_to_be_resumed(
    many: Many, person: Person, serving: GatedServing
) -> None:
    serving.error = ServingError("No student: set OOC_STUDENT.")
    shown = ended(many, person, {"week.zip": week()})
    assert "No student: set OOC_STUDENT." in shown["parts"]["going"]
    assert 'data-deed="resume"' in shown["parts"]["head"]
    assert "<b>0</b> refused" in shown["parts"]["head"]


def test_a_deleted_batch_takes_reports_and_pictures_along(desk: Desk, many: Many, person: Person) -> None:
    shown = ended(many, person, {"week.zip": week()})
    delete(many, person, {"batch": shown["batch"]})
    with desk.sessions() as session:
        assert [session.scalar(sa.select(sa.func.count()).select_from(one)) for one in (Batch, Check)] == [
            0,
            0,
        ]
    assert [path for path in desk.images_dir.rglob("*") if path.is_file()] == []
    empty = show(many, person, {})
    assert "No batch yet" in empty["parts"]["rows"]


# ---- what is shown ----


def test_hostile_texts_stay_texts(many: Many, person: Person) -> None:
    shown = ended(many, person, {f"{HOSTILE}.zip": week(2, HOSTILE.replace('"', '""') + " {}")})
    assert "<img src=x" not in json.dumps(shown["parts"])
    assert "&lt;img src=x" in shown["parts"]["rows"]
    assert "&lt;img src=x" in shown["parts"]["head"]


def test_rows_come_fifty_at_a_time_sorted_by_the_database(many: Many, person: Person) -> None:
    shown = ended(many, person, {"week.zip": week(60)}, verdicts_only=True)
    assert shown["parts"]["rows"].count("<tr>") == 51
    assert 'aria-sort="ascending"><button type="button" data-order="number"' in shown["parts"]["rows"]
    down = show(many, person, {"order": "caption", "descending": True, "page": 1})["parts"]["rows"]
    assert 'aria-sort="descending"><button type="button" data-order="caption"' in down
    assert "51 to 60 of 60" in down
    assert show(many, person, {"only": "refused"})["parts"]["rows"].count("There is no such row.") == 1


def test_results_are_downloaded_as_files(desk: Desk, many: Many, person: Person) -> None:
    shown = ended(many, person, {"week.zip": week(2, "=1+{}")})
    for kind, media in (("csv", "text/csv"), ("jsonl", "application/x-ndjson")):
        answer = browser(desk, person).get(f"/desk/batches/{shown['batch']}/results.{kind}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(media)
        assert answer.headers["content-disposition"] == f'attachment; filename="checks-1.{kind}"'
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert [json.loads(line)["caption"] for line in answer.text.splitlines()] == ["=1+1", "=1+2"]
    for path in (f"{shown['batch']}/results.db", "guessed/results.csv"):
        assert browser(desk, person).get(f"/desk/batches/{path}").status_code == 404
