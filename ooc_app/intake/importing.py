"""Bring the cases of a data set onto the desk: what every importer has in common.

A reader (`native.py` and its like) yields, line by line, a Found case, a BadLine or a LeftOut one.
Here the pictures go through the image door, and the cases into the database, 500 to a transaction:
kill it anywhere and every case is there whole or not at all, and importing again adds what is
missing. A picture that is not there is counted and its case kept; a picture the door refuses, or a
path that leads out of the folder, makes its line a bad one.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from db.cases import Added, NewCase, add_cases
from db.engine import write_session
from ooc_app.desk import Desk
from ooc_app.intake.entries import BadLine, Entry, Found, LeftOut
from ooc_app.intake.pictures import BadImageError, MissingImageError, picture_path, taken

BATCH = 1_000  # cases per transaction; whoever rules meanwhile waits for one
PICTURES_MAX = 64_000_000  # bytes of pictures held at once, where the file itself has them
BAD_LINES_KEPT = 1_000  # the rest are only counted, so that a wrong file cannot fill the memory

Progress = Callable[[int, float], None]  # lines read so far, and the share of the file they are


@dataclass(slots=True)
class ImportReport:
    """What an import did, or would do; it grows while it does."""

    dataset: str
    cases: int = 0  # new ones
    opinions: int = 0  # new ones and new versions of old ones
    completed: int = 0  # were there, and got a fact they lacked
    unchanged: int = 0  # were there as they are
    differing: int = 0  # are there with another caption, picture or fact; left as they were
    read: int = 0  # good cases in the file, whether new or not
    without_image: int = 0  # of all cases read
    by_gold: Counter[str] = field(default_factory=Counter)  # of all cases read; `none` without gold verdict
    by_split: Counter[str] = field(default_factory=Counter)
    by_dataset: Counter[str] = field(default_factory=Counter)  # a file may name several
    left_out: Counter[str] = field(default_factory=Counter)  # lines left out on purpose, by reason
    bad: list[BadLine] = field(default_factory=list)  # the first `BAD_LINES_KEPT`
    bad_count: int = 0

    def count(self, dataset: str, case: NewCase, *, without_image: bool) -> None:
        """Count a good case."""
        self.read += 1
        self.by_dataset[dataset] += 1
        self.without_image += without_image
        self.by_gold[case.gold or "none"] += 1
        self.by_split[case.split] += 1

    def refuse(self, line: BadLine) -> None:
        """Count a bad line, and keep it if it is one of the first."""
        self.bad_count += 1
        if len(self.bad) < BAD_LINES_KEPT:
            self.bad.append(line)

    def figures(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        figures = {name: getattr(self, name) for name in self.__slots__}
        counts = {name: dict(value) for name, value in figures.items() if isinstance(value, Counter)}
        return {**figures, **counts, "bad": [{"line": bad.line, "reason": bad.reason} for bad in self.bad]}

    def add(self, added: Added) -> None:
        """Count what one transaction did."""
        self.cases += added.cases
        self.opinions += added.opinions
        self.completed += added.completed
        self.unchanged += added.unchanged
        self.differing += added.differing


def import_cases(
    desk: Desk, dataset: str, entries: Iterable[Entry], images_dir: Path, progress: Progress | None = None
) -> ImportReport:
    """Add every good case, under the name `dataset` where the file names none."""
    report = ImportReport(dataset)
    for batch in watched(entries, progress):
        add_batch(desk, report, batch, images_dir)
    report.bad.sort(key=lambda bad: bad.line)
    return report


def rehearse(
    dataset: str, entries: Iterable[Entry], images_dir: Path, progress: Progress | None = None
) -> ImportReport:
    """Read all, and report it as if the desk were empty, without writing anything.

    Pictures are looked for, not opened.
    """
    report = ImportReport(dataset)
    for batch in watched(entries, progress):
        for entry in good_entries(report, batch):
            rehearse_case(report, entry, images_dir)
    report.bad.sort(key=lambda bad: bad.line)
    return report


def rehearse_case(report: ImportReport, entry: Found, images_dir: Path) -> None:
    """Count what adding one case would do."""
    without_image = entry.image is None
    if isinstance(entry.image, str):
        try:
            picture_path(entry.image, images_dir)
        except MissingImageError:
            without_image = True
        except BadImageError as error:
            report.refuse(BadLine(entry.line, str(error)))
            return
    report.count(entry.dataset or report.dataset, entry.case, without_image=without_image)
    report.add(Added(cases=1, opinions=len(entry.case.opinions)))


def watched(entries: Iterable[Entry], progress: Progress | None) -> Iterator[list[Entry]]:
    """Cut into batches, and tell how far it is when each is done."""
    lines = 0
    for batch in batches(entries):
        yield batch
        lines += len(batch)
        if progress is not None:
            progress(lines, batch[-1].share_read)


def batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Cut into batches of `BATCH`, or fewer where they have many bytes of pictures."""
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        batch.append(entry)
        if entry.__class__ is Found and isinstance(entry.image, bytes):
            size += len(entry.image)
        if len(batch) == BATCH or size > PICTURES_MAX:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def good_entries(report: ImportReport, batch: list[Entry]) -> list[Found]:
    """Return the cases of a batch, and count the rest."""
    good: list[Found] = []
    for entry in batch:
        if isinstance(entry, Found):
            good.append(entry)
        elif isinstance(entry, LeftOut):
            report.left_out[entry.reason] += 1
        else:
            report.refuse(entry)
    return good


def add_batch(desk: Desk, report: ImportReport, batch: list[Entry], images_dir: Path) -> None:
    """Add one batch in one transaction, and report it."""
    good = good_entries(report, batch)
    images = taken(desk, dict.fromkeys(entry.image for entry in good if entry.image), images_dir)
    cases: dict[str, list[NewCase]] = {}
    for entry in good:
        case = entry.case
        if entry.image:
            image = images[entry.image]
            if isinstance(image, BadImageError):
                report.refuse(BadLine(entry.line, str(image)))
                continue
            case.image = image
        cases.setdefault(entry.dataset or report.dataset, []).append(case)
    with write_session(desk.sessions) as session:
        added = [add_cases(session, dataset, some) for dataset, some in cases.items()]
    for one in added:
        report.add(one)
    for dataset, some in cases.items():
        for case in some:
            report.count(dataset, case, without_image=case.image is None)
