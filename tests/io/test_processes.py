"""Several processes share a list of work, and end together."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from simulated_processes import run_all

from hf_genomics.errors import InputError, StoppedError
from hf_genomics.io.processes import ALONE, Processes, join_processes


@given(st.lists(st.integers()), st.integers(1, 5))
def test_the_first_process_gets_what_one_process_computes(items, count):
    called = []

    def work(processes):
        return processes.map(lambda item: called.append(item) or item * 2, items)

    first, *others = run_all(count, work)
    assert first == [item * 2 for item in items] and others == [None] * (count - 1)
    assert sorted(called) == sorted(items), "each item was computed once"


def test_a_process_without_a_launcher_is_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join_processes() is ALONE and ALONE.is_first
    assert ALONE.map(str, [1, 2]) == ["1", "2"] and ALONE.gather(3) == [3] and ALONE.broadcast(4) == 4


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    with pytest.raises(InputError, match=r"there are 1.*--num_processes"):
        join_processes()


@pytest.mark.parametrize("exchange", ["gather", "broadcast"])
def test_the_end_of_another_process_is_told_from_a_bug(exchange, monkeypatch):
    name = {"gather": "gather_object", "broadcast": "broadcast_object_list"}[exchange]

    def fails(text):
        def call(*_, **__):
            raise RuntimeError(text)

        monkeypatch.setattr(torch.distributed, name, call)
        getattr(Processes(1, 2), exchange)(0)

    with pytest.raises(StoppedError, match="another process"):
        fails("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:4242")
    with pytest.raises(RuntimeError, match="of ours"):
        fails("a bug of ours")
