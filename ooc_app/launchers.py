"""How a run is started: one process, or several through `accelerate launch`.

What was chosen is kept in the run folder, `launch.json`, so that resuming starts it the same way, from the
command line and from the page alike.
"""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from training.config import PROJECT_DIR, load_config
from training.ranks import share_of
from training.state import write_whole

LAUNCH_DIR = PROJECT_DIR / "training" / "launch"
FILE_NAME = "launch.json"


class LaunchError(Exception):
    """A run cannot be launched as asked; says why and what to do."""


@dataclass(frozen=True, slots=True)
class Launch:
    """`processes` that share a run, started with accelerate's configuration in `config`, by its path.

    A name without a folder is one of `training/launch/`. Without `config` it is one process.
    """

    config: str = ""
    processes: int = 1

    def command(self, run_dir: Path) -> list[str]:
        """Return what starts `python -m training RUN_DIR` this way."""
        module = ["-m", "training", str(run_dir)]
        if not self.config:
            return [sys.executable, *module]
        chosen = ["--config_file", str(_located(self.config)), "--num_processes", str(self.processes)]
        return [sys.executable, "-m", "accelerate.commands.launch", *chosen, *module]


LOCAL = Launch()


def through_accelerate(processes: int | None, config: Path | None) -> Launch:
    """Return a launch with what was not said taken from this machine: its GPUs, or two CPU processes.

    Raises LaunchError for a file that is none of accelerate's.
    """
    gpus = gpu_count()
    name = str(config.absolute()) if config else "multi_gpu.yaml" if gpus else "cpu.yaml"
    in_file = _processes_in(_located(name))
    return Launch(name, processes or (gpus if gpus and not config else in_file))


def gpu_count() -> int:
    """Ask the NVIDIA driver how many GPUs there are; 0 where there is no driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    listed = subprocess.run([program, "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())


def keep(run_dir: Path, launch: Launch) -> None:
    """Keep how the run is launched. Raises ConfigError where the processes cannot share its batches."""
    share_of(load_config(run_dir / "config.json"), launch.processes)
    if launch == LOCAL:
        (run_dir / FILE_NAME).unlink(missing_ok=True)
    else:
        write_whole(run_dir / FILE_NAME, json.dumps(asdict(launch)) + "\n")


def kept(run_dir: Path) -> Launch:
    """Return how the run was launched last."""
    path = run_dir / FILE_NAME
    return Launch(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else LOCAL


def _located(config: str) -> Path:
    return LAUNCH_DIR / config  # an absolute path stays as it is


def _processes_in(path: Path) -> int:
    try:
        said = re.search(r"^num_processes:\s*(\d+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    except (OSError, UnicodeDecodeError) as error:
        raise LaunchError(f"There is no launch configuration at {path}.") from error
    if said is None:
        raise LaunchError(
            f"{path} says no num_processes: it is no configuration of `accelerate launch`; see {LAUNCH_DIR}."
        )
    return int(said[1])
