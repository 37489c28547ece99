"""Write the targets of stage 1 as conversations, in the shape TRL's SFTTrainer takes.

    {"id", "group", "verdict", "origin", "images": ["path"], "prompt": [turn], "completion": [turn]}

They are those a run of this desk would get (`lessons.py`), worded by the same prompts. A path is that
of the shown copy, whole: `dataset.cast_column("images", List(Image()))` turns it into a picture.
"""

from collections.abc import Iterable
from pathlib import Path

from db.views import WholeCase
from ooc_app.export.json_files import write_lines
from ooc_app.export.manner import Manner
from ooc_app.lessons import lessons
from training.conversations import answer_turn, question_turn


def write_sft(cases: Iterable[WholeCase], path: Path, manner: Manner) -> int:
    """Write one target a line; a case whose picture is not there is left out."""
    return write_lines(
        path,
        (
            {
                "id": target.case.id,
                "group": target.case.group,
                "verdict": target.verdict,
                "origin": target.origin,
                "images": [str(manner.pictures.shown_dir / name)],
                "prompt": question_turn(target.case),
                "completion": answer_turn(target.verdict, target.rationale),
            }
            for lesson in lessons(cases)
            if (target := lesson.target) and (name := manner.pictures.shown(lesson.case.view.image_sha256))
        ),
    )
