"""hf_genomics: DNABERT-style encoders as first-class citizens of the Hugging Face stack.

Importing the package registers configuration, tokenizer and models with the Auto classes of transformers; public names
are loaded when they are first used, so that the import itself stays quick.
"""

from importlib import import_module
from typing import Any

from .auto import register
from .moved import install_old_paths

__version__ = "0.2.0"

# Public name -> module that defines it.
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
    "DataCollatorForSpanMasking": "batches.span_masking",
    "DataCollatorForSequences": "batches.sequences",
    "GenomeStore": "genomes.store",
    "WindowDataset": "genomes.windows",
    "WindowSampling": "genomes.sampling",
    "download": "downloads.download",
    "check": "checks.check",
    "table": "genome_tables.table",
    "FeatureRules": "genome_tables.features",
    "prepare": "genomes.store",
    "kmers_side_by_side": "training.bpe",
    "train_bpe": "training.bpe",
    "pretrain": "training.pretrain",
    "finetune": "finetuning.finetune",
    "FinetuneOptions": "finetuning.plan",
    "evaluate": "evaluation.evaluate",
    "predict": "inference.predict",
    "AverageOptions": "inference.predictions",
    "PredictOptions": "inference.predict",
    "probe": "embedding.probe",
    "ProbeOptions": "embedding.probe",
    "embed": "embedding.embed",
    "EmbedOptions": "embedding.embed",
    "explain": "interpretation.explain",
    "ExplainOptions": "interpretation.explain",
    "motifs": "motif_finding.motifs",
    "MotifOptions": "motif_finding.motifs",
    "demo": "demo_page.demo",
    "region_picture": "pictures.region_picture",
    "convert": "sharing.dnabert",
    "to_bert": "sharing.dnabert",
    "score_variants": "variants.score_variants",
    "card": "sharing.card",
    "push": "sharing.push",
    "quickstart": "studies.quickstart",
    "label_scarcity": "studies.label_scarcity",
    "PretrainingArguments": "training.arguments",
    "Head": "finetuning.head",
    "RecordRules": "genomes.metadata",
    "SplitFiles": "checks.check",
    "Columns": "labelled.columns",
    "LabelledWindows": "labelled.windows",
    "Task": "labelled.task",
    "LabelledData": "labelled.data",
    "LabelledSequences": "labelled.sequences",
    "PretrainingData": "training.pretrain",
    "QuickstartData": "studies.quickstart",
    "StudyGrid": "studies.scarcity_cells",
    "CellOptions": "studies.scarcity_cells",
    "StudyRun": "studies.label_scarcity",
    "Retry": "downloads.download",
    "score_events": "variants.likelihood",
    "load_classifier": "loading.models",
    "predict_scores": "inference.scores",
    "predict_nt_scores": "inference.scores",
    "Predictions": "inference.predictions",
    "pack_rows": "batches.packing",
    "SetEpoch": "runs.callbacks",
    "SequenceClassificationMetrics": "evaluation.metrics",
    "InputError": "errors",
    "bundled": "io.bundled",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])


register()
install_old_paths()
