"""Training a byte-pair encoding and building 6-mers side by side; test_tokenizer_configs checks how they read text."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from hf_genomics import kmers_side_by_side, prepare, train_bpe
from hf_genomics.errors import InputError
from hf_genomics.training.bpe import save

ROOT = Path(__file__).resolve().parents[2]
BUNDLED = sorted(map(str, (ROOT / "recipes" / "data" / "quickstart").glob("*.fasta.gz")))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The bundled genomes, in an order other than that of their names."""
    return str(prepare(BUNDLED[::-1], str(tmp_path_factory.mktemp("bpe") / "store")).path)


@pytest.fixture
def small(tmp_path):
    """A store of two contigs with N and lower case, each in its own split."""
    letters = "".join(np.random.default_rng(0).choice(list("ACGT"), 3000))
    (tmp_path / "in.fa").write_text(f">a\n{letters[:1500]}NNNN{letters[1500:].lower()}\n>b\n{'AC' * 500}\n")
    (tmp_path / "in.tsv").write_text("accession\tsplit\na\ttrain\nb\ttest\n")
    return str(prepare([str(tmp_path / "in.fa")], str(tmp_path / "store"), str(tmp_path / "in.tsv")).path)


def files(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_the_bundled_genomes_give_the_folder_of_tokenizer_configs_byte_for_byte(store, tmp_path):
    found = train_bpe(store, str(tmp_path / "bpe"))
    assert files(tmp_path / "bpe") == files(ROOT / "tokenizer_configs" / "bpe_4096")
    assert (found["tokens"], found["nt"]) == (4096, 276_541) and found["nt_per_token"] == pytest.approx(5.206, abs=1e-3)


def test_the_nucleotide_transformers_tokenizer_is_the_folder_of_tokenizer_configs(tmp_path):
    save(kmers_side_by_side(6), tmp_path)
    assert files(tmp_path) == files(ROOT / "tokenizer_configs" / "nt_6mers")


@pytest.mark.slow
def test_threads_and_the_process_make_no_difference(small, tmp_path):
    train_bpe(small, str(tmp_path / "here"), vocab_size=64)
    command = [sys.executable, "-m", "hf_genomics", "train-bpe", "--store", small, "--vocab_size", "64"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TOKENIZERS_PARALLELISM": "true", "PYTHONHASHSEED": "1"}
    ended = subprocess.run(
        [*command, "--output_dir", tmp_path / "there"], env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert files(tmp_path / "here") == files(tmp_path / "there")
    assert "tokens: 64" in ended.stdout


def test_tokens_are_dna_and_as_long_as_asked(small, tmp_path):
    train_bpe(small, str(tmp_path / "bpe"), split="train", vocab_size=60, max_token_length=3)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "bpe")
    tokens = set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)
    assert len(tokens) == 55 and set("".join(tokens)) == set("ACGT") and max(map(len, tokens)) == 3


def test_both_strands_count_alike(tmp_path):
    (tmp_path / "in.fa").write_text(f">a\n{'AAC' * 200}\n")
    store = str(prepare([str(tmp_path / "in.fa")], str(tmp_path / "store")).path)
    train_bpe(store, str(tmp_path / "bpe"), vocab_size=13)
    assert {"AAC", "GTT"} <= set(AutoTokenizer.from_pretrained(tmp_path / "bpe").get_vocab())


def test_only_the_split_asked_for_is_read(small, tmp_path):
    train_bpe(small, str(tmp_path / "all"), vocab_size=40)
    train_bpe(small, str(tmp_path / "test"), split="test", vocab_size=15)
    assert "ACACACAC" in AutoTokenizer.from_pretrained(tmp_path / "test").get_vocab()
    assert train_bpe(small, str(tmp_path / "train"), split="train", vocab_size=20)["nt"] == 3004


def test_fewer_windows_are_taken_from_all_over(store, tmp_path):
    found = train_bpe(store, str(tmp_path / "bpe"), vocab_size=300, max_nt=50_000, window=500)
    assert 30_000 < found["nt"] <= 50_000


def test_contigs_just_longer_than_a_window_do_not_exceed_the_nt_asked_for(tmp_path):
    contigs = ["".join(np.random.default_rng(number).choice(list("ACGT"), 101)) for number in range(10)]
    (tmp_path / "in.fa").write_text("".join(f">{number}\n{letters}\n" for number, letters in enumerate(contigs)))
    store = str(prepare([str(tmp_path / "in.fa")], str(tmp_path / "store")).path)
    assert train_bpe(store, str(tmp_path / "bpe"), vocab_size=20, max_nt=505, window=100)["nt"] <= 505


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocab_size": 9}, "vocab_size must lie in 10..65536, not 9"),
        ({"window": 1}, "window must be at least 2 nt, not 1"),
        (
            {"vocab_size": 4096},
            "4,004 nt give [0-9]+ tokens of at most 16 nt, not 4096; take more genomes or lower vocab_size",
        ),
        ({"vocab_size": 2000, "max_nt": 1000}, "raise max_nt or lower vocab_size"),
        ({"max_nt": 999}, "max_nt must be at least a window of 1000 nt, not 999"),
        ({"vocab_size": 90, "max_token_length": 3}, "vocab_size must be at most 89 with tokens of at most 3 nt"),
        ({"split": "valid"}, "no contig is in split 'valid'"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(small, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        train_bpe(small, str(tmp_path / "bpe"), **options)
    assert not (tmp_path / "bpe").exists()


def test_a_folder_with_anything_in_it_is_left_alone(small, tmp_path):
    (tmp_path / "bpe").mkdir()
    train_bpe(small, str(tmp_path / "bpe"), vocab_size=20)
    before = files(tmp_path / "bpe")
    with pytest.raises(InputError, match="exists and is not an empty folder"):
        train_bpe(small, str(tmp_path / "bpe"), vocab_size=30)
    assert files(tmp_path / "bpe") == before and not list(tmp_path.glob(".*"))
