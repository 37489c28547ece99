"""Read VERITE: CSV with `caption`, `image_path` and `label`.

Polarity: `true` is in context, `out-of-context` out of context. `miscaptioned` is neither: the
picture is the event's own, under a caption that is false. Those are left out, or with
`miscaptioned=out_of_context` taken as that, with a note that says so. A benchmark: all are test
cases unless asked otherwise.

`true_7.jpg` and `false_7.jpg` belong to one article, so 7 is the group; articles with a caption in
common are one group. Papadopoulos et al. 2023, arXiv 2304.14133.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from db.cases import NewCase
from db.vocabulary import Split, Verdict
from ooc_app.intake.entries import BadCaseError, Entry, LeftOutError, Made, Source, entries
from ooc_app.intake.fields import required
from ooc_app.intake.rows import csv_rows

COLUMNS = ("caption", "image_path", "label")
GOLD = {"true": Verdict.IN_CONTEXT, "out-of-context": Verdict.OUT_OF_CONTEXT}
MISCAPTIONED = "miscaptioned"
MAPPING = {
    "id": "the name of `image_path` and `label`",
    "caption": "`caption`",
    "image": "`image_path`",
    "gold": "`label`: true = in_context, out-of-context = out_of_context; miscaptioned as asked, or left out",
    "split": "the one asked for, else test",
    "group": "the number in `image_path`; articles with a caption in common are one",
    "note": "`miscaptioned` where that is taken as out_of_context",
}


def read(source: Source) -> Iterator[Entry]:
    """Read the rows of a file, twice: for the groups, and for the cases."""
    groups = article_groups(source)
    split = source.split or Split.TEST
    miscaptioned = source.options.get(MISCAPTIONED) == Verdict.OUT_OF_CONTEXT
    rows = csv_rows(source.path, COLUMNS)
    return entries(rows, lambda row: [verite_case(row, groups, split, miscaptioned=miscaptioned)])


def verite_case(row: dict[str, Any], groups: Mapping[str, str], split: Split, *, miscaptioned: bool) -> Made:
    """Make the case of one row."""
    caption, image, label = required(row, "caption"), required(row, "image_path"), required(row, "label")
    if label not in (*GOLD, MISCAPTIONED):
        raise BadCaseError(f"`label` is {label[:80]!r}, not one of true, miscaptioned, out-of-context")
    if label == MISCAPTIONED and not miscaptioned:
        raise LeftOutError(
            "miscaptioned: a false caption under the event's own picture is not out of context"
        )
    number = article(image)
    case = NewCase(
        external_id=f"{PurePosixPath(image).stem}-{label}",
        caption=caption,
        gold=GOLD.get(label, Verdict.OUT_OF_CONTEXT),
        split=split,
        group=groups.get(number, number),
        note=label if label == MISCAPTIONED else None,
    )
    return Made(case, image)


def article(image_path: str) -> str:
    """Return the number of the article that a picture belongs to. Raises BadCaseError where it has none."""
    numbers = re.findall("[0-9]+", PurePosixPath(image_path).stem)
    if not numbers:
        raise BadCaseError(f"`image_path` is {image_path[:80]!r}, without the number of an article")
    return str(numbers[-1])


def article_groups(source: Source) -> dict[str, str]:
    """Return the group of each article that shares a caption with another: the first of them."""
    first_of_caption: dict[int, str] = {}
    group: dict[str, str] = {}

    def first(number: str) -> str:
        while number in group:
            number = group[number]
        return number

    for _, row, _ in csv_rows(source.path, COLUMNS):
        if isinstance(row, BadCaseError):
            continue
        try:
            caption, number = required(row, "caption"), article(required(row, "image_path"))
        except BadCaseError:  # reported when the cases are made
            continue
        one, other = first(first_of_caption.setdefault(hash(caption), number)), first(number)
        if one != other:
            group[other] = one
    return {number: first(number) for number in group}
