"""Runs of several processes as users launch them, and what a whole pipeline asks of the network: nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
ACCELERATE = ["-m", "accelerate.commands.accelerate_cli", "launch", "--num_processes", "2", "--config_file"]
SIZES = "--model.hidden_size 16 --model.num_hidden_layers 1 --model.num_attention_heads 2 --model.intermediate_size 16"
OPTIONS = (
    f"{SIZES} --tokenizer.k 4 --windows.length 40 --windows.min_length 40 "
    "--data.train_split null --data.valid_split null "
    "--trainer.max_steps 4 --trainer.save_steps 2 --trainer.logging_steps 1 --trainer.per_device_train_batch_size 2 "
    "--trainer.use_cpu true --trainer.bf16 false"
)


def launch(words, store, output, root, **environment):
    command = [sys.executable, *words, "-m", "hf_genomics", "pretrain", "--data.store", str(store), *OPTIONS.split()]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")} | environment
    command += ["--trainer.output_dir", str(output)]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["torchrun", "ddp.yaml", "fsdp2.yaml"])
def test_every_launcher_trains_on_two_processes(tiny_store, tmp_path, repo_root, way):
    """Without GPUs accelerate copies the model also where fsdp2.yaml asks to spread it; see test_exact.py."""
    words = TORCHRUN if way == "torchrun" else [*ACCELERATE, str(repo_root / "recipes" / "accelerate" / way)]
    run = launch(words, tiny_store, tmp_path / "out", repo_root, OMP_NUM_THREADS="1")
    assert run.returncode == 0, run.stderr
    state = json.loads((tmp_path / "out" / "trainer_state.json").read_text())
    assert state["global_step"] == 4 and state["epoch"] == 0.8  # 5 steps of 2 x 2 windows are an epoch
    assert run.stdout.count("train_loss") == 1  # one process speaks for all


@pytest.mark.slow
def test_a_killed_rank_ends_the_job_of_a_launcher(tiny_store, tmp_path, repo_root):
    """A launcher sees the death itself: it names process and signal."""
    code = "import os, signal, sys; sys.path.insert(0, sys.argv.pop(1)); import tiny_runs; "
    code += "tiny_runs._plant(3, 'SIGKILL', rank=1); from hf_genomics.cli import entry; entry()"
    (tmp_path / "run.py").write_text(code)
    command = [sys.executable, *TORCHRUN, str(tmp_path / "run.py"), str(repo_root / "tests" / "training"), "pretrain"]
    command += ["--data.store", str(tiny_store), *OPTIONS.split(), "--trainer.output_dir", str(tmp_path / "out")]
    run = subprocess.run(command, cwd=repo_root, capture_output=True, text=True, timeout=300)
    assert run.returncode != 0
    assert "Signal 9 (SIGKILL)" in run.stderr and "exitcode  : -9" in run.stderr


AUDIT = """
import sys
asked = []
def hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request"):
        asked.append((event, str(arguments[1:])))
sys.addaudithook(hook)
from hf_genomics.cli import main
for line in sys.stdin.read().splitlines():
    if code := main(line.split()):
        sys.exit(f"{line}: exit code {code}")
print("asked", asked)
"""


def test_local_work_asks_the_network_for_nothing(tmp_path, repo_root):
    """From FASTA to predictions, as on a machine with a network: nothing here says offline."""
    genomes = repo_root / "recipes" / "data" / "quickstart" / "NC_001416.fasta.gz"
    (tmp_path / "train.csv").write_text("sequence,label\n" + "ACGTTGACGTAACC,a\nTTGACCATTGGACA,b\n" * 4)
    trainer = (
        "--trainer.max_steps 2 --trainer.per_device_train_batch_size 2 --trainer.use_cpu true --trainer.output_dir"
    )
    lines = [
        f"check {genomes}",
        f"prepare --fasta {genomes} --output_dir store",
        f"pretrain --data.store store --data.train_split null --data.valid_split null {SIZES} --tokenizer.k 4 "
        f"--windows.length 40 --windows.min_length 40 {trainer} model",
        f"finetune --pretrained model --data.train train.csv --data.test train.csv {trainer} classifier",
        "evaluate --model classifier --data.test train.csv --output_dir scores",
        "predict --model classifier --input train.csv --output predictions.tsv",
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    environment |= {"HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(repo_root), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", AUDIT],
        input="\n".join(lines),
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "asked []"
