"""A run on a rented machine (Hugging Face Jobs): packed, submitted where asked for, and fetched back.

What goes out is a folder of three files: the script with its packages pinned, the code of `training`, and
the run's records and pictures. It goes to a private data set repository, the job puts its results there,
and `fetch` brings them into the run's folder. The token is read from HF_TOKEN; the job gets it as a secret.
"""

import io
import json
import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ooc_app.launchers import LaunchError
from training.config import PROJECT_DIR, load_config, located, save_config
from training.state import RunFolder, write_whole

PYTHON = "3.11"
FILE_NAME = "job.json"
FOLDER_NAME = "rented"
SCRIPT = PROJECT_DIR / "training" / "launch" / "job.py"
RESULTS = "results"
PACKAGES = (
    "torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers", "safetensors", "numpy",
    "pillow", "huggingface_hub",
)  # fmt: skip
"""What `training` imports; their versions are those of requirements.txt."""
STAYS = {"lock", "run.log", "launch.json", FILE_NAME, FOLDER_NAME, "state.json", "features", "stop"}
"""What of a run folder means something on this machine alone, or is computed anew."""
TIMEOUT = re.compile(r"\d+(\.\d+)?[smhd]")
IMAGE = "ghcr.io/astral-sh/uv:python3.12-bookworm"
"""What huggingface_hub starts scripts in; uv brings its own Python."""
FIRST = ["uv", "run", "--no-project", "--python", PYTHON, "--with"]
BOOTSTRAP = (
    "import os, sys; from huggingface_hub import snapshot_download; "
    "folder = snapshot_download(sys.argv[1], repo_type='dataset', local_dir='/tmp/ooc-run'); "
    f"os.execvp('uv', ['uv', 'run', '--no-project', '--python', '{PYTHON}', folder + '/job.py', sys.argv[1]])"
)
"""What the job runs first: it fetches the folder and hands over to the script in it."""


@dataclass(frozen=True, slots=True)
class Rental:
    """Which machine, and for how long at most: `timeout` as in 30m or 4h. Jobs end after 30 min otherwise."""

    flavor: str = "a10g-small"
    timeout: str = "4h"

    def __post_init__(self) -> None:
        if not TIMEOUT.fullmatch(self.timeout):
            raise LaunchError(f"{self.timeout!r} is no time-out: give a number and s, m, h or d, as in 4h.")


@dataclass(frozen=True, slots=True)
class Job:
    """What was submitted: where its results are to be found, and where it can be watched."""

    repo_id: str
    job_id: str
    address: str


def prepare(run_dir: Path, target: Path) -> dict[str, int]:
    """Write script, code and run into the folder `target`; return their sizes in bytes.

    Raises RunFolderError for a folder without snapshot.
    """
    folder = RunFolder(run_dir)
    folder.check()
    target.mkdir(parents=True, exist_ok=True)
    code = dict(_code()) | _student(folder, target / "config.json")
    run = {
        path.relative_to(run_dir).as_posix(): path
        for part in sorted(run_dir.iterdir())
        if part.name not in STAYS
        for path in ([part] if part.is_file() else _files(part))  # pictures may lie behind a link
    }
    _pack(target / "code.tar.gz", code)
    _pack(target / "run.tar.gz", {**run, "config.json": target / "config.json"})
    (target / "config.json").unlink()
    (target / "job.py").write_text(_header() + SCRIPT.read_text(encoding="utf-8"), encoding="utf-8")
    return {path.name: path.stat().st_size for path in sorted(target.iterdir())}


def _student(folder: RunFolder, config_path: Path) -> dict[str, Path]:
    """Return the files of a student that is a folder, and write a configuration that finds them there.

    One of the project lies where it is in the project; one from elsewhere gets a place of its own, because
    where it is says something of this machine.
    """
    config = load_config(folder.config_path)
    student = Path(located(config.student))
    shutil.copyfile(folder.config_path, config_path)
    if not student.is_dir():
        return {}
    inside = config.student
    if Path(inside).is_absolute():
        inside = f"students/{student.name}"
        save_config(replace(config, student=inside), config_path)
    return {f"{inside}/{path.relative_to(student).as_posix()}": path for path in _files(student)}


def submit(prepared: Path, run_dir: Path, rental: Rental) -> Job:
    """Put a prepared folder into a private repository, start the job, and note both in the run folder.

    Raises LaunchError where there is no token, the hub refuses or does not answer, or the repository is
    there and public.
    """
    from httpx import HTTPError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    own = token()
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=own)
    try:
        owner = str(api.whoami()["name"])
        repo_id = f"{owner}/ooc-run-{run_dir.name}"
        api.create_repo(repo_id, repo_type="dataset", private=True, exist_ok=True)
        if api.dataset_info(repo_id).private is False:
            raise LaunchError(
                f"{repo_id} is public on the hub, and a run holds cases: make it private first."
            )
        api.upload_folder(
            repo_id=repo_id, repo_type="dataset", folder_path=prepared, commit_message="A run of OOC Desk"
        )
        started = api.run_job(
            image=IMAGE,
            command=[*FIRST, _pins()["huggingface_hub"], "python", "-c", BOOTSTRAP, repo_id],
            flavor=rental.flavor,
            timeout=rental.timeout,
            secrets={"HF_TOKEN": own},
            namespace=owner,
        )
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no status"
        raise LaunchError(f"The hub refused the run ({status}): {_last_line(error)}") from error
    except (HTTPError, OSError) as error:
        raise LaunchError(f"The hub does not answer: {type(error).__name__}. Try again.") from error
    job = Job(repo_id, started.id, started.url)
    write_whole(run_dir / FILE_NAME, json.dumps(asdict(job)) + "\n")
    return job


def fetch(run_dir: Path) -> Job:
    """Bring into the run folder what its job has put on the hub so far.

    Raises LaunchError for a run that was never submitted, or where the hub does not answer.
    """
    from httpx import HTTPError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    path = run_dir / FILE_NAME
    if not path.exists():
        raise LaunchError(
            f"The run {run_dir.name} was not submitted from here, so there is nothing to fetch."
        )
    job = Job(**json.loads(path.read_text(encoding="utf-8")))
    own = token()
    with RunFolder(run_dir).locked():
        try:
            found = snapshot_download(
                job.repo_id, repo_type="dataset", token=own, allow_patterns=[f"{RESULTS}/*"],
                endpoint=os.environ.get("HF_ENDPOINT"),
            )  # fmt: skip
        except (HfHubHTTPError, HTTPError, OSError) as error:
            raise LaunchError(f"The results cannot be fetched: {_last_line(error)}") from error
        _take_in(Path(found) / RESULTS, run_dir)
    return job


def _take_in(results: Path, run_dir: Path) -> None:
    """Copy results, the report last, because its existence means that the run is complete."""
    files = sorted(_files(results), key=lambda path: path.name == "report.json") if results.is_dir() else []
    for path in files:
        target = run_dir / path.relative_to(results)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{target.name}.partial")
        partial.write_bytes(path.read_bytes())
        partial.replace(target)


def _code() -> Iterator[tuple[str, Path]]:
    """Yield what a run needs of the project, by its path in it."""
    for path in (PROJECT_DIR / "db" / "__init__.py", PROJECT_DIR / "db" / "vocabulary.py"):
        yield path.relative_to(PROJECT_DIR).as_posix(), path
    for path in _files(PROJECT_DIR / "training"):
        if path.suffix in {".py", ".toml", ".yaml"}:
            yield path.relative_to(PROJECT_DIR).as_posix(), path


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".partial"))


def _pack(path: Path, files: dict[str, Path]) -> None:
    """Pack files under their names alone: nobody's name, no time, no link."""
    with tarfile.open(path, "w:gz") as packed:
        for name, source in files.items():
            content = source.read_bytes()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))


def pins() -> list[str]:
    """Return what the job installs."""
    return list(_pins().values())


def _pins() -> dict[str, str]:
    """Return the exact requirement of every package of `PACKAGES`, as requirements.txt has it."""
    text = (PROJECT_DIR / "requirements.txt").read_text(encoding="utf-8")
    pinned: dict[str, str] = dict(re.findall(r"^([\w-]+)(?:\[\w+\])?(==[\w.]+)", text, re.MULTILINE))
    return {name: f"{name}{pinned[name]}" for name in PACKAGES}


def _header() -> str:
    """Return the script's metadata, as `uv run` reads it (PEP 723)."""
    lines = [f'#     "{pin}",' for pin in pins()]
    said = ["# /// script", f'# requires-python = ">={PYTHON}"', "# dependencies = [", *lines, "# ]", "# ///"]
    return "\n".join(said) + "\n"


def token() -> str:
    """Return the token of the environment. Raises LaunchError where there is none."""
    found = os.environ.get("HF_TOKEN")
    if not found:
        raise LaunchError("Set HF_TOKEN to a token that may write: huggingface.co/settings/tokens.")
    return found


def _last_line(error: Any) -> str:
    return next((line for line in reversed(str(error).splitlines()) if line.strip()), "no reason given")
