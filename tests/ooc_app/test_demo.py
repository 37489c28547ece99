"""The demo desk as a desk: drawn in batches, ruled on by script, frozen, promoted."""

import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from db.models import Annotator, Case, Promotion, Ruling
from db.stats import stats
from db.teacher_figures import versions
from db.vocabulary import RunStatus
from ooc_app import demo, promotion, runner, snapshot
from ooc_app.desk import Desk, open_desk
from training.presets import preset
from training.records import Preference, Target, read_records
from training.report import split_sentence
from training.state import RunFolder

SIZE = demo.DemoSize(train=60, validation=4, test=8)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Give a small demo desk on which a tenth of the training cases is ruled on."""
    desk = open_desk(tmp_path_factory.mktemp("demo"))
    demo.fill(desk, seed=0, size=SIZE)
    assert demo.rule_by_script(desk, 0.1) == 6
    return desk


def complete(desk: Desk, name: str) -> Path:
    """Freeze a run and mark it complete, as if it had been trained."""
    run_dir = snapshot.freeze(desk, name=name, config=preset("demo"))
    RunFolder(run_dir).report_path.write_text("{}")
    return run_dir


def test_a_desk_that_was_cut_off_is_completed_and_not_drawn_twice(tmp_path: Path) -> None:
    class CutOffError(Exception):
        pass

    def cut_off(what: str, figures: dict[str, int]) -> None:
        raise CutOffError

    size = demo.DemoSize(train=84, validation=0, test=0)
    with open_desk(tmp_path) as desk:
        with pytest.raises(CutOffError):
            demo.fill(desk, size=size, say=cut_off)
        assert demo.is_unfinished(desk)
        assert demo.progress(desk) == (80, 84)
        assert demo.fill(desk) == 4
        assert demo.fill(desk) == 0
        assert demo.progress(desk) is None
        with desk.sessions() as session:
            assert session.scalar(sa.select(sa.func.count()).select_from(Case)) == 84


def test_the_scripted_annotator_is_named_so_and_keeps_to_the_budget(desk: Desk) -> None:
    with desk.sessions() as session:
        annotator = session.scalars(sa.select(Annotator)).one()
        assert annotator.scripted
        assert "scripted" in annotator.name
        assert session.scalar(sa.select(sa.func.count()).select_from(Ruling)) == 6
        figures = stats(session)
    assert figures["cases"] == 72
    assert figures["conflicts"]["settled"] == 6


def test_a_snapshot_holds_targets_preferences_and_pictures(desk: Desk) -> None:
    run_dir = snapshot.freeze(desk, name="frozen", config=preset("demo"))
    summary = snapshot.preview(desk)
    targets = read_records(run_dir / "sft.jsonl", Target)
    pairs = read_records(run_dir / "preferences.jsonl", Preference)
    said = json.loads((run_dir / "snapshot.json").read_text())
    assert said["counts"]["rulings"] == summary.rulings == 6
    assert len(targets) == summary.agreed + summary.settled == 60 - summary.left_out
    assert len(pairs) == summary.preferences > 0
    assert {target.origin for target in targets} == {"agreed", "settled"}
    assert all((run_dir / target.case.image).stat().st_size > 0 for target in targets)
    assert not any(path.name.endswith(".partial") for path in desk.runs_dir.iterdir())


def test_a_snapshot_says_whose_opinions_split_it_and_of_which_version(desk: Desk) -> None:
    with desk.sessions() as session:
        spoken = versions(session)
        opinions = stats(session)["opinions"]
    run_dir = snapshot.freeze(desk, name="split", config=preset("demo"))
    teachers = json.loads((run_dir / "snapshot.json").read_text())["teachers"]
    assert [one["name"] for one in teachers] == sorted(one.teacher for one in spoken)
    assert {(one["kind"], one["model"], one["prompt_version"]) for one in teachers} == {
        ("scripted", None, "recorded")
    }
    assert sum(one["opinions"] for one in teachers) == opinions
    said = split_sentence(teachers)
    assert said.startswith("Agreed and conflict go by the opinions of ")
    assert spoken[0].teacher.endswith(" (scripted)")
    assert f"{spoken[0].teacher.removesuffix(')')}, 72 opinions)" in said


def test_equal_desks_give_equal_snapshots(desk: Desk) -> None:
    hashes = {
        json.loads((snapshot.freeze(desk, name=name, config=preset("demo")) / "snapshot.json").read_text())[
            "hash"
        ]
        for name in ("one", "two")
    }
    assert len(hashes) == 1


def test_what_cannot_be_frozen_is_refused_in_a_sentence(desk: Desk, tmp_path: Path) -> None:
    snapshot.freeze(desk, name="taken", config=preset("demo"))
    with pytest.raises(snapshot.SnapshotError, match="already"):
        snapshot.freeze(desk, name="taken", config=preset("demo"))
    with pytest.raises(snapshot.SnapshotError, match="cannot name a run"):
        snapshot.freeze(desk, name="../escape", config=preset("demo"))
    with open_desk(tmp_path) as empty, pytest.raises(snapshot.SnapshotError, match="nothing to learn"):
        snapshot.freeze(empty, name=None, config=preset("demo"))


def test_a_second_run_is_refused_while_one_is_going(desk: Desk) -> None:
    first = snapshot.freeze(desk, name="first", config=preset("demo"))
    second = snapshot.freeze(desk, name="second", config=preset("demo"))
    with RunFolder(first).locked(), pytest.raises(runner.RunError, match="first is going"):
        runner.start(desk, second)
    with pytest.raises(runner.RunError, match="not going"):
        runner.stop(first)
    (second / "snapshot.json").unlink()
    with pytest.raises(runner.RunError, match="no snapshot"):
        runner.start(desk, second)


def test_a_run_whose_process_vanished_counts_as_failed(desk: Desk) -> None:
    folder = RunFolder(snapshot.freeze(desk, name="vanished", config=preset("demo")))
    assert runner.view(folder.path).status is RunStatus.WAITING
    folder.say(stage="sft", step=3, steps=9)
    view = runner.view(folder.path)
    assert view.status is RunStatus.FAILED
    assert "resume" in str(view.why)


def test_promotion_and_rollback_go_forth_and_back(desk: Desk) -> None:
    settings_student = promotion.served(desk)
    with pytest.raises(promotion.PromotionError, match="nothing to go back to"):
        promotion.rollback(desk)
    with pytest.raises(promotion.PromotionError, match="no run named"):
        promotion.promote(desk, "nobody")
    snapshot.freeze(desk, name="unfinished", config=preset("demo"))
    with pytest.raises(promotion.PromotionError, match="not complete"):
        promotion.promote(desk, "unfinished")
    for name in ("a", "b"):
        assert desk.student_source() != str(complete(desk, name))
        promotion.promote(desk, name)
        assert promotion.served(desk) == name
        assert desk.student_source() == str(desk.runs_dir / name)
    promotion.rollback(desk)
    assert promotion.served(desk) == "a"
    promotion.rollback(desk)
    assert promotion.served(desk) == settings_student
    with desk.sessions() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Promotion)) == 4
