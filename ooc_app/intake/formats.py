"""The formats of data sets the desk reads, by name, and the two things one does with them.

`import_file` brings a file onto the desk; `preview` shows its first rows as they would be imported,
and where each field comes from, without touching the desk.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from db.vocabulary import Split
from ooc_app.desk import Desk
from ooc_app.intake import (
    cosmos,
    fivepils,
    hugging_face,
    label_studio,
    mmfakebench,
    native,
    newsclippings,
    verite,
)
from ooc_app.intake.entries import Entry, ImportFileError, Source
from ooc_app.intake.importing import ImportReport, Progress, import_cases, rehearse
from ooc_app.intake.mapping import ALL_FIELDS, described, parse_mapping
from ooc_app.intake.pictures import existing_folder


@dataclass(frozen=True, slots=True)
class Option:
    """Something that a format is told besides its file."""

    name: str
    help: str
    choices: tuple[str, ...] = ()  # the first is what is taken where nothing is said; empty: any text


@dataclass(frozen=True, slots=True)
class Format:
    """How one format is read."""

    name: str
    about: str
    read: Callable[[Source], Iterator[Entry]]
    mapping: Mapping[str, str]  # where each field of a case comes from
    options: tuple[Option, ...] = ()
    dataset: str | None = None  # the data set's name where nobody gives one; None: the file's
    unit: str = "line"  # what the lines of a report count
    images_dir: Callable[[Source], Path] = field(default=lambda source: source.path.parent)


@dataclass(frozen=True, slots=True)
class Preview:
    """The first rows of a file as they would be imported, and where each field comes from."""

    rows: tuple[Entry, ...]
    mapping: Mapping[str, str]


MAP = Option("map", "where fields come from: FIELD:COLUMN[,VALUE=WORD...],...")

FORMATS: Final = {
    one.name: one
    for one in (
        Format("native", "the desk's own: JSON lines, a JSON list or CSV", native.read, native.MAPPING),
        Format(
            "newsclippings", "NewsCLIPpings' annotations, with VisualNews", newsclippings.read,
            newsclippings.MAPPING,
            (Option("visual-news", "VisualNews' origin/data.json; image paths start from its folder"),),
            dataset="newsclippings", unit="entry", images_dir=newsclippings.images_dir,
        ),
        Format(
            "verite", "VERITE.csv", verite.read, verite.MAPPING,
            (Option("miscaptioned", "what miscaptioned pictures become", ("leave_out", "out_of_context")),),
            dataset="verite",
        ),
        Format(
            "cosmos", "COSMOS: two or more captions a picture", cosmos.read, cosmos.MAPPING,
            (Option("pair-gold", "the caption that has the pair's label", ("none", "caption1", "caption2")),),
            dataset="cosmos",
        ),
        Format(
            "mmfakebench", "MMFakeBench: its original and mismatch classes", mmfakebench.read,
            mmfakebench.MAPPING, dataset="mmfakebench", unit="entry", images_dir=mmfakebench.images_dir,
        ),
        Format(
            "5pils-ooc", "5Pils-OOC", fivepils.read, fivepils.MAPPING, dataset="5pils-ooc", unit="entry"
        ),
        Format(
            "label-studio", "Label Studio's JSON export", label_studio.read, label_studio.MAPPING,
            (MAP, Option("annotations", "what people's annotations become", ("leave", "gold", "opinions"))),
            unit="entry",
        ),
        Format(
            "hf", "a `datasets` folder, a parquet file or a hub id", hugging_face.read, hugging_face.MAPPING,
            (MAP, Option("subset", "configuration of a data set on the hub")), unit="row",
            images_dir=hugging_face.images_dir,
        ),
    )
}  # fmt: skip


def import_file(
    desk: Desk, name: str, source: Source, images_dir: Path | None = None, progress: Progress | None = None
) -> ImportReport:
    """Import a file of the format `name`; image paths start from `images_dir`, else where the format says.

    Raises ImportFileError for a file that is not of this format at all.
    """
    wanted = found_format(name, source)
    folder = images_folder(wanted, source, images_dir)
    return import_cases(desk, dataset_of(wanted, source), wanted.read(source), folder, progress)


def rehearse_file(
    name: str, source: Source, images_dir: Path | None = None, progress: Progress | None = None
) -> ImportReport:
    """Report what `import_file` would do on an empty desk, and write nothing. Raises ImportFileError."""
    wanted = found_format(name, source)
    folder = images_folder(wanted, source, images_dir)
    return rehearse(dataset_of(wanted, source), wanted.read(source), folder, progress)


def preview(
    path: Path,
    name: str,
    options: Mapping[str, str] | None = None,
    rows: int = 5,
    split: Split | None = None,
) -> Preview:
    """Show the first rows of a file as they would be imported. Raises ImportFileError."""
    source = Source(path, split, options or {}, rows=rows)
    wanted = found_format(name, source)
    stated = described(parse_mapping(source.options.get(MAP.name), ALL_FIELDS))
    return Preview(tuple(islice(wanted.read(source), rows)), {**wanted.mapping, **stated})


def found_format(name: str, source: Source) -> Format:
    """Return the format. Raises ImportFileError for one there is not, and for options it does not have."""
    wanted = FORMATS.get(name)
    if wanted is None:
        raise ImportFileError(f"There is no format {name[:80]!r}: choose {', '.join(FORMATS)}.")
    known = {option.name: option for option in wanted.options}
    for option, value in source.options.items():
        if option not in known:
            raise ImportFileError(f"--{option} is no option of {name}; it has {', '.join(known) or 'none'}.")
        choices = known[option].choices
        if choices and value not in choices:
            raise ImportFileError(f"--{option} is {value[:80]!r}, not one of {', '.join(choices)}.")
    return wanted


def images_folder(wanted: Format, source: Source, images_dir: Path | None) -> Path:
    """Return where image paths start. Raises ImportFileError where the folder asked for is none."""
    return wanted.images_dir(source) if images_dir is None else existing_folder(images_dir)


def dataset_of(wanted: Format, source: Source) -> str:
    """Return the name of the data set."""
    return source.dataset or wanted.dataset or source.path.stem
