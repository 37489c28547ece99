"""What a data folder holds besides its database and its original pictures: runs, settings and the like.

A run that is going is kept so that it can be resumed. Its process writes each thing beside its place
and renames it, in a fixed order: checkpoints, the adapter of a stage (and the stage's checkpoints
go), calibration, report, the state that says complete. So it is copied in the opposite order: what a
copied thing rests on was there when that thing was copied, and is there still. A checkpoint is
copied only if its last file could be read before the first was copied, and dropped if it went
meanwhile: the run then begins that stage again.
"""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from db.vocabulary import Stage
from ooc_app.demo import Say
from ooc_app.keeping.manifest import MANIFEST, Stamp
from ooc_app.keeping.whole import PARTIAL, place

ELSEWHERE = ("images", "backups", "exports")  # original pictures have a module of their own
DATABASE_FILES = ("desk.db", "desk.db-wal", "desk.db-shm", "desk.db-journal")
RUN_END = (  # the last written first
    "state.json", "report.json", "report.md", "evaluation.json", "calibration.json",
)  # fmt: skip
RUN_REMADE = ("features",)  # what a run that goes on computes anew
RUN_STAGES = tuple(stage.value for stage in reversed(Stage))  # likewise


@dataclass(slots=True)
class CopiedFiles:
    """What was copied: stamps by path in the backup, and how many pictures of runs."""

    stamps: dict[str, Stamp] = field(default_factory=dict)
    run_pictures: int = 0


def copy_files(data_dir: Path, folder: Path, say: Say) -> CopiedFiles:
    """Copy everything of the data folder but database, pictures and backups."""
    copying = _Copying(data_dir, folder, folder.stat().st_dev)
    for path in sorted(data_dir.iterdir()):
        if path.name in (*ELSEWHERE, *DATABASE_FILES, MANIFEST, "runs") or _is_passing(path.name):
            continue
        copying.tree(path)
    runs = [
        path for path in sorted(_listed(data_dir / "runs")) if not _is_passing(path.name) and path.is_dir()
    ]
    (folder / "runs").mkdir(exist_ok=True)
    for done, path in enumerate(runs):
        say("copy runs", {"done": done, "of": len(runs)})
        copying.run(path)
    if runs:
        say("copy runs", {"done": len(runs), "of": len(runs)})
    return copying.copied


def _is_passing(name: str) -> bool:
    """Whether a file or folder is on its way to its place, or a lock."""
    return name.startswith(".") or name.endswith(PARTIAL) or name == "lock"


def _listed(folder: Path) -> list[Path]:
    """List a folder that may go at any moment."""
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


@dataclass(slots=True)
class _Copying:
    """Copies from a data folder into a backup and keeps what it copied."""

    data_dir: Path
    folder: Path
    device: int  # of `folder`
    copied: CopiedFiles = field(default_factory=CopiedFiles)
    shared: dict[tuple[int, int], Path] = field(default_factory=dict)
    """Where the bytes lie that several runs share, by device and number of the file."""

    def run(self, run_dir: Path) -> None:
        """Copy one run's folder, whatever its process is doing."""
        for name in RUN_END:
            self.tree(run_dir / name)
        for stage in RUN_STAGES:
            for checkpoint in _listed(run_dir / "checkpoints" / stage):
                self._checkpoint(checkpoint)
        for stage in RUN_STAGES:
            self.tree(run_dir / stage, link=True)
        for path in _listed(run_dir):
            if path.name not in (*RUN_END, *RUN_STAGES, *RUN_REMADE, "checkpoints") and not _is_passing(
                path.name
            ):
                self.tree(path, link=path.name == "images")

    def tree(self, path: Path, *, link: bool = False) -> bool:
        """Copy a file or a folder with all in it; False where some of it was gone when its turn came.

        With `link` the bytes may be shared with the original's: its files are never written in place.
        """
        if path.is_dir():
            self._target(path).mkdir(parents=True, exist_ok=True)
            whole = True
            for child in _listed(path):
                if not _is_passing(child.name):
                    whole = self.tree(child, link=link) and whole
            return whole
        return self._file(path, link=link)

    def _file(self, path: Path, *, link: bool) -> bool:
        if not path.is_file():  # gone, or nothing that could be copied
            return False
        target = self._target(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._place(path, target, link=link)
        except FileNotFoundError:
            return False
        name = target.relative_to(self.folder)
        if len(name.parts) > 3 and (name.parts[0], name.parts[2]) == ("runs", "images"):
            self.copied.run_pictures += 1
        else:
            self.copied.stamps[name.as_posix()] = Stamp.of(target)
        return True

    def _place(self, path: Path, target: Path, *, link: bool) -> None:
        """Copy a file, to another disk once only where several runs share its bytes."""
        found = path.stat()
        if not link or found.st_nlink == 1 or found.st_dev == self.device:
            place(path, target, link=link)
            return
        first = self.shared.setdefault((found.st_dev, found.st_ino), target)
        place(path if first == target else first, target)

    def _checkpoint(self, checkpoint: Path) -> None:
        """Copy a checkpoint that was written to its end and is still there when it is copied."""
        try:
            json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if self.tree(checkpoint, link=True) and (checkpoint / "trainer_state.json").exists():
            return
        target = self._target(checkpoint)
        shutil.rmtree(target, ignore_errors=True)
        prefix = f"{target.relative_to(self.folder).as_posix()}/"
        for name in [name for name in self.copied.stamps if name.startswith(prefix)]:
            del self.copied.stamps[name]

    def _target(self, path: Path) -> Path:
        return self.folder / path.relative_to(self.data_dir)


def wrong_files(folder: Path, stamps: dict[str, Stamp], say: Say) -> list[str]:
    """Read every stamped file of a backup and say what is wrong with it."""
    wrong = []
    for done, (name, stamp) in enumerate(stamps.items()):
        say("verify files", {"done": done, "of": len(stamps)})
        path = folder / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif Stamp.of(path) != stamp:
            wrong.append(f"{name} is damaged")
    return wrong


def run_pictures(folder: Path) -> Iterator[Path]:
    """Yield the copies of pictures in a folder's runs, as paths within it."""
    for run_dir in sorted(_listed(folder / "runs")):
        for base, _, names in os.walk(run_dir / "images"):
            yield from (Path(base, name).relative_to(folder) for name in names)
