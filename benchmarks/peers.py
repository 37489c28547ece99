"""The desk and another tool, one after the other at each size, so that both meet the same machine."""

import sys
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


def peer_figures(peer: Tool, version: str, sizes: list[int], cache: Path) -> list[Figure]:
    """Do the same work at the desk and at the other tool, and compare."""
    figures = []
    for size in sizes:
        items = write_cases(cache / "items" / f"{size}.jsonl", size)
        tools: tuple[Tool, Tool] = (OocDesk(), peer)
        done = []
        for tool in tools:
            print(f"{tool.name}: {size:,} items", file=sys.stderr)
            with TemporaryDirectory(dir=cache, prefix="work-") as folder:
                done.append(measure(tool, items, size, Path(folder)))
        figures += ratios(done[0], done[1], f"{peer.name} {version}")
    return figures
