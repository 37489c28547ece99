"""Decode pictures nobody vouches for, in a process of its own: `python -m ooc_app.intake.decode`.

The process reads requests from stdin and writes replies to stdout until stdin closes, which also
happens when its parent dies, however it dies. It imports Pillow, its HEIC plugin and of the project
only `frames.py`, opens no file, has no key in its environment, and may use `MEMORY_LIMIT` bytes of
address space; the time limit is kept by the parent (`worker.py`), which is not exposed to the bytes.

A request is one command byte, the length as 8 bytes, the image. A reply is the length of a JSON
object as 4 bytes, the length of a body as 8, the object, the body. Numbers are big-endian.
"""

import io
import json
import logging
import resource
import struct
import sys
import warnings
from collections.abc import Iterable
from typing import BinaryIO, cast

from PIL import (  # naming the seven plugins keeps Pillow from loading the other forty
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageCms,
    ImageFile,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)
from pillow_heif import register_heif_opener

from ooc_app.intake.frames import Size, gif_sizes, png_sizes

PLUGINS = (
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
    GifImagePlugin,
    TiffImagePlugin,
    BmpImagePlugin,
    AvifImagePlugin,
)
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF")
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*", b"BM")
INNER_SIGNATURES = (  # at byte 8, behind the length
    b"WEBP", b"avif", b"avis", b"mif1", b"msf1",
    b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs",
)  # fmt: skip
FORMATS_IN_WORDS = "JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF or HEIC"

PIXELS_MAX = 64_000_000  # a 61-megapixel camera's full frame still passes; 256 MB as RGBA
FRAMES_MAX = 1_000
MEMORY_LIMIT = 2 << 30  # bytes; 64 megapixels as 16-bit RGBA plus one copy to turn it upright
SHOWN_SIDE = 1_600  # pixels; the longer side of the shown copy
SHOWN_QUALITY = 90  # JPEG quality; with full-resolution colour, so that red print stays readable
THUMB_SIDE = 240  # pixels; twice the size it is shown at
THUMB_QUALITY = 80

EXAMINE = b"E"
SHOW = b"S"
THUMB = b"T"
REQUEST = struct.Struct(">cQ")
REPLY = struct.Struct(">IQ")

ORIENTATION = 0x0112  # EXIF tag; 5 to 8 lie on their side


class RefusedError(Exception):
    """The image is refused; the message is the sentence for the person who gave it."""


def main() -> None:
    """Answer requests until stdin closes."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    logging.disable()
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    Image.MAX_IMAGE_PIXELS = PIXELS_MAX
    # an embedded thumbnail decoded in place of the picture would say nothing of the picture
    register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    while header := requests.read(REQUEST.size):
        command, length = REQUEST.unpack(header)
        answer, body = reply_to(command, requests.read(length))
        send(replies, answer, body)


def send(replies: BinaryIO, answer: dict[str, object], body: bytes) -> None:
    """Write one reply."""
    text = json.dumps(answer).encode()
    replies.write(REPLY.pack(len(text), len(body)) + text)
    replies.write(body)
    replies.flush()


def reply_to(command: bytes, data: bytes) -> tuple[dict[str, object], bytes]:
    """Do what one request asks; whatever Pillow raises on hostile bytes becomes one sentence."""
    try:
        return {EXAMINE: examine, SHOW: show, THUMB: thumb}[command](data)
    except RefusedError as error:
        return {"refused": str(error)}, b""
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        megapixels = PIXELS_MAX // 1_000_000
        return {
            "refused": f"The picture has more than the {megapixels} megapixels allowed: save a smaller copy."
        }, b""
    except MemoryError:
        return {"refused": "The picture needs too much memory to open: save a smaller copy."}, b""
    except Exception as error:  # Pillow has no common base class for what damaged files raise
        if isinstance(error, OSError) and "truncated" in str(error):
            return {"refused": "The picture is cut short, its last part is missing: get the whole file."}, b""
        return {
            "refused": "The picture cannot be decoded in full, so it is damaged, cut short "
            "or made to do harm: get the original file."
        }, b""


def examine(data: bytes) -> tuple[dict[str, object], bytes]:
    """Decode the picture once, in full; say its format, its upright size in pixels, its frames."""
    image = opened(data)
    frames = getattr(image, "n_frames", 1)
    check_frames(image, data, frames)
    width, height = image.size
    image.draft(None, (64, 64))  # a JPEG still has every bit of it read, several times as fast
    image.load()
    if image.format == "TIFF":  # loading has turned it upright
        width, height = image.size
    elif orientation(image) >= 5:
        width, height = height, width
    format_name = image.format
    if format_name == "MPO":  # a JPEG with another view, or with its brightness for better screens
        format_name, frames = "JPEG", 1
    return {"format": format_name, "width": width, "height": height, "frames": frames}, b""


def show(data: bytes) -> tuple[dict[str, object], bytes]:
    """Render the first frame upright, in sRGB on white, at most `SHOWN_SIDE` long, without metadata."""
    image: Image.Image = plain(opened(data))
    image.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    image.load()
    image = srgb(ImageOps.exif_transpose(image))
    image.info.clear()  # Pillow would carry a comment over
    body = io.BytesIO()
    image.save(body, "JPEG", quality=SHOWN_QUALITY, subsampling=0)
    return {"width": image.width, "height": image.height}, body.getvalue()


def thumb(data: bytes) -> tuple[dict[str, object], bytes]:
    """Make a shown copy small, at most `THUMB_SIDE` long."""
    image: Image.Image = opened(data)
    image.thumbnail((THUMB_SIDE, THUMB_SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    image.info.clear()
    body = io.BytesIO()
    image.save(body, "JPEG", quality=THUMB_QUALITY)
    return {"width": image.width, "height": image.height}, body.getvalue()


def opened(data: bytes) -> ImageFile.ImageFile:
    """Read the header; raises RefusedError before any pixel is decoded where a limit is passed."""
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        if data.startswith(SIGNATURES) or data[8:12] in INNER_SIGNATURES:
            raise
        raise RefusedError(
            f"This is {named(data)}, not a picture the desk can read: save it as {FORMATS_IN_WORDS}."
        ) from None
    frames = getattr(image, "n_frames", 1)
    if frames > FRAMES_MAX:
        raise RefusedError(
            f"The picture has {frames:,} frames, more than the {FRAMES_MAX:,} allowed: save one frame."
        )
    return image


def check_frames(image: ImageFile.ImageFile, data: bytes, frames: int) -> None:
    """Refuse a picture one of whose frames passes `PIXELS_MAX`, by what the file says of each.

    All frames of a WebP or an AVIF have the size of the picture, which opening it has checked. Leaves
    `image` at the frame it was at.
    """
    sizes: Iterable[Size] = ()
    if image.format == "GIF":
        sizes = gif_sizes(data)
    elif image.format == "PNG":
        sizes = png_sizes(data)
    elif frames > 1 and image.format in ("TIFF", "MPO", "HEIF"):
        first, others = image.tell(), []
        for frame in range(frames):
            image.seek(frame)  # reads the header of the frame
            others.append(image.size)
        image.seek(first)
        sizes = others
    for number, (width, height) in enumerate(sizes, 1):
        if width * height > PIXELS_MAX:
            raise RefusedError(
                f"Frame {number} of the picture has more than the {PIXELS_MAX // 1_000_000} megapixels "
                "allowed: save one frame."
            )


def named(data: bytes) -> str:
    """Name a kind of file that people often try, for the sentence that refuses it."""
    head = data[:1024].lower()
    if data.startswith((b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")):
        return "a JPEG 2000 picture"
    if data[4:8] == b"ftyp":
        return "a video"
    if b"<svg" in head:
        return "an SVG drawing"
    if head.startswith(b"%pdf"):
        return "a PDF document"
    if head.startswith((b"%!ps", b"\xc5\xd0\xd3\xc6")):
        return "a PostScript document"
    if head.lstrip().startswith((b"<!doctype html", b"<html")):
        return "a web page"
    return "a file of another kind"


def orientation(image: Image.Image) -> int:
    """Read the EXIF orientation; 1 (upright) where it is missing or unreadable."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged EXIF raises anything, and is no reason to refuse the picture
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def plain(image: ImageFile.ImageFile) -> Image.Image:
    """Bring modes that cannot be resized or saved as JPEG (palette, 1 bit, 16 bit, float) to 8 bits."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        wide = image.convert("F")
        low, high = cast(tuple[float, float], wide.getextrema())
        if image.mode.startswith("I;16"):
            low, high = 0.0, 65535.0
        scale = 255.0 / (high - low) if high > low else 0.0
        return wide.point(lambda value: value * scale - low * scale).convert("L")
    if image.mode in ("P", "PA", "LA", "La", "RGBa") or image.has_transparency_data:
        return image.convert("RGBA")
    return image.convert("L") if image.mode == "1" else image


def srgb(image: Image.Image) -> Image.Image:
    """Convert to sRGB by the embedded profile, or by mode where there is none or it is broken."""
    profile = image.info.get("icc_profile")
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    try:
        if image.mode == "LAB":
            source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        elif profile and image.mode in ("RGB", "CMYK", "L"):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        else:
            return image.convert("RGB")
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
        return converted or image.convert("RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image.convert("RGB")


if __name__ == "__main__":
    main()
