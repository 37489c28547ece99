import json
from pathlib import Path
from typing import Any

import pytest

from db.cases import NewCase
from db.vocabulary import Split, Verdict
from ooc_app.intake.cosmos import read, site
from ooc_app.intake.entries import BadLine, Found, ImportFileError, Source


def pair(number: int, label: Any, key: str = "context_label") -> dict[str, Any]:
    """A line as COSMOS' test_data.json has them, the keys we do not read included."""
    return {
        "img_local_path": f"test/{number}.jpg",
        "caption1": f"First caption of {number}.",
        "caption1_modified": "PERSON in GPE.",
        "caption1_entities": [["Norvik", "GPE"]],
        "caption2": f"Second caption of {number}.",
        "caption2_modified": "PERSON in GPE.",
        "caption2_entities": [],
        key: label,
        "article_url": "https://www.snopes.com/fact-check/a/",
        "maskrcnn_bboxes": [[1.5, 2.5, 30, 40]],
        "bert_base_score": "0.57",
    }


def written(folder: Path, *rows: Any, name: str = "test_data.json") -> Path:
    path = folder / name
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def cases(path: Path, **options: str) -> list[NewCase]:
    return [entry.case for entry in read(Source(path, options=options)) if isinstance(entry, Found)]


def test_a_file_whose_name_tells_no_split_needs_one(tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match="give --split"):
        list(read(Source(written(tmp_path, pair(0, 0), name="pairs.json"))))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (pair(1, 2), "`context_label` is '2', not one of 0, not-ooc, 1, ooc"),
        (pair(1, "true"), "`context_label` is 'true'"),
        (pair(1, True), "`context_label` is not a text"),
        ({**pair(1, 1), "caption2": " "}, "`caption2` is missing"),
        ({**pair(1, 1), "img_local_path": None}, "`img_local_path` is missing"),
        ({"img_local_path": "a.jpg", "articles": []}, "`articles` is empty"),
        ({"img_local_path": "a.jpg", "articles": [{"caption": "A"}, {}]}, "`caption` is missing"),
        ("{", "not valid JSON"),
    ],
)
def test_a_bad_pair_is_refused_whole(row: Any, reason: str, tmp_path: Path) -> None:
    entries = list(read(Source(written(tmp_path, pair(0, 0), row, pair(2, 1)))))
    (bad,) = [entry for entry in entries if isinstance(entry, BadLine)]
    assert (bad.line, reason in bad.reason) == (2, True), bad
    assert len(entries) == 2 + 1 + 2


def test_the_label_is_the_pairs_and_so_no_captions_gold(tmp_path: Path) -> None:
    found = cases(written(tmp_path, pair(0, 0), pair(1, 1), pair(2, None)))
    assert {case.gold for case in found} == {None}
    assert [(case.external_id, case.group) for case in found[:3]] == [
        ("test/0.jpg#1", "test/0.jpg"),
        ("test/0.jpg#2", "test/0.jpg"),
        ("test/1.jpg#1", "test/1.jpg"),
    ]
    assert {case.split for case in found} == {Split.TEST}
    notes = [case.note or "" for case in found[::2]]
    assert ["not out of context" in note for note in notes] == [True, False, False]
    assert ["labelled out of context" in note for note in notes] == [False, True, False]
    assert "no label" in notes[2]
    assert found[1].note is not None
    assert found[1].note.startswith("Caption 2 of a pair.")


@pytest.mark.parametrize("key", ["context_label", "label"])
@pytest.mark.parametrize(("no", "yes"), [(0, 1), ("0", "1"), ("not-ooc", "ooc")])
def test_one_caption_carries_the_pairs_label_where_asked_for(
    key: str, no: Any, yes: Any, tmp_path: Path
) -> None:
    path = written(tmp_path, pair(0, no, key), pair(1, yes, key))
    golds = [case.gold for case in cases(path, **{"pair-gold": "caption2"})]
    assert golds == [None, Verdict.IN_CONTEXT, None, Verdict.OUT_OF_CONTEXT]
    golds = [case.gold for case in cases(path, **{"pair-gold": "caption1"})]
    assert golds == [Verdict.IN_CONTEXT, None, Verdict.OUT_OF_CONTEXT, None]


def test_pictures_of_the_training_files_have_any_number_of_captions_and_no_label(tmp_path: Path) -> None:
    articles = [
        {
            "caption": f"Caption {number}",
            "article_url": f"https://www.nytimes.com/{number}",
            "entity_list": [],
        }
        for number in range(3)
    ]
    row = {"img_local_path": "val/7.jpg", "articles": articles, "maskrcnn_bboxes": []}
    found = cases(written(tmp_path, row, name="val_data.json"))
    assert [case.caption for case in found] == ["Caption 0", "Caption 1", "Caption 2"]
    assert {(case.gold, case.split, case.group) for case in found} == {(None, Split.VALIDATION, "val/7.jpg")}
    assert [case.url for case in found] == [article["article_url"] for article in articles]
    assert {case.source for case in found} == {"nytimes.com"}


def test_the_site_of_an_address_is_its_host() -> None:
    assert site("https://www.snopes.com/fact-check/") == "snopes.com"
    assert site("www.bbc.co.uk/news") == "bbc.co.uk"
    assert site("http://[broken") is site("") is site("https:///a") is None
