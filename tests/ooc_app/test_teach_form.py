import math
from typing import Any

import pytest

from db.vocabulary import Split
from ooc_app.teach_board import Deed
from ooc_app.teach_form import FormError, config_of, order_of
from training.teachers import TeacherConfig

TYPED = {"name": "vLLM", "kind": "endpoint", "model": "q", "base_url": "http://localhost:8000/v1"}


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({}, "Choose where the teacher runs first."),
        ({**TYPED, "kind": "replay"}, "Choose where the teacher runs first."),
        ({**TYPED, "name": " "}, "A teacher needs a name"),
        ({**TYPED, "model": ""}, "A teacher's model is a name or a folder"),
        ({**TYPED, "model": "q" * 3_000}, "What is typed as model is too long."),
        ({**TYPED, "base_url": "localhost:8000"}, "The address, base_url, is none"),
        ({**TYPED, "base_url": "http://gpu.example/v1"}, "The address, base_url, must begin with https://"),
        ({**TYPED, "concurrency": "many"}, "Questions at once: give a whole number."),
        ({**TYPED, "concurrency": "1.5"}, "Questions at once: give a whole number."),
        ({**TYPED, "price_in": "nan"}, "Price of a million tokens asked: give a number."),
        ({**TYPED, "image_edge": "9"}, "image_edge 9 is not between 64 and 4096."),
        ({**TYPED, "key_env": "sk-proj-123"}, "key_env is the name of an environment variable"),
        ({**TYPED, "key_env": "OOC_DATABASE_URL"}, "Here the variable of a key ends in _API_KEY"),
    ],
)
def test_what_is_typed_wrongly_is_one_sentence_without_what_may_be_a_key(
    typed: dict[str, Any], said: str
) -> None:
    with pytest.raises(FormError) as refusal:
        config_of(typed)
    assert str(refusal.value).startswith(said)
    assert "sk-proj" not in str(refusal.value)
    assert str(refusal.value).endswith(".")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"limit": "0"}, "Cases: give a number above 0"),
        ({"limit": "1.5"}, "Cases: give a whole number."),
        ({"tokens": "-3"}, "Tokens: give a number above 0"),
        ({"minutes": "inf"}, "Minutes: give a number."),
        ({"budget": "2"}, "A limit of money needs prices"),
        ({"split": "all"}, "There is no such split"),
    ],
)
def test_a_limit_that_cannot_be_meant_is_one_sentence(typed: dict[str, Any], said: str) -> None:
    with pytest.raises(FormError, match=said):
        order_of(Deed.RUN, typed, config_of(TYPED))


def test_fields_left_empty_are_as_usual_and_nonsense_is_as_if_empty() -> None:
    assert config_of({**TYPED, "image_edge": "", "key_env": None, "max_tokens": ["x"]}) == TeacherConfig(
        "vLLM", "endpoint", "q", "http://localhost:8000/v1"
    )


def test_a_model_on_this_machine_has_neither_address_nor_key() -> None:
    typed = {**TYPED, "kind": "local", "key_env": "SOME_API_KEY", "text_only": True}
    assert config_of(typed) == TeacherConfig("vLLM", "local", "q", text_only=True)


def test_a_change_keeps_name_kind_and_file_and_a_key_named_by_hand_stays_with_its_address() -> None:
    recorded = TeacherConfig("said", "replay", "m", path="said.jsonl")
    assert config_of({**TYPED, "model": "n"}, recorded) == TeacherConfig(
        "said", "replay", "n", path="said.jsonl"
    )
    by_hand = TeacherConfig("hub", "endpoint", "q", "https://hub.example/v1", key_env="HUB_TOKEN")
    typed = {"model": "r", "base_url": "https://hub.example/v1", "key_env": "HUB_TOKEN"}
    assert config_of(typed, by_hand).model == "r"
    with pytest.raises(FormError, match="by hand"):
        config_of({**typed, "base_url": "https://elsewhere.example/v1"}, by_hand)


def test_limits_are_of_a_run_alone() -> None:
    config = config_of({**TYPED, "price_in": "0.15"})
    typed = {"limit": "200", "budget": "2.5", "tokens": "", "minutes": "1.5", "split": "train", "go_on": True}
    order = order_of(Deed.RUN, typed, config)
    assert (order.limit, order.budget, order.tokens, order.split) == (200, 2.5, None, Split.TRAIN)
    assert order.go_on
    assert math.isclose(order.minutes or 0, 1.5)
    assert order_of(Deed.RETIRE, typed, None).flags() == ["--retire"]
