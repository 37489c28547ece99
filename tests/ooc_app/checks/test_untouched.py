"""A student that was never distilled says so wherever its answer shows, and any other does not."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from db.models import Check
from ooc_app.__main__ import main
from ooc_app.auth import Person, local_person
from ooc_app.checks.answer_panel import answer_panel
from ooc_app.checks.answering import check
from ooc_app.checks.background import Background
from ooc_app.checks.question import question
from ooc_app.checks.untouched import NO_RATIONALE, UNTOUCHED, is_untouched
from ooc_app.commands import checking
from ooc_app.desk import DEMO_RUN, Desk, open_desk
from ooc_app.promotion import promote, rollback
from ooc_app.serving import CheckAnswer
from tests.ooc_app.checks.fixed import FixedServing
from tests.ooc_app.checks.kept import browser, keep_check
from tests.ooc_app.conftest import drawn_picture
from tests.ooc_app.test_checking_command import DeskServing

ANSWER = FixedServing().answer


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    path.write_bytes(drawn_picture())
    return path


class Silent(FixedServing):
    """Writes no rationale."""

    def rationale(self, *asked: object) -> object:  # type: ignore[override]
        return iter(())


def test_a_new_desks_student_is_untouched_until_a_run_is_promoted_and_again_after_going_back(
    desk: Desk,
) -> None:
    assert is_untouched(desk, ANSWER)
    shutil.copytree(DEMO_RUN, desk.runs_dir / "first")
    promote(desk, "first")
    assert not is_untouched(desk, replace(ANSWER, snapshot="f" * 64))
    rollback(desk)
    assert is_untouched(desk, ANSWER)


def test_a_merged_student_with_its_runs_calibration_is_not_untouched_and_one_without_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merged = tmp_path / "merged"
    merged.mkdir()
    monkeypatch.setenv("OOC_STUDENT", str(merged))
    with open_desk(tmp_path / "data") as desk:
        assert is_untouched(desk, ANSWER)
        (merged / "calibration.json").write_text('{"temperature": 1.2}')
        assert not is_untouched(desk, ANSWER)


def test_the_shipped_run_that_visitors_ask_is_not_untouched(tmp_path: Path) -> None:
    snapshot = json.loads((DEMO_RUN / "snapshot.json").read_text(encoding="utf-8"))["hash"]
    with open_desk(tmp_path / "demo", mode="demo") as demo:
        assert not is_untouched(demo, replace(ANSWER, snapshot=snapshot))
        assert not is_untouched(demo, ANSWER), "its calibration says so, too"


def test_an_untouched_students_answer_says_so_and_that_it_wrote_nothing_on_the_page_and_in_its_report(
    desk: Desk, person: Person, picture: Path
) -> None:
    steps = list(check(desk, Silent(), Background(desk), person, question(picture, "A caption.")))
    panel = answer_panel(steps[-1])
    assert panel.index(UNTOUCHED) < panel.index("out of context")
    assert NO_RATIONALE in panel
    assert NO_RATIONALE not in answer_panel(steps[0]), "it may still write one"
    with desk.sessions() as session:
        kept = session.scalars(sa.select(Check)).one()
    assert kept.found["untouched"] is True
    report = browser(desk).get(f"/?check={kept.token}").text
    assert UNTOUCHED in report
    assert NO_RATIONALE in report
    assert UNTOUCHED in json.dumps(browser(desk).get(f"/desk/reports/{kept.token}.jsonld").json())


def test_a_distilled_students_answer_says_nothing_of_it(desk: Desk, picture: Path) -> None:
    serving = FixedServing()
    serving.answer = replace(ANSWER, snapshot="f" * 64)
    person = local_person(desk)
    *_, given = check(desk, serving, Background(desk), person, question(picture, "A caption."))
    assert UNTOUCHED not in answer_panel(given)
    assert NO_RATIONALE not in answer_panel(given)
    assert "untouched" not in given.found
    token = keep_check(desk, person, drawn_picture(1), 2)
    report = browser(desk).get(f"/?check={token}").text
    assert UNTOUCHED not in report
    assert NO_RATIONALE not in report


def test_the_command_says_it_too(
    tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Distilled(DeskServing):
        def check(
            self, image_path: Path, caption: str, date: str | None = None, place: str | None = None
        ) -> CheckAnswer:
            return replace(ANSWER, snapshot="f" * 64)

    argv = ["check", str(picture), "--caption", "A.", "--data", str(tmp_path / "data")]
    monkeypatch.setattr(checking, "Serving", DeskServing)
    assert main(argv) == 0
    assert f"Warning: {UNTOUCHED}\n" in capsys.readouterr().out
    assert main([*argv, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["untouched"] is True
    monkeypatch.setattr(checking, "Serving", Distilled)
    assert main(argv) == 0
    assert UNTOUCHED not in capsys.readouterr().out
