"""`predict` and `embed` in two processes, as users launch them: the files of one process, also after one was killed."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from hf_genomics import cli

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
ACCELERATE = ["-m", "accelerate.commands.accelerate_cli", "launch", "--num_processes", "2", "--multi_gpu"]
LENGTHS = [40, 300, 7, 90, 2, 40, 500, 41] * 12
#: Runs the command line, and leaves a file named after the rank and the number of processes that it has shared with.
COUNT = """
import pathlib, sys
import torch
from hf_genomics.cli import main
place = [0, 1]
leave = torch.distributed.destroy_process_group
def note():
    place[:] = torch.distributed.get_rank(), torch.distributed.get_world_size()
    leave()
torch.distributed.destroy_process_group = note
code = main()
assert not torch.distributed.is_initialized(), "threads of a group that is left behind may abort the process"
pathlib.Path(sys.argv[0]).with_name(f"{place[0]} of {place[1]}").touch()
sys.exit(code)
"""
#: Kills the process RANK at the row or batch NUMBER, as a full memory would.
KILL = """
import os, signal, sys
from hf_genomics.inference import growing_table, scores
place, rank, number = sys.argv[1].split(":")
del sys.argv[1]
owner, name = (growing_table.GrowingTable, "write") if place == "row" else (scores, "_compute")
original, calls = getattr(owner, name), []
def call(*arguments):
    calls.append(None)
    if os.environ["RANK"] == rank and len(calls) == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments)
setattr(owner, name, call)
scores._BUFFER_NT = 1000
from hf_genomics.cli import main
sys.exit(main())
"""


def launch(words, folder, root):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture
def fasta(draw, write_fasta, tmp_path):
    return write_fasta(tmp_path / "s.fasta", draw(LENGTHS))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "kind", "output", "more"),
    [
        (TORCHRUN, "classes", "p.tsv", ["--windows", "true"]),
        (TORCHRUN, "classes", "p.bedgraph", []),
        (TORCHRUN, "nucleotides", "p.tsv", ["--resume", "auto"]),
        (TORCHRUN, "classes", "p.parquet", ["--pooling", "tokens"]),
        (ACCELERATE, "classes", "p.tsv", []),
        (ACCELERATE, "classes", "p.npy", ["--resume", "auto"]),
    ],
)
def test_two_processes_write_what_one_writes(launcher, kind, output, more, fasta, saved, tmp_path, repo_root):
    verb = "embed" if output.endswith(("parquet", "npy")) else "predict"
    words = [verb, "--model", saved(kind), "--input", fasta, "--batch_size", "4", *more, "--output"]
    for number, start in enumerate(([], launcher)):
        folder, script = tmp_path / str(number), tmp_path / f"script{number}" / "run.py"
        folder.mkdir()
        script.parent.mkdir()
        script.write_text(COUNT)
        run = launch([*start, script, *words, folder / output], folder, repo_root)
        assert run.returncode == 0, run.stderr
        ranks = {path.name for path in script.parent.glob("* of *")}
        assert ranks == ({"0 of 2", "1 of 2"} if start else {"0 of 1"}), "as many processes as were asked for"
        assert run.stderr.count("12 of 96 sequences") == 1, run.stderr  # one warning, of the first process
        if "auto" in more:
            again = launch([*start, script, *words, folder / output], folder, repo_root)
            assert again.returncode == 0 and "finished before" in again.stderr
    one, two = (sorted((tmp_path / name).iterdir()) for name in "01")
    assert [path.name for path in one] == [path.name for path in two] and len(one) >= 1
    for first, second in zip(one, two, strict=True):
        assert first.read_bytes() == second.read_bytes(), first.name


@pytest.mark.slow
@pytest.mark.parametrize("place", ["row:0:50", "batch:1:9"])
def test_a_killed_process_ends_the_others_and_the_rows_are_continued(place, fasta, saved, tmp_path, repo_root):
    (tmp_path / "run.py").write_text(KILL)
    words = ["predict", "--model", saved("classes"), "--input", fasta, "--batch_size", "4", "--output"]
    killed = launch([*TORCHRUN, tmp_path / "run.py", place, *words, "p.tsv"], tmp_path, repo_root)
    assert killed.returncode != 0 and "Signal 9 (SIGKILL)" in killed.stderr
    # no traceback of ours, only the launcher's
    assert not re.search(r"hf_genomics/(\w+/)?\w+\.py", killed.stderr)
    assert ("another process of the command has ended" in killed.stderr) == (place[:5] == "batch")  # says the first one
    kept = (tmp_path / ".p.tsv.partial" / "rows.tsv").read_text().splitlines()
    assert 1 < len(kept) < len(LENGTHS) and not (tmp_path / "p.tsv").exists()
    resumed = launch([*TORCHRUN, "-m", "hf_genomics", *words, "p.tsv", "--resume", "true"], tmp_path, repo_root)
    assert resumed.returncode == 0, resumed.stderr
    assert cli.main([*words, str(tmp_path / "one.tsv")]) == 0
    found, expected = (pd.read_csv(tmp_path / name, sep="\t") for name in ("p.tsv", "one.tsv"))
    assert found["id"].tolist() == expected["id"].tolist()
    np.testing.assert_allclose(found["p_phage"], expected["p_phage"], atol=1e-6)
    assert (tmp_path / "p.tsv").read_text().splitlines()[: len(kept)] == kept


@pytest.mark.slow
def test_a_mistake_is_reported_once(saved, tmp_path, repo_root):
    (tmp_path / "in.fa").write_text(">a\nACGTTGCATTGA\n" * 300 + ">b\nAC\n")
    words = ["predict", "--model", saved("classes"), "--input", "in.fa", "--strict", "true", "--output", "p.tsv"]
    run = launch([*TORCHRUN, "-m", "hf_genomics", *words], tmp_path, repo_root)
    assert run.returncode != 0 and not (tmp_path / "p.tsv").exists()
    said = [line for line in run.stderr.splitlines() if "record 301" in line]
    assert said[0].startswith("hf-genomics: error: ") and len(said) <= 2, run.stderr  # the launcher quotes it
