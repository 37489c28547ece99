import json
from pathlib import Path

from datasets import load_dataset

from db.views import CaseView, Selection, case_views, whole_cases
from db.vocabulary import Split
from ooc_app.desk import Desk, open_desk
from ooc_app.export.exporting import export_cases
from ooc_app.intake.entries import Source
from ooc_app.intake.formats import import_file
from tests.ooc_app.export.conftest import HOSTILE


def known(desk: Desk) -> list[CaseView]:
    """Every case as it is known outside of this desk."""
    with desk.sessions() as session:
        ids = [case.view.id for case in whole_cases(session, Selection())]
        views = case_views(session, ids)
    bare = [
        view._replace(id=0, opinions=tuple(opinion._replace(id=0) for opinion in view.opinions))
        for view in views
    ]
    return sorted(bare, key=lambda view: (view.dataset, view.external_id))


def test_an_empty_desk_that_imports_it_has_the_same_cases(full_desk: Desk, tmp_path: Path) -> None:
    export_cases(full_desk, "native", tmp_path / "cases.jsonl", images_dir=tmp_path)
    with open_desk(tmp_path / "other") as other:
        report = import_file(other, "native", Source(tmp_path / "cases.jsonl"))
        assert (report.cases, report.bad) == (23, [])
        assert known(other) == known(full_desk)


def test_every_line_is_a_case_whatever_its_text(full_desk: Desk, tmp_path: Path) -> None:
    export_cases(full_desk, "native", tmp_path / "cases.jsonl")
    lines = (tmp_path / "cases.jsonl").read_bytes().splitlines()
    captions = [json.loads(line)["caption"] for line in lines]
    assert captions[7:-1] == list(HOSTILE)


def test_rulings_and_the_human_verdict_stand_beside_what_is_imported(full_desk: Desk, tmp_path: Path) -> None:
    export_cases(full_desk, "native", tmp_path / "cases.jsonl", selection=Selection(settled=True), names=True)
    first, second = map(json.loads, (tmp_path / "cases.jsonl").read_text().splitlines())
    assert (first["id"], first["settled"], second["settled"]) == ("conflict", "out_of_context", "in_context")
    picked, own = first["rulings"]
    assert (picked["annotator"], picked["picked"], picked["rationale"]) == ("maria", "Birch", None)
    assert (own["annotator"], own["picked"], own["elements"]) == ("jan", None, ["place"])
    assert (own["seconds"], own["at"]) == (4.5, "2026-11-22T12:30:00+00:00")


def test_datasets_reads_it(full_desk: Desk, tmp_path: Path, cache_dir: str) -> None:
    path = tmp_path / "cases.jsonl"
    export_cases(full_desk, "native", path, selection=Selection(split=Split.TRAIN))
    rows = load_dataset("json", data_files=str(path), split="train", cache_dir=cache_dir)
    with full_desk.sessions() as session:
        cases = list(whole_cases(session, Selection(split=Split.TRAIN)))
    assert rows["caption"] == [case.view.caption for case in cases]
    assert [len(said) for said in rows["opinions"]] == [len(case.view.opinions) for case in cases]
