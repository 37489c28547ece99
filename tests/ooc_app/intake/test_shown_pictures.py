import io
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageCms, ImageStat

from ooc_app.intake.images import (
    ImageRefusedError,
    UnknownImageError,
    admit,
    admit_file,
    shown_copy,
    stored_path,
    thumbnail,
)
from tests.ooc_app.intake.conftest import files_in, png_with_header

Picture = Callable[..., bytes]


def colour(image: Image.Image, at: tuple[int, int]) -> tuple[int, ...]:
    found = image.getpixel(at)
    assert isinstance(found, tuple)
    return found


def test_an_animation_shows_its_first_frame_and_says_so(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (30, 20), colour) for colour in ("#c02020", "#2040c0")]
    for kind in ("GIF", "PNG", "WEBP", "AVIF", "TIFF"):
        file = io.BytesIO()
        frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=100)
        stored = admit(file.getvalue(), tmp_path)
        assert stored.notes == ("The picture has 2 frames: only the first one is shown and judged.",)
        with Image.open(shown_copy(stored.sha256, tmp_path)) as shown:
            assert colour(shown, (15, 10)) == pytest.approx((192, 32, 32), abs=12)


def test_a_heic_file_of_several_pictures_shows_the_main_one(tmp_path: Path, picture: Picture) -> None:
    data = picture(
        kind="HEIF", save_all=True, append_images=[Image.new("RGB", (80, 80), "#20c020")], primary_index=1
    )
    stored = admit(data, tmp_path)
    assert (stored.format, stored.width, stored.height, stored.frames) == ("HEIF", 80, 80, 2)
    assert "only the main one" in stored.notes[0]
    with Image.open(shown_copy(stored.sha256, tmp_path)) as shown:
        assert colour(shown, (40, 40)) == pytest.approx((32, 192, 32), abs=12)


def test_the_shown_copy_is_small_and_made_once(tmp_path: Path, picture: Picture) -> None:
    stored = admit(picture(side=(3_000, 1_000)), tmp_path)
    shown = shown_copy(stored.sha256, tmp_path)
    made = shown.stat().st_ino
    with Image.open(shown) as image:
        assert (image.size, image.mode) == ((1_600, 533), "RGB")
    assert shown_copy(stored.sha256, tmp_path).stat().st_ino == made
    assert (stored.width, stored.height) == (3_000, 1_000)


def test_a_small_picture_is_not_enlarged(tmp_path: Path, picture: Picture) -> None:
    stored = admit(picture(side=(20, 30)), tmp_path)
    with Image.open(shown_copy(stored.sha256, tmp_path)) as image:
        assert image.size == (20, 30)


def test_a_thumbnail_of_what_the_desk_does_not_have_is_refused(tmp_path: Path) -> None:
    for name in ("0" * 64, "../../etc/passwd", "x"):
        with pytest.raises(UnknownImageError):
            thumbnail(name, tmp_path)
    assert files_in(tmp_path) == []


def test_a_picture_damaged_since_has_no_thumbnail(tmp_path: Path, picture: Picture) -> None:
    stored = admit(picture(side=(600, 400)), tmp_path)
    stored_path(stored.sha256, tmp_path).write_bytes(b"\xff\xd8\xff cut short")
    with pytest.raises(ImageRefusedError, match="damaged"):
        thumbnail(stored.sha256, tmp_path)
    assert not (tmp_path / "thumbs").exists()


def test_the_thumbnail_is_made_once_from_the_shown_copy(tmp_path: Path, picture: Picture) -> None:
    stored = admit(picture(side=(3_000, 1_000), kind="PNG"), tmp_path)
    thumb = thumbnail(stored.sha256, tmp_path)
    made = thumb.stat().st_ino
    with Image.open(thumb) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (240, 80), "RGB")
        assert colour(image, (10, 10))[0] > 150 > colour(image, (230, 10))[0]
    stored_path(stored.sha256, tmp_path).unlink()  # neither it nor the shown copy is wanted again
    shown_copy(stored.sha256, tmp_path).unlink()
    assert thumbnail(stored.sha256, tmp_path).stat().st_ino == made
    assert thumb.relative_to(tmp_path).parts == ("thumbs", stored.sha256[:2], f"{stored.sha256[2:]}.jpg")


def test_the_thumbnail_of_a_small_picture_is_not_enlarged(tmp_path: Path, picture: Picture) -> None:
    stored = admit(picture(side=(20, 30)), tmp_path)
    with Image.open(thumbnail(stored.sha256, tmp_path)) as image:
        assert image.size == (20, 30)


def test_a_thumbnail_stands_upright(tmp_path: Path, picture: Picture) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    stored = admit(picture(side=(600, 300), exif=exif), tmp_path)
    with Image.open(thumbnail(stored.sha256, tmp_path)) as image:
        assert image.size == (120, 240)


def test_the_shown_copy_carries_no_metadata(tmp_path: Path, picture: Picture) -> None:
    exif = Image.Exif()
    exif[0x010E] = "SECRET description"
    exif.get_ifd(0x8825)[2] = (48.0, 51.0, 29.9)  # a latitude
    secret = picture(
        exif=exif,
        comment=b"SECRET comment",
        xmp=b"<x>SECRET packet</x>",
        icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    )
    assert secret.count(b"SECRET") == 3
    shown = shown_copy(admit(secret, tmp_path).sha256, tmp_path)
    with Image.open(shown) as image:
        assert dict(image.getexif()) == {}
        assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert b"SECRET" not in shown.read_bytes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF"])
@pytest.mark.parametrize(
    ("orientation", "red_at"),
    [
        (1, (5, 20)),
        (2, (55, 20)),
        (3, (55, 20)),
        (4, (5, 20)),
        (5, (20, 5)),
        (6, (20, 5)),
        (7, (20, 55)),
        (8, (20, 55)),
    ],
)
def test_a_picture_on_its_side_is_shown_upright(
    kind: str, orientation: int, red_at: tuple[int, int], tmp_path: Path, picture: Picture
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = admit(picture(kind=kind, exif=exif), tmp_path)
    assert (stored.width, stored.height) == ((60, 40) if orientation < 5 else (40, 60))
    with Image.open(shown_copy(stored.sha256, tmp_path)) as shown:
        assert shown.size == (stored.width, stored.height)
        red, _, blue = colour(shown, red_at)
        assert red > 150 > 60 > blue


def test_real_files_of_every_orientation_show_the_same_picture(
    uploads: dict[str, Path], tmp_path: Path
) -> None:
    names = [name for name in sorted(uploads) if name.startswith("orient__hopper")]
    shown = []
    for name in names:
        with Image.open(shown_copy(admit_file(uploads[name], tmp_path).sha256, tmp_path)) as file:
            shown.append(file.copy())
    assert len(shown) == 8
    for image in shown[1:]:
        assert max(ImageStat.Stat(ImageChops.difference(shown[0], image)).mean) < 12


def test_transparency_is_shown_on_white(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(file, "PNG")
    with Image.open(shown_copy(admit(file.getvalue(), tmp_path).sha256, tmp_path)) as shown:
        assert colour(shown, (4, 4)) == (255, 255, 255)


def swapped_profile() -> bytes:
    """A profile in which what is called red is blue and the reverse (ICC.1:2010, with nothing optional)."""

    def fixed(*numbers: float) -> bytes:
        return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))

    red, green, blue = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, 0x0233) + bytes(2)  # a gamma of 2.2
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 8) + b"swapped\0" + bytes(79),
        b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1.0, 0.8249),
        b"rXYZ": b"XYZ " + bytes(4) + fixed(*blue),
        b"gXYZ": b"XYZ " + bytes(4) + fixed(*green),
        b"bXYZ": b"XYZ " + bytes(4) + fixed(*red),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content
    header = struct.pack(">I4sI4s4s4s", start + len(body), bytes(4), 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + fixed(0.9642, 1.0, 0.8249)
    return header.ljust(128, b"\0") + table + body


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_colours_are_what_the_profile_says_they_are(kind: str, tmp_path: Path, picture: Picture) -> None:
    for profile, blue_is in ((swapped_profile(), 2), (None, 0), (b"no profile", 0)):
        options = {"icc_profile": profile} if profile else {}
        stored = admit(picture(left="#c02020", right="#c02020", kind=kind, **options), tmp_path)
        with Image.open(shown_copy(stored.sha256, tmp_path)) as shown:
            found = colour(shown, (30, 20))
        assert found[blue_is] > 150 > 90 > max(found[1], found[2 - blue_is])


def test_sixteen_bits_a_colour_are_shown_as_they_look(tmp_path: Path) -> None:
    row = b"\0" + struct.pack(">HHH", 0x8000, 0x4000, 0xFFFF) * 8
    data = png_with_header(8, 8, bits=16, pixels=row * 8)
    with Image.open(shown_copy(admit(data, tmp_path).sha256, tmp_path)) as shown:
        assert colour(shown, (4, 4)) == pytest.approx((128, 64, 255), abs=6)


def test_sixteen_bits_are_shown_at_their_brightness(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("I;16", (8, 8), 0x8000).save(file, "PNG")
    with Image.open(shown_copy(admit(file.getvalue(), tmp_path).sha256, tmp_path)) as shown:
        assert colour(shown, (4, 4)) == pytest.approx((128, 128, 128), abs=2)


@pytest.mark.parametrize("mode", ["LAB", "CMYK", "L", "P", "1", "F"])
def test_every_colour_mode_is_shown_as_it_looks(mode: str, tmp_path: Path) -> None:
    image: Image.Image | None
    if mode == "LAB":
        to_lab = ImageCms.buildTransform(
            ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
        )
        image = ImageCms.applyTransform(Image.linear_gradient("L").convert("RGB"), to_lab)
    else:
        image = Image.linear_gradient("L").convert(mode)
    assert image is not None
    file = io.BytesIO()
    image.save(file, "TIFF")
    with Image.open(shown_copy(admit(file.getvalue(), tmp_path).sha256, tmp_path)) as shown:
        top, bottom = colour(shown, (128, 3)), colour(shown, (128, 252))
    assert max(top) < 20 < 235 < min(bottom)
