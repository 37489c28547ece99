"""The script of a run on a rented machine: unpack what lies beside it, go on with the run, put results back.

It is packed with the run (`python -m ooc_app distil --launcher hf-jobs`), with the packages it needs named
above it for `uv run`. Beside it lie `code.tar.gz`, `run.tar.gz` and, of an earlier try, `results/`. With
the name of a data set repository on the hub as its argument, it puts the run there while it goes and when
it ends, so that a time-out costs ten minutes; without one, results stay in `run/`.
"""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

SECONDS_BETWEEN_PUSHES = 600.0
RESULTS = "results"
STAYS = [
    "images/*", "features/*", "lock", "run.log", "launch.json", "*.partial", "config.json", "snapshot.json",
    "sft.jsonl", "preferences.jsonl", "validation.jsonl", "test.jsonl", "ended-*.json", "stop",
]  # fmt: skip
"""What went out with the run, or only means something on the machine it is on."""


def main(arguments: list[str]) -> int:
    """Run or resume what lies beside this file and return the run's exit status."""
    folder = Path(__file__).resolve().parent
    repo_id = arguments[0] if arguments else None
    for name in ("code", "run"):
        with tarfile.open(folder / f"{name}.tar.gz") as packed:
            packed.extractall(folder / name, filter="data")
    if (folder / RESULTS).is_dir():
        shutil.copytree(folder / RESULTS, folder / "run", dirs_exist_ok=True)
    process = subprocess.Popen(_command(folder), cwd=folder / "code")
    while True:
        try:
            status = process.wait(SECONDS_BETWEEN_PUSHES)
            break
        except subprocess.TimeoutExpired:
            _push(folder, repo_id)
    _push(folder, repo_id)
    return status


def _command(folder: Path) -> list[str]:
    """Return what runs the folder: on one GPU or the CPU as one process, else through accelerate."""
    import torch  # beside what is unpacked, only its packages are there

    gpus = torch.cuda.device_count()
    module = ["-m", "training", str(folder / "run")]
    if gpus < 2:
        return [sys.executable, *module]
    chosen = ["--config_file", "training/launch/multi_gpu.yaml", "--num_processes", str(gpus)]
    return [sys.executable, "-m", "accelerate.commands.launch", *chosen, *module]


def _push(folder: Path, repo_id: str | None) -> None:
    """Put the run's results on the hub; a hub that does not answer is tried again the next time."""
    if repo_id is None:
        return
    from huggingface_hub import HfApi

    try:
        HfApi(endpoint=os.environ.get("HF_ENDPOINT")).upload_folder(
            repo_id=repo_id,
            repo_type="dataset",
            folder_path=folder / "run",
            path_in_repo=RESULTS,
            ignore_patterns=STAYS,
            delete_patterns=["checkpoints/*"],
            commit_message="How far the run is",
        )
    except Exception as error:
        print(f"The results were not put on the hub: {type(error).__name__}: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
