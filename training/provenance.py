"""Where a run's adapters come from: `provenance.json` ties them to snapshot, settings, code and packages.

Every file that went in or came out is there with its SHA-256, so that a change of any of them is named.
Pictures are not: what the snapshot says of them is its hash. No path of the machine and no key is in it.
"""

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from db.vocabulary import Stage
from training.config import PROJECT_DIR, load_config, located, public_name
from training.prompts import PROMPT_VERSION
from training.state import RunFolder, RunFolderError, write_whole

FILE_NAME = "provenance.json"
PACKAGES = (
    "torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers", "safetensors", "numpy",
    "pillow",
)  # fmt: skip
FILES = (
    "config.json", "snapshot.json", "sft.jsonl", "preferences.jsonl", "negatives.jsonl", "validation.jsonl",
    "test.jsonl", "calibration.json", "evaluation.json", "report.md",
)  # fmt: skip
"""What a run is made of besides its adapters; those that a run does not have are left out."""
REPORT = "report.json"


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of looking at every file again; `differences` from this machine are no fault of the run."""

    files: int
    changed: tuple[str, ...]
    missing: tuple[str, ...]
    differences: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether every file is there as it was."""
        return not self.changed and not self.missing


def leave_provenance(folder: RunFolder, report: str) -> None:
    """Write `provenance.json` for a run whose `report.json` is about to be written with this text."""
    config = load_config(folder.config_path)
    snapshot = json.loads(folder.snapshot_path.read_text(encoding="utf-8"))
    files = {name: _hash_of(folder.path / name) for name in _present(folder.path)}
    said = {
        "run": folder.path.name,
        "student": public_name(config.student),
        "base": _base(config.student),
        "snapshot": snapshot["hash"],
        "seed": config.seed,
        "prompt_version": PROMPT_VERSION,
        "code": _code(),
        "python": platform.python_version(),
        "packages": installed(),
        "files": {**files, REPORT: hashlib.sha256(report.encode()).hexdigest()},
    }
    write_whole(folder.path / FILE_NAME, json.dumps(said, indent=2) + "\n")


def read_provenance(run_dir: Path) -> dict[str, Any]:
    """Read what a run says of itself; raises RunFolderError where there is nothing to read."""
    path = run_dir / FILE_NAME
    try:
        said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunFolderError(
            f"The run {run_dir.name} has no {FILE_NAME}: it is not complete, or of an earlier version."
        ) from error
    except ValueError as error:
        raise RunFolderError(f"{FILE_NAME} of the run {run_dir.name} is damaged: {error}.") from error
    return said


def verify(run_dir: Path) -> Verified:
    """Compute every hash anew and compare. Raises RunFolderError for a run without provenance."""
    said = read_provenance(run_dir)
    files: dict[str, str] = said["files"]
    missing = [name for name in files if not (run_dir / name).is_file()]
    changed = [
        name for name, kept in files.items() if name not in missing and _hash_of(run_dir / name) != kept
    ]
    added = [name for name in _present(run_dir) if name not in files]
    return Verified(len(files), (*changed, *added), tuple(missing), tuple(_differences(said, run_dir)))


def installed() -> dict[str, str]:
    """Return the versions of the packages a run depends on."""
    return {name: metadata.version(name) for name in PACKAGES}


def _base(student: str) -> dict[str, str]:
    """Return what pins the untouched student: hashes of its weights, or its revision on the hub.

    Empty where the hub's cache does not tell the revision.
    """
    folder = Path(located(student))
    if folder.is_dir():
        return {path.name: _hash_of(path) for path in sorted(folder.glob("*.safetensors"))}
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(student, "config.json")
    return {"revision": Path(cached).parent.name} if isinstance(cached, str) else {}


def _differences(said: dict[str, Any], run_dir: Path) -> Iterator[str]:
    here = installed()
    for name, version in said["packages"].items():
        if here.get(name) != version:
            yield f"made with {name} {version}, here is {here.get(name, 'none')}"
    if said["prompt_version"] != PROMPT_VERSION:
        yield f"made with prompts {said['prompt_version']}, here are {PROMPT_VERSION}"
    if said["run"] != run_dir.name:
        yield f"made as the run {said['run']}"


def _present(run_dir: Path) -> list[str]:
    """Return the names of a run's files that are there, those of its adapters among them."""
    adapters = [path for stage in Stage for path in sorted((run_dir / stage.value).glob("*"))]
    names = [path.relative_to(run_dir).as_posix() for path in adapters if path.is_file()]
    return [*(name for name in FILES if (run_dir / name).is_file()), *names]


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _code() -> dict[str, Any] | None:
    """Return the commit of the project's code and whether files differ from it; None outside of git."""
    if not (PROJECT_DIR / ".git").exists():
        return None
    said = []
    for asked in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no")):
        try:
            done = subprocess.run(
                ["git", "-C", str(PROJECT_DIR), *asked],
                capture_output=True, text=True, timeout=30, check=True,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError):
            return None
        said.append(done.stdout.strip())
    return {"commit": said[0], "differs": bool(said[1])}
