"""Real pictures made small, the shared folder of hostile ones, and an empty desk."""

import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from pillow_heif import register_heif_opener

from ooc_app.desk import Desk, open_desk

SHARED_DIR = Path(__file__).resolve().parents[4] / "shared" / "data"
Picture = Callable[..., bytes]


@pytest.fixture(autouse=True, scope="session")
def heic() -> None:
    """Teach the Pillow of the tests to write HEIC."""
    register_heif_opener()


@pytest.fixture
def picture() -> Picture:
    """Make the bytes of a picture whose left half has one colour and whose right half another."""

    def make(
        side: tuple[int, int] = (60, 40),
        left: str = "#c02020",
        right: str = "#2040c0",
        kind: str = "JPEG",
        **options: object,
    ) -> bytes:
        image = Image.new("RGB", side, left)
        image.paste(Image.new("RGB", (side[0] // 2, side[1]), right), (side[0] // 2, 0))
        file = io.BytesIO()
        if kind == "HEIF" and isinstance(exif := options.get("exif"), Image.Exif):
            image.info["exif"] = exif.tobytes()  # from here alone its encoder takes how it is turned
            del options["exif"]
        image.save(file, kind, **options)
        return file.getvalue()

    return make


def png_with_header(width: int, height: int, bits: int = 8, pixels: bytes = b"") -> bytes:
    """A PNG in colour that claims a size, with rows of pixels or none."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(pixels) if pixels else b"")
        + chunk(b"IEND", b"")
    )


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def uploads() -> dict[str, Path]:
    """The odd, broken and hostile files, by name; they are read where they are."""
    manifest = SHARED_DIR / "uploads" / "manifest.jsonl"
    if not manifest.exists():
        pytest.skip(f"there are no hostile files in {manifest.parent}")
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    return {Path(row["file"]).name: manifest.parent / row["file"] for row in rows}


@pytest.fixture
def photographs() -> Path:
    """The file of 74 cases on 37 real photographs."""
    path = SHARED_DIR / "photos" / "cases.jsonl"
    if not path.exists():
        pytest.skip(f"there are no photographs in {path.parent}")
    return path


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """An empty desk in a folder of its own."""
    with open_desk(tmp_path / "data") as opened:
        yield opened
