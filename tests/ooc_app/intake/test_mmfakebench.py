import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from db.vocabulary import Split, Verdict
from ooc_app.intake.entries import BadLine, Found, ImportFileError, LeftOut, Source
from ooc_app.intake.mmfakebench import images_dir, read

CLASSES = ("original", "mismatch", "textual_veracity_distortion", "visual_veracity_distortion")


def entry(kind: str, number: int = 0, **more: Any) -> dict[str, Any]:
    """An entry as MMFakeBench has them."""
    folder = "real/bbc_val_50" if kind == "original" else "fake/Newsclipings_scene_val_50"
    return {
        "image_path": f"/{folder}/{kind}_{number}.jpg",
        "text": f"Text {number}.",
        "fake_cls": kind,
        "gt_answers": "True" if kind == "original" else "Fake",
        **more,
    }


def written(folder: Path, *rows: Any, name: str = "MMFakeBench_val.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(rows, indent=1))
    return path


def test_a_file_whose_name_tells_no_split_needs_one(tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match="give --split"):
        list(read(Source(written(tmp_path, entry("original"), name="rows.json"))))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (entry("satire"), "`fake_cls` is 'satire', not one of original, mismatch"),
        (entry("mismatch", gt_answers="True"), "`gt_answers` is 'True', but `fake_cls` is mismatch"),
        (entry("original", gt_answers=["Fake"]), "`gt_answers` is 'Fake', but `fake_cls` is original"),
        (entry("visual_veracity_distortion", gt_answers="True"), "`gt_answers` is 'True'"),
        (entry("original", gt_answers=["True", "Fake"]), "`gt_answers` is not a text"),
        (entry("original", text=""), "`text` is missing"),
        (entry("original", image_path=None), "`image_path` is missing"),
        (7, "not a JSON object"),
    ],
)
def test_an_entry_that_contradicts_itself_is_refused(row: Any, reason: str, tmp_path: Path) -> None:
    first, bad, last = read(Source(written(tmp_path, entry("original"), row, entry("mismatch"))))
    assert isinstance(bad, BadLine)
    assert (bad.line, reason in bad.reason) == (2, True), bad
    assert isinstance(first, Found)
    assert isinstance(last, Found)


def test_only_original_and_mismatch_are_cases_and_the_rest_is_counted(tmp_path: Path) -> None:
    rows = [entry(kind, number) for number, kind in enumerate(CLASSES * 3)]
    entries = list(read(Source(written(tmp_path, *rows))))
    cases = [one.case for one in entries if isinstance(one, Found)]
    assert Counter(case.gold for case in cases) == {Verdict.IN_CONTEXT: 3, Verdict.OUT_OF_CONTEXT: 3}
    assert all((case.gold is Verdict.IN_CONTEXT) == (case.note == "original") for case in cases)
    assert {case.split for case in cases} == {Split.VALIDATION}
    reasons = Counter(one.reason.partition(":")[0] for one in entries if isinstance(one, LeftOut))
    assert reasons == {"textual_veracity_distortion": 3, "visual_veracity_distortion": 3}


def test_paths_lose_their_leading_slash_and_sources_are_named(tmp_path: Path) -> None:
    rows = [entry("original", gt_answers=["True"]), entry("mismatch", text_source="guardian")]
    first, second = read(Source(written(tmp_path, *rows)))
    assert isinstance(first, Found)
    assert isinstance(second, Found)
    assert first.image == "real/bbc_val_50/original_0.jpg"
    assert (first.case.source, second.case.source) == ("bbc_val_50", "guardian")


def test_two_texts_of_one_picture_are_two_cases_in_one_group(tmp_path: Path) -> None:
    first, second = read(Source(written(tmp_path, entry("mismatch"), entry("mismatch", text="Other."))))
    assert isinstance(first, Found)
    assert isinstance(second, Found)
    assert first.case.external_id != second.case.external_id
    assert first.case.group == second.case.group


def test_pictures_lie_beside_the_file_or_beside_its_folder_source() -> None:
    assert images_dir(Source(Path("a/MMFakeBench_val/source/MMFakeBench_val.json"))) == Path(
        "a/MMFakeBench_val"
    )
    assert images_dir(Source(Path("a/MMFakeBench_val.json"))) == Path("a")
