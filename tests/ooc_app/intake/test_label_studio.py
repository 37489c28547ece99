import json
from pathlib import Path
from typing import Any

import pytest

from db.cases import NewEvidence, NewOpinion
from db.vocabulary import Answer, Element, EvidenceKind, Split, Verdict
from ooc_app.intake.entries import BadLine, Found, ImportFileError, Source
from ooc_app.intake.label_studio import read

DATA = {"image": "images/a.jpg", "caption": "A", "external_id": "1"}


def choice(value: Any, control: str = "verdict") -> dict[str, Any]:
    return {"from_name": control, "to_name": "image", "type": "choices", "value": {"choices": value}}


def said(value: Any, control: str = "rationale") -> dict[str, Any]:
    return {"from_name": control, "to_name": "image", "type": "textarea", "value": {"text": value}}


def prediction(teacher: Any, *result: Any, **more: Any) -> dict[str, Any]:
    return {"model_version": teacher, "result": list(result), **more}


def annotation(who: Any, verdict: str, **more: Any) -> dict[str, Any]:
    return {"id": 5, "completed_by": who, "result": [choice([verdict])], "was_cancelled": False, **more}


def read_all(folder: Path, *tasks: Any, dataset: str | None = None, **options: str) -> list[Any]:
    path = folder / "export.json"
    path.write_text(json.dumps(tasks))
    return list(read(Source(path, options=options, dataset=dataset)))


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ({"caption": "A", "choice": "in_context"}, "not as JSON-MIN"),
        ({"data": ["A"]}, "`data` is not an object"),
        ({"data": {"image": "a.jpg"}}, "`caption` is missing"),
        ({"data": DATA, "predictions": [1, 2]}, "`predictions` is not a list of objects"),
        ({"data": DATA, "predictions": [prediction(None, choice(["unsure"]))]}, "has no `model_version`"),
        ({"data": DATA, "predictions": [prediction("T", said(["A"]))]}, "opinion of 'T' has no `verdict`"),
        ({"data": DATA, "predictions": [prediction("T", choice([]))]}, "opinion of 'T' has no `verdict`"),
        ({"data": DATA, "predictions": [prediction("T", choice(["Fake"]))]}, "`verdict` is 'Fake'"),
        ({"data": DATA, "predictions": [prediction("T", choice(["unsure", "in_context"]))]}, "chose several"),
        ({"data": DATA, "predictions": [prediction("T", 5)]}, "`result` is not a list of objects"),
        ({"data": {**DATA, "evidence": "["}}, "`evidence` is not valid JSON"),
        ({"data": {**DATA, "gold": "pristine"}}, "`gold` is 'pristine'"),
    ],
)
def test_a_bad_task_is_refused(task: Any, reason: str, tmp_path: Path) -> None:
    first, bad, last = read_all(tmp_path, {"data": DATA}, task, {"data": DATA})
    assert isinstance(bad, BadLine)
    assert (bad.line, reason in bad.reason) == (2, True), bad
    assert isinstance(first, Found)
    assert isinstance(last, Found)


def test_a_mapping_that_names_no_field_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match="'text', which is none of"):
        read_all(tmp_path, {"data": DATA}, map="text:caption")


def test_what_the_desk_exports_comes_back(tmp_path: Path) -> None:
    """The shape that the desk's own exporter writes."""
    data = {
        "image": "images/ab/cdef",
        "caption": "Café «A»",
        "date": "12 March",
        "place": "Norvik",
        "source": "bbc",
        "case_id": 17,
        "dataset": "verite",
        "external_id": "true_1-true",
        "gold": "out_of_context",
        "split": "validation",
        "group": "1",
        "url": "https://example.org",
        "note": "miscaptioned",
        "evidence": [{"kind": "image", "title": "t", "url": None, "date": None, "text": "x"}],
    }
    task = {
        "data": data,
        "predictions": [
            prediction("Atlas", choice(["out_of_context"]), said(["Because.", "Place."]), score=0.75),
            prediction("Birch", choice(["unsure"]), choice(["place", "time"], "elements"), score=None),
        ],
        "annotations": [annotation(3, "in_context")],
    }
    (found,) = read_all(tmp_path, task)
    assert (found.dataset, found.image, found.line) == ("verite", "images/ab/cdef", 1)
    case = found.case
    assert (case.external_id, case.caption, case.gold) == ("true_1-true", "Café «A»", Verdict.OUT_OF_CONTEXT)
    assert (case.split, case.group, case.source, case.url) == (
        Split.VALIDATION,
        "1",
        "bbc",
        "https://example.org",
    )
    assert (case.date, case.place, case.note) == ("12 March", "Norvik", "miscaptioned")
    assert case.evidence == (NewEvidence(EvidenceKind.IMAGE, "t", None, None, "x"),)
    assert case.opinions == (
        NewOpinion("Atlas", Answer.OUT_OF_CONTEXT, "Because.\nPlace.", 0.75),
        NewOpinion("Birch", Answer.UNSURE, "", None, (Element.PLACE, Element.TIME)),
    )
    (named,) = read_all(tmp_path, task, dataset="mine")
    assert named.dataset is None


def test_other_projects_are_read_by_a_mapping(tmp_path: Path) -> None:
    task = {
        "data": {"text": "A", "img": "/data/local-files/?d=photos/a%20b.jpg", "meta": {"label": 1}},
        "predictions": [prediction("T", choice(["Falsified"], "label"), said("Why.", "why"))],
    }
    given = "caption:text,image:img,gold:meta.label,0=in_context,1=out_of_context"
    given += ",verdict:label,Falsified=out_of_context,Pristine=in_context,rationale:why"
    (found,) = read_all(tmp_path, task, map=given)
    assert (found.case.caption, found.image, found.case.gold) == (
        "A",
        "photos/a b.jpg",
        Verdict.OUT_OF_CONTEXT,
    )
    assert found.case.opinions == (NewOpinion("T", Answer.OUT_OF_CONTEXT, "Why."),)


def test_pictures_on_other_servers_are_not_fetched(tmp_path: Path) -> None:
    for image in ("https://example.org/a.jpg", "s3://bucket/a.jpg", "data:image/png;base64,AAAA", None):
        (found,) = read_all(tmp_path, {"data": {**DATA, "image": image}})
        assert found.image is None


def test_of_two_predictions_of_one_model_the_later_counts_and_a_score_beyond_1_is_no_confidence(
    tmp_path: Path,
) -> None:
    task = {
        "data": DATA,
        "predictions": [
            prediction("T", choice(["unsure"]), score=0.5),
            prediction("T", choice(["in_context"]), score=87.5),
        ],
    }
    (found,) = read_all(tmp_path, task)
    assert found.case.opinions == (NewOpinion("T", Answer.IN_CONTEXT),)


def test_peoples_annotations_are_left_or_become_what_is_asked_for(tmp_path: Path) -> None:
    cancelled = annotation(9, "out_of_context", was_cancelled=True)
    agreed = {
        "data": DATA,
        "annotations": [annotation(3, "in_context"), annotation({"email": "a@b"}, "in_context")],
    }
    split = {"data": DATA, "annotations": [annotation(3, "in_context"), annotation(4, "out_of_context")]}
    unsure = {"data": DATA, "annotations": [annotation(3, "unsure"), cancelled]}
    tasks = (agreed, split, unsure)
    assert [(one.case.gold, one.case.opinions) for one in read_all(tmp_path, *tasks)] == [(None, ())] * 3
    golds = [one.case.gold for one in read_all(tmp_path, *tasks, annotations="gold")]
    assert golds == [Verdict.IN_CONTEXT, None, None]
    said = [one.case.opinions for one in read_all(tmp_path, *tasks, annotations="opinions")]
    assert [[opinion.teacher for opinion in opinions] for opinions in said] == [
        ["annotator 3", "a@b"],
        ["annotator 3", "annotator 4"],
        ["annotator 3"],
    ]
