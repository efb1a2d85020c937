"""Undocumented parts of transformers that the portable files use, with fallbacks of our own.

The *portable files* are those that `save_pretrained` copies beside the weights of a model, where they meet versions of
transformers that did not exist when the model was saved. A name that transformers has moved or removed is replaced by
its fallback here. If that is not enough, a newer copy of this file, put into the folder, repairs a model saved long
ago.

The public functions hide private attributes of transformers and, in `declare_to_peft`, a private list of peft. The
table `_NAMES`, at the end, lists the names that have a fallback. Each is looked up only when it is imported from here:
some of them load most of transformers, which takes seconds and is not necessary for a configuration.
"""

import copy
import sys
from collections.abc import Callable
from functools import partial, wraps
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def attention_name(config: Any) -> str | None:
    """Return the name of the attention backend of a model: "eager", "sdpa", "flex_attention", "flash_attention_2" ...

    A backend is the code that computes attention. All give the same result, but they differ in speed, and only "eager"
    (plain matrix products) returns attention weights. The attribute is private, but nothing else holds the
    ``attn_implementation`` that a user chose.
    """
    return getattr(config, "_attn_implementation", "sdpa")


def with_eager_attention(config: Any) -> Any:
    """Return a copy of a configuration whose attention backend is "eager"."""
    config = copy.copy(config)
    config._attn_implementation = "eager"
    return config


def mark_as_initialised(module: nn.Module, flag: bool) -> None:
    """Set whether the weights of a module count as initialised; transformers does not change those that do."""
    module._is_hf_initialized = flag  # type: ignore[assignment]  # torch declares attributes to be tensors or modules


def is_initialised(weight: Tensor) -> bool:
    """Check whether a weight was loaded from a checkpoint, or is tied to one that was.

    transformers marks such weights one by one; `mark_as_initialised` marks a module, which is not seen here.
    """
    return getattr(weight, "_is_hf_initialized", False)


def declare_to_peft(model_type: str) -> None:
    """Register a model type with peft, if peft is imported, so that it adapts the same modules as in a BERT by default.

    peft has no public list for this; without an entry, ``LoraConfig()`` asks for ``target_modules``. The method
    ``to_dict`` of a configuration calls this function, and peft calls ``to_dict`` before it reads the list, so peft may
    be imported at any time.

    Args:
        model_type: type of the model, as its configuration names it.
    """
    constants = sys.modules.get("peft.utils.constants")
    for name, modules in vars(constants).items() if constants else ():
        if name.startswith("TRANSFORMERS_MODELS_TO_") and isinstance(modules, dict) and "bert" in modules:
            modules.setdefault(model_type, modules["bert"])


def _is_tracing(tensor: Tensor | None = None) -> bool:
    """Check whether torch is recording a graph; then tensors have no values that Python can read."""
    recording = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if torch.cuda.is_available():
        recording = recording or torch.cuda.is_current_stream_capturing()
    # FakeTensor is compared by name because its class is private.
    return recording or isinstance(tensor, torch.fx.Proxy) or type(tensor).__name__ == "FakeTensor"


def _is_flash_attention_requested(config: Any) -> bool:
    """Check whether a configuration asks for one of the flash attention backends."""
    return "flash" in (attention_name(config) or "")


def _sdpa(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """Call torch's attention, with the arguments and results of an attention backend of transformers."""
    attended = nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, dropout_p=dropout, scale=scaling
    )
    return attended.transpose(1, 2).contiguous(), None


class _Backends:
    """The attention backends that need nothing but torch."""

    @staticmethod
    def get_interface(name: str, default: Callable) -> Callable:
        """Return torch's attention for "sdpa" and the default for "eager"."""
        known = {"sdpa": _sdpa, "eager": default}
        if name not in known:
            raise ValueError(
                f"attn_implementation {name!r} needs another version of transformers; load the model with 'sdpa' or "
                "'eager'"
            )
        return known[name]


def _can_return_tuple(forward: Callable) -> Callable:
    """Decorate a forward pass so that it returns a tuple if it is called with ``return_dict=False``."""

    @wraps(forward)
    def wrapper(self: Any, *args: Any, return_dict: bool | None = None, **kwargs: Any) -> Any:
        output = forward(self, *args, **kwargs)
        wanted = self.config.return_dict if return_dict is None else return_dict
        return output if wanted else output.to_tuple()

    return wrapper


def _record(states: list[Tensor], name: str, _: nn.Module, args: tuple, output: Any) -> None:
    """Append what a module has returned to ``states``; torch calls this after the module (a forward hook).

    The hidden states begin with the input of the first layer. In a tuple, states come first and attentions second.
    """
    if name == "hidden_states" and not states:
        states.append(args[0])  # our models pass it by position
    kept = output[0 if name == "hidden_states" else 1] if isinstance(output, tuple) else output
    if kept is not None:
        states.append(kept)


def _capture_outputs(forward: Callable) -> Callable:
    """Decorate a forward pass so that it adds hidden states and attentions to its output, if they are requested.

    They are requested by ``output_hidden_states`` and ``output_attentions``. For each of the two,
    ``_can_record_outputs`` of the model names a class; what the modules of this class return is recorded.
    """

    @_can_return_tuple
    @wraps(forward)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        recorded: dict[str, list[Tensor]] = {}
        hooks: list[Any] = []
        for name, module_class in self._can_record_outputs.items():
            requested = kwargs.get(f"output_{name}")
            if not (getattr(self.config, f"output_{name}") if requested is None else requested):
                continue
            recorded[name] = []
            hook = partial(_record, recorded[name], name)
            hooks += [each.register_forward_hook(hook) for each in self.modules() if isinstance(each, module_class)]
        try:
            output = forward(self, *args, **kwargs)
        finally:
            for hook in hooks:
                hook.remove()
        for name, states in recorded.items():
            output[name] = tuple(states)
        return output

    return wrapper


class _GradientCheckpointingLayer(nn.Module):
    """A layer that, with ``gradient_checkpointing``, computes its states again in the backward pass to save memory."""

    gradient_checkpointing = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the layer; in training, by the checkpointing function that transformers has set."""
        call = partial(super().__call__, **kwargs)  # a reentrant checkpoint takes no keyword arguments
        if not (self.gradient_checkpointing and self.training):
            return call(*args)
        checkpointed = getattr(self, "_gradient_checkpointing_func", partial(checkpoint, use_reentrant=False))
        return checkpointed(call, *args)


def _unless_loaded(fill: Callable) -> Callable:
    """Wrap a function that fills a tensor so that it does not change weights that were loaded from a checkpoint."""

    @wraps(fill)
    def wrapper(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return tensor if is_initialised(tensor) else fill(tensor, *args, **kwargs)

    return wrapper


def _copy(tensor: Tensor, other: Tensor) -> Tensor:
    """Copy the values of another tensor into a tensor."""
    with torch.no_grad():
        return tensor.copy_(other)


class _Initialisers:
    """The functions of `torch.nn.init` that our models use; loaded weights stay as they are."""

    copy_ = staticmethod(_unless_loaded(_copy))
    normal_ = staticmethod(_unless_loaded(nn.init.normal_))
    zeros_ = staticmethod(_unless_loaded(nn.init.zeros_))


_ACTIVATIONS = {"gelu": nn.GELU(), "gelu_new": nn.GELU("tanh"), "relu": nn.ReLU(), "silu": nn.SiLU(), "tanh": nn.Tanh()}


class _Name(NamedTuple):
    """The place of a name in transformers, and its replacement for versions where the name does not exist.

    Attributes:
        module: module of transformers.
        attribute: attribute of that module; None for the module itself.
        fallback: our replacement.
    """

    module: str
    attribute: str | None
    fallback: Any


_NAMES = {
    # Whether a graph is being recorded. Our checks ask before they read the values of tensors.
    "is_tracing": _Name("utils.import_utils", "is_tracing", _is_tracing),
    # Whether the backend is one of flash attention, whose names have changed before.
    "is_flash_attention_requested": _Name(
        "utils.generic", "is_flash_attention_requested", _is_flash_attention_requested
    ),
    # The table behind `AttentionInterface.register`, which is documented. It also holds backends of other packages.
    "ALL_ATTENTION_FUNCTIONS": _Name("modeling_utils", "ALL_ATTENTION_FUNCTIONS", _Backends),
    # transformers decorates the forward methods of all its models with these two. The second was split off from another
    # decorator in 5.2, which broke models of other authors that had been saved with their code.
    "can_return_tuple": _Name("utils.generic", "can_return_tuple", _can_return_tuple),
    "capture_outputs": _Name("utils.output_capturing", "capture_outputs", _capture_outputs),
    # `gradient_checkpointing_enable` looks for the attributes of this class.
    "GradientCheckpointingLayer": _Name("modeling_layers", "GradientCheckpointingLayer", _GradientCheckpointingLayer),
    # As `torch.nn.init`, but its functions do not change weights that were loaded from a checkpoint.
    "init": _Name("initialization", None, _Initialisers),
    # Activations by name; the fallback holds the activations of published BERT models.
    "ACT2FN": _Name("activations", "ACT2FN", _ACTIVATIONS),
}


def __getattr__(name: str) -> Any:
    """Look a name of `_NAMES` up in transformers, or return our fallback.

    Python calls this function for ``from .compat import name`` if this module has no such attribute (PEP 562).
    """
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute, fallback = _NAMES[name]
    try:
        found = import_module(f"transformers.{module}")
    except ModuleNotFoundError as error:
        # Importing transformers can import other packages, and our own files, which auto.py registers with it. If one
        # of those is missing, that error must be raised, not replaced by the fallback.
        if not (error.name or "").startswith("transformers."):
            raise
        return fallback
    return found if attribute is None else getattr(found, attribute, fallback)
