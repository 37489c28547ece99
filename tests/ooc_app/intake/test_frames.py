import io
import struct

import pytest
from PIL import Image

from ooc_app.intake.frames import gif_sizes, png_sizes


def animated(kind: str, **options: object) -> bytes:
    """Three frames of 40 x 30, each with a larger square than the one before."""
    frames = [Image.new("RGB", (40, 30), "white") for _ in range(3)]
    for number, frame in enumerate(frames):
        frame.paste("#c02020", (5, 5, 10 + 5 * number, 10 + 5 * number))
    file = io.BytesIO()
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], **options)
    return file.getvalue()


@pytest.mark.parametrize("end", [0, 3, 11, 13, 20, 40, 100])
def test_a_file_that_ends_anywhere_has_the_sizes_read_so_far(end: int) -> None:
    for sizes, kind in ((gif_sizes, "GIF"), (png_sizes, "PNG")):
        data = animated(kind)
        found = list(sizes(data[:end]))
        assert found == list(sizes(data))[: len(found)]


@pytest.mark.parametrize("data", [b"", b"GIF89a" + b"\xff" * 100, b"\x89PNG\r\n\x1a\n" + b"\xff" * 100])
def test_bytes_that_are_no_frames_have_no_sizes_beyond_their_numbers(data: bytes) -> None:
    for sizes in (gif_sizes, png_sizes):
        assert all(max(size) < 1 << 33 for size in sizes(data))


def test_every_frame_of_a_gif_has_the_size_it_reaches() -> None:
    sizes = list(gif_sizes(animated("GIF")))
    assert len(sizes) == 3
    assert sizes[0] == (40, 30)
    assert all(width <= 40 and height <= 30 for width, height in sizes)


def test_every_frame_of_an_animated_png_has_the_size_it_reaches() -> None:
    assert next(png_sizes(animated("PNG"))) == (40, 30)
    assert len(list(png_sizes(animated("PNG")))) == 3
    assert list(png_sizes(animated("PNG")[:60])) == []


def test_a_frame_that_leaves_its_picture_is_seen_where_pillow_looks_only_at_the_first() -> None:
    data = bytearray(animated("GIF"))
    last = data.rfind(b"\x2c", 0, len(data) - 20)
    while struct.unpack_from("<HH", data, last + 5)[0] not in range(1, 41):
        last = data.rfind(b"\x2c", 0, last)
    struct.pack_into("<HH", data, last + 5, 65_000, 65_000)
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (40, 30)
    assert max(gif_sizes(bytes(data)))[0] >= 65_000
