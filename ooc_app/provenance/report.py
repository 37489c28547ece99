"""All that can be said of a picture without the student: what it carries, and where it was seen before."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from ooc_app.desk import Desk
from ooc_app.intake.images import StoredImage, shown_copy, stored_path
from ooc_app.provenance.claims import Remark, remarks
from ooc_app.provenance.credentials import TRUST_LIST, Credentials, State, read_credentials
from ooc_app.provenance.hashing import Variant, grey_square, print_of
from ooc_app.provenance.known import KnownPictures, Near
from ooc_app.provenance.links import Link, LinksError, links
from ooc_app.provenance.metadata import Line, Metadata, Moment, read_metadata
from ooc_app.provenance.places import Point
from ooc_app.provenance.seen import Say, Seen, Use, catch_up, seen_before

MAP: Final = "https://www.openstreetmap.org/?mlat={0:.5f}&mlon={1:.5f}#map=14/{0:.5f}/{1:.5f}"


@dataclass(frozen=True, slots=True)
class Claims:
    """What is claimed of a picture; all may be missing."""

    caption: str | None = None
    date: str | None = None
    place: str | None = None
    url: str | None = None  # where the picture itself lies on the web


@dataclass(frozen=True, slots=True)
class Provenance:
    """What was found. GPS is in `metadata` and is to be shown only on request."""

    image: StoredImage
    metadata: Metadata
    remarks: tuple[Remark, ...]
    credentials: Credentials
    seen: tuple[Seen, ...] | None  # None where the desk's pictures are not for who asks
    compared: int  # pictures of the desk it was held against
    not_compared: int  # those there was no time for
    is_plain: bool  # too little in it to know it again by
    links: tuple[Link, ...]
    links_problem: str | None = None


def map_link(point: Point) -> str:
    """Return the address of a map with a point marked."""
    return MAP.format(*point)


def inspect(
    image: StoredImage,
    images_dir: Path,
    desk: Desk,
    claims: Claims | None = None,
    *,
    known: KnownPictures | None = None,
    seconds_max: float | None = None,
    say: Say = lambda done, of: None,
) -> Provenance:
    """Inspect a picture that the image door has put into `images_dir`.

    `known` are the desk's pictures, left out for who may not see them. The desk's pictures not yet hashed
    are hashed first, for at most `seconds_max`.
    """
    claims = claims or Claims()
    data = stored_path(image.sha256, images_dir).read_bytes()
    square = grey_square(shown_copy(image.sha256, images_dir))
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(2))  # two processes at a time
        metadata = pool.submit(read_metadata, data)
        credentials = pool.submit(read_credentials, data, desk.data_dir / TRUST_LIST)
        left, seen = 0, None
        if known is not None:
            left = catch_up(desk, known, seconds_max=seconds_max, say=say)
            seen = seen_before(desk, known, square, image.sha256)
        found = metadata.result()
        today = datetime.now(UTC).date()
        made, problem = _links(desk, claims)
        return Provenance(
            image=image,
            metadata=found,
            remarks=remarks(found, claimed_date=claims.date, claimed_place=claims.place, today=today),
            credentials=credentials.result(),
            seen=seen,
            compared=len(known) if known is not None else 0,
            not_compared=left,
            is_plain=print_of(square).is_plain,
            links=made,
            links_problem=problem,
        )


def as_json(found: Provenance, *, with_gps: bool) -> dict[str, Any]:
    """Make a plain object of it; without `with_gps` it says only that there is a GPS position."""
    metadata = asdict(found.metadata)
    metadata["gps"] = None
    metadata["has_gps"] = found.metadata.gps is not None
    if with_gps and (point := found.metadata.gps) is not None:
        metadata["gps"] = {"latitude": point.latitude, "longitude": point.longitude, "map": map_link(point)}
    return {
        "image": asdict(found.image),
        "metadata": {key: _plain(value) for key, value in metadata.items()},
        "remarks": [asdict(remark) for remark in found.remarks],
        "credentials": asdict(found.credentials),
        "seen": None if found.seen is None else [_seen(one) for one in found.seen],
        "compared": found.compared,
        "not_compared": found.not_compared,
        "is_plain": found.is_plain,
        "links": [asdict(link) for link in found.links],
        "links_problem": found.links_problem,
    }


def from_json(plain: Mapping[str, Any]) -> Provenance:
    """Make it again from what `as_json` made without GPS.

    Raises KeyError, TypeError or ValueError for what another version wrote.
    """
    read, credentials = plain["credentials"], dict(plain["credentials"])
    credentials["state"] = State(read["state"])
    credentials["facts"] = tuple((what, said) for what, said in read["facts"])
    credentials["problems"] = tuple(read["problems"])
    seen = plain["seen"]
    return Provenance(
        image=StoredImage(**plain["image"]),
        metadata=_metadata_of(plain["metadata"]),
        remarks=tuple(Remark(**one) for one in plain["remarks"]),
        credentials=Credentials(**credentials),
        seen=None if seen is None else tuple(_seen_of(one) for one in seen),
        compared=plain["compared"],
        not_compared=plain["not_compared"],
        is_plain=plain["is_plain"],
        links=tuple(Link(**one) for one in plain["links"]),
        links_problem=plain["links_problem"],
    )


def _links(desk: Desk, claims: Claims) -> tuple[tuple[Link, ...], str | None]:
    try:
        return links(desk.data_dir, image_url=claims.url, caption=claims.caption), None
    except LinksError as error:  # the rest of the report is as good without
        return (), str(error)


def _seen(one: Seen) -> dict[str, Any]:
    uses = [{**use._asdict(), "on_desk_since": use.on_desk_since.isoformat()} for use in one.uses]
    near = {"sha256": one.near.sha256, "distance": one.near.distance, "is_this_file": one.is_this_file}
    return {**near, "words": one.words, "uses": uses}


def _plain(value: Any) -> Any:
    """Write dates as texts, and what has names as an object."""
    if hasattr(value, "_asdict"):
        return {key: _plain(part) for key, part in value._asdict().items()}
    return value.isoformat() if hasattr(value, "isoformat") else value


def _metadata_of(plain: Mapping[str, Any]) -> Metadata:
    facts = {key: value for key, value in plain.items() if key != "has_gps"}
    facts["lines"] = tuple(Line(**one) for one in plain["lines"])
    for key in ("taken", "changed"):
        facts[key] = _moment_of(plain[key])
    facts["gps"] = None
    facts["gps_day"] = date.fromisoformat(plain["gps_day"]) if plain["gps_day"] else None
    return Metadata(**facts)


def _moment_of(plain: Mapping[str, Any] | None) -> Moment | None:
    return Moment(**{**plain, "day": date.fromisoformat(plain["day"])}) if plain else None


def _seen_of(plain: Mapping[str, Any]) -> Seen:
    """Make a known picture again; of what it went through only what the words say is known."""
    words = plain["words"]
    strip = (int("showing less" in words), -int("showing more" in words))
    near = Near(plain["sha256"], plain["distance"], Variant(strip, (0, 0), "mirrored" in words))
    uses = tuple(
        Use(**{**use, "on_desk_since": datetime.fromisoformat(use["on_desk_since"])}) for use in plain["uses"]
    )
    return Seen(near, uses, plain["is_this_file"])
