from dataclasses import replace
from pathlib import Path

import pytest

from db.vocabulary import Stage
from tests.training.conftest import MakeRun
from tests.training.tiny_families import build_family
from tests.training.tiny_video_families import BUILDERS
from training import sft
from training.config import load_config
from training.families import FAMILIES
from training.judging import Judges
from training.records import GoldCase, Target, read_records
from training.stage import StageInputs
from training.state import RunFolder
from training.student import Student


@pytest.mark.parametrize("name", [name for name in BUILDERS if name in FAMILIES])
def test_a_verdict_from_features_is_the_one_from_the_picture(
    name: str, make_run: MakeRun, tmp_path: Path
) -> None:
    run_dir = make_run()
    config = replace(
        load_config(run_dir / "config.json"), student=str(build_family(BUILDERS[name], tmp_path / name))
    )
    cases = [one.case for one in read_records(run_dir / "test.jsonl", GoldCase)]
    seen = Judges(RunFolder(run_dir), replace(config, path="stock"))
    by_sight = seen.margins(Student.untouched(config), cases)
    judges = Judges(RunFolder(run_dir), replace(config, tokens_per_pass=300))
    by_features = judges.margins(Student.untouched(config), cases)
    assert by_features == pytest.approx(by_sight, abs=1e-4)
    assert len(set(by_sight)) == len(cases)
    assert not judges.images


def test_students_of_a_run_share_what_they_see(make_run: MakeRun) -> None:
    run_dir = make_run()
    folder, config = RunFolder(run_dir), load_config(run_dir / "config.json")
    sft.stage_run(
        StageInputs(folder, config, lambda: False), read_records(run_dir / "sft.jsonl", Target)
    ).run()
    cases = [one.case for one in read_records(run_dir / "test.jsonl", GoldCase)]
    told: list[int] = []
    judges = Judges(folder, config, told.append)
    base = judges.margins(Student.untouched(config), cases)
    kept = {path.name: path.stat().st_mtime_ns for path in folder.features_dir.iterdir()}
    stage1 = judges.margins(Student.load(str(run_dir), stage=Stage.SFT), cases)
    assert {path.name: path.stat().st_mtime_ns for path in folder.features_dir.iterdir()} == kept
    assert base != stage1
    assert stage1 == pytest.approx(
        Judges(folder, replace(config, path="stock")).margins(
            Student.load(str(run_dir), stage=Stage.SFT), cases
        ),
        abs=1e-4,
    )
    assert sum(told) == 2 * len(cases)
