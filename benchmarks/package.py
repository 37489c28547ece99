"""Another tool's package, in a virtual environment of its own."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.processes import nice

PIP: Final = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")


@dataclass(frozen=True, slots=True)
class Package:
    """A package, and the constraints without which its newest version does not run."""

    name: str
    held_back: tuple[str, ...] = ()

    def install(self, cache: Path) -> str:
        """Install the newest version where there is none; return which one is there."""
        folder = self.folder(cache)
        python, complete = str(folder / "bin" / "python"), folder / "complete"
        if not complete.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
            constraints = folder / "constraints.txt"
            constraints.write_text("".join(f"{one}\n" for one in self.held_back))
            asked = [python, *PIP, "--constraint", str(constraints), self.name]
            subprocess.run(nice(asked), check=True, stdout=sys.stderr)
            complete.touch()
        asking = f"from importlib.metadata import version; print(version({self.name!r}))"
        told = subprocess.run([python, "-c", asking], check=True, capture_output=True, text=True)
        return told.stdout.strip()

    def folder(self, cache: Path) -> Path:
        """Where the virtual environment is."""
        return (cache / self.name).absolute()
