"""Tiny pretraining runs in processes of their own, which may be killed.

``python tiny_runs.py`` imports torch once and forks a process for each run. It reads lines of JSON, each a list of jobs
that run together (the ranks of one run, or a single one), and answers each line with their exit codes (-9 for a kill).
"""

from __future__ import annotations

import inspect
import json
import logging
import multiprocessing
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path

import numpy as np

#: Small versions of the paper's three set-ups: k, stride, span, start rate.
SET_UPS = {"base": (4, 1, 4, 0.05), "mask8": (4, 1, 6, 0.04), "stride3": (4, 3, 3, 0.1)}


def write_genomes(folder: Path, seed: int = 0) -> Path:
    """Prepare a store of four made-up contigs; 23 windows of 40 nt are an epoch."""
    from hf_genomics import prepare

    random = np.random.default_rng(seed)
    records = [f">g{number}\n{''.join(random.choice(list('ACGT'), 230))}\n" for number in range(4)]
    (folder / "genomes.fa").write_text("".join(records))
    splits = [f"g{number}\t{'valid' if number == 3 else 'train'}\n" for number in range(4)]
    (folder / "splits.tsv").write_text("accession\tsplit\n" + "".join(splits))
    prepare([str(folder / "genomes.fa")], str(folder / "store"), str(folder / "splits.tsv"))
    return folder / "store"


def train(store: str, output: str, set_up: str = "base", dropout: float = 0.1, **options) -> None:
    """Pretrain a model of 1 layer and 16 hidden units."""
    from hf_genomics import DataCollatorForSpanMasking, KmerBertConfig, KmerTokenizer, WindowSampling
    from hf_genomics.training.arguments import PretrainingArguments
    from hf_genomics.training.pretrain import PretrainingData, pretrain

    k, stride, span, start_rate = SET_UPS[set_up]
    verb = {name: options.pop(name) for name in ("resume", "overwrite") if name in options}
    settings = {"max_steps": 8, "per_device_train_batch_size": 4, "learning_rate": 1e-2, "logging_steps": 2}
    settings |= {"save_steps": 2, "use_cpu": True, "disable_tqdm": True, "lr_scheduler_type": "linear"}
    tokenizer = KmerTokenizer(k=k, stride=stride)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    sizes |= {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout, "max_position_embeddings": 48}
    pretrain(
        PretrainingData(store, train_split=None, valid_split=options.pop("valid_split", None), valid_windows=13),
        PretrainingArguments(output, peak_tflops=1.0, **(settings | options)),
        tokenizer,
        KmerBertConfig(k=k, stride=stride, **sizes),
        DataCollatorForSpanMasking(tokenizer, span=span, start_rate=start_rate),
        WindowSampling(length=40, min_length=40),
        **verb,
    )


# plants, and what they leave


def plant(what: str, step: int, rank: int = 0) -> dict:
    """Describe a job in which something happens in a forward pass; see ``_plant``."""
    return {"plant": {"what": what, "step": step, "rank": rank}}


def one_error(text: str) -> str:
    """Return the one line of a log that reports an error."""
    (line,) = [line for line in text.splitlines() if line.startswith("error: ")]
    return line


def steps_of_valid(folder: Path) -> list[int]:
    """List the steps of the valid checkpoints, newest first."""
    from hf_genomics.runs.checkpoints import checkpoints_in, problem_of, step_of

    return [step_of(path) for path in checkpoints_in(folder) if problem_of(path) is None]


# what is compared


def outcome(output: Path, checkpoint: str = "") -> dict:
    """Collect what must be equal bit by bit: weights, states of optimizer, schedule and random numbers, loss log."""
    folder = output / checkpoint
    log = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    names = ["model.safetensors"]
    names += (
        ["optimizer.safetensors", "optimizer.json", "processes.safetensors", "processes.json"] if checkpoint else []
    )
    kept = ("step", "epoch", "loss", "grad_norm", "learning_rate", "train_loss", "eval_loss", "num_input_tokens_seen")
    numbers = [{name: entry[name] for name in kept if name in entry} for entry in log]
    return {"log": numbers} | {name: _content(folder / name) for name in names}


def _content(path: Path) -> object:
    """Read a file; the order of keys and list or tuple do not matter (torch's FSDP turns tuples into lists)."""
    if path.suffix != ".json":
        return path.read_bytes()

    def plain(tree: dict) -> object:
        return sorted(tree["dict"]) if "dict" in tree else tree.get("tuple", tree)

    return json.loads(path.read_text(), object_hook=plain)


# the server and its client


class Nursery:
    """Client of the process that forks the runs."""

    def __init__(self) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run(self, *jobs: dict, processes: int = 1) -> list[int]:
        """Run jobs together, each as the ranks of ``processes``, and return their exit codes."""
        ranked = [
            job | _rank_of(rank, processes, port)
            for job in jobs
            for port in [_free_port()]
            for rank in range(processes)
        ]
        self.process.stdin.write(json.dumps(ranked) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


def _rank_of(rank: int, processes: int, port: int) -> dict:
    if processes == 1:
        return {"environment": {}}
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return {"environment": {name: str(value) for name, value in (numbers | address).items()}}


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def _serve() -> None:
    import torch.distributed  # noqa: F401
    from transformers import Trainer  # noqa: F401

    import hf_genomics.training.pretrain

    hf_genomics.training.pretrain.plot_loss = lambda *args, **kwargs: None  # half of the time of a run this small

    for line in sys.stdin:
        children = [_fork(job) for job in json.loads(line)]
        print(json.dumps([_wait(*child) for child in children]), flush=True)


def _fork(job: dict) -> tuple[int, float | None]:
    child = os.fork()
    if child:
        return child, job.get("kill_after")
    code = 1
    try:
        os.environ.update(job["environment"])
        log = os.open(job.get("log", os.devnull), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1), os.dup2(log, 2)
        if "printed" in job:
            os.dup2(os.open(job["printed"], os.O_WRONLY | os.O_CREAT), 1)
        code = _child(job)
    finally:
        os._exit(code)


def _child(job: dict) -> int:
    from hf_genomics.errors import InputError, StoppedError

    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    if "kill_at" in job:
        _kill_at(job["kill_at"], job["options"]["output"])
    if "free_bytes" in job:
        shutil.disk_usage = lambda place: shutil._ntuple_diskusage(0, 0, job["free_bytes"])
    if job.get("fsdp"):
        _shard()
    if "windows" in job:
        _write_down_windows(job["windows"])
    if "plant" in job:
        _plant(**job["plant"])
    try:
        train(**job["options"])
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except StoppedError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.code
    except BaseException:
        traceback.print_exc()
        return 1
    sys.stderr.flush()
    return 0


def _wait(child: int, kill_after: float | None) -> int:
    if kill_after is not None:
        end = time.monotonic() + kill_after
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _kill_at(number: int, output: str) -> None:
    """Kill this process just before it touches the output folder, or flushes to disk, for the ``number``-th time."""
    count = 0

    def touched(event: str, arguments: tuple) -> None:
        nonlocal count
        if event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.fsync"):
            if event == "os.fsync" or any(output in str(argument) for argument in arguments[:2]):
                count += 1
                if count == number:
                    os.kill(os.getpid(), signal.SIGKILL)

    real = os.fsync

    def fsync(handle: int) -> None:
        touched("os.fsync", ())
        real(handle)

    os.fsync = fsync
    sys.addaudithook(touched)


def _write_down_windows(folder: str) -> None:
    """Record the epoch and the rows of every batch that this process fetches, a line each, in RANK.jsonl."""
    from hf_genomics import WindowDataset

    real, path = WindowDataset.__getitems__, Path(folder) / f"{os.environ.get('RANK', '0')}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)

    def fetch(self, rows):
        with open(path, "a") as file:
            file.write(json.dumps([self.epoch, list(rows)]) + "\n")
        return real(self, rows)

    WindowDataset.__getitems__ = fetch


def _shard() -> None:
    """Let accelerate shard the model over these processes (FSDP2), which it does only if it believes in GPUs."""
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType

    os.environ |= {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT"}
    os.environ |= {"FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP", "FSDP_TRANSFORMER_CLS_TO_WRAP": "KmerBertLayer"}
    os.environ["FSDP_RESHARD_AFTER_FORWARD"] = "true"
    real = PartialState.__init__

    def believing(self, *args, **kwargs):
        real(self, *args, **kwargs)
        self._shared_state["distributed_type"] = DistributedType.MULTI_GPU

    PartialState.__init__ = believing


def _plant(step: int, what: str, rank: int = 0) -> None:
    """Make something happen in a forward pass.

    Args:
        step: number of the forward pass, counted from 1.
        what: "nan", "nan forever", "spike", "full disk", the name of a signal, or "group" and a signal that the workers
            of the process get too.
        rank: process in which it happens.
    """
    from hf_genomics import KmerBertForMaskedLM

    real, count = KmerBertForMaskedLM.forward, 0
    here = int(os.environ.get("RANK", "0")) == rank

    def forward(self, *args, **kwargs):
        nonlocal count
        output, count = real(self, *args, **kwargs), count + self.training
        if self.training and here and (count == step or what == "nan forever" and count > step):
            if what.startswith("nan"):
                output.loss = output.loss * float("nan")
            elif what == "spike":
                output.loss = output.loss * 5
            elif what == "full disk":
                resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
            elif what.startswith("group "):
                number = getattr(signal, what.split()[1])
                for worker in multiprocessing.active_children():
                    os.kill(worker.pid, number)
                os.kill(os.getpid(), number)
            else:
                os.kill(os.getpid(), getattr(signal, what))
        return output

    forward.__signature__ = inspect.signature(real)  # the Trainer inspects what a model accepts
    KmerBertForMaskedLM.forward = forward


if __name__ == "__main__":
    _serve()
