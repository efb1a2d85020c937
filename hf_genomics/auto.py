"""Registration with transformers' Auto classes, each at the moment transformers loads it.

Importing hf_genomics must make ``AutoModel.from_pretrained`` work, but loading torch and transformers takes seconds
that a ``--help`` should not cost. So our modules are loaded right after transformers has loaded the module that holds
the mapping of an Auto class (at once if it is loaded already), and registered right after they are loaded, whoever
imported them first. The ``auto_map`` of the models says which class belongs to which Auto class.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


def _classes_of(module: str) -> Iterator[type]:
    """Yield the classes that one of our modules defines."""
    for kind in vars(import_module(_full(module))).values():
        if isinstance(kind, type) and kind.__module__ == _full(module):
            yield kind


def _named(reference: str) -> Any:
    """Return the class that an ``auto_map`` calls ``module.Class``."""
    module, name = reference.split(".")
    return getattr(import_module(_full(module)), name)


def _configurations() -> list[Any]:
    """List our configurations: the classes with a model type."""
    return [kind for kind in _classes_of("configuration_kmer_bert") if getattr(kind, "model_type", "")]


def _register_configurations() -> None:
    from transformers import AutoConfig

    for config in _configurations():
        AutoConfig.register(config.model_type, config, exist_ok=True)


def _register_tokenizer() -> None:
    from transformers import AutoTokenizer

    for config in _configurations():
        AutoTokenizer.register(config, slow_tokenizer_class=_named("tokenization_kmer.KmerTokenizer"), exist_ok=True)


def _register_models(module: str) -> None:
    """Register the models of a module by the ``auto_map`` of its classes."""
    import transformers

    for kind in _classes_of(module):
        entries = dict(vars(kind).get("auto_map", {}))  # its own; subclasses inherit the others
        config = entries.pop("AutoConfig", None)
        for auto, reference in entries.items():
            getattr(transformers, auto).register(_named(config), _named(reference), exist_ok=True)


class _AfterImport(MetaPathFinder):
    """A finder that runs an action once, after a module has been loaded and while none of our modules is loading.

    Our modules import transformers, so transformers may load a mapping while one of ours is only half loaded. The
    actions wait until the outermost of our modules is complete.
    """

    def __init__(self, actions: dict[str, Callable[[], object]]) -> None:
        self.actions = actions
        self.due: list[Callable[[], object]] = []
        self.loading = 0  # modules of ours

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        is_ours, action = fullname.startswith(f"{__package__}."), self.actions.pop(fullname, None)
        spec = PathFinder.find_spec(fullname, path, target) if is_ours or action else None
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_then_act(module: ModuleType) -> None:
            self.loading += is_ours
            try:
                load(module)
            finally:
                self.loading -= is_ours
            self.due += [action] if action else []
            while self.due and not self.loading:
                self.due.pop(0)()

        # The only way to act after a module's own code has run; the loader serves this module alone.
        spec.loader.exec_module = load_then_act  # type: ignore[method-assign]
        return spec


# What to do once a module is loaded: load ours, then register it.
_AFTER: dict[str, list[str | Callable[[], None]]] = {
    "transformers.models.auto.configuration_auto": ["configuration_kmer_bert"],
    "transformers.models.auto.tokenization_auto": ["tokenization_kmer"],
    "transformers.models.auto.modeling_auto": ["modeling_kmer_bert"],
    "configuration_kmer_bert": [_register_configurations],
    "tokenization_kmer": [_register_tokenizer],
    "modeling_kmer_bert": [
        partial(_register_models, "modeling_kmer_bert"),
        "modeling_hierarchical",
        "modeling_fusion",
    ],
    "modeling_hierarchical": [partial(_register_models, "modeling_hierarchical")],
    "modeling_fusion": [partial(_register_models, "modeling_fusion")],
}


def register() -> None:
    """Register configurations, tokenizer and models with the Auto classes, now or once transformers loads them."""
    actions: dict[str, Callable[[], object]] = {_full(name): partial(_act, steps) for name, steps in _AFTER.items()}
    due = [actions.pop(name) for name in list(actions) if name in sys.modules]
    sys.meta_path.insert(0, _AfterImport(actions))
    for action in due:
        action()


def _act(steps: list[str | Callable[[], None]]) -> None:
    for step in steps:
        import_module(_full(step)) if isinstance(step, str) else step()


def _full(name: str) -> str:
    return name if "." in name else f"{__package__}.{name}"
