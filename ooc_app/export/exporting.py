"""Take cases off the desk in one of the formats: what every export has in common.

Everything an export holds is of one moment: it reads in a single transaction, 500 cases at a time,
while people rule on. What it writes appears whole at its path, or not at all.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from db.views import Selection, WholeCase, count_cases, whole_cases
from db.vocabulary import Split
from ooc_app.desk import Desk
from ooc_app.export.destination import ExportError, refuse, replacing
from ooc_app.export.formats import FORMATS, Format
from ooc_app.export.manner import Manner
from ooc_app.export.pictures import Pictures

STEP: Final = 500  # cases between two calls of a progress

Progress = Callable[[int, int], None]  # cases done, of how many


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export wrote."""

    format: str
    path: str
    cases: int  # that were read
    records: int  # that were written: cases, targets, preferences or reviews
    missing_images: int  # pictures that a case names and the data folder does not have
    pictures: str  # where they are, for people; empty where that is nobody's care


def export_cases(
    desk: Desk,
    format_name: str,
    path: Path,
    *,
    selection: Selection | None = None,
    images_dir: Path | None = None,
    names: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ExportReport:
    """Write the cases selected, by default all, to `path`.

    Pictures that the format only names are copied into `images_dir` where that is given. Annotators
    are numbers unless `names` is set. Raises ExportError where there is nothing to write, or it
    cannot be written; what was at `path` is then as it was.
    """
    chosen = FORMATS.get(format_name)
    if chosen is None:
        raise ExportError(f"There is no format {format_name!r}: the formats are {', '.join(FORMATS)}.")
    narrowed = _narrowed(chosen, selection or Selection())
    beside = chosen.config_path(path)
    if beside is not None:
        refuse(beside.absolute(), overwrite=overwrite)
    manner = Manner(Pictures(desk.images_dir, images_dir), names)
    try:
        with replacing(path, folder=chosen.is_folder, overwrite=overwrite) as partial:
            cases, records = _written(desk, chosen, narrowed, partial, manner, progress)
            if beside is not None and chosen.beside is not None:
                with replacing(beside, overwrite=overwrite) as written:
                    written.write_text(chosen.beside(), encoding="utf-8")
    except OSError as error:
        raise ExportError(f"{error.filename or path} cannot be written ({error.strerror}).") from error
    pictures = chosen.pictures.format(
        originals=manner.pictures.originals_dir.absolute(), shown=manner.pictures.shown_dir.absolute()
    )
    return ExportReport(chosen.name, str(path), cases, records, manner.pictures.missing, pictures)


def _written(
    desk: Desk, chosen: Format, selection: Selection, path: Path, manner: Manner, progress: Progress | None
) -> tuple[int, int]:
    with desk.sessions() as session:
        total = count_cases(session, selection)
        cases = whole_cases(session, selection, sharing=chosen.for_training)
        records = chosen.write(_watched(cases, total, progress), path, manner)
    if not records:
        raise ExportError(_nothing(chosen, total))
    return total, records


def _narrowed(chosen: Format, selection: Selection) -> Selection:
    """Select what the format can hold."""
    if chosen.for_training:
        if selection.split not in (None, Split.TRAIN):
            raise ExportError(
                f"The format {chosen.name} holds training cases only: leave out --split {selection.split}."
            )
        selection = replace(selection, split=Split.TRAIN, with_image=True)
    return replace(selection, settled=True) if chosen.settled_only else selection


def _watched(cases: Iterable[WholeCase], total: int, progress: Progress | None) -> Iterator[WholeCase]:
    done = 0
    for case in cases:
        yield case
        done += 1
        if progress is not None and done % STEP == 0:
            progress(done, total)
    if progress is not None and done % STEP:
        progress(done, total)


def _nothing(chosen: Format, selected: int) -> str:
    if not selected:
        what = (
            "settled case"
            if chosen.settled_only
            else "case with a picture"
            if chosen.for_training
            else "case"
        )
        return f"There is no {what} to export: import cases, or select others."
    return (
        f"None of the {selected:,} cases gives a record of the format {chosen.name}: targets come of "
        "agreed and settled cases, preferences of settled conflicts, both where the picture is there."
    )
