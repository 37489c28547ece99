import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from db.vocabulary import EvidenceKind, Split, Verdict
from ooc_app.intake.entries import BadLine, Found, Source
from ooc_app.intake.fivepils import read

SHARED_FILE = Path(__file__).resolve().parents[4] / "shared" / "data" / "formats" / "5pils_ooc_sample.json"


@pytest.fixture
def sample() -> Path:
    if not SHARED_FILE.exists():
        pytest.skip(f"there is no {SHARED_FILE}")
    return SHARED_FILE


def entry(**changed: Any) -> dict[str, Any]:
    """An entry as 5Pils-OOC has them."""
    row = {
        "image_id": 4,
        "id": 628,
        "URL": "https://factly.in/the-people-in-the-picture",
        "caption": "Heads of 53 states met in Britain.",
        "true_caption": "CEOs met in Davos on January 23, 2018.",
        "evidence_captions": [
            "CEOs at an event",
            "ceos met in davos, on January 23 2018",
            "CEOs at an event",
        ],
        "image_path": "processed_img/the-people-in-the-picture.png",
        "org": "factly",
        "source": "Press Information Bureau",
        "date": "January 23, 2018",
        "location": "Davos, Switzerland",
        "motivation": "To depict a meeting",
        "claimed_location": "Britain",
        "claimed_date": "not enough information",
    }
    return {**row, **changed}


def written(folder: Path, *rows: Any) -> Path:
    path = folder / "test.json"
    path.write_text(json.dumps(rows))
    return path


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"true_caption": None}, "`true_caption` is missing"),
        ({"caption": "\ud800"}, "`caption` is not valid UTF-8"),
        ({"evidence_captions": "A"}, "`evidence_captions` is not a list"),
        ({"evidence_captions": [["A"]]}, "`evidence_captions` is not a text"),
        ({"id": None}, "`id` is missing"),
        ({"image_id": []}, "`image_id` is not a text"),
    ],
)
def test_a_bad_entry_is_refused(changed: dict[str, Any], reason: str, tmp_path: Path) -> None:
    first, bad, last = read(Source(written(tmp_path, entry(), entry(**changed), entry())))
    assert isinstance(bad, BadLine)
    assert (bad.line, reason in bad.reason) == (2, True), bad
    assert isinstance(first, Found)
    assert isinstance(last, Found)


def test_what_gives_the_answer_away_is_not_taken(tmp_path: Path) -> None:
    (found,) = read(Source(written(tmp_path, entry())))
    assert isinstance(found, Found)
    kept = json.dumps(asdict(found.case), default=str)
    for secret in ("CEOs met in Davos", "ceos met", "January", "Switzerland", "meeting", "Bureau", "claimed"):
        assert secret not in kept, secret
    assert (found.case.date, found.case.place, found.case.url) == (None, None, None)
    assert [piece.text for piece in found.case.evidence] == ["CEOs at an event"]
    assert found.case.evidence[0].kind is EvidenceKind.IMAGE
    assert found.case.note == "Fact check: https://factly.in/the-people-in-the-picture"


def test_the_published_counts_and_polarity_hold(sample: Path) -> None:
    rows = json.loads(sample.read_text(encoding="utf-8"))
    found = [one for one in read(Source(sample)) if isinstance(one, Found)]
    assert len(found) == len(rows) == 40
    assert Counter(one.case.gold for one in found) == {Verdict.IN_CONTEXT: 20, Verdict.OUT_OF_CONTEXT: 20}
    assert {one.case.split for one in found} == {Split.TEST}
    for row, one in zip(rows, found, strict=True):
        assert (one.case.gold is Verdict.IN_CONTEXT) == (row["caption"] == row["true_caption"])
        assert (one.case.external_id, one.image) == (str(row["id"]), row["image_path"])


def test_both_captions_of_a_picture_are_one_group_with_the_same_evidence(sample: Path) -> None:
    of_group: dict[str | None, list[Found]] = {}
    for one in read(Source(sample)):
        assert isinstance(one, Found)
        of_group.setdefault(one.case.group, []).append(one)
    assert len(of_group) == 20
    for first, second in of_group.values():
        assert first.image == second.image
        assert first.case.evidence == second.case.evidence
        assert {first.case.gold, second.case.gold} == set(Verdict)
        assert replaced(first) == replaced(second)


def replaced(one: Found) -> dict[str, Any]:
    """A case but for what must differ between partners: nothing else may tell them apart."""
    return {
        key: value for key, value in asdict(one.case).items() if key not in ("external_id", "caption", "gold")
    }
