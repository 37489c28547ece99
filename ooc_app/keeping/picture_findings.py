"""What `doctor` looks at in the pictures: those that cases name, and those that nothing names.

A picture that nothing names is left by an import that was killed, and may be named by one that is
going on: pictures are stored before their cases. So only those are removed whose file nobody wrote or
asked for in the last hour, and with the write lock held, so that no case comes to name one meanwhile.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from db.engine import write_session
from db.models import Image
from ooc_app.intake.images import stored_path
from ooc_app.keeping.findings import Finding, Visit, first_of, remove, several
from ooc_app.keeping.manifest import MANIFEST
from ooc_app.keeping.whole import PARTIAL, place, reads_as

REMOVED_AT_ONCE = 500  # pictures removed under one write lock


@dataclass(slots=True)
class _Survey:
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    nameless: list[str] = field(default_factory=list)
    passing: list[Path] = field(default_factory=list)  # files on their way to their place, cut off


def look_at_pictures(visit: Visit, sessions: sessionmaker[Session]) -> list[Finding]:
    """Compare the pictures on disk with those the database names."""
    survey = _Survey()
    with sessions() as session:
        for number in range(256):
            visit.say("examine pictures", {"done": number, "of": 256})
            _compare(visit, session, f"{number:02x}", survey)
    visit.say("examine pictures", {"done": 256, "of": 256})
    for name in ("shown", "thumbs"):
        made = (visit.data_dir / "images" / name).glob("*/.*")
        survey.passing += [path for path in made if visit.is_settled(path)]
    return [*_not_whole(visit, survey), *_nameless(visit, sessions, survey), *_passing(survey)]


def _compare(visit: Visit, session: Session, prefix: str, survey: _Survey) -> None:
    """Compare one folder; the database is read first, so a picture admitted meanwhile is only new."""
    here = sa.and_(Image.sha256 >= prefix, Image.sha256 < f"{prefix}g")
    named = {
        row.sha256: row.byte_size
        for row in session.execute(sa.select(Image.sha256, Image.byte_size).where(here))
    }
    on_disk: dict[str, int] = {}
    for entry in _entries(visit.data_dir / "images" / prefix):
        sha256 = f"{prefix}{entry.name}"
        if entry.name.startswith("."):
            survey.passing += [Path(entry.path)] if visit.is_settled(Path(entry.path)) else []
        elif len(sha256) == 64 and sha256 not in named:
            survey.nameless += [sha256] if visit.is_settled(Path(entry.path)) else []
        else:
            on_disk[sha256] = entry.stat().st_size
    for sha256, size in named.items():
        if sha256 not in on_disk:
            survey.missing.append(sha256)
        elif on_disk[sha256] != size or (visit.read_all and not reads_as(_path(visit, sha256), sha256)):
            survey.damaged.append(sha256)


def _entries(folder: Path) -> Iterator["os.DirEntry[str]"]:
    if folder.is_dir():
        with os.scandir(folder) as entries:
            yield from entries


def _path(visit: Visit, sha256: str) -> Path:
    return stored_path(sha256, visit.data_dir / "images")


def _not_whole(visit: Visit, survey: _Survey) -> Iterator[Finding]:
    for word, found in (("missing", survey.missing), ("damaged", survey.damaged)):
        kept = {sha256: path for sha256 in found if (path := _kept(visit, sha256))}
        lost = [sha256 for sha256 in found if sha256 not in kept]
        if kept:
            yield Finding(
                f"pictures_{word}",
                f"{_named(list(kept))} {word} and whole in a backup.",
                "Repair: they are put back from there.",
                repair=partial(_put_back, visit, kept),
            )
        if lost:
            yield Finding(
                f"pictures_{word}",
                f"{_named(lost)} {word}, here and in the backups in the data folder.",
                "Import the data set they came with again: that puts pictures back and changes nothing else.",
            )


def _named(found: list[str]) -> str:
    names, are = first_of([sha256[:12] for sha256 in found]), "is" if len(found) == 1 else "are"
    return f"{several(len(found), 'picture', 'pictures')} that cases name ({names}) {are}"


def _kept(visit: Visit, sha256: str) -> Path | None:
    """Find the picture, whole, in the newest backup in the data folder that has it."""
    for manifest in sorted((visit.data_dir / "backups").glob(f"[!.]*/{MANIFEST}"), reverse=True):
        path = stored_path(sha256, manifest.parent / "images")
        if reads_as(path, sha256):
            return path
    return None


def _put_back(visit: Visit, kept: dict[str, Path]) -> str:
    for sha256, source in kept.items():
        target = _path(visit, sha256)
        written = target.with_name(f".{target.name}{PARTIAL}")
        target.parent.mkdir(parents=True, exist_ok=True)
        written.unlink(missing_ok=True)
        place(source, written)
        os.replace(written, target)
    return f"Put {several(len(kept), 'picture', 'pictures')} back from a backup."


def _nameless(visit: Visit, sessions: sessionmaker[Session], survey: _Survey) -> Iterator[Finding]:
    found = survey.nameless
    if found:
        yield Finding(
            "pictures_nameless",
            f"{several(len(found), 'picture', 'pictures')} of no case, left by an import that was cut off "
            f"({first_of([sha256[:12] for sha256 in found])}).",
            "Nothing: they only take room, and repair removes them.",
            wrong=False,
            repair=lambda: _remove_nameless(visit, sessions, found),
        )


def _remove_nameless(visit: Visit, sessions: sessionmaker[Session], found: list[str]) -> str:
    removed = 0
    for start in range(0, len(found), REMOVED_AT_ONCE):
        part = found[start : start + REMOVED_AT_ONCE]
        with write_session(sessions) as session:
            named = set(session.scalars(sa.select(Image.sha256).where(Image.sha256.in_(part))))
            for sha256 in part:
                path = _path(visit, sha256)
                if sha256 not in named and visit.is_settled(path):
                    path.unlink()
                    for name in ("shown", "thumbs"):
                        _copy(visit, sha256, name).unlink(missing_ok=True)
                    removed += 1
    return f"Removed {several(removed, 'picture', 'pictures')} of no case."


def _copy(visit: Visit, sha256: str, name: str) -> Path:
    return visit.data_dir / "images" / name / sha256[:2] / f"{sha256[2:]}.jpg"


def _passing(survey: _Survey) -> Iterator[Finding]:
    if survey.passing:
        yield Finding(
            "files_cut_off",
            f"{several(len(survey.passing), 'picture was', 'pictures were')} being written when the process "
            "ended.",
            "Nothing: they only take room, and repair removes them.",
            wrong=False,
            repair=lambda: remove(survey.passing),
        )
