"""The order of windows: a permutation in every epoch, and the same rows in a step however processes share it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DataLoader

from hf_genomics.genomes.order import EpochOrder

sizes = st.tuples(st.integers(1, 200), st.integers(1, 5), st.integers(1, 3), st.integers(1, 3))


@given(sizes, st.integers(0, 2**40), st.integers(0, 5))
def test_an_epoch_shows_distinct_rows_in_whole_steps(size, seed, epoch):
    rows, batch, accumulation, processes = size
    step = batch * accumulation * processes
    if rows < step:
        with pytest.raises(ValueError, match=f"^{rows} rows .* {step}$"):
            EpochOrder(*size)
        return
    order = EpochOrder(*size, seed=seed).rows_of_epoch(epoch)
    assert len(set(order.tolist())) == len(order) == rows // step * step
    assert order.min() >= 0 and order.max() < rows


@given(sizes, st.integers(0, 9))
def test_rows_of_a_step_are_what_the_processes_batches_hold(size, seed):
    """The slow twin: batches dealt to the processes by accelerate. Processes share no row, and none is repeated."""
    rows, batch, accumulation, processes = size
    if rows < batch * accumulation * processes:
        return
    order = EpochOrder(*size, seed=seed)
    for epoch in (0, 1):
        order.set_epoch(epoch)
        dealt = [
            list(BatchSamplerShard(BatchSampler(order, batch, drop_last=False), processes, process))
            for process in range(processes)
        ]
        assert sorted(row for own in dealt for rows in own for row in rows) == sorted(
            order.rows_of_epoch(epoch).tolist()
        )
        for process, own in enumerate(dealt):
            assert len(own) == order.steps_per_epoch * accumulation
            for step in range(order.steps_per_epoch):
                told, seen = order.rows_of_step(epoch * order.steps_per_epoch + step, process)
                assert told == epoch
                assert seen.tolist() == own[step * accumulation : (step + 1) * accumulation]


@given(st.integers(8, 200), st.integers(0, 9), st.integers(0, 30))
def test_however_a_step_is_shared_it_has_the_same_rows(rows, seed, step):
    ways = [(8, 1, 1), (4, 2, 1), (4, 1, 2), (2, 2, 2), (1, 1, 8), (2, 4, 1)]
    seen = []
    for batch, accumulation, processes in ways:
        order = EpochOrder(rows, batch, accumulation, processes, seed)
        parts = [order.rows_of_step(step, process) for process in range(processes)]
        seen.append((parts[0][0], sorted(np.concatenate([part.reshape(-1) for _, part in parts]).tolist())))
    assert all(way == seen[0] for way in seen)


def test_epochs_and_seeds_have_other_orders_and_places_are_even():
    orders = [EpochOrder(1000, 1, seed=seed).rows_of_epoch(epoch) for seed in (0, 1) for epoch in (0, 1, 2)]
    assert len({tuple(order) for order in orders}) == 6
    first = np.array([EpochOrder(10, 1, seed=seed).rows_of_epoch(0)[0] for seed in range(2000)])
    assert np.bincount(first, minlength=10).min() > 140  # 200 expected


def test_a_data_loader_takes_it_as_a_sampler():
    order = EpochOrder(11, batch=2, processes=2)
    order.set_epoch(3)
    rows = [batch.tolist() for batch in DataLoader(torch.arange(11), batch_size=2, sampler=order)]
    assert rows == order.rows_of_epoch(3).reshape(-1, 2).tolist()
