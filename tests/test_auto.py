"""`import hf_genomics` is all it takes for the Auto classes to know our models, whatever was imported before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import is_dataclass
from importlib import import_module
from importlib.util import find_spec
from inspect import isclass
from pathlib import Path
from typing import get_type_hints

import pytest
import transformers
from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification, AutoTokenizer

import hf_genomics
from hf_genomics import KmerBertConfig, KmerBertModel, KmerTokenizer, auto
from hf_genomics.cli import VERBS
from hf_genomics.configuration_kmer_bert import HierarchicalKmerBertConfig

MODELS = {
    "AutoModel": "KmerBertModel",
    "AutoModelForPreTraining": "KmerBertForMaskedLM",
    "AutoModelForMaskedLM": "KmerBertForMaskedLM",
    "AutoModelForSequenceClassification": "KmerBertForSequenceClassification",
    "AutoModelForTokenClassification": "KmerBertForTokenClassification",
}

# The last two lines are the same everywhere; what comes before is the order of imports.
LOAD = """
from transformers import AutoConfig, AutoModel, AutoTokenizer
found = [AutoConfig.from_pretrained(folder), AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)]
print(json.dumps([type(part).__name__ for part in found]))
"""
ORDERS = {
    "hf_genomics_first": "import hf_genomics",
    "auto_classes_first": "from transformers import AutoModel, AutoTokenizer, AutoConfig; import hf_genomics",
    "model_class_first": "from hf_genomics import KmerBertForMaskedLM",
    "tokenizer_class_first": "from hf_genomics import KmerTokenizer",
    "config_class_first": "from hf_genomics.configuration_kmer_bert import HierarchicalKmerBertConfig",
    "model_part_first": "import hf_genomics.pooling",
    "in_the_middle": "from transformers import AutoConfig; import hf_genomics; from transformers import AutoModel",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model with its tokenizer."""
    path = tmp_path_factory.mktemp("model")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    KmerBertModel(KmerBertConfig(k=3, **sizes)).save_pretrained(path)
    KmerTokenizer(3).save_pretrained(path)
    return path


SLOW = {"model_class_first", "in_the_middle"}  # each order is a new process of several seconds


@pytest.mark.parametrize("order", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in ORDERS])
@pytest.mark.slow
def test_the_auto_classes_know_ours_in_any_order_of_imports(order: str, folder: Path, repo_root: Path) -> None:
    paths = [str(repo_root), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", f"import json, sys; folder = sys.argv[1]; {ORDERS[order]}{LOAD}", str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == ["KmerBertConfig", "KmerTokenizer", "KmerBertModel"]


@pytest.mark.parametrize("auto_class", MODELS)
def test_every_auto_class_builds_its_model(auto_class: str, tiny_config: KmerBertConfig) -> None:
    model = getattr(transformers, auto_class).from_config(tiny_config)
    assert type(model) is getattr(hf_genomics.modeling_kmer_bert, MODELS[auto_class])


def test_auto_config_knows_both_model_types() -> None:
    assert type(AutoConfig.for_model("kmer_bert")) is KmerBertConfig
    assert type(AutoConfig.for_model("hierarchical_kmer_bert")) is HierarchicalKmerBertConfig


def test_a_folder_with_model_and_tokenizer_loads_by_auto_classes(folder: Path) -> None:
    assert type(AutoTokenizer.from_pretrained(folder)) is KmerTokenizer
    assert type(AutoModel.from_pretrained(folder)) is KmerBertModel
    assert AutoModelForTokenClassification.from_pretrained(folder, num_labels=5).num_labels == 5


def test_registering_twice_does_no_harm(folder: Path) -> None:
    before = list(sys.meta_path)
    try:
        auto.register()
        assert type(AutoModel.from_pretrained(folder)) is KmerBertModel
    finally:
        sys.meta_path[:] = before


def test_an_action_waits_for_a_complete_import_when_others_only_look_or_fail(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "looked_for.py").write_text("import sys\nif sys.dont_write_bytecode:\n    raise ImportError\n")
    monkeypatch.syspath_prepend(tmp_path)
    runs: list[str] = []
    finder = auto._AfterImport({"looked_for": lambda: runs.append("run")})
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    assert find_spec("looked_for") is not None and not runs
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    with pytest.raises(ImportError):
        import_module("looked_for")
    assert not runs
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    import_module("looked_for")
    del sys.modules["looked_for"]
    import_module("looked_for")
    assert runs == ["run"]
    del sys.modules["looked_for"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_section_of_a_verb_is_a_public_name(verb: str) -> None:
    """A Python user builds the sections of a verb: each must be importable from the package itself."""
    kinds = [getattr(hf_genomics, verb.replace("-", "_"))]
    while kinds:
        hints = get_type_hints(kinds.pop())
        hints.pop("return", None)
        ours = [kind for kind in hints.values() if isclass(kind) and kind.__module__.startswith("hf_genomics.")]
        assert [kind for kind in ours if getattr(hf_genomics, kind.__name__, None) is not kind] == []
        kinds += [kind for kind in ours if is_dataclass(kind) and kind.__bases__ == (object,)]


def test_public_names_are_where_the_package_says() -> None:
    assert set(hf_genomics.__all__) <= set(dir(hf_genomics))
    for name in hf_genomics.__all__:
        if find_spec(f"hf_genomics.{hf_genomics._HOME[name]}"):
            assert getattr(hf_genomics, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'KmerBert'"):
        hf_genomics.KmerBert  # noqa: B018 (the access is the test)
