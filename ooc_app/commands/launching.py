"""How `distil` is launched: here, through accelerate, or on a rented machine; and results fetched."""

import argparse
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

from ooc_app import launchers, rented, runner
from ooc_app.commands.terminal import UsageError, tell
from training.config import DistilConfig
from training.ranks import share_of
from training.state import RunFolder

LOCAL, ACCELERATE, RENTED = "local", "accelerate", "hf-jobs"


def add_options(distil: argparse.ArgumentParser) -> None:
    """Add what `distil` takes of its launch."""
    distil.add_argument(
        "--launcher",
        choices=(LOCAL, ACCELERATE, RENTED),
        help="one process here; several through accelerate; or packed for Hugging Face Jobs (default: local,"
        " or as the run was launched before)",
    )
    distil.add_argument("--processes", type=_count, metavar="N", help="accelerate: default one per GPU")
    distil.add_argument("--launch-config", type=Path, metavar="FILE", help="accelerate's own configuration")
    rental = rented.Rental()
    distil.add_argument("--flavor", default=rental.flavor, help="hf-jobs: machine (default: %(default)s)")
    distil.add_argument(
        "--timeout", default=rental.timeout, help="hf-jobs: longest time (default: %(default)s)"
    )
    distil.add_argument("--submit", action="store_true", help="hf-jobs: start the job; HF_TOKEN must be set")


def chosen_launch(given: argparse.Namespace) -> launchers.Launch | None:
    """Return how the run is to be launched here; None leaves it as it was.

    Raises UsageError for options of another launcher, LaunchError for a configuration that is none, a
    time-out that is none, or where `--submit` has no token.
    """
    if given.launcher != ACCELERATE and (given.processes or given.launch_config):
        raise UsageError("--processes and --launch-config belong to --launcher accelerate.")
    if given.launcher != RENTED and given.submit:
        raise UsageError("--submit belongs to --launcher hf-jobs.")
    if given.launcher == RENTED:
        rented.Rental(given.flavor, given.timeout)
        if given.submit:
            rented.token()
    if given.launcher == ACCELERATE:
        return launchers.through_accelerate(given.processes, given.launch_config)
    return launchers.LOCAL if given.launcher == LOCAL else None


def check_shares(config: DistilConfig, launch: launchers.Launch | None) -> None:
    """Raise ConfigError, before anything is frozen, for batches that processes cannot share."""
    share_of(config, launch.processes if launch else 1)


def rent(run_dir: Path, given: argparse.Namespace) -> int:
    """Pack a run for a rented machine and, with `--submit`, start it there; else say what would be done."""
    rental = rented.Rental(given.flavor, given.timeout)
    if runner.view(run_dir).report is not None or RunFolder(run_dir).is_busy():
        raise runner.RunError(f"The run {run_dir.name} is complete or going: there is nothing to rent for.")
    prepared = run_dir / rented.FOLDER_NAME
    sizes = rented.prepare(run_dir, prepared)
    if given.submit:
        job = rented.submit(prepared, run_dir, rental)
        shutil.rmtree(prepared)
        tell(given, "submitted", {"job": job.job_id, "repository": job.repo_id, "address": job.address})
        print(f"Fetch its results with `python -m ooc_app distil --fetch {run_dir.name}`.", file=sys.stderr)
        return 0
    said = {"folder": str(prepared), "files": sizes, **asdict(rental), "packages": rented.pins()}
    if given.json:
        print(json.dumps({"event": "prepared", **said}), flush=True)
        return 0
    print(f"Prepared in {prepared}:")
    for name, size in sizes.items():
        print(f"  {size:>14,}  {name}")
    print(
        f"With --submit and HF_TOKEN it would go to a private data set repository, ooc-run-{run_dir.name},"
        f" and a job on {rental.flavor} would run `uv run job.py` on it for {rental.timeout} at most.\n"
        f"`python -m ooc_app distil --resume {run_dir.name} --launcher hf-jobs --submit` does that; without a"
        f" hub, copy the folder to any machine that has uv and start `uv run job.py` there."
    )
    return 0


def fetch(run_dir: Path, given: argparse.Namespace) -> int:
    """Bring a submitted run's results into its folder, and say how it stands."""
    job = rented.fetch(run_dir)
    view = runner.view(run_dir)
    tell(given, "fetched", {"run": view.name, "status": view.status, "repository": job.repo_id})
    return 0


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes")
    return int(text)
