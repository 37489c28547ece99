"""Read a picture's metadata, in a process of its own: `python -m ooc_app.provenance.metadata_reader`.

Answers with three flat objects of texts, `exif`, `iptc` and `xmp`, under names of our own, and `note`
where one of the three cannot be read. Nothing is interpreted here; each text is cut to TEXT_MAX
characters and has no control characters.

EXIF 3.0 (CIPA DC-008-2023), IPTC-IIM 4.2, XMP (ISO 16684-1) with the names of the IPTC Photo Metadata
Standard 2023.1.
"""

import io
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Final
from xml.etree.ElementTree import Element, fromstring

from PIL import Image, ImageFile, IptcImagePlugin
from PIL.TiffImagePlugin import IFDRational
from pillow_heif import register_heif_opener

from ooc_app.provenance.apart import given_to_this_process, limit_this_process

TEXT_MAX: Final = 500
FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF")
MAIN_TAGS: Final = {
    0x010E: "description", 0x010F: "make", 0x0110: "model", 0x0131: "software", 0x0132: "changed",
    0x013B: "artist", 0x8298: "copyright",
}  # fmt: skip
EXIF_IFD: Final = 0x8769
EXIF_TAGS: Final = {
    0x9003: "taken", 0x9011: "taken_offset", 0x9004: "digitised", 0x9012: "digitised_offset",
    0x9010: "changed_offset", 0xA434: "lens", 0xA430: "owner", 0x9286: "comment",
}  # fmt: skip
GPS_IFD: Final = 0x8825
GPS_TAGS: Final = {
    1: "gps_north", 2: "gps_latitude", 3: "gps_east", 4: "gps_longitude", 7: "gps_time", 29: "gps_date",
}  # fmt: skip
IPTC: Final = {
    (2, 5): "title", (2, 55): "taken", (2, 80): "artist", (2, 90): "city", (2, 95): "province",
    (2, 101): "country", (2, 105): "headline", (2, 110): "credit", (2, 115): "source",
    (2, 120): "description",
}  # fmt: skip
RDF: Final = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_XMP: Final = "{http://ns.adobe.com/xap/1.0/}"
_PHOTOSHOP: Final = "{http://ns.adobe.com/photoshop/1.0/}"
_DUBLIN: Final = "{http://purl.org/dc/elements/1.1/}"
_EXTENSION: Final = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
XMP: Final = {
    f"{_XMP}CreateDate": "created", f"{_XMP}ModifyDate": "changed", f"{_XMP}CreatorTool": "software",
    f"{_PHOTOSHOP}DateCreated": "taken", f"{_PHOTOSHOP}City": "city", f"{_PHOTOSHOP}State": "province",
    f"{_PHOTOSHOP}Country": "country", f"{_PHOTOSHOP}Headline": "headline", f"{_PHOTOSHOP}Credit": "credit",
    f"{_PHOTOSHOP}Source": "source", f"{_DUBLIN}description": "description", f"{_DUBLIN}creator": "artist",
    f"{_DUBLIN}rights": "copyright", f"{_EXTENSION}DigitalSourceType": "digital_source",
}  # fmt: skip
_HISTORY: Final = "{http://ns.adobe.com/xap/1.0/sType/ResourceEvent#}"

Texts = dict[str, str]


def main() -> None:
    """Answer for the one picture given."""
    limit_this_process()
    logging.disable()
    warnings.simplefilter("ignore")
    register_heif_opener()
    _, data = given_to_this_process()
    json.dump(metadata(data), sys.stdout)


def metadata(data: bytes) -> dict[str, Any]:
    """Read all three kinds; one that is damaged does not keep the others from being read."""
    answer: dict[str, Any] = {"exif": {}, "iptc": {}, "xmp": {}, "note": None}
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception:  # the image door has said what is wrong with the picture
        return {**answer, "note": "The metadata cannot be read, because the picture cannot be opened."}
    readers: dict[str, Callable[[ImageFile.ImageFile], Texts]] = {"exif": _exif, "iptc": _iptc, "xmp": _xmp}
    damaged = []
    for kind, reader in readers.items():
        try:
            answer[kind] = reader(image)
        except Exception:  # damaged metadata raises anything
            damaged.append(kind.upper())
    if damaged:
        answer["note"] = f"Damaged and not read: {' and '.join(damaged)}."
    return answer


def _exif(image: ImageFile.ImageFile) -> Texts:
    exif = image.getexif()
    found: Texts = {}
    for values, names in (
        (exif, MAIN_TAGS),
        (exif.get_ifd(EXIF_IFD), EXIF_TAGS),
        (exif.get_ifd(GPS_IFD), GPS_TAGS),
    ):
        for tag, name in names.items():
            if text := _text(values.get(tag)):
                found[name] = text
    return found


def _iptc(image: ImageFile.ImageFile) -> Texts:
    blocks = IptcImagePlugin.getiptcinfo(image) or {}
    found: Texts = {}
    for key, name in IPTC.items():
        value = blocks.get(key)
        if text := _text(value[0] if isinstance(value, list) and value else value):
            found[name] = text
    return found


def _xmp(image: ImageFile.ImageFile) -> Texts:
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if not packet and image.format == "TIFF":
        packet = image.getexif().get(0x02BC)
    if not packet:
        return {}
    text = packet if isinstance(packet, str) else bytes(packet).decode("utf-8")
    if "<!" in text:  # a document type could define entities; XMP has none
        raise ValueError("the XMP packet declares something")
    root = fromstring(text.strip("\x00\ufeff \r\n\t"))
    found: Texts = {}
    agents = []
    for name, text in _properties(root):
        if name == f"{_HISTORY}softwareAgent" and text not in agents:
            agents.append(text)
        elif name in XMP:
            found.setdefault(XMP[name], text)
    if agents:
        found["edited_with"] = _text(", ".join(agents[-5:]))
    return found


def _properties(root: Element) -> Iterator[tuple[str, str]]:
    """Yield every property, written as an attribute or as an element, with its first text."""
    for element in root.iter():
        for name, value in element.attrib.items():
            if not name.startswith(RDF) and (text := _text(value)):
                yield name, text
        inner = next((item.text for item in element.iter(f"{RDF}li") if item.text), None)
        if text := _text(element.text if element.text and element.text.strip() else inner):
            yield element.tag, text


def _text(value: Any) -> str:
    """Write a value as one line; numbers of a fraction as decimals, several separated by blanks."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        marked = value[:8] in (b"ASCII\0\0\0", b"UNICODE\0", b"JIS\0\0\0\0\0", bytes(8))
        value = (value[8:] if marked else value).decode("utf-8", errors="replace")
    if isinstance(value, tuple | list):
        value = " ".join(_text(part) for part in value[:20])
    elif isinstance(value, IFDRational | float):
        value = f"{float(value):.9g}"
    kept = "".join(letter if letter.isprintable() else " " for letter in str(value)[: 4 * TEXT_MAX])
    return " ".join(kept.split())[:TEXT_MAX]


if __name__ == "__main__":
    main()
