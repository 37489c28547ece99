"""Read 5Pils-OOC: a list of photographs, each once with its true caption and once with the false one.

    [{"image_id", "id", "caption", "true_caption", "evidence_captions": [...], "image_path", ...}]

Polarity: in context exactly when `caption` equals `true_caption`.

What would give the answer away is not taken: `true_caption` itself, evidence that repeats it word for
word, `date`, `location`, `source` and `motivation` (they are the picture's true context), and
`claimed_date` and `claimed_location`, which only the false caption has. A benchmark: all are test
cases unless asked otherwise. Tonglet et al. 2025, arXiv 2502.01194.
"""

from collections.abc import Iterator
from typing import Any

from db.cases import NewCase, NewEvidence
from db.vocabulary import EvidenceKind, Split, Verdict
from ooc_app.intake.entries import BadCaseError, Entry, Made, Source, entries
from ooc_app.intake.fields import required, text
from ooc_app.intake.rows import json_rows

MAPPING = {
    "id": "`id`",
    "caption": "`caption`",
    "image": "`image_path`",
    "gold": "in_context exactly when `caption` equals `true_caption`, which is not kept",
    "split": "the one asked for, else test",
    "group": "`image_id`",
    "source": "`org`, who checked it",
    "evidence": "`evidence_captions`, found with the image",
    "note": "the address of the fact check, `URL`",
}


def read(source: Source) -> Iterator[Entry]:
    """Read the entries of a file."""
    split = source.split or Split.TEST
    return entries(json_rows(source.path), lambda row: [fivepils_case(row, split)])


def fivepils_case(row: dict[str, Any], split: Split) -> Made:
    """Make the case of one entry."""
    caption, true_caption = required(row, "caption"), required(row, "true_caption")
    url = text(row, "URL")
    case = NewCase(
        external_id=required(row, "id"),
        caption=caption,
        gold=Verdict.IN_CONTEXT if caption == true_caption else Verdict.OUT_OF_CONTEXT,
        split=split,
        group=required(row, "image_id"),
        source=text(row, "org"),
        note=f"Fact check: {url}" if url else None,
        evidence=tuple(dict.fromkeys(evidence(row, true_caption))),
    )
    return Made(case, text(row, "image_path"))


def evidence(row: dict[str, Any], true_caption: str) -> Iterator[NewEvidence]:
    """Read the captions found with the image, without the true one."""
    found = row.get("evidence_captions")
    if found is not None and not isinstance(found, list):
        raise BadCaseError("`evidence_captions` is not a list")
    for value in found or []:
        said = text({"evidence_captions": value}, "evidence_captions")
        if said and plain(said) != plain(true_caption):
            yield NewEvidence(EvidenceKind.IMAGE, text=said)


def plain(caption: str) -> str:
    """Return the letters and digits of a caption, in small letters."""
    return "".join(character for character in caption.casefold() if character.isalnum())
