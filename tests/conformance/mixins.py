"""Transformers' own test mixins, as a package `transformers_tests`, from the source release of the installed version.

The wheel has no tests, so the source release is downloaded once into `.cache/` and only its tests are unpacked. They
are imported where they lie. The release leaves out some modules which they import; empty stand-ins take their place.
"""

from __future__ import annotations

import importlib.machinery
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

CACHE = Path(__file__).resolve().parents[2] / ".cache"
NAME = "transformers_tests"

# What ConfigTester passes to every configuration; the release leaves the file with transformers' own list out.
COMMON_CONFIG_ARGUMENTS = {
    "return_dict": False,
    "output_hidden_states": True,
    "output_attentions": True,
    "dtype": "float16",
    "chunk_size_feed_forward": 5,
    "architectures": ["KmerBertModel"],
    "id2label": {0: "other", 1: "phage"},
    "label2id": {"other": 0, "phage": 1},
    "problem_type": "regression",
}


# The mixins ask by class name which labels a head takes, in lists that only know transformers' own models.
OURS_BY_TASK = {
    "MODEL_MAPPING_NAMES": ("KmerBertModel",),
    "MODEL_FOR_MASKED_LM_MAPPING_NAMES": ("KmerBertForMaskedLM",),
    "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES": (
        "KmerBertForSequenceClassification",
        "HierarchicalKmerBertForSequenceClassification",
        "FusionKmerBertForSequenceClassification",
    ),
    "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES": ("KmerBertForTokenClassification",),
}


def fetch(version: str) -> Path:
    """Give the folder with the tests of a transformers release; download and unpack it where it is not there yet."""
    folder = CACHE / f"transformers-{version}" / "tests"
    if not folder.is_dir():
        CACHE.mkdir(exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command = [*pip, "--no-binary", "transformers", "--dest", str(CACHE), f"transformers=={version}"]
        subprocess.run(command, check=True)
        with tarfile.open(CACHE / f"transformers-{version}.tar.gz") as release:
            inside = f"transformers-{version}/tests/"
            tests = [member for member in release.getmembers() if member.name.startswith(inside)]
            release.extractall(CACHE, tests, filter="data")
        sample = folder / "fixtures" / "sample_text.txt"  # the release leaves it out, the tokenizer tests open it
        sample.parent.mkdir(exist_ok=True)
        sample.write_text("ACGTTGCATT\n")
    return folder


def stand_in(name: str, **content: object) -> None:
    """Put an empty module, with its parents, where an import looks for one that the release does not have."""
    for depth in range(1, name.count(".") + 1):
        parent = ".".join([NAME, *name.split(".")[:depth]])
        sys.modules.setdefault(parent, _package(parent, []))
    module = sys.modules.setdefault(f"{NAME}.{name}", _package(f"{NAME}.{name}", []))
    vars(module).update(content)


def _package(name: str, path: list[str]) -> ModuleType:
    module = ModuleType(name)
    module.__path__ = path
    module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
    return module


def install() -> None:
    """Make `from transformers_tests.test_modeling_common import ModelTesterMixin` and its like work."""
    import transformers

    sys.modules[NAME] = _package(NAME, [str(fetch(transformers.__version__))])
    stand_in("exporters.test_export", ExportTesterMixin=type("ExportTesterMixin", (), {}))
    stand_in("generation.test_utils", GenerationTesterMixin=type("GenerationTesterMixin", (), {}))
    stand_in("utils.test_configuration_utils", config_common_kwargs=COMMON_CONFIG_ARGUMENTS)
    summary = (
        CACHE / "tiny_models" / "reports" / "tiny_model_summary.json"
    )  # of tiny models on the Hub; we have none there
    summary.parent.mkdir(parents=True, exist_ok=True)
    summary.write_text("{}")
    os.environ["TRANSFORMERS_TINY_MODEL_PATH"] = str(CACHE / "tiny_models")
    # They would load transformers a second time, out of the source release.
    with patch("transformers.utils.direct_transformers_import", lambda *_: transformers):
        importlib.import_module(f"{NAME}.test_configuration_common")
        importlib.import_module(f"{NAME}.test_pipeline_mixin")
    modeling = importlib.import_module(f"{NAME}.test_modeling_common")
    for names, ours in OURS_BY_TASK.items():
        setattr(modeling, names, {**getattr(modeling, names), **{f"kmer_bert_{head}": head for head in ours}})


if __name__ == "__main__":
    install()
    print(sys.modules[NAME].__path__[0])
