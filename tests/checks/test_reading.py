"""Records and rows described in batches: the same as a plain loop, wherever batches and blocks meet."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_files import dna, fasta, table

from hf_genomics.checks import reading as reading_module
from hf_genomics.checks import report as report_module
from hf_genomics.checks.check import SplitFiles, check
from hf_genomics.checks.reading import label_counts
from hf_genomics.genomes.metadata import RecordRules
from hf_genomics.labelled.columns import Columns
from hf_genomics.labelled.sequences import LabelledSequences


@settings(max_examples=60)
@given(st.lists(st.text("ACGTacgtNRy", min_size=1, max_size=30), min_size=1, max_size=8), st.integers(1, 9))
def test_odd_records_and_letters_are_those_of_a_plain_loop_in_blocks_of_any_size(texts: list[str], k: int) -> None:
    records = {f"r{number}": text for number, text in enumerate(texts)}
    kinds = {f"shorter than k = {k} nt": [name for name, text in records.items() if len(text) < k]}
    unknown = [name for name, text in records.items() if len(text) >= k and not re.search(rf"(?i)[ACGT]{{{k}}}", text)]
    kinds["without a k-mer of A, C, G and T only"] = unknown
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = fasta(Path(folder) / "x.fa", **records)
        (whole,) = check([path], k=k).files
        patch.setattr(reading_module, "_BATCH_NT", 12)
        patch.setattr(report_module, "_BLOCK_NT", 5)
        (pieces,) = check([path], k=k).files
    assert whole.notes == pieces.notes == {kind: names for kind, names in kinds.items() if names}
    assert whole.letters == pieces.letters and list(whole.lengths) == list(pieces.lengths) == list(map(len, texts))
    upper = "".join(texts).upper()
    assert whole.letters[:5] == (len(upper), *(sum(map(upper.count, some)) for some in ("ACGT", "GC", "N", "RY")))
    assert whole.letters.soft_masked == sum(map(str.islower, "".join(texts)))


def test_the_only_kmer_of_a_record_is_seen_wherever_blocks_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fasta(tmp_path / "x.fa", a="N" * 8 + "ACGTACGT" + "N" * 8)
    for block in range(1, 25):
        monkeypatch.setattr(reading_module, "_BATCH_NT", block)
        assert check([path], k=8).files[0].notes == {}
        assert list(check([path], k=9).files[0].notes) == ["without a k-mer of A, C, G and T only"]


def test_labels_are_counted_by_class_and_values_summarised() -> None:
    letters = [np.frombuffer(b"ACGT", np.uint8)] * 3
    classes = LabelledSequences("t", ["1", "2", "3"], letters, np.array([1, 0, 1]), ["a", "b"])
    values = LabelledSequences("t", ["1", "2", "3"], letters, np.array([0.5, 1.0, 3.0]))
    assert label_counts(classes) == {"a": 1, "b": 2}
    assert label_counts(values) == {"min": 0.5, "mean": 1.5, "max": 3.0}
    assert label_counts(LabelledSequences("t", ["1", "2", "3"], letters)) is None


def test_a_rejected_table_is_still_described_as_the_file_has_it(tmp_path: Path) -> None:
    path = table(tmp_path / "x.csv", f"{dna(20)},a", f"{dna(30)[:-1]}-,b")
    (one,) = check(splits=SplitFiles(train=[path])).files
    assert (list(one.lengths), one.letters.nt, one.letters.foreign) == ([20, 30], 50, 1)
    assert len(one.problems) == 1 and "data row 2, position 30" in one.problems[0]


def test_u_of_a_rejected_row_or_record_is_a_nucleotide_if_rna_is_read(tmp_path: Path) -> None:
    rows = table(tmp_path / "x.csv", "ACGUACGU,a", "ACGU-CGU,b")
    records = fasta(tmp_path / "x.fa", a="ACGUACGU", b="ACGU-CGU", c="UU")
    rules = RecordRules(rna=True, min_length=4)
    one, two = check([records], splits=SplitFiles(train=[rows]), records=rules, k=3).files
    assert (one.letters.foreign, two.letters.foreign) == (1, 1)


def test_a_table_without_a_split_has_a_task_of_its_own(tmp_path: Path) -> None:
    classes = table(tmp_path / "train.csv", f"{dna(20)},a", f"{dna(20, 1)},b")
    values = table(tmp_path / "x.csv", *(f"{dna(20, seed)},{seed / 8}" for seed in range(2, 7)))
    report = check([values], splits=SplitFiles(train=[classes]))
    assert report.all_problems == []
    training = LabelledSequences("t", ["1"], [np.frombuffer(b"ACGT", np.uint8)], np.array([0]), ["a"])
    rules = reading_module.TableRules(Columns(), RecordRules(), 6, None)
    assert "task" not in rules.options(training, None) and "task" in rules.options(training, "valid")


def test_problems_name_the_keys_of_check(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("sequence,label\n" + "ACGTACGT,0.0\nTTGACCAT,1.0\n" * 3)
    (problem,) = check(splits=SplitFiles(train=[str(path)]), k=3).all_problems
    assert "splits.regression true" in problem
    assert "data.regression" not in problem
    path.write_text("sequence,label\n" + "ACGUACGU,a\nTTGACCAT,b\n" * 3)
    assert "--records.rna true" in check(splits=SplitFiles(train=[str(path)]), k=3).all_problems[0]
