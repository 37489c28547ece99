"""Read NewsCLIPpings: annotations that pair a caption of VisualNews with a picture of VisualNews.

    {"annotations": [{"id": of the caption, "image_id": of the picture, "falsified": bool, ...}]}

Polarity: in context exactly when both ids are equal, out of context otherwise; an annotation whose
`falsified` says something else is refused. A case and its partner share the caption, whose id is
the group; each file is one split (`train.json`, `val.json`, `test.json`), so partners stay together.
Luo et al. 2021, arXiv 2104.05893; the format is described at github.com/g-luo/news_clippings.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from db.cases import NewCase
from db.vocabulary import Split, Verdict
from ooc_app.intake.entries import BadCaseError, Entry, ImportFileError, Made, Source, entries, split_of
from ooc_app.intake.fields import required
from ooc_app.intake.rows import existing_file, json_rows
from ooc_app.intake.visual_news import NewsEntry, NewsIndex, ids_of

LIST = "annotations"
MAPPING = {
    "id": "`id`-`image_id`",
    "caption": "VisualNews' `caption` under `id`",
    "image": "VisualNews' `image_path` under `image_id`",
    "gold": "in_context exactly when `id` equals `image_id`; `falsified` must agree",
    "split": "the one asked for, else the file's name",
    "group": "`id`",
    "source": "VisualNews' `source` under `id`",
}


def read(source: Source) -> Iterator[Entry]:
    """Read the annotations of a file, twice: for their ids, and for the cases."""
    split = split_of(source)
    news_path = existing_file(visual_news_path(source))
    with NewsIndex() as news:
        asked = news.ask(ids_of(islice(json_rows(source.path, LIST), source.rows), ("id", "image_id")))
        news.fill(news_path, asked)
        rows = islice(json_rows(source.path, LIST), source.rows)
        yield from entries(rows, lambda row: [newsclippings_case(row, news, split)])


def newsclippings_case(row: dict[str, Any], news: NewsIndex, split: Split) -> Made:
    """Make the case of one annotation."""
    caption_id, image_id = required(row, "id"), required(row, "image_id")
    falsified = row.get("falsified")
    if not isinstance(falsified, bool):
        raise BadCaseError("`falsified` is neither true nor false")
    if falsified == (caption_id == image_id):
        raise BadCaseError(
            f"`falsified` is {str(falsified).lower()}, but `id` {caption_id[:40]} and `image_id` "
            f"{image_id[:40]} {'are equal' if falsified else 'differ'}"
        )
    caption, picture = news[caption_id], news[image_id]
    return Made(
        NewCase(
            external_id=f"{caption_id}-{image_id}",
            caption=said(caption, caption_id),
            gold=Verdict.OUT_OF_CONTEXT if falsified else Verdict.IN_CONTEXT,
            split=split,
            group=caption_id,
            source=caption.source,
        ),
        picture.image_path,
    )


def said(entry: NewsEntry, id_: str) -> str:
    """Return the caption. Raises BadCaseError where there is none."""
    if entry.caption is None:
        raise BadCaseError(f"entry {id_[:80]!r} of VisualNews has no caption")
    return entry.caption


def visual_news_path(source: Source) -> Path:
    """Return where VisualNews' list is. Raises ImportFileError where nobody says."""
    given = source.options.get("visual-news")
    if given is None:
        raise ImportFileError(
            "NewsCLIPpings needs captions and pictures: give --visual-news PATH/origin/data.json."
        )
    return Path(given)


def images_dir(source: Source) -> Path:
    """Return the folder that VisualNews' paths start from."""
    return visual_news_path(source).parent
