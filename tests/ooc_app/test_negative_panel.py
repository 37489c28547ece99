import json
from dataclasses import asdict
from pathlib import Path

import pytest

from db.vocabulary import PreferenceOrigin, Verdict
from ooc_app.__main__ import main
from ooc_app.desk import Desk
from ooc_app.distil import NEGATIVE_CHOICES, planned
from ooc_app.negative_panel import negative_panel, some_negatives
from ooc_app.run_panel import summary_panel
from ooc_app.snapshot import negatives_tried, preview
from tests.ooc_app.conftest import AddConflict
from training.config import NEGATIVE_SETS, ConfigError
from training.records import CaseInput, Preference, Provenance, write_records
from training.state import append_line

CASE = CaseInput("1", f"images/{'a' * 64}.jpg", "A caption with <b>.")
WEAKENED = Preference(
    CASE,
    Verdict.IN_CONTEXT,
    "It fits.",
    "It shows <i>rain.",
    PreferenceOrigin.WEAKENED,
    Verdict.OUT_OF_CONTEXT,
    Provenance("stage-1 student", "wrong verdict", -0.5, -0.75, noise_step=900),
)
INJECTED = Preference(
    CASE,
    Verdict.IN_CONTEXT,
    "We see a castle.",
    "We see a stadium.",
    PreferenceOrigin.INJECTED,
    Verdict.IN_CONTEXT,
    Provenance(
        "swaps", "less likely", -0.5, -0.75, element="place", replaced="a castle", replacement="a stadium"
    ),
)


def test_a_run_without_negatives_or_with_a_damaged_file_shows_none(tmp_path: Path) -> None:
    assert some_negatives(tmp_path) == []
    (tmp_path / "negatives.jsonl").write_text("{")
    assert some_negatives(tmp_path) == []
    assert negative_panel([]) == ""


def test_some_of_each_kind_are_read_after_they_are_made_and_while(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    append_line(tmp_path / "checkpoints" / "negatives.jsonl", {"kept": [asdict(WEAKENED)], "counts": {}})
    assert some_negatives(tmp_path) == [WEAKENED]
    write_records(tmp_path / "negatives.jsonl", [WEAKENED] * 5 + [INJECTED] * 5)
    assert some_negatives(tmp_path) == [WEAKENED] * 2 + [INJECTED] * 2


def test_a_negative_shows_its_picture_both_rationales_and_where_it_came_from_as_text() -> None:
    drawn = negative_panel([WEAKENED, INJECTED])
    assert f'src="desk/images/{"a" * 64}"' in drawn
    assert "A caption with &lt;b&gt;." in drawn
    assert "It shows &lt;i&gt;rain." in drawn
    assert "at noise step 900 of 1,000" in drawn
    assert "place exchanged by swaps, a stadium for a castle" in drawn
    assert "-0.75 against -0.50 nats a token" in drawn
    assert drawn.count("out of context") == 1, "an injected error keeps its verdict"


def test_what_a_run_would_try_is_said_before_it_starts(desk: Desk, add_conflict: AddConflict) -> None:
    add_conflict("one")
    config = planned(desk, "demo", "both")
    learnt = preview(desk)
    assert negatives_tried(learnt, config) == {"weakened": learnt.two_sided, "injected": learnt.two_sided}
    assert "negatives" not in summary_panel(learnt, {"weakened": 0})
    assert "≤ 12</b> negatives: injected error" in summary_panel(learnt, {"injected": 12})


@pytest.mark.parametrize("choice", [value for _, value in NEGATIVE_CHOICES])
def test_every_choice_of_negatives_is_a_configuration(desk: Desk, choice: str) -> None:
    config = planned(desk, "demo", choice)
    assert config.ablation == (choice == "compare")
    if choice in NEGATIVE_SETS:
        assert config.negatives.kinds == NEGATIVE_SETS[choice]


def test_negatives_nobody_knows_are_refused(desk: Desk) -> None:
    with pytest.raises(ConfigError, match="no negatives"):
        planned(desk, "demo", "more")


def test_a_dry_run_says_how_many_negatives_it_would_try(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["distil", "--dry-run", "--negatives", "weakened", "--json", "--data", str(tmp_path / "data")]
    assert main(asked) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[0])
    assert said["weakened_negatives_tried"] == 0
    assert "injected_negatives_tried" not in said
