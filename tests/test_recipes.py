"""Every recipe is understood by its verb and has the paper's values; the CPU-sized ones run."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import re
from operator import attrgetter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from transformers import PreTrainedConfig, TrainingArguments

import hf_genomics
from hf_genomics import KmerBertConfig, KmerBertForMaskedLM, KmerTokenizer, WindowSampling, prepare
from hf_genomics.batches.dose import masking_fractions
from hf_genomics.cli import main
from hf_genomics.studies.label_scarcity import label_scarcity
from hf_genomics.studies.scarcity_cells import cell_recipe, cells_of, merged

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
OLD = Path(__file__).parent / "golden" / "recipes_0.1"  # as they were in that version, comments included
FILES = [path for path in sorted(RECIPES.rglob("*.yaml")) if path.parent.name != "accelerate"]  # Accelerate's own
STUDIES = [path for path in FILES if path.stem.startswith("label_scarcity")]  # their cells are recipes of finetune
FILES = [path for path in FILES if path not in STUDIES]
CPU = [path for path in FILES if path.stem.endswith("_cpu")]
PAPER = [path for path in FILES if path.stem + "_cpu" in {twin.stem for twin in CPU}]


PARSED = {}  # text of a recipe -> the arguments of its verb


def verb_of(path):
    return path.stem.split("_")[0]


def quick_and_slow(paths, quick):
    """Return recipes as parameters; all but those named are slow."""
    return [pytest.param(path, id=path.stem, marks=[] if path.stem in quick else [pytest.mark.slow]) for path in paths]


def stem(path):
    return path.stem


@pytest.fixture
def settings_of(monkeypatch):
    """Parse a recipe once, build its objects, and return what the verb's function would have been called with."""

    def call(path):
        text = path.read_text()
        if text not in PARSED:
            PARSED[text] = parsed(path)
        return dict(PARSED[text])

    def parsed(path):
        verb = verb_of(path)
        verb_name, seen = verb.replace("-", "_"), {}
        function = getattr(hf_genomics, verb_name)
        monkeypatch.setattr(hf_genomics, verb_name, functools.wraps(function)(lambda **given: seen.update(given)))
        assert main([verb, "--config", str(path)]) == 0
        return seen

    return call


def plain(section):
    """Return an object of a recipe as something that can be compared."""
    if isinstance(section, KmerTokenizer):
        return section.k, section.stride
    if isinstance(section, TrainingArguments | PreTrainedConfig):
        return section.to_dict()
    if not dataclasses.is_dataclass(section):
        return section
    return {field.name: plain(getattr(section, field.name)) for field in dataclasses.fields(section) if field.init}


@pytest.mark.parametrize(
    ("name", "renamed"),
    [
        ("finetune_phage_1000nt", {"head.num_parts", "head.dropout", "data.windows.length"}),
        ("pretrain_base", {"trainer.schedule_steps"}),
        ("quickstart", {"data.genomes", "data.length", "data.train_step", "model.classifier_pooling"}),
    ],
)
def test_a_recipe_of_version_0_1_means_what_it_meant(settings_of, caplog, name, renamed):
    before = settings_of(OLD / f"{name}.yaml")
    assert [key for key in renamed if key.removeprefix("model.") not in caplog.text] == []
    caplog.clear()
    today = settings_of(RECIPES / f"{name}.yaml")
    assert "is called" not in caplog.text
    assert not before.pop("resume", False) and today.pop("resume", "auto") == "auto"  # recipes ask for it since 0.2
    assert {key: plain(value) for key, value in before.items()} == {key: plain(value) for key, value in today.items()}


def test_the_recipe_of_several_labels_of_version_0_1_means_what_histone_marks_mean_today(settings_of, caplog):
    before = settings_of(OLD / "finetune_several_labels.yaml")
    renamed = {"head.pooling", "head.balanced", "head.rc_probability", "data.columns.labels"}
    assert [key for key in renamed if key not in caplog.text] == []
    today = settings_of(RECIPES / "finetune_histone_marks.yaml")
    assert before["head"] == today["head"] and before["data"].columns == today["data"].columns


def test_there_are_the_recipes_of_the_paper_and_a_cpu_sized_twin_of_each():
    setups = {"pretrain_base", "pretrain_mask8", "pretrain_stride3", "finetune_phage_150nt", "finetune_phage_1000nt"}
    assert setups <= {path.stem for path in PAPER}


@pytest.mark.parametrize("path", FILES, ids=stem)
def test_a_recipe_is_named_by_its_verb_and_understood_by_it(settings_of, path):
    seen = settings_of(path)
    trainers = [seen[name] for name in ("trainer", "pretraining", "finetuning") if name in seen]
    assert trainers and all(isinstance(each.learning_rate, float) and each.learning_rate < 0.01 for each in trainers)


@pytest.mark.parametrize("path", [path for path in FILES if verb_of(path) != "finetune"], ids=stem)
def test_the_windows_of_a_recipe_fit_its_model(settings_of, path):
    seen = settings_of(path)
    tokens = seen["tokenizer"].num_tokens(seen["windows"].length)
    assert seen["windows"].min_length <= seen["windows"].length and tokens <= seen["model"].max_position_embeddings
    assert (seen["model"].k, seen["model"].stride) == (seen["tokenizer"].k, seen["tokenizer"].stride)


@pytest.mark.parametrize("path", [path for path in FILES if "output_dir" in path.read_text()], ids=stem)
def test_a_recipe_writes_to_the_folder_of_its_name(settings_of, path):
    seen = settings_of(path)
    assert (seen.get("output_dir") or seen["trainer"].output_dir) == f"runs/{path.stem}"


PAPER_WINDOWS = {"mode": "mixed", "sampled_per_cut": 2.0, "full_share": 0.5}

# what the paper says: section 2 (set-ups), section 3 (hyperparameters), A.4 (hardware)
PRETRAINING = {
    "base": {
        "tokenizer": {"k": 6, "stride": 1},
        "masking": {"span": 6, "start_rate": 0.025, "replacement": "token"},
        "windows": PAPER_WINDOWS | {"length": 510, "min_length": 5},
        "model": {"max_position_embeddings": 512},
        "trainer": {"learning_rate": 4e-4, "warmup_steps": 0.05, "per_device_train_batch_size": 250},
    },
    "mask8": {
        "tokenizer": {"k": 6, "stride": 1},
        "masking": {"span": 8, "start_rate": 0.01875, "replacement": "token"},
        "windows": PAPER_WINDOWS | {"length": 510, "min_length": 36},
        "model": {"max_position_embeddings": 512},
        "trainer": {"learning_rate": 1e-3, "warmup_steps": 20_000, "per_device_train_batch_size": 250},
    },
    "stride3": {
        "tokenizer": {"k": 6, "stride": 3},
        "masking": {"span": 3, "start_rate": 0.05, "replacement": "token"},
        "windows": PAPER_WINDOWS | {"length": 1000, "min_length": 36},
        "model": {"max_position_embeddings": 340},
        "trainer": {"learning_rate": 1e-3, "warmup_steps": 20_000, "per_device_train_batch_size": 400},
    },
}
BERT_BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
DNABERT_ADAMW = {"adam_beta1": 0.9, "adam_beta2": 0.98, "adam_epsilon": 1e-6, "weight_decay": 0.01}
EVERY = {
    "model": BERT_BASE | {"vocab_size": 4101, "hidden_dropout_prob": 0.1},
    "trainer": DNABERT_ADAMW | {"max_steps": 100_000, "lr_scheduler_type": "linear", "gradient_accumulation_steps": 1},
}


@pytest.mark.parametrize("setup", PRETRAINING)
def test_a_pretraining_recipe_has_the_papers_values(settings_of, setup):
    seen = settings_of(RECIPES / f"pretrain_{setup}.yaml")
    assert seen["trainer"].schedule_steps == {"base": 200_000}.get(setup), "DNABERT's schedule, stopped at half"
    for section in PRETRAINING[setup]:
        wanted = PRETRAINING[setup][section] | EVERY.get(section, {})
        assert {name: getattr(seen[section], name) for name in wanted} == wanted


@pytest.mark.parametrize("path", quick_and_slow(STUDIES, {"label_scarcity_cpu"}))
def test_every_cell_of_a_study_is_a_recipe_that_finetune_understands(settings_of, monkeypatch, tmp_path, path):
    seen: dict = {}
    monkeypatch.setattr(
        hf_genomics, "label_scarcity", functools.wraps(label_scarcity)(lambda **given: seen.update(given))
    )
    assert main(["label-scarcity", "--config", str(path)]) == 0 and seen["output_dir"] == f"runs/{path.stem}"
    assert all((RECIPES.parent / place).exists() for place in seen["grid"].setups.values())
    kinds = {}
    for cell in (cell for cell in cells_of(seen["grid"], seen["grid"].numbers(2619)) if cell.arm != "kmers"):
        recipe = cell_recipe(cell, seen["finetuning"], seen["store"], seen["positive"])
        kinds[yaml.safe_dump(recipe | {"data": None, "trainer": recipe["trainer"] | {"seed": 0}})] = recipe
    for number, recipe in enumerate(kinds.values()):
        whole = merged(recipe, {"pretrained": "x", "trainer": {"output_dir": "y"}})
        (tmp_path / f"finetune_{number}.yaml").write_text(yaml.safe_dump(whole))
        data = settings_of(tmp_path / f"finetune_{number}.yaml")["data"]
        assert (
            data.windows.test_per_genome == 64
            and data.windows.label_genomes == recipe["data"]["windows"]["label_genomes"]
        )


def test_every_setting_of_the_windows_is_read_from_yaml(settings_of, tmp_path):
    settings = {"mode": "mixed", "length": 100, "min_length": 20, "full_share": 0.25, "sampled_per_cut": 1.5}
    settings |= {"rc_probability": 0.5, "max_unknown": 0.1, "length_exponent": 0.5, "weight_column": "times"}
    settings |= {"group_column": "species", "group_weights": {"human": 2.0, "mouse": 1.0}}
    for windows in (settings, {"mode": "tiles", "length": 100, "step": 50}, {"mode": "fixed", "coverage": 2.0}):
        recipe = yaml.safe_load((RECIPES / "pretrain_base_cpu.yaml").read_text()) | {"windows": windows}
        path = tmp_path / "pretrain_windows.yaml"
        path.write_text(yaml.safe_dump(recipe))
        assert settings_of(path)["windows"] == WindowSampling(**windows)


@pytest.mark.parametrize("setup", PRETRAINING)
def test_a_step_on_the_papers_machines_sees_2000_windows(settings_of, setup):
    path = RECIPES / f"pretrain_{setup}.yaml"
    machines = int(re.search(r"--num_processes (\d+)", path.read_text())[1])
    trainer = settings_of(path)["trainer"]
    assert machines == {"base": 8, "mask8": 8, "stride3": 5}[setup]
    assert trainer.per_device_train_batch_size * machines * trainer.gradient_accumulation_steps == 2000


@pytest.mark.parametrize(
    ("setup", "masked", "hidden"), [("base", 0.1409, 0.0335), ("mask8", 0.1405, 0.0599), ("stride3", 0.1426, 0.0998)]
)
def test_a_set_up_masks_and_hides_as_much_as_its_recipe_says(settings_of, setup, masked, hidden):
    seen = settings_of(RECIPES / f"pretrain_{setup}.yaml")
    shares = masking_fractions(seen["masking"].span, seen["masking"].start_rate, 6, seen["tokenizer"].stride)
    assert shares == pytest.approx((masked, hidden), abs=5e-5)


@pytest.mark.parametrize("name", ["wide", "wide_cpu"])
def test_our_own_set_up_is_set_by_the_share_it_hides(settings_of, name):
    seen = settings_of(RECIPES / f"pretrain_{name}.yaml")
    assert seen["masking"].hidden_fraction == 0.15 and seen["masking"].start_rate is None
    assert "15.00% of nucleotides hidden" in seen["masking"].describe(6, 6)


def test_a_dose_that_rises_and_spans_of_several_lengths_are_read_from_yaml(settings_of, tmp_path):
    for masking in (
        {"start_rate": 0.0267, "schedule": {100_000: 0.0365}},
        {"hidden_fraction": 0.1, "span_lengths": {6: 0.5, 12: 0.5}, "schedule": {10: 0.15, 20: 0.2}},
        {"hidden_fraction": 0.1, "span_geometric": 0.2, "span_cap": 20},
    ):
        recipe = yaml.safe_load((RECIPES / "pretrain_base_cpu.yaml").read_text()) | {"masking": masking}
        path = tmp_path / "pretrain_masking.yaml"
        path.write_text(yaml.safe_dump(recipe))
        seen = settings_of(path)["masking"]
        assert {name: getattr(seen, name) for name in masking} == masking


@pytest.mark.parametrize(("length", "batch", "parts"), [(150, {256}, 1), (1000, {32, 64}, 2)])
def test_a_fine_tuning_recipe_has_the_papers_values(settings_of, length, batch, parts):
    seen = settings_of(RECIPES / f"finetune_phage_{length}nt.yaml")
    data, trainer = seen["data"], seen["trainer"]
    assert (data.windows.length, data.windows.test_per_genome, seen["positive"]) == (length, 64, "phage")
    assert data.windows.label_fraction in (0.1, 0.01, 0.001) and (seen["head"].dropout, seen["head"].num_parts) == (
        0.1,
        parts,
    )
    assert trainer.per_device_train_batch_size in batch and trainer.num_train_epochs in (4, 5)
    assert 1.6e-5 <= trainer.learning_rate <= 3e-5 and 0.2 <= trainer.warmup_steps <= 0.4


@pytest.mark.parametrize("path", PAPER, ids=stem)
def test_a_cpu_sized_twin_keeps_the_task_of_the_paper(settings_of, path):
    ours, twins = settings_of(path), settings_of(path.with_stem(path.stem + "_cpu"))
    keep = {
        "tokenizer": ("k", "stride"),
        "masking": ("span", "start_rate", "hidden_fraction"),
        "data": ("windows.length", "columns.label"),
    }
    for section, names in keep.items():
        for get in map(attrgetter, names):
            with contextlib.suppress(AttributeError):  # a recipe of another verb
                assert get(ours.get(section)) == get(twins[section])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A phage and another virus in every split, made up."""
    folder, random = tmp_path_factory.mktemp("recipes"), np.random.default_rng(0)
    rows = [(f"{kind}_{split}", kind, split) for kind in ("phage", "other") for split in ("train", "valid", "test")]
    records = [f">{name}\n{''.join(random.choice(list('ACGT'), 1600))}\n" for name, *_ in rows]
    (folder / "genomes.fa").write_text("".join(records))
    pd.DataFrame(rows, columns=["accession", "class", "split"]).to_csv(folder / "classes.csv", index=False)
    return prepare([str(folder / "genomes.fa")], str(folder / "store"), str(folder / "classes.csv")).path


def run(path, store, folder, *words):
    """Run a recipe for two steps."""
    small = ["--trainer.max_steps", "2", "--trainer.per_device_train_batch_size", "2", "--trainer.use_cpu", "true"]
    places = ["--data.store", str(store), "--trainer.output_dir", str(folder)]
    assert main([verb_of(path), "--config", str(path), *places, *small, *words]) == 0
    return json.loads((folder / "metrics.json").read_text())


@pytest.mark.parametrize(
    "path",
    quick_and_slow([path for path in CPU if verb_of(path) == "pretrain"], {"pretrain_wide_cpu"}),
)
def test_a_cpu_sized_pretraining_recipe_runs(store, tmp_path, path):
    metrics = run(path, store, tmp_path / "out", "--data.valid_windows", "4")
    assert math.isfinite(metrics["train_loss"]) and math.isfinite(metrics["eval_loss"])
    assert metrics["parameters"] < 2e6


@pytest.fixture(scope="module")
def pretrained(store, tmp_path_factory):
    """What the recipe that the fine-tuning twins start from leaves behind."""
    folder = tmp_path_factory.mktemp("wide") / "out"
    run(RECIPES / "pretrain_wide_cpu.yaml", store, folder, "--data.valid_windows", "4")
    return folder


@pytest.mark.parametrize(
    "path", quick_and_slow([path for path in CPU if verb_of(path) == "finetune"], {"finetune_phage_150nt_cpu"})
)
def test_a_cpu_sized_fine_tuning_recipe_runs(store, pretrained, tmp_path, path):
    metrics = run(path, store, tmp_path / "out", "--pretrained", str(pretrained))
    assert math.isfinite(metrics["train_loss"]) and 0 <= metrics["test"]["macro_recall"] <= 1
    assert set(metrics["baselines"]) == {"majority", "4-mer logistic regression"}


# one recipe for each task of the field, on a few made sequences

MARKS = "H3 H3K14ac H3K36me3 H3K4me1 H3K4me2 H3K4me3 H3K79me3 H3K9ac H4 H4ac".split()
PROFILES = "DNase_K562 CTCF_K562 H3K4me3_K562".split()
SIGNALS = "ctcf dnase h3k4me3 rrbs".split()
#: Task -> names of its baselines.
CLASSES = {"majority", "4-mer logistic regression", "convolutional network"}
VALUES = {"mean", "4-mer ridge regression", "convolutional network"}
TASKS = dict.fromkeys(
    "promoter tf_binding histone histone_marks chromatin_profiles splice_sites coding crispr_off_target dnabert_file "
    "methylation three_classes".split(),
    CLASSES,
) | {"expression": VALUES, "crispr_on_target": VALUES, "long": CLASSES - {"convolutional network"}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A tiny model over 6-mers, and a table with the columns of every such recipe."""
    folder, random = tmp_path_factory.mktemp("kinds"), np.random.default_rng(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    KmerBertForMaskedLM(KmerBertConfig(k=6, **sizes)).save_pretrained(folder / "model")
    KmerTokenizer(k=6).save_pretrained(folder / "model")
    rows = []
    for row in range(12):
        length = 600 if row % 3 == 0 else 23
        dna, other = ("".join(random.choice(list("ACGT"), nt)) for nt in (length, 23))
        columns = {"sequence": dna, "offtarget": other, "label": row % 2}
        columns["kmers6"] = " ".join(dna[start : start + 6] for start in range(length - 5))
        columns["token_labels"] = "".join(random.choice(list("012"), length))
        columns |= {name: "".join(random.choice(list("01"), length)) for name in SIGNALS}
        rows.append(columns | {name: (row + place) % 2 for place, name in enumerate(MARKS + PROFILES)})
    pd.DataFrame(rows).to_csv(folder / "table.csv", index=False)
    pd.DataFrame([row for row in rows if len(row["sequence"]) == 23]).to_csv(folder / "short.csv", index=False)
    return folder


def test_every_recipe_of_a_table_is_tried_on_one():
    names = {path.stem.removeprefix("finetune_") for path in FILES if verb_of(path) == "finetune"}
    assert {name for name in names if not name.startswith("phage")} == set(TASKS)


#: Recipes of a yes/no label per column, of labels per nucleotide, and of pairs; the slow tests run all.
QUICK = {"histone_marks", "coding", "crispr_off_target"}


@pytest.mark.parametrize(
    "task", [pytest.param(task, marks=[] if task in QUICK else [pytest.mark.slow]) for task in TASKS]
)
def test_the_recipe_of_a_task_runs(made, tmp_path, task, monkeypatch, empty_pictures):
    monkeypatch.setattr("hf_genomics.evaluation.convolution._MAX_STEPS", 1)
    path, table = RECIPES / f"finetune_{task}.yaml", made / ("table.csv" if task == "long" else "short.csv")
    words = ["--pretrained", str(made / "model"), "--data.train", str(table), "--data.test", str(table)]
    words += ["--data.valid", str(table)] if "valid:" in path.read_text() else []
    words += ["--data.columns.sequence", "kmers6"] if task == "dnabert_file" else []
    words += ["--trainer.output_dir", str(tmp_path / "out"), "--trainer.max_steps", "2"]
    words += ["--trainer.per_device_train_batch_size", "4", "--trainer.use_cpu", "true"]
    assert main(["finetune", "--config", str(path), *words]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    score = "mse" if TASKS[task] == VALUES else "auroc"
    assert math.isfinite(metrics["train_loss"]) and metrics["test"][score] >= 0
    assert set(metrics["baselines"]) == TASKS[task]
    assert all(metrics["baselines"][name][score] >= 0 for name in TASKS[task])
