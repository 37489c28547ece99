from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from db.cases import NewOpinion
from db.models import Image
from db.vocabulary import Answer, Element, Split, Verdict
from ooc_app.desk import Desk
from ooc_app.intake import importing
from ooc_app.intake.entries import BadLine, Found, ImportFileError, LeftOut, Source
from ooc_app.intake.formats import import_file
from ooc_app.intake.hugging_face import read

datasets = pytest.importorskip("datasets")
Picture = Callable[..., bytes]

ROWS: dict[str, list[Any]] = {
    "text": ["A", "B", "C", " "],
    "label": [0, 1, 2, 0],
}
GIVEN = "caption:text,gold:label,pristine=in_context,falsified=out_of_context,manipulated=left_out"


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test asks the hub, and what `datasets` caches goes with the test."""
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def labelled(rows: dict[str, list[Any]], **features: Any) -> Any:
    names = datasets.ClassLabel(names=["pristine", "falsified", "manipulated"])
    return datasets.Dataset.from_dict(
        rows, datasets.Features({"text": datasets.Value("string"), "label": names, **features})
    )


def parquet(folder: Path, rows: dict[str, list[Any]], name: str = "rows.parquet") -> Path:
    path = folder / name
    pq.write_table(pa.table(rows), path)
    return path


def test_what_is_no_data_set_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no more")
    (tmp_path / "empty").mkdir()
    for name in ("broken.parquet", "empty", "nobody/nothing"):
        with pytest.raises(ImportFileError, match=name):
            list(read(Source(tmp_path / name if name != "nobody/nothing" else Path(name))))


def test_a_mapping_that_names_no_column_of_it_is_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path, ROWS)
    with pytest.raises(ImportFileError, match="the column 'titel', which is none of text, label"):
        list(read(Source(path, options={"map": "caption:titel"})))


def test_a_bad_row_is_numbered_and_one_left_out_is_counted_with_its_value(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    labelled(ROWS).to_parquet(path)
    entries = list(read(Source(path, options={"map": GIVEN})))
    assert [type(entry) for entry in entries] == [Found, Found, LeftOut, BadLine]
    assert [entry.line for entry in entries] == [1, 2, 3, 4]
    assert [entry.reason for entry in entries if isinstance(entry, LeftOut)] == ["`label` is manipulated"]


def test_a_class_label_is_mapped_by_its_names_or_by_its_numbers(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    labelled(ROWS).to_parquet(path)
    by_number = "caption:text,gold:label,0=in_context,1=out_of_context,2=left_out"
    for given in (GIVEN, by_number):
        golds = [
            entry.case.gold
            for entry in read(Source(path, options={"map": given}))
            if isinstance(entry, Found)
        ]
        assert golds == [Verdict.IN_CONTEXT, Verdict.OUT_OF_CONTEXT]


def test_a_value_without_a_meaning_is_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path, ROWS)
    entries = list(read(Source(path, options={"map": "caption:text,gold:label,0=in_context"})))
    assert [type(entry) for entry in entries] == [Found, BadLine, BadLine, BadLine]
    assert isinstance(entries[1], BadLine)
    assert "`label` is '1', which --map gives no meaning" in entries[1].reason


def test_every_split_of_a_folder_is_read_under_its_name(tmp_path: Path) -> None:
    rows = labelled({"text": ["A", "B"], "label": [0, 1]})
    saved = datasets.DatasetDict({"train": rows, "dev": rows, "test": rows})
    saved.save_to_disk(tmp_path / "saved")
    hub = tmp_path / "hub"
    hub.mkdir()
    for name in ("train", "validation", "test"):
        rows.to_parquet(hub / f"{name}-00000-of-00001.parquet")
    for folder in (tmp_path / "saved", hub):
        found = [entry for entry in read(Source(folder, options={"map": GIVEN})) if isinstance(entry, Found)]
        assert [entry.line for entry in found] == [1, 2, 3, 4, 5, 6]
        assert sorted(entry.case.split for entry in found) == [
            *[Split.TEST] * 2, *[Split.TRAIN] * 2, *[Split.VALIDATION] * 2
        ]  # fmt: skip
    asked = read(Source(hub, Split.TEST, {"map": GIVEN}))
    assert {entry.case.split for entry in asked if isinstance(entry, Found)} == {Split.TEST}


def test_columns_of_the_native_names_need_no_mapping(tmp_path: Path) -> None:
    said = {"teacher": "T", "verdict": "unsure", "rationale": "R", "confidence": 0.5, "elements": ["time"]}
    rows: dict[str, list[Any]] = {
        "id": [7],
        "caption": ["中文 😀"],
        "gold": ["in_context"],
        "split": ["validation"],
        "dataset": ["other"],
        "evidence": [[{"kind": "image", "text": "x"}]],
        "opinions": [[said]],
    }
    (found,) = read(Source(parquet(tmp_path, rows)))
    assert isinstance(found, Found)
    assert (found.case.external_id, found.case.caption, found.case.gold) == (
        "7",
        "中文 😀",
        Verdict.IN_CONTEXT,
    )
    assert (found.case.split, found.dataset) == (Split.VALIDATION, "other")
    assert found.case.evidence[0].text == "x"
    assert found.case.opinions == (NewOpinion("T", Answer.UNSURE, "R", 0.5, (Element.TIME,)),)


def test_pictures_go_through_the_door_as_bytes_and_broken_ones_cost_their_row(
    desk: Desk, tmp_path: Path, picture: Picture
) -> None:
    images = [
        {"bytes": picture(), "path": "a.jpg"},
        {"bytes": b"<svg/>", "path": "b.svg"},
        None,
        {"bytes": picture(), "path": None},
    ]
    path = tmp_path / "rows.parquet"
    rows: dict[str, list[Any]] = {"text": ["A", "B", "C", "D"], "label": [0, 1, 0, 1], "picture": images}
    labelled(rows, picture=datasets.Image(decode=False)).cast_column("picture", datasets.Image()).to_parquet(
        path
    )
    source = Source(path, options={"map": f"image:picture,{GIVEN}"})
    report = import_file(desk, "hf", source)
    assert (report.cases, report.without_image, report.bad_count) == (3, 1, 1)
    assert report.bad[0].line == 2
    assert report.bad[0].reason.startswith("its picture is refused: ")
    with desk.sessions() as session:
        assert session.query(Image).count() == 1


def test_plain_bytes_and_paths_below_the_folder_are_pictures_too(
    desk: Desk, tmp_path: Path, picture: Picture
) -> None:
    (tmp_path / "a.png").write_bytes(picture(kind="PNG"))
    first = parquet(tmp_path, {"caption": ["A"], "image": [picture()]}, "bytes.parquet")
    second = parquet(
        tmp_path, {"caption": ["A", "B"], "image": ["a.png", "https://x/a.png"]}, "paths.parquet"
    )
    assert import_file(desk, "hf", Source(first)).without_image == 0
    assert import_file(desk, "hf", Source(second)).without_image == 1


def test_batches_end_early_where_pictures_are_large(
    desk: Desk, tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "PICTURES_MAX", 1_000)
    rows: dict[str, list[Any]] = {
        "caption": [f"Caption {number}" for number in range(4)],
        "image": [picture((200, 200))] * 4,
    }
    seen: list[int] = []
    import_file(desk, "hf", Source(parquet(tmp_path, rows)), progress=lambda lines, _: seen.append(lines))
    assert seen == [1, 2, 3, 4]
