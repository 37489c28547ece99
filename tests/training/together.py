"""Runs a folder in several processes that share it, as a launcher would start them, but forked.

Importing TRL takes longer than a short run does; a fork has it all. One thread, so that forking is safe.
"""

import json
import socket
from pathlib import Path

from tests.training.forks import Loaded

SERVES = """
    import json, os, sys, traceback
    from pathlib import Path

    import torch
    from training import distil, sft
    from training.state import RunFolder

    torch.set_num_threads(1)

    def without_memory(folder, after_step):
        load = sft.load_configured

        def load_hooked(config):
            model, processor = load(config)

            def hook(*_):
                if len(folder.metrics()) >= after_step:
                    torch.empty(1 << 50, dtype=torch.uint8)  # bytes; no machine has them

            model.get_input_embeddings().register_forward_hook(hook)
            return model, processor

        sft.load_configured = load_hooked

    def take_part(folder, rank, asked):
        os.environ |= {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(asked["count"]),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(asked["port"]),
        }
        if asked["no_memory"] and asked["no_memory"][0] == rank:
            without_memory(folder, asked["no_memory"][1])
        distil.run(folder)

    distil.run(RunFolder(Path(sys.argv[1])))
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        children = []
        for rank in range(asked["count"]):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    take_part(RunFolder(Path(asked["run_dir"])), rank, asked)
                    status = 0
                except BaseException as error:
                    status = 0 if type(error).__name__ == "StageStopped" else 1
                    traceback.print_exc()
                os._exit(status)
            children.append(child)
        print(json.dumps(children), flush=True)
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(one, 0)[1]) for one in children]), flush=True)
"""


class Together(Loaded):
    """Runs a folder in several forks of one process at once."""

    def __init__(self, first: Path) -> None:
        super().__init__(SERVES, first)

    def start(self, run_dir: Path, *, count: int = 2, no_memory: tuple[int, int] | None = None) -> list[int]:
        """Run a folder in `count` processes and return their ids.

        `no_memory` says in which of them memory ends in stage 1, and after which step.
        """
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        asked = {"run_dir": str(run_dir), "count": count, "port": port, "no_memory": no_memory}
        self.ask(json.dumps(asked))
        children: list[int] = json.loads(self.said.readline())
        return children

    def wait(self) -> list[int]:
        """Return how the processes started last ended: a status, or minus the signal that ended it."""
        ended: list[int] = json.loads(self.said.readline())
        return ended
