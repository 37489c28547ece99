"""Write a folder that `datasets.load_dataset(PATH)` reads as it is, pictures included.

    README.md                                data card
    croissant.json                           the same for machines
    data/SPLIT-00000-of-00001.parquet ...    one or more for each split that has cases

A row group is written as soon as its rows reach a few megabytes, so memory does not grow with the
number of cases, and a reader can fetch a few rows without the rest of the file.
"""

import json
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from db.views import WholeCase
from db.vocabulary import Split
from ooc_app.export.croissant import croissant
from ooc_app.export.data_card import Told, data_card
from ooc_app.export.hub_columns import COLUMNS
from ooc_app.export.manner import Manner
from ooc_app.export.native import native_case

if TYPE_CHECKING:
    import pyarrow

AT_ONCE: Final = 1_000  # rows turned to columns in one go
ROW_GROUP_MAX: Final = 10_000  # rows; a file remembers something of each row group until it is closed
ROW_GROUP_BYTES: Final = 32_000_000  # of pictures and long texts
INDEXED: Final = ["split", "dataset", "gold", "settled"]  # what a reader may choose rows by
SHARD_BYTES: Final = 500_000_000  # of pictures and text; what the hub recommends


def write_hub(cases: Iterable[WholeCase], path: Path, manner: Manner) -> int:
    """Write the folder; a case whose picture is not there has none in it."""
    import pyarrow

    columns = [pyarrow.field(column.name, column.arrow()) for column in COLUMNS]
    features = {column.name: column.feature() for column in COLUMNS}
    schema = pyarrow.schema(columns, {"huggingface": json.dumps({"info": {"features": features}})})
    told = Told()
    (path / "data").mkdir()
    with ExitStack() as open_files:
        shards = {split: open_files.enter_context(_Shards(path / "data", split, schema)) for split in Split}
        for case in cases:
            row = _row(case, manner)
            shards[case.view.split].add(row)
            _tell(told, case, row)
    for split, written in shards.items():
        told.sizes[split] = written.name_all()
    (path / "README.md").write_text(data_card(told), encoding="utf-8")
    (path / "croissant.json").write_text(croissant(told), encoding="utf-8")
    return told.cases.total()


def _row(case: WholeCase, manner: Manner) -> dict[str, Any]:
    sha256 = case.view.image_sha256
    data = manner.pictures.original_bytes(sha256)
    return {**native_case(case, manner), "image": {"bytes": data, "path": sha256} if data else None}


def _size(row: dict[str, Any]) -> int:
    picture = len(row["image"]["bytes"]) if row["image"] else 0
    texts = len(row["caption"]) + sum(len(said["rationale"]) for said in row["opinions"])
    return picture + texts


def _tell(told: Told, case: WholeCase, row: dict[str, Any]) -> None:
    view = case.view
    told.cases[view.split] += 1
    told.datasets[view.dataset] += 1
    told.teachers.update(opinion.teacher for opinion in view.opinions)
    told.settled += case.settled is not None
    told.without_image += row["image"] is None


class _Shards:
    """The parquet files of one split, each begun when the one before it is full."""

    def __init__(self, folder: Path, split: Split, schema: "pyarrow.Schema") -> None:
        self._folder, self._split, self._schema = folder, split, schema
        self._rows: list[dict[str, Any]] = []
        self._batches: list[pyarrow.RecordBatch] = []  # of the row group to come
        self._size = 0  # of it, in bytes
        self._paths: list[Path] = []
        self._writer: Any = None

    def add(self, row: dict[str, Any]) -> None:
        """Take a row, and write a row group when enough wait."""
        self._rows.append(row)
        self._size += _size(row)
        is_full = self._size >= ROW_GROUP_BYTES
        if is_full or len(self._rows) == AT_ONCE:
            self._turn()
        if is_full or len(self._batches) * AT_ONCE >= ROW_GROUP_MAX:
            self._write()

    def __enter__(self) -> "_Shards":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self._turn()
            self._write()
        if self._writer is not None:
            self._writer.close()

    def name_all(self) -> int:
        """Give the files their final names, which say how many they are; return their size in bytes."""
        size = 0
        for number, path in enumerate(self._paths):
            size += path.stat().st_size
            path.rename(self._folder / f"{self._split}-{number:05}-of-{len(self._paths):05}.parquet")
        return size

    def _turn(self) -> None:
        """Turn the rows waiting to columns, which take a fraction of their memory."""
        import pyarrow

        if self._rows:
            self._batches.append(pyarrow.RecordBatch.from_pylist(self._rows, self._schema))
            self._rows = []

    def _write(self) -> None:
        import pyarrow
        import pyarrow.parquet

        if not self._batches:
            return
        if self._writer is None:
            self._paths.append(self._folder / f"{self._split}-{len(self._paths):05}")
            self._writer = pyarrow.parquet.ParquetWriter(
                self._paths[-1], self._schema, write_statistics=INDEXED
            )
        table = pyarrow.Table.from_batches(self._batches, self._schema)
        self._writer.write_table(table, row_group_size=table.num_rows)
        self._batches, self._size = [], 0
        if self._paths[-1].stat().st_size >= SHARD_BYTES:
            self._writer.close()
            self._writer = None
