"""Estimate the memory that a training step needs, and compare it with the free memory before the first step.

The estimate counts what autograd keeps of a forward pass for the backward pass, tensor by tensor, and adds weights,
gradients and the optimizer's state. Temporary tensors, allocators and libraries are covered by margins, which were
measured on real steps (benchmarks/memory.py).
"""

from __future__ import annotations

import ctypes
import logging
import math
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
from torch import Tensor
from transformers import TrainingArguments

from ..configuration_kmer_bert import FusionKmerBertConfig
from ..errors import InputError
from ..pooling import packed_starts
from ..sequence import IGNORE_INDEX
from .flops import selects_in_last_layer

logger = logging.getLogger(__name__)

#: Real steps took between these multiples of the estimate. It is an error if even the lower multiple does not fit into
#: the free memory, and a warning if the upper multiple does not fit.
LOWEST, HIGHEST = 0.5, 1.4
_GIB = 2**30
#: Factor for activations on a CPU, where freed arrays between arrays in use stay in the heap (see
#: ``keep_freed_memory``). Measured: 1.0 to 1.6.
_HEAP = 1.25
#: Numbers that an optimizer keeps for each weight; 2 (as AdamW) for any other optimizer.
_STATE = {"sgd": 0.0, "adafactor": 0.1, "adagrad": 1.0, "rmsprop": 1.0, "lion": 1.0}


class BatchShape(NamedTuple):
    """Properties of a batch that decide how much memory it takes.

    Attributes:
        tokens: number of tokens in all rows, padding included.
        windows: number of tokens of each window that attends to itself only; each padded row is one such window.
        predicted: number of tokens with a label, where the head computes logits for tokens; 0 otherwise.
        packed: whether rows hold several windows. On a CPU, packed windows are computed one by one, without a float32
            mask that is added to the scores.
    """

    tokens: int
    windows: list[int]
    predicted: int
    packed: bool = False

    @classmethod
    def of(cls, batch: Mapping[str, Tensor]) -> BatchShape:
        """Measure a batch of padded rows, of packed rows, or of rows in parts (rows, parts, tokens)."""
        ids = batch["input_ids"]
        labels = batch.get("labels")
        predicted = int((labels != IGNORE_INDEX).sum()) if labels is not None and labels.shape == ids.shape else 0
        positions = batch.get("position_ids")
        if positions is None:
            # Sequences may have fewer parts than the batch; parts without any token are not computed.
            computed = ids if ids.ndim == 2 else ids[batch["attention_mask"].bool().any(2)]
            length = computed.shape[-1]
            return cls(computed.numel(), [length] * (computed.numel() // length), predicted)
        places = packed_starts(positions).flatten().nonzero().flatten()
        return cls(ids.numel(), places.diff(append=places.new_tensor([ids.numel()])).tolist(), predicted, packed=True)


class StepMemory(NamedTuple):
    """Bytes that a training step needs at its peak."""

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """Sum of all four."""
        return sum(self)

    def __str__(self) -> str:
        """Format the bytes in GiB."""
        parts = ", ".join(f"{name} {value / _GIB:.2f}" for name, value in self._asdict().items())
        return f"{self.total / _GIB:.2f} GiB ({parts})"


class ComputeMode(NamedTuple):
    """Settings that affect how much memory a training step needs.

    Attributes:
        device: "cpu" or "cuda".
        attention: attention backend. "eager" keeps the scores of all pairs of tokens, and so does "sdpa" on a CPU if
            attention has dropout; the other backends compute the scores tile by tile and keep none.
        half: whether bf16 or fp16 autocast is on.
        checkpointing: whether gradient checkpointing is on: only the input of each layer is kept, and the backward
            pass computes one layer at a time again.
    """

    device: str = "cpu"
    attention: str = "eager"
    half: bool = False
    checkpointing: bool = False

    @property
    def number_bytes(self) -> int:
        """Bytes of a number in the matrix products."""
        return 2 if self.half else 4


def layer_bytes(config: Any, shape: BatchShape, reach: int | None, mode: ComputeMode) -> int:
    """Count the bytes that autograd keeps of one encoder layer.

    Numbers that are kept for each token:

    - 6 x hidden: the input, query, key and value, the output of attention, and the output of one norm;
    - 2 x hidden: two sums before their norms;
    - 2 x intermediate: the feed-forward layer before and after its activation;
    - two dropout masks.

    In half precision autocast keeps copies of half the size, three of the input among them; the sums stay float32.

    For each pair of tokens and each head, if the backend keeps scores: the softmax and, with dropout, a mask and the
    remaining scores. On a CPU a mask has numbers as large as those that it masks; the fused kernels elsewhere keep one
    byte per number.

    Args:
        config: sizes and dropout of the model.
        shape: shape of the batch.
        reach: how many tokens to either side a token attends to; None without limit.
        mode: how the step is computed.
    """
    hidden, size, fused = config.hidden_size, mode.number_bytes, mode.device != "cpu"
    copies = 8 if mode.half else 6
    kept = (copies * size + 2 * 4) * hidden + 2 * size * config.intermediate_size
    if config.hidden_dropout_prob:
        kept += 2 * (1 if fused else size) * hidden
    softmax = score_bytes(shape, mode)
    pair = softmax
    if softmax > size or config.attention_probs_dropout_prob:
        pair += size  # the copy that autocast multiplies by the values, or the scores that dropout leaves
    if config.attention_probs_dropout_prob:
        pair += 1 if fused else softmax
    return shape.tokens * kept + count_scores(config, shape, reach, mode) * pair


def score_bytes(shape: BatchShape, mode: ComputeMode) -> int:
    """Return the bytes of an attention score: 4, or 2 where CPU autocast adds no float32 mask to the scores."""
    return 2 if mode.half and mode.device == "cpu" and shape.packed else 4


def count_scores(config: Any, shape: BatchShape, reach: int | None, mode: ComputeMode) -> int:
    """Count the attention scores of all heads that a layer keeps; 0 where a kernel computes them in tiles."""
    # torch's fused CPU kernel has no dropout: sdpa then falls back to plain products, which keep all scores.
    plain_products = mode.device == "cpu" and mode.attention == "sdpa" and config.attention_probs_dropout_prob
    if mode.attention != "eager" and not plain_products:
        return 0
    seen = [min(length, length if reach is None else 3 * reach) for length in shape.windows]
    pairs = sum(length * others for length, others in zip(shape.windows, seen, strict=True))
    return pairs * config.num_attention_heads


def backward_bytes(config: Any, shape: BatchShape, reach: int | None, mode: ComputeMode) -> int:
    """Count the temporary bytes of one layer's backward pass: gradients of what it kept, a few at a time."""
    tokens = shape.tokens * mode.number_bytes * (2 * config.intermediate_size + 4 * config.hidden_size)
    return max(tokens, 3 * score_bytes(shape, mode) * count_scores(config, shape, reach, mode))


def activation_bytes(config: Any, shape: BatchShape, mode: ComputeMode) -> int:
    """Count the bytes of a step that grow with its batch.

    These are what autograd keeps of the forward pass (embeddings, layers, logits), and the temporary tensors of the
    backward pass.
    """
    hidden = config.hidden_size
    reaches = [config.window_of(layer) for layer in range(config.num_hidden_layers)]
    if isinstance(config, FusionKmerBertConfig) and config.nt_track_names:
        reaches += [None] * config.fusion_layers
    layers = [layer_bytes(config, shape, reach, mode) for reach in reaches]
    if shape.predicted and selects_in_last_layer(config, torch.device(mode.device)):
        # The last layer still reads input, key and value of all tokens; the rest is computed for predicted tokens only.
        share, read = shape.predicted / shape.tokens, 4 * mode.number_bytes * shape.tokens * hidden
        layers[-1] = int(share * layers[-1] + (1 - share) * read)
    if mode.checkpointing:
        total = max(layers) + 4 * shape.tokens * hidden * len(layers)
    else:
        total = sum(layers)
    total += max(backward_bytes(config, shape, reach, mode) for reach in reaches)
    mask = (4 if mode.device == "cpu" else 1) if config.hidden_dropout_prob else 0
    total += shape.tokens * (8 + mask) * hidden  # embeddings: sum, norm, dropout
    if shape.predicted:  # logits, softmax and their gradient; the head before its decoder
        predicted = shape.predicted if config.sparse_prediction else shape.tokens
        total += predicted * (3 * 4 * config.num_embeddings + 16 * hidden)
    return total


def step_memory(
    config: Any,
    num_parameters: int,
    shape: BatchShape,
    mode: ComputeMode,
    *,
    num_trained: int | None = None,
    state: float = 2.0,
    processes: int = 1,
) -> StepMemory:
    """Estimate the memory that a training step needs of one device at its peak.

    Args:
        config: configuration of the model.
        num_parameters: number of weights, in float32; half precision keeps a second copy of them.
        shape: shape of the batch of one forward pass.
        mode: how the step is computed.
        num_trained: number of weights that are trained, which alone have gradients and an optimizer's state; by default
            all of them.
        state: numbers that the optimizer keeps for each trained weight.
        processes: number of processes that train together; with several, a second copy of the gradients lies in the
            buckets in which the processes exchange them.
    """
    weights, trained = 4 * num_parameters, 4 * (num_parameters if num_trained is None else num_trained)
    gradients = trained * (2 if processes > 1 else 1)
    activations = activation_bytes(config, shape, mode) + (weights // 2 if mode.half else 0)
    activations = int(activations * (_HEAP if mode.device == "cpu" else 1))
    return StepMemory(weights, gradients, int(state * trained), activations)


def free_memory(device: torch.device, processes: int = 1) -> int:
    """Return the bytes of a device that are free for one process, if ``processes`` of them share this machine."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # mem_get_info counts memory that torch has reserved but not handed out as taken; the next step can use it.
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = psutil.virtual_memory().available + psutil.swap_memory().free
    limits = [left for left in map(_left_in_container, _CGROUPS) if left is not None]
    return min([free, *limits]) // max(processes, 1)


#: Files with limit, use and statistics of a container's memory: cgroup 2 and 1.
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
    ),
)


def _left_in_container(files: tuple[str, str, str]) -> int | None:
    """Return the bytes up to a container's memory limit, None without one; the page cache counts as free."""
    try:
        limit, used, statistics = (Path(file).read_text() for file in files)
    except OSError:
        return None
    if not limit.strip().isdigit():  # "max": no limit
        return None
    cached = dict(line.rsplit(maxsplit=1) for line in statistics.splitlines())
    return int(limit) - int(used) + int(cached.get("total_inactive_file", cached.get("inactive_file", 0)))


def check_memory(
    args: TrainingArguments,
    config: Any,
    build: Callable[[], torch.nn.Module],
    batch: Mapping[str, Tensor],
    attention: str,
) -> None:
    """Check that a training step fits into the free memory of its device; warn if it might not.

    Args:
        args: arguments of the Trainer.
        config: configuration of the model.
        build: function that builds the model, frozen weights without ``requires_grad``; called on the meta device,
            where weights take no memory.
        batch: batch of one forward pass.
        attention: attention backend.

    Raises:
        InputError: if the step clearly does not fit; the message names a batch size that does.
    """
    from .sharding import is_sharded  # slow to import

    device = args.device
    # The estimate holds for these devices, and for models that are not sharded.
    if device.type not in ("cpu", "cuda") or args.world_size > 1 and is_sharded(args):
        return
    mode = ComputeMode(device.type, attention, args.bf16 or args.fp16, args.gradient_checkpointing)
    state = _STATE.get(getattr(args.optim, "value", str(args.optim)).split("_")[0], 2.0)
    try:
        with torch.device("meta"):
            parameters = list(build().parameters())
    except ValueError as error:  # more weights than the memory of this machine holds
        raise InputError(str(error)) from error
    count = sum(weight.numel() for weight in parameters)
    trained = sum(weight.numel() for weight in parameters if weight.requires_grad)
    options: Any = {"num_trained": trained, "state": state, "processes": args.world_size}
    needed = step_memory(config, count, BatchShape.of(batch), mode, **options)
    free = free_memory(device, int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if device.type == "cpu" else 1)
    if needed.total * HIGHEST <= free:
        return
    # The memory of activations grows with the batch. All the rest does not depend on it.
    constant = needed.total - needed.activations
    fits = math.floor(args.per_device_train_batch_size * (free / HIGHEST - constant) / needed.activations)
    too_large = constant * LOWEST > free  # without any batch
    its_batch = f"trainer.per_device_train_batch_size {args.per_device_train_batch_size}"
    what = (
        f"{_large_model(config, count) if too_large else its_batch}: a step needs about {needed}, "
        f"{device} has {free / _GIB:.2f} GiB free"
    )
    remedy = "choose a smaller model: no batch fits" if too_large else _remedy(args, fits)
    if needed.total * LOWEST > free:
        raise InputError(f"{what}; {remedy}")
    logger.warning("%s, so it may run out of memory; if it does, %s", what, remedy)


def _large_model(config: Any, count: int) -> str:
    """Name what makes a model large: its vocabulary, or its layers."""
    rows, width = getattr(config, "vocab_size", 0), getattr(config, "hidden_size", 0)
    if 2 * rows * width > count:
        return f"a model of {count:,} weights, most of them for its vocabulary (vocab_size {rows:,}; 4^k for k-mers)"
    return f"a model of {count:,} weights (hidden_size {width:,}, num_hidden_layers {config.num_hidden_layers:,})"


def _remedy(args: TrainingArguments, fits: int) -> str:
    """Name a batch size of at most ``fits``, with the accumulation that keeps the steps; or another remedy."""
    batch, accumulation = args.per_device_train_batch_size, args.gradient_accumulation_steps
    checkpointing = "" if args.gradient_checkpointing else ", or trainer.gradient_checkpointing true"
    if fits < 1:
        smaller = "choose a smaller model"
        return f"{smaller}, shorter windows{checkpointing}" if checkpointing else f"{smaller} or shorter windows"
    size = next((size for size in range(fits, 0, -1) if batch * accumulation % size == 0), 1)
    return (
        f"set it to {size} and trainer.gradient_accumulation_steps to {batch * accumulation // size} (the same steps)"
        f"{checkpointing}"
    )


def return_freed_memory() -> None:
    """Return freed memory to the system, on Linux.

    The free places between the arrays of a run do not fit arrays of new lengths, such as those of packed rows, so the
    memory of a long run grows although it needs no more (docs/decisions/training.md).
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim:
        trim(0)


def keep_freed_memory() -> None:
    """Make the C library keep freed memory instead of returning it to the system, on Linux.

    Every step on a CPU frees and allocates the same large arrays. If they were returned to the system, allocating each
    of them again would cost thousands of page faults, which take a quarter of a step's time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        trim_threshold, top_pad, mmap_max = -1, -2, -4  # their numbers in malloc.h
        mallopt(mmap_max, 0)  # take large arrays from the heap too, not as pages of their own
        mallopt(trim_threshold, 2**31 - 1)  # never shrink the heap
        mallopt(top_pad, 2**28)  # let it grow by 256 MiB at a time
