"""Tell an untouched student: one that has never been distilled, so that its answers say little.

A new desk serves one until a run is promoted. It can look sure of itself all the same, because nothing has
measured how often it is right.
"""

from pathlib import Path
from typing import Final

from ooc_app.desk import Desk
from ooc_app.serving import CheckAnswer
from training.config import located

UNTOUCHED: Final = (
    "This student is untouched: as far as the desk knows it was never distilled, so its answer is a guess. "
    "For a better one start a run under Distil, then promote it."
)
NO_RATIONALE: Final = "It wrote no rationale."


def is_untouched(desk: Desk, answer: CheckAnswer) -> bool:
    """Whether the student that gave an answer is of no run, and no calibration of one came with it.

    A merged student of a run is a folder of its own, with the run's calibration in it.
    """
    if answer.snapshot is not None:
        return False
    return not (Path(located(desk.student_source())) / "calibration.json").is_file()
