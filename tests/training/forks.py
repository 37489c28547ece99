"""A process that has loaded everything and runs folders in forks of itself, which may be killed.

Importing TRL takes longer than a short run does; a fork has it all. One thread, so that forking is safe.
"""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]

SERVES = """
    import os, resource, sys, traceback
    from pathlib import Path

    import torch
    from training import distil
    from training.state import RunFolder

    torch.set_num_threads(1)
    distil.run(RunFolder(Path(sys.argv[1])))
    print("ready", flush=True)
    for line in sys.stdin:
        run_dir, most_bytes = line.rstrip().rsplit(" ", 1)
        child = os.fork()
        if child == 0:
            if int(most_bytes):
                resource.setrlimit(resource.RLIMIT_FSIZE, (int(most_bytes), int(most_bytes)))
            try:
                distil.run(RunFolder(Path(run_dir)))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Loaded:
    """A process that runs the folder `first` to its end and then serves, as the program `serves` does."""

    def __init__(self, serves: str, first: Path) -> None:
        self.log_path = first.with_suffix(".log")
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(serves), str(first)],
                cwd=PROJECT,
                env={**os.environ, "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": str(PROJECT)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        self.said = self.process.stdout
        assert self.said.readline() == "ready\n", self.log_path.read_text()

    def ask(self, line: str) -> None:
        """Send one line."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


class Forks(Loaded):
    """Runs folders in forks of one process, one at a time."""

    def __init__(self, first: Path) -> None:
        super().__init__(SERVES, first)

    def start(self, run_dir: Path, *, most_bytes: int = 0) -> int:
        """Run a folder and return the process id; no file may grow beyond `most_bytes`, where given."""
        self.ask(f"{run_dir} {most_bytes}")
        return int(self.said.readline())

    def wait(self) -> int:
        """Return how the process started last ended: its status, or minus the signal that ended it."""
        return int(self.said.readline())

    def kill(self, process_id: int) -> int:
        """Kill the process started last and return how it ended; it may have been done before."""
        try:
            os.kill(process_id, signal.SIGKILL)
        except ProcessLookupError:
            return self.wait()
        return self.wait()
