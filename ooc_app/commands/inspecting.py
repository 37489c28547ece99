"""`inspect`: what a picture itself carries and where the desk has seen it before, without the student."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from ooc_app.commands.terminal import Add, bar_of
from ooc_app.desk import Desk
from ooc_app.intake.fetching import admit_url
from ooc_app.intake.images import admit_file
from ooc_app.provenance.links import is_web_address
from ooc_app.provenance.report import Claims, Provenance, as_json, inspect, map_link
from ooc_app.provenance.seen import known_pictures
from ooc_app.render import counted, verdict_words


def add_commands(add: Add) -> None:
    """Add `inspect`."""
    inspecting = add("inspect", inspect_command)
    inspecting.add_argument("image", help="a file, or an http(s) address to fetch it from")
    inspecting.add_argument("--caption", help="the caption, for links to fact-checks")
    inspecting.add_argument("--date", help="the date the caption claims")
    inspecting.add_argument("--place", help="the place the caption claims, or latitude, longitude")
    inspecting.add_argument("--gps", action="store_true", help="show the file's GPS position")


def inspect_command(desk: Desk, given: argparse.Namespace) -> int:
    """Say what a picture itself carries and where the desk has seen it before; no student is asked."""
    is_on_web = is_web_address(given.image)
    claims = Claims(given.caption, given.date, given.place, given.image if is_on_web else None)
    with tempfile.TemporaryDirectory(prefix="ooc-inspect-") as folder, bar_of("hash pictures", given) as bar:

        def say(done: int, of: int) -> None:
            bar.total = of
            bar.update(done - bar.n)

        store = Path(folder)
        image = admit_url(given.image, store) if is_on_web else admit_file(Path(given.image), store)
        found = inspect(image, store, desk, claims, known=known_pictures(desk), say=say)
    if given.json:
        json.dump(as_json(found, with_gps=given.gps), sys.stdout)
        print()
    else:
        print("\n".join(told(found, with_gps=given.gps)))
    return 0


def told(found: Provenance, *, with_gps: bool) -> list[str]:
    """Say it in lines for a terminal."""
    image = found.image
    lines = [
        f"{image.format}, {image.width} x {image.height} pixels, {image.byte_size:,} bytes",
        *image.notes,
    ]
    for seen in found.seen or ():
        lines.append(f"Seen before: {seen.words} ({seen.near.distance} of 256 marks differ)")
        for use in seen.uses:
            when = use.claimed_date or f"on this desk since {use.on_desk_since:%Y-%m-%d}"
            verdict = f"{verdict_words(use.verdict)}, says: " if use.verdict else ""
            lines.append(f"  {when}: {use.caption} [{verdict}{use.by}]")
    if not found.seen:
        lines.append(f"Seen before: not among the desk's {counted(found.compared, 'picture')}.")
    if found.is_plain:
        lines.append("The picture holds too little to be known again by, unless it is hardly changed.")
    lines += [
        f"{'CONTRADICTION' if one.is_contradiction else 'Note'}: {one.sentence}" for one in found.remarks
    ]
    lines.append(f"Content Credentials: {found.credentials.state}. {found.credentials.means}")
    lines += [f"  {what}: {said}" for what, said in found.credentials.facts]
    lines.append("The file says:" if found.metadata.lines else "The file carries no metadata.")
    lines += [f"  {line.what}: {line.said}" for line in found.metadata.lines]
    lines += [found.metadata.note] if found.metadata.note else []
    if found.metadata.gps is not None:
        lines.append(f"  GPS: {map_link(found.metadata.gps) if with_gps else 'there; --gps shows it'}")
    lines += [f"{link.name}: {link.url}" for link in found.links]
    return [printable(line) for line in lines]


def printable(text: str) -> str:
    """Replace what could steer a terminal: captions and metadata are anybody's."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
