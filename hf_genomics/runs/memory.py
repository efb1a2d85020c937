"""What a training step needs of a device's memory, and what the device has; said before the first step.

The estimate counts what autograd keeps of a forward pass for the backward pass, tensor by tensor, and adds weights,
gradients and the optimizer's state. Transient tensors, allocators and libraries are in the margins, which were measured
on real steps (benchmarks/memory.py, docs/decisions.md).
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
from torch import Tensor
from transformers import TrainingArguments

from ..errors import InputError
from .flops import narrows

logger = logging.getLogger(__name__)

#: Real steps took between these multiples of the estimate. What needs more than the free memory even at the lower one
#: is refused; what might at the upper one is warned of.
LOWEST, HIGHEST = 0.5, 1.4
_GIB = 2**30
#: A CPU's heap keeps what is freed between arrays that are not (see ``keep_freed_memory``): measured, 1.0 to 1.6.
_HEAP = 1.25
#: Numbers that an optimizer keeps for each weight; others than these: 2, as AdamW.
_STATE = {"sgd": 0.0, "adafactor": 0.1, "adagrad": 1.0, "rmsprop": 1.0, "lion": 1.0}


class BatchShape(NamedTuple):
    """What of a batch decides how much memory it takes.

    Attributes:
        tokens: of all rows, padding included.
        windows: tokens of each window that attends to itself; padded rows are windows as long as they are.
        predicted: tokens with a label, where the head gives logits for tokens.
        packed: rows hold several windows, whose scores no mask in float32 is added to on a CPU.
    """

    tokens: int
    windows: list[int]
    predicted: int
    packed: bool = False

    @classmethod
    def of(cls, batch: Mapping[str, Tensor]) -> BatchShape:
        """Read it off a batch: padded rows, packed rows, or (rows, windows, tokens) of hierarchical models."""
        ids = batch["input_ids"]
        labels = batch.get("labels")
        predicted = int((labels != -100).sum()) if labels is not None and labels.shape == ids.shape else 0
        positions = batch.get("position_ids")
        if positions is None:
            there = ids if ids.ndim == 2 else ids[batch["attention_mask"].bool().any(2)]  # windows that are not there
            return cls(there.numel(), [there.shape[-1]] * (there.numel() // there.shape[-1]), predicted)
        starts = torch.ones_like(positions, dtype=torch.bool)
        starts[:, 1:] = positions.diff(dim=1) != 1
        places = starts.flatten().nonzero().flatten()
        return cls(ids.numel(), places.diff(append=places.new_tensor([ids.numel()])).tolist(), predicted, packed=True)


class StepMemory(NamedTuple):
    """Bytes that a step needs at its peak."""

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """All of them together."""
        return sum(self)

    def __str__(self) -> str:
        """Say it in GiB."""
        parts = ", ".join(f"{name} {value / _GIB:.2f}" for name, value in self._asdict().items())
        return f"{self.total / _GIB:.2f} GiB ({parts})"


class Way(NamedTuple):
    """How a step is computed, as far as memory goes.

    Attributes:
        device: "cpu" or "cuda".
        attention: "eager" keeps scores of all pairs of tokens, as sdpa does on a CPU where it drops some; the others go
            through them in tiles.
        half: bf16 or fp16 autocast.
        checkpointing: only the input of each layer is kept, and one layer is computed anew at a time.
    """

    device: str = "cpu"
    attention: str = "eager"
    half: bool = False
    checkpointing: bool = False


def layer_bytes(config: Any, shape: BatchShape, window: int | None, way: Way) -> int:
    """Count what autograd keeps of one encoder layer.

    Per token: the input, query, key and value, what attention gives, one norm's output (6 x hidden), two sums before
    their norms (2 x hidden), the feed-forward layer before and after its activation (2 x intermediate), and two masks
    of dropout. In half precision autocast keeps copies of half the size, three of the input among them; sums stay
    float32. Per pair of tokens and head, where scores are kept: the softmax, and with dropout a mask and what is left.
    Masks are as large as what they mask on a CPU, a byte a number in the fused kernels elsewhere.

    Args:
        config: sizes and dropout.
        shape: of the batch.
        window: how far a token sees, None without limit.
        way: of computing.
    """
    hidden, size, fused = config.hidden_size, 2 if way.half else 4, way.device != "cpu"
    kept = ((8 if way.half else 6) * size + 2 * 4) * hidden + 2 * size * config.intermediate_size
    kept += 2 * (1 if fused else size) * hidden if config.hidden_dropout_prob else 0
    drops = bool(config.attention_probs_dropout_prob)
    whole = score_size(shape, way)
    each = whole + (size if whole > size or drops else 0) + ((1 if fused else whole) if drops else 0)
    return shape.tokens * kept + scores(config, shape, window, way) * each


def score_size(shape: BatchShape, way: Way) -> int:
    """Give the bytes of a score: float32, but where autocast on a CPU meets no mask in float32."""
    return 2 if way.half and way.device == "cpu" and shape.packed else 4


def scores(config: Any, shape: BatchShape, window: int | None, way: Way) -> int:
    """Count pairs of tokens, for each head, whose scores a layer keeps: none where a kernel takes them in tiles."""
    math_kernel = way.device == "cpu" and way.attention == "sdpa" and config.attention_probs_dropout_prob
    if way.attention != "eager" and not math_kernel:
        return 0
    seen = [min(length, length if window is None else 3 * window) for length in shape.windows]
    pairs = sum(length * others for length, others in zip(shape.windows, seen, strict=True))
    return pairs * config.num_attention_heads


def passing_bytes(config: Any, shape: BatchShape, window: int | None, way: Way) -> int:
    """Count what comes and goes while one layer is computed backward: gradients of what it kept, a few at a time."""
    size = 2 if way.half else 4
    tokens = shape.tokens * size * (2 * config.intermediate_size + 4 * config.hidden_size)
    return max(tokens, 3 * score_size(shape, way) * scores(config, shape, window, way))


def activation_bytes(config: Any, shape: BatchShape, way: Way) -> int:
    """Count what autograd keeps of a forward pass (embeddings, layers, logits), and what passes on the way back."""
    reaches = [config.window_of(layer) for layer in range(config.num_hidden_layers)]
    reaches += [None] * (getattr(config, "fusion_layers", 0) if getattr(config, "nt_track_names", None) else 0)
    layers = [layer_bytes(config, shape, reach, way) for reach in reaches]
    if shape.predicted and narrows(
        config, torch.device(way.device)
    ):  # the last one: input, key and value of all tokens
        share, read = shape.predicted / shape.tokens, 4 * (2 if way.half else 4) * shape.tokens * config.hidden_size
        layers[-1] = int(share * layers[-1] + (1 - share) * read)
    passing = max(passing_bytes(config, shape, reach, way) for reach in reaches)
    total = max(layers) + 4 * shape.tokens * config.hidden_size * len(layers) if way.checkpointing else sum(layers)
    mask = (4 if way.device == "cpu" else 1) if config.hidden_dropout_prob else 0
    total += shape.tokens * (8 + mask) * config.hidden_size + passing  # embeddings: sum, norm, dropout
    if shape.predicted:  # logits, softmax and their gradient; the head before its decoder
        predicted = shape.predicted if config.sparse_prediction else shape.tokens
        total += predicted * (3 * 4 * config.num_embeddings + 16 * config.hidden_size)
    return total


def step_memory(
    config: Any,
    num_parameters: int,
    shape: BatchShape,
    way: Way,
    *,
    state: float = 2.0,
    processes: int = 1,
) -> StepMemory:
    """Estimate what a training step needs of one device at its peak.

    Args:
        config: of the model.
        num_parameters: of the model, in float32; half precision keeps a copy of them besides.
        shape: of one forward pass.
        way: of computing.
        state: numbers that the optimizer keeps for each weight.
        processes: that train together; a second copy of the gradients lies in the buckets in which they are exchanged.
    """
    weights = 4 * num_parameters
    gradients = weights * (2 if processes > 1 else 1)
    activations = activation_bytes(config, shape, way) + (weights // 2 if way.half else 0)
    activations = int(activations * (_HEAP if way.device == "cpu" else 1))
    return StepMemory(weights, gradients, int(state * weights), activations)


def free_memory(device: torch.device, processes: int = 1) -> int:
    """Give the bytes that one of ``processes`` on this machine may still take of a device."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = psutil.virtual_memory().available + psutil.swap_memory().free
    limits = [left for left in map(_cgroup_left, _CGROUPS) if left is not None]
    return min([free, *limits]) // max(processes, 1)


#: Limit, use, and statistics of a container's memory: cgroup 2 and 1.
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
    ),
)


def _cgroup_left(files: tuple[str, str, str]) -> int | None:
    """Give what a container's limit leaves; files in the page cache are given up when memory is short."""
    try:
        limit, used, statistics = (Path(file).read_text() for file in files)
    except OSError:
        return None
    if not limit.strip().isdigit():  # "max"
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
    """Check that a step fits into the free memory of its device.

    Args:
        args: of the Trainer.
        config: of the model.
        build: makes the model; it is called on the meta device, where weights have sizes but take no memory.
        batch: of one forward pass.
        attention: backend.

    Raises:
        InputError: if it clearly does not, naming the batch size that does.
    """
    device = args.device
    if device.type not in ("cpu", "cuda") or args.world_size > 1 and args.fsdp:
        return
    way = Way(device.type, attention, args.bf16 or args.fp16, args.gradient_checkpointing)
    state = _STATE.get(getattr(args.optim, "value", str(args.optim)).split("_")[0], 2.0)
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in build().parameters())
    needed = step_memory(config, count, BatchShape.of(batch), way, state=state, processes=args.world_size)
    free = free_memory(device, int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if device.type == "cpu" else 1)
    if needed.total * HIGHEST <= free:
        return
    what = (
        f"trainer.per_device_train_batch_size {args.per_device_train_batch_size}: a step needs about {needed}, "
        f"{device} has {free / _GIB:.2f} GiB free"
    )
    way_out = _way_out(args, needed, free)
    if needed.total * LOWEST > free:
        raise InputError(f"{what}; {way_out}")
    logger.warning("%s, so it may run out of memory; if it does, %s", what, way_out)


def _way_out(args: TrainingArguments, needed: StepMemory, free: int) -> str:
    """Name a batch size that fits, with the accumulation that keeps the step; or what else helps."""
    batch, accumulation = args.per_device_train_batch_size, args.gradient_accumulation_steps
    left = free / HIGHEST - (needed.total - needed.activations)
    fits = math.floor(batch * left / needed.activations)
    if fits < 1:
        return "take a smaller model, shorter windows, or trainer.gradient_checkpointing true"
    size = next((size for size in range(fits, 0, -1) if batch * accumulation % size == 0), 1)
    return (
        f"set it to {size} and trainer.gradient_accumulation_steps to {batch * accumulation // size} (the same steps), "
        "or trainer.gradient_checkpointing true"
    )
