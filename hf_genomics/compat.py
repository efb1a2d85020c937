"""The undocumented transformers names that the portable files use, each with a fallback of our own.

`save_pretrained` copies the portable files beside the weights, where they meet versions of transformers that did not
exist when the model was saved. A name that has moved or vanished is replaced by its fallback here; where that is not
enough, a repaired copy of this one file fixes a folder saved long ago.
"""

from collections.abc import Callable
from functools import partial, wraps
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def _find(module: str, name: str | None, fallback: Any) -> Any:
    """Return a name of a module of transformers, or the module itself; the fallback where it does not exist."""
    try:
        found = import_module(f"transformers.{module}")
        return found if name is None else getattr(found, name)
    except (ImportError, AttributeError) as error:
        if str(getattr(error, "name", "")).startswith(str(__package__)):
            raise  # a fault in our own files, which transformers loads with its Auto classes
        return fallback


def _is_tracing(tensor: Tensor | None = None) -> bool:
    """Check whether a graph is being recorded, so that Python cannot read the values of tensors."""
    recording = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if torch.cuda.is_available():
        recording = recording or torch.cuda.is_current_stream_capturing()
    return recording or isinstance(tensor, torch.fx.Proxy) or type(tensor).__name__ == "FakeTensor"


# Undocumented helper of transformers' own models; we need it wherever a check would read the values of a tensor.
is_tracing: Callable[..., bool] = _find("utils.import_utils", "is_tracing", _is_tracing)


def attention_name(config: Any) -> str | None:
    """Return the name of the attention backend of a model: "eager", "sdpa", "flex_attention", "flash_attention_2" ...

    Private, but the only place where transformers stores the choice of ``attn_implementation``.
    """
    return getattr(config, "_attn_implementation", "sdpa")


def _is_flash_attention_requested(config: Any) -> bool:
    """Check whether a configuration asks for one of the flash attention backends."""
    return "flash" in (attention_name(config) or "")


# Undocumented; the names of flash backends have changed before, so ask transformers first.
is_flash_attention_requested: Callable[..., bool] = _find(
    "utils.generic", "is_flash_attention_requested", _is_flash_attention_requested
)


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
    """Attend by torch's own kernels, with the arguments and results of a transformers backend."""
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
                f"attn_implementation {name!r} is missing in this version of transformers; load the model with "
                "attn_implementation='sdpa' or 'eager'"
            )
        return known[name]


# Undocumented table behind `AttentionInterface.register`, which is documented; backends of others are found in it.
_BACKENDS: Any = _find("modeling_utils", "ALL_ATTENTION_FUNCTIONS", _Backends())


def attention_backend(name: str | None, default: Callable) -> Callable:
    """Return the function that attends by the backend of a name; ``default`` is the "eager" one."""
    return _BACKENDS.get_interface(name, default)


def _can_return_tuple(forward: Callable) -> Callable:
    """Make ``return_dict=False`` turn the output of a forward pass into a tuple."""

    @wraps(forward)
    def wrapper(self: Any, *args: Any, return_dict: bool | None = None, **kwargs: Any) -> Any:
        output = forward(self, *args, **kwargs)
        wanted = self.config.return_dict if return_dict is None else return_dict
        return output if wanted else output.to_tuple()

    return wrapper


# Undocumented decorator of every model in transformers.
can_return_tuple: Callable[[Callable], Callable] = _find("utils.generic", "can_return_tuple", _can_return_tuple)


def _record(states: list[Tensor], name: str, _: nn.Module, args: tuple, output: Any) -> None:
    """Keep what a module returned, as a forward hook; of hidden states also what the first layer was given."""
    if name == "hidden_states" and not states:
        states.append(args[0])
    kept = output[0 if name == "hidden_states" else 1] if isinstance(output, tuple) else output
    if kept is not None:
        states.append(kept)


def _capture_outputs(forward: Callable) -> Callable:
    """Make ``output_hidden_states`` and ``output_attentions`` return what the recorded classes return."""

    @wraps(forward)
    def wrapper(self: Any, *args: Any, return_dict: bool | None = None, **kwargs: Any) -> Any:
        asked = {name: kwargs.get(f"output_{name}") for name in self._can_record_outputs}
        recorded: dict[str, list[Tensor]] = {
            name: []
            for name, flag in asked.items()
            if (getattr(self.config, f"output_{name}") if flag is None else flag)
        }
        hooks = [
            module.register_forward_hook(partial(_record, states, name))
            for name, states in recorded.items()
            for module in self.modules()
            if isinstance(module, self._can_record_outputs[name])
        ]
        try:
            output = forward(self, *args, **kwargs)
        finally:
            for hook in hooks:
                hook.remove()
        for name, states in recorded.items():
            output[name] = tuple(states)
        wanted = self.config.return_dict if return_dict is None else return_dict
        return output if wanted else output.to_tuple()

    return wrapper


# Undocumented; split off from `check_model_inputs` in 5.2, which broke the code beside saved weights once already.
capture_outputs: Callable[[Callable], Callable] = _find("utils.output_capturing", "capture_outputs", _capture_outputs)


class _GradientCheckpointingLayer(nn.Module):
    """A layer that computes its states again in the backward pass where ``gradient_checkpointing`` is on."""

    gradient_checkpointing = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the layer, in training through the checkpointing function that transformers has set."""
        call = partial(super().__call__, **kwargs)
        if not (self.gradient_checkpointing and self.training):
            return call(*args)
        through = getattr(self, "_gradient_checkpointing_func", partial(checkpoint, use_reentrant=False))
        return through(call, *args)


# Undocumented base class; `gradient_checkpointing_enable` looks for its two attributes.
GradientCheckpointingLayer: Any = _find("modeling_layers", "GradientCheckpointingLayer", _GradientCheckpointingLayer)


def _unless_loaded(fill: Callable) -> Callable:
    """Wrap a function that fills a tensor so that it leaves loaded weights alone."""

    @wraps(fill)
    def wrapper(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return tensor if getattr(tensor, "_is_hf_initialized", False) else fill(tensor, *args, **kwargs)

    return wrapper


def _copy(tensor: Tensor, other: Tensor) -> Tensor:
    with torch.no_grad():
        return tensor.copy_(other)


class _Initialisers:
    """The functions of `torch.nn.init` that our models use, for weights that were not loaded."""

    copy_ = staticmethod(_unless_loaded(_copy))
    normal_ = staticmethod(_unless_loaded(nn.init.normal_))
    zeros_ = staticmethod(_unless_loaded(nn.init.zeros_))


# Undocumented module; its functions leave weights alone that came from a checkpoint.
init: Any = _find("initialization", None, _Initialisers)


def mark_as_initialised(module: nn.Module, flag: bool) -> None:
    """Tell transformers whether the weights of a module have their start already, so that it draws none."""
    module._is_hf_initialized = flag  # type: ignore[assignment]  # torch declares attributes to be tensors or modules


# Undocumented table of activations by name; the fallbacks are those of the models that we know of.
ACT2FN: Any = _find(
    "activations",
    "ACT2FN",
    {"gelu": nn.GELU(), "relu": nn.ReLU(), "silu": nn.SiLU(), "tanh": nn.Tanh(), "gelu_new": nn.GELU("tanh")},
)
