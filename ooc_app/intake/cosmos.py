"""Read COSMOS: JSON lines, pictures with several captions each.

    test:        {"img_local_path", "caption1", "caption2", "context_label" or "label", "article_url"}
    train, val:  {"img_local_path", "articles": [{"caption", "article_url"}, ...]}, without labels

Polarity: the label is the pair's. 1 (`ooc`) says that the two captions use the picture for different
events, 0 (`not-ooc`) that they agree. Neither says which caption is true: "the end goal for this task
is not to identify which of the two captions is true/false", and 0 "makes no conclusions regarding the
veracity of the statements" (detecting-cheapfakes.github.io/acmmm-2022.html, by the data set's authors).
The order of the captions is documented nowhere. So a caption gets no gold verdict, and a note for
people says what the pair's label was. With `pair-gold=caption1` (or `caption2`) that caption carries
the pair's label, as in VERITE's evaluation on COSMOS, which takes the first; the other gets none.

The captions of a picture are a group. Aneja et al. 2021, arXiv 2101.06278.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from db.cases import NewCase
from db.vocabulary import Split, Verdict
from ooc_app.intake.entries import BadCaseError, Entry, Made, Source, entries, split_of
from ooc_app.intake.fields import SHOWN, objects, required, text
from ooc_app.intake.rows import json_rows

CAPTIONS = ("caption1", "caption2")
LABELS = {
    "0": Verdict.IN_CONTEXT,
    "not-ooc": Verdict.IN_CONTEXT,
    "1": Verdict.OUT_OF_CONTEXT,
    "ooc": Verdict.OUT_OF_CONTEXT,
}
NOTES = {
    None: "The pair has no label.",
    Verdict.IN_CONTEXT: "The pair is labelled not out of context: both captions tell of one event.",
    Verdict.OUT_OF_CONTEXT: "The pair is labelled out of context: the captions tell of different events.",
}
MAPPING = {
    "id": "`img_local_path`#1, #2 ...",
    "caption": "`caption1` and `caption2`, or each `caption` of `articles`: a case each",
    "image": "`img_local_path`",
    "gold": "none: the label is the pair's; with pair-gold, the pair's for the caption named",
    "split": "the one asked for, else the file's name",
    "group": "`img_local_path`",
    "source": "the site of `article_url`",
    "url": "`article_url`",
    "note": "the pair's label",
}


def read(source: Source) -> Iterator[Entry]:
    """Read the pictures of a file; each gives as many cases as it has captions."""
    split = split_of(source)
    pair_gold = source.options.get("pair-gold", "none")
    return entries(json_rows(source.path), lambda row: cosmos_cases(row, split, pair_gold))


def cosmos_cases(row: dict[str, Any], split: Split, pair_gold: str) -> list[Made]:
    """Make the cases of one picture; `pair_gold` is the caption that carries the label, or none."""
    if "articles" in row:
        articles = objects(row, "articles")
        if not articles:
            raise BadCaseError("`articles` is empty")
        return [
            made(
                row,
                number,
                "caption",
                one,
                split,
                note=f"Caption {number} of {len(articles)} of its picture.",
            )
            for number, one in enumerate(articles, 1)
        ]
    label = pair_label(row)
    return [
        made(
            row, number, key, row, split,
            gold=label if key == pair_gold else None,
            note=f"Caption {number} of a pair. {NOTES[label]}",
        )
        for number, key in enumerate(CAPTIONS, 1)
    ]  # fmt: skip


def made(
    row: dict[str, Any],
    number: int,
    key: str,
    article: dict[str, Any],
    split: Split,
    *,
    note: str,
    gold: Verdict | None = None,
) -> Made:
    """Make the case of one caption, which stands under `key` of `article`."""
    image, url = required(row, "img_local_path"), text(article, "article_url")
    case = NewCase(
        external_id=f"{image}#{number}",
        caption=required(article, key),
        gold=gold,
        split=split,
        group=image,
        source=site(url) if url else None,
        url=url,
        note=note,
    )
    return Made(case, image)


def pair_label(row: dict[str, Any]) -> Verdict | None:
    """Read the pair's label, None where there is none."""
    key = "context_label" if "context_label" in row else "label"
    value = text(row, key)
    if value is None:
        return None
    if value.lower() not in LABELS:
        raise BadCaseError(f"`{key}` is {value[:SHOWN]!r}, not one of {', '.join(LABELS)}")
    return LABELS[value.lower()]


def site(url: str) -> str | None:
    """Return the host of an address without `www.`, None where it has none."""
    try:
        host = urlsplit(url if "://" in url else f"//{url}").hostname
    except ValueError:  # brackets that hold no IPv6 address
        return None
    return host.removeprefix("www.") if host else None
