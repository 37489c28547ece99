from collections import Counter
from pathlib import Path

import pytest

from db.vocabulary import Split, Verdict
from ooc_app.intake.entries import BadLine, Found, ImportFileError, LeftOut, Source
from ooc_app.intake.verite import read

SHARED_FILE = Path(__file__).resolve().parents[4] / "shared" / "data" / "formats" / "VERITE.csv"


@pytest.fixture
def verite() -> Path:
    if not SHARED_FILE.exists():
        pytest.skip(f"there is no {SHARED_FILE}")
    return SHARED_FILE


def written(folder: Path, *rows: str) -> Path:
    path = folder / "VERITE.csv"
    path.write_text("\n".join([",caption,image_path,label", *rows]))
    return path


def test_a_file_of_another_format_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("caption,gold\nA,true\n")
    with pytest.raises(ImportFileError, match="no column `image_path`"):
        list(read(Source(path)))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("0,A,images/true_1.jpg,True", "`label` is 'True', not one of true, miscaptioned, out-of-context"),
        ("0,A,images/true_1.jpg,", "`label` is missing"),
        ("0,A,images/picture.jpg,true", "without the number of an article"),
        ("0,,images/true_1.jpg,true", "`caption` is missing"),
        ("0,A,images/true_1.jpg,true,more", "more cells"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(row: str, reason: str, tmp_path: Path) -> None:
    good = "1,B,images/true_2.jpg,true"
    _, bad, last = read(Source(written(tmp_path, good, row, good)))
    assert isinstance(bad, BadLine)
    assert (bad.line, reason in bad.reason) == (3, True), bad
    assert isinstance(last, Found)


def test_miscaptioned_pictures_are_kept_apart_unless_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, "0,A,images/true_1.jpg,true", "1,B,images/true_1.jpg,miscaptioned")
    first, left = read(Source(path))
    assert isinstance(first, Found)
    assert isinstance(left, LeftOut)
    assert left.reason.startswith("miscaptioned")
    _, taken = read(Source(path, options={"miscaptioned": "out_of_context"}))
    assert isinstance(taken, Found)
    assert (taken.case.gold, taken.case.note) == (Verdict.OUT_OF_CONTEXT, "miscaptioned")
    assert taken.case.group == first.case.group


def test_the_published_counts_and_polarity_hold(verite: Path) -> None:
    entries = list(read(Source(verite)))
    cases = [entry.case for entry in entries if isinstance(entry, Found)]
    assert Counter(type(entry) for entry in entries) == {Found: 338 + 325, LeftOut: 338}
    assert Counter(case.gold for case in cases) == {Verdict.IN_CONTEXT: 338, Verdict.OUT_OF_CONTEXT: 325}
    assert {case.split for case in cases} == {Split.TEST}
    for entry in entries:
        if isinstance(entry, Found):  # a true picture carries its own name, another event's is a false one
            assert isinstance(entry.image, str)
            assert entry.image.startswith("images/true_") == (entry.case.gold is Verdict.IN_CONTEXT)
    assert len({case.external_id for case in cases}) == len(cases)
    assert (
        sum(
            isinstance(one, Found) for one in read(Source(verite, options={"miscaptioned": "out_of_context"}))
        )
        == 1001
    )


def test_partners_with_a_picture_or_a_caption_in_common_are_one_group(verite: Path) -> None:
    group_of: dict[str, set[str | None]] = {}
    for entry in read(Source(verite, options={"miscaptioned": "out_of_context"})):
        assert isinstance(entry, Found)
        assert isinstance(entry.image, str)
        group_of.setdefault(entry.image, set()).add(entry.case.group)
        group_of.setdefault(entry.case.caption, set()).add(entry.case.group)
    assert {len(groups) for groups in group_of.values()} == {1}
    groups = {group for groups in group_of.values() for group in groups}
    assert len(groups) == 337  # 338 articles, of which 328 and 329 share a caption
    assert "328" in groups
    assert "329" not in groups


def test_articles_joined_through_a_third_are_one_group(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "0,A,images/true_1.jpg,true",
        "1,B,images/true_2.jpg,true",
        "2,C,images/true_3.jpg,true",
        "3,C,images/false_2.jpg,out-of-context",
        "4,A,images/false_3.jpg,out-of-context",
        "5,D,images/true_4.jpg,true",
    )
    groups = [entry.case.group for entry in read(Source(path)) if isinstance(entry, Found)]
    assert len(set(groups[:5])) == 1
    assert groups[5] == "4"
