"""The pictures the desk knows, and the nearest of them to one in question.

They lie in a file of records beside the pictures, 65 bytes each, that only ever grows at its end: a new
picture is appended, in whichever process it comes, and every other process reads the new end at its next
question. The file holds nothing that the pictures do not, so it may be deleted.

All hashes are looked through for each question, no index is kept. In memory they are 33 bytes a picture,
33 MB for a million; the SHA-256 of what is found is read from the file. The question is asked in 62
variants (see `hashing.py`), in two rounds: whole hashes as they are and mirrored, and the first 64 bits
in 30 variants, leave about one picture in a hundred for all 62.

At most 72 of 256 bits may differ. `benchmarks/known_images.py` measures what that finds and how often it
is wrong, and how long a million pictures take.
"""

import fcntl
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ooc_app.provenance.hashing import (
    DETAIL_MIN,
    VARIANTS,
    WORDS,
    Hash,
    Print,
    Variant,
    distances,
    print_of,
    variants,
)

NEAR: Final = 72  # bits of 256 that may differ
SAME: Final = 40  # up to here no two different pictures were found to be
PLAIN_NEAR: Final = 24  # what may differ where one of the two is plain
FIRST_NEAR: Final = 17  # bits of the first 64 that may differ in the first round
FOUND_MAX: Final = 12
ROWS_AT_ONCE: Final = 32_768  # 256 KB of one word of each: what a core keeps at hand
WEIGHED_AT_ONCE: Final = 2_048
NOT_COMPARED: Final = 0  # the detail written of a picture that has none, or that cannot be read

_RECORD: Final = np.dtype([("sha256", "V32"), ("bits", "<u8", (WORDS,)), ("detail", "u1")])
_WHOLE: Final = (0, 1)  # the numbers of the variants "as it is" and "mirrored"


def _first_round() -> list[int]:
    """The numbers of the variants whose first 64 bits are looked at."""
    centre, first, last, none = (4, 4), (9, 0), (0, 9), (0, 0)
    less = [*product((none, first, last), repeat=2), (centre, centre)]
    more = [((-4, -4), (-4, -4)), ((-9, 0), none), ((0, -9), none), (none, (-9, 0)), (none, (0, -9))]
    wanted = {strips for strips in (*less, *more)}
    return [number for number, variant in enumerate(VARIANTS) if variant[:2] in wanted]


_FIRST_ROUND: Final = _first_round()


class Near(NamedTuple):
    """A known picture that is, or may be, the one in question."""

    sha256: str
    distance: int  # bits of 256
    variant: Variant  # what the one in question went through

    @property
    def is_same(self) -> bool:
        """Whether it is the same picture, as far as a hash can tell; else it looks alike."""
        return self.distance <= SAME


@dataclass(frozen=True, slots=True)
class NewPrint:
    """A picture to be known; `known` None where it cannot be read."""

    sha256: str
    known: Print | None


class KnownPictures:
    """The pictures in one file; made where it is missing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._words: Hash = np.empty(
            (WORDS, 0), dtype=np.uint64
        )  # one row for each word, so that each is read in one go
        self._detail: NDArray[np.uint8] = np.empty(0, dtype=np.uint8)
        self._count = 0
        self._reading = threading.Lock()

    def __len__(self) -> int:
        """How many pictures were in the file when it was last read."""
        return self._count

    @property
    def memory(self) -> int:
        """Bytes held."""
        return self._words.nbytes + self._detail.nbytes

    def refresh(self) -> None:
        """Read what was added since the last time, by whomever."""
        with self._reading:
            self._read_on()

    def _read_on(self) -> None:
        size = self._path.stat().st_size // _RECORD.itemsize if self._path.exists() else 0
        if size < self._count:  # somebody deleted the file, and it was begun anew
            self._count = 0
        if size > self._count:
            new = np.fromfile(
                self._path, dtype=_RECORD, offset=self._count * _RECORD.itemsize, count=size - self._count
            )
            self._make_room(size)
            self._words[:, self._count : size] = new["bits"].T
            self._detail[self._count : size] = new["detail"]
            self._count = size

    def add(self, pictures: Sequence[NewPrint]) -> None:
        """Append pictures to the file, all of them or, where the process dies, some."""
        records = np.zeros(len(pictures), dtype=_RECORD)
        for record, picture in zip(records, pictures, strict=True):
            record["sha256"] = np.void(bytes.fromhex(picture.sha256))
            if picture.known is not None:
                record["bits"] = picture.known.bits
                record["detail"] = min(int(picture.known.detail), 255)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # let go of with the file, however the process ends
            whole = os.fstat(file.fileno()).st_size // _RECORD.itemsize * _RECORD.itemsize
            file.truncate(whole)  # of a record cut off by a kill
            file.write(records.tobytes())

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Return those of the SHA-256s that the file does not have, in their order."""
        there = set(self._digests())
        return [sha256 for sha256 in digests if bytes.fromhex(sha256) not in there]

    def nearest(self, square: NDArray[np.float32], limit: int = FOUND_MAX) -> list[Near]:
        """Return the known pictures that (80, 80) grey levels may show, the nearest first.

        A picture of which several records exist is returned once.
        """
        self.refresh()
        asked, own = variants(square), print_of(square)
        if int(own.detail) == NOT_COMPARED:
            return []
        found = []
        for rows in self._first_rounds(asked):
            apart = distances(asked[:, None], self._words.T[rows])
            best = apart.argmin(axis=0)
            least = apart[best, np.arange(len(rows))]
            is_plain = np.minimum(self._detail[rows], int(own.detail)) < DETAIL_MIN
            near = least <= np.where(is_plain, PLAIN_NEAR, NEAR)
            found += [*zip(least[near].tolist(), rows[near].tolist(), best[near].tolist(), strict=True)]
        nearest: dict[str, Near] = {}
        for distance, row, variant in sorted(found):
            sha256 = self._digest_of(row)
            nearest.setdefault(sha256, Near(sha256, distance, VARIANTS[variant]))
            if len(nearest) == limit:
                break
        return list(nearest.values())

    def _first_rounds(self, asked: Hash) -> Iterator[NDArray[np.intp]]:
        """Yield the numbers of the pictures worth weighing in all variants, some at a time."""
        bits = np.empty(ROWS_AT_ONCE, dtype=np.uint64)
        counts, least, apart = (np.empty(ROWS_AT_ONCE, dtype=np.uint8) for _ in range(3))
        for start in range(0, self._count, ROWS_AT_ONCE):
            end = min(start + ROWS_AT_ONCE, self._count)
            words = self._words[:, start:end]
            near, one = least[: end - start], apart[: end - start]
            near.fill(255)
            for variant in _FIRST_ROUND:
                self._count_apart(words[:1], asked[variant], one, counts, bits)
                np.minimum(near, one, out=near)
            is_near = near <= FIRST_NEAR
            for variant in _WHOLE:
                self._count_apart(words, asked[variant], one, counts, bits)
                is_near |= one <= NEAR
            is_near &= self._detail[start:end] != NOT_COMPARED
            rows = np.flatnonzero(is_near) + start
            for first in range(0, len(rows), WEIGHED_AT_ONCE):
                yield rows[first : first + WEIGHED_AT_ONCE]

    @staticmethod
    def _count_apart(
        words: Hash, asked: Hash, into: NDArray[np.uint8], counts: NDArray[np.uint8], bits: Hash
    ) -> None:
        """Count the bits in which some words of many pictures differ from one hash, without new memory."""
        size = words.shape[1]
        for number, word in enumerate(words):
            np.bitwise_xor(word, asked[number], out=bits[:size])
            if number == 0:
                np.bitwise_count(bits[:size], out=into)
            else:  # 255 of 256 bits carry something, so a byte holds the sum
                np.bitwise_count(bits[:size], out=counts[:size])
                np.add(into, counts[:size], out=into)

    def _make_room(self, size: int) -> None:
        """Hold at least `size` pictures; a little more than asked for, so that growing is seldom."""
        if size > self._words.shape[1]:
            room = size + size // 8 + 1_024
            words: Hash = np.empty((WORDS, room), dtype=np.uint64)
            detail: NDArray[np.uint8] = np.empty(room, dtype=np.uint8)
            words[:, : self._count], detail[: self._count] = (
                self._words[:, : self._count],
                self._detail[: self._count],
            )
            self._words, self._detail = words, detail

    def _digest_of(self, row: int) -> str:
        with self._path.open("rb") as file:
            return os.pread(file.fileno(), 32, row * _RECORD.itemsize).hex()

    def _digests(self) -> Iterator[bytes]:
        if not self._path.exists():
            return
        size = self._path.stat().st_size // _RECORD.itemsize
        records: NDArray[Any] = np.fromfile(self._path, dtype=_RECORD, count=size)
        for start in range(0, size, ROWS_AT_ONCE):
            yield from (bytes(digest) for digest in records["sha256"][start : start + ROWS_AT_ONCE])
