import pytest

from ooc_app.provenance.places import Point, is_on_earth, kilometres, read_place


@pytest.mark.parametrize(
    "text",
    [
        "Berlin (N.H.)",
        "New Mexico",
        "Paris, Texas",
        "Georgia",
        "Norvik",
        "",
        None,
        "91.0, 0.0",
        "0, 0",
        ",,,",
    ],
)
def test_a_place_that_could_be_another_is_not_guessed(text: str | None) -> None:
    assert read_place(text) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Paris", "Paris (France)"),
        ("Kyiv, Ukraine", "Kyiv (Ukraine)"),
        ("new york", "New York (United States)"),
        ("Springfield, USA", "United States"),
        ("a village in the north, India", "India"),
        ("48.85, 2.35", "the coordinates given"),
    ],
)
def test_cities_countries_and_coordinates_are_read(text: str, name: str) -> None:
    place = read_place(text)
    assert place is not None
    assert place.name == name


def test_distances_are_those_of_the_globe() -> None:
    paris, berlin, sydney = Point(48.857, 2.352), Point(52.52, 13.405), Point(-33.869, 151.209)
    assert kilometres(paris, berlin) == pytest.approx(878, abs=3)
    assert kilometres(paris, sydney) == pytest.approx(16_960, abs=30)
    assert kilometres(Point(0, 179.5), Point(0, -179.5)) == pytest.approx(111, abs=1)


def test_no_fix_is_no_place() -> None:
    assert not is_on_earth(Point(0.0, 0.0))
    assert not is_on_earth(Point(91.0, 10.0))
    assert is_on_earth(Point(-33.9, 151.2))
