"""Integrated gradients: attribute the difference in output between an input and a baseline to parts of the input.

The gradient of an output says how fast it changes with each number of the input. On the straight path from the baseline
to the input, the output rises step by step; each step adds its gradient times its length. So the contribution of a
number is its difference between input and baseline, times its mean gradient along the path, and all contributions
together sum to the difference of the outputs.

Source: Sundararajan, Taly and Yan 2017, "Axiomatic attribution for deep networks", equation 1 and section 5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from ..sequence import NUM_SPECIAL, vocabulary_size

#: A function of row numbers, int64 (n,), and of the inputs of these rows, (n, ...), that returns one output for each
#: row, (n,). Often it is called for some rows of a batch only. The numbers tell it which ones, so that it can look up
#: whatever else the model needs for them, such as attention masks and tracks:
#:
#:     def func(rows, embeddings):
#:         return model(inputs_embeds=embeddings, attention_mask=attention_mask[rows]).logits[:, 0]
RowFunction: TypeAlias = Callable[..., Tensor]


class Attribution(NamedTuple):
    """The contribution of each part of an input to the output.

    Attributes:
        scores: float64 (rows, ...), the contributions, in the shape of the input.
        values: float64 (rows,), the output for the input.
        baseline_values: float64 (rows,), the output for the baseline.
        steps: int64 (rows,), number of gradients averaged.
    """

    scores: Tensor
    values: Tensor
    baseline_values: Tensor
    steps: Tensor

    @property
    def errors(self) -> Tensor:
        """Completeness error, (rows,): how far the sum of the scores of a row is from ``values - baseline_values``.

        The distance is relative to ``values - baseline_values``, which the sum approaches as the number of steps grows.
        It is infinite if both outputs are equal but the scores do not sum to exactly 0, and NaN if an output is NaN.
        """
        difference = self.values - self.baseline_values
        distance = (self.scores.flatten(1).sum(1) - difference).abs()
        return (distance / difference.abs()).where(distance != 0, 0)  # where both are 0, 0 / 0 would be NaN


def integrated_gradients(
    func: RowFunction,
    inputs: Tensor,
    baselines: Tensor,
    steps: int = 64,
    most_steps: int = 512,
    tolerance: float = 0.01,
) -> Attribution:
    """Compute the contributions of inputs by integrated gradients along the straight path from a baseline.

    The integral is computed by the midpoint rule. Rows whose completeness error is above the tolerance are computed
    again with twice as many steps, and so on, up to ``most_steps``; rows that are still above it are returned as they
    are (see ``errors``). Rows whose output is nearly that of the baseline have a large relative error, so they are
    computed with the most steps.

    Args:
        func: function of row numbers and inputs, such as a `targets.TargetFunction`, the output of a model for one
            target. It must compute every row independently, since rows are differentiated together.
        inputs: (rows, ...).
        baselines: the baseline of each input, in the same shape.
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
        values, baseline_values = func(rows, inputs).double(), func(rows, baselines).double()
    scores = torch.zeros_like(inputs, dtype=torch.float64)
    found = Attribution(scores, values, baseline_values, torch.zeros_like(rows))  # scores and steps are filled in below
    while True:
        difference = inputs[rows] - baselines[rows]
        found.scores[rows] = difference * _mean_gradients(func, rows, baselines[rows], difference, steps)
        found.steps[rows] = steps
        # Only rows with a large error are computed again. An error of NaN is not: more steps would not change it.
        rows = (found.errors > tolerance).nonzero()[:, 0]
        steps *= 2  # no gradient can be reused, because the middles of shorter steps lie at other points
        if not len(rows) or steps > most_steps:
            return found


def _mean_gradients(func: RowFunction, rows: Tensor, start: Tensor, difference: Tensor, steps: int) -> Tensor:
    """Compute the mean gradient of some rows along a straight path, float64, at the middle of each of its steps."""
    total = torch.zeros_like(difference, dtype=torch.float64)
    for step in range(steps):
        point = (start + (step + 0.5) / steps * difference).detach().requires_grad_()
        with torch.enable_grad():
            # Rows are independent, so the gradient of the sum holds the gradient of each row.
            [gradient] = torch.autograd.grad(func(rows, point).sum(), point)
        total += gradient
    return total / steps


def mean_kmer_embedding(table: Tensor, k: int) -> Tensor:
    """Compute the mean of the embeddings of all k-mers, the baseline that favours no k-mer.

    An embedding is the vector of numbers with which the model computes in place of a token.

    Args:
        table: (tokens, hidden), the token embeddings.
        k: k-mer size in nt.

    Returns:
        (hidden,).
    """
    # Special tokens come first in the table, k-mers follow.
    return table[NUM_SPECIAL : vocabulary_size(k)].double().mean(0).to(table.dtype)


def baseline_embeddings(embeddings: Tensor, kmers: Tensor, baseline: Tensor) -> Tensor:
    """Return embeddings in which all k-mers are replaced by a baseline, and special tokens keep their embeddings.

    Args:
        embeddings: (..., tokens, hidden).
        kmers: bool (..., tokens), True on k-mers.
        baseline: (hidden,), or in the shape of the embeddings.
    """
    return torch.where(kmers.unsqueeze(-1), baseline, embeddings)
