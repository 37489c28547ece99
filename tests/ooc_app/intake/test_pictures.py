from collections.abc import Callable
from pathlib import Path

import pytest

from db.cases import NewImage
from ooc_app.desk import Desk
from ooc_app.intake.pictures import BadImageError, MissingImageError, picture_path, taken

Picture = Callable[..., bytes]


@pytest.fixture
def images_dir(tmp_path: Path, picture: Picture) -> Path:
    """Pictures below `.../visual_news/origin/`."""
    folder = tmp_path / "visual_news" / "origin"
    (folder / "bbc" / "images").mkdir(parents=True)
    (folder / "bbc" / "images" / "1.jpg").write_bytes(picture())
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "bbc/images/1.jpg",
        "./bbc/images/1.jpg",
        "./bbc/./images//1.jpg",
        "origin/bbc/images/1.jpg",
        "visual_news/origin/bbc/images/1.jpg",
        "./origin/./bbc/images/1.jpg",
        "bbc/bbc/images/1.jpg",
        "bbc/images/bbc/images/1.jpg",
    ],
)
def test_a_path_is_found_however_its_folders_are_repeated(name: str, images_dir: Path) -> None:
    assert picture_path(name, images_dir) == images_dir / "bbc" / "images" / "1.jpg"


@pytest.mark.parametrize("name", ["bbc/images/2.jpg", "origin/1.jpg", "images/1.jpg", "bbc", "a/b/a/b"])
def test_what_is_not_there_is_missing_or_no_file(name: str, images_dir: Path) -> None:
    with pytest.raises((MissingImageError, BadImageError)):
        picture_path(name, images_dir)


@pytest.mark.parametrize(
    "name", ["../origin/../../secret.jpg", "/etc/passwd", "origin/../../secret.jpg", "a\0b"]
)
def test_no_reading_of_a_path_leads_out_of_the_folder(name: str, images_dir: Path, picture: Picture) -> None:
    (images_dir.parent / "secret.jpg").write_bytes(picture())
    (images_dir.parent.parent / "secret.jpg").write_bytes(picture())
    with pytest.raises(BadImageError):
        picture_path(name, images_dir)


def test_each_picture_is_taken_once_whether_it_comes_as_path_or_as_bytes(
    desk: Desk, images_dir: Path, picture: Picture
) -> None:
    again = "origin/bbc/images/1.jpg"
    found = taken(desk, ["bbc/images/1.jpg", again, picture(), b"<svg/>", "none.jpg"], images_dir)
    image = found["bbc/images/1.jpg"]
    assert isinstance(image, NewImage)
    assert found[again] == found[picture()] == image
    assert isinstance(found[b"<svg/>"], BadImageError)
    assert found["none.jpg"] is None
    assert sum(path.is_file() for path in desk.images_dir.rglob("*")) == 1
