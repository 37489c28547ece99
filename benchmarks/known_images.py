"""Search among known pictures: how long a million take, what is found again, how often that is wrong.

    python -m benchmarks.known_images [--json] [--pictures N] [--photographs DIR]

The photographs are hidden among N hashes drawn so that their coefficients go together as those of the
photographs do; without photographs the hashes are even noise and only time is measured. "Found" means
among what the desk would show of all N. Time is of one thread, with and without what other processes
took of its core. What is wrong is counted twice: among different whole photographs, and among parts of
them (halves to quarters of a side), of which there are enough pairs to see a rate, and which are plainer
than photographs are.
"""

import argparse
import io
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from benchmarks.report import Figure, figure, percentile, show
from ooc_app.provenance.hashing import DETAIL_MIN, Hash, Print, distances, print_of, squared, variants
from ooc_app.provenance.known import NEAR, SAME, KnownPictures, NewPrint

PHOTOGRAPHS: Final = Path(__file__).resolve().parents[2] / "shared" / "data" / "photos" / "images"
AT_ONCE: Final = 20_000
RECALL: Final = ">= 0.95"
Picture = Image.Image


def cropped(picture: Picture, left: float, top: float, right: float, bottom: float) -> Picture:
    """Cut shares of the width and the height off."""
    width, height = picture.size
    box = (left * width, top * height, width - right * width, height - bottom * height)
    return picture.crop(tuple(round(edge) for edge in box))  # type: ignore[arg-type]


def saved(picture: Picture, quality: int) -> Picture:
    """Save as JPEG and read again."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def marked(picture: Picture, corner: int) -> Picture:
    """Lay a white plate with print over 22 % of the width and 12 % of the height of a corner."""
    copy, (width, height) = picture.copy(), picture.size
    plate, high = round(0.22 * width), round(0.12 * height)
    left, top = (width - plate) * (corner % 2), (height - high) * (corner // 2)
    draw = ImageDraw.Draw(copy)
    draw.rectangle((left, top, left + plate, top + high), fill="white")
    draw.text((left + plate // 8, top + high // 4), "NEWS 24", fill="#c02020")
    return copy


CHANGES: Final[dict[str, Callable[[Picture], Picture]]] = {
    "resize to a third": lambda one: one.resize((one.width // 3, one.height // 3)),
    "JPEG quality 30": lambda one: saved(one, 30),
    "crop 5 % off each side": lambda one: cropped(one, 0.05, 0.05, 0.05, 0.05),
    "crop 10 % off the left": lambda one: cropped(one, 0.1, 0, 0, 0),
    "crop 10 % off the right": lambda one: cropped(one, 0, 0, 0.1, 0),
    "crop 10 % off the top": lambda one: cropped(one, 0, 0.1, 0, 0),
    "crop 10 % off the bottom": lambda one: cropped(one, 0, 0, 0, 0.1),
    "crop 10 % off left and top": lambda one: cropped(one, 0.1, 0.1, 0, 0),
    "crop 10 % off right and bottom": lambda one: cropped(one, 0, 0, 0.1, 0.1),
    "mirror": ImageOps.mirror,
    "mirror, then crop 5 % off each side": lambda one: cropped(ImageOps.mirror(one), 0.05, 0.05, 0.05, 0.05),
    "logo at the top left": lambda one: marked(one, 0),
    "logo at the top right": lambda one: marked(one, 1),
    "logo at the bottom left": lambda one: marked(one, 2),
    "logo at the bottom right": lambda one: marked(one, 3),
}
BEYOND: Final[dict[str, Callable[[Picture], Picture]]] = {
    "beyond the goal: crop 7 % and 3 %": lambda one: cropped(one, 0.07, 0.03, 0.03, 0.07),
    "beyond the goal: crop, logo, small, JPEG 30": lambda one: marked(
        saved(cropped(one, 0.05, 0.02, 0.05, 0.03).resize((200, 150)), 30), 1
    ),
    "beyond the goal: crop 10 % off each side": lambda one: cropped(one, 0.1, 0.1, 0.1, 0.1),
}


def photographs(folder: Path) -> list[Picture]:
    """Read the photographs, none where there is no folder."""
    return [Image.open(path).convert("RGB") for path in sorted(folder.glob("*.jpg"))]


def parts(pictures: Sequence[Picture]) -> Iterator[tuple[int, Picture]]:
    """Cut each photograph into 4, 9 and 16; with the number of its photograph."""
    for number, picture in enumerate(pictures):
        width, height = picture.size
        for count in (2, 3, 4):
            for row in range(count):
                for column in range(count):
                    left, top = column * width // count, row * height // count
                    box = (left, top, left + width // count, top + height // count)
                    yield number, picture.crop(box)


def drawn(pictures: Sequence[Picture], count: int) -> Iterator[Hash]:
    """Draw hashes: mixtures of squares, so that neighbouring coefficients go together as in those."""
    random = np.random.default_rng(7)
    squares = np.array([squared(part).ravel() for _, part in parts(pictures)], dtype=np.float32)
    for start in range(0, count, AT_ONCE):
        size = min(AT_ONCE, count - start)
        if not len(squares):
            yield random.integers(0, 2**63, (size, 4), dtype=np.uint64)
            continue
        chosen = squares[random.integers(0, len(squares), (size, 4))]
        weights = random.standard_normal((size, 4, 1), dtype=np.float32)
        mixed = (chosen * weights).sum(axis=1).reshape(size, 80, 80)
        flips = random.integers(0, 2, (size, 2), dtype=np.int8)
        yield np.array(
            [
                print_of(one[:: 1 - 2 * up, :: 1 - 2 * over]).bits
                for one, (up, over) in zip(mixed, flips, strict=True)
            ]
        )


def time_figures(known: KnownPictures, squares: Sequence[NDArray[np.float32]], loaded: float) -> list[Figure]:
    """Ask each square, twice, and say how long it took."""
    elapsed, worked = [], []
    for square in [*squares, *squares]:
        start, start_of_work = time.perf_counter(), time.thread_time()
        known.nearest(square)
        elapsed.append((time.perf_counter() - start) * 1000)
        worked.append((time.thread_time() - start_of_work) * 1000)
    return [
        figure(f"search {len(known):,} pictures, p50", percentile(elapsed, 0.5), "ms"),
        figure(f"search {len(known):,} pictures, p95", percentile(elapsed, 0.95), "ms", "<= 50"),
        figure("the same, own time on the core, p95", percentile(worked, 0.95), "ms", "<= 50"),
        figure("read the file at the first question", loaded, "s"),
        figure("memory", known.memory / 1e6, "MB"),
        figure("load of the machine meanwhile", os.getloadavg()[0], "processes"),
    ]


def recall_figures(known: KnownPictures, pictures: Sequence[Picture], digests: Sequence[str]) -> list[Figure]:
    """Change every photograph in every way and see whether it is found, and what else is."""
    found, others, asked = [], 0, 0
    for name, change in (CHANGES | BEYOND).items():
        hits = 0
        for picture, digest in zip(pictures, digests, strict=True):
            near = [one.sha256 for one in known.nearest(squared(change(picture)))]
            hits += digest in near
            others += len(near) - (digest in near)
            asked += 1
        goal = RECALL if name in CHANGES else None
        found.append(figure(f"recall, {name}", hits / len(pictures) if pictures else None, "share", goal))
    wrong = others / asked if asked else None
    return [*found, figure(f"other pictures shown, of {len(known):,}, per question", wrong, "pictures")]


def wrong_figures(pictures: Sequence[Picture]) -> list[Figure]:
    """Hold photographs, and parts of them, against those of other photographs."""
    whole = _pairs([(number, squared(one)) for number, one in enumerate(pictures)])
    cut = _pairs([(number, squared(one)) for number, one in parts(pictures)], every=3)
    found = []
    for name, apart in (("whole photographs", whole), ("parts of photographs", cut)):
        found.append(figure(f"pairs of different {name}", len(apart), "pairs"))
        for words, near in (("shown", NEAR), ("called the same", SAME)):
            rate = float((apart <= near).mean()) if len(apart) else None
            found.append(figure(f"{name}: wrongly {words}, of a million pairs", rate and rate * 1e6, "pairs"))
    return found


def _pairs(squares: Sequence[tuple[int, NDArray[np.float32]]], every: int = 1) -> NDArray[np.intp]:
    """The distances of pairs from different photographs, neither of them plain, in the best variant."""
    kept = [(number, square, held) for number, square in squares if not (held := print_of(square)).is_plain]
    numbers = np.array([number for number, _, _ in kept])
    hashes = np.array([held.bits for _, _, held in kept])
    found = [
        distances(variants(square)[:, None], hashes[numbers != number]).min(axis=0)
        for number, square, _ in kept[::every]
    ]
    return np.concatenate(found) if found else np.empty(0, dtype=np.intp)


def measured(pictures: Sequence[Picture], count: int, folder: Path) -> list[Figure]:
    """Hide the photographs among `count` hashes and measure."""
    known = KnownPictures(folder / "benchmark.hashes")
    squares = [squared(picture) for picture in pictures]
    digests = [f"{number:064x}" for number in range(len(pictures))]
    known.add([NewPrint(digest, print_of(square)) for digest, square in zip(digests, squares, strict=True)])
    written = len(pictures)
    for hashes in drawn(pictures, count - written):
        known.add([NewPrint(f"{n:064x}", Print(bits, DETAIL_MIN)) for n, bits in enumerate(hashes, written)])
        written += len(hashes)
    start = time.perf_counter()
    known.refresh()
    loaded = time.perf_counter() - start
    asked = squares or [np.random.default_rng(n).random((80, 80), dtype=np.float32) * 255 for n in range(40)]
    figures = time_figures(known, asked, loaded)
    return figures + recall_figures(known, pictures, digests) + wrong_figures(pictures)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--pictures", type=int, default=1_000_000)
    parser.add_argument("--photographs", type=Path, default=PHOTOGRAPHS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ooc-known-") as folder:
        figures = measured(photographs(given.photographs), given.pictures, Path(folder))
    show("known_images", ["numpy", "pillow"], figures, as_json=given.json)


if __name__ == "__main__":
    main()
