"""Tiny pretraining runs in processes of their own, for tests of what kills, signals and full disks leave behind."""

from __future__ import annotations

import pytest
from tiny_runs import Nursery, write_genomes


@pytest.fixture(scope="session")
def nursery():
    """One process that has imported torch and forks the runs."""
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory):
    """A genome store of four made-up contigs."""
    return write_genomes(tmp_path_factory.mktemp("tiny_genomes"))


@pytest.fixture
def start(nursery, tiny_store, tmp_path):
    """Run the tiny pretraining; returns its exit code, or those of several processes, and what they logged."""

    def call(name="out", processes=1, job=(), **options):
        log = tmp_path / f"{name}.log"
        options = {"store": str(tiny_store), "output": str(tmp_path / name)} | options
        log.touch()
        codes = nursery.run({"options": options, "log": str(log), **dict(job)}, processes=processes)
        text = log.read_text()
        log.unlink()
        return (codes[0] if processes == 1 else codes), text

    return call
