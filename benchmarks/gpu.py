"""Measure training steps of BERT-base on a GPU under many settings: tokens per second, MFU and memory.

    python benchmarks/gpu.py                            # ends within 8 minutes, prints two tables
    python benchmarks/gpu.py --device cpu --size tiny   # the same code in two minutes; the figures mean nothing

All steps use bf16 autocast and the same batch of windows of 512 tokens (or the paper's mix: half of them shorter), with
15 % of the tokens masked. A step is forward pass, backward pass and AdamW; the Trainer is used only where a setting
names it. MFU is the share of the speed of the fastest bf16 matrix product, which is measured first. Operations are
counted as in `hf_genomics.runs.flops`: only those that a step needs, so that padding or logits of unmasked tokens lower
the MFU. The loss of the first step must not depend on how windows are arranged in rows. The second table shows how the
time of a step of the fastest setting is divided among GPU kernels.

Requirements: torch, transformers, accelerate, scikit-learn, pandas, pyarrow, matplotlib, psutil, PyYAML and their
dependencies. Not needed: datasets, evaluate, dnaio, xopen, jsonargparse, rich, a network, or an installed hf_genomics
(write PYTHONPATH=. before the command, in the repository's folder).

The settings run one after the other in a worker process. It is started again if a setting breaks the device, hangs or
takes too long, so that there is always a table. Each result is appended to a file of JSON lines at once.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

KMERS, MASK = 4101, 4
PROFILE = 50  # seconds
MACHINE = ("machine", "size", "peak_tflops", "torch", "transformers")
#: Sizes of the model, tokens of the longest window, most windows in a batch.
SIZES: dict[str, tuple[dict[str, int], int, int]] = {
    "base": ({}, 512, 1024),
    "small": (
        {"num_hidden_layers": 2, "hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024},
        512,
        16,
    ),
    "tiny": ({"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}, 32, 4),
}


@dataclass(frozen=True)
class Setting:
    """One line of the table.

    Args:
        windows: number of windows in the batch.
        rows: how windows are arranged: one per row ("separate"), all in one row ("one"), or several in each row, which
            is as long as the longest window ("several").
        route: how attention is computed for packed windows: with torch's variable-length kernel, in groups of windows
            of similar length, or with masks.
        backend: attention backend of transformers.
        mix: whether windows have lengths as in the paper's set-ups; otherwise all are full.
        optimizer: options of torch.optim.AdamW.
        half: whether weights are bf16, without autocast. This shows what the casts cost; models are not trained so.
        compiled: what torch.compile compiles: nothing (""), everything in the layers except attention ("parts"), whole
            layers, the whole encoder, or the encoder as CUDA graphs.
        sparse_prediction: whether logits are computed of masked tokens only.
        hidden_dropout_prob: probability of dropout outside attention.
        attention_probs_dropout_prob: probability of dropout of attention weights.
        trainer: whether `pretrain`'s Trainer takes the steps.
    """

    windows: int = 64
    rows: Literal["separate", "one", "several"] = "one"
    route: Literal["varlen", "groups", "masks"] = "varlen"
    backend: str = "sdpa"
    mix: bool = False
    optimizer: dict[str, bool] = field(default_factory=lambda: {"fused": True})
    half: bool = False
    compiled: Literal["", "parts", "layers", "encoder", "graphs"] = ""
    sparse_prediction: bool = True
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    trainer: bool = False


SLOW = {"optimizer": {"foreach": False}}
SETTINGS: dict[str, Setting] = {
    "eager attention, a window a row, AdamW in a loop": Setting(rows="separate", backend="eager", **SLOW),
    "sdpa": Setting(rows="separate", **SLOW),
    "AdamW foreach": Setting(rows="separate", optimizer={"foreach": True}),
    "AdamW fused": Setting(rows="separate"),
    "all windows in one row, variable-length kernel": Setting(),
    "logits of all tokens": Setting(sparse_prediction=False),
    "one row in groups of like length": Setting(route="groups"),
    "rows of the longest, masks": Setting(rows="several", route="masks"),
    "compiled between attentions": Setting(compiled="parts"),
    "layers compiled": Setting(compiled="layers"),
    "weights in bf16": Setting(half=True),
    "weights in bf16, layers compiled": Setting(half=True, compiled="layers"),
    "dropout 0.1, none in attention": Setting(hidden_dropout_prob=0.1),
    "dropout 0.1, none in attention, layers compiled": Setting(hidden_dropout_prob=0.1, compiled="layers"),
    "dropout 0.1 everywhere (the recipes), in groups": Setting(
        route="groups", hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1
    ),
    "16 windows": Setting(windows=16),
    "128 windows": Setting(windows=128),
    "256 windows": Setting(windows=256),
    "the paper's mix, padded": Setting(mix=True, rows="separate"),
    "the paper's mix, rows of the longest, masks": Setting(mix=True, rows="several", route="masks"),
    "the paper's mix, one row in groups": Setting(mix=True, route="groups"),
    "the paper's mix, one row, variable-length kernel": Setting(mix=True),
    "the paper's mix, 256 windows, layers compiled": Setting(mix=True, windows=256, compiled="layers"),
    "pretrain's Trainer, the paper's mix": Setting(mix=True, trainer=True, windows=256),
    "pretrain's Trainer, the paper's mix, layers compiled": Setting(
        mix=True, trainer=True, windows=256, compiled="layers"
    ),
    "pretrain's Trainer, the paper's mix, dropout 0.1 everywhere": Setting(
        mix=True, trainer=True, windows=256, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1
    ),
    "a window a row, 16 windows, encoder compiled": Setting(rows="separate", windows=16, compiled="encoder"),
    "a window a row, 16 windows, encoder in CUDA graphs": Setting(rows="separate", windows=16, compiled="graphs"),
}

# What runs in the process that measures


class Bench:
    """A device, the sizes of the model, and what the device can do at most."""

    def __init__(self, device: str, size: str, seconds: float) -> None:
        import torch

        from hf_genomics.runs.flops import measure_peak
        from hf_genomics.runs.memory import keep_freed_memory

        self.device, self.size, self.seconds = torch.device(device), size, seconds
        self.sizes, self.tokens, self.most = SIZES[size]
        if device == "cpu":
            keep_freed_memory()
        # On a CPU, CPU time is measured, since other processes may use the CPU too.
        self.clock = time.process_time if device == "cpu" else time.perf_counter
        self.peak = measure_peak(self.device, torch.bfloat16)

    def machine(self) -> dict[str, Any]:
        """Return the name of the device, its peak speed, and the versions of the libraries."""
        import torch
        import transformers

        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else str(self.device)
        versions = {"torch": torch.__version__, "transformers": transformers.__version__}
        return {"machine": name, "size": self.size, "peak_tflops": self.peak / 1e12, **versions}

    def measure(self, setting: Setting) -> dict[str, Any]:
        """Measure one setting."""
        import torch

        cuda = self.device.type == "cuda"
        if cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        torch.manual_seed(0)
        with route_of(setting, self.device):
            result = self.with_trainer(setting) if setting.trainer else self.steps(setting)
        memory = torch.cuda.max_memory_allocated(self.device) / 2**30 if cuda else None
        return result | {"peak_gib": memory}

    def model(self, setting: Setting) -> Any:
        """Build the model."""
        import torch

        from hf_genomics import KmerBertConfig, KmerBertForMaskedLM

        names = ("sparse_prediction", "hidden_dropout_prob", "attention_probs_dropout_prob")
        sizes = {name: getattr(setting, name) for name in names} | self.sizes
        model = KmerBertForMaskedLM._from_config(KmerBertConfig(**sizes), attn_implementation=setting.backend)
        model = model.to(self.device, torch.bfloat16 if setting.half else torch.float32).train()
        return compile_some(model, setting.compiled, self.size == "tiny")

    def batch(self, setting: Setting) -> dict[str, Any]:
        """Draw a batch of random tokens in the form that the collator returns."""
        import numpy as np
        import torch

        from hf_genomics.batches.packing import pack_rows

        random, count = np.random.default_rng(0), min(setting.windows, self.most)
        lengths = np.full(count, self.tokens)
        if setting.mix:
            lengths[count // 2 :] = random.integers(5, self.tokens + 1, count - count // 2)
        real = np.arange(self.tokens) < lengths[:, None]
        truth = np.where(real, random.integers(5, KMERS, real.shape), 0)
        masked = real & (random.random(real.shape) < 0.15)
        columns = {"input_ids": np.where(masked, MASK, truth), "labels": np.where(masked, truth, -100)}
        if setting.rows == "separate":
            columns |= {"attention_mask": real.astype(np.int64)} if setting.mix else {}
        else:
            columns = pack_rows(columns, lengths, self.tokens if setting.rows == "several" else None)
        return {name: torch.from_numpy(column).to(self.device) for name, column in columns.items()}

    def step_of(self, setting: Setting) -> tuple[Callable[[], Any], Any, dict[str, Any]]:
        """Return a function that trains for one step and returns the loss; its model; and its batch."""
        import torch

        model, batch = self.model(setting), self.batch(setting)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, **setting.optimizer)

        def step() -> Any:
            if setting.compiled == "graphs":
                torch.compiler.cudagraph_mark_step_begin()
            with torch.autocast(self.device.type, torch.bfloat16, enabled=not setting.half):
                loss = model(**batch).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return loss.detach().clone()

        return step, model, batch

    def wait(self) -> None:
        """Wait until the device is done."""
        import torch

        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)

    def steps(self, setting: Setting) -> dict[str, Any]:
        """Train on one batch: three steps to warm up, then as many as the time allows."""
        step, model, batch = self.step_of(setting)
        loss = [step() for _ in range(3)][0].item()
        self.wait()
        done, begin = 0, self.clock()
        while self.clock() - begin < self.seconds:
            for _ in range(5):
                step()
            done += 5
            self.wait()
        seconds = (self.clock() - begin) / done
        tokens, flops = needed(model.config, batch)
        if not loss == loss:
            raise ArithmeticError("the loss is not a number")
        return {
            "loss": loss,
            "tokens": tokens,
            "ms_per_step": 1000 * seconds,
            "tokens_per_second": tokens / seconds,
            "mfu": flops / seconds / self.peak,
        }

    def profile(self, setting: Setting, count: int = 5) -> dict[str, Any]:
        """Measure the time of each kernel in a step: a list of [kernel, ms per step, calls per step], longest first."""
        from torch.autograd import DeviceType
        from torch.profiler import ProfilerActivity, profile

        cuda = self.device.type == "cuda"
        with route_of(setting, self.device):
            step, *_ = self.step_of(setting)
            for _ in range(3):
                step()
            self.wait()
            begin = time.perf_counter()
            for _ in range(count):
                step()
            self.wait()
            seconds = time.perf_counter() - begin
            with profile(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]) as profiler:
                for _ in range(count):
                    step()
                self.wait()
        kind, own = (DeviceType.CUDA, "self_device_time_total") if cuda else (DeviceType.CPU, "self_cpu_time_total")
        events = [event for event in profiler.key_averages() if event.device_type == kind]
        kernels = [
            [event.key, getattr(event, own) / 1000 / count, event.count / count]
            for event in events
            if not event.is_user_annotation
        ]
        return {"step_ms": 1000 * seconds / count, "kernels": sorted(kernels, key=lambda kernel: -kernel[1])}

    def with_trainer(self, setting: Setting) -> dict[str, Any]:
        """Train from a genome store with `pretrain`'s Trainer."""
        from data import make_store
        from feed import RECIPES, parts, train

        with tempfile.TemporaryDirectory() as folder:
            windows, collator, recipe = parts(RECIPES / "pretrain_base.yaml", make_store(Path(folder)), "one row")
            recipe["trainer"]["per_device_train_batch_size"] = min(setting.windows, self.most)
            options = {"use_cpu": self.device.type == "cpu", "bf16": True, "dataloader_num_workers": 1}
            steps = 40 if self.size == "base" else 4
            trained = train(
                windows, collator, recipe, self.model(setting), steps, self.clock, self.peak / 1e12, **options
            )
        return {
            "tokens_per_second": trained.rate,
            "mfu": trained.mfu,
            "waiting_for_data": trained.waited,
        }


@contextmanager
def route_of(setting: Setting, device: Any) -> Iterator[None]:
    """Make the model compute the attention of packed windows by the route of a setting, within the block."""
    import hf_genomics.attention_kmer_bert as routes

    no_kernel = setting.route == "varlen" and device.type != "cuda"
    if setting.trainer or setting.rows == "separate" or no_kernel:  # then the model chooses
        yield
        return
    chosen, kernel = routes._window_kernel, None if setting.route == "masks" else setting.route
    routes._window_kernel = lambda *_: kernel
    try:
        yield
    finally:
        routes._window_kernel = chosen


def compile_some(model: Any, what: str, tiny: bool) -> Any:
    """Compile parts of a model in place; a tiny model without inductor, which would take a minute."""
    from hf_genomics import modeling_kmer_bert as modeling

    kinds: dict[str, tuple[type, ...]] = {
        "parts": (modeling.KmerBertResidual, modeling.KmerBertIntermediate, modeling.KmerBertEmbeddings),
        "layers": (modeling.KmerBertLayer, modeling.KmerBertEmbeddings),
        "encoder": (modeling.KmerBertModel,),
        "graphs": (modeling.KmerBertModel,),
    }
    how = {"backend": "aot_eager"} if tiny else {"mode": "reduce-overhead"} if what == "graphs" else {}
    for module in model.modules():
        if isinstance(module, kinds.get(what, ())):
            module.compile(**how)
    return model


def needed(config: Any, batch: dict[str, Any]) -> tuple[int, float]:
    """Count the tokens of a batch, and the operations that training on them needs with logits of masked tokens."""
    import torch

    from hf_genomics.runs.flops import attention_pairs, selects_in_last_layer, training_flops

    ids = batch["input_ids"]
    real = batch.get("attention_mask", torch.ones_like(ids))
    positions = batch.get("position_ids", torch.arange(ids.shape[1], device=ids.device))
    masked = batch["labels"] != -100
    select_last = selects_in_last_layer(config, ids.device)
    pairs = int(attention_pairs(config, positions, real, masked if select_last else None))
    tokens = int(real.sum())
    return tokens, training_flops(config, tokens, pairs, int(masked.sum()), select_last=select_last)


def work(arguments: argparse.Namespace) -> None:
    """Measure some settings, and print a line of JSON for each; end early if an error leaves the device unusable."""
    import torch

    bench = Bench(arguments.device, arguments.size, arguments.seconds)
    print(json.dumps(bench.machine()), flush=True)
    for name in arguments.settings:
        lost = False
        try:
            result = bench.profile(SETTINGS[name]) if arguments.profile else bench.measure(SETTINGS[name])
        except Exception as error:
            lost = isinstance(error, getattr(torch, "AcceleratorError", ())) or "CUDA error" in str(error)
            result = {"failed": f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"}
        print(json.dumps({"setting": name} | result), flush=True)
        if lost:
            return
        gc.collect()
        torch.compiler.reset()
        if bench.device.type == "cuda":
            torch.cuda.empty_cache()


# What runs in the process that the user starts


def supervise(
    command: Callable[[list[str]], list[str]], names: list[str], limit: float, deadline: float
) -> Iterator[dict[str, Any]]:
    """Measure settings in a worker process, and start another worker whenever one dies or hangs.

    Args:
        command: function that returns the command line of a worker, which measures the given settings and prints a line
            of JSON for each.
        names: names of the settings.
        limit: seconds for one setting.
        deadline: time by `time.monotonic` after which nothing runs.

    Yields:
        the results that the workers print; for a setting that failed or was not reached, the reason.
    """
    todo, started = list(names), True
    while todo and time.monotonic() < deadline:
        worker = subprocess.Popen(command(todo), stdout=subprocess.PIPE, text=True, start_new_session=True)
        lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=_pass_on, args=(worker.stdout, lines), daemon=True).start()
        started = False
        while todo:
            try:
                line = lines.get(timeout=max(0.0, min(limit, deadline - time.monotonic())))
            except queue.Empty:
                yield {"setting": todo.pop(0), "failed": "stopped: it took too long"}
                break
            if line is None:
                yield {"setting": todo.pop(0), "failed": f"its process ended with code {worker.wait()}"}
                break
            result, started = json.loads(line), True
            yield result
            if "setting" in result:
                todo.remove(result["setting"])
        end(worker)
        if not started:
            break
    why = "no time left" if started else "a process could not start"
    yield from ({"setting": name, "failed": why} for name in todo)


def _pass_on(stream: Any, lines: queue.Queue[str | None]) -> None:
    """Put the lines of JSON of a stream into a queue, and None at the end of the stream."""
    with stream:
        for line in stream:
            if line.startswith("{"):
                lines.put(line)
    lines.put(None)


def end(worker: subprocess.Popen[str]) -> None:
    """End a process and all processes that it has started, such as compilers."""
    try:
        os.killpg(worker.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    worker.wait()


def cells(result: dict[str, Any]) -> str:
    """Format the cells of a line of the table.

    >>> cells({"tokens_per_second": 1234.5, "mfu": 0.5, "ms_per_step": 20.0, "peak_gib": None, "loss": 8.4})
    '1,234 | 50.0 % | 20.0 | - | 8.400'
    """
    if "failed" in result:
        return f"{result['failed'][:120].replace('|', '/')} | - | - | - | -"
    formats = {"ms_per_step": "{:.1f}", "peak_gib": "{:.1f}", "loss": "{:.3f}"}
    others = [text.format(value) if (value := result.get(name)) is not None else "-" for name, text in formats.items()]
    return " | ".join([f"{result['tokens_per_second']:,.0f}", f"{100 * result['mfu']:.1f} %", *others])


def kernel_table(result: dict[str, Any], most: int = 20) -> Iterator[str]:
    r"""Iterate over the lines of the second table.

    >>> result = {"setting": "sdpa", "step_ms": 10.0, "kernels": [["void gemm", 6.0, 2.0], ["add", 1.0, 4.0]]}
    >>> print(*kernel_table(result, most=1), sep="\n")
    | a step of: sdpa | share | ms | times |
    |---|---|---|---|
    | gemm | 60.0 % | 6.00 | 2 |
    | 1 others | 10.0 % | 1.00 | 4 |
    | no kernel: the device waits | 30.0 % | 3.00 | - |
    """
    kernels, whole = result["kernels"], result["step_ms"]
    first, rest = kernels[:most], kernels[most:]
    lines = [(name.removeprefix("void ").replace("at::native::", ""), ms, times) for name, ms, times in first]
    lines.append((f"{len(rest)} others", sum(ms for _, ms, _ in rest), sum(times for *_, times in rest)))
    yield f"| a step of: {result['setting']} | share | ms | times |\n|---|---|---|---|"
    for name, ms, times in lines:
        yield f"| {name[:90].replace('|', '/')} | {100 * ms / whole:.1f} % | {ms:.2f} | {times:g} |"
    idle = max(0.0, whole - sum(ms for _, ms, _ in kernels))
    yield f"| no kernel: the device waits | {100 * idle / whole:.1f} % | {idle:.2f} | - |"


def cuda_is_available() -> bool:
    """Check for a GPU; the process that supervises needs torch for nothing else."""
    import torch

    return torch.cuda.is_available()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", default="base", choices=list(SIZES), help="all but base only try the script")
    parser.add_argument("--minutes", type=float, default=7, help="for the settings; the profile adds up to one")
    parser.add_argument("--limit", type=float, default=100, help="seconds for one setting")
    parser.add_argument("--seconds", type=float, default=2, help="seconds of measuring one setting")
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=list(SETTINGS), metavar="SETTING")
    parser.add_argument("--output", type=Path, default=Path("runs/gpu.jsonl"))
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--profile", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments)
        return
    if arguments.device.startswith("cuda") and not cuda_is_available():
        parser.error("torch sees no GPU; to try the script add --device cpu --size tiny")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    print("| setting | tokens/s | MFU | ms a step | peak GiB | first loss |\n|---|---|---|---|---|---|", flush=True)
    fastest: dict[str, Any] = {"mfu": 0.0}
    for result in run(arguments, arguments.settings, arguments.limit, 60 * arguments.minutes):
        print(f"| {result['setting']} | {cells(result)} |", flush=True)
        # Settings with the Trainer have no ms_per_step: the profile does not include the Trainer.
        candidate = not SETTINGS[result["setting"]].half and "ms_per_step" in result
        if candidate and result["mfu"] > fastest["mfu"]:
            fastest = result
    machine = ", ".join(f"{name} {fastest[name]}" for name in MACHINE if name in fastest)
    print(f"\n{machine or 'nothing was measured'}")
    if machine:
        print(f"fastest: {fastest['setting']}, {100 * fastest['mfu']:.1f} % of the peak (goal: 50 %)")
    if not arguments.device.startswith("cuda"):
        print("No CUDA: windows one by one took the place of the variable-length kernel.")
    for result in run(arguments, [fastest["setting"]] if machine else [], PROFILE, PROFILE, "--profile"):
        print("", *(kernel_table(result) if "kernels" in result else [result["failed"]]), sep="\n")


def run(
    arguments: argparse.Namespace, names: list[str], limit: float, seconds: float, *more: str
) -> Iterator[dict[str, Any]]:
    """Measure settings in worker processes, append every result to the output file, and yield those of settings."""
    options = ["--device", arguments.device, "--size", arguments.size, "--seconds", str(arguments.seconds), *more]
    command = [sys.executable, __file__, "--worker", *options, "--settings"]
    machine: dict[str, Any] = {}
    for result in supervise(lambda todo: [*command, *todo], names, limit, time.monotonic() + seconds):
        machine = result if "machine" in result else machine
        with arguments.output.open("a") as file:
            file.write(json.dumps(machine | result | {"time": time.time()}) + "\n")
        if "setting" in result:
            yield machine | result


if __name__ == "__main__":
    main()
