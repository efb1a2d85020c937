"""Models whose weights and optimizer state are spread over processes (FSDP2): gathered whole, and spread again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
_PARTIAL = StateDictOptions(full_state_dict=True, strict=False)  # tied weights are saved once


def gather_weights(model: Any) -> dict[str, Any]:
    """Gather the weights on process 0; all processes must call this. Of tied weights only the first is given."""
    weights = get_model_state_dict(model, options=_WHOLE)
    return {name: weight for name, weight in weights.items() if name not in model.all_tied_weights_keys}


def spread_weights(model: Any, weights: dict[str, Any]) -> Any:
    """Give each process its part of the weights; returns missing_keys and unexpected_keys."""
    return set_model_state_dict(model, weights, options=_PARTIAL)


def gather_optimizer(model: Any, optimizer: Any) -> dict[str, Any]:
    """Gather the optimizer's state on process 0, by names of weights; all processes must call this."""
    return get_optimizer_state_dict(model, optimizer, options=_WHOLE)


def spread_optimizer(model: Any, optimizer: Any, state: dict[str, Any]) -> None:
    """Give each process its part of the optimizer's state."""
    set_optimizer_state_dict(model, optimizer, state, options=_WHOLE)


@contextmanager
def one_group_of_tied_weights(model: Any) -> Iterator[None]:
    """Keep accelerate from giving the tied embeddings a group of their own, parted from the bias tied to theirs."""
    model.get_input_embeddings = model.get_output_embeddings = lambda: None
    try:
        yield
    finally:
        del model.get_input_embeddings, model.get_output_embeddings
