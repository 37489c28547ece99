from datetime import date

from ooc_app.provenance.claims import Remark, remarks
from ooc_app.provenance.metadata import Metadata, moment
from ooc_app.provenance.places import Point

TODAY = date(2026, 1, 15)
TAKEN = moment("2011:07:30 15:41:25")
SYDNEY = Point(-33.87, 151.21)


def of(found: Metadata, when: str | None = None, where: str | None = None) -> tuple[Remark, ...]:
    return remarks(found, claimed_date=when, claimed_place=where, today=TODAY)


def test_a_clock_that_cannot_be_right_contradicts_nothing() -> None:
    unset = of(Metadata(taken=moment("2000:01:01 00:00:00")), "May 1999")
    assert [one.is_contradiction for one in unset] == [False]
    assert "unset clocks begin" in unset[0].sentence
    ahead = of(Metadata(taken=moment("2031:05:05 10:00:00")), "May 2020")
    assert [one.is_contradiction for one in ahead] == [False]
    assert "yet to come" in ahead[0].sentence


def test_the_day_a_scan_was_made_contradicts_nothing() -> None:
    (remark,) = of(Metadata(taken=TAKEN, is_scan=True), "June 1973")
    assert not remark.is_contradiction
    assert "day of scanning" in remark.sentence


def test_a_claimed_date_before_the_picture_was_taken_is_a_contradiction() -> None:
    (remark,) = of(Metadata(taken=TAKEN), "June 2011")
    assert remark == Remark(
        "The claimed date “June 2011” lies before the day the file gives as taken, 30 July 2011.", True
    )


def test_a_day_of_time_zones_is_no_contradiction() -> None:
    assert of(Metadata(taken=TAKEN), "29 July 2011") == ()
    assert of(Metadata(taken=TAKEN), "July 2011") == ()
    assert of(Metadata(taken=TAKEN), None) == ()
    assert of(Metadata(taken=TAKEN), "a storm") == ()


def test_a_claimed_date_long_after_is_remarked_on_and_no_contradiction() -> None:
    (remark,) = of(Metadata(taken=TAKEN), "12 March 2021")
    assert not remark.is_contradiction
    assert "9 years before the claimed date" in remark.sentence


def test_gps_on_another_continent_is_a_contradiction_that_gives_no_coordinates() -> None:
    (remark,) = of(Metadata(gps=SYDNEY), where="Kyiv, Ukraine")
    assert remark.is_contradiction
    assert "km from the claimed place “Kyiv, Ukraine”, read as Kyiv (Ukraine)" in remark.sentence
    assert "151" not in remark.sentence


def test_gps_in_the_claimed_country_or_a_place_nobody_lists_says_nothing() -> None:
    assert of(Metadata(gps=SYDNEY), where="Australia") == ()
    assert of(Metadata(gps=SYDNEY), where="Norvik") == ()


def test_the_place_a_file_names_is_held_against_the_claim() -> None:
    (remark,) = of(Metadata(place="Lagos, Nigeria"), where="Paris, France")
    assert remark.is_contradiction
    assert "names the place Lagos (Nigeria)" in remark.sentence
    assert of(Metadata(place="Marseille, France"), where="Paris") == ()


def test_a_file_that_contradicts_itself_is_remarked_on() -> None:
    (gps,) = of(Metadata(taken=TAKEN, gps_day=date(2015, 1, 1)))
    assert "one of the two is wrong" in gps.sentence
    (changed,) = of(Metadata(taken=TAKEN, changed=moment("2001:01:05 10:00:00")))
    assert "before it was taken" in changed.sentence


def test_contradictions_come_first() -> None:
    found = of(Metadata(taken=TAKEN, gps=SYDNEY, gps_day=date(2015, 1, 1)), "May 2001", "Kyiv")
    assert [one.is_contradiction for one in found] == [True, True, False]
