"""Compute the gradient of every row of a batch, and the noisy sum of clipped gradients for a step of DP-SGD.

DP-SGD (differentially private SGD) limits what a model can reveal about any single training row; see steps.py.
"""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError

#: How far the sum of the rows' gradients may be from the gradient of the batch, as a share of the latter's norm. It
#: allows for rounding in 16-bit arithmetic.
_TOLERANCE = 0.05


@contextmanager
def row_gradients(model: nn.Module) -> Iterator[None]:
    """Let each backward pass within the block store one gradient of each weight for every row of the batch.

    They are stored in ``weight.grad_sample``; `take_row_gradients` returns them.

    Args:
        model: model in training mode; every trained layer must see rows along its first dimension.
    """
    from opacus.grad_sample import GradSampleHooks  # an optional dependency

    hooks = GradSampleHooks(model, loss_reduction="sum")
    try:
        with warnings.catch_warnings():
            # torch warns that the first layer's input, the ids, has no gradient.
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            yield
    finally:
        hooks.cleanup()
        for part in model.modules():  # what the hooks remembered of the last pass
            for name in ("activations", "max_batch_len"):
                vars(part).pop(name, None)


def take_row_gradients(model: nn.Module, num_rows: int) -> list[Tensor]:
    """Return the gradients that a backward pass has stored, and remove them from the model.

    Args:
        model: the model of `row_gradients`.
        num_rows: number of rows of the batch, whose losses were added up.

    Returns:
        The gradients of each trained weight, float32 (rows, *weight).

    Raises:
        InputError: if a layer mixes rows, or its weights are used in a way that hides the gradients of rows.
    """
    found = []
    for name, weight in model.named_parameters():
        if not weight.requires_grad:
            continue
        gradients: Any = getattr(weight, "grad_sample", None)
        if not isinstance(gradients, Tensor) or gradients.shape != (num_rows, *weight.shape):
            raise _no_rows(name)
        found.append(gradients.float())
        weight.grad_sample = None  # type: ignore[attr-defined]
    return found


def check_row_gradients(model: nn.Module, gradients: Iterable[Tensor]) -> None:
    """Check that the gradients of rows add up to the gradient that autograd computed in the same pass.

    Args:
        model: model whose weights hold the gradient of this pass only.
        gradients: what `take_row_gradients` returned.

    Raises:
        InputError: if they do not; then the gradient of some rows is incomplete.
    """
    trained = ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)
    for (name, weight), of_rows in zip(trained, gradients, strict=True):
        whole = torch.zeros_like(weight) if weight.grad is None else weight.grad
        if (of_rows.sum(0) - whole).norm() > _TOLERANCE * whole.norm() + 1e-6:
            raise _no_rows(name)


def _no_rows(name: str) -> InputError:
    """Build the error for a weight whose gradients of single rows are not known."""
    return InputError(
        f"head.dp_epsilon needs the gradient of each row separately, which is not known for {name} in this model; "
        "omit head.dp_epsilon"
    )


def clipped_sum(gradients: Sequence[Tensor], bound: float) -> list[Tensor]:
    """Clip the gradient of each row to a norm of at most ``bound``, over all weights together, and sum the rows.

    Args:
        gradients: gradients of each weight, float32 (rows, *weight).
        bound: largest norm of the gradient of a row.

    Returns:
        The sum for each weight, float32 (*weight).

    Source: Abadi et al. 2016 (doi 10.1145/2976749.2978318), algorithm 1.
    """
    norms = torch.stack([of_rows.flatten(1).norm(dim=1) for of_rows in gradients]).norm(dim=0)
    factors = (bound / norms.clamp(min=1e-12)).clamp(max=1)
    return [torch.tensordot(factors, of_rows, 1) for of_rows in gradients]


def noisy(total: Tensor, scale: float, generator: np.random.Generator) -> Tensor:
    """Add normal noise to a sum of clipped gradients.

    Args:
        total: the sum, float32.
        scale: standard deviation of the noise in each number.
        generator: from `secret_generator`.
    """
    noise = torch.from_numpy(generator.standard_normal(total.shape, dtype=np.float32))
    return total + scale * noise.to(total.device)


def secret_generator() -> np.random.Generator:
    """Return a generator whose seed comes from the operating system's source of randomness and is stored nowhere.

    Anyone who knew the seed could subtract the noise from the weights. `trainer.seed` is published with the model, so
    the noise must not follow from it. The generator is NumPy's, because torch's generator on a CPU uses only 32 bits of
    a seed, and 2^32 seeds can be tried one by one.
    """
    return np.random.default_rng(secrets.randbits(128))
