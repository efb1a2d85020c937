"""Training a part of the weights, at rates by layer, or until the validation score stops improving."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from finetune_tables import arguments, write_table
from safetensors.torch import load_file
from small_models import change_json
from tiny_runs import outcome

from hf_genomics import (
    KmerBertConfig,
    KmerBertForMaskedLM,
    KmerBertForSequenceClassification,
    KmerTokenizer,
    card,
    convert,
    predict,
    push,
)
from hf_genomics.errors import InputError
from hf_genomics.evaluation.evaluate import evaluate
from hf_genomics.finetuning.finetune import finetune
from hf_genomics.finetuning.head import Head
from hf_genomics.finetuning.plan import plan_finetuning
from hf_genomics.finetuning.run import run_finetuning
from hf_genomics.finetuning.trained_weights import FinetuningTrainer, depth_of, freeze, split_by_depth
from hf_genomics.labelled.columns import Columns
from hf_genomics.labelled.data import LabelledData
from hf_genomics.runs import memory

pytestmark = pytest.mark.usefixtures("empty_pictures")

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
BEST = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1}
BEST |= {"load_best_model_at_end": True}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    for seed, split in enumerate(("train", "valid", "test")):
        write_table(folder / f"{split}.csv", 20, seed)
    torch.manual_seed(0)
    KmerBertForMaskedLM(KmerBertConfig(k=3, stride=2, **SIZES)).save_pretrained(folder / "pretrained")
    KmerTokenizer(k=3, stride=2).save_pretrained(folder / "pretrained")
    return folder


def data(home: Path, *splits: str) -> LabelledData:
    return LabelledData(**{name: str(home / f"{name}.csv") for name in splits}, columns=Columns(label="more_g"))


def tune(home: Path, out: Path, head: Head, resume: bool = False, baseline_k: int = 0, **options: object) -> dict:
    settings = {"learning_rate": 1e-2, "logging_steps": 1, "per_device_train_batch_size": 8} | options
    splits = data(home, "train", "valid", "test")
    run = arguments(out, **settings)
    return finetune(str(home / "pretrained"), splits, run, head, baseline_k=baseline_k, resume=resume)


def scores(metrics: dict) -> dict:
    return {name: value for name, value in metrics.items() if isinstance(value, float)}


def test_only_the_named_weights_change(home, tmp_path) -> None:
    before = load_file(home / "pretrained" / "model.safetensors")
    options = arguments(tmp_path / "out", max_steps=1)
    finetune(str(home / "pretrained"), data(home, "train"), options, Head(train="last:1"), baseline_k=0)
    after = load_file(tmp_path / "out" / "model.safetensors")
    differ = {name for name in before if name in after and not torch.equal(before[name], after[name])}
    assert differ and all(name.startswith("bert.encoder.layer.1.") for name in differ)


def test_frozen_modules_run_without_dropout_and_need_no_gradient(home, tmp_path) -> None:
    network = KmerBertForSequenceClassification(KmerBertConfig(k=3, **SIZES))
    frozen = freeze(network, 1)
    assert [type(module).__name__ for module in frozen] == ["KmerBertEmbeddings", "KmerBertLayer"]
    assert not any(weight.requires_grad for module in frozen for weight in module.parameters())
    seen = []
    trainer = FinetuningTrainer(model=network, args=arguments(tmp_path / "x"), frozen=frozen)
    network.register_forward_hook(lambda *_: seen.extend(module.training for module in (*frozen, network.classifier)))
    network.train()
    trainer.compute_loss(network, {"input_ids": torch.full((2, 5), 9), "labels": torch.zeros(2, dtype=torch.long)})
    assert seen == [False, False, True]


def test_a_lora_folder_is_taken_as_a_model_and_merges_into_one(home, tmp_path) -> None:
    out = tmp_path / "lora"
    metrics = tune(home, out, Head(train="lora", lora_rank=2), max_steps=2)
    assert not (out / "model.safetensors").exists()
    assert json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"] == str(home / "pretrained")
    saved = load_file(out / "adapter_model.safetensors")
    heads = {name.split(".")[-2] for name in saved if "lora" not in name}
    assert {"classifier"} <= heads and any(".pooler." in name for name in saved)
    assert sum(".lora_A." in name for name in saved) == 2 * 6  # six linear layers in each of two layers
    with pytest.raises(InputError, match=r"is an adapter; hf-genomics convert"):
        push(str(out), "user/model", dry_run=True)
    convert(str(out), str(tmp_path / "merged"))
    card(str(tmp_path / "merged"))
    assert "model.safetensors" in push(str(tmp_path / "merged"), "user/model", dry_run=True)["files"]
    for model in (out, tmp_path / "merged"):
        again = evaluate(str(model), data(home, "test"), str(tmp_path / f"scores_{model.name}"))
        assert scores(again) == pytest.approx(scores(metrics["test"]), abs=1e-5)
    predict(str(out), str(home / "test.csv"), str(tmp_path / "out.tsv"))
    first, second = ((folder / "predictions.tsv").read_text() for folder in (out, tmp_path / "scores_lora"))
    assert first == second


@pytest.mark.parametrize("train", [pytest.param("last:1", marks=pytest.mark.slow), "lora"])
def test_a_run_that_trains_some_weights_and_stops_early_resumes_exactly(home, tmp_path, train) -> None:
    head = Head(train=train, lora_rank=2, layer_decay=0.5, early_stopping=2, rc_probability=0.5)
    # A rate of 0 never improves the validation loss after the first evaluation, so that the run stops after the third.
    options = {"max_steps": 9, "learning_rate": 0.0} | BEST
    tune(home, tmp_path / "whole", head, **options)
    whole = folder_outcome(tmp_path / "whole")
    assert whole["log"][-1]["step"] == 3  # and not 9
    for step in (2, 3) if train == "last:1" else (2,):
        again = tmp_path / f"from_{step}"
        for kept in {1, step}:  # the first one is the best
            shutil.copytree(tmp_path / "whole" / f"checkpoint-{kept}", again / f"checkpoint-{kept}")
        tune(home, again, head, resume=True, **options)
        assert folder_outcome(again) == whole, step


@pytest.mark.slow
@pytest.mark.parametrize("train", ["head", "lora"])
def test_an_interrupted_run_of_some_weights_equals_a_whole_one(home, tmp_path, train) -> None:
    head = Head(train=train, lora_rank=2, layer_decay=0.5)
    tune(home, tmp_path / "whole", head, max_steps=4, save_strategy="steps", save_steps=2)
    shutil.copytree(tmp_path / "whole" / "checkpoint-2", tmp_path / "again" / "checkpoint-2")
    tune(home, tmp_path / "again", head, resume=True, max_steps=4, save_strategy="steps", save_steps=2)
    assert folder_outcome(tmp_path / "again") == folder_outcome(tmp_path / "whole")


def folder_outcome(folder: Path) -> dict:
    """The outcome of a run, whether it left a model or an adapter."""
    adapter = folder / "adapter_model.safetensors"
    if not adapter.exists():
        return outcome(folder)
    shutil.copy(adapter, folder / "model.safetensors")
    found = outcome(folder)
    (folder / "model.safetensors").unlink()
    return found


@pytest.mark.slow
def test_a_run_is_resumed_only_with_the_same_trained_weights(home, tmp_path) -> None:
    tune(home, tmp_path / "out", Head(), max_steps=1, save_strategy="steps", save_steps=1)
    for head in (Head(train="head"), Head(layer_decay=0.5)):
        key = "head.train" if head.train == "head" else "head.layer_decay"
        with pytest.raises(InputError, match=f"{key} was not set"):
            tune(home, tmp_path / "out", head, resume=True, max_steps=2)


def test_depths_count_from_the_head_down() -> None:
    network = KmerBertForSequenceClassification(KmerBertConfig(k=3, **SIZES))
    depths = {name: depth_of(name, 2) for name, _ in network.named_parameters()}
    assert {name for name, depth in depths.items() if depth == 0} == {
        f"{part}.{kind}" for part in ("bert.pooler.dense", "classifier") for kind in ("weight", "bias")
    }
    assert {depth for name, depth in depths.items() if ".embeddings." in name} == {3}
    assert {depth for name, depth in depths.items() if ".layer.1." in name} == {1}


def test_the_rate_of_each_weight_is_that_of_its_depth() -> None:
    network = KmerBertForSequenceClassification(KmerBertConfig(k=3, **SIZES))
    weights = dict(network.named_parameters())
    groups = [
        {"params": [weight for weight in weights.values() if (weight.ndim > 1) is wide]} for wide in (True, False)
    ]
    optimizer = torch.optim.AdamW(groups, lr=1.0)
    names = {id(weight): name for name, weight in weights.items()}
    split_by_depth(optimizer, names, 0.5, 2)
    rates = {names[id(weight)]: group["lr"] for group in optimizer.param_groups for weight in group["params"]}
    assert rates == {name: 0.5 ** depth_of(name, 2) for name in weights}
    assert optimizer.param_groups[0]["lr"] == 1.0


@pytest.mark.slow
def test_training_at_rates_by_layer_equals_one_optimizer_per_layer(home, tmp_path) -> None:
    """The slow twin: after one step of plain SGD, each weight has moved by its own rate times its gradient."""
    moved = {}
    for decay in (1.0, 0.5):
        out = tmp_path / str(decay)
        trainer = arguments(out, max_steps=1, learning_rate=0.1, optim="sgd", max_grad_norm=0.0)
        plan = plan_finetuning(
            str(home / "pretrained"), data(home, "train"), trainer, Head(layer_decay=decay), baseline_k=0
        )
        before = {name: weight.detach().clone() for name, weight in plan.network.named_parameters()}
        run_finetuning(plan)
        moved[decay] = {name: weight.detach() - before[name] for name, weight in plan.network.named_parameters()}
    for name, change in moved[1.0].items():
        assert torch.allclose(moved[0.5][name], 0.5 ** depth_of(name, 2) * change, atol=1e-6), name


@pytest.mark.parametrize(
    ("options", "trainer", "message"),
    [
        ({"train": "last:3"}, {}, r"head.train last:3 .* the 2 of the model"),
        ({"train": "lora", "from_scratch": True}, {}, r"head.train lora .* head.from_scratch"),
        ({"train": "lora", "stretch_positions": 600}, {}, r"head.train lora .* head.stretch_positions"),
        ({"early_stopping": 2}, {}, r"head.early_stopping 2 .* trainer.load_best_model_at_end true"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_written(home, tmp_path, options, trainer, message):
    with pytest.raises(InputError, match=message):
        tune(home, tmp_path / "out", Head(**options), **trainer)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("train", ["head", "last:1", "lora", "all"])
def test_the_estimate_of_memory_counts_the_gradients_of_trained_weights_only(home, tmp_path, monkeypatch, train):
    noted = []

    def note(config, count, *_, num_trained, **__):
        noted.append((count, num_trained))
        return memory.StepMemory(0, 0, 0, 0)

    monkeypatch.setattr(memory, "step_memory", note)
    plan = plan_finetuning(
        str(home / "pretrained"), data(home, "train"), arguments(tmp_path / "out"), Head(train=train)
    )
    weights = list(plan.network.parameters())
    trained = sum(weight.numel() for weight in weights if weight.requires_grad)
    assert noted == [(sum(weight.numel() for weight in weights), trained)]


def test_lora_without_peft_names_the_extra(home, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"peft.*pip install 'hf_genomics\[lora\]'"):
        tune(home, tmp_path / "out", Head(train="lora"))


def test_lora_is_refused_for_tracks_of_both_kinds(home, tmp_path) -> None:
    columns = Columns(tracks=["age"], nt_tracks=["signal"], label="more_g")
    splits = LabelledData(train=str(home / "train.csv"), columns=columns)
    with pytest.raises(InputError, match="head.train lora cannot save a head for tracks"):
        finetune(str(home / "pretrained"), splits, arguments(tmp_path / "out"), Head(train="lora"), baseline_k=0)


def test_temperature_and_threshold_are_chosen_on_validation_and_kept_in_the_folder(home, tmp_path) -> None:
    out = tmp_path / "out"
    head = Head(oversample=True, calibrate=True, threshold="macro_recall")
    metrics = tune(home, out, head, baseline_k=2, max_steps=2)
    config = json.loads((out / "config.json").read_text())
    assert metrics["test"]["threshold"] == {
        "class": config["positive_class"],
        "probability": config["decision_threshold"],
    }
    of_baseline = metrics["baselines"]["2-mer logistic regression"]["threshold"]
    assert of_baseline["class"] == config["positive_class"]
    assert of_baseline["probability"] != config["decision_threshold"]
    assert metrics["calibration"]["valid"].keys() == metrics["calibration"]["test"].keys() == {"ece_before", "ece"}
    again = evaluate(str(out), data(home, "test"), str(tmp_path / "scores"))
    assert scores(again) == pytest.approx(scores(metrics["test"]), abs=1e-6)
    assert again["intervals"] == metrics["test"]["intervals"]
    assert again["calibration"]["ece"] == pytest.approx(metrics["calibration"]["test"]["ece"], abs=1e-6)
    # On the validation split no other threshold is better than the one that was chosen there.
    valid = evaluate(str(out), data(home, "valid"), str(tmp_path / "valid"), split="valid")
    (tmp_path / "half").mkdir()
    shutil.copytree(out, tmp_path / "half" / "model")
    change_json(tmp_path / "half" / "model" / "config.json", decision_threshold=0.5)
    half = evaluate(str(tmp_path / "half" / "model"), data(home, "valid"), str(tmp_path / "half" / "s"), split="valid")
    assert valid["macro_recall"] >= half["macro_recall"] and valid["auroc"] == half["auroc"]


@pytest.mark.slow
def test_an_oversampled_run_resumes_exactly(home, tmp_path) -> None:
    head = Head(oversample=True, rc_probability=0.5)
    tune(home, tmp_path / "whole", head, max_steps=6, save_strategy="steps", save_steps=2)
    for step in (2, 4):
        shutil.copytree(tmp_path / "whole" / f"checkpoint-{step}", tmp_path / f"{step}" / f"checkpoint-{step}")
        tune(home, tmp_path / f"{step}", head, resume=True, max_steps=6, save_strategy="steps", save_steps=2)
        assert folder_outcome(tmp_path / f"{step}") == folder_outcome(tmp_path / "whole")


@pytest.mark.parametrize("options", [{"calibrate": True}, {"threshold": "f1"}])
def test_decisions_need_validation_data(home, tmp_path, options) -> None:
    with pytest.raises(InputError, match="validation"):
        finetune(str(home / "pretrained"), data(home, "train"), arguments(tmp_path / "out"), Head(**options))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"label": "share_g"}, {"calibrate": True}, "head.calibrate"),
        ({"labels": ["much_g", "much_a"]}, {"threshold": "f1"}, "head.threshold"),
        ({"nt_labels": "is_g"}, {"oversample": True}, "head.oversample"),
        ({"nt_labels": "is_g"}, {"threshold": "f1"}, "head.threshold"),
    ],
)
def test_options_about_decisions_that_do_not_fit_the_labels_are_refused(home, tmp_path, columns, options, message):
    splits = LabelledData(train=str(home / "train.csv"), valid=str(home / "valid.csv"), columns=Columns(**columns))
    with pytest.raises(InputError, match=message):
        finetune(str(home / "pretrained"), splits, arguments(tmp_path / "out"), Head(**options))


def test_a_run_whose_folder_has_been_moved_keeps_its_best_model(home, tmp_path):
    there, here, options = tmp_path / "there", tmp_path / "here", {"max_steps": 5, "learning_rate": 0.3} | BEST
    tune(home, there, Head(), **options)
    best = json.loads((there / "trainer_state.json").read_text())["best_global_step"]
    assert best < 4, "the test needs a best model that is not the last one"
    there.rename(here)
    weights = (here / "model.safetensors").read_bytes()
    for name in ("metrics.json", "model.safetensors"):
        (here / name).unlink()
    shutil.rmtree(here / "checkpoint-5")
    tune(home, here, Head(), resume=True, **options)
    assert (here / "model.safetensors").read_bytes() == weights
