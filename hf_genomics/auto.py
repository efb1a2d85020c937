"""Registration with transformers' Auto classes, each at the moment transformers loads it.

Importing hf_genomics must make ``AutoModel.from_pretrained`` work, yet loading torch and transformers takes seconds
that a ``--help`` should not cost. So ours are loaded right after transformers has loaded the module that holds the
mapping (at once if it is loaded already), and registered right after they are loaded, whoever asked for them first.
"""

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


def _register_configs() -> None:
    from transformers import AutoConfig

    from .configuration_kmer_bert import FusionKmerBertConfig, HierarchicalKmerBertConfig, KmerBertConfig

    for config in (KmerBertConfig, HierarchicalKmerBertConfig, FusionKmerBertConfig):
        AutoConfig.register(config.model_type, config, exist_ok=True)


def _register_tokenizer() -> None:
    from transformers import AutoTokenizer

    from .configuration_kmer_bert import FusionKmerBertConfig, HierarchicalKmerBertConfig, KmerBertConfig
    from .tokenization_kmer import KmerTokenizer

    for config in (KmerBertConfig, HierarchicalKmerBertConfig, FusionKmerBertConfig):
        AutoTokenizer.register(config, slow_tokenizer_class=KmerTokenizer, exist_ok=True)


def _register_models() -> None:
    import transformers

    from . import modeling_kmer_bert as modeling
    from .configuration_kmer_bert import KmerBertConfig

    for auto, model in {
        "AutoModel": modeling.KmerBertModel,
        "AutoModelForPreTraining": modeling.KmerBertForMaskedLM,
        "AutoModelForMaskedLM": modeling.KmerBertForMaskedLM,
        "AutoModelForSequenceClassification": modeling.KmerBertForSequenceClassification,
        "AutoModelForTokenClassification": modeling.KmerBertForTokenClassification,
    }.items():
        getattr(transformers, auto).register(KmerBertConfig, model, exist_ok=True)


def _register_hierarchical() -> None:
    from transformers import AutoModelForSequenceClassification

    from .configuration_kmer_bert import HierarchicalKmerBertConfig
    from .modeling_hierarchical import HierarchicalKmerBertForSequenceClassification

    AutoModelForSequenceClassification.register(
        HierarchicalKmerBertConfig, HierarchicalKmerBertForSequenceClassification, exist_ok=True
    )


def _register_fusion() -> None:
    from transformers import AutoModelForSequenceClassification

    from .configuration_kmer_bert import FusionKmerBertConfig
    from .modeling_fusion import FusionKmerBertForSequenceClassification

    AutoModelForSequenceClassification.register(
        FusionKmerBertConfig, FusionKmerBertForSequenceClassification, exist_ok=True
    )


class _AfterImport(MetaPathFinder):
    """Run an action once, right after a module has been loaded."""

    def __init__(self, actions: dict[str, Callable[[], object]]) -> None:
        self.actions = actions

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        action = self.actions.pop(fullname, None)
        spec = PathFinder.find_spec(fullname, path, target) if action else None
        if spec is None or spec.loader is None or action is None:
            return None
        load = spec.loader.exec_module

        def load_then_act(module: ModuleType) -> None:
            load(module)
            action()

        # The one way to act after a module's own code has run, on a loader that lives for this module only.
        spec.loader.exec_module = load_then_act  # type: ignore[method-assign]
        return spec


# What to do once a module is loaded: load ours, then register it. A module of ours that is being loaded when its turn
# comes (because it is what made transformers load the mapping) is registered when it is done.
_AFTER: dict[str, list[str | Callable[[], None]]] = {
    "transformers.models.auto.configuration_auto": ["configuration_kmer_bert"],
    "transformers.models.auto.tokenization_auto": ["tokenization_kmer"],
    "transformers.models.auto.modeling_auto": ["modeling_kmer_bert"],
    "configuration_kmer_bert": [_register_configs],
    "tokenization_kmer": [_register_tokenizer],
    "modeling_kmer_bert": [_register_models, "modeling_hierarchical", "modeling_fusion"],
    "modeling_hierarchical": [_register_hierarchical],
    "modeling_fusion": [_register_fusion],
}


def register() -> None:
    """Register config, tokenizer and models with the Auto classes, now or as soon as transformers loads them."""
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
