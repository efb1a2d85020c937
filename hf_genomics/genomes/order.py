"""Which window comes when: the order of an epoch, and the windows of any one step of any process."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from ..batches.chance import mix


class EpochOrder(Sampler[int]):
    """A new order of all rows in every epoch, as a pure function of (seed, epoch), cut to whole steps.

    Cut to whole steps, processes never pad their last batch with rows of others, and 1 process of batch 2n sees the
    rows that 2 processes of batch n see; the few rows left over in one epoch come in others.

    Args:
        rows: in the data set.
        batch: rows of one process in one forward pass.
        accumulation: forward passes of a step.
        processes: that train together.
        seed: of the orders.

    Raises:
        ValueError: if there are not rows enough for one step.
    """

    def __init__(self, rows: int, batch: int, accumulation: int = 1, processes: int = 1, seed: int = 0) -> None:
        self.rows, self.seed, self.epoch = rows, seed, 0
        self._found: tuple[int, np.ndarray] | None = None
        self.batch, self.accumulation, self.processes = batch, accumulation, processes
        self.steps = rows // (batch * accumulation * processes)
        if not self.steps:
            raise ValueError(f"{rows} rows are less than a step of {batch * accumulation * processes}")

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that is iterated over next."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Rows in one epoch, over all processes."""
        return self.steps * self.batch * self.accumulation * self.processes

    def __iter__(self) -> Iterator[int]:
        """Give row after row; a batch is the next ``batch`` of them, and processes take batches in turn."""
        return iter(self.order(self.epoch).tolist())

    def order(self, epoch: int) -> np.ndarray:
        """Give the rows of an epoch in their order, (len(self),) int64."""
        start = mix(mix(np.array([self.seed], np.int64).astype(np.uint64)) + np.uint64(epoch))
        return np.argsort(mix(start + np.arange(self.rows, dtype=np.uint64)), kind="stable")[: len(self)]

    def of_step(self, step: int, process: int = 0) -> tuple[int, np.ndarray]:
        """Tell the epoch and the rows that a process saw in a step of the run, counted from 0.

        >>> order = EpochOrder(100, batch=2, accumulation=3, processes=2)
        >>> epoch, rows = order.of_step(9, process=1)
        >>> epoch, rows.shape
        (1, (3, 2))

        Returns:
            epoch, and rows, (accumulation, batch) int64.
        """
        epoch, within = divmod(step, self.steps)
        batches = self.order(epoch).reshape(self.steps, self.accumulation, self.processes, self.batch)
        return epoch, batches[within, :, process]

    def steps_of(self, epoch: int, rows: np.ndarray) -> np.ndarray:
        """Tell in which step of the run, counted from 0, each of these rows of an epoch is trained on, (rows,) int64.

        A pure function, whichever worker asks, and however early. Rows left over count to the epoch's last step.

        >>> order = EpochOrder(100, batch=2, accumulation=3, processes=2)
        >>> order.steps_of(1, order.of_step(9, process=1)[1][0]).tolist()
        [9, 9]
        """
        if self._found is None or self._found[0] != epoch:
            steps = np.full(self.rows, (epoch + 1) * self.steps - 1)
            steps[self.order(epoch)] = epoch * self.steps + np.arange(len(self)) // (len(self) // self.steps)
            self._found = epoch, steps
        return self._found[1][rows]
