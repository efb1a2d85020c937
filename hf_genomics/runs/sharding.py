"""Gather weights and optimizer state of a model that is sharded over processes (FSDP2), and shard them again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from accelerate.utils import parse_flag_from_env
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from transformers import TrainingArguments

_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
_NOT_STRICT = StateDictOptions(full_state_dict=True, strict=False)  # tied weights are saved under one name


def is_sharded(args: TrainingArguments) -> bool:
    """Return whether a run is asked to shard its model, by trainer.fsdp or by the configuration of accelerate launch.

    Args:
        args: arguments of the Trainer; ``accelerate launch`` leaves ``args.fsdp`` empty.
    """
    return bool(args.fsdp) or parse_flag_from_env("ACCELERATE_USE_FSDP")


def unshard(model: Any) -> dict[str, Any]:
    """Gather the weights on process 0, tied weights under their first name only; all processes must call this."""
    weights = get_model_state_dict(model, options=_WHOLE)
    return {name: weight for name, weight in weights.items() if name not in model.all_tied_weights_keys}


def shard(model: Any, weights: dict[str, Any]) -> Any:
    """Load whole weights into a sharded model; all processes must call this, each with all the weights.

    Returns:
        missing_keys and unexpected_keys, as ``Module.load_state_dict`` returns them.
    """
    return set_model_state_dict(model, weights, options=_NOT_STRICT)


def unshard_optimizer(model: Any, optimizer: Any) -> dict[str, Any]:
    """Gather the optimizer's state on process 0, by names of weights; all processes must call this."""
    return get_optimizer_state_dict(model, optimizer, options=_WHOLE)


def shard_optimizer(model: Any, optimizer: Any, state: dict[str, Any]) -> None:
    """Load a whole optimizer state into the optimizer of a sharded model; all processes must call this with it."""
    set_optimizer_state_dict(model, optimizer, state, options=_WHOLE)


@contextmanager
def one_group_of_tied_weights(model: Any) -> Iterator[None]:
    """Make accelerate shard the tied weights with the rest of the model, within the block.

    accelerate would put input embeddings and output layer, whose matrix is tied, into a group of their own. The bias of
    the output layer is tied too, with a weight outside that group, and would belong to two groups at once. accelerate
    finds the two layers by the methods that are replaced here by ones that return None.
    """
    model.get_input_embeddings = model.get_output_embeddings = lambda: None
    try:
        yield
    finally:
        del model.get_input_embeddings, model.get_output_embeddings  # the methods of the class are found again
