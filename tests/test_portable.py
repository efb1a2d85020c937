"""A saved folder is enough: it loads where the package is not installed, and by local code where it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hf_genomics import (
    FusionKmerBertConfig,
    FusionKmerBertForSequenceClassification,
    HierarchicalKmerBertConfig,
    HierarchicalKmerBertForSequenceClassification,
    KmerBertConfig,
    KmerBertForMaskedLM,
    KmerBertForSequenceClassification,
    KmerBertForTokenClassification,
    KmerTokenizer,
)

SEQUENCE = "ACGTTGATTTNACCGGATATTACGCCATTAGGACCA"
LOAD_ELSEWHERE = """
import json, sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "hf_genomics":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled())
import torch, transformers

folder, auto, windows = sys.argv[1], sys.argv[2], int(sys.argv[3])
tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
model = getattr(transformers, auto).from_pretrained(folder, trust_remote_code=True).eval()
batch = tokenizer([sys.argv[4]], return_tensors="pt")
ids = batch["input_ids"].repeat(windows, 1)[None] if windows > 1 else batch["input_ids"]
with torch.no_grad():
    output = model(ids)
print(json.dumps(next(iter(output.values())).flatten().tolist()))
if len(sys.argv) > 5:
    model.save_pretrained(sys.argv[5])
    tokenizer.save_pretrained(sys.argv[5])
"""


def outputs_elsewhere(folder: Path, auto: str, windows: int = 1, save_to: Path | None = None) -> torch.Tensor:
    arguments = [str(folder), auto, str(windows), SEQUENCE, *([str(save_to)] if save_to else [])]
    run = subprocess.run(
        [sys.executable, "-c", LOAD_ELSEWHERE, *arguments], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return torch.tensor(json.loads(run.stdout.splitlines()[-1]))


LOAD_ALL_ELSEWHERE = (
    LOAD_ELSEWHERE.split("import torch, transformers")[0]
    + """
import torch, transformers

for case in torch.load(sys.argv[1]):
    auto = getattr(transformers, case["auto"])
    model = auto.from_pretrained(case["folder"], trust_remote_code=True).eval()
    with torch.no_grad():
        assert torch.allclose(model(**case["inputs"]).logits, case["logits"], atol=1e-6), case["folder"]
    print(type(model).__name__)
"""
)


@pytest.fixture
def tokenizer(tiny_config) -> KmerTokenizer:
    return KmerTokenizer(tiny_config.k, tiny_config.stride)


def test_a_classifier_loads_without_the_package_saves_again_and_loads_with_it(tiny_config, tokenizer, tmp_path) -> None:
    model = KmerBertForSequenceClassification(tiny_config).eval()
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "first")
    ids = tokenizer([SEQUENCE], return_tensors="pt")["input_ids"]
    expected = model(ids).logits.detach().flatten()
    there = outputs_elsewhere(tmp_path / "first", "AutoModelForSequenceClassification", save_to=tmp_path / "second")
    assert torch.allclose(there, expected, atol=1e-6)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "second").eval()
    assert type(again) is KmerBertForSequenceClassification
    assert type(AutoTokenizer.from_pretrained(tmp_path / "second")) is KmerTokenizer
    assert torch.allclose(again(ids).logits.flatten(), expected, atol=1e-6)


def test_a_pretrained_folder_serves_every_head_without_the_package(tiny_config, tokenizer, tmp_path) -> None:
    model = KmerBertForMaskedLM(tiny_config).eval()
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path)
    ids = tokenizer([SEQUENCE], return_tensors="pt")["input_ids"]
    there = outputs_elsewhere(tmp_path, "AutoModelForMaskedLM")
    assert torch.allclose(there, model(ids).logits.detach().flatten(), atol=1e-5)
    hidden = outputs_elsewhere(tmp_path, "AutoModel")
    assert torch.allclose(hidden, model.bert(ids).last_hidden_state.detach().flatten(), atol=1e-5)
    auto_map = json.loads((tmp_path / "config.json").read_text())["auto_map"]
    assert set(auto_map) == set(KmerBertForMaskedLM.auto_map)


def test_a_hierarchical_classifier_loads_without_the_package(tiny_config, tokenizer, tmp_path) -> None:
    settings = {
        key: value for key, value in tiny_config.to_diff_dict().items() if key not in ("model_type", "auto_map")
    }
    model = HierarchicalKmerBertForSequenceClassification(HierarchicalKmerBertConfig(**settings)).eval()
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path)
    ids = tokenizer([SEQUENCE], return_tensors="pt")["input_ids"].repeat(2, 1)[None]
    there = outputs_elsewhere(tmp_path, "AutoModelForSequenceClassification", windows=2)
    assert torch.allclose(there, model(ids).logits.detach().flatten(), atol=1e-6)


def test_nucleotides_windows_and_tracks_are_classified_without_the_package(tiny_config, tokenizer, tmp_path) -> None:
    settings = {
        key: value for key, value in tiny_config.to_diff_dict().items() if key not in ("model_type", "auto_map")
    }
    tokens = dict(tokenizer([SEQUENCE, SEQUENCE[:9]], padding=True, return_tensors="pt"))
    windows = {name: column[None] for name, column in tokens.items()}
    tracks = {**tokens, "tracks": torch.rand(2, 1), "nt_tracks": torch.rand(2, len(SEQUENCE), 1)}
    cases = [
        (KmerBertForTokenClassification(KmerBertConfig(**{**settings, "labels_per": "nt"})), tokens),
        (
            HierarchicalKmerBertForSequenceClassification(
                HierarchicalKmerBertConfig(**{**settings, "aggregation": "transformer"})
            ),
            windows,
        ),
        (
            FusionKmerBertForSequenceClassification(
                FusionKmerBertConfig(**settings, track_names=["a"], nt_track_names=["b"])
            ),
            tracks,
        ),
    ]
    saved = []
    for number, (model, inputs) in enumerate(cases):
        model.eval().save_pretrained(tmp_path / str(number))
        auto = "AutoModelForSequenceClassification" if number else "AutoModelForTokenClassification"
        logits = model(**inputs).logits.detach()
        saved.append({"folder": str(tmp_path / str(number)), "auto": auto, "inputs": inputs, "logits": logits})
    torch.save(saved, tmp_path / "cases.pt")
    run = subprocess.run(
        [sys.executable, "-c", LOAD_ALL_ELSEWHERE, str(tmp_path / "cases.pt")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.split() == [type(model).__name__ for model, _ in cases]
