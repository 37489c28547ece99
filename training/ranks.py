"""Which of a run's processes this is, and what they agree on.

`accelerate launch` and torchrun start one process per GPU, on one machine or several that share the run
folder, and tell each in its environment which one it is (RANK, WORLD_SIZE, LOCAL_RANK). The first is the
main one: it alone holds the folder and writes what others read, judges and reports. Features, the
reference's answers and the rows of a step are shared out; every step is made of the rows one process would
take, so a run may go on with more or fewer processes than it began with.

Agreements go through a gloo group of their own, on the CPU, and are waited for as long as it takes. A run of
one process agrees with itself, and torch is not asked.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

from training.config import ConfigError, DistilConfig, StageConfig
from training.state import StageStopped

PATIENCE = timedelta(days=7)
"""How long a process waits for the others; one that is lost is noticed at once, by its connection."""

OF_A_LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "TORCHELASTIC_RUN_ID")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process, `rank`, among `count`; `words` is the group that agreements go through."""

    rank: int = 0
    count: int = 1
    words: Any = None

    @property
    def is_main(self) -> bool:
        """Whether this is the process that holds the run folder."""
        return self.rank == 0

    def share(self, things: Sequence[T]) -> list[T]:
        """Return this process's share: every `count`-th, so that shares differ by one thing at most."""
        return list(things[self.rank :: self.count])

    def all_say(self, said: T) -> list[T]:
        """Return what every process says here, in order of rank; what they say must be picklable."""
        if self.count == 1:
            return [said]
        from torch import distributed

        heard: list[Any] = [None] * self.count
        distributed.all_gather_object(heard, said, group=self.words)
        return heard

    def main_says(self, said: T) -> T:
        """Return what the main process says here."""
        return self.all_say(said)[0]

    def any_says(self, said: bool) -> bool:
        """Whether any process says yes here."""
        if self.count == 1:
            return said
        import torch
        from torch import distributed

        votes = torch.tensor(int(said))
        distributed.all_reduce(votes, op=distributed.ReduceOp.MAX, group=self.words)
        return bool(votes)

    def all_do(self, work: Callable[[], T]) -> list[T]:
        """Do a share of the work and return everyone's, in order of rank.

        Raises StageStopped in every process where one was asked to stop.
        """
        done: list[T] = []
        with suppress(StageStopped):
            done.append(work())
        shares = self.all_say(done)
        if not all(shares):
            raise StageStopped
        return [share for one in shares for share in one]


ALONE = Ranks()


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the processes that a launcher started, where it started more than one."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield ALONE
        return
    import torch
    from torch import distributed

    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=PATIENCE)
    words = distributed.new_group(backend="gloo", timeout=PATIENCE)
    yield Ranks(distributed.get_rank(), count, words)
    part()  # not where an error goes up: the others may be gone


def part() -> None:
    """Leave the other processes, if that has not been done; what follows is one process's work."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()
    for name in OF_A_LAUNCHER:  # libraries read them too
        os.environ.pop(name, None)


def share_of(config: DistilConfig, count: int) -> DistilConfig:
    """Return the settings of one of `count` processes, which together take the rows of a step.

    Raises ConfigError for a batch they cannot share equally.
    """
    return replace(config, sft=_share("sft", config.sft, count), dpo=_share("dpo", config.dpo, count))


Stage = TypeVar("Stage", bound=StageConfig)


def _share(name: str, stage: Stage, count: int) -> Stage:
    if stage.batch_size % count:
        raise ConfigError(
            f"{count} processes cannot share {name}.batch_size {stage.batch_size} equally: set it to a "
            f"multiple of {count} in config.json, or start as many processes as divide it."
        )
    return replace(stage, batch_size=stage.batch_size // count)
