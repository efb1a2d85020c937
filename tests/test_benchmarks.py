"""The GPU benchmark: a table comes whatever settings do, and its settings compute the same on a CPU.

The benchmark of all tasks: what it reads from finished runs, and a table that it makes. A deeper model: where it
begins. Attribution and variant effects: what they train on. Busy cores: which rounds count.
"""

from __future__ import annotations

import argparse
import doctest
import gzip
import importlib.util
import json
import math
import os
import re
import runpy
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from hf_genomics import KmerBertConfig, KmerBertForMaskedLM, KmerTokenizer
from hf_genomics.sequence import reverse_complement

WORKER = """
import json, os, sys, time
print("chatter of a library")
print(json.dumps({"machine": "here"}), flush=True)
for name in sys.argv[1:]:
    if name == "dies":
        os._exit(7)
    if name == "hangs":
        time.sleep(60)
    print(json.dumps({"setting": name, "mfu": 0.5}), flush=True)
"""


@pytest.fixture(scope="module")
def gpu(repo_root):
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("gpu_benchmark", repo_root / "benchmarks" / "gpu.py")
    module = sys.modules["gpu_benchmark"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(gpu, names, limit=20.0, seconds=60.0, code=WORKER):
    command = [sys.executable, "-c", code]
    found = gpu.supervise(lambda todo: [*command, *todo], names, limit, time.monotonic() + seconds)
    return [(result["setting"], result.get("failed")) for result in found if "setting" in result]


@pytest.mark.slow
def test_a_setting_that_dies_or_hangs_does_not_lose_the_others(gpu):
    found = run(gpu, ["a", "dies", "b", "hangs", "c"], limit=6.0)
    assert found == [
        ("a", None),
        ("dies", "its process ended with code 7"),
        ("b", None),
        ("hangs", "stopped: it took too long"),
        ("c", None),
    ]


@pytest.mark.slow
def test_nothing_runs_after_the_deadline(gpu):
    begin = time.monotonic()
    found = run(gpu, ["a", "hangs", "b"], seconds=6.0)
    assert time.monotonic() - begin < 30
    assert found == [("a", None), ("hangs", "stopped: it took too long"), ("b", "no time left")]


def test_a_process_that_cannot_start_is_not_started_again_and_again(gpu):
    found = run(gpu, ["a", "b"], code="import sys; sys.exit(3)")
    assert found == [("a", "its process ended with code 3"), ("b", "a process could not start")]


def test_a_failure_has_its_reason_in_the_table(gpu):
    assert gpu.cells({"failed": "OutOfMemoryError: 9 | 8"}) == "OutOfMemoryError: 9 / 8 | - | - | - | -"


def test_the_tables_are_as_documented(gpu):
    failed, attempted = doctest.testmod(gpu)
    assert attempted and not failed


#: What a machine with torch and transformers need not have.
MISSING = "datasets evaluate dnaio xopen isal jsonargparse docstring_parser rich Bio".split()
WITHOUT = f"""
import sys
sys.modules.update(dict.fromkeys({MISSING}))
import gpu, feed, data
from pathlib import Path
data.CONTIGS, data.CONTIG_LENGTH = 1, 3000
windows, collator, _ = feed.parts(feed.RECIPES / "pretrain_base.yaml", data.make_store(Path(sys.argv[1])), "one row")
print(sorted(collator(windows.__getitems__([0, 1]))))
"""


@pytest.mark.slow
def test_the_gpu_benchmark_needs_little_beside_torch_and_transformers(repo_root, tmp_path):
    folders = os.pathsep.join([str(repo_root / "benchmarks"), str(repo_root), *sys.path])
    command = [sys.executable, "-c", WITHOUT, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": folders}, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "['attention_mask', 'input_ids', 'labels', 'position_ids']"


@pytest.mark.slow
def test_every_setting_of_the_gpu_benchmark_runs_on_a_cpu_and_starts_from_the_same_loss(repo_root, tmp_path):
    command = [sys.executable, "benchmarks/gpu.py", "--device", "cpu", "--size", "tiny", "--seconds", "0.01"]
    output = ["--minutes", "9", "--output", str(tmp_path / "x" / "gpu.jsonl")]
    subprocess.run([*command, *output], cwd=repo_root, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    lines = [json.loads(line) for line in (tmp_path / "x" / "gpu.jsonl").read_text().splitlines()]
    assert not [line for line in lines if "failed" in line] and len(lines) > 20
    profile = lines.pop()
    assert any("mm" in name and ms > 0 and times > 0 for name, ms, times in profile["kernels"])
    losses: dict[str, set[float]] = {"full": set(), "mix": set()}
    for line in lines:
        if "loss" in line and "dropout" not in line["setting"]:
            losses["mix" if "mix" in line["setting"] else "full"].add(line["loss"])
        assert "setting" not in line or (line["tokens_per_second"] > 0 and line["mfu"] > 0)
    for values in losses.values():
        assert max(values) - min(values) < 0.01 and math.isfinite(sum(values))


@pytest.fixture(scope="module")
def tasks(repo_root):
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("tasks_benchmark", repo_root / "benchmarks" / "tasks.py")
    module = sys.modules["tasks_benchmark"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PREDICTED = {
    "classes": "id\tlength\tlabel\tprediction\tp_0\tp_1\n1\t9\t0\t0\t0.9\t0.1\n2\t9\t1\t1\t0.2\t0.8\n",
    "values": "id\tlength\tlabel\tprediction\n1\t9\t0.5\t0.1\n2\t9\t1.5\t0.2\n",
    "marks": "id\tlength\tlabel_H3\tp_H3\tlabel_H4\tp_H4\n1\t9\t0.0\t0.1\t\t0.5\n2\t9\t1.0\t0.8\t1.0\t0.5\n",
}


@pytest.mark.parametrize(
    ("kind", "score"), [("classes", "mcc"), ("classes", "auprc"), ("values", "spearman"), ("marks", "auroc")]
)
def test_the_benchmark_of_tasks_reads_the_predictions_of_every_kind(tasks, tmp_path, kind, score):
    (tmp_path / "predictions.tsv").write_text(PREDICTED[kind])
    scores, labels = tasks.read_predictions(tmp_path / "predictions.tsv")
    assert len(scores) == len(labels) == 2
    assert tasks.SCORES[score](scores, labels) == pytest.approx(1)


def test_nucleotides_are_scored_by_the_intervals_of_their_classes(tasks, tmp_path):
    (tmp_path / "test.csv").write_text("sequence,token_labels\nACGTAC,001100\nACGT,2222\n")
    rows = [
        "id\tstart\tend\tprediction\tprobability",
        "1\t0\t2\t0\t1",
        "1\t2\t4\t1\t1",
        "1\t4\t6\t0\t1",
        "2\t0\t4\t2\t1",
    ]
    (tmp_path / "predictions.tsv").write_text("\n".join(rows) + "\n")
    found = tasks.resampled_nucleotides([tmp_path], tmp_path / "test.csv", np.random.default_rng(0))
    assert found == [1.0] * tasks.RESAMPLES


def test_every_task_has_a_recipe(tasks, repo_root):
    for task in tasks.TASKS.values():
        assert (repo_root / "recipes" / f"finetune_{task.recipe}.yaml").exists()


def test_the_benchmark_computes_the_auroc_of_many_columns_as_scikit_learn_does(tasks):
    random = np.random.default_rng(0)
    scores, labels = random.integers(0, 9, (40, 5)) / 9, random.choice([0.0, 1.0, np.nan], (40, 5))
    labels[:, 4] = 0
    found = tasks.aurocs(scores, labels)
    assert np.isnan(found[4])
    for column in range(4):
        known = ~np.isnan(labels[:, column])
        assert found[column] == pytest.approx(roc_auc_score(labels[known, column], scores[known, column]))


def load(repo_root, name):
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(f"{name}_benchmark", repo_root / "benchmarks" / f"{name}.py")
    module = sys.modules[f"{name}_benchmark"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_planted_sequence_and_its_control_differ_in_the_order_of_the_motif_alone(repo_root):
    attribution = load(repo_root, "attribution")
    genome = np.random.default_rng(0).choice(np.frombuffer(b"ACGT", np.uint8), 999)
    rows, labels, places = attribution.draw(genome, 20, np.random.default_rng(1), length=30, paired=True)
    assert rows.shape == (20, 30) and labels.tolist() == [1] * 10 + [0] * 10
    for planted, control, place in zip(rows[:10], rows[10:], places[:10], strict=True):
        assert (np.sort(planted[place : place + 10]) == np.sort(control[place : place + 10])).all()
        assert (np.delete(planted, range(place, place + 10)) == np.delete(control, range(place, place + 10))).all()
    assert (places[:10] == places[10:]).all()


def test_no_sequence_of_a_test_pair_is_trained_on_from_either_strand(repo_root, tmp_path):
    columns = ["sequence", "alt_sequence", "ref_expression", "alt_expression", "delta"]
    train = pd.DataFrame([("AAC", "AAG", 1.0, 2.0, 1.0), ("AAC", "CCG", 1.0, 3.0, 2.0)], columns=columns)
    test = pd.DataFrame([("CGG", "TTT", 1.0, 2.0, 1.0)], columns=columns)
    pd.DataFrame({"sequence": ["AAA", "TTT", "GGG"], "label": [5.0, 6.0, 7.0]}).to_csv(tmp_path / "train.csv.gz")
    rows = load(repo_root, "variant_effects").training_rows(train, test, tmp_path)
    assert dict(zip(rows["sequence"], rows["label"], strict=True)) == {"AAC": 1.0, "AAG": 2.0, "GGG": 7.0}


def test_methylated_adenines_are_those_of_two_enzymes_and_the_others_are_near_such_a_site(tasks, tmp_path):
    letters = np.random.default_rng(0).choice(list("ACGT"), 400_000)
    genome = "".join(letters) + 200 * ("GAACTTTTTTGTGC" + "TTT")
    (tmp_path / "genomes").mkdir()
    with gzip.open(tmp_path / "genomes" / "ecoli_k12_mg1655.fna.gz", "wt") as file:
        file.write(f">made\n{genome}\n")
    small = tasks.methylation(tmp_path, rows={"train": 300, "valid": 40, "test": 100})
    assert {split: len(table) for split, table in small.items()} == {"train": 600, "valid": 80, "test": 200}
    either = genome + "N" + reverse_complement(genome)
    for table in small.values():
        for sequence, label in table.itertuples(index=False):
            assert len(sequence) == 41 and sequence[20] == "A" and sequence in either
            dam = sequence[19:23] == "GATC"
            ecoki = bool(re.fullmatch("AAC.{6}GTGC", sequence[19:32]) or re.fullmatch("GCAC.{6}GTT", sequence[18:31]))
            assert (dam or ecoki) == bool(label) and (label or "GATC" in sequence)
    assert any(sequence[19:23] != "GATC" for sequence, label in small["test"].itertuples(index=False) if label)


def test_a_deeper_model_begins_with_almost_the_logits_of_the_one_it_is_made_from(repo_root):
    deeper = load(repo_root, "deeper")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    model = KmerBertForMaskedLM(KmerBertConfig(k=3, max_position_embeddings=40, **sizes)).eval()
    for name, weight in model.named_parameters():  # as after training: no norm is the identity
        if "LayerNorm" in name:
            weight.data += 0.2 * torch.randn(weight.shape)
    ids = deeper.random_batch(KmerTokenizer(k=3), model.config, rows=8)
    grown = deeper.deepened(model, ids)
    assert grown.config.num_hidden_layers == 4 and model.config.num_hidden_layers == 2
    with torch.no_grad():
        before, after = model(ids).logits, grown(ids).logits
    assert (before - after).square().mean() < 0.02 * before.var()
    trained = [name for name, weight in grown.named_parameters() if weight.requires_grad]
    assert len(trained) == len(list(grown.parameters()))


def test_the_picture_of_initialisations_shows_every_variant_of_the_table(repo_root):
    script = runpy.run_path(str(repo_root / "benchmarks" / "initialisation.py"))
    losses = script["read_losses"]((repo_root / "docs" / "results.md").read_text())
    shown = [name for rows in script["GROUPS"].values() for names in rows.values() for name in names]
    assert sorted(shown) == sorted(losses) == sorted(script["variants"]("start"))
    assert losses["base-kmer"] == 2.96 and losses["k3-bert"] == 3.80


def test_without_busy_processes_only_quiet_rounds_count(repo_root):
    compare = runpy.run_path(str(repo_root / "benchmarks" / "contention.py"))["compare"]
    taken = [0.0, 0.5, 0.02, 0.3, 0.04, 0.01]  # cores that others took in each round; the first round warms up
    compare.__globals__["rounds"] = lambda workers, seconds: (({"default": n}, cores) for n, cores in enumerate(taken))
    options = argparse.Namespace(rounds=2, seconds=1.0, quiet=0.1)
    assert compare({}, 0, options) == [{"default": 2}, {"default": 4}]
    assert compare({}, 1, options) == [{"default": 1}, {"default": 2}]  # beside busy processes, every round counts


@pytest.mark.slow
def test_each_way_of_waiting_is_measured(repo_root):
    words = "--busy 0 --quiet 99 --rounds 1 --seconds 0.05 --spins 1000".split()
    command = [sys.executable, str(repo_root / "benchmarks" / "contention.py"), *words]
    environment = os.environ | {"PYTHONPATH": str(repo_root)}
    row = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    found = [float(cell.replace(",", "")) for cell in row.strip("| ").split("|")]
    assert found[:2] == [0, 1] and all(number > 0 for number in found[2:]) and len(found) == 5


def test_a_twin_is_compared_on_the_same_rows(tasks, tmp_path):
    random = np.random.default_rng(1)
    rows = [f"{row}\t9\t{row % 2}\t0\t{1 - p:.3f}\t{p:.3f}" for row, p in enumerate(random.random(40))]
    for name in ("gue_tf_0-0", "gue_tf_0-0-twin"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text('{"test": {"mcc": 0.5}}')
        (tmp_path / name / "predictions.tsv").write_text("id\tlength\tlabel\tprediction\tp_0\tp_1\n" + "\n".join(rows))
    given = argparse.Namespace(output=tmp_path, seeds=[0, 1])
    draws = np.array(tasks.resampled("gue_tf_0", tasks.finished("gue_tf_0", given), tmp_path / "test.csv"))
    assert draws.std() > 0
    cells = tasks.twin_cells("gue_tf_0", 0.5, draws, tmp_path / "test.csv", given)
    assert cells == ["0.500", "+0.000 (+0.000 to +0.000)"]
    (tmp_path / "gue_tf_0-0-twin" / "metrics.json").unlink()
    assert tasks.twin_cells("gue_tf_0", 0.5, draws, tmp_path / "test.csv", given) == ["-", "-"]
