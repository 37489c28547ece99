"""What `sft` and `preferences` write: read by `datasets`, taken by TRL, the same as a run would get."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from datasets import Image, List, load_dataset

from db.cases import NewCase, add_cases
from db.engine import write_session
from db.vocabulary import Split, Verdict
from ooc_app import snapshot
from ooc_app.desk import Desk
from ooc_app.export.exporting import export_cases
from tests.ooc_app.export.conftest import IN, fill, said, stored_picture
from training.conversations import answer_turn, question_turn
from training.presets import preset
from training.records import Preference, Target, read_records

WRONG = {
    Verdict.IN_CONTEXT: Verdict.OUT_OF_CONTEXT,
    Verdict.OUT_OF_CONTEXT: Verdict.IN_CONTEXT,
}


def rows_of(desk: Desk, name: str, folder: Path, **options: Any) -> Any:
    path = folder / f"{name}.jsonl"
    export_cases(desk, name, path, **options)
    return load_dataset("json", data_files=str(path), split="train", cache_dir=str(folder / "cache"))


def test_both_are_what_a_run_of_this_desk_would_learn_from(desk: Desk, tmp_path: Path) -> None:
    fill(desk)
    run_dir = snapshot.freeze(desk, name="run", config=preset("demo"))
    targets = read_records(run_dir / "sft.jsonl", Target)
    written = [(row["id"], row["prompt"], row["completion"]) for row in rows_of(desk, "sft", tmp_path)]
    assert written == [
        (one.case.id, question_turn(one.case), answer_turn(one.verdict, one.rationale)) for one in targets
    ]
    assert {one.case.id for one in targets} == {
        "first/agreed",
        "first/agreed on a mistake",
        "first/conflict",
        "first/second conflict",
    }
    pairs = read_records(run_dir / "preferences.jsonl", Preference)
    rows = rows_of(desk, "preferences", tmp_path)
    assert [(row["id"], row["prompt"], row["chosen"], row["rejected"]) for row in rows] == [
        (
            pair.case.id,
            question_turn(pair.case),
            answer_turn(pair.verdict, pair.chosen),
            answer_turn(WRONG[pair.verdict], pair.rejected),
        )
        for pair in pairs
    ]
    assert len(pairs) == 4
    assert rows[0]["chosen"][0]["content"].endswith("The sign is in another language </script>.")


@pytest.mark.parametrize("name", ["sft", "preferences"])
def test_trl_takes_the_rows(name: str, full_desk: Desk, tmp_path: Path) -> None:
    from trl.data_utils import is_conversational, prepare_multimodal_messages

    rows = rows_of(full_desk, name, tmp_path).cast_column("images", List(Image()))
    for row in rows:
        assert is_conversational(row)
        assert [picture.mode for picture in row["images"]] == ["RGB"]
        (turn,) = prepare_multimodal_messages(row["prompt"], images=row["images"])
        assert [part["type"] for part in turn["content"]] == ["image", "text"]
    answers = {"sft": ["completion"], "preferences": ["chosen", "rejected"]}[name]
    assert all(row[key][0]["role"] == "assistant" for row in rows for key in answers)


def test_pictures_that_go_along_are_named_as_the_folder_was(
    full_desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = rows_of(full_desk, "sft", tmp_path, images_dir=Path("bundle/images"))
    assert all(row["images"][0].startswith("bundle/images/") for row in rows)
    assert len(rows.cast_column("images", List(Image()))[0]["images"]) == 1


def test_what_would_leak_into_held_out_cases_is_left_out(desk: Desk, tmp_path: Path) -> None:
    picture = stored_picture(desk, 0)
    cases = [
        NewCase("measures", "C", picture, Verdict.IN_CONTEXT, Split.TEST),
        NewCase("same picture", "C", picture, opinions=said(IN, IN)),
        NewCase("its own picture", "C", stored_picture(desk, 1), opinions=said(IN, IN)),
    ]
    with write_session(desk.sessions) as session:
        add_cases(session, "test", cases)
    assert rows_of(desk, "sft", tmp_path)["id"] == ["test/its own picture"]


def test_records_are_flat_texts_so_that_every_reader_agrees_on_their_types(
    full_desk: Desk, tmp_path: Path
) -> None:
    features = rows_of(full_desk, "preferences", tmp_path).features
    assert features["images"] == List(features["id"])
    assert asdict(features["id"])["dtype"] == "string"
