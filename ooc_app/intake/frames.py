"""Read how large the frames of a GIF or a PNG say they are, from its bytes and without decoding any.

Pillow looks at the size of the first frame when it opens a file, and at the others' only when each is
decoded. A frame larger than the picture it belongs to is how such a file harms whoever plays it.
GIF89a specification, sections 18 to 23; PNG specification, third edition, 11.3.6 (`fcTL`).
"""

import struct
from collections.abc import Iterator

GIF_HEADER = 13  # bytes: signature, width, height, flags, two more
GIF_IMAGE = struct.Struct("<HHHHB")  # left, top, width, height, flags
GIF_EXTENSION, GIF_DESCRIPTOR, GIF_END = 0x21, 0x2C, 0x3B
PNG_SIGNATURE = 8
PNG_CHUNK = struct.Struct(">I4s")  # length, kind; the body and four bytes of checksum follow
PNG_FRAME = struct.Struct(">IIIII")  # number, width, height, left, top

Size = tuple[int, int]


def gif_sizes(data: bytes) -> Iterator[Size]:
    """Yield the width and height that each frame reaches, in pixels, as far as the file goes."""
    at = GIF_HEADER + _colour_table(data[10]) if len(data) >= GIF_HEADER else len(data)
    while at < len(data) and data[at] != GIF_END:
        kind = data[at]
        at += 1
        if kind == GIF_DESCRIPTOR and at + GIF_IMAGE.size <= len(data):
            left, top, width, height, flags = GIF_IMAGE.unpack_from(data, at)
            yield left + width, top + height
            at = _past_blocks(data, at + GIF_IMAGE.size + _colour_table(flags) + 1)
        elif kind == GIF_EXTENSION:
            at = _past_blocks(data, at + 1)


def png_sizes(data: bytes) -> Iterator[Size]:
    """Yield the width and height that each frame of an animated PNG reaches, in pixels."""
    at = PNG_SIGNATURE
    while at + PNG_CHUNK.size <= len(data):
        length, kind = PNG_CHUNK.unpack_from(data, at)
        at += PNG_CHUNK.size
        if kind == b"fcTL" and at + PNG_FRAME.size <= len(data):
            _, width, height, left, top = PNG_FRAME.unpack_from(data, at)
            yield left + width, top + height
        at += length + 4


def _colour_table(flags: int) -> int:
    """The bytes of the colour table that `flags` announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _past_blocks(data: bytes, at: int) -> int:
    """Pass over blocks that begin with their length, up to and with the empty one."""
    while at < len(data) and (length := data[at]):
        at += length + 1
    return at + 1
