"""Choose the noise of a run with differential privacy, and compute the epsilon that it spends."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..errors import InputError

#: Orders of the Rényi divergence that are tried; with opacus's own, up to 63, no epsilon below 0.2 can be reached.
_ORDERS = [1 + tenth / 10 for tenth in range(1, 30)] + [*range(4, 64)] + [64, 128, 256, 512, 1024]


@dataclass(frozen=True)
class Budget:
    """What a run with differential privacy may spend, and how its steps are made.

    Attributes:
        epsilon: the largest epsilon allowed.
        delta: the delta that belongs to it.
        clip: largest norm of the gradient of a row.
        rows: number of training rows.
        batch: expected number of rows in a step; each row is in it with probability batch / rows.
        steps: number of steps of the run.
        noise_multiplier: standard deviation of the noise, in units of ``clip``.
    """

    epsilon: float
    delta: float
    clip: float
    rows: int
    batch: int
    steps: int
    noise_multiplier: float

    @property
    def sample_rate(self) -> float:
        """Return the probability of each row to be in a step."""
        return min(1.0, self.batch / self.rows)

    def spent(self, steps: int) -> float:
        """Return the epsilon that a number of steps has spent."""
        return epsilon_of(self.noise_multiplier, self.sample_rate, steps, self.delta)


def plan_budget(
    epsilon: float, delta: float | None, clip: float, rows: int, batch: int, steps: int | None, epochs: float
) -> Budget:
    """Choose the least noise with which a run stays within its epsilon.

    Args:
        epsilon: the largest epsilon allowed.
        delta: the delta that belongs to it; by default a tenth of 1 / rows.
        clip: largest norm of the gradient of a row.
        rows: number of training rows.
        batch: expected number of rows in a step.
        steps: number of steps; None if ``epochs`` decides.
        epochs: number of passes over the rows.

    Raises:
        InputError: if delta is not below 1 / rows, or no noise is enough.

    Source: Mironov 2017 (Rényi differential privacy, arXiv 1702.07476) and Mironov et al. 2019 (Poisson sampling, arXiv
    1908.10530), as opacus computes them.
    """
    from opacus.accountants.utils import get_noise_multiplier  # an extra

    delta = 0.1 / rows if delta is None else delta
    if not delta < 1 / rows:
        raise InputError(f"head.dp_delta must be below 1 / {rows:,} training rows, not {delta:g}; lower or omit it")
    steps = steps or math.ceil(epochs * steps_of_epoch(rows, batch))
    rate = min(1.0, batch / rows)
    try:
        with quiet_orders():
            noise = get_noise_multiplier(
                target_epsilon=epsilon,
                target_delta=delta,
                sample_rate=rate,
                steps=steps,
                accountant="rdp",
                epsilon_tolerance=min(0.01, epsilon / 100),
                alphas=_ORDERS,
            )
    except ValueError as error:
        raise InputError(
            f"head.dp_epsilon {epsilon:g} is too small for {steps:,} steps of {batch:,} of {rows:,} rows: no noise is "
            "enough; raise it or lower trainer.max_steps"
        ) from error
    return Budget(epsilon, delta, clip, rows, batch, steps, noise)


def steps_of_epoch(rows: int, batch: int) -> int:
    """Return the number of steps in which each row is expected once."""
    return math.ceil(rows / min(batch, rows))


def epsilon_of(noise_multiplier: float, sample_rate: float, steps: int, delta: float) -> float:
    """Return the epsilon of steps of the Gaussian mechanism on Poisson samples.

    Args:
        noise_multiplier: standard deviation of the noise, in units of the largest norm of a row's gradient.
        sample_rate: probability of each row to be in a step.
        steps: number of steps.
        delta: the delta that belongs to it.
    """
    from opacus.accountants import RDPAccountant  # an extra

    accountant = RDPAccountant()
    accountant.history = [(noise_multiplier, sample_rate, steps)] if steps else []
    with quiet_orders():
        return float(accountant.get_epsilon(delta, alphas=_ORDERS))


@contextmanager
def quiet_orders() -> Iterator[None]:
    """Silence opacus where the best order of the Rényi divergence is the first or last one that it tries.

    The bound holds in that case, too; a finer list of orders would only make it smaller.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Optimal order")
        yield
