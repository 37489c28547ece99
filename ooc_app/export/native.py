"""Write the desk's own format, JSON lines, which `intake/native.py` reads.

Its keys are those of the native format, and three more that an import leaves alone: `dataset`,
`settled` (the human verdict) and `rulings`. Rulings are not imported, because a ruling is what a
person of this desk answered; they are there for who reads the file otherwise.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from db.views import CaseView, OpinionView, WholeCase
from ooc_app.export.json_files import write_lines
from ooc_app.export.manner import Manner


def write_native(cases: Iterable[WholeCase], path: Path, manner: Manner) -> int:
    """Write one case a line; image paths start from the folder of the manner's originals."""
    return write_lines(path, (native_case(case, manner) for case in cases))


def native_case(case: WholeCase, manner: Manner) -> dict[str, Any]:
    """Write a case as a line of the native format has it."""
    view = case.view
    return {
        "id": view.external_id,
        "image": manner.pictures.original(view.image_sha256),
        **facts(view),
        "settled": case.settled,
        "evidence": evidence(view),
        "opinions": [opinion(said) for said in view.opinions],
        "rulings": [manner.ruling(ruling) for ruling in case.rulings],
    }


def facts(view: CaseView) -> dict[str, Any]:
    """Write what a case is known by, but for its id and picture."""
    return {
        "caption": view.caption,
        "gold": view.gold,
        "split": view.split,
        "group": view.group,
        "source": view.source,
        "url": view.url,
        "date": view.date,
        "place": view.place,
        "note": view.note,
        "dataset": view.dataset,
    }


def evidence(view: CaseView) -> list[dict[str, str | None]]:
    """Write the evidence of a case."""
    return [
        {"kind": found.kind, "title": found.title, "url": found.url, "date": found.date, "text": found.text}
        for found in view.evidence
    ]


def opinion(said: OpinionView) -> dict[str, Any]:
    """Write an opinion; `elements` only where the teacher was asked for them."""
    written: dict[str, Any] = {
        "teacher": said.teacher,
        "verdict": said.verdict,
        "rationale": said.rationale,
        "confidence": said.confidence,
    }
    if said.elements is not None:
        written["elements"] = said.elements
    return written
