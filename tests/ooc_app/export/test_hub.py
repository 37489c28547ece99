import hashlib
import json
from pathlib import Path
from typing import Any

import mlcroissant
import pytest
from datasets import DatasetDict, Image, load_dataset
from huggingface_hub import DatasetCard
from PIL import Image as Pillow

from db.cases import NewCase, add_cases
from db.engine import write_session
from db.views import Selection, WholeCase, whole_cases
from ooc_app.desk import Desk
from ooc_app.export import hub
from ooc_app.export.exporting import export_cases
from ooc_app.export.hub_columns import COLUMNS
from tests.ooc_app.export.conftest import stored_picture


def cases_of(desk: Desk) -> dict[tuple[str, str], WholeCase]:
    with desk.sessions() as session:
        cases = whole_cases(session, Selection())
        return {(case.view.dataset, case.view.external_id): case for case in cases}


def loaded(path: Path, cache_dir: str) -> DatasetDict:
    return load_dataset(str(path), cache_dir=cache_dir).cast_column("image", Image(decode=False))


def assert_same(row: dict[str, Any], case: WholeCase) -> None:
    """Compare a row read back with the case that went in."""
    view = case.view
    for name in ("caption", "gold", "split", "group", "source", "url", "date", "place", "note"):
        assert row[name] == getattr(view, name), name
    assert row["settled"] == case.settled
    assert [list(found.values()) for found in row["evidence"]] == [
        [found.kind, found.title, found.url, found.date, found.text] for found in view.evidence
    ]
    assert [(said["teacher"], said["verdict"], said["rationale"]) for said in row["opinions"]] == [
        (said.teacher, said.verdict, said.rationale) for said in view.opinions
    ]
    assert [said["elements"] for said in row["opinions"]] == [
        said.elements and list(said.elements) for said in view.opinions
    ]
    assert [(one["verdict"], one["rationale"], one["seconds"]) for one in row["rulings"]] == [
        (one.verdict, one.rationale, one.seconds) for one in case.rulings
    ]


def test_datasets_loads_the_folder_as_it_is(full_desk: Desk, tmp_path: Path, cache_dir: str) -> None:
    export_cases(full_desk, "hf", tmp_path / "folder")
    data = loaded(tmp_path / "folder", cache_dir)
    assert {name: len(rows) for name, rows in data.items()} == {"train": 21, "validation": 1, "test": 1}
    cases = cases_of(full_desk)
    for rows in data.values():
        assert rows.column_names == [column.name for column in COLUMNS]
        for row in rows:
            case = cases.pop((row["dataset"], row["id"]))
            assert_same(row, case)
            sha256 = case.view.image_sha256
            assert (row["image"] or {}).get("path") == sha256
            if sha256:
                assert hashlib.sha256(row["image"]["bytes"]).hexdigest() == sha256
    assert cases == {}


def test_its_pictures_are_pictures(full_desk: Desk, tmp_path: Path, cache_dir: str) -> None:
    export_cases(full_desk, "hf", tmp_path / "folder")
    rows = load_dataset(str(tmp_path / "folder"), split="test", cache_dir=cache_dir)
    assert rows[0]["image"].size == (64, 48)


def test_many_cases_make_many_files_and_none_is_lost(
    desk: Desk, tmp_path: Path, cache_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "AT_ONCE", 4)
    monkeypatch.setattr(hub, "ROW_GROUP_MAX", 8)
    monkeypatch.setattr(hub, "SHARD_BYTES", 5_000)
    with write_session(desk.sessions) as session:
        add_cases(session, "test", [NewCase(f"{number}", f"Caption {number}") for number in range(30)])
    export_cases(desk, "hf", tmp_path / "folder")
    names = sorted(path.name for path in (tmp_path / "folder" / "data").iterdir())
    assert len(names) > 1
    assert names == [f"train-{number:05}-of-{len(names):05}.parquet" for number in range(len(names))]
    rows = loaded(tmp_path / "folder", cache_dir)["train"]
    assert sorted(rows["id"]) == sorted(f"{number}" for number in range(30))


def test_pictures_and_long_texts_close_a_row_group_before_they_fill_the_memory(
    desk: Desk, tmp_path: Path, cache_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "ROW_GROUP_BYTES", 1)
    monkeypatch.setattr(hub, "SHARD_BYTES", 1)
    with write_session(desk.sessions) as session:
        cases = [NewCase(f"{shade}", "Caption", stored_picture(desk, shade)) for shade in range(3)]
        add_cases(session, "test", cases)
    export_cases(desk, "hf", tmp_path / "folder")
    assert len(list((tmp_path / "folder" / "data").iterdir())) == 3
    assert len(loaded(tmp_path / "folder", cache_dir)["train"]) == 3


def test_the_data_card_says_what_is_in_it_and_lets_no_name_speak(full_desk: Desk, tmp_path: Path) -> None:
    export_cases(full_desk, "hf", tmp_path / "folder")
    card = DatasetCard.load(tmp_path / "folder" / "README.md")
    info = card.data.dataset_info
    assert {split["name"]: split["num_examples"] for split in info["splits"]} == {
        "train": 21,
        "validation": 1,
        "test": 1,
    }
    assert card.data.size_categories == ["n<1K"]
    assert "23 cases, 2 of them settled" in card.text
    assert "</script>" not in card.text
    assert "| &#60;/script&#62; &#124; second | 1 |" in card.text
    assert all(f"`{column.name}`" in card.text for column in COLUMNS)


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated")  # rdflib's own reader of JSON-LD
@pytest.mark.filterwarnings("ignore:The inplace keyword")  # mlcroissant uses pandas as it was
def test_croissant_is_valid_and_reads_every_record(full_desk: Desk, tmp_path: Path) -> None:
    export_cases(full_desk, "hf", tmp_path / "folder")
    described = mlcroissant.Dataset(jsonld=tmp_path / "folder" / "croissant.json")
    issues = described.metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    cases = cases_of(full_desk)
    for record in described.records("cases"):
        row = plain(record)
        case = cases.pop((row["dataset"], row["id"]))
        assert_same(row, case)
        assert (row["image"] is None) == (case.view.image_sha256 is None)
        assert row["image"] is None or isinstance(row["image"], Pillow.Image)
    assert cases == {}


def plain(record: Any) -> Any:
    """Take the record set's prefix off the names, and texts out of the bytes mlcroissant makes of them."""
    if isinstance(record, dict):
        return {name.rpartition("/")[2]: plain(value) for name, value in record.items()}
    if isinstance(record, list):
        return [plain(value) for value in record]
    return record.decode() if isinstance(record, bytes) else record


def test_croissant_is_plain_json_without_the_texts_of_strangers(full_desk: Desk, tmp_path: Path) -> None:
    export_cases(full_desk, "hf", tmp_path / "folder")
    text = (tmp_path / "folder" / "croissant.json").read_text(encoding="utf-8")
    assert "</script>" not in text
    assert "| second" not in text
    assert json.loads(text)["conformsTo"] == "http://mlcommons.org/croissant/1.0"


def test_a_picture_that_is_damaged_is_exported_as_it_is(desk: Desk, tmp_path: Path, cache_dir: str) -> None:
    image = stored_picture(desk, 1)
    with write_session(desk.sessions) as session:
        add_cases(session, "test", [NewCase("1", "Caption", image)])
    path = desk.images_dir / image.sha256[:2] / image.sha256[2:]
    path.write_bytes(b"damaged")
    export_cases(desk, "hf", tmp_path / "folder")
    assert loaded(tmp_path / "folder", cache_dir)["train"][0]["image"]["bytes"] == b"damaged"
