"""Put a run's student on the Hugging Face hub: the adapter with its card, or the merged model.

What goes up is listed file by file from what a student consists of; cases, pictures and rulings stay. The
token comes from the environment variable HF_TOKEN and from nowhere else, the hub's address from HF_ENDPOINT.
"""

import os
import re
from pathlib import Path

from training.provenance import FILE_NAME as PROVENANCE
from training.state import RunFolder, RunFolderError

REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
OF_AN_ADAPTER = ("README.md", "adapter_config.json", "adapter_model.safetensors")
OF_A_RUN = (PROVENANCE, "calibration.json", "report.md")
OF_A_MODEL = {".json", ".safetensors", ".jinja", ".model", ".txt", ".md"}


class PublishingError(Exception):
    """Nothing can be put on the hub; says why and what to do."""


def adapter_files(run_dir: Path) -> dict[str, Path]:
    """Return what goes up of a complete run, by its name on the hub.

    Raises RunFolderError for a run that is not complete.
    """
    folder = RunFolder(run_dir)
    stage = folder.newest_stage()
    if folder.report() is None or stage is None:
        raise RunFolderError(f"The run {run_dir.name} is not complete: let it finish, then push it.")
    adapter = folder.adapter_dir(stage)
    files = {name: adapter / name for name in OF_AN_ADAPTER}
    return {**files, **_there({name: run_dir / name for name in OF_A_RUN})}


def merged_files(model_dir: Path, run_dir: Path) -> dict[str, Path]:
    """Return what goes up of a merged model and the run it comes from."""
    model = {path.name: path for path in sorted(model_dir.iterdir()) if path.suffix in OF_A_MODEL}
    return {**model, **_there({name: run_dir / name for name in OF_A_RUN})}


def push(files: dict[str, Path], repo_id: str, *, public: bool) -> str:
    """Upload the files as one commit and return its address.

    A new repository is private unless `public`. Raises PublishingError where there is no token, the hub
    refuses or does not answer, or a repository that is there is public and `public` was not asked for.
    """
    from httpx import HTTPError
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError

    token = os.environ.get("HF_TOKEN")
    if not token:
        raise PublishingError("Set HF_TOKEN to a token that may write: huggingface.co/settings/tokens.")
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token)
    try:
        api.create_repo(repo_id, private=not public, exist_ok=True)
        if not public and api.model_info(repo_id).private is False:
            raise PublishingError(f"{repo_id} is public on the hub: add --public, or name another.")
        added = [CommitOperationAdd(name, path) for name, path in files.items()]
        done = api.create_commit(repo_id, added, commit_message="A student of OOC Desk")
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no status"
        raise PublishingError(f"The hub refused {repo_id} ({status}): {_first_line(error)}") from error
    except (HTTPError, OSError) as error:
        raise PublishingError(f"The hub does not answer: {type(error).__name__}. Try again.") from error
    return str(done.commit_url)


def _there(files: dict[str, Path]) -> dict[str, Path]:
    return {name: path for name, path in files.items() if path.is_file()}


def _first_line(error: Exception) -> str:
    return next((line for line in reversed(str(error).splitlines()) if line.strip()), "no reason given")
