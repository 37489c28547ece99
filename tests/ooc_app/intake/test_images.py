import hashlib
import io
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from ooc_app.intake import images
from ooc_app.intake.images import (
    BYTES_MAX,
    ImageRefusedError,
    UnknownImageError,
    admit,
    admit_file,
    shown_copy,
    stored_path,
)
from ooc_app.intake.worker import PROJECT_DIR, Worker
from tests.ooc_app.intake.conftest import files_in, png_with_header

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
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "video"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
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


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF"])
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
    assert len(files_in(tmp_path)) == 2 * len(accepted)  # no half-written one beside them
    assert [text for text in sentences if "\n" in text or not text.endswith(".")] == []
    status = Path(f"/proc/{images._worker.process_id}/status")
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        assert int(peak.split()[1]) * 1024 < 1_000_000_000


def test_no_file_is_handed_to_ghostscript(
    uploads: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark, programs = tmp_path / "reached", tmp_path / "bin"
    programs.mkdir()
    (programs / "gs").write_text(f"#!/bin/sh\necho >{mark}\n")
    (programs / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(images, "_worker", Worker())
    for path in (path for name, path in uploads.items() if name.startswith("eps")):
        with pytest.raises(ImageRefusedError, match="PostScript"):
            admit_file(path, tmp_path / "images")
    images._worker.close()
    assert not mark.exists()


def test_no_address_in_a_drawing_is_asked_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.png"
        drawing = f'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY e SYSTEM "{address}">]>'
        drawing += f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{address}"/>&e;</svg>'
        with pytest.raises(ImageRefusedError, match="SVG"):
            admit(drawing.encode(), tmp_path, "drawing.png")
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF"])
def test_a_frame_beyond_the_cap_is_refused_though_the_first_is_small(kind: str, tmp_path: Path) -> None:
    frames = [Image.new("L", (30, 20), level) for level in (40, 80, 120)]
    file = io.BytesIO()
    frames[0].save(file, kind, save_all=True, append_images=frames[1:])
    data = file.getvalue()
    assert admit(data, tmp_path / "whole").frames == 3
    hostile = bytearray(data)
    if kind == "GIF":
        at = data.rindex(b"\x2c" + struct.pack("<HHHH", 0, 0, 30, 20)) + 5
        struct.pack_into("<HH", hostile, at, 60_000, 60_000)
    elif kind == "PNG":
        struct.pack_into(">II", hostile, data.rindex(b"fcTL") + 8, 60_000, 60_000)
    else:
        for tag, value in ((256, 30), (257, 20)):  # width and height, in the third page's directory
            at = data.rindex(struct.pack("<HHII", tag, 4, 1, value)) + 8
            struct.pack_into("<I", hostile, at, 60_000)
    with pytest.raises(ImageRefusedError, match=r"Frame 3 .* 64 megapixels"):
        admit(bytes(hostile), tmp_path / "hostile")
    assert files_in(tmp_path / "hostile") == []


def test_a_heic_file_whose_thumbnail_alone_is_whole_is_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.effect_noise((300, 200), 80).convert("RGB").save(file, "HEIF", thumbnails=[120])
    assert admit(file.getvalue(), tmp_path / "whole").width == 300
    damaged = bytearray(file.getvalue())
    start = damaged.index(b"mdat") + 8
    damaged[start : start + 1_000] = bytes(1_000)
    with pytest.raises(ImageRefusedError, match="decoded in full"):
        admit(bytes(damaged), tmp_path / "damaged")


@pytest.mark.parametrize(
    ("declared", "note"),
    [
        ("holiday.PNG", "declared as PNG and is JPEG"),
        ("a.b.heic", "declared as HEIC and is JPEG"),
        ("image/webp", "declared as WebP and is JPEG"),
        ("image/png; charset=binary", "declared as PNG"),
        ("image/jpeg", None),
        ("IMAGE/JPG", None),
        ("holiday.jpeg", None),
        ("download", None),
        ("holiday.backup", None),
        ("application/octet-stream", None),
        ("", None),
        (None, None),
    ],
)
def test_a_name_or_type_that_says_another_format_decides_nothing_and_is_noted(
    declared: str | None, note: str | None, tmp_path: Path, picture: Picture
) -> None:
    stored = admit(picture(), tmp_path, declared)
    assert stored.format == "JPEG"
    assert len(stored.notes) == (note is not None)
    assert note is None or note in stored.notes[0]


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


def test_a_door_killed_at_any_moment_leaves_each_picture_whole_or_not_at_all(tmp_path: Path) -> None:
    code = (
        "import io, sys\nfrom pathlib import Path\nfrom PIL import Image\n"
        "from ooc_app.intake.images import admit, shown_copy\n"
        "for number in range(10_000):\n"
        "    file = io.BytesIO()\n"
        "    Image.new('L', (1_500, 1_000), number % 256).save(file, 'BMP')\n"
        "    data = file.getvalue() + bytes(number)\n"
        "    shown_copy(admit(data, Path(sys.argv[1])).sha256, Path(sys.argv[1]))\n"
        "    print(number, flush=True)\n"
    )
    for turn in range(4):
        doomed = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], cwd=PROJECT_DIR, stdout=subprocess.PIPE
        )
        assert doomed.stdout is not None
        doomed.stdout.readline()
        time.sleep(0.013 * turn)
        doomed.kill()
        doomed.communicate()
    whole = [path for path in files_in(tmp_path) if not path.name.startswith(".")]
    originals = [path for path in whole if path.parts[-3] != "shown"]
    assert len(originals) >= 1
    for path in originals:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.parent.name + path.name
    for path in set(whole) - set(originals):
        with Image.open(path) as shown:
            shown.load()


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


def test_nothing_of_pillow_is_loaded_by_the_door_itself() -> None:
    assert not hasattr(images, "Image")
