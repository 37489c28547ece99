"""A serving that never answers: it fails as one without a student does, or as none should."""

from pathlib import Path

from ooc_app.serving import CheckAnswer, ServingError
from tests.ooc_app.checks.fixed import FixedServing


class BrokenServing(FixedServing):
    """Fails at every check; which way says the caption."""

    def check(
        self, image_path: Path, caption: str, date: str | None = None, place: str | None = None
    ) -> CheckAnswer:
        if caption == "no student":
            raise ServingError("No student in /srv/secret/run.")
        raise OSError("/srv/secret/file is not there")
