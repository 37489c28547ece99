import json
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from db.vocabulary import Split, Verdict
from ooc_app.intake.entries import BadLine, Entry, Found, ImportFileError, Source
from ooc_app.intake.formats import FORMATS
from ooc_app.intake.newsclippings import read
from ooc_app.intake.visual_news import NewsIndex


def news_entry(number: int) -> dict[str, Any]:
    """An entry as VisualNews has them."""
    source = ("guardian", "bbc", "usa_today", "washington_post")[number % 4]
    return {
        "id": number,
        "caption": f"Caption {number}, von Zürich nach 北京.",
        "topic": "politics",
        "source": source,
        "image_path": f"./{source}/images/{number // 1000:04}/{number % 1000:03}.jpg",
        "article_path": f"./{source}/articles/{number}.txt",
    }


def annotation(caption_id: Any, image_id: Any, falsified: Any) -> dict[str, Any]:
    """An annotation as NewsCLIPpings has them."""
    return {
        "id": caption_id,
        "image_id": image_id,
        "similarity_score": 0.31,
        "falsified": falsified,
        "source_dataset": 1,
    }


@pytest.fixture
def news(tmp_path: Path) -> Path:
    """VisualNews in small: 200 entries."""
    path = tmp_path / "origin" / "data.json"
    path.parent.mkdir()
    path.write_text(json.dumps([news_entry(number) for number in range(200)]))
    return path


def annotations(folder: Path, *rows: dict[str, Any], name: str = "val.json") -> Path:
    path = folder / name
    path.write_text(json.dumps({"annotations": rows, "source_datasets": ["a", "b"]}))
    return path


def read_all(path: Path, news: Path, split: Split | None = None) -> list[Entry]:
    return list(read(Source(path, split, {"visual-news": str(news)})))


def test_without_visual_news_nothing_can_be_read(tmp_path: Path, news: Path) -> None:
    path = annotations(tmp_path, annotation(1, 1, False))
    with pytest.raises(ImportFileError, match="--visual-news"):
        list(read(Source(path)))
    with pytest.raises(ImportFileError, match="There is no file"):
        read_all(path, tmp_path / "nowhere.json")
    with pytest.raises(ImportFileError, match="no entries with `id` and `image_path`"):
        read_all(path, annotations(tmp_path, annotation(1, 1, False), name="test.json"))
    other = tmp_path / "train.json"
    other.write_text('{"images":\n [1]}')
    with pytest.raises(ImportFileError, match="no list `annotations`"):
        read_all(other, news)


def test_a_file_whose_name_tells_no_split_needs_one(tmp_path: Path, news: Path) -> None:
    path = annotations(tmp_path, annotation(1, 1, False), name="merged.json")
    with pytest.raises(ImportFileError, match="give --split"):
        read_all(path, news)
    (entry,) = read_all(path, news, Split.TEST)
    assert isinstance(entry, Found)
    assert entry.case.split is Split.TEST


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (annotation(1, 1, True), "`falsified` is true, but `id` 1 and `image_id` 1 are equal"),
        (annotation(1, 2, False), "`falsified` is false, but `id` 1 and `image_id` 2 differ"),
        (annotation(1, 1, None), "`falsified` is neither true nor false"),
        (annotation(1, 2, 1), "`falsified` is neither true nor false"),
        (annotation(1, 2, "True"), "`falsified` is neither true nor false"),
        (annotation(None, 2, True), "`id` is missing"),
        (annotation([1], 2, True), "`id` is not a text"),
        (annotation(1, 5_000, True), "VisualNews has no entry '5000'"),
        (annotation(5_000, 1, True), "VisualNews has no entry '5000'"),
    ],
)
def test_an_annotation_that_contradicts_itself_or_names_nothing_is_refused(
    row: dict[str, Any], reason: str, tmp_path: Path, news: Path
) -> None:
    good = annotation(3, 3, False)
    first, bad, last = read_all(annotations(tmp_path, good, row, good), news)
    assert isinstance(first, Found)
    assert isinstance(last, Found)
    assert isinstance(bad, BadLine)
    assert bad.line == 2
    assert reason in bad.reason


def test_polarity_groups_and_splits_are_the_formats_own_rules(tmp_path: Path, news: Path) -> None:
    """Even entries are pristine, the next one is the falsified partner with the same caption."""
    rows = [
        annotation(number, number + shift, bool(shift)) for number in range(0, 100, 2) for shift in (0, 1)
    ]
    for name, split in (("train", Split.TRAIN), ("val", Split.VALIDATION), ("test", Split.TEST)):
        found = [one for one in read_all(annotations(tmp_path, *rows, name=f"{name}.json"), news)]
        cases = [one.case for one in found if isinstance(one, Found)]
        assert Counter(case.gold for case in cases) == {Verdict.IN_CONTEXT: 50, Verdict.OUT_OF_CONTEXT: 50}
        assert {case.split for case in cases} == {split}
        assert set(Counter(case.group for case in cases).values()) == {2}
        for row, case in zip(rows, cases, strict=True):
            assert case.external_id == f"{row['id']}-{row['image_id']}"
            assert (case.gold is Verdict.IN_CONTEXT) == (row["id"] == row["image_id"])
            assert case.group == str(row["id"])
            assert case.caption == news_entry(row["id"])["caption"]
            assert case.source == news_entry(row["id"])["source"]


def test_the_picture_is_the_one_of_image_id_and_the_caption_that_of_id(tmp_path: Path, news: Path) -> None:
    (entry,) = read_all(annotations(tmp_path, annotation(7, 12, True)), news)
    assert isinstance(entry, Found)
    assert entry.case.caption == "Caption 7, von Zürich nach 北京."
    assert entry.image == "./guardian/images/0000/012.jpg"
    source = Source(tmp_path / "val.json", options={"visual-news": str(news)})
    assert FORMATS["newsclippings"].images_dir(source) == news.parent


def test_a_plain_list_of_annotations_and_ids_as_texts_are_read_too(tmp_path: Path, news: Path) -> None:
    path = tmp_path / "val_1500.json"
    path.write_text(json.dumps([annotation("7", 12, True), annotation(7, "7", False)]))
    assert [entry.case.gold for entry in read_all(path, news) if isinstance(entry, Found)] == [
        Verdict.OUT_OF_CONTEXT,
        Verdict.IN_CONTEXT,
    ]


def test_an_entry_without_a_caption_can_lend_its_picture_only(tmp_path: Path, news: Path) -> None:
    news.write_text(json.dumps([{**news_entry(1), "caption": " "}, news_entry(2), 5, {"id": [3]}]))
    rows = [annotation(1, 1, False), annotation(2, 1, True), annotation(3, 3, False)]
    first, second, third = read_all(annotations(tmp_path, *rows), news)
    assert isinstance(first, BadLine)
    assert first.reason == "entry '1' of VisualNews has no caption"
    assert isinstance(second, Found)
    assert isinstance(third, BadLine)


def test_memory_holds_neither_list(tmp_path: Path) -> None:
    data = tmp_path / "data.json"
    with data.open("w") as file:
        file.write("[" + json.dumps(news_entry(0)))
        for number in range(1, 30_000):
            file.write("," + json.dumps(news_entry(number)))
        file.write("]")
    rows = [annotation(number, number, False) for number in range(0, 30_000, 2)]
    path = annotations(tmp_path, *rows)
    del rows
    tracemalloc.start()
    count = sum(isinstance(entry, Found) for entry in read(Source(path, options={"visual-news": str(data)})))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 15_000
    assert peak < data.stat().st_size // 2


def test_looking_at_a_few_rows_reads_no_more_of_visual_news_than_they_need(
    tmp_path: Path, news: Path
) -> None:
    news.write_text(json.dumps([news_entry(1), news_entry(2)])[:-1] + ", {broken")
    path = annotations(tmp_path, annotation(1, 2, True), annotation(100, 100, False))
    source = Source(path, options={"visual-news": str(news)}, rows=1)
    assert [type(entry) for entry in read(source)] == [Found]


def test_the_index_leaves_nothing_behind(tmp_path: Path, news: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with NewsIndex() as index:
        assert index.ask(["1", "2", "1"]) == 2
        index.fill(news, 2)
        assert index["2"].source == "usa_today"
        assert len(list(temporary.iterdir())) == 1
    assert list(temporary.iterdir()) == []
