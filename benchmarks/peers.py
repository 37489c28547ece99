"""The desk beside another tool, at each size."""

import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.desk_cases import write_cases
from benchmarks.peer_doccano import Doccano
from benchmarks.peer_label_studio import LabelStudio
from benchmarks.peer_potato import Potato
from benchmarks.report import Figure
from benchmarks.side_by_side import Tool, measure, ratios
from benchmarks.tool_desk import OocDesk

TOOLS: Final[dict[str, type[Tool]]] = {"label-studio": LabelStudio, "potato": Potato, "doccano": Doccano}


def install(name: str, cache: Path) -> tuple[Tool, str]:
    """Install a tool; return it and its version."""
    tool = TOOLS[name]()
    print(f"{tool.name}: install", file=sys.stderr)
    return tool, tool.install(cache / "venvs")


def peer_figures(peer: Tool, sizes: list[int], cache: Path) -> list[Figure]:
    """Do the same work at the desk and at the other tool, and compare."""
    figures = []
    for size in sizes:
        items = write_cases(cache / "items" / f"{size}.jsonl", size)
        with TemporaryDirectory(dir=cache, prefix="work-") as folder:
            ours, theirs = measure((OocDesk(), peer), items, size, Path(folder))
        figures += [replace(row, what=f"{size:,} items: {row.what}") for row in ratios(ours, theirs)]
    return figures
