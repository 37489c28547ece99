from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from db.teach_runs import RunView
from db.teaching import CUT_OFF
from db.vocabulary import TeacherKind
from ooc_app.teach_board import FAILED, Deed, Standing
from ooc_app.teach_panel import (
    Row,
    card_panel,
    counts_panel,
    deeds_panel,
    list_panel,
    runs_panel,
    state_words,
)
from ooc_app.teach_panel_form import Filled, connection_panel, form_panel, places_panel
from ooc_app.teach_panel_work import estimate, work_panel
from ooc_app.teacher_connection import Connection
from ooc_app.teacher_settings import presets
from tests.ooc_app.checks.fixed import HOSTILE
from training.teachers import TeacherConfig

BEGAN = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
CONFIG = TeacherConfig("rule", "endpoint", "ruled-1", "http://localhost:8000/v1")
ROW = Row("rule", "endpoint", CONFIG, missing=12)
FIGURES: dict[str, Any] = {
    "kept": 30,
    "total": 120,
    "verdicts": {"in_context": 15, "out_of_context": 12, "unsure": 3},
    "unread": {"refused": 1, "empty": 0, "too_long": 0, "unparsed": 2},
    "mean_confidence": 0.75,
    "seconds_each": 1.25,
    "tokens_in": 30_000,
    "tokens_out": 1_500,
    "tries": 31,
    "cost": 0.4,
    "rate": 2.0,
    "seconds_left": 45.0,
    "signs": [{"kind": "same_text", "said": f"All the same: {HOSTILE}."}],
}


def standing(deed: Deed = Deed.RUN, *, going: bool = False, **told: Any) -> Standing:
    return Standing(deed, going, 1, BEGAN, **told)


def rehearsed(**answer: Any) -> dict[str, Any]:
    said = {
        "raw": HOSTILE, "unread": None, "model": HOSTILE, "tokens_in": None, "tokens_out": 5,
        "seconds": 1.0, "cost": 0.1, "tries": 2,
        "parsed": {
            "verdict": "in_context", "confidence": 0.5, "rationale": HOSTILE, "elements": [HOSTILE],
        },
        **answer,
    }  # fmt: skip
    case = {"case": "a", "case_id": 3, "image": HOSTILE, "caption": HOSTILE, "sent": f"{HOSTILE}\n" * 9}
    return {"cases": [{**case, "answer": said}, {**case, "case_id": None, "image": None, "answer": None}]}


def test_hostile_texts_stay_texts_wherever_they_are_drawn() -> None:
    config = replace(CONFIG, name=HOSTILE, model=HOSTILE)
    row = Row(HOSTILE, HOSTILE, config, opinions=3, missing=1, teacher_id=1)
    run = RunView(1, BEGAN, None, HOSTILE, HOSTILE, HOSTILE, 3, 2, 5, 0.1, HOSTILE, {})
    outcome = {"kept": 1, "asked": 2, "failed": {HOSTILE: 1}, "passed_over": {HOSTILE: 2}, "sight": HOSTILE}
    flipped = {"compared": 2, "changed": 1, "verdicts": [{"usual": HOSTILE, "turned": "unsure", "cases": 1}]}
    drawn = [
        list_panel([row], HOSTILE, may_change=True, trouble=HOSTILE),
        card_panel(row),
        card_panel(replace(row, config=None)),
        deeds_panel(row),
        runs_panel([run]),
        form_panel(Filled(config, HOSTILE, HOSTILE)),
        form_panel(Filled(config, is_new=False)),
        connection_panel(Connection(False, HOSTILE, (HOSTILE,))),
        work_panel(standing(going=True, figures=FIGURES)),
        work_panel(standing(said=HOSTILE, why="stopped", figures=FIGURES, outcome=outcome)),
        work_panel(standing(Deed.FLIP, said=HOSTILE, why="all", outcome=flipped)),
        work_panel(standing(Deed.REHEARSE, said=HOSTILE, why="teacher", outcome=rehearsed())),
    ]
    for html in drawn:
        assert "<img src=x" not in html
        assert 'onerror="' not in html


def test_only_editors_are_offered_what_changes_something_or_told_where_a_teacher_is_asked() -> None:
    looked_at = list_panel([ROW], None, may_change=False)
    assert "data-deed" not in looked_at
    assert "data-teacher" not in looked_at
    assert "localhost" not in looked_at
    assert "localhost:8000" in list_panel([ROW], None, may_change=True)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (ROW, "never asked"),
        (replace(ROW, opinions=3), "ready"),
        (replace(ROW, opinions=3, missing=0), "all asked"),
        (replace(ROW, opinions=3, missing=500, standing=standing(why="all")), "ready"),  # after an import
        (replace(ROW, standing=standing(going=True, figures=FIGURES)), "asking, 25 %"),
        (replace(ROW, standing=standing(Deed.REHEARSE, going=True)), "dry run"),
        (
            replace(ROW, standing=standing(why="alarm", said="It says one thing.")),
            "paused: It says one thing.",
        ),
        (replace(ROW, standing=standing(why=FAILED, said="No key.")), "could not go on"),
        (replace(ROW, standing=standing(why="money")), "ended at its limit"),
        (replace(ROW, standing=standing(why=CUT_OFF)), "cut off"),
        (replace(ROW, is_active=False), "retired"),
        (Row("A", TeacherKind.SCRIPTED.value, None), "cannot be asked"),
        (Row("A", TeacherKind.RECORDED.value, None), "recorded"),
        (Row("A", TeacherKind.ENDPOINT.value, None), "not in the settings"),
    ],
)
def test_how_a_teacher_stands_is_said_in_a_few_words(row: Row, words: str) -> None:
    assert state_words(row) == words


def test_a_desk_without_cases_or_teachers_says_what_to_do_next() -> None:
    assert 'data-tab="cases"' in counts_panel(0, 0, 0)
    assert "No teacher yet" in list_panel([], None, may_change=True)
    for name in presets():
        assert f'data-place="{name}"' in places_panel(presets())


def test_what_cannot_be_asked_is_offered_no_question() -> None:
    scripted = Row("Atlas", TeacherKind.SCRIPTED.value, None, opinions=9, teacher_id=1)
    assert "cannot be asked" in card_panel(scripted)
    for row in (scripted, replace(ROW, is_active=False, teacher_id=1), replace(scripted, kind="recorded")):
        assert 'data-deed="rehearse"' not in deeds_panel(row)
        assert 'data-form="ask"' not in deeds_panel(row)
    assert 'data-deed="reinstate"' in deeds_panel(replace(ROW, is_active=False, teacher_id=1))
    assert "no case left" in deeds_panel(replace(ROW, missing=0))


def test_what_asking_again_does_to_old_opinions_and_what_is_left_out_is_said() -> None:
    assert "history" not in deeds_panel(ROW)
    drawn = deeds_panel(replace(ROW, stale=5, without_picture=2))
    assert "5 cases it answered before" in drawn
    assert "2 cases without a picture would be left out." in drawn


def test_money_can_be_limited_only_where_prices_are_given() -> None:
    assert 'name="budget"' not in deeds_panel(ROW)
    priced = replace(ROW, config=replace(CONFIG, price_in=1.0))
    assert 'name="budget"' in deeds_panel(priced)
    assert "1 + 0 USD a million tokens" in card_panel(priced)


def test_a_form_has_no_field_for_a_key_and_says_whether_its_variable_is_set() -> None:
    keyed = replace(CONFIG, key_env="SOME_API_KEY")
    assert "SOME_API_KEY is not set. A key never comes here" in form_panel(Filled(keyed))
    assert "SOME_API_KEY is set. " in form_panel(Filled(keyed, key_is_set=True))
    assert 'name="key"' not in form_panel(Filled(keyed))
    local = form_panel(Filled(TeacherConfig("t", "local", "m")))
    assert "key_env" not in local
    assert "base_url" not in local


def test_what_goes_on_shows_all_its_figures_and_can_be_stopped() -> None:
    drawn = work_panel(standing(going=True, figures=FIGURES))
    for words in (
        "<b>30 of 120</b> (25 %)", "2.0 a second", "45 s left",
        "<b>3</b> could not be read (1 declined, 2 no opinion in it)",
        "<b>0.75</b> mean confidence", "<b>1.2 s</b> each", "<b>31,500</b> tokens", "<b>0.40</b> USD",
        "50 %", "40 %", "10 %", "All the same", 'data-deed="stop"', 'max="120" value="30"',
    ):  # fmt: skip
        assert words in drawn, words
    early = work_panel(standing(going=True, figures={"kept": 0, "total": None}))
    assert 'data-deed="stop"' in early


def test_an_ended_run_says_why_what_is_missing_and_how_to_go_on() -> None:
    outcome = {
        "asked": 40, "kept": 30, "failed": {"time-out": 8}, "passed_over": {"picture damaged": 2}, "left": 90,
        "without_picture": 5, "sight": "This teacher looks.",
    }  # fmt: skip
    drawn = work_panel(standing(why="stopped", said="It was stopped.", figures=FIGURES, outcome=outcome))
    for words in (
        "It was stopped.", "30 opinions kept, of 40 cases asked about.", "No answer: 8 cases, time-out.",
        "Passed over: 2 cases, picture damaged.", "5 cases without a picture", "This teacher looks.",
        "Go on with the 90 left", 'data-deed="run"',
    ):  # fmt: skip
        assert words in drawn, words
    alarmed = work_panel(standing(why="alarm", said="One verdict.", figures=FIGURES, outcome=outcome))
    assert 'data-deed="go-on"' in alarmed
    assert "All the same" not in alarmed
    assert "Go on" not in work_panel(standing(why="all", outcome={**outcome, "left": 0}))
    assert "Go on" in work_panel(standing(why=CUT_OFF, said="It was cut off."))


def test_a_dry_run_shows_what_was_sent_came_back_and_was_read_and_what_all_would_take() -> None:
    shown = {**rehearsed(), "missing": 1_200, "estimated_cost": 3.456, "estimated_seconds": 3_700.0}
    drawn = work_panel(standing(Deed.REHEARSE, why="all", said="Every case.", outcome=shown))
    for words in (
        "All 1,200 missing cases would take <b>about 1 h 1 min</b> and cost <b>about 3.46 USD</b>",
        'href="?case=3"', "6 more lines", "? + 5 tokens, 1.0 s, 0.10000 USD, 2 tries", "no answer to read",
    ):  # fmt: skip
        assert words in drawn, words
    assert "Every case." not in drawn
    unread = rehearsed(parsed=None, unread="refused")
    assert "Could not be read (declined)" in work_panel(standing(Deed.REHEARSE, outcome=unread))
    assert "nothing, as no prices are given" in estimate(
        {"missing": 1, "estimated_cost": 0.0, "estimated_seconds": 1}
    )
    assert "cost <b>less than 0.01 USD</b>" in estimate(
        {"missing": 1, "estimated_cost": 0.001, "estimated_seconds": 1}
    )
    assert estimate({"missing": 0, "estimated_cost": 0.0, "estimated_seconds": 0.0}) == ""


def test_an_order_test_says_how_many_verdicts_changed_and_from_what_to_what() -> None:
    verdicts = [
        {"usual": "in_context", "turned": "out_of_context", "cases": 12},
        {"usual": "unsure", "turned": "unsure", "cases": 38},
    ]
    outcome = {"compared": 50, "changed": 12, "verdicts": verdicts}
    drawn = work_panel(standing(Deed.FLIP, why="all", outcome=outcome))
    assert "<b>12 of 50 verdicts</b> changed with the order (24 %)" in drawn
    assert drawn.count("<li>") == 1
    assert work_panel(None) == ""


def test_the_models_of_a_server_can_be_picked_the_likeliest_first() -> None:
    names = tuple(f"model-{number}" for number in range(20))
    drawn = connection_panel(Connection(False, "It has others.", names))
    assert drawn.count("data-model") == 8
    assert drawn.count("<option") == 20
    assert "not yet" in drawn
    assert "reached" in connection_panel(Connection(True, "It has it."))
