"""Register our classes with transformers' Auto classes, as soon as transformers loads those and not earlier.

Importing hf_genomics must make ``AutoModel.from_pretrained`` work, but loading torch and transformers takes seconds
that a ``--help`` should not cost. So our modules are loaded right after transformers has loaded the module that holds
the mapping of an Auto class. If transformers has loaded it before, this happens at once. Our classes are registered
right after our module is loaded; it does not matter whether transformers, the user or another of our modules imports it
first. The ``auto_map`` of the models says which class belongs to which Auto class::

    import hf_genomics                    register(): the finder goes to the front of sys.meta_path; nothing is loaded
    from transformers import AutoModel    Python asks the finder for transformers.models.auto.modeling_auto
        ... is loaded                     its action runs: import our modeling_kmer_bert
            our module is loading         loading = 1; it may import more of transformers: their actions wait in `due`
            our module is loaded          loading = 0: everything in `due` runs, its registration too
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
    """Iterate over the classes that one of our modules defines."""
    for cls in vars(import_module(_full_name(module))).values():
        if isinstance(cls, type) and cls.__module__ == _full_name(module):
            yield cls


def _class_by_reference(reference: str) -> Any:
    """Return the class that an ``auto_map`` calls ``module.Class``."""
    module, name = reference.split(".")
    return getattr(import_module(_full_name(module)), name)


def _configurations() -> list[Any]:
    """List our configurations: the classes with a model type."""
    return [cls for cls in _classes_of("configuration_kmer_bert") if getattr(cls, "model_type", "")]


def _register_configurations() -> None:
    from transformers import AutoConfig

    for config in _configurations():
        AutoConfig.register(config.model_type, config, exist_ok=True)


def _register_tokenizer() -> None:
    from transformers import AutoTokenizer

    tokenizer = _class_by_reference("tokenization_kmer.KmerTokenizer")
    for config in _configurations():
        AutoTokenizer.register(config, slow_tokenizer_class=tokenizer, exist_ok=True)


def _register_pipeline() -> None:
    import_module(f"{__package__}.inference.pipelines").register_pipelines()


def _register_models(module: str) -> None:
    """Register the models of a module by the ``auto_map`` of its classes."""
    import transformers

    for cls in _classes_of(module):
        # Only what this class defines itself; inherited entries are registered with the base class.
        references = dict(vars(cls).get("auto_map", {}))
        config_reference = references.pop("AutoConfig", None)
        for auto_class, reference in references.items():
            config, model = _class_by_reference(config_reference), _class_by_reference(reference)
            getattr(transformers, auto_class).register(config, model, exist_ok=True)


class _AfterImport(MetaPathFinder):
    """A finder that runs an action once, after a module has been loaded and while none of our modules is loading.

    Our modules import transformers, so transformers may load a mapping while one of ours is only half loaded. The
    actions wait until the outermost of our modules is complete.
    """

    def __init__(self, actions: dict[str, Callable[[], object]]) -> None:
        self.actions = actions
        self.due: list[Callable[[], object]] = []
        self.loading = 0  # how many of our modules are being loaded now (they import each other)

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        is_ours = fullname.startswith(f"{__package__}.")
        has_action = fullname in self.actions
        # PathFinder is enough: the modules of a package lie in its folder (`path`), also in an editable install.
        spec = PathFinder.find_spec(fullname, path, target) if is_ours or has_action else None
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_then_act(module: ModuleType) -> None:
            self.loading += int(is_ours)
            try:
                load(module)
            finally:
                self.loading -= int(is_ours)
            # pop: an action runs once, after the first complete import. Others may ask for a spec and not import.
            if action := self.actions.pop(fullname, None):
                self.due.append(action)
            while self.due and not self.loading:
                self.due.pop(0)()

        # The only way to act after a module's own code has run. Each spec has a loader of its own, so no other module
        # is affected.
        spec.loader.exec_module = load_then_act  # type: ignore[method-assign]
        return spec


# Module -> what to do once it is loaded: import another of our modules (a name), or call a function. A name without a
# dot is one of our modules.
_AFTER: dict[str, list[str | Callable[[], None]]] = {
    "transformers.models.auto.configuration_auto": ["configuration_kmer_bert"],
    "transformers.models.auto.tokenization_auto": ["tokenization_kmer"],
    "transformers.models.auto.modeling_auto": ["modeling_kmer_bert"],
    "transformers.pipelines": [_register_pipeline],
    "configuration_kmer_bert": [_register_configurations],
    "tokenization_kmer": [_register_tokenizer],
    "modeling_kmer_bert": [
        partial(_register_models, "modeling_kmer_bert"),
        # The Auto classes must know all three kinds of model, whichever is asked for first.
        "modeling_hierarchical",
        "modeling_fusion",
    ],
    "modeling_hierarchical": [partial(_register_models, "modeling_hierarchical")],
    "modeling_fusion": [partial(_register_models, "modeling_fusion")],
}


def register() -> None:
    """Register configurations, tokenizer and models with the Auto classes, now or once transformers loads them."""
    actions: dict[str, Callable[[], object]] = {
        _full_name(name): partial(_act, steps) for name, steps in _AFTER.items()
    }
    already_loaded = [actions.pop(name) for name in list(actions) if name in sys.modules]
    sys.meta_path.insert(0, _AfterImport(actions))
    for action in already_loaded:
        action()


def _act(steps: list[str | Callable[[], None]]) -> None:
    """Take the steps of an entry of `_AFTER`."""
    for step in steps:
        if isinstance(step, str):
            import_module(_full_name(step))
        else:
            step()


def _full_name(name: str) -> str:
    return name if "." in name else f"{__package__}.{name}"
