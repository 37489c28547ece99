"""Cases in and out by the page: look at the first rows of a file, import it, export what is wanted.

An export goes into the data folder's `exports/`, from where editors download it (`case_files.py`); one
that is a folder, or comes with a second file, is packed into one ZIP archive.
"""

import re
import shutil
import zipfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from db.views import Selection
from db.vocabulary import Split
from ooc_app.auth import now
from ooc_app.case_list import QuestionError, text
from ooc_app.desk import Desk
from ooc_app.desk_work import DeskWork, Outcome, Watch
from ooc_app.export import formats as outward
from ooc_app.export.exporting import ExportReport, export_cases
from ooc_app.intake import formats as inward
from ooc_app.intake.entries import BadLine, Entry, Found, ImportFileError, LeftOut, Source
from ooc_app.intake.importing import ImportReport
from ooc_app.intake.pictures import BadImageError, MissingImageError, picture_path
from ooc_app.render import count, counted

PATH_MAX: Final = 4_000  # characters
ROWS: Final = 5  # that a preview shows
LINES_SHOWN: Final = 20  # bad lines that the page shows
LISTED: Final = 8  # earlier exports that the page lists
EXPORT_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,150}")
MEANS: Final = re.compile(r" = (in_context|out_of_context|unsure|left_out)\b")
POLARITY: Final = ("gold", "opinions", "verdict")  # the fields a wrong meaning would turn round


def offered() -> dict[str, Any]:
    """What the page offers for imports and exports."""
    return {
        "imports": [
            {
                "name": one.name,
                "about": one.about,
                "options": [
                    {"name": option.name, "help": option.help, "choices": list(option.choices)}
                    for option in one.options
                ],
            }
            for one in inward.FORMATS.values()
        ],
        "exports": [
            {
                "name": one.name,
                "about": one.about,
                "settled_only": one.settled_only,
                "for_training": one.for_training,
            }
            for one in outward.FORMATS.values()
        ],
    }


# ---- in ----


def previewed(given: Mapping[str, Any]) -> dict[str, Any]:
    """Show the first rows as they would be imported. Raises ImportFileError."""
    name, source, images_dir = _asked_import(given)
    wanted = inward.found_format(name, source)
    first = inward.preview(source.path, name, source.options, ROWS, source.split)
    folder = inward.images_folder(wanted, source, images_dir)
    mapping = [[field, MEANS.sub(_meaning, where)] for field, where in first.mapping.items()]
    return {
        "ok": True,
        "dataset": inward.dataset_of(wanted, source),
        "unit": wanted.unit,
        "images": str(folder),
        "polarity": [[field, where] for field, where in mapping if field in POLARITY],
        "mapping": [[field, where] for field, where in mapping if field not in POLARITY],
        "rows": [_row(entry, folder) for entry in first.rows],
    }


def begin_import(desk: Desk, work: DeskWork, given: Mapping[str, Any]) -> None:
    """Import behind the page. Raises ImportFileError for what can be seen to be wrong, and BusyError."""
    name, source, images_dir = _asked_import(given)
    wanted = inward.found_format(name, source)
    inward.images_folder(wanted, source, images_dir)

    def run(watch: Watch) -> Outcome:
        return _imported(inward.import_file(desk, name, source, images_dir, watch.advance), wanted.unit)

    work.start("import", f"Import of {inward.dataset_of(wanted, source)}", wanted.unit, run)


def _asked_import(given: Mapping[str, Any]) -> tuple[str, Source, Path | None]:
    """Read what is to be imported. Raises ImportFileError and QuestionError."""
    path = text(given, "path", PATH_MAX).strip()
    if not path:
        raise ImportFileError("Give the path of a file on the desk's machine, or choose a file to upload.")
    said = given.get("options")
    asked = said if isinstance(said, Mapping) else {}
    options = {str(name): text(asked, name, PATH_MAX).strip() for name in asked}
    images, split = text(given, "images", PATH_MAX).strip(), text(given, "split")
    if split and split not in tuple(Split):
        raise QuestionError(f"There is no split {split[:40]!r}: choose {', '.join(Split)}.")
    source = Source(
        Path(path).expanduser(),
        Split(split) if split else None,
        {name: value for name, value in options.items() if value},
        text(given, "dataset").strip() or None,
    )
    return text(given, "format"), source, Path(images).expanduser() if images else None


def _meaning(found: re.Match[str]) -> str:
    return f" means {found[1].replace('_', ' ')}"


def _row(entry: Entry, folder: Path) -> dict[str, Any]:
    """One row of a preview: a case, or why it is none."""
    if isinstance(entry, BadLine):
        return {"line": entry.line, "bad": entry.reason}
    if isinstance(entry, LeftOut):
        return {"line": entry.line, "left_out": entry.reason}
    case = entry.case
    return {
        "line": entry.line,
        "id": case.external_id[:80],
        "caption": case.caption[:300],
        "gold": case.gold,
        "split": case.split,
        "meta": " · ".join(part for part in (case.source, case.date, case.place) if part)[:200],
        "picture": _picture_words(entry, folder),
        "opinions": [[said.teacher, said.verdict] for said in case.opinions],
    }


def _picture_words(entry: Found, folder: Path) -> str:
    if entry.image is None:
        return "no picture"
    if isinstance(entry.image, bytes):
        return "picture in the file"
    try:
        picture_path(entry.image, folder)
    except MissingImageError:
        return f"picture missing: {entry.image[:120]}"
    except BadImageError as error:
        return str(error)
    return "picture found"


def _imported(report: ImportReport, unit: str) -> Outcome:
    """Say what an import did."""
    name = ", ".join(sorted(report.by_dataset)) or report.dataset
    facts = [
        (count(report.cases), "new cases"),
        (count(report.opinions), "new opinions"),
        (count(report.unchanged), "unchanged"),
        (count(report.completed), "completed"),
        (count(report.differing), "differing, left as they were"),
        (count(report.without_image), "without picture"),
        *((count(cases), f"gold {gold.replace('_', ' ')}") for gold, cases in sorted(report.by_gold.items())),
        (count(report.bad_count), f"bad {unit}s"),
    ]
    lines = [f"left out: {count(number)}, {reason}" for reason, number in report.left_out.items()]
    lines += [f"{unit} {bad.line}: {bad.reason}" for bad in report.bad[:LINES_SHOWN]]
    if report.bad_count > LINES_SHOWN:
        lines.append(f"and {counted(report.bad_count - LINES_SHOWN, f'more bad {unit}')}")
    says = f"{name}: {counted(report.cases, 'new case')}."
    if report.bad_count and not report.read:
        says = f"Nothing was taken: not one {unit} is a case of this format."
    return Outcome(says, [fact for fact in facts if fact[0] != "0"] or facts[:1], lines)


# ---- out ----


def begin_export(desk: Desk, work: DeskWork, given: Mapping[str, Any]) -> None:
    """Export behind the page. Raises QuestionError and BusyError."""
    chosen = outward.FORMATS.get(text(given, "format"))
    if chosen is None:
        raise QuestionError(f"Choose a format: {', '.join(outward.FORMATS)}.")
    split, settled = text(given, "split"), given.get("settled") is True
    if split and split not in tuple(Split):
        raise QuestionError(f"There is no split {split[:40]!r}: choose {', '.join(Split)}.")
    selection = Selection(split=Split(split) if split else None, settled=settled)
    path = exports_dir(desk) / _export_name(chosen, split, settled, now())

    def run(watch: Watch) -> Outcome:
        path.parent.mkdir(exist_ok=True)
        report = export_cases(
            desk,
            chosen.name,
            path,
            selection=selection,
            progress=lambda done, of: watch.advance(done, done / of if of else 0.0),
        )
        return _exported(report, _packed(path, chosen.config_path(path)))

    work.start("export", f"Export as {chosen.name}", "case", run)


def exports_dir(desk: Desk) -> Path:
    """Where exports made by the page are."""
    return desk.data_dir / "exports"


def exports(desk: Desk) -> list[dict[str, Any]]:
    """List the last exports that can be downloaded, the newest first."""
    folder = exports_dir(desk)
    found = [path for path in folder.iterdir() if is_export(path)] if folder.is_dir() else []
    sizes = sorted(((path.stat(), path.name) for path in found), key=lambda one: -one[0].st_mtime)
    return [
        {"name": name, "link": export_url(name), "size": size_words(about.st_size), "at": about.st_mtime}
        for about, name in sizes[:LISTED]
    ]


def remove_export(desk: Desk, name: str) -> None:
    """Remove one export; nothing where there is none of that name."""
    path = exports_dir(desk) / name
    if EXPORT_NAME.fullmatch(name) and is_export(path):
        path.unlink(missing_ok=True)


def is_export(path: Path) -> bool:
    """Whether a path is a finished export: a plain file whose name is one we give."""
    return EXPORT_NAME.fullmatch(path.name) is not None and path.is_file() and not path.is_symlink()


def export_url(name: str) -> str:
    """Where the page finds an export, relative to itself."""
    return f"desk/exports/{name}"


def size_words(size: int) -> str:
    """Write a number of bytes: `1.2 MB`."""
    return f"{size / 1e6:,.1f} MB" if size >= 100_000 else f"{max(size, 1) / 1e3:,.1f} kB"


def _export_name(chosen: outward.Format, split: str, settled: bool, at: datetime) -> str:
    parts = (chosen.name, split or "all", "settled" if settled else "", f"{at:%Y%m%d-%H%M%S}")
    return "-".join(part for part in parts if part) + chosen.suffix


def _packed(path: Path, beside: Path | None) -> Path:
    """Return what is downloaded: the export itself, or one archive of all its files."""
    if path.is_file() and beside is None:
        return path
    archive = path.with_suffix(".zip")
    partial = archive.with_name(f".{archive.name}.partial")
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    manner = zipfile.ZIP_STORED if path.is_dir() else zipfile.ZIP_DEFLATED  # parquet is packed already
    with zipfile.ZipFile(partial, "w", manner, compresslevel=1) as packed:
        for file in [*files, *([beside] if beside else [])]:
            packed.write(file, file.relative_to(path.parent))
    partial.rename(archive)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    if beside is not None:
        beside.unlink(missing_ok=True)
    return archive


def _exported(report: ExportReport, path: Path) -> Outcome:
    """Say what an export wrote."""
    records = counted(report.records, "record")
    facts = [(count(report.cases), "cases read"), (count(report.records), "records written")]
    lines = [report.pictures] if report.pictures else []
    if report.missing_images:
        lines.append(f"{counted(report.missing_images, 'picture')} named and not in the data folder.")
    link = (f"Download {path.name}, {size_words(path.stat().st_size)}", export_url(path.name))
    return Outcome(f"{records} of {counted(report.cases, 'case')} are written.", facts, lines, [link])
