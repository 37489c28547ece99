from datetime import date
from typing import Any

import pytest

from ooc_app.intake.entries import BadCaseError, ImportFileError, LeftOutError
from ooc_app.intake.mapping import ALL_FIELDS, CASE_FIELDS, Column, case_row, described, parse_mapping


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("0=in_context", "name a field and its column first"),
        ("gold", "neither FIELD:COLUMN nor VALUE=WORD"),
        ("gold:", "neither FIELD:COLUMN nor VALUE=WORD"),
        ("label:gold", "'label', which is none of id, image"),
        ("gold:label,0=true", "`gold` is one of in_context, out_of_context, left_out"),
        ("gold:label,0=unsure", "`gold` is one of"),
        ("caption:text,a=b", "values of `caption` are taken as they are"),
        ('gold:label,"a', "quotation marks"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_part_at_fault(given: str, reason: str) -> None:
    with pytest.raises(ImportFileError, match=reason):
        parse_mapping(given, CASE_FIELDS)


def test_columns_and_what_their_values_mean_are_read() -> None:
    verdict = 'verdict:prediction, Yes=out_of_context, No=in_context, "no, I think=in_context", *=unsure'
    assert parse_mapping(f"caption:text, {verdict}", ALL_FIELDS) == {
        "caption": Column("text"),
        "verdict": Column(
            "prediction",
            {"Yes": "out_of_context", "No": "in_context", "no, I think": "in_context", "*": "unsure"},
        ),
    }
    assert parse_mapping(None, ALL_FIELDS) == parse_mapping("", ALL_FIELDS) == {}
    assert parse_mapping("gold:x,a=b=in_context", ALL_FIELDS)["gold"].meanings == {"a=b": "in_context"}


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        (0, "in_context"),
        ("0", "in_context"),
        (0.0, "in_context"),
        (" 0 ", "in_context"),
        (True, "out_of_context"),
    ],
)
def test_a_value_means_what_was_said_however_its_file_writes_it(value: object, meaning: str) -> None:
    column = Column("label", {"0": "in_context", "true": "out_of_context"})
    assert column.value({"label": value}) == meaning


@pytest.mark.parametrize(
    "value", ["1", 1, False, "Yes", "", 0.5, ["0", "1"], pytest.param(10**5_000, id="5,000 digits")]
)
def test_a_value_without_a_meaning_is_refused_and_never_guessed(value: object) -> None:
    column = Column("label", {"0": "in_context", "yes": "out_of_context"})
    with pytest.raises(BadCaseError, match=r"`label` is .* which --map gives no meaning"):
        column.value({"label": value})


def test_any_other_value_has_the_meaning_of_the_star_but_a_missing_one_only_that_of_null() -> None:
    column = Column("label", {"0": "in_context", "*": "out_of_context"})
    assert [column.value({"label": value}) for value in (0, 7, "x")] == [
        "in_context",
        *["out_of_context"] * 2,
    ]
    assert column.value({"label": None}) is column.value({}) is column.value({"label": float("nan")}) is None
    assert Column("label", {"null": "unsure"}).value({"label": None}) == "unsure"


def test_a_row_becomes_one_of_the_native_format() -> None:
    row: dict[str, Any] = {
        "meta": {"text": "A", "where": {"town": "Norvik"}},
        "a.b": 5,
        "label": 1,
        "when": date(1973, 6, 1),
        "found": {"kind": ["image", "caption"], "text": ["x", "y"]},
        "said": '[{"teacher": "T"}]',
    }
    given = (
        "caption:meta.text,place:meta.where.town,id:a.b,gold:label,1=out_of_context,date:when,evidence:found"
    )
    columns = parse_mapping(f"{given},opinions:said", CASE_FIELDS)
    assert case_row(row, columns) == {
        "caption": "A",
        "place": "Norvik",
        "id": 5,
        "gold": "out_of_context",
        "date": "1973-06-01",
        "evidence": [{"kind": "image", "text": "x"}, {"kind": "caption", "text": "y"}],
        "opinions": [{"teacher": "T"}],
    }


def test_a_value_may_leave_its_row_out_and_broken_nested_json_is_refused() -> None:
    columns = parse_mapping("gold:label,2=left_out", CASE_FIELDS)
    with pytest.raises(LeftOutError, match="`label` is 2"):
        case_row({"label": 2}, columns)
    with pytest.raises(LeftOutError, match="`label` has another value"):
        case_row({"label": 7}, parse_mapping("gold:label,*=left_out", CASE_FIELDS))
    with pytest.raises(BadCaseError, match="`said` is not valid JSON"):
        case_row({"said": "["}, {"opinions": Column("said")})


def test_a_mapping_is_told_in_words() -> None:
    columns = parse_mapping("caption:text,gold:label,0=in_context,1=out_of_context", CASE_FIELDS)
    assert described(columns) == {"caption": "`text`", "gold": "`label`: 0 = in_context, 1 = out_of_context"}
