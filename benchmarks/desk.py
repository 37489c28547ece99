"""A desk of 10,000, 100,000 and 1,000,000 cases: import, ruling, reading, export, and the page in use.

    python benchmarks/desk.py [--sizes 10000,100000,1000000] [--quick] [--json]
    python benchmarks/desk.py --peer label-studio|potato|doccano [--sizes 10000,100000] [--json]

Without `--peer`, each size is a desk with an SQLite file of its own, filled by the importer, and what
is measured has a goal. With it, that tool is installed in a virtual environment of its own, given the
same items and the same work as the desk in turn, and every row has the ratio. Both need some gigabytes
below `--cache`, which is kept for another run only where it is given; the servers they start end with
them. The time from a key press to the next case painted is measured in a browser, not here.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script finds its own folder only

PEERS = ("label-studio", "potato", "doccano")
OWN_SIZES = "10000,100000,1000000"
PEER_SIZES = "10000,100000"
PACKAGES = ("gradio", "SQLAlchemy", "httpx")


def main() -> None:
    """Measure, and print the figures."""
    given = arguments()
    # Here, because every process that is started for a measurement imports this file anew.
    from benchmarks.desk_figures import QUICK, THOROUGH, own_figures
    from benchmarks.peers import install, peer_figures
    from benchmarks.report import show

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers end with this process
    os.environ.pop("OOC_DATABASE_URL", None)  # every desk here is a file of its own
    sizes = sorted(given.sizes or sizes_of(PEER_SIZES if given.peer else OWN_SIZES))
    with cache_folder(given.cache) as cache:
        if given.peer is None:
            figures = own_figures(sizes, cache, QUICK if given.quick else THOROUGH)
            show("desk", PACKAGES, figures, as_json=given.json)
            return
        peer, version = install(given.peer, cache)
        figures = peer_figures(peer, sizes, cache)
        show(f"desk beside {given.peer}", PACKAGES, figures, as_json=given.json, **{given.peer: version})


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=sizes_of, help=f"default {OWN_SIZES}, beside a peer {PEER_SIZES}")
    parser.add_argument("--peer", choices=PEERS)
    parser.add_argument("--cache", type=Path, help="folder for items and virtual environments; is kept")
    parser.add_argument("--quick", action="store_true", help="few repeats, to see that everything runs")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def sizes_of(text: str) -> list[int]:
    """Read numbers of cases."""
    return [int(part) for part in text.split(",")]


@contextmanager
def cache_folder(given: Path | None) -> Iterator[Path]:
    """Give the folder that was asked for, or one that goes in the end."""
    if given is None:
        with tempfile.TemporaryDirectory(prefix="ooc-benchmark-") as folder:
            yield Path(folder)
        return
    given.mkdir(parents=True, exist_ok=True)
    yield given.absolute()


if __name__ == "__main__":
    main()
