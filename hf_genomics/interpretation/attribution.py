"""Integrated gradients: attribute the difference in output between an input and a base to the parts of the input.

Source: Sundararajan, Taly and Yan 2017, "Axiomatic attribution for deep networks", equation 1 and section 5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from ..sequence import NUM_SPECIAL, vocabulary_size

#: A function of rows, int64 (n,), and of what these rows hold, (n, ...) each, that returns a number per row, (n,).
RowFunction: TypeAlias = Callable[..., Tensor]


class Attribution(NamedTuple):
    """The contribution of each part of an input to the output.

    Attributes:
        scores: float64 (rows, ...), the contributions, in the shape of the input.
        values: float64 (rows,), the output for the input.
        base_values: float64 (rows,), the output for the base.
        steps: int64 (rows,), number of gradients averaged.
    """

    scores: Tensor
    values: Tensor
    base_values: Tensor
    steps: Tensor

    @property
    def errors(self) -> Tensor:
        """Completeness error, (rows,): how far the sum of the scores of a row is from ``values - base_values``.

        The distance is relative to ``values - base_values``, which the sum approaches as the number of steps grows.
        """
        difference = self.values - self.base_values
        distance = (self.scores.flatten(1).sum(1) - difference).abs()
        return (distance / difference.abs()).where(distance > 0, 0)


def integrated_gradients(
    func: RowFunction,
    inputs: Tensor,
    bases: Tensor,
    steps: int = 64,
    most_steps: int = 512,
    tolerance: float = 0.01,
) -> Attribution:
    """Compute the contributions of inputs by integrated gradients along the straight path from a base.

    The integral is computed by the midpoint rule. Rows whose completeness error is above the tolerance are computed
    again with twice as many steps, and so on.

    Args:
        func: function of rows and inputs, such as a `TargetFunction`; it must compute every row independently.
        inputs: (rows, ...).
        bases: the base of each input, in the same shape.
        steps: number of gradients to average.
        most_steps: number of steps at which doubling ends.
        tolerance: largest completeness error that is accepted.

    Raises:
        ValueError: if ``steps`` is not positive.

    >>> x = torch.tensor([[1.0, 2.0]])
    >>> integrated_gradients(lambda rows, x: (x**2).sum(1), x, torch.zeros_like(x)).scores
    tensor([[1., 4.]], dtype=torch.float64)
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    rows = torch.arange(len(inputs), device=inputs.device)
    with torch.no_grad():
        values, base_values = (func(rows, given).double() for given in (inputs, bases))
    found = Attribution(torch.zeros_like(inputs, dtype=torch.float64), values, base_values, torch.zeros_like(rows))
    while True:
        way = inputs[rows] - bases[rows]
        found.scores[rows] = way * _mean_gradients(func, rows, bases[rows], way, steps)
        found.steps[rows] = steps
        rows = (found.errors > tolerance).nonzero()[:, 0]
        steps *= 2
        if not len(rows) or steps > most_steps:
            return found


def _mean_gradients(func: RowFunction, rows: Tensor, start: Tensor, way: Tensor, steps: int) -> Tensor:
    """Compute the mean gradient of some rows along a path, float64, at the middle of each of its steps."""
    total = torch.zeros_like(way, dtype=torch.float64)
    for step in range(steps):
        point = (start + (step + 0.5) / steps * way).detach().requires_grad_()
        with torch.enable_grad():
            [gradient] = torch.autograd.grad(func(rows, point).sum(), point)
        total += gradient
    return total / steps


def mean_kmer_embedding(table: Tensor, k: int) -> Tensor:
    """Compute the mean of the embeddings of all k-mers, the base that favours no k-mer.

    Args:
        table: (tokens, hidden), the token embeddings.
        k: k-mer size in nt.

    Returns:
        (hidden,).
    """
    return table[NUM_SPECIAL : vocabulary_size(k)].double().mean(0).to(table.dtype)


def embedding_base(embeddings: Tensor, kmers: Tensor, base: Tensor) -> Tensor:
    """Return embeddings in which all k-mers are replaced by a base, and special tokens keep their embeddings.

    Args:
        embeddings: (..., tokens, hidden).
        kmers: bool (..., tokens), True on k-mers.
        base: (hidden,), or in the shape of the embeddings.
    """
    return torch.where(kmers.unsqueeze(-1), base, embeddings)
