"""`check` and `finetune` give the same verdict on the same tables: one reader, one set of rules."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pandas as pd
import pytest
from finetune_tables import arguments
from places import SIZES

from hf_genomics import KmerBertConfig, KmerBertForMaskedLM, KmerTokenizer
from hf_genomics.checks.check import SplitFiles, check
from hf_genomics.checks.report import with_keys_of_check
from hf_genomics.errors import InputError
from hf_genomics.finetuning.plan import plan_finetuning
from hf_genomics.genomes.metadata import RecordRules
from hf_genomics.labelled.columns import Columns
from hf_genomics.labelled.data import LabelledData

GOOD = "sequence,label\nACGTACGTAA,a\nTTGACCATGA,b\nACGTAGGTAA,a\nTTGACCTTGA,b\n"
OTHER = "sequence,label\nCCGTACGTAC,a\nATGACCATGC,b\n"
FASTA = ">r1 label=a\nACGTACGTAA\n>r2 label=b\nTTGACCATGA\n"


def parquet(**columns: list) -> bytes:
    """Return a Parquet table."""
    file = io.BytesIO()
    pd.DataFrame(columns).to_parquet(file)
    return file.getvalue()


# Accepted by both.
GOOD_TABLES: dict[str, str | bytes] = {
    "CSV": GOOD,
    "TSV": GOOD.replace(",", "\t"),
    "semicolons": GOOD.replace(",", ";"),
    "sep line": "sep=,\n" + GOOD,
    "UTF-8 with a byte order mark": GOOD.encode("utf-8-sig"),
    "UTF-16": GOOD.encode("utf-16"),
    "UTF-16 without a byte order mark": GOOD.encode("utf-16-be"),
    "capitals": GOOD.replace("sequence,label", "Sequence,LABEL"),
    "Class in capitals": GOOD.replace("label", "Class"),
    "decimal commas": "sequence;label\nACGTACGTAA;0,5\nTTGACCATGA;1,25\n",
    "FASTA with a byte order mark": FASTA.encode("utf-8-sig"),
    "gzip": gzip.compress(GOOD.encode()),
    "Parquet": parquet(sequence=["ACGTACGTAA", "TTGACCATGA"], label=["a", "b"]),
    "lines of Windows": GOOD.replace("\n", "\r\n"),
    "quotes": GOOD.replace("a\n", '"a"\n'),
    "column class": GOOD.replace("label", "class"),
    "class beside label": "sequence,label,class\nACGTACGTAA,a,x\nTTGACCATGA,b,x\n",
    "other columns twice": "sequence,label,note,note\nACGTACGTAA,a,x,y\nTTGACCATGA,b,x,y\n",
    "empty columns": "sequence,label,,\nACGTACGTAA,a,,\nTTGACCATGA,b,,\n",
    "lower case and IUPAC": "sequence,label\nacgtRYacgt,a\nNNNNACGTAC,b\n",
    "values": "sequence,label\nACGTACGTAA,0.5\nTTGACCATGA,1.25\n",
    "whole numbers": "sequence,label\nACGTACGTAA,0\nTTGACCATGA,1\n",
    "a row twice": GOOD + "ACGTACGTAA,a\n",
    "contradictory rows": GOOD + "ACGTACGTAA,b\n",
    "no line end": GOOD.rstrip(),
    "overlapping k-mers": GOOD + "ACGTAC CGTACG,b\n",
    "blank lines": GOOD.replace("\n", "\n\n"),
    "FASTA": FASTA,
    "FASTQ": "@r1 label=a\nACGTACGT\n+\nIIIIIIII\n@r2 label=b\nTTGACCAT\n+\nIIIIIIII\n",
}
# Rejected by both.
BAD_TABLES: dict[str, str | bytes] = {
    "empty": "",
    "blank": "\n\n",
    "header only": "sequence,label\n",
    "no column of labels": "sequence,lable\nACGTACGTAA,a\nTTGACCATGA,b\n",
    "no column of sequences": "dna,label\nACGTACGTAA,a\nTTGACCATGA,b\n",
    "no header": "ACGTACGTAA,a\nTTGACCATGA,b\n",
    "one class": "sequence,label\nACGTACGTAA,a\nTTGACCATGA,a\n",
    "label twice": "sequence,label,label\nACGTACGTAA,a,b\nTTGACCATGA,b,a\n",
    "label twice, with a blank": "sequence,label, label\nACGTACGTAA,a,b\nTTGACCATGA,b,a\n",
    "sequence twice": "sequence,sequence,label\nACGTACGTAA,A,a\nTTGACCATGA,A,b\n",
    "a label is missing": GOOD + "ACGTACCTAA,\n",
    "a label is nan": GOOD + "ACGTACCTAA,nan\n",
    "a word among values": "sequence,label\nACGTACGTAA,0.5\nTTGACCATGA,1.25\nTTGACCATGC,high\n",
    "a sequence is missing": GOOD + ",a\n",
    "a short sequence": GOOD + "AC,a\n",
    "protein": GOOD + "MKVLAAGEFF,a\n",
    "gaps": GOOD + "ACG--GTACG,b\n",
    "RNA": GOOD + "ACGUACGUAA,b\n",
    "k-mers that do not overlap": GOOD + "ACGTAC GTTACG,b\n",
    "more cells than the header": GOOD + "ACGTACGTAA,b,c\n",
    "an open quote": GOOD + '"ACGTACGTAA,b\n',
    "Latin-1": GOOD.replace("a\n", "\xe9\n").encode("latin-1"),
    "xlsx": b"PK\x03\x04" + b"\0" * 26 + b"xl/workbook.xml",
    "gzip cut short": gzip.compress(GOOD.encode() * 50)[:-20],
    "Parquet cut short": parquet(sequence=["ACGTACGTAA", "TTGACCATGA"], label=["a", "b"])[:200],
    "Parquet of lists": parquet(sequence=["ACGTACGTAA", "TTGACCATGA"], label=[["a"], ["b"]]),
    "HTML": "<!DOCTYPE html><html></html>",
    "JSON": '[{"sequence": "ACGT", "label": "a"}]',
    "BED": "chr1\t1\t10\n",
    "FASTA with one class": FASTA.replace("label=b", "label=a"),
    "FASTA with a label missing": FASTA + ">r3\nACGTACGTAC\n",
    "FASTA with a short record": FASTA + ">r3 label=a\nAC\n",
    "FASTA with a name twice": FASTA + ">r1 label=a\nACGTACGTAC\n",
}
# Rejected as a test split only: the training table sets the classes.
BAD_TESTS: dict[str, str] = {
    "another class": OTHER + "ACGTACGTAA,c\n",
    "no row of a class": "sequence,label\nACGTACGTAA,a\n",
    "values instead of classes": "sequence,label\nACGTACGTAA,0.5\nTTGACCATGA,1.25\n",
    "FASTA with another class": FASTA.replace("label=b", "label=c"),
}


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a tiny pretrained model."""
    folder = tmp_path_factory.mktemp("pretrained")
    KmerBertForMaskedLM(KmerBertConfig(k=3, max_position_embeddings=64, **SIZES)).save_pretrained(folder)
    KmerTokenizer(k=3).save_pretrained(folder)
    return str(folder)


def write(path: Path, content: str | bytes) -> str:
    """Write a file and return its path."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def verdicts(pretrained: str, folder: Path, train: str, test: str | None, columns: Columns) -> tuple[list[str], str]:
    """Return what `check` rejects, and what `finetune` rejects ("" for nothing) with the keys of `check`."""
    files = SplitFiles(train=[train], test=None if test is None else [test])
    problems = check(splits=files, columns=columns, records=RecordRules(), k=3).all_problems
    try:
        data = LabelledData(train=train, test=test, columns=columns)
        plan_finetuning(pretrained, data, arguments(folder / "out", per_device_train_batch_size=2))
    except InputError as error:
        return problems, with_keys_of_check(str(error))
    return problems, ""


@pytest.mark.parametrize("content", GOOD_TABLES.values(), ids=GOOD_TABLES)
def test_both_accept_a_good_table(content: str | bytes, pretrained: str, tmp_path: Path) -> None:
    train = write(tmp_path / "train", content)
    values = any(number in Path(train).read_bytes() for number in (b"0.5", b"0,5", b",1\n"))
    test = train if values else write(tmp_path / "test", OTHER)
    assert verdicts(pretrained, tmp_path, train, test, Columns()) == ([], "")


@pytest.mark.parametrize("content", BAD_TABLES.values(), ids=BAD_TABLES)
def test_both_reject_a_bad_table_for_the_same_reason(content: str | bytes, pretrained: str, tmp_path: Path) -> None:
    bad, good = write(tmp_path / "bad", content), write(tmp_path / "good", GOOD)
    for train, test in ((bad, None), (good, bad)):
        problems, refused = verdicts(pretrained, tmp_path, train, test, Columns())
        assert refused in problems and refused.startswith(bad)
    if not bad.endswith("fa") and not str(content).startswith(">"):
        assert check([bad], k=3).all_problems  # without a split, too


@pytest.mark.parametrize("content", BAD_TESTS.values(), ids=BAD_TESTS)
def test_both_reject_a_test_table_that_does_not_fit(content: str, pretrained: str, tmp_path: Path) -> None:
    train, test = write(tmp_path / "train", GOOD), write(tmp_path / "test", content)
    problems, refused = verdicts(pretrained, tmp_path, train, test, Columns())
    assert refused in problems and refused.startswith(test)


@pytest.mark.parametrize(
    ("options", "header", "rows"),
    [
        ({"labels": ["x", "y"]}, "sequence,x,y", ["ACGTACGTAA,0,", "TTGACCATGA,1,"]),  # a column without a value
        ({"labels": ["x", "y"]}, "sequence,x,y", ["ACGTACGTAA,0,1", "TTGACCATGA,1,high"]),
        ({"labels": ["value"]}, "sequence,value", ["ACGTACGTAA,0.5", "TTGACCATGA,1.5"]),  # a reserved name
        ({"pair": "p", "nt_labels": "n"}, "sequence,p,n", ["ACGT,ACGT,0101", "TTGA,ACGT,1010"]),
        ({"nt_labels": "n"}, "sequence,n", ["ACGT,010", "TTGA,1010"]),
        ({"tracks": ["t"]}, "sequence,label,t", ["ACGT,a,", "TTGA,b,"]),
        ({"pair": "sequence2"}, "sequence,label,sequence2", ["ACGT,a,MKVL", "TTGA,b,ACGT"]),
        ({"id": "name"}, "name,sequence,label", ["x,ACGT,a", "x,TTGA,b"]),
    ],
)
def test_both_reject_other_columns(
    options: dict, header: str, rows: list[str], pretrained: str, tmp_path: Path
) -> None:
    train = write(tmp_path / "train", "\n".join([header, *rows]) + "\n")
    problems, refused = verdicts(pretrained, tmp_path, train, None, Columns(**options))
    assert refused and refused in problems


def test_a_sequence_file_without_labels_is_judged_as_prepare_does(tmp_path: Path) -> None:
    train = write(tmp_path / "x.fa", ">a\nACGTACGT\n")
    assert check(splits=SplitFiles(train=[train]), k=3).all_problems == []
