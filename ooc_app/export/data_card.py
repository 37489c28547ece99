"""The README of an exported `datasets` folder: front matter for programs, the rest for people."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from db.vocabulary import Split
from ooc_app.export.hub_columns import COLUMNS

SIZES: Final = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**6, "100K<n<1M"))
_MARKUP: Final = frozenset("&<>|`*_[](){}#!\\~$\"'")
TITLE: Final = "News images and the captions they were found under"

_TEXT: Final = """\
# {title}

Each case is a picture with the caption it was found under. **In context** says that the picture shows
what the caption says, **out of context** that it belongs to another event, place, person or date. The
picture itself is unedited either way.

```python
from datasets import load_dataset

cases = load_dataset("PATH OF THIS FOLDER")
```

Exported from OOC Desk: {cases:,} cases, {settled:,} of them settled by people, {without_image:,}
without a picture.

| split | cases |
| --- | ---: |
{splits}

## Columns

| column | holds |
| --- | --- |
{columns}

## Where it comes from

| data set | cases |
| --- | ---: |
{datasets}

| teacher | opinions |
| --- | ---: |
{teachers}

Opinions are written by models, are often wrong, and agree on mistakes, too. `gold` is what the data
set says, `settled` what people of this desk found; they may differ.

## Before it is passed on

Pictures and captions are other people's work: their licences are those of their sources, and none is
given here. They show and name people. A `note` or a rationale may name an annotator even where
`annotator` does not.
"""


@dataclass(slots=True)
class Told:
    """What the data card and Croissant tell of the cases written."""

    cases: Counter[Split] = field(default_factory=Counter)
    sizes: Counter[Split] = field(default_factory=Counter)  # bytes of the files
    datasets: Counter[str] = field(default_factory=Counter)
    teachers: Counter[str] = field(default_factory=Counter)
    settled: int = 0
    without_image: int = 0


def data_card(told: Told) -> str:
    """Write the whole README."""
    from huggingface_hub import DatasetCardData

    cases = told.cases.total()
    text = _TEXT.format(
        title=TITLE,
        cases=cases,
        settled=told.settled,
        without_image=told.without_image,
        splits=_rows({split: told.cases[split] for split in _splits(told)}),
        columns="\n".join(f"| `{column.name}` | {column.about} |" for column in COLUMNS),
        datasets=_rows(dict(told.datasets.most_common())),
        teachers=_rows(dict(sorted(told.teachers.items()))),
    )
    front = DatasetCardData(
        pretty_name=TITLE,
        size_categories=[next((name for below, name in SIZES if cases < below), "n>1M")],
        task_categories=["image-text-to-text"],
        tags=["news", "misinformation", "out-of-context", "croissant"],
        dataset_info=_info(told),
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": split.value, "path": f"data/{split}-*"} for split in _splits(told)],
            }
        ],
    )
    return f"---\n{front.to_yaml()}\n---\n\n{text}"


def _info(told: Told) -> dict[str, Any]:
    splits = [
        {"name": split.value, "num_bytes": told.sizes[split], "num_examples": told.cases[split]}
        for split in _splits(told)
    ]
    size = told.sizes.total()
    return {
        "features": [column.card() for column in COLUMNS],
        "splits": splits,
        "download_size": size,
        "dataset_size": size,
    }


def _splits(told: Told) -> list[Split]:
    return [split for split in Split if told.cases[split]]


def _rows(counts: Mapping[str, int]) -> str:
    return "\n".join(f"| {_cell(name)} | {number:,} |" for name, number in counts.items()) or "| none | 0 |"


def _cell(text: str) -> str:
    """Write a name from a data set so that Markdown and HTML show it and do nothing else."""
    plain = "".join(f"&#{ord(character)};" if character in _MARKUP else character for character in text)
    return " ".join(plain.split())
