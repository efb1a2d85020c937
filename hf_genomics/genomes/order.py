"""Order of the rows of a dataset in an epoch, and the rows of any single step of any process."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from ..batches.chance import mix


class EpochOrder(Sampler[int]):
    """A sampler that shuffles all rows again in each epoch, and omits the last rows, which do not fill a whole step.

    The order depends only on seed and epoch. Every step is complete, so no rows are repeated to fill a batch; one
    process with batches of 2n rows sees the same rows in each step as two processes with batches of n. The few rows
    that one epoch omits occur in other epochs.

    Args:
        rows: number of rows in the dataset.
        batch: number of rows of one process in one forward pass.
        accumulation: number of forward passes in a step.
        processes: number of processes that train together.
        seed: seed of the orders.

    Raises:
        ValueError: if there are fewer rows than one step needs.
    """

    def __init__(self, rows: int, batch: int, accumulation: int = 1, processes: int = 1, seed: int = 0) -> None:
        self.rows, self.seed, self.epoch = rows, seed, 0
        # Cache of `step_of_rows`: an epoch, and the step of each row in it.
        self._steps_of_epoch: tuple[int, np.ndarray] | None = None
        self.batch, self.accumulation, self.processes = batch, accumulation, processes
        self.steps_per_epoch = rows // (batch * accumulation * processes)
        if not self.steps_per_epoch:
            raise ValueError(f"{rows} rows are too few: one step needs {batch * accumulation * processes}")

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that is iterated over next."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of rows in one epoch, over all processes."""
        return self.steps_per_epoch * self.batch * self.accumulation * self.processes

    def __iter__(self) -> Iterator[int]:
        """Iterate over the rows of all processes; accelerate gives batch 0 to process 0, batch 1 to process 1, ..."""
        return iter(self.rows_of_epoch(self.epoch).tolist())

    def rows_of_epoch(self, epoch: int) -> np.ndarray:
        """Return the rows of an epoch in their order, int64 (len(self),)."""
        # `mix` hashes 64-bit integers. Rows sorted by a hash of (seed, epoch, row) are shuffled, in the same way by
        # every version of NumPy.
        key = mix(mix(np.array([self.seed], np.int64).astype(np.uint64)) + np.uint64(epoch))
        return np.argsort(mix(key + np.arange(self.rows, dtype=np.uint64)), kind="stable")[: len(self)]

    def rows_of_step(self, step: int, process: int = 0) -> tuple[int, np.ndarray]:
        """Find the rows that a process sees in a step of the run.

        Args:
            step: step of the run, counted from 0 over all epochs.
            process: number of the process.

        Returns:
            The epoch; and the rows of each forward pass, int64 (accumulation, batch).

        >>> order = EpochOrder(100, batch=2, accumulation=3, processes=2)
        >>> epoch, rows = order.rows_of_step(9, process=1)
        >>> epoch, rows.shape
        (1, (3, 2))
        """
        epoch, within = divmod(step, self.steps_per_epoch)
        # A step consists of the batches of all processes in its first forward pass, then of those in the next one, ...
        batches = self.rows_of_epoch(epoch).reshape(self.steps_per_epoch, self.accumulation, self.processes, self.batch)
        return epoch, batches[within, :, process]

    def step_of_rows(self, epoch: int, rows: np.ndarray) -> np.ndarray:
        """Find the step of the run in which each row is trained on.

        The result does not depend on how far training has come, so the workers of a data loader, which prepare batches
        in advance, may ask for steps that are still to come.

        Args:
            epoch: the epoch.
            rows: integer (n,), indices of rows of the dataset. A row that the epoch omits is given the last step of the
                epoch, so that every row of the dataset can be looked up.

        Returns:
            int64 (n,), counted from 0 over all epochs.

        >>> order = EpochOrder(100, batch=2, accumulation=3, processes=2)
        >>> order.step_of_rows(1, order.rows_of_step(9, process=1)[1][0]).tolist()
        [9, 9]
        """
        if self._steps_of_epoch is None or self._steps_of_epoch[0] != epoch:
            steps = np.full(self.rows, (epoch + 1) * self.steps_per_epoch - 1)
            rows_per_step = len(self) // self.steps_per_epoch
            steps[self.rows_of_epoch(epoch)] = epoch * self.steps_per_epoch + np.arange(len(self)) // rows_per_step
            self._steps_of_epoch = epoch, steps
        return self._steps_of_epoch[1][rows]
