"""Read a data set in the form of Hugging Face's `datasets`: a folder, a parquet file, or a hub id.

Fields come from the columns of the same name unless the mapping says otherwise. Polarity: `gold` is
in the desk's own words, or the mapping says what each value means; a class label may be mapped by its
name or its number. Rows stream, from the hub too. A case is in the split its file is in (`validation`,
`val` and `dev` are one), or the one asked for.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

from db.vocabulary import Split
from ooc_app.intake.entries import Entry, ImportFileError, Made, Source, entries, named_split
from ooc_app.intake.fields import text
from ooc_app.intake.mapping import CASE_FIELDS, Column, case_row, parse_mapping
from ooc_app.intake.native import native_case
from ooc_app.intake.pictures import local_path

SAVED: Final = ("dataset_dict.json", "dataset_info.json", "state.json")  # what `save_to_disk` leaves
MAPPING = {
    **{name: f"`{name}`" for name in CASE_FIELDS},
    "split": "`split`, else the one asked for, else the name of the data set's split, else train",
    "data set": "`dataset`, unless one is given for all, else the file's or the hub's name",
}

Rows = Iterable[Mapping[str, Any]]


def read(source: Source) -> Iterator[Entry]:
    """Read the rows of all splits, one split after the other.

    Raises ImportFileError where there is no such data set, or where it cannot be read on.
    """
    given = parse_mapping(source.options.get("map"), CASE_FIELDS)
    number = 0
    for name, data in loaded(source):
        columns = {**{field: Column(field) for field in CASE_FIELDS}, **given}
        check_columns(given, data)
        rows = undecoded(data, columns)
        split = source.split or named_split(name) or named_split(source.path.name) or Split.TRAIN
        make = maker(columns, split, named=source.dataset is None)
        for entry in entries(numbered(rows, number, source), make):
            number = entry.line
            yield entry


def maker(
    columns: Mapping[str, Column], split: Split, *, named: bool
) -> Callable[[dict[str, Any]], list[Made]]:
    """Return what makes the case of a row; `named`: it goes to the data set that the row names."""

    def make(row: dict[str, Any]) -> list[Made]:
        case = case_row(row, columns)
        dataset = text(row, "dataset") if named else None
        return [Made(native_case({**case, "image": None}, split), image_of(case), dataset)]

    return make


def image_of(case: Mapping[str, Any]) -> str | bytes | None:
    """Return the picture: its bytes where the row has them, else its path."""
    image = case.get("image")
    if isinstance(image, dict):
        image = image.get("bytes") or image.get("path")
    if isinstance(image, bytes):
        return image
    return local_path(text({"image": image}, "image"))


def numbered(rows: Rows, before: int, source: Source) -> Iterator[tuple[int, Any, float]]:
    """Number the rows. Raises ImportFileError where they cannot be read on."""
    number = before
    try:
        for number, row in enumerate(islice(rows, source.rows), before + 1):
            yield number, dict(row), 0.0
    except (OSError, ValueError, RuntimeError) as error:  # of pyarrow, of the network
        raise ImportFileError(
            f"{source.path} cannot be read on after row {number}: {reason(error)}"
        ) from error


def loaded(source: Source) -> Iterator[tuple[str, Any]]:
    """Open the splits of a data set, by name."""
    import datasets

    path, subset = source.path, source.options.get("subset")
    datasets.disable_progress_bars()
    try:
        if path.is_file():
            data = datasets.load_dataset("parquet", data_files={path.stem: str(path)}, streaming=True)
        elif path.is_dir() and any((path / name).exists() for name in SAVED):
            data = datasets.load_from_disk(str(path))
        else:
            data = datasets.load_dataset(path.as_posix(), subset, streaming=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise ImportFileError(
            f"There is no data set {path} here or on the hub that can be read: {reason(error)}"
        ) from error
    splits = data if isinstance(data, dict) else {str(data.split or path.name): data}
    yield from splits.items()


def undecoded(data: Any, columns: Mapping[str, Column]) -> Rows:
    """Leave pictures as bytes, for the image door, and name class labels, unless the mapping has numbers."""
    import datasets

    names: dict[str, list[str]] = {}
    for column in columns.values():
        feature = (data.features or {}).get(column.name)
        if isinstance(feature, datasets.Image):
            data = data.cast_column(column.name, datasets.Image(decode=False))
        if isinstance(feature, datasets.ClassLabel) and not any(map(str.isdecimal, column.meanings)):
            names[column.name] = feature.names
    return (with_names(row, names) for row in data) if names else data


def with_names(row: Mapping[str, Any], names: Mapping[str, list[str]]) -> dict[str, Any]:
    """Put the names of class labels in the place of their numbers; -1 is none."""
    found = {
        column: known[row[column]] if isinstance(row[column], int) and row[column] >= 0 else None
        for column, known in names.items()
    }
    return {**row, **found}


def check_columns(given: Mapping[str, Column], data: Any) -> None:
    """Raise ImportFileError for a column that the mapping names and the data set lacks."""
    features = data.features
    for column in given.values():
        if features and column.name not in features and column.name.partition(".")[0] not in features:
            raise ImportFileError(
                f"--map names the column {column.name[:80]!r}, which is none of {', '.join(features)[:400]}."
            )


def images_dir(source: Source) -> Path:
    """Return the folder that paths of pictures start from: the data set's own."""
    return source.path if source.path.is_dir() else source.path.parent


def reason(error: Exception) -> str:
    """Return the first line of what a library says."""
    with contextlib.suppress(IndexError):
        return str(error).strip().splitlines()[0][:300]
    return type(error).__name__
