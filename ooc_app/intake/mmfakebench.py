"""Read MMFakeBench: a list of texts with pictures, true ones and five ways to lie.

    [{"image_path": "/fake/...", "text", "fake_cls", "gt_answers": "True" or "Fake", "text_source", ...}]

Polarity: `original` is in context, `mismatch` out of context. `textual_veracity_distortion` (the text
is false whatever the picture) and `visual_veracity_distortion` (the picture is made or edited) are
other questions than ours and left out. `gt_answers` must be True exactly for `original`.
Liu et al. 2024, arXiv 2406.08772.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from db.cases import NewCase
from db.vocabulary import Split, Verdict
from ooc_app.intake.entries import BadCaseError, Entry, LeftOutError, Made, Source, entries, split_of
from ooc_app.intake.fields import SHOWN, required, text
from ooc_app.intake.rows import json_rows

GOLD = {"original": Verdict.IN_CONTEXT, "mismatch": Verdict.OUT_OF_CONTEXT}
LEFT_OUT = {
    "textual_veracity_distortion": "textual_veracity_distortion: the text is false whatever the picture",
    "visual_veracity_distortion": "visual_veracity_distortion: the picture is made or edited",
}
MAPPING = {
    "id": "`image_path`, and a hash of `text`",
    "caption": "`text`",
    "image": "`image_path`, below the folder that holds `real` and `fake`",
    "gold": "`fake_cls`: original = in_context, mismatch = out_of_context; the other classes are left out",
    "split": "the one asked for, else the file's name",
    "group": "`image_path`",
    "source": "`text_source`, else the folder of `image_path`",
    "note": "`fake_cls`",
}


def read(source: Source) -> Iterator[Entry]:
    """Read the entries of a file."""
    split = split_of(source)
    return entries(json_rows(source.path), lambda row: [mmfakebench_case(row, split)])


def mmfakebench_case(row: dict[str, Any], split: Split) -> Made:
    """Make the case of one entry."""
    kind = required(row, "fake_cls")
    if kind not in (*GOLD, *LEFT_OUT):
        raise BadCaseError(f"`fake_cls` is {kind[:SHOWN]!r}, not one of {', '.join((*GOLD, *LEFT_OUT))}")
    answer = stated_answer(row)
    if answer is not None and answer != ("True" if kind == "original" else "Fake"):
        raise BadCaseError(f"`gt_answers` is {answer[:SHOWN]!r}, but `fake_cls` is {kind}")
    if kind in LEFT_OUT:
        raise LeftOutError(LEFT_OUT[kind])
    caption, image = required(row, "text"), required(row, "image_path").lstrip("/")
    case = NewCase(
        external_id=f"{image}#{hashlib.sha256(caption.encode()).hexdigest()[:8]}",
        caption=caption,
        gold=GOLD[kind],
        split=split,
        group=image,
        source=text(row, "text_source") or PurePosixPath(image).parent.name or None,
        note=kind,
    )
    return Made(case, image)


def stated_answer(row: dict[str, Any]) -> str | None:
    """Read `gt_answers`, a text or a list of one."""
    value = row.get("gt_answers")
    if isinstance(value, list) and len(value) == 1:
        return text({"gt_answers": value[0]}, "gt_answers")
    return text(row, "gt_answers")


def images_dir(source: Source) -> Path:
    """Return the folder that `real` and `fake` lie in: the file's, or above it where that is `source`."""
    folder = source.path.parent
    return folder.parent if folder.name == "source" else folder
