import hashlib
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageCms, ImageStat

from ooc_app.intake import images
from ooc_app.intake.images import (
    BYTES_MAX,
    ImageRefusedError,
    UnknownImageError,
    admit,
    admit_file,
    shown_copy,
    stored_path,
    thumbnail,
)

Picture = Callable[..., bytes]

ACCEPTED_THOUGH_ODD = {  # the files below that look damaged, and decode in full all the same
    "corrupt__broken_exif_dpi.jpg",
    "corrupt__exif-dpi-zerodivision.jpg",
    "corrupt__exif_typeerror.jpg",
    "corrupt__hopper_idat_after_image_end.png",
    "corrupt__icc-after-SOF.jpg",
    "corrupt__invalid-exif-without-x-resolution.jpg",
    "corrupt__invalid-exif.jpg",
    "corrupt__jpeg_ff00_header.jpg",
    "corrupt__junk_jpeg_header.jpg",
    "corrupt__padded_idat.png",
    "corrupt__sugarshack_bad_mpo_header.jpg",
    "format__16_bit_noise.tif",
    "format__Channel_digital_image_CMYK_color_no_profile.jpg",
    "format__hopper.Lab.tif",
    "format__hopper_16bit_qtables.jpg",
    "format__tiff_strip_cmyk_jpeg.tif",
}
ACCEPTED_KINDS = ("anim_alpha", "avif", "c2pa", "orient", "pngsuite")


def png_with_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def colour(image: Image.Image, at: tuple[int, int]) -> tuple[int, ...]:
    found = image.getpixel(at)
    assert isinstance(found, tuple)
    return found


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageRefusedError, match="empty"):
        admit(b"", tmp_path)


def test_a_file_of_too_many_bytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    large = tmp_path / "large.jpg"
    with large.open("wb") as file:
        file.truncate(BYTES_MAX * 1_000)
    with pytest.raises(ImageRefusedError, match="40 MB"):
        admit_file(large, tmp_path / "images")
    with pytest.raises(ImageRefusedError, match="40 MB"):
        admit(b"\xff\xd8\xff" + bytes(BYTES_MAX), tmp_path / "images")


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"%PDF-1.7\n", "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"just words", "another kind"),
        (b"\0", "another kind"),
    ],
)
def test_a_file_of_another_kind_is_refused_by_its_content(data: bytes, named: str, tmp_path: Path) -> None:
    with pytest.raises(ImageRefusedError, match=f"{named}.*save it as JPEG, PNG"):
        admit(data, tmp_path)


def test_more_than_64_megapixels_are_refused_from_the_header(tmp_path: Path) -> None:
    with pytest.raises(ImageRefusedError, match="64 megapixels"):
        admit(png_with_header(8_001, 8_000), tmp_path)


def test_too_many_frames_are_refused(tmp_path: Path) -> None:
    frames = [Image.new("L", (1, 1), level % 256) for level in range(1_001)]
    file = io.BytesIO()
    frames[0].save(file, "TIFF", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageRefusedError, match=r"1,001 frames"):
        admit(file.getvalue(), tmp_path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
def test_a_picture_cut_short_is_refused_and_leaves_nothing(kind: str, tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.effect_noise((90, 70), 80).save(file, kind)
    with pytest.raises(ImageRefusedError, match="cut short"):
        admit(file.getvalue()[: len(file.getvalue()) * 2 // 3], tmp_path)
    assert files_in(tmp_path) == []


def test_every_hostile_file_is_refused_and_every_odd_one_accepted(
    uploads: dict[str, Path], tmp_path: Path
) -> None:
    accepted, sentences = set(), []
    for name, path in uploads.items():
        try:
            stored = admit_file(path, tmp_path)
        except ImageRefusedError as error:
            sentences.append(str(error))
            continue
        accepted.add(name)
        with Image.open(shown_copy(stored.sha256, tmp_path)) as shown:
            assert shown.width / shown.height == pytest.approx(stored.width / stored.height, rel=0.02)
    expected = {name for name in uploads if name.split("__")[0] in ACCEPTED_KINDS} | ACCEPTED_THOUGH_ODD
    assert accepted == expected
    assert len(files_in(tmp_path)) == 2 * len(accepted)
    assert [text for text in sentences if "\n" in text or not text.endswith(".")] == []


def test_the_bombs_are_refused_by_their_limits(uploads: dict[str, Path], tmp_path: Path) -> None:
    for name in ("bomb__65536-uint32-limit.png", "bomb__decompression_bomb.gif"):
        with pytest.raises(ImageRefusedError, match="64 megapixels"):
            admit_file(uploads[name], tmp_path)
    with pytest.raises(ImageRefusedError, match="decoded in full"):
        admit_file(uploads["bomb__png_decompression_dos.png"], tmp_path)


def test_the_original_bytes_are_kept_under_their_hash(tmp_path: Path, picture: Picture) -> None:
    data = picture()
    stored = admit(data, tmp_path)
    assert stored.sha256 == hashlib.sha256(data).hexdigest()
    assert (stored.format, stored.width, stored.height, stored.byte_size) == ("JPEG", 60, 40, len(data))
    path = tmp_path / stored.sha256[:2] / stored.sha256[2:]
    assert path == stored_path(stored.sha256, tmp_path)
    assert path.read_bytes() == data


def test_the_same_picture_twice_is_one_file(tmp_path: Path, picture: Picture) -> None:
    first = admit(picture(), tmp_path)
    before = stored_path(first.sha256, tmp_path).stat().st_ino
    assert admit(picture(), tmp_path) == first
    assert [path.stat().st_ino for path in files_in(tmp_path)] == [before]


def test_a_stored_file_cut_short_by_a_crash_is_written_anew(tmp_path: Path, picture: Picture) -> None:
    stored = admit(picture(), tmp_path)
    stored_path(stored.sha256, tmp_path).write_bytes(b"")
    admit(picture(), tmp_path)
    assert stored_path(stored.sha256, tmp_path).read_bytes() == picture()


@pytest.mark.parametrize("sha256", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_what_is_no_hash_is_no_path(sha256: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownImageError, match="64 hexadecimal digits"):
        shown_copy(sha256, tmp_path)


def test_a_hash_without_a_picture_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnknownImageError, match="not in the data folder"):
        shown_copy("0" * 64, tmp_path)


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


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
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


def test_nothing_of_pillow_is_loaded_by_the_door_itself() -> None:
    assert not hasattr(images, "Image")
