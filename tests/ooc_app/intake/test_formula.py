import pytest

from ooc_app.intake.formula import as_it_was, shown_as_text

RUN = ("=1+1", "+1", "-1", "@A1", "\tx", "\rx", "\n=x", "＝1", "'=1", "''''+1", "=")  # noqa: RUF001


@pytest.mark.parametrize("cell", RUN)
def test_what_a_spreadsheet_would_run_is_marked_as_text_and_comes_back(cell: str) -> None:
    assert shown_as_text(cell) == f"'{cell}"
    assert as_it_was(shown_as_text(cell)) == cell


@pytest.mark.parametrize(
    "cell", ["", "a", "a=1", "'tis", "'", "''", "' =1", " =1", "12 March", "[{}]", "“=1”"]
)
def test_all_else_is_the_same_both_ways(cell: str) -> None:
    assert shown_as_text(cell) == as_it_was(cell) == cell


def test_what_others_marked_is_read_as_they_meant_it() -> None:
    assert as_it_was("'=1+1") == "=1+1"
    assert as_it_was("=1+1") == "=1+1"
