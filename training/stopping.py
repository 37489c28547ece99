"""Being asked to stop: by a signal, or because who started this process is gone.

Stages ask after every step and stop once it is saved. Where several processes share a run, the one that is
asked leaves a file, `stop`, for the others; the main one deletes it when the run begins.
"""

import os
import signal
import threading

from training.ranks import Ranks
from training.state import RunFolder


class StopRequests:
    """Answers whether the run is to stop; made in the main thread, it takes SIGTERM and SIGINT."""

    def __init__(self, folder: RunFolder, ranks: Ranks) -> None:
        self.folder = folder
        self.is_shared = ranks.count > 1
        self.launcher = os.getppid()
        self.asked = threading.Event()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: self.asked.set())

    def __call__(self) -> bool:
        """Whether to stop; the other processes are told."""
        if not self.is_shared:
            return self.asked.is_set()
        if self.asked.is_set() or self.is_orphaned():
            self.folder.stop_path.touch()
            return True
        return self.folder.stop_path.exists()

    def is_orphaned(self) -> bool:
        """Whether the launcher of several processes is gone, which would have ended them together."""
        return self.is_shared and os.getppid() != self.launcher

    def why(self) -> str:
        """Say why the run stopped."""
        if self.is_orphaned():
            return "the process that launched it was killed; everything is saved, resume goes on from here"
        return "stopped on request; everything is saved"
