"""Original pictures from one data folder into another, each known by the SHA-256 of its bytes.

A picture is stored before the case that names it is committed, and never changed or removed while a
case names it. So of a database copied first, every picture is still there afterwards: the pictures
are placed by what the copied database names, never by what lies in the folder.
"""

from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from db.models import Image
from ooc_app.demo import Say
from ooc_app.intake.images import stored_path
from ooc_app.keeping.manifest import BackupError, Pictures
from ooc_app.keeping.whole import place, reads_as, size_of

AT_ONCE = 1_000  # pictures between two looks at the progress bar


def named_pictures(connection: sa.Connection) -> Iterator[tuple[str, int]]:
    """Yield the SHA-256 and the size in bytes of every picture the database names."""
    query = sa.select(Image.sha256, Image.byte_size).order_by(Image.sha256)
    for row in connection.execution_options(stream_results=True, yield_per=AT_ONCE).execute(query):
        yield row.sha256, row.byte_size


def place_pictures(
    connection: sa.Connection, source_dir: Path, target_dir: Path, say: Say, *, read_all: bool
) -> Pictures:
    """Put every picture the database names into `target_dir` and say which are not whole in `source_dir`.

    Those are left out. A picture that had to be copied is read back; with `read_all` every one is,
    otherwise its size is looked at. Raises BackupError where a copy differs from a whole original.
    """
    total = connection.scalar(sa.select(sa.func.count()).select_from(Image)) or 0
    missing: list[str] = []
    damaged: list[str] = []
    count = size = 0
    target_dir.mkdir(exist_ok=True)
    for done, (sha256, byte_size) in enumerate(named_pictures(connection)):
        if done % AT_ONCE == 0:
            say("copy pictures", {"done": done, "of": total})
        source, target = stored_path(sha256, source_dir), stored_path(sha256, target_dir)
        found = size_of(source)
        if found is None:
            missing.append(sha256)
        elif found != byte_size or not _placed(source, target, sha256, read_all=read_all):
            damaged.append(sha256)
        else:
            count, size = count + 1, size + byte_size
    say("copy pictures", {"done": total, "of": total})
    return Pictures(count, size, tuple(missing), tuple(damaged))


def _placed(source: Path, target: Path, sha256: str, *, read_all: bool) -> bool:
    """Put one picture into place; False, with nothing left there, where the original itself is damaged."""
    target.parent.mkdir(exist_ok=True)
    try:
        linked = place(source, target)
    except OSError:
        if reads_as(source, sha256):
            raise
        linked = False
    if (linked and not read_all) or reads_as(target, sha256):
        return True
    target.unlink(missing_ok=True)
    if reads_as(source, sha256):
        raise BackupError(f"{target} cannot be written whole: see whether the disk it is on is sound.")
    return False


def wrong_pictures(connection: sa.Connection, images_dir: Path, pictures: Pictures, say: Say) -> list[str]:
    """Read every picture of a backup and say what is wrong with those that ought to be whole."""
    wrong: list[str] = []
    known = {*pictures.missing, *pictures.damaged}
    total = pictures.count + len(known)
    for done, (sha256, _) in enumerate(named_pictures(connection)):
        if done % AT_ONCE == 0:
            say("verify pictures", {"done": done, "of": total})
        path = stored_path(sha256, images_dir)
        if sha256 in known:
            continue
        if not path.exists():
            wrong.append(f"the picture {sha256} is missing")
        elif not reads_as(path, sha256):
            wrong.append(f"the picture {sha256} is damaged")
    say("verify pictures", {"done": total, "of": total})
    return wrong
