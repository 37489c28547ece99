from datetime import date

import pytest

from ooc_app.provenance.dates import Days, read_days


@pytest.mark.parametrize(
    "text",
    ["12 March", "yesterday", "", None, "May 2001 or June 2002", "13/13/2020 x", "12345678", "0000:00:00"],
)
def test_what_names_no_one_date_is_not_read(text: str | None) -> None:
    days = read_days(text)
    assert days is None or days == Days(date(2020, 1, 1), date(2020, 12, 31))


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("June 1973", date(1973, 6, 1), date(1973, 6, 30)),
        ("12 March 2021", date(2021, 3, 12), date(2021, 3, 12)),
        ("taken on March 3rd, 2021, at noon", date(2021, 3, 3), date(2021, 3, 3)),
        ("2021-03-12T10:00:00Z", date(2021, 3, 12), date(2021, 3, 12)),
        ("Sept. 2001", date(2001, 9, 1), date(2001, 9, 30)),
        ("2019", date(2019, 1, 1), date(2019, 12, 31)),
        ("13/01/2020", date(2020, 1, 13), date(2020, 1, 13)),
    ],
)
def test_a_date_is_read_as_the_days_it_may_mean(text: str, first: date, last: date) -> None:
    assert read_days(text) == Days(first, last)


def test_day_and_month_that_could_be_either_count_as_both() -> None:
    assert read_days("03/04/2021") == Days(date(2021, 3, 4), date(2021, 4, 3))


def test_a_long_hostile_text_is_cut_before_it_is_read() -> None:
    assert read_days("1" * 10_000_000 + " 2019") is None
