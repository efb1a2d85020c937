"""The study refuses a model whose pretraining saw a held-out genome, and pretrains on training genomes only."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
import yaml
from safetensors.torch import load_file
from small_files import dna, fasta
from tiny_study import write_model, write_store

from hf_genomics import GenomeStore, prepare
from hf_genomics.errors import InputError
from hf_genomics.sequence import reverse_complement
from hf_genomics.studies.scarcity_cells import Cell, StudyGrid
from hf_genomics.studies.scarcity_checks import (
    check_listed,
    check_setups,
    check_unseen,
    choose_positive,
    count_genomes,
    study_facts,
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("checks")
    write_store(home)
    write_model(home)
    return home


@pytest.fixture(scope="module")
def store(home):
    return GenomeStore(home / "store")


def test_genomes_are_counted_and_the_positive_class_is_the_rarer_one(store):
    assert count_genomes(store) == {"train": 12, "valid": 4, "test": 6}
    assert choose_positive(store, "phage") == "phage" and choose_positive(store, None) == "other", "the first of equals"
    with pytest.raises(InputError, match="'fage'"):
        choose_positive(store, "fage")


def test_a_store_without_a_split_or_with_three_classes_is_refused(tmp_path):
    records = fasta(tmp_path / "g.fa", a=dna(50), b=dna(50, 1), c=dna(50, 2))
    (tmp_path / "m.csv").write_text("accession,label,split\na,x,train\nb,y,train\nc,z,train\n")
    store = prepare([records], str(tmp_path / "s"), str(tmp_path / "m.csv"))
    with pytest.raises(InputError, match="'valid'"):
        count_genomes(store)
    with pytest.raises(InputError, match="3 classes"):
        choose_positive(store, None)


@pytest.mark.parametrize(
    ("name", "letters", "split", "seen"),
    [
        ("phage_test_0.2", "other", "train", "name"),
        ("renamed", "same", "train", "sequence"),
        ("renamed", "reverse", "train", "sequence"),
        ("renamed", "other", "train", None),
        ("phage_test_0", "same", "valid", None),
    ],
)
def test_a_test_genome_in_pretraining_is_found_by_name_and_by_sequence_of_either_strand(
    store, tmp_path, name, letters, split, seen
):
    row = int((store.contigs["name"] == "phage_test_0").to_numpy().argmax())
    own = store.window(row, 0, 240).tobytes().decode().lower()
    texts = {"same": own, "reverse": reverse_complement(own), "other": dna(240, 7)}
    records = fasta(tmp_path / "g.fa", first=dna(90), **{name: texts[letters]})
    (tmp_path / "m.csv").write_text(f"accession,split\nfirst,train\n{name},{split}\n")
    pretraining = prepare([records], str(tmp_path / "s"), str(tmp_path / "m.csv"))
    if seen is None:
        check_unseen(pretraining, store)
        return
    with pytest.raises(InputError, match=f"phage_test_0 of the test split.*same {seen}"):
        check_unseen(pretraining, store)


def test_the_list_beside_a_model_is_checked(home, store, tmp_path):
    shutil.copytree(home / "model", tmp_path / "model")
    grid = StudyGrid({"m": str(tmp_path / "model")}, genomes=[2])
    assert "not checked" in check_setups(grid, store)
    listed = tmp_path / "model" / "genomes.tsv"
    listed.write_text("accession\tsplit\nphage_train_0\ttrain\nphage_test_0\tvalid\n")
    assert "names no" in check_setups(grid, store)
    listed.write_text("accession\tsplit\nphage_valid_1.1\ttrain\n")
    with pytest.raises(InputError, match=r"genomes\.tsv: holds phage_valid_1"):
        check_listed(listed, store)
    listed.write_text("name\tsplit\n")
    with pytest.raises(InputError, match="'accession'"):
        check_setups(grid, store)


def test_numbers_after_a_dot_are_no_versions_if_names_differ_in_nothing_else(tmp_path):
    records = fasta(
        tmp_path / "g.fa", **{f"contig.{number}": dna(50, number) for number in range(4)}, **{"X.1": dna(50, 9)}
    )
    splits = ["contig.0,train", "contig.1,train", "contig.2,valid", "contig.3,test", "X.1,test"]
    (tmp_path / "m.csv").write_text("\n".join(["accession,split", *splits]) + "\n")
    store = prepare([records], str(tmp_path / "s"), str(tmp_path / "m.csv"))
    check_unseen(store, store)
    listed = tmp_path / "genomes.tsv"
    for name, seen in (("contig.9", None), ("contig.3", "contig.3"), ("X.2", "X.1")):
        listed.write_text(f"accession\tsplit\n{name}\ttrain\n")
        if seen is None:
            check_listed(listed, store)
            continue
        with pytest.raises(InputError, match=f"holds {seen}"):
            check_listed(listed, store)


@pytest.mark.parametrize("content", [b"", "accession\tsplit\nx\ttrain\n".encode("utf-16")], ids=["empty", "utf-16"])
def test_a_list_that_is_no_table_is_named(store, tmp_path, content):
    (tmp_path / "genomes.tsv").write_bytes(content)
    with pytest.raises(InputError, match=r"genomes\.tsv: not a table"):
        check_listed(tmp_path / "genomes.tsv", store)


def test_a_folder_is_of_one_store_and_of_one_model_per_name(home, store, tmp_path):
    grid = StudyGrid({"m": str(home / "model")}, genomes=[2])
    facts = study_facts(tmp_path, store, grid)
    (tmp_path / "study.json").write_text(json.dumps(facts))
    recipe = tmp_path / "r.yaml"
    recipe.write_text("tokenizer: {k: 3}\n")
    both = study_facts(tmp_path, store, StudyGrid({"m": str(home / "model"), "r": str(recipe)}, genomes=[2]))
    assert both["setups"].keys() == {"m", "r"} and both["setups"]["m"] == facts["setups"]["m"]
    with pytest.raises(InputError, match=r"grid\.setups\.m was another"):
        study_facts(tmp_path, store, StudyGrid({"m": str(recipe)}, genomes=[2]))


def test_validation_and_test_genomes_do_not_change_what_pretraining_learns(tmp_path, monkeypatch):
    """The pretraining of a study, with other letters in all genomes that are held out, ends with the same weights."""
    from tiny_study import InThisProcess

    from hf_genomics.jobs import shared_work
    from hf_genomics.studies import scarcity_jobs

    monkeypatch.setattr(shared_work.subprocess, "Popen", InThisProcess)
    monkeypatch.setattr("hf_genomics.training.pretrain.plot_loss", lambda *_, **__: None)
    recipe = tmp_path / "r.yaml"
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    trainer = {"max_steps": 2, "per_device_train_batch_size": 4, "use_cpu": True, "save_strategy": "no"}
    trainer |= {"eval_strategy": "steps", "eval_steps": 1, "output_dir": "elsewhere"}
    settings = {"tokenizer": {"k": 3}, "model": sizes | {"max_position_embeddings": 48}, "trainer": trainer}
    settings |= {"windows": {"length": 40, "min_length": 40}, "masking": {"span": 3, "start_rate": 0.1}}
    settings |= {"data": {"store": "elsewhere", "train_split": None, "valid_windows": 4}}
    recipe.write_text(yaml.safe_dump(settings))
    weights, losses = [], []
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        folder.mkdir()
        store = write_store(folder, held_out_seed=seed)
        cell = {Cell(40, 2, "r", "pretrained", 0): {}}
        (job,), _ = scarcity_jobs.study_jobs(StudyGrid({"r": str(recipe)}, genomes=[2]), cell, store, folder)
        shared_work.share_work([job], 1)
        weights.append(load_file(job.run / "model.safetensors"))
        losses.append(pd.read_json(job.run / "metrics.jsonl", lines=True)["eval_loss"].dropna().tolist())
    assert weights[0].keys() == weights[1].keys()
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])
    assert losses[0] and losses[0] != losses[1], "the letters that are held out are others"
