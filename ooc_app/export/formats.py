"""The formats that cases go out in."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from db.views import WholeCase
from ooc_app.export.claimreview import write_claimreview
from ooc_app.export.csv_table import write_csv
from ooc_app.export.hub import write_hub
from ooc_app.export.label_studio import labelling_interface, write_label_studio
from ooc_app.export.manner import Manner
from ooc_app.export.native import write_native
from ooc_app.export.preferences import write_preferences
from ooc_app.export.sft import write_sft

Write = Callable[[Iterable[WholeCase], Path, Manner], int]
"""Writes cases to a path that is free and returns how many records that were."""


@dataclass(frozen=True, slots=True)
class Format:
    """A format, and what it can hold."""

    name: str
    about: str  # for people, as a line of a menu
    suffix: str  # of its file; empty for a folder
    write: Write
    settled_only: bool = False
    for_training: bool = False  # training cases with a picture only, none that shares with a held-out one
    beside: Callable[[], str] | None = None  # writes the text of `config_path`
    pictures: str = ""  # what to do with them, with {originals} and {shown} for the folders

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder rather than a file."""
        return not self.suffix

    def config_path(self, path: Path) -> Path | None:
        """Where the second file goes that belongs to the one at `path`."""
        return path.with_suffix(".config.xml") if self.beside else None


_NATIVE_PICTURES: Final = "To import it again with its pictures give --images {originals}."
_TRAINING_PICTURES: Final = "Its pictures are shown copies in {shown}."

FORMATS: Final = {
    given.name: given
    for given in (
        Format(
            "native",
            "the desk's own JSON lines; an import gives back cases, opinions and evidence",
            ".jsonl",
            write_native,
            pictures=_NATIVE_PICTURES,
        ),
        Format("csv", "the same for spreadsheets", ".csv", write_csv, pictures=_NATIVE_PICTURES),
        Format(
            "hf",
            "a folder for datasets.load_dataset: parquet with the pictures, data card, Croissant",
            "",
            write_hub,
        ),
        Format(
            "sft",
            "targets of stage 1 as conversations, as TRL takes them",
            ".jsonl",
            write_sft,
            for_training=True,
            pictures=_TRAINING_PICTURES,
        ),
        Format(
            "preferences",
            "preferences of stage 2 as conversations, as TRL takes them",
            ".jsonl",
            write_preferences,
            for_training=True,
            pictures=_TRAINING_PICTURES,
        ),
        Format(
            "label-studio",
            "tasks for Label Studio with the opinions as predictions, and their labelling interface",
            ".json",
            write_label_studio,
            beside=labelling_interface,
            pictures="Start Label Studio with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and "
            "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={shown}, and add that folder to the project as "
            "local storage, or it shows no pictures.",
        ),
        Format(
            "claimreview",
            "settled cases as schema.org ClaimReview and MediaReview",
            ".json",
            write_claimreview,
            settled_only=True,
        ),
    )
}
