"""What is said of a picture besides the student's answer: what it carries, and where it was seen.

The desk's pictures are hashed when somebody first asks, a moment's worth at once and the rest behind the
page. A visitor of a demo page learns nothing of the desk's pictures.
"""

import threading
from pathlib import Path
from typing import Final

from ooc_app.auth import Person
from ooc_app.desk import Desk
from ooc_app.intake.images import StoredImage
from ooc_app.provenance.report import Claims, Provenance, inspect
from ooc_app.provenance.seen import catch_up, known_pictures

SECONDS_TO_HASH: Final = 2.0  # of the desk's new pictures, while somebody waits


class Background:
    """Inspects pictures for one desk, whose known pictures it holds."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.known = known_pictures(desk)
        self.hashing = threading.Lock()

    def inspect(self, person: Person | None, claims: Claims, image: StoredImage, folder: Path) -> Provenance:
        """Inspect a picture that the image door has put into a folder."""
        found = inspect(
            image,
            folder,
            self.desk,
            claims,
            known=self.known if person is not None else None,
            seconds_max=SECONDS_TO_HASH if not self.hashing.locked() else 0.0,
        )
        if found.not_compared:
            threading.Thread(target=self._hash_the_rest, daemon=True).start()
        return found

    def _hash_the_rest(self) -> None:
        if not self.hashing.acquire(blocking=False):
            return
        try:
            catch_up(self.desk, self.known)
        finally:
            self.hashing.release()
