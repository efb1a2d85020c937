"""Pushing: the model of a folder goes to the Hub, and nothing else; what is pushed loads by its name."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from huggingface_hub import HfApi
from loopback_hub import LoopbackHub

from hf_genomics import KmerBertForMaskedLM, KmerTokenizer, card, push
from hf_genomics.errors import InputError


def test_a_hub_that_cannot_be_reached_is_one_line(tiny_config, tmp_path, monkeypatch):
    for part in (KmerBertForMaskedLM(tiny_config), KmerTokenizer(3)):
        part.save_pretrained(tmp_path)
    card(str(tmp_path))
    monkeypatch.setattr("hf_genomics.sharing.push.HfApi", lambda: HfApi(endpoint="http://127.0.0.1:9", token="x"))
    with pytest.raises(InputError, match=r"^user/model: cannot be pushed to \("):
        push(str(tmp_path), "user/model")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match="no weights"):
        push(str(tmp_path), "user/model")


def test_an_error_without_a_message_is_named_by_its_kind(tiny_config, tmp_path, monkeypatch):
    class Slow:
        def create_repo(self, *_: object, **__: object) -> None:
            raise TimeoutError

    for part in (KmerBertForMaskedLM(tiny_config), KmerTokenizer(3)):
        part.save_pretrained(tmp_path)
    card(str(tmp_path))
    monkeypatch.setattr("hf_genomics.sharing.push.HfApi", Slow)
    with pytest.raises(InputError, match=r"^user/model: cannot be pushed to \(TimeoutError\)"):
        push(str(tmp_path), "user/model")


PUSH_AND_LOAD = """
import sys
from hf_genomics.cli import main

assert main(["push", sys.argv[1], "--name", "user/model", "--revision", "v1"]) == 0
from transformers import AutoModelForMaskedLM, AutoTokenizer

model = AutoModelForMaskedLM.from_pretrained("user/model", revision="v1")
tokenizer = AutoTokenizer.from_pretrained("user/model", revision="v1")
assert {type(model).__module__, type(tokenizer).__module__} < set(sys.modules)
print("with:", type(model).__module__, type(tokenizer).__module__)
assert main(["push", sys.argv[1] + "/checkpoint-2", "--name", "user/model"]) == 2
"""
LOAD_AND_PUSH = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "hf_genomics":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled())
from transformers import AutoModelForMaskedLM, AutoTokenizer

def load(name, revision):
    options = {"revision": revision, "trust_remote_code": True}
    return AutoModelForMaskedLM.from_pretrained(name, **options), AutoTokenizer.from_pretrained(name, **options)

parts = load("user/model", "v1")
for part in parts:
    part.push_to_hub("user/again")
model, tokenizer = load("user/again", "main")
print("sum:", model(**tokenizer("ACGTTGATTTACC", return_tensors="pt")).logits.sum().item())
"""


def run_with(hub, code, folder, home):
    """Run a program that talks to a Hub, with a home of its own, and give what it prints."""
    environment = os.environ | hub.environment | {"HF_HOME": str(home), "HF_MODULES_CACHE": str(home / "modules")}
    command = [sys.executable, "-c", code, str(folder)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout, run.stderr


@pytest.mark.slow
def test_a_pushed_folder_loads_by_name_and_shares_the_model_alone(tiny_config, tmp_path):
    model, folder = KmerBertForMaskedLM(tiny_config).eval(), tmp_path / "run"
    for place in (folder, folder / "checkpoint-2"):
        model.save_pretrained(place)
    KmerTokenizer(3).save_pretrained(folder)
    torch.save({}, folder / "training_args.bin")
    (folder / "predictions.tsv").write_text("sequence\nACGTTGCAACGT\n")
    (folder / "README.md").write_text("---\nlibrary_name: transformers\n---\nA model.\n")
    with LoopbackHub() as hub:
        printed, errors = run_with(hub, PUSH_AND_LOAD, folder, tmp_path / "home")
        assert "with: hf_genomics.modeling_kmer_bert hf_genomics.tokenization_kmer" in printed
        assert "no tokenizer_config.json there" in errors
        portable = {path.name for path in folder.glob("*.py")}
        pushed = {"README.md", "config.json", "model.safetensors", "tokenizer_config.json", *portable}
        assert {branch: set(files) for branch, files in hub.repos["user/model"].items()} == {
            "main": set(),
            "v1": pushed,
        }
        printed, _ = run_with(hub, LOAD_AND_PUSH, folder, tmp_path / "other_home")
        assert portable < set(hub.repos["user/again"]["main"]) <= pushed
    with torch.no_grad():
        expected = model(**KmerTokenizer(3)("ACGTTGATTTACC", return_tensors="pt")).logits.sum().item()
    assert float(printed.split("sum:")[1]) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("missing", ["config.json", "tokenizer_config.json", "model.safetensors"])
def test_a_folder_without_a_complete_model_is_not_pushed(tiny_config, tmp_path, monkeypatch, missing):
    def reached():
        raise AssertionError("the Hub must not be asked")

    monkeypatch.setattr("hf_genomics.sharing.push.HfApi", reached)
    for part in (KmerBertForMaskedLM(tiny_config), KmerTokenizer(3)):
        part.save_pretrained(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(InputError, match=missing.replace("model", r"\*")):
        push(str(tmp_path), "user/model")


@pytest.fixture
def unreachable(monkeypatch):
    """A Hub that must not be asked."""

    def reached():
        raise AssertionError("the Hub must not be asked")

    monkeypatch.setattr("hf_genomics.sharing.push.HfApi", reached)


def test_a_dry_run_lists_files_and_sizes_and_uploads_nothing(tiny_config, tmp_path, unreachable):
    for part in (KmerBertForMaskedLM(tiny_config), KmerTokenizer(3)):
        part.save_pretrained(tmp_path)
    (tmp_path / "training_args.bin").write_bytes(b"x")
    card(str(tmp_path))
    found = push(str(tmp_path), "user/model", dry_run=True)
    assert "commit" not in found and "training_args.bin" not in found["files"]
    assert found["files"]["model.safetensors"] == (tmp_path / "model.safetensors").stat().st_size


def test_a_model_without_a_card_or_with_a_wrong_one_is_not_pushed(tiny_config, tmp_path, unreachable):
    for part in (KmerBertForMaskedLM(tiny_config), KmerTokenizer(3)):
        part.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"README\.md does not exist.*hf-genomics card"):
        push(str(tmp_path), "user/model")
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n# A\n\n## Data\n")
    with pytest.raises(InputError, match="'Data' is empty"):
        push(str(tmp_path), "user/model")
