from typing import Any

import pytest

from db.cases import NewEvidence, NewOpinion
from db.vocabulary import Answer, Element, EvidenceKind, Verdict
from ooc_app.intake.entries import BadCaseError
from ooc_app.intake.fields import confidence, elements, evidence, opinions, required, shown, text, word


def refusal(read: Any, *given: Any) -> str:
    with pytest.raises(BadCaseError) as refused:
        read(*given)
    return str(refused.value)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (True, "is not a text"),
        (["A"], "is not a text"),
        ({"A": 1}, "is not a text"),
        (float("nan"), "too large to be kept exactly"),
        (float("inf"), "too large to be kept exactly"),
        (1.2345678901234568e29, "too large to be kept exactly"),  # how a parser rounds a long id
        (10**30, "too large to be kept exactly"),
        pytest.param(10**5_000, "too large to be kept exactly", id="5,000 digits"),
        ("A\0B", "NUL"),
        ("é\0", "NUL"),
        ("caf\udce9", "not valid UTF-8"),
        ("\ud800", "not valid UTF-8"),
    ],
)
def test_what_is_no_text_is_refused_by_name(value: object, reason: str) -> None:
    assert refusal(text, {"key": value}, "key").startswith("`key` ")
    assert reason in refusal(text, {"key": value}, "key")


@pytest.mark.parametrize("value", [None, "", "  \n\t", "\u3000"])
def test_nothing_and_blanks_are_none_and_refused_where_a_text_must_be(value: object) -> None:
    assert text({"key": value}, "key") is None
    assert text({}, "key") is None
    assert refusal(required, {"key": value}, "key") == "`key` is missing or empty"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (" A ", "A"),
        (1973, "1973"),
        (2**63 - 1, "9223372036854775807"),
        (1.5, "1.5"),
        ("中文 עברית кириллица 😀", "中文 עברית кириллица 😀"),
        ("x" * 100_000, "x" * 100_000),
    ],
)
def test_texts_in_any_script_and_whole_numbers_are_taken(value: object, said: str) -> None:
    assert text({"key": value}, "key") == said


def test_a_word_is_one_of_the_desks_or_refused_with_those() -> None:
    assert word({"gold": " out_of_context "}, "gold", Verdict) is Verdict.OUT_OF_CONTEXT
    assert word({"gold": ""}, "gold", Verdict) is None
    reason = refusal(word, {"gold": "Out_of_context"}, "gold", Verdict)
    assert reason == "`gold` is 'Out_of_context', not one of in_context, out_of_context"
    assert len(refusal(word, {"gold": "x" * 1_000_000}, "gold", Verdict)) < 200
    assert "is not a text" in refusal(word, {"gold": ["in_context"]}, "gold", Verdict)


@pytest.mark.parametrize("value", [True, "0.5", -0.01, 1.01, 80, float("nan"), float("inf"), 10**400, [0.5]])
def test_a_confidence_is_a_number_from_0_to_1_or_refused(value: object) -> None:
    reason = refusal(confidence, {"confidence": value})
    assert "not a number from 0 to 1" in reason
    assert len(reason) < 200


def test_confidences_from_0_to_1_are_taken() -> None:
    assert [confidence({"confidence": value}) for value in (None, 0, 1, 0.25)] == [None, 0.0, 1.0, 0.25]


def test_elements_are_the_desks_each_once_and_none_where_nobody_was_asked() -> None:
    assert elements({}) is None
    assert elements({"elements": []}) == ()
    assert elements({"elements": ["place", "time", "place"]}) == (Element.PLACE, Element.TIME)
    assert "is not a list" in refusal(elements, {"elements": "place"})
    assert "'town'" in refusal(elements, {"elements": ["town"]})
    assert "is not a text" in refusal(elements, {"elements": [["place"]]})


def test_evidence_and_opinions_are_read_whole() -> None:
    row = {
        "evidence": [{"kind": "caption", "title": "t", "url": "u", "date": 1973, "text": "x", "more": 1}],
        "opinions": [{"teacher": "T", "verdict": "unsure", "confidence": 1, "elements": ["event"]}],
    }
    assert evidence(row) == (NewEvidence(EvidenceKind.CAPTION, "t", "u", "1973", "x"),)
    assert opinions(row) == (NewOpinion("T", Answer.UNSURE, "", 1.0, (Element.EVENT,)),)
    assert (evidence({}), opinions({"opinions": None})) == ((), ())


def test_a_value_is_quoted_short_whatever_it_is() -> None:
    assert shown("x" * 500) == "x" * 80
    assert "18 digits" in shown(10**5_000)
