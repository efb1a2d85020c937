"""A saved folder is enough: it loads where the package is not installed, and by local code where it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import transformers
from elsewhere import NOT_INSTALLED
from safetensors.torch import load_file
from transformers import AutoConfig, AutoTokenizer, pipeline
from transformers.models.auto import modeling_auto

import hf_genomics
from hf_genomics import KmerBertConfig, KmerTokenizer

SEQUENCE = "ACGTTGATTTNACCGGATATTACGCCATTAGGACCA"
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
SIZES |= {"max_position_embeddings": 64, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}

# Runs where the package cannot be imported: loads every folder, computes, fills a pipeline, saves what it has loaded.
ELSEWHERE = (
    NOT_INSTALLED
    + """
for auto, folder, task in json.loads(sys.argv[1]):
    folder, trust = Path(folder), {"trust_remote_code": True}
    config = transformers.AutoConfig.from_pretrained(folder, **trust)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **trust)
    model = getattr(transformers, auto).from_pretrained(folder, **trust).eval()
    assert type(model.config) is type(config) and "hf_genomics" not in str({type(model), type(config), type(tokenizer)})
    with torch.no_grad():
        outputs = model(**torch.load(folder / "inputs.pt", weights_only=True))
    found = {"ids": tokenizer(sys.argv[2])["input_ids"], "output": next(iter(outputs.values()))}
    if task:
        answers = transformers.pipeline(task, str(folder), **trust)(sys.argv[2])
        found["scores"] = [float(answer["score"]) for answer in answers]
    torch.save(found, folder / "found.pt")
    for part in (model, tokenizer):
        part.save_pretrained(folder / "again")
"""
)
PIPELINES = {
    "AutoModelForSequenceClassification": "text-classification",
    "AutoModelForTokenClassification": "token-classification",
}


class Registered(NamedTuple):
    """A head of ours as the Auto classes know it, and settings to try it with."""

    auto: str
    config: type
    model: type
    settings: dict[str, Any] = {}


def registered() -> list[Registered]:
    """List what is registered, as transformers has it: a head that lands later is tested without a word here."""
    found = []
    for auto in (name for name in dir(transformers) if name.startswith("AutoModel")):
        mapping = getattr(getattr(modeling_auto, auto, None), "_model_mapping", None)
        for config, model in getattr(mapping, "_extra_content", {}).items():
            if config.__module__.startswith("hf_genomics."):
                found.append(Registered(auto, config, model))
    return found


# Settings that bring other weights or other code than a head's defaults.
VARIANTS = {
    "KmerBertForSequenceClassification": {"classifier_pooling": "attention"},
    "KmerBertForTokenClassification": {"labels_per": "nt"},
    "HierarchicalKmerBertForSequenceClassification": {"aggregation": "transformer"},
}
HEADS = registered()
HEADS += [head._replace(settings=VARIANTS[head.model.__name__]) for head in HEADS if head.model.__name__ in VARIANTS]
NAMES = ["_".join([head.model.__name__, "by", head.auto, *map(str, head.settings.values())]) for head in HEADS]


def task_of(head: Registered) -> str:
    """Give the pipeline that takes plain DNA to a head, "" where there is none (windows, tracks)."""
    return PIPELINES.get(head.auto, "") if head.config is KmerBertConfig and not head.settings else ""


def config_for(head: Registered) -> Any:
    """Make a tiny configuration; one of tracks describes nothing without their names."""
    tracks = {"track_names": ["age"], "nt_track_names": ["dnase"]} if hasattr(head.config, "track_names") else {}
    return head.config(k=3, num_labels=3, **SIZES, **tracks, **head.settings)


def inputs_for(config: Any) -> dict[str, torch.Tensor]:
    """Make one example of the shape that a configuration asks for."""
    ids = KmerTokenizer(3)([SEQUENCE], return_tensors="pt")["input_ids"]  # (batch, tokens)
    if hasattr(config, "num_parts"):
        return {"input_ids": ids.repeat(config.num_parts, 1)[None]}  # (batch, parts, tokens)
    if hasattr(config, "track_names"):
        nt = torch.arange(len(SEQUENCE)).sin()[None, :, None]
        return {"input_ids": ids, "tracks": torch.tensor([[0.5]]), "nt_tracks": nt}
    return {"input_ids": ids}


@torch.no_grad()
def output_of(model: Any) -> torch.Tensor:
    return next(iter(model.eval()(**inputs_for(model.config)).values()))


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> dict[str, tuple[Path, torch.Tensor]]:
    """The folder of each head, with its tokenizer and what the model gives."""
    folders = {}
    for name, head in zip(NAMES, HEADS, strict=True):
        folder = tmp_path_factory.mktemp(name)
        torch.manual_seed(0)
        model = head.model(config_for(head))
        for part in (model, KmerTokenizer(3)):
            part.save_pretrained(folder)
        torch.save(inputs_for(model.config), folder / "inputs.pt")
        folders[name] = folder, output_of(model)
    return folders


@pytest.fixture(scope="module")
def found(saved) -> dict[str, dict[str, Any]]:
    """What one process without the package has found in all folders."""
    folders = [(head.auto, str(saved[name][0]), task_of(head)) for name, head in zip(NAMES, HEADS, strict=True)]
    command = [sys.executable, "-c", ELSEWHERE, json.dumps(folders), SEQUENCE]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]
    return {name: torch.load(folder / "found.pt", weights_only=True) for name, (folder, _) in saved.items()}


def test_all_kinds_of_heads_are_registered() -> None:
    assert {"KmerBertModel", "KmerBertForMaskedLM", "HierarchicalKmerBertForSequenceClassification"} <= {
        head.model.__name__ for head in HEADS
    }
    public = {name for name in hf_genomics.__all__ if "KmerBertFor" in name}
    assert public <= {head.model.__name__ for head in HEADS}, "a public head that no Auto class knows"


@pytest.mark.parametrize(("name", "head"), zip(NAMES, HEADS, strict=True), ids=NAMES)
def test_a_saved_folder_names_every_head_of_its_configuration(name: str, head: Registered, saved) -> None:
    folder = saved[name][0]
    auto_map = json.loads((folder / "config.json").read_text())["auto_map"]
    expected = {"AutoConfig": head.config} | {each.auto: each.model for each in HEADS if each.config is head.config}
    assert auto_map == {auto: f"{kind.__module__.split('.')[-1]}.{kind.__name__}" for auto, kind in expected.items()}
    assert {f"{reference.split('.')[0]}.py" for reference in auto_map.values()} <= set(map(str, names_in(folder)))


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_loads_without_the_package_with_the_same_numbers(name: str, saved, found) -> None:
    assert torch.allclose(found[name]["output"], saved[name][1], atol=1e-5)
    assert found[name]["ids"] == KmerTokenizer(3)(SEQUENCE)["input_ids"]
    assert all(0 <= score <= 1 for score in found[name].get("scores", []))


def test_pipelines_run_on_a_folder_without_the_package(found) -> None:
    assert sum("scores" in each for each in found.values()) == len(PIPELINES)


@pytest.mark.parametrize(("name", "head"), zip(NAMES, HEADS, strict=True), ids=NAMES)
def test_what_was_saved_without_the_package_loads_with_it(name: str, head: Registered, saved, found) -> None:
    folder, expected = saved[name]
    model = getattr(transformers, head.auto).from_pretrained(folder / "again")
    assert type(model) is head.model and type(model.config) is head.config
    assert torch.allclose(output_of(model), expected, atol=1e-5)
    assert type(AutoTokenizer.from_pretrained(folder / "again")) is KmerTokenizer
    first, second = (load_file(place / "model.safetensors") for place in (folder, folder / "again"))
    assert set(first) == set(second) and all(torch.equal(weight, second[key]) for key, weight in first.items())
    assert set(names_in(folder / "again")) == set(names_in(folder)) - {"again", "inputs.pt", "found.pt"}


@pytest.mark.parametrize("flag", [{}, {"trust_remote_code": True}], ids=["no_flag", "trust_remote_code"])
@pytest.mark.parametrize(("name", "head"), zip(NAMES, HEADS, strict=True), ids=NAMES)
def test_where_the_package_is_imported_its_code_is_used(name, head: Registered, flag, saved, tmp_path) -> None:
    folder, expected = saved[name]
    assert type(AutoConfig.from_pretrained(folder, **flag)) is head.config
    tokenizer = AutoTokenizer.from_pretrained(folder, **flag)
    model = getattr(transformers, head.auto).from_pretrained(folder, **flag)
    assert type(tokenizer) is KmerTokenizer and type(model) is head.model
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path)
    again = getattr(transformers, head.auto).from_pretrained(tmp_path)
    assert torch.equal(output_of(again), output_of(model)) and torch.allclose(output_of(again), expected, atol=1e-6)
    assert (tmp_path / "config.json").read_text() == (folder / "config.json").read_text()


@pytest.mark.parametrize(("auto", "task"), [*PIPELINES.items(), ("AutoModel", "feature-extraction")])
def test_a_pipeline_is_made_from_a_folder_alone(auto: str, task: str, saved) -> None:
    name = NAMES[[(head.auto, head.config) for head in HEADS].index((auto, KmerBertConfig))]
    made = pipeline(task, str(saved[name][0]))
    assert type(made.tokenizer) is KmerTokenizer and made(SEQUENCE)


def test_a_masked_kmer_is_filled_in_by_a_pipeline_from_a_folder(saved) -> None:
    folder = saved["KmerBertForMaskedLM_by_AutoModelForMaskedLM"][0]
    fill = pipeline("fill-mask", str(folder))
    answers = fill("ACGTTGA [MASK] TTACC", top_k=3)
    assert len(answers) == 3 and all(set(answer["token_str"]) <= set("ACGT") for answer in answers)
