"""The noise of a private run is enough for its epsilon, and hardly more than enough."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_genomics.errors import InputError

pytest.importorskip("opacus")
from hf_genomics.privacy.budget import epsilon_of, plan_budget, steps_of_epoch  # noqa: E402 (skips without opacus)


def slow_epsilon(noise: float, rate: float, steps: int, delta: float) -> float:
    """The slow twin: the Rényi divergence of whole orders, term by term (Mironov et al. 2019, section 3.3)."""
    found = math.inf
    for order in [*range(2, 64), 64, 128, 256, 512, 1024]:
        terms = [
            math.log(math.comb(order, k))
            + (k * math.log(rate) if k else 0)
            + ((order - k) * math.log1p(-rate) if k < order else 0)
            + k * (k - 1) / (2 * noise**2)
            for k in range(order + 1)
            if rate < 1 or k == order
        ]
        most = max(terms)
        divergence = steps * (most + math.log(sum(math.exp(term - most) for term in terms))) / (order - 1)
        found = min(found, divergence + math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1))
    return max(found, 0)


@settings(max_examples=10)
@given(st.floats(0.6, 4), st.sampled_from([0.001, 0.02, 0.2, 1.0]), st.integers(1, 2000), st.sampled_from([1e-6, 1e-3]))
def test_epsilon_equals_the_slow_twin(noise, rate, steps, delta):
    found, slow = epsilon_of(noise, rate, steps, delta), slow_epsilon(noise, rate, steps, delta)
    assert found <= slow * (1 + 1e-9)  # it tries orders between whole numbers, too
    if slow < 20:
        assert found >= 0.85 * slow


@pytest.mark.parametrize("epsilon", [0.1, 1.0])
@pytest.mark.parametrize(("rows", "batch", "steps"), [(50, 100, 3), (10_000, 32, None)])
def test_the_noise_is_enough_and_hardly_more(epsilon, rows, batch, steps):
    budget = plan_budget(epsilon, None, 1.0, rows, batch, steps, epochs=1.5)
    assert budget.delta == 0.1 / rows and budget.steps == (steps or math.ceil(1.5 * steps_of_epoch(rows, batch)))
    assert 0.95 * epsilon < budget.spent(budget.steps) <= epsilon
    assert budget.spent(0) == 0 and budget.spent(1) < budget.spent(budget.steps)
    assert budget.sample_rate == min(1, batch / rows)


def test_a_budget_that_protects_nobody_or_cannot_be_kept_is_refused():
    with pytest.raises(InputError, match="dp_delta"):
        plan_budget(1.0, 0.01, 1.0, 100, 10, 10, 1)
    with pytest.raises(InputError, match="dp_epsilon"):
        plan_budget(1e-3, 1e-300, 1.0, 100, 100, 10**9, 1)
