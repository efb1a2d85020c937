"""Compute what pretraining on larger machines costs, for docs/scaling.md, from assumptions (the constants below).

    python benchmarks/scaling.py

Parts:
    paper   operations of a step of the paper's run, and GPU-hours of the run, compared with those of the paper
    gpus    time of all-reduce and of computation on 1 to 64 GPUs, for links of several speeds
    memory  memory of one GPU; the bytes that a token keeps for the backward pass are measured, on the CPU
    data    bytes on disk, windows, and time to prepare a human genome and all RefSeq viruses

Nothing here was run on a GPU. `processes.py` measures as much as one machine can show.
"""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hf_genomics import KmerBertConfig, KmerBertForMaskedLM, WindowSampling
from hf_genomics.runs.flops import flops_per_token


class Gpu(NamedTuple):
    """A device, as its maker describes it."""

    name: str
    flops: float  # bf16, dense, operations per second
    memory: float  # bytes


class Link(NamedTuple):
    """The slowest link in a ring of GPUs, with its bandwidth in one direction."""

    name: str
    bandwidth: float  # bytes per second


# Assumptions: figures of the makers
H200 = Gpu("H200", 989e12, 141e9)
A100 = Gpu("A100-40", 312e12, 40e9)
NVLINK = Link("NVLink 4, 900 GB/s both ways", 450e9)
PCIE = Link("PCIe 4 x16", 32e9)
INFINIBAND = Link("8 x 400 Gb/s InfiniBand a node", 400e9)  # as many rings as cards, all in use
ETHERNET = Link("100 Gb/s Ethernet a node", 12.5e9)
# Assumptions: how much of these figures is reached in practice
LINK_SHARE = 0.7
HOP_SECONDS = 5e-6
OPERATION_SECONDS = 8e-6  # time in which a host launches one operation on a GPU
MFUS = (0.3, 0.5)
# The paper's run (base), and the GPU-hours it took
WINDOWS, STEPS = 2000, 100_000
SAMPLING = WindowSampling(mode="mixed", length=510, min_length=5, full_share=0.5)
MASKED_SHARE = 0.1409
PAPER_HOURS = 190 * 8  # A100-hours
# Data: rounded sizes; rates and ratios from benchmarks/README.md
GENOMES = {"human genome": 3.1e9, "all RefSeq viruses": 0.6e9}  # nt
PREPARED, PREPARED_GZIP = 94e6, 50e6  # nt per second, benchmarks/store.py
TWO_BIT = 3.98  # benchmarks/store.py
FED = 141_247  # windows of 510 nt per second and core, tokenised and masked, benchmarks/data.py


# Arithmetic


def tokens_of(lengths: np.ndarray, k: int = 6, stride: int = 1) -> np.ndarray:
    """Count the tokens of windows of the given lengths (in nt), [CLS] and [SEP] included.

    >>> tokens_of(np.array([510, 6, 5])).tolist()
    [507, 3, 2]
    """
    return np.maximum(0, (lengths - k) // stride + 1) + 2


def window_lengths(sampling: WindowSampling) -> tuple[np.ndarray, np.ndarray]:
    """Return the possible lengths of windows, in nt, and the probability of each length; both (lengths,).

    >>> lengths, probabilities = window_lengths(SAMPLING)
    >>> round(float(probabilities.sum()), 9), round(float(probabilities[-1]), 3)
    (1.0, 0.501)
    >>> round(float(lengths @ probabilities), 2)
    383.75
    """
    lengths = np.arange(sampling.min_length, sampling.length + 1)
    probabilities = np.full(len(lengths), (1 - sampling.full_share) / len(lengths))
    probabilities[-1] += sampling.full_share
    return lengths, probabilities


def mean_tokens(sampling: WindowSampling) -> float:
    """Compute the mean number of tokens of a window.

    >>> round(mean_tokens(SAMPLING), 1)
    380.8
    """
    lengths, probabilities = window_lengths(sampling)
    return float(tokens_of(lengths) @ probabilities)


def step_flops(config: KmerBertConfig, sampling: WindowSampling, windows: int) -> float:
    """Count the operations of a step, length by length, since those of attention grow with the square of the length."""
    lengths, probabilities = window_lengths(sampling)
    tokens = tokens_of(lengths)
    per_token = np.array([flops_per_token(config, int(count), MASKED_SHARE) for count in tokens])
    return windows * float((tokens * per_token) @ probabilities)


def ring_seconds(size: float, gpus: int, bandwidth: float, hop: float = 0.0) -> float:
    """Compute the seconds of a ring all-reduce of ``size`` bytes on n GPUs: 2 (n - 1) hops of size / n bytes each.

    >>> ring_seconds(100e9, gpus=4, bandwidth=100e9)
    1.5
    >>> ring_seconds(100e9, gpus=1, bandwidth=100e9)
    0.0
    """
    return 2 * (gpus - 1) * (size / gpus / bandwidth + hop)


def step_seconds(compute: float, sent: float) -> tuple[float, float]:
    """Compute the shortest and longest time of a step: gradients are sent during the backward pass, or after it.

    >>> step_seconds(3.0, 1.0), step_seconds(3.0, 5.0)
    ((3.0, 4.0), (6.0, 8.0))

    Args:
        compute: seconds of computation, two thirds of them for the backward pass.
        sent: seconds that it takes to send the gradients.
    """
    return compute / 3 + max(2 * compute / 3, sent), compute + sent


def hours(seconds_a_step: float, steps: int = STEPS) -> float:
    """Convert seconds per step to hours of a run.

    >>> hours(0.36, 100_000)
    10.0
    """
    return seconds_a_step * steps / 3600


def state_bytes(parameters: int, gpus: int = 1, *, spread: bool = False) -> float:
    """Count the bytes of a GPU's fp32 weights, gradients and two moments of AdamW.

    With ``spread`` (FSDP2) the GPUs share them; otherwise (DDP) each GPU has a copy, and buckets to send gradients.

    >>> state_bytes(10), state_bytes(10, 8), state_bytes(10, 8, spread=True)
    (160, 200, 20.0)
    """
    if spread:
        return 16 * parameters / gpus
    return (16 if gpus == 1 else 20) * parameters


def windows_an_epoch(nt: float, sampling: WindowSampling) -> float:
    """Count the windows of an epoch: those that cover all nt, and in mode "mixed" also those at random places.

    >>> windows_an_epoch(383_750, SAMPLING)
    3000.0
    """
    covering = nt / sampling.mean_length
    return covering * (1 + sampling.sampled_per_cut) if sampling.mode == "mixed" else covering * sampling.coverage


def loss_of(model: KmerBertForMaskedLM, ids: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
    """Compute the loss as on a GPU: the last layer computes all tokens; on a CPU it computes the masked tokens only."""
    hidden = model.bert(input_ids=ids).last_hidden_state
    return torch.nn.functional.cross_entropy(model.cls.predictions(hidden[masked]).float(), ids[masked])


def kept_bytes(config: KmerBertConfig, rows: int, tokens: int) -> int:
    """Measure the bytes that a forward pass under bf16 keeps for the backward pass, weights included."""
    model = KmerBertForMaskedLM._from_config(config, attn_implementation="sdpa").train()
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        held.append(tensor)  # otherwise another tensor could get the same place in memory
        return tensor

    held: list[torch.Tensor] = []
    ids = torch.randint(5, config.vocab_size, (rows, tokens))
    masked = torch.rand(ids.shape) < MASKED_SHARE
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
        loss_of(model, ids, masked)
    return sum(kept.values())


class _Counting(TorchDispatchMode):
    """Counter of the operations that compute something; views are not counted."""

    count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not (function.is_view or "view" in str(function) or "detach" in str(function))
        return function(*args, **(kwargs or {}))


def count_operations(layers: int) -> int:
    """Count the operations that a forward and a backward pass launch at any size; the optimizer adds a few."""
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8, "attention_probs_dropout_prob": 0.0}
    model = KmerBertForMaskedLM._from_config(
        KmerBertConfig(k=3, num_hidden_layers=layers, **sizes), attn_implementation="sdpa"
    )
    ids = torch.arange(5, 65).reshape(2, 30)
    with _Counting() as counting:
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(model, ids, ids % 5 == 0)
        loss.backward()
    return counting.count


# Tables


def table(header: str, rows: list[str]) -> None:
    """Print a table in Markdown."""
    print(f"\n| {header} |\n|{'---|' * (header.count('|') + 1)}")
    print("\n".join(f"| {row} |" for row in rows))


def print_paper(config: KmerBertConfig, parameters: int) -> None:
    """Print the part `paper`."""
    tokens, flops = WINDOWS * mean_tokens(SAMPLING), step_flops(config, SAMPLING, WINDOWS)
    print(f"\nA step: {WINDOWS} windows of 5 to 510 nt (half of them full), {tokens:,.0f} tokens,")
    print(
        f"{flops / 1e15:.3f} PFLOP, {flops / tokens / 1e6:.0f} MFLOP a token; {STEPS:,} steps: {flops * STEPS:.3g} FLOP"
    )
    rows = [
        f"{H200.name}, MFU {mfu:.0%} | {hours(flops / H200.flops / mfu):.0f} | {tokens * H200.flops * mfu / flops:,.0f}"
        for mfu in MFUS
    ]
    spent = PAPER_HOURS * 3600
    mfu = flops * STEPS / spent / A100.flops
    rows.append(f"8 x {A100.name}, the paper (MFU {mfu:.1%}) | {PAPER_HOURS:,} | {tokens * STEPS / spent:,.0f}")
    table("100,000 steps of base | GPU-hours | tokens/s and GPU", rows)


def print_gpus(config: KmerBertConfig, parameters: int) -> None:
    """Print the part `gpus`."""
    size, flops = 4 * parameters, step_flops(config, SAMPLING, WINDOWS)
    print(f"\nGradients: {parameters / 1e6:.1f} M in fp32, {size / 1e6:.0f} MB an all-reduce; one a step")
    operations = count_operations(config.num_hidden_layers)
    print(
        f"A step launches {operations:,} operations, {1000 * operations * OPERATION_SECONDS:.1f} ms of the host's time"
    )
    rows = []
    for gpus, links in ((1, [None]), (8, [NVLINK, PCIE]), (16, [ETHERNET]), (64, [INFINIBAND, ETHERNET])):
        for link in links:
            sent = ring_seconds(size, gpus, link.bandwidth * LINK_SHARE, HOP_SECONDS) if link else 0.0
            computed = [flops / gpus / H200.flops / mfu for mfu in MFUS]
            spans = [" to ".join(f"{hours(time):.2f}" for time in step_seconds(least, sent)) for least in computed]
            cells = [f"{gpus}", link.name if link else "none", f"{WINDOWS / gpus:.0f}"]
            cells += [" / ".join(f"{1000 * time:.1f}" for time in computed), f"{1000 * sent:.1f}", " / ".join(spans)]
            rows.append(" | ".join(cells))
    table(
        "GPUs | link | windows each | compute, ms, MFU 30 / 50 % | all-reduce, ms | 100k steps, hours",
        rows,
    )


def print_memory(config: KmerBertConfig, parameters: int) -> None:
    """Print the part `memory`."""
    # Without dropout, attention keeps no (tokens x tokens) matrix, as in the fused kernels of a GPU.
    fused = KmerBertConfig(k=config.k, attention_probs_dropout_prob=0.0)
    per_token = (kept_bytes(fused, 2, 507) - kept_bytes(fused, 1, 507)) / 507
    print(f"\nKept for the backward pass: {per_token / 1e3:.0f} kB a token (measured on a CPU: bf16 autocast, sdpa)")
    rows = []
    for gpus, windows in ((1, 250), (8, 250), (64, 31)):
        held = windows * mean_tokens(SAMPLING) * per_token
        copied, spread = (state_bytes(parameters, gpus, spread=spread) for spread in (False, True))
        cells = [f"{gpus}", f"{windows}", f"{held / 1e9:.1f}", f"{copied / 1e9:.2f}", f"{spread / 1e9:.2f}"]
        rows.append(" | ".join([*cells, f"{(held + copied) / 1e9:.1f}"]))
    table(
        "GPUs | windows in a pass | kept, GB | state copied (DDP), GB | state spread (FSDP2), GB | sum with DDP, GB",
        rows,
    )


def print_data(config: KmerBertConfig, parameters: int) -> None:
    """Print the part `data`."""
    rows = []
    for name, nt in GENOMES.items():
        windows = windows_an_epoch(nt, SAMPLING)
        cells = [name, f"{nt / 1e9:.1f}", f"{nt / 1e9:.1f}", f"{nt / TWO_BIT / 1e9:.2f}"]
        cells += [
            f"{nt / PREPARED:.0f} / {nt / PREPARED_GZIP:.0f}",
            f"{windows / 1e6:.1f}",
            f"{windows / WINDOWS:,.0f}",
        ]
        rows.append(" | ".join([*cells, f"{STEPS * WINDOWS / windows:.1f}"]))
    header = "data | Gnt | store, GB | 2 bit, GB | prepare, s (plain / gzip) | M windows an epoch | steps of an epoch"
    table(f"{header} | epochs in 100k steps", rows)
    needed = MFUS[-1] * H200.flops / (step_flops(config, SAMPLING, WINDOWS) / WINDOWS)
    print(f"\nAn H200 at MFU {MFUS[-1]:.0%} takes {needed:,.0f} windows/s, a core gives {FED:,} of 510 nt:", end=" ")
    print(f"{FED / needed:.0f} times")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    arguments = parser.parse_args()
    config = KmerBertConfig(k=6)
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in KmerBertForMaskedLM(config).parameters())
    for part in arguments.parts:
        PARTS[part](config, parameters)


PARTS = {"paper": print_paper, "gpus": print_gpus, "memory": print_memory, "data": print_data}

if __name__ == "__main__":
    main()
