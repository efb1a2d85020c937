"""`check` says all that is wrong, and exactly where `prepare` or `finetune` would refuse."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console
from small_files import BASES, dna, fasta, table

from hf_genomics.checks.check import SplitFiles, check
from hf_genomics.checks.reading import known_rows
from hf_genomics.checks.report import CheckReport, with_keys_of_check
from hf_genomics.errors import InputError
from hf_genomics.genomes.metadata import RecordRules
from hf_genomics.genomes.store import prepare
from hf_genomics.labelled.columns import Columns
from hf_genomics.labelled.data import LabelledData
from hf_genomics.labelled.sequences import check_classes
from hf_genomics.labelled.tables import check_split
from hf_genomics.sequence import reverse_complement
from hf_genomics.sequence_files.fasta import read_records

SHARED = Path(os.environ.get("HF_GENOMICS_DATA", Path(__file__).parents[3] / "shared" / "data"))
needs_shared = pytest.mark.skipif(
    not (SHARED / "awkward").is_dir(),
    reason="the shared files are not here; set HF_GENOMICS_DATA to their data folder",
)


class Verdict(NamedTuple):
    """What must be found in a file; ``say`` are parts of its problems or warnings."""

    refused: int  # number of problems, 0 for a file that is accepted
    records: int
    nt: int
    say: tuple[str, ...] = ()


# Each worked out from the bytes of the file; nt counts whatever stands in the lines of a record, its gaps included.
FILES = {
    "awkward/NC_001802lc.fna": Verdict(0, 1, 9181),
    "awkward/NC_005816.gb": Verdict(0, 1, 9609),
    "awkward/ambig_bases.fasta": Verdict(0, 2, 864),
    "awkward/badfasta.fasta": Verdict(0, 3, 991),  # blank lines inside records, otherwise DNA
    "awkward/bigWig1.bw": Verdict(1, 0, 0, ("looks like bigWig",)),
    "awkward/blank_seq.gb": Verdict(1, 1, 360, ("protein",)),
    "awkward/bug2901.fasta": Verdict(2, 4, 212, ("('seq3'), position 24: '-'", "('seq4'), position 1: '-'")),
    "awkward/cor6_6.gb": Verdict(0, 6, 2819),
    "awkward/dna2.fasta": Verdict(0, 2, 560),
    "awkward/dupe_header.fasta": Verdict(1, 2, 2240, ("record 2 ('MW460250_1'): record 1 has the same name",)),
    "awkward/ebola_ambig_alignment.fasta.gz": Verdict(0, 20, 378201),
    "awkward/forward_reverse_primers.fasta": Verdict(0, 2, 35),
    "awkward/genes_bgzf.fasta.gz": Verdict(0, 20, 69469),
    "awkward/genomic-seq.fasta": Verdict(0, 1, 168628),
    "awkward/hs_owlmonkey.fasta": Verdict(2, 2, 392, ("('human'), position 28", "('owlmonkey'), position 86")),
    "awkward/lavender.fasta": Verdict(0, 1, 550),
    "awkward/ls_orchid.gbk.bgz": Verdict(0, 94, 67518),
    "awkward/made_bom_comment.fasta": Verdict(1, 0, 0, ("before the first header",)),
    "awkward/made_concatenated.fasta.gz": Verdict(0, 2, 9185, ("1 record shorter than k = 6 nt ('second')",)),
    "awkward/made_duplicate_names.fasta": Verdict(
        2, 3, 1000, ("record 2 ('x')", "record 3 ('x')", "1 record with the sequence of an earlier one")
    ),
    "awkward/made_empty.fasta": Verdict(1, 0, 0, ("the file is empty",)),
    "awkward/made_empty.fasta.gz": Verdict(1, 0, 0, ("the file is empty",)),
    "awkward/made_empty_records.fasta": Verdict(3, 4, 500, ("('a'): is empty", "('b'): is empty", "('d'): is empty")),
    "awkward/made_gaps_stars_u.fasta": Verdict(
        6,
        6,
        401,  # with the two blanks and four blanks and digits inside its last two records
        ("('gap'), position 51: '-'", "('dots'), position 31: '.'", "('rna'), position 3: 'U'")
        + ("('mixedTU'), position 4: 'U'", "('space'), position 4: ' '", "('digits'), position 1: '1'"),
    ),
    "awkward/made_no_header.fasta": Verdict(1, 0, 0, ("text before the first header",)),
    "awkward/made_non_ascii_headers.fasta": Verdict(0, 2, 500, ("2 records with a header that is not ASCII",)),
    "awkward/made_old_mac_cr.fasta": Verdict(1, 0, 0, ("carriage return",)),
    "awkward/made_plain_text_named.fasta.gz": Verdict(0, 1, 9181),
    "awkward/made_protein.faa": Verdict(1, 1, 56, ("('prot'), position 6: 'I'", "protein")),
    "awkward/made_short_and_n.fasta": Verdict(
        1,
        7,
        90,
        (
            "('len0'): is empty",
            "2 records shorter than k = 6 nt ('len1', 'len5')",
            "2 records without a k-mer of A, C, G and T only ('alln', 'onlyiupac')",
        ),
    ),
    "awkward/made_single_line.fasta": Verdict(0, 1, 9181),
    "awkward/made_truncated.fasta.gz": Verdict(1, 0, 0, ("cut short or damaged",)),
    "awkward/mirbase_hairpin.fa.gz": Verdict(28645, 28645, 2949871, ("'U' is not a DNA letter; this is RNA",)),
    "awkward/negative_location.gb": Verdict(0, 1, 6497),
    "awkward/pictogram.fasta": Verdict(10, 14, 126, ("record 4 ('seq3')", "record 14 ('seq4'): record 9")),
    "awkward/pyfastx_test.fa.gz": Verdict(0, 211, 86262),
    "awkward/rna.fa": Verdict(2, 2, 720, ("set --records.rna true",)),
    "awkward/spaced_fasta.fasta": Verdict(0, 37, 12637),
    "awkward/sweetpea.fasta": Verdict(0, 1, 309),
    "awkward/testMask.2bit": Verdict(0, 5, 65),
    "awkward/testN.2bit": Verdict(0, 2, 24),
    "awkward/wisteria.fasta": Verdict(0, 1, 2551),
    "genomes/ecoli_k12_mg1655.fna.gz": Verdict(0, 1, 4639675),
    "genomes/hg38_chr1_first1m.fa.gz": Verdict(0, 1, 1000000),
    "genomes/human_ctcf_peaks_softmasked.fa.gz": Verdict(0, 39184, 3918400),
    "genomes/nocardia_brasiliensis_NC_018681.fna.gz": Verdict(0, 1, 9436348),
    "genomes/saureus_4_strains.fna.gz": Verdict(0, 4, 11564335),
    "genomes/softmasked_balAcu1_part.fa": Verdict(0, 3, 33255),
    "genomes/softmasked_hg38_part.fa": Verdict(0, 2, 61674),
    "genomes/softmasked_panTro5_part.fa": Verdict(0, 1, 71700),
    "genomes/yeast_chr1.gb.gz": Verdict(0, 1, 230218),
}


def mutated(sequence: str, identity: float, seed: int = 0) -> str:
    """Substitute another base at a share of 1 - identity of all places."""
    rng = np.random.default_rng(seed)
    digits = np.searchsorted(BASES, np.frombuffer(sequence.encode(), np.uint8)) % 4
    places = rng.choice(len(digits), round((1 - identity) * len(digits)), replace=False)
    digits[places] += rng.integers(1, 4, len(places))
    return BASES[digits % 4].tobytes().decode()


def prepare_refuses(*arguments: object, **options: object) -> str | None:
    """Return what `prepare` refuses, or None; nothing is kept."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            prepare(*arguments, output_dir=f"{folder}/store", **options)
        except InputError as error:
            return str(error)
    return None


def said(report: CheckReport) -> str:
    """Everything that is said, as it is shown."""
    text = io.StringIO()
    report.show(Console(file=text, width=200), most=10**6)
    return text.getvalue()


@needs_shared
@pytest.mark.parametrize(
    ("file", "verdict"),
    [
        pytest.param(*each, id=each[0], marks=[pytest.mark.slow] if each[1].records > 20_000 else [])
        for each in FILES.items()
    ],
)
def test_a_real_file_gets_the_right_verdict(file: str, verdict: Verdict) -> None:
    report = check([str(SHARED / file)])
    (one,) = report.files
    assert (len(report.all_problems), len(one.lengths), one.letters.nt) == verdict[:3]
    assert [part for part in verdict.say if part not in said(report)] == []
    refused = prepare_refuses([str(SHARED / file)])
    assert bool(verdict.refused) == (refused is not None) == (report.rejection is not None)
    if refused is not None:
        assert with_keys_of_check(refused) in report.all_problems


@needs_shared
def test_every_shared_file_has_a_verdict() -> None:
    there = {f"{folder}/{path.name}" for folder in ("awkward", "genomes") for path in (SHARED / folder).iterdir()}
    assert there == set(FILES)


@needs_shared
def test_one_bad_file_does_not_hide_the_others() -> None:
    names = [name for name, verdict in FILES.items() if name.startswith("awkward/") and verdict.nt < 1e6]
    report = check([str(SHARED / name) for name in names])
    for name, one in zip(names, report.files, strict=True):
        alone = check([str(SHARED / name)])
        assert set(alone.files[0].problems) <= set(one.problems) and one.letters == alone.files[0].letters


@needs_shared
def test_letters_of_real_files_are_counted_as_a_plain_count_does() -> None:
    for name in ("awkward/ambig_bases.fasta", "genomes/softmasked_panTro5_part.fa", "awkward/mirbase_hairpin.fa.gz"):
        (one,) = check([str(SHARED / name)], records=RecordRules(rna=True)).files
        text = b"".join(record.letters.tobytes() for record in read_records(SHARED / name, rna=True)).decode()
        upper = text.upper()
        expected = [len(text), *(sum(map(upper.count, some)) for some in ("ACGT", "GC", "N", "RYSWKMBDHV"))]
        assert list(one.letters) == [*expected, sum(map(str.islower, text)), 0, 0]
        assert one.letters.shares()["gc"] == expected[2] / expected[1]


# check and prepare agree

LINES = [
    ">a\n",
    ">b two\n",
    ">c\n",
    ">\n",
    ">é\n",
    "ACGT\n",
    "acgtnnRY",
    "\n",
    "\r\n",
    "\r",
    "U",
    "-",
    " ",
    "\0",
    "#x\n",
]
LINES += ["LOCUS       x  4 bp\n", "ACCESSION   y\n", "ORIGIN\n", "        1 acgt\n", "        5 ac-t\n", "//\n"]
LINES += ["@r\nACGT\n+\nIIII\n", ";", ",", "\t", "\ufeff", "LOCUS ", "sequence,label\n", "ACGT,1\n"]


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    content = "".join(draw(st.lists(st.sampled_from(LINES), max_size=8))).encode()
    if draw(st.booleans()):
        start = draw(st.sampled_from([">a\nACGTAC\n>b\nACGNNN\n", "LOCUS       a  4 bp\nORIGIN\n        1 acgt\n//\n"]))
        content = start.encode() + content
    if draw(st.integers(0, 3)) == 0:
        content = gzip.compress(content)
        content = content[: draw(st.integers(1, len(content)))] if draw(st.booleans()) else content
    return content


@example([b"U>a\n>a\n,"], False, 1, "record", None)  # a line with more cells than those before it
@settings(max_examples=150)
@given(
    st.lists(contents(), min_size=1, max_size=3),
    st.booleans(),
    st.sampled_from([1, 5]),
    st.sampled_from(["record", "file"]),
    st.none() | st.lists(st.sampled_from(["a,train,g", "b,test,g", "b,train,h", "c,,h", "c,other,", ",,", "a,test,g"])),
)
def test_check_refuses_what_prepare_refuses_and_nothing_else(
    files: list[bytes], rna: bool, min_length: int, genome_by: str, rows: list[str] | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for number, content in enumerate(files):
            paths.append(f"{folder}/{number}.fa")
            Path(paths[-1]).write_bytes(content)
        options: dict[str, object] = {"records": RecordRules(rna=rna, min_length=min_length, genome_by=genome_by)}
        if rows is not None:
            Path(f"{folder}/meta.csv").write_text("\n".join(["accession,split,group", *rows]) + "\n")
            options["metadata"] = f"{folder}/meta.csv"
        report, refused = check(paths, **options), prepare_refuses(paths, **options)
        if not any(file.kind == "table" for file in report.files):
            assert (report.rejection is not None) == (refused is not None)
        if (
            refused is not None and not report.problems
        ):  # told by the file, not by what files have to do with each other
            assert any(fault.split(":")[0] == refused.split(":")[0] for fault in report.all_problems)


@pytest.mark.parametrize(
    ("rows", "part"),
    [
        ("a\ttrain\nb\ttest\n", None),
        ("a\ttrain\n", "no row for 1 of 2 records ('b')"),
        ("a\ttraining\nb\ttest\n", "'training'"),
        ("a\ttrain\na\ttest\nb\ttest\n", "has a row already"),
        ("", "no row below its header"),
    ],
)
def test_a_metadata_table_is_judged_as_prepare_does(tmp_path: Path, rows: str, part: str | None) -> None:
    path = fasta(tmp_path / "x.fa", a=dna(50), b=dna(50, 1))
    (tmp_path / "m.tsv").write_text("accession\tsplit\n" + rows)
    report = check([path], metadata=str(tmp_path / "m.tsv"))
    refused = prepare_refuses([path], metadata=str(tmp_path / "m.tsv"))
    assert report.all_problems == ([] if refused is None else [refused])
    assert (part is None) if refused is None else (part is not None and part in refused)


def test_a_file_given_twice_and_a_name_in_two_files_are_refused(tmp_path: Path) -> None:
    one, two = fasta(tmp_path / "one.fa", a=dna(50)), fasta(tmp_path / "two.fa", a=dna(50, 1), b=dna(50, 2))
    assert check([one, one]).all_problems == [prepare_refuses([one, one])]
    assert check([one, two]).all_problems == [prepare_refuses([one, two])]
    missing = str(tmp_path / "none.fa")
    assert [fault.split(": ")[1] for fault in check([missing, str(tmp_path), one]).all_problems] == [
        "no such file; check the path",
        "is a folder; name the files in it",
    ]


def test_a_record_with_several_problems_has_them_all_listed(tmp_path: Path) -> None:
    (tmp_path / "x.fa").write_text(">a\nACGT\n>a\nAC-\n>\n\n>ok\nACGTACGT\n")
    problems = check([str(tmp_path / "x.fa")], records=RecordRules(min_length=4)).all_problems
    assert [fault.split("/x.fa: ")[1].split(";")[0] for fault in problems] == [
        "record 2 ('a'): record 1 has the same name",
        "record 2 ('a'), position 3: '-' is not a DNA letter",
        "record 2 ('a'): 3 nt is shorter than the 4 nt needed",
        "record 3: has no name",
        "record 3: is empty",
    ]


# tables


@settings(max_examples=80)
@example([["ACGTACGT,0.5"], ["ACGTACGT,0.5"]], False)  # a target that never varies
@given(
    st.lists(
        st.lists(
            st.sampled_from(
                "ACGTACGT,a ACGTTCGT,b ACGTTCGT,b ACGTACGT,c AC,a ACGNACGT,b MKV,a ACGTACGT, ACGTACGT,0.5 ,a".split(" ")
            )
        ),
        min_size=2,
        max_size=2,
    ),
    st.booleans(),
)
def test_check_refuses_the_tables_that_finetune_refuses_and_no_others(files: list[list[str]], rna: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        train, test = (table(Path(folder) / f"{name}.csv", *rows) for name, rows in zip("ab", files, strict=True))
        data, refused = LabelledData(train=train, test=test, rna=rna), None
        try:
            read = data.require("train", 6, why="")
            check_split(read)
            training = known_rows(read, 6)
            check_split(training)
            test_rows = data.require("test", 6, read.task, why="")
            check_split(test_rows, read)
            check_split(known_rows(test_rows, 6), training)
        except InputError as error:
            refused = str(error)
        report = check(splits=SplitFiles(train=[train], test=[test]), records=RecordRules(rna=rna), k=6)
        assert (report.rejection is not None) == (refused is not None)
        assert refused is None or with_keys_of_check(refused) in report.all_problems


def test_all_bad_rows_of_a_table_are_listed(tmp_path: Path) -> None:
    path = table(tmp_path / "x.csv", "ACGTAC,a", "ACG-AC,b", "ACG,a", "ACGTAC,", "ACGTTT,nan", "AC-,")
    report = check([path])
    places = [fault.removeprefix(f"{path}: data row ").split(";")[0] for fault in report.all_problems]
    assert places == [
        "2, position 4: '-' is not a DNA letter",
        "3: 3 nt is shorter than the 6 nt needed",
        "4: the label is missing",
        "5: the label is missing (nan)",
        "6, position 3: '-' is not a DNA letter",
        "6: the label is missing",
    ]
    assert (len(report.files[0].lengths), report.files[0].letters.nt, report.files[0].letters.foreign) == (6, 30, 2)


def test_a_class_that_the_training_table_does_not_have_is_refused_by_row(tmp_path: Path) -> None:
    train = table(tmp_path / "train.csv", f"{dna(20)},a", f"{dna(20, 1)},b")
    test = table(tmp_path / "test.csv", f"{dna(20, 2)},c", f"{dna(20, 3)},a", f"{dna(20, 4)},d")
    problems = check(splits=SplitFiles(train=[train], test=[test])).all_problems
    assert [fault.removeprefix(f"{test}: ").split(";")[0] for fault in problems] == [
        "data row 1: unknown label 'c'",
        "data row 3: unknown label 'd'",
    ]


def test_a_table_is_told_by_its_content_and_described(tmp_path: Path) -> None:
    path = table(tmp_path / "x.fa", f"{dna(30)},a", f"{reverse_complement(dna(30))},b", f"{dna(30)},b", f"{dna(40)},b")
    frame = pd.read_csv(path)
    frame.to_parquet(tmp_path / "y.parquet")
    frame.assign(label=[0.5, 1.0, 2.0, 0.25]).to_csv(tmp_path / "z.tsv.gz", sep="\t", index=False)
    for name, labels in (("x.fa", {"a": 1, "b": 3}), ("y.parquet", {"a": 1, "b": 3}), ("z.tsv.gz", None)):
        report = check([str(tmp_path / name)])
        (one,) = report.files
        assert report.rejection is None and one.kind == "table" and list(one.lengths) == [30, 30, 30, 40]
        assert one.labels == (labels or {"min": 0.25, "mean": 0.9375, "max": 2.0})
        assert [(pair.record, pair.other, pair.kind) for pair in report.duplicates] == [
            ("2", "1", "reverse complement"),
            ("3", "1", "exact"),
        ]
        assert "1 row with the sequence of an earlier one but another label" in said(report)


@pytest.mark.slow
@needs_shared
@pytest.mark.parametrize(
    ("task", "within_train", "valid", "test"),
    [  # as the README of each task states them
        ("crispr_on_target_epigenetic", 6414, 0, 104),
        ("crispr_off_target", 20518, 0, 717),
        ("gue_prom_core_notata", 110, 28, 30),
        ("gue_tf_3", 20, 2, 1),
        ("gue_mouse_2", 0, 0, 0),
    ],
)
def test_duplicates_of_a_real_task_are_those_its_readme_states(
    task: str, within_train: int, valid: int, test: int
) -> None:
    files = {name: str(SHARED / "tasks" / task / f"{name}.csv.gz") for name in ("train", "valid", "test")}
    report = check(splits=SplitFiles(**{name: [path] for name, path in files.items() if os.path.exists(path)}))
    twins = [pair for pair in report.duplicates if pair.file == files["train"] and pair.kind == "exact"]
    assert report.rejection is None and len(twins) == within_train
    for split, expected in (("valid", valid), ("test", test)):
        leaks = [pair for pair in report.leaks if (pair.split, pair.other_split) == (split, "train")]
        assert sum(pair.kind != "near" for pair in leaks) == expected


@pytest.mark.slow
@needs_shared
@pytest.mark.parametrize(
    ("task", "columns", "label"),
    [
        ("emp_multilabel", {"labels": ["H3", "H4", "H3K4me3"]}, "H3"),
        ("token_yeast_chr1_cds", {"nt_labels": "token_labels"}, "0"),
        ("yeast_variant_effect", {"labels": ["ref_expression", "alt_expression"]}, "mean ref_expression"),
        ("crispr_off_target", {"pair": "offtarget"}, "0"),
    ],
)
def test_tables_with_other_columns_are_judged_as_finetune_reads_them(task: str, columns: dict, label: str) -> None:
    train, test = (str(SHARED / "tasks" / task / f"{name}.csv.gz") for name in ("train", "test"))
    report = check(splits=SplitFiles(train=[train], test=[test]), columns=Columns(**columns))
    assert report.rejection is None and all(label in (one.labels or {}) for one in report.files)
    data = LabelledData(train=train, test=test, columns=Columns(**columns))
    check_classes(training := data.require("train", 6, why=""), data.require("test", 6, training.task, why=""))
    wrong = {name: ["none"] if isinstance(value, list) else "none" for name, value in columns.items()}
    assert "no column 'none'" in check(splits=SplitFiles(train=[train]), columns=Columns(**wrong)).all_problems[0]


# leaks between splits


@needs_shared
def test_genomes_split_by_group_do_not_leak_and_injected_copies_do(tmp_path: Path) -> None:
    files = [str(SHARED / "virus" / f"{name}.fasta.gz") for name in ("phage", "nonphage")]
    splits = pd.read_csv(SHARED / "virus" / "virus_split.tsv", sep="\t", dtype=str).set_index("accession")["split"]
    genomes = (record for file in files for record in read_records(file) if splits[record.name] == "train")
    chosen = [(record.name, record.letters.tobytes().decode()) for record in list(genomes)[::300]]
    copies = [mutated(sequence, 0.95 if row % 2 else 0.9, row) for row, (_, sequence) in enumerate(chosen)]
    copies = [reverse_complement(copy) if row % 3 else copy for row, copy in enumerate(copies)]
    injected = fasta(tmp_path / "copies.fa", **{f"copy{row}": copy for row, copy in enumerate(copies)})
    splits = pd.concat([splits, pd.Series("test", [f"copy{row}" for row in range(len(copies))])])
    splits.rename_axis("accession").rename("split").to_csv(tmp_path / "splits.tsv", sep="\t")
    report = check([*files, injected], metadata=str(tmp_path / "splits.tsv"))
    assert report.rejection is None and report.splits == {"train": 2619, "valid": 285, "test": 783 + len(copies)}
    originals = [(f"copy{row}", name) for row, (name, _) in enumerate(chosen)]
    assert [(pair.record, pair.other) for pair in report.leaks] == originals  # and nobody else
    for row, pair in enumerate(report.leaks):
        assert pair.kind == "near" and pair.identity == pytest.approx(0.95 if row % 2 else 0.9, abs=0.03)


@needs_shared
@pytest.mark.slow
def test_clusters_of_95_percent_that_are_torn_apart_are_found(tmp_path: Path) -> None:
    meta = pd.read_csv(SHARED / "virus" / "virus_split.tsv", sep="\t", dtype=str)
    meta = meta[meta["class"] == "nonphage"]
    first = ~meta["cluster95"].duplicated()
    meta.assign(split=np.where(first, "train", "test"), group="").to_csv(tmp_path / "m.tsv", sep="\t", index=False)
    report = check([str(SHARED / "virus" / "nonphage.fasta.gz")], metadata=str(tmp_path / "m.tsv"))
    cluster = meta.set_index("accession")["cluster95"]
    assert {pair.record for pair in report.leaks} == set(meta["accession"][~first]) and len(report.leaks) == 454
    assert all(cluster[pair.record] == cluster[pair.other] and pair.identity > 0.93 for pair in report.leaks)


@needs_shared
@pytest.mark.slow
def test_strains_of_one_species_are_near_duplicates_of_each_other(tmp_path: Path) -> None:
    records = list(read_records(SHARED / "genomes" / "saureus_4_strains.fna.gz"))
    rows = [
        f"{record.name}\t{split}" for record, split in zip(records, ("train", "valid", "test", "test"), strict=True)
    ]
    (tmp_path / "m.tsv").write_text("\n".join(["accession\tsplit", *rows]) + "\n")
    report = check([str(SHARED / "genomes" / "saureus_4_strains.fna.gz")], metadata=str(tmp_path / "m.tsv"))
    assert len(report.leaks) == 5 and all(0.97 < pair.identity < 1 for pair in report.leaks)


def test_exact_copies_are_not_listed_again_as_near_ones(tmp_path: Path) -> None:
    train = fasta(tmp_path / "train.fa", a=dna(500), b=dna(500, 1), c=dna(500, 2))
    test = fasta(
        tmp_path / "test.fa", d=reverse_complement(dna(500)).lower(), e=mutated(dna(500, 1), 0.96), f=dna(500, 3)
    )
    report = check(splits=SplitFiles(train=[train], test=[test]))
    assert [(pair.record, pair.other, pair.kind) for pair in report.leaks] == [
        ("d", "a", "reverse complement"),
        ("e", "b", "near"),
    ]
    line = said(report)
    assert "2 of 3 test records share" in line and "(1 is equal): 'd ~ a, 100.0 %', 'e ~ b, 9" in line
    assert len(check(splits=SplitFiles(train=[train], test=[test], min_identity=0.99)).leaks) == 1


# arguments and old keys


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"files": []}, "no file given"),
        ({"k": 0}, "k must be at least 1"),
        ({"splits": SplitFiles(min_identity=0)}, "splits.min_identity"),
        ({"fix": "."}, "is a folder"),
        ({"output": "."}, "is a folder"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_at_once(tmp_path: Path, options: dict, part: str) -> None:
    with pytest.raises(InputError, match=part):
        check(**{"files": [fasta(tmp_path / "x.fa", a="ACGTAC")], **options})


def test_a_pipe_is_refused_before_it_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"pipe: is a pipe, and .*write it to a file"):
        check([str(tmp_path / "pipe")])


def test_an_input_is_never_written_over(tmp_path: Path) -> None:
    path = fasta(tmp_path / "x.fa", a="ACGTAC")
    with pytest.raises(InputError, match="is read as an input"):
        check([path], output=path)
    shutil.rmtree(tmp_path / "none", ignore_errors=True)
    assert Path(path).read_text() == ">a\nACGTAC\n"


def test_old_keys_reach_their_sections_and_warn(tmp_path: Path) -> None:
    rna, labelled = fasta(tmp_path / "x.fa", a="ACGUACGU", b="ACG"), tmp_path / "t.csv"
    labelled.write_text("dna,class\nACGUACGU,x\nACGUACGA,y\n")
    rules = RecordRules(rna=True, min_length=4)
    with pytest.warns(FutureWarning, match="'min_length' is called 'records.min_length'"):
        old = check([rna], train=[str(labelled)], rna=True, min_length=4, k=3, sequence_column="dna")
    new = check([rna], SplitFiles(train=[str(labelled)]), columns=Columns(sequence="dna"), records=rules, k=3)
    assert old.numbers() == new.numbers() and len(new.all_problems) == 1


def test_sequences_too_short_for_near_duplicates_are_counted(tmp_path):
    for split, length in (("train", 27), ("test", 28)):
        (tmp_path / f"{split}.fa").write_text(f">a\n{dna(length)}\n>b\n{dna(60)}\n")
    splits = SplitFiles(train=[str(tmp_path / "train.fa")], test=[str(tmp_path / "test.fa")])
    numbers = check(splits=splits).numbers()
    assert (numbers["not_compared"], numbers["shortest_compared"]) == (1, 28)
    assert any("1 of 4 records" in warning for warning in numbers["warnings"])
    alone = check([str(tmp_path / "train.fa")]).numbers()
    assert (alone["not_compared"], alone["shortest_compared"]) == (0, None)
