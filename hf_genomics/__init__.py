"""hf_genomics: DNABERT-style encoders as first-class citizens of the Hugging Face stack.

Importing the package registers config, tokenizer and models with transformers' Auto classes; public names are loaded
when they are first used, so that the import itself stays quick.
"""

from importlib import import_module
from typing import Any

from .auto import register

__version__ = "0.1.0"

_HOME = {
    "KmerTokenizer": "tokenization_kmer",
    "KmerBertConfig": "configuration_kmer_bert",
    "KmerBertModel": "modeling_kmer_bert",
    "KmerBertForMaskedLM": "modeling_kmer_bert",
    "KmerBertForSequenceClassification": "modeling_kmer_bert",
    "KmerBertForTokenClassification": "modeling_kmer_bert",
    "HierarchicalKmerBertConfig": "configuration_kmer_bert",
    "HierarchicalKmerBertForSequenceClassification": "modeling_hierarchical",
    "FusionKmerBertConfig": "configuration_kmer_bert",
    "FusionKmerBertForSequenceClassification": "modeling_fusion",
    "DataCollatorForSpanMasking": "data.collators",
    "DataCollatorForSequences": "data.collators",
    "GenomeStore": "data.store",
    "WindowDataset": "data.windows",
    "WindowSampling": "data.sampling",
    "download": "data.download",
    "check": "data.check",
    "prepare": "data.store",
    "kmers_side_by_side": "fast_tokenizers",
    "train_bpe": "fast_tokenizers",
    "pretrain": "training.pretrain",
    "finetune": "training.finetune",
    "evaluate": "training.finetune",
    "predict": "training.finetune",
    "convert": "hub",
    "to_bert": "hub",
    "push": "hub",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])


register()
