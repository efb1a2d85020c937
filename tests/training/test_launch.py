"""Runs of several processes as users launch them, and a whole pipeline that uses no network."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from finetune_tables import write_table

import hf_genomics as hg

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
ACCELERATE = ["-m", "accelerate.commands.accelerate_cli", "launch"]
SIZES = "--model.hidden_size 16 --model.num_hidden_layers 1 --model.num_attention_heads 2 --model.intermediate_size 16"
OPTIONS = (
    f"{SIZES} --tokenizer.k 4 --windows.length 40 --windows.min_length 40 --windows.mode sampled "
    "--data.train_split null --data.valid_split null --trainer.eval_strategy no "
    "--trainer.max_steps 4 --trainer.save_steps 2 --trainer.logging_steps 1 --trainer.per_device_train_batch_size 2 "
    "--trainer.use_cpu true --trainer.bf16 false"
)


def commands(page):
    """Iterate over the launch commands on a page, each with the number of processes that it starts without GPUs."""
    for line in re.findall(r"((?:accelerate launch|python -m torch)[^`\n]* -m hf_genomics pretrain [^`\n]*)", page):
        words = line.replace("...", "recipes/pretrain_base.yaml").split()
        processes = 2 if {"--config_file", "--nproc_per_node"} & set(words) else 1
        if "--config_file" in words:  # which asks for 8 GPUs
            words[2:2] = ["--num_processes", "2"]
        yield (ACCELERATE + words[2:] if words[0] == "accelerate" else words[1:]), processes


def launch(words, store, output, root, **environment):
    command = [sys.executable, *words, "--data.store", str(store), *OPTIONS.split()]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")} | environment
    command += ["--trainer.output_dir", str(output)]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, env=environment)


@pytest.mark.slow
def test_every_launch_that_the_pages_tell_to_type_trains(tiny_store, tmp_path, repo_root):
    """Without GPUs accelerate copies the model even if fsdp2.yaml asks to shard it; for that see test_sharding.py."""
    pages = [(repo_root / page).read_text() for page in ("README.md", "recipes/README.md")]
    typed = [command for page in pages for command in commands(page)]
    assert [processes for _, processes in typed] == [2, 2, 2]
    for number, (words, processes) in enumerate(typed):
        output = tmp_path / str(number)
        run = launch(words, tiny_store, output, repo_root, OMP_NUM_THREADS="1")
        assert run.returncode == 0, run.stderr
        state = json.loads((output / "trainer_state.json").read_text())
        assert state["global_step"] == 4
        assert state["epoch"] == pytest.approx(4 * processes * 2 / (23 // (2 * processes) * (2 * processes)))
        assert run.stdout.count("train_loss") == 1  # one process speaks for all


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun", "accelerate"])
def test_a_mistake_is_reported_once_and_again_by_the_launcher(tiny_store, tmp_path, repo_root, launcher):
    config = ["--config_file", str(repo_root / "recipes" / "accelerate" / "ddp.yaml"), "--num_processes", "2"]
    words = TORCHRUN if launcher == "torchrun" else [*ACCELERATE, *config]
    words = [*words, "-m", "hf_genomics", "pretrain", "--trainer.lerning_rate", "1"]
    run = launch(words, tiny_store, tmp_path / "out", repo_root, OMP_NUM_THREADS="1")
    assert run.returncode == 1  # the launcher's own
    said = [text for text in run.stderr.splitlines() if "unknown key 'trainer.lerning_rate'" in text]
    assert len(said) == 2 and said[0].startswith("hf-genomics: error: ")
    assert said[1] == f"  traceback : {said[0]}"  # where the launcher quotes what a process left for it
    assert not re.search(r"hf_genomics/(\w+/)?\w+\.py", run.stderr)  # no traceback of ours, only the launcher's
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_killed_rank_ends_the_job_of_a_launcher(tiny_store, tmp_path, repo_root):
    """The launcher notices it by itself, and names process and signal."""
    code = "import os, signal, sys; sys.path.insert(0, sys.argv.pop(1)); import tiny_runs; "
    code += "tiny_runs._plant(3, 'SIGKILL', rank=1); from hf_genomics.cli import main; sys.exit(main())"
    (tmp_path / "run.py").write_text(code)
    command = [sys.executable, *TORCHRUN, str(tmp_path / "run.py"), str(repo_root / "tests"), "pretrain"]
    command += ["--data.store", str(tiny_store), *OPTIONS.split(), "--trainer.output_dir", str(tmp_path / "out")]
    run = subprocess.run(command, cwd=repo_root, capture_output=True, text=True, timeout=300)
    assert run.returncode != 0
    assert "hf-genomics: error: another process of the run has ended; see its messages" in run.stderr
    cause = run.stderr.partition("Root Cause")[2]
    assert "Signal 9 (SIGKILL)" in cause and "rank      : 1" in cause


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


@pytest.mark.slow
def test_local_work_asks_the_network_for_nothing(tmp_path, repo_root):
    """From FASTA to predictions, as on a machine with a network: no variable here says offline."""
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


#: Fine-tunes on the table train.csv in the working directory, and shards the model although there is no GPU.
SHARDED = """
import sys
sys.path.insert(0, sys.argv[1])
from tiny_runs import _shard
_shard()
from transformers import TrainingArguments
import hf_genomics as hg
options = {"max_steps": 2, "per_device_train_batch_size": 4, "use_cpu": True, "save_strategy": "no"}
data = hg.LabelledData("train.csv", None, "train.csv", hg.Columns(label="much_a"))
hg.finetune("mlm", data, TrainingArguments("out", **options), baseline_k=2)
"""


@pytest.mark.slow
def test_a_sharded_run_scores_the_test_split_by_the_whole_model(tmp_path, repo_root):
    write_table(tmp_path / "train.csv", 40, 0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    hg.KmerBertForMaskedLM(hg.KmerBertConfig(k=3, max_position_embeddings=160, **sizes)).save_pretrained(
        tmp_path / "mlm"
    )
    hg.KmerTokenizer(k=3).save_pretrained(tmp_path / "mlm")
    (tmp_path / "run.py").write_text(SHARDED)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "run.py"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(repo_root)}
    run = subprocess.run(
        [*command, str(repo_root / "tests")], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())["test"]
    data = hg.LabelledData(test=str(tmp_path / "train.csv"), columns=hg.Columns(label="much_a"))
    scored = hg.evaluate(str(tmp_path / "out"), data, str(tmp_path / "scores"))
    assert found["auroc"] == pytest.approx(scored["auroc"], abs=1e-6)
