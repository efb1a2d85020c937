"""Private and undocumented names of other libraries that the package relies on still exist, with the same parameters.

An upgrade that breaks one of them fails here, in one place, and the message names it. Whoever uses a new such name adds
a row; what a documented name can do needs none.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any, NamedTuple

import pytest


class Contract(NamedTuple):
    """A name that must exist.

    Attributes:
        owner: import path of the module or class that has the name.
        name: the name; of a class, it may be an attribute that its methods set.
        parameters: the parameters that we pass or override, in order; None where the name alone matters.
        used_in: file or files of ours that rely on it.
    """

    owner: str
    name: str
    parameters: str | None
    used_in: str


CONTRACTS = [
    # the Trainer's loop: overridden
    Contract("transformers.Trainer", "_get_train_sampler", None, "runs/trainer_fence.py"),
    Contract("transformers.Trainer", "_prepare_for_training", None, "runs/trainer_fence.py"),
    Contract("transformers.Trainer", "_run_epoch", None, "runs/trainer_fence.py"),
    Contract("transformers.Trainer", "_get_grad_norm", "self model grad_norm", "runs/trainer_fence.py"),
    Contract("transformers.Trainer", "_save_checkpoint", "self model trial", "runs/trainer_fence.py"),
    Contract(
        "transformers.Trainer", "_load_from_checkpoint", "self resume_from_checkpoint model", "runs/trainer_fence.py"
    ),
    Contract("transformers.Trainer", "_issue_warnings_after_load", "self load_result", "runs/trainer_fence.py"),
    Contract("transformers.Trainer", "_load_rng_state", "self checkpoint", "runs/trainer_fence.py"),
    # the Trainer's loop: public, but not documented
    Contract("transformers.Trainer", "save_model", "self output_dir _internal_call", "runs/exact_trainer.py"),
    Contract("transformers.Trainer", "store_flos", "self", "runs/exact_trainer.py"),
    Contract("transformers.Trainer", "callback_handler", None, "runs/exact_trainer.py"),
    Contract("transformers.Trainer", "is_fsdp_enabled", None, "runs/exact_trainer.py"),
    Contract("transformers.Trainer", "get_optimizer_cls_and_kwargs", "args", "training/arguments.py"),
    Contract("transformers.Trainer", "create_scheduler", "self num_training_steps optimizer", "masked_trainer.py"),
    Contract("transformers.trainer_callback.CallbackHandler", "callbacks", None, "runs/exact_trainer.py"),
    Contract("transformers.TrainerCallback", "on_pre_optimizer_step", "self args state control", "runs/incidents.py"),
    Contract("transformers.TrainerControl", "state", "self", "runs/exact_trainer.py"),
    Contract("transformers.TrainerState", "compute_steps", "self args max_steps", "runs/exact_trainer.py"),
    Contract("transformers.TrainerState", "save_to_json", "self json_path", "runs/exact_trainer.py"),
    Contract("transformers.TrainerState", "stateful_callbacks", None, "runs/exact_trainer.py"),
    Contract("transformers.TrainerState", "best_global_step", None, "runs/exact_trainer.py"),
    Contract("transformers.integrations", "get_available_reporting_integrations", "", "training/arguments.py"),
    Contract("transformers.training_args", "trainer_log_levels", None, "training/arguments.py"),
    # accelerate and torch, for runs of several processes
    Contract("accelerate.Accelerator", "scaler", None, "runs/exact_trainer.py"),
    Contract("accelerate.optimizer.AcceleratedOptimizer", "optimizer", None, "runs/exact_trainer.py"),
    Contract("accelerate.Accelerator", "gather", "self tensor", "runs/incidents.py"),
    Contract("accelerate.Accelerator", "reduce", "self tensor reduction", "training/masked_trainer.py"),
    Contract(
        "accelerate.Accelerator",
        "unwrap_model",
        "self model keep_fp32_wrapper keep_torch_compile",
        "runs/exact_trainer.py, finetuning/run.py",
    ),
    Contract("accelerate.utils", "gather_object", "object", "runs/exact_trainer.py, runs/incidents.py"),
    Contract("accelerate.utils", "broadcast_object_list", "object_list", "runs/running.py"),
    Contract("accelerate.utils.DynamoBackend", "list", "", "training/arguments.py"),
    Contract("torch.distributed", "DistError", None, "runs/exact_trainer.py"),
    Contract("torch.distributed.checkpoint.state_dict", "StateDictOptions", None, "runs/sharding.py"),
    Contract("torch.distributed.checkpoint.state_dict", "get_model_state_dict", "model options", "runs/sharding.py"),
    Contract(
        "torch.distributed.checkpoint.state_dict",
        "set_model_state_dict",
        "model model_state_dict options",
        "runs/sharding.py",
    ),
    Contract(
        "torch.distributed.checkpoint.state_dict",
        "get_optimizer_state_dict",
        "model optimizers options",
        "runs/sharding.py",
    ),
    Contract(
        "torch.distributed.checkpoint.state_dict",
        "set_optimizer_state_dict",
        "model optimizers optim_state_dict options",
        "runs/sharding.py",
    ),
    Contract("torch", "accelerator", None, "runs/checkpoints.py, runs/flops.py"),
    # models
    Contract("transformers.PreTrainedModel", "all_tied_weights_keys", None, "runs/sharding.py, runs/exact_trainer.py"),
    Contract("transformers.PreTrainedModel", "_from_config", "config", "training/pretrain.py"),
    Contract("transformers.PreTrainedModel", "_init_weights", "self module", "modeling_kmer_bert.py"),
    Contract("transformers.PreTrainedModel", "_no_split_modules", None, "modeling_kmer_bert.py"),
    Contract("transformers.PreTrainedModel", "_supports_flash_attn", None, "modeling_kmer_bert.py"),
    Contract("transformers.PreTrainedModel", "_supports_sdpa", None, "modeling_kmer_bert.py"),
    Contract("transformers.PreTrainedModel", "_supports_flex_attn", None, "modeling_kmer_bert.py"),
    Contract("transformers.PreTrainedModel", "_supports_attention_backend", None, "modeling_kmer_bert.py"),
    Contract("transformers.PreTrainedModel", "_can_record_outputs", None, "modeling_kmer_bert.py"),
    Contract("transformers.PreTrainedModel", "_keys_to_ignore_on_load_unexpected", None, "modeling_kmer_bert.py"),
    Contract("transformers.PreTrainedModel", "_tied_weights_keys", None, "modeling_kmer_bert.py"),
    Contract("transformers.PreTrainedModel", "_auto_class", None, "modeling_kmer_bert.py"),
    Contract("transformers.PreTrainedConfig", "_attn_implementation", None, "compat.py"),
    Contract("transformers.PreTrainedConfig", "get_config_dict", None, "configuration_kmer_bert.py"),
    Contract("transformers.PreTrainedConfig", "validate_architecture", "self", "configuration_kmer_bert.py"),
    Contract("transformers.activations", "ACT2FN", None, "compat.py"),
    Contract("transformers.initialization", "normal_", "tensor", "compat.py"),
    Contract("transformers.initialization", "copy_", "tensor other", "compat.py"),
    Contract("transformers.initialization", "zeros_", "tensor", "compat.py"),
    Contract(
        "transformers.modeling_utils.AttentionInterface",
        "get_interface",
        "self attn_implementation default",
        "compat.py",
    ),
    Contract(
        "transformers.masking_utils",
        "create_bidirectional_mask",
        "config inputs_embeds attention_mask and_mask_function",
        "attention_kmer_bert.py",
    ),
    Contract(
        "transformers.masking_utils",
        "create_bidirectional_sliding_window_mask",
        "config inputs_embeds attention_mask and_mask_function",
        "attention_kmer_bert.py",
    ),
    Contract("transformers.modeling_layers", "GradientCheckpointingLayer", None, "compat.py"),
    Contract("transformers.modeling_utils", "ALL_ATTENTION_FUNCTIONS", None, "compat.py"),
    Contract("transformers.utils.generic", "can_return_tuple", "func", "compat.py"),
    Contract("transformers.utils.generic", "is_flash_attention_requested", "config", "compat.py"),
    Contract("transformers.utils.import_utils", "is_tracing", "tensor", "compat.py"),
    Contract("transformers.utils.output_capturing", "capture_outputs", "func", "compat.py"),
    Contract(
        "torch.nn.attention.varlen",
        "varlen_attn",
        "query key value cu_seq_q cu_seq_k max_q max_k window_size",
        "attention_kmer_bert.py",
    ),
    Contract("huggingface_hub.dataclasses", "strict", None, "configuration_kmer_bert.py"),
    Contract("huggingface_hub.errors", "StrictDataclassError", None, "loading/model_folder.py"),
    # the tokenizer
    Contract(
        "transformers.PreTrainedTokenizer",
        "_encode_plus",
        "self text text_pair add_special_tokens padding_strategy truncation_strategy max_length stride "
        "is_split_into_words pad_to_multiple_of padding_side return_tensors return_token_type_ids "
        "return_attention_mask return_overflowing_tokens return_special_tokens_mask return_length verbose",
        "tokenization_kmer.py",
    ),
    Contract("transformers.PreTrainedTokenizer", "convert_to_native_format", None, "tokenization_kmer.py"),
    Contract(
        "transformers.PreTrainedTokenizer",
        "_decode",
        "self token_ids skip_special_tokens clean_up_tokenization_spaces",
        "vocabulary_kmer.py",
    ),
    Contract("transformers.PreTrainedTokenizer", "_add_tokens", "self new_tokens special_tokens", "vocabulary_kmer.py"),
    Contract("transformers.PreTrainedTokenizer", "_update_total_vocab_size", "self", "vocabulary_kmer.py"),
    Contract("transformers.PreTrainedTokenizer", "_tokenize", "self text", "vocabulary_kmer.py"),
    Contract("transformers.PreTrainedTokenizer", "_convert_token_to_id", "self token", "vocabulary_kmer.py"),
    Contract("transformers.PreTrainedTokenizer", "_convert_id_to_token", "self index", "vocabulary_kmer.py"),
    Contract("transformers.PreTrainedTokenizer", "total_vocab_size", None, "vocabulary_kmer.py"),
    Contract("transformers.PreTrainedTokenizer", "tokens_trie", None, "vocabulary_kmer.py"),
    Contract("transformers.PreTrainedTokenizer", "added_tokens_decoder", None, "vocabulary_kmer.py"),
    Contract("transformers.tokenization_utils_base.TruncationStrategy", "ONLY_SECOND", None, "kmer_encoding.py"),
    Contract("transformers.utils.PaddingStrategy", "LONGEST", None, "tokenizer_arguments.py"),
    # everything else
    Contract("jsonargparse.ArgumentParser", "_actions", None, "options/help.py"),
    Contract("torch.cpu", "get_capabilities", "", "options/parser.py"),
]


def find(path: str) -> Any:
    """Import a module, or a class of a module, by its path."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        return getattr(find(module), name)


def has(owner: Any, name: str) -> bool:
    """Check whether a module or class has a name, or a method of the class sets an attribute of that name."""
    if hasattr(owner, name) or name in getattr(owner, "__dataclass_fields__", {}):
        return True
    bases = [base for base in getattr(owner, "__mro__", ()) if base.__module__ != "builtins"]
    return any(f"self.{name} = " in inspect.getsource(base) for base in bases)


def broken(contract: Contract) -> str | None:
    """Return what of a contract has changed; None if it holds.

    New parameters may follow anywhere as long as they have defaults; ours must keep their names and their order.
    """
    owner = find(contract.owner)
    if not has(owner, contract.name):
        return "it does not exist any more"
    if contract.parameters is None:
        return None
    ours = contract.parameters.split()
    signature = inspect.signature(getattr(owner, contract.name)).parameters
    theirs = [name for name in signature if name in ours]
    needed = [
        name
        for name, each in signature.items()
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD) and name not in ours
    ]
    if theirs != ours or needed:
        return f"its parameters are {list(signature)}, where we count on {ours}"
    return None


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: f"{contract.owner}.{contract.name}")
def test_names_that_we_rely_on_are_unchanged(contract):
    change = broken(contract)
    assert change is None, f"{contract.owner}.{contract.name}: {change}; adapt {contract.used_in}"


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("a_name_that_never_was", None, "does not exist"),
        ("_get_grad_norm", "self model norm", "its parameters are"),
        ("_get_grad_norm", "self grad_norm model", "its parameters are"),
        ("_get_grad_norm", "self grad_norm", "its parameters are"),  # model has no default
        ("_get_grad_norm", "self model", None),  # grad_norm has one
    ],
)
def test_a_changed_name_or_parameter_is_noticed(name, parameters, expected):
    change = broken(Contract("transformers.Trainer", name, parameters, "here"))
    assert (change is None) if expected is None else expected in change


def test_every_private_name_of_transformers_that_our_classes_override_has_a_row():
    rows = {contract.name for contract in CONTRACTS}
    modules = "runs.trainer_fence training.masked_trainer runs.exact_trainer modeling_kmer_bert modeling_hierarchical "
    modules += "modeling_fusion configuration_kmer_bert tokenization_kmer vocabulary_kmer"
    for module in map(importlib.import_module, (f"hf_genomics.{name}" for name in modules.split())):
        for kind in filter(inspect.isclass, vars(module).values()):
            if kind.__module__ != module.__name__:
                continue
            foreign = [base for base in kind.__mro__ if base.__module__.startswith("transformers.")]
            private = {name for name in vars(kind) if name.startswith("_") and not name.startswith("__")}
            overridden = {name for name in private if any(name in vars(base) for base in foreign)}
            assert overridden <= rows, f"{kind.__name__}: add rows for {sorted(overridden - rows)}"
