"""The processes of one command, started several times by `accelerate launch` or `torchrun`, share its work.

Every process reads the whole input; each computes its share of the batches, and the first one gathers and writes the
results. So the batches, and with them the results, are those of a single process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from ..errors import InputError, StoppedError

Item = TypeVar("Item")
Result = TypeVar("Result")

_PATIENCE = timedelta(days=7)  # how long one process waits for another; if that one has ended, the wait ends at once


@dataclass(frozen=True)
class Processes:
    """The processes that share the work of a command, seen from one of them.

    Attributes:
        index: number of this process, from 0.
        count: number of processes.
        group: their group in torch.distributed; None for a process that is alone.
    """

    index: int = 0
    count: int = 1
    group: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this process writes."""
        return self.index == 0

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result] | None:
        """Call a function with every item, each in one process; all processes must call this with the same items.

        Args:
            function: the function; its results can be pickled.
            items: the items.

        Returns:
            The results in the order of the items in the first process; None in the others.
        """
        # Of 5 items and 2 processes, the first process computes items 0, 2 and 4, the second one 1 and 3.
        parts = self.gather([function(item) for item in items[self.index :: self.count]])
        if parts is None:
            return None
        results: list[Any] = [None] * len(items)
        for index, part in enumerate(parts):
            results[index :: self.count] = part
        return results

    def gather(self, value: Result) -> list[Result] | None:
        """Return the values of all processes in the first process, None in the others; all must call this.

        Raises:
            StoppedError: if another process has ended.
        """
        if self.count == 1:
            return [value]
        from torch.distributed import gather_object

        values: list[Any] | None = [None] * self.count if self.is_first else None
        with _peer_errors():
            gather_object(value, values, dst=0, group=self.group)
        return values

    def broadcast(self, value: Result) -> Result:
        """Return the value of the first process in every process; all must call this.

        Raises:
            StoppedError: if another process has ended.
        """
        if self.count == 1:
            return value
        from torch.distributed import broadcast_object_list

        values = [value]
        with _peer_errors():
            broadcast_object_list(values, src=0, group=self.group)
        return values[0]


ALONE = Processes()


def join_processes() -> Processes:
    """Find the other processes of this command, if a launcher started several; each takes one GPU of its machine.

    Raises:
        InputError: if this machine has fewer GPUs than processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return ALONE
    import torch  # slow to import
    from accelerate import PartialState

    gpus = torch.accelerator.device_count() if torch.accelerator.is_available() else 0
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if gpus and local >= gpus:
        raise InputError(
            f"process {local + 1} of this machine has no GPU: there are {gpus}; start fewer processes (--num_processes)"
        )
    state = PartialState(cpu=not gpus, timeout=_PATIENCE)
    # Results are numbers in the memory of the CPU, so gloo carries them, whatever the processes compute on.
    return Processes(
        state.process_index, state.num_processes, torch.distributed.new_group(timeout=_PATIENCE, backend="gloo")
    )


@contextmanager
def _peer_errors() -> Iterator[None]:
    """Turn the error of an exchange with a process that has ended into StoppedError."""
    from torch.distributed import DistError

    try:
        yield
    except RuntimeError as error:
        # DistError is torch's. gloo raises a plain RuntimeError, which only its text tells from a mistake of ours.
        if isinstance(error, DistError) or "gloo" in str(error) or "Connection" in str(error):
            raise StoppedError("another process of the command has ended; see its messages", code=1) from error
        raise
