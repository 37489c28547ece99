"""Write the preferences of stage 2 as conversations, in the shape TRL's DPOTrainer takes.

    {"id", "group", "verdict", "images": ["path"], "prompt": [turn], "chosen": [turn], "rejected": [turn]}

They are those a run of this desk would get (`lessons.py`), worded by the same prompts; paths are as
in `sft.py`.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from db.views import WholeCase
from db.vocabulary import Verdict
from ooc_app.export.json_files import write_lines
from ooc_app.export.manner import Manner
from ooc_app.lessons import lessons, pairs
from training.conversations import answer_turn, question_turn


def write_preferences(cases: Iterable[WholeCase], path: Path, manner: Manner) -> int:
    """Write one preference a line; a case whose picture is not there is left out."""
    return write_lines(path, _preferences(cases, manner))


def _preferences(cases: Iterable[WholeCase], manner: Manner) -> Iterator[dict[str, Any]]:
    for lesson in lessons(cases):
        made = pairs(lesson)
        if not made or not (name := manner.pictures.shown(lesson.case.view.image_sha256)):
            continue
        for pair in made:
            wrong = next(verdict for verdict in Verdict if verdict != pair.verdict)
            yield {
                "id": pair.case.id,
                "group": pair.case.group,
                "verdict": pair.verdict,
                "images": [str(manner.pictures.shown_dir / name)],
                "prompt": question_turn(pair.case),
                "chosen": answer_turn(pair.verdict, pair.chosen),
                "rejected": answer_turn(wrong, pair.rejected),
            }
