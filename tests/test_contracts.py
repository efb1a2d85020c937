"""Undocumented and private names of other packages: each is where we look for it, and takes the arguments we pass.

A failure after an upgrade names what changed. Names of the model files have a fallback in hf_genomics/compat.py; repair
it there, and the copies beside saved weights can be repaired by that one file.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import pytest
import torch

# (module, then attributes; name; the arguments that we pass, None for a name that is not called)
CONTRACTS: list[tuple[str, str, list[str] | None]] = [
    # Model files, through compat.py.
    ("transformers.utils.import_utils", "is_tracing", ["tensor"]),
    ("transformers.utils.generic", "is_flash_attention_requested", ["config"]),
    ("transformers.utils.generic", "can_return_tuple", ["func"]),
    ("transformers.utils.output_capturing", "capture_outputs", ["func"]),
    ("transformers.modeling_utils:ALL_ATTENTION_FUNCTIONS", "get_interface", ["attn_implementation", "default"]),
    ("transformers.modeling_layers:GradientCheckpointingLayer", "gradient_checkpointing", None),
    ("transformers.initialization", "copy_", ["tensor", "other"]),
    ("transformers.initialization", "normal_", ["tensor", "mean", "std"]),
    ("transformers.initialization", "zeros_", ["tensor"]),
    ("transformers.activations", "ACT2FN", None),
    ("transformers:PreTrainedConfig", "_attn_implementation", None),
    # Model files, directly.
    (
        "transformers.masking_utils",
        "create_bidirectional_mask",
        ["config", "inputs_embeds", "attention_mask", "and_mask_function"],
    ),
    (
        "transformers.masking_utils",
        "create_bidirectional_sliding_window_mask",
        ["config", "inputs_embeds", "attention_mask", "and_mask_function"],
    ),
    ("transformers:PreTrainedModel", "_init_weights", ["self", "module"]),
    ("transformers:PreTrainedModel", "_from_config", ["config"]),
    ("transformers:PreTrainedModel", "save_pretrained", ["self", "save_directory", "save_original_format"]),
    ("transformers:PreTrainedModel", "register_for_auto_class", ["auto_class"]),
    ("transformers:PreTrainedModel", "base_model", None),
    ("transformers:PreTrainedModel", "_can_record_outputs", None),
    ("transformers:PreTrainedModel", "_keys_to_ignore_on_load_unexpected", None),
    ("transformers:PreTrainedModel", "_no_split_modules", None),
    ("transformers:PreTrainedModel", "_supports_attention_backend", None),
    ("transformers:PreTrainedModel", "_supports_flash_attn", None),
    ("transformers:PreTrainedModel", "_supports_flex_attn", None),
    ("transformers:PreTrainedModel", "_supports_sdpa", None),
    ("transformers:PreTrainedModel", "_tied_weights_keys", None),
    ("transformers:PreTrainedConfig", "attribute_map", None),
    ("transformers:PreTrainedConfig", "register_for_auto_class", ["auto_class"]),
    ("transformers:AutoConfig", "register", ["model_type", "config", "exist_ok"]),
    ("transformers:AutoModel", "register", ["config_class", "model_class", "exist_ok"]),
    ("transformers:AutoTokenizer", "register", ["config_class", "slow_tokenizer_class", "exist_ok"]),
]


def owner_of(path: str) -> Any:
    """Import ``module``, or ``module:attribute`` of it."""
    module, _, attribute = path.partition(":")
    found = import_module(module)
    return getattr(found, attribute) if attribute else found


@pytest.mark.parametrize(
    ("path", "name", "arguments"), CONTRACTS, ids=[f"{path}.{name}" for path, name, _ in CONTRACTS]
)
def test_a_name_is_where_we_look_for_it(path: str, name: str, arguments: list[str] | None) -> None:
    owner = owner_of(path)
    assert hasattr(owner, name), f"{path} has no {name} any more"
    if arguments is not None:
        function = inspect.getattr_static(owner, name)
        function = getattr(function, "__func__", function)  # of a class or static method
        signature = inspect.signature(function)
        assert set(arguments) <= set(signature.parameters), (
            f"{path}.{name}{signature} does not take {arguments} any more"
        )


def test_torchs_variable_length_attention_takes_what_the_packed_layout_passes() -> None:
    varlen = pytest.importorskip("torch.nn.attention.varlen", reason="this torch has no variable-length kernel")
    states, ends = torch.zeros(4, 2, 8), torch.tensor([0, 4], dtype=torch.int32)
    bound = inspect.signature(varlen.varlen_attn).bind(states, states, states, ends, ends, 4, 4, window_size=(1, 1))
    names = ["query", "key", "value", "cu_seq_q", "cu_seq_k", "max_q", "max_k", "window_size"]
    assert list(bound.arguments) == names, "an argument has another place"
